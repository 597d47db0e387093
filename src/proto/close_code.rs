//! Close codes.

use std::fmt;

use super::opcode::MAX_CONTROL_PAYLOAD;

/// The longest close reason, in bytes: the payload of a control frame minus two bytes for the code.
pub const MAX_CLOSE_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// The reason for closing a connection: RFC 6455 section 7.4, and the IANA registry of close codes.
///
/// The type holds any number; [`is_sendable`](Self::is_sendable) returns whether a Close frame may
/// contain it.
///
/// ```
/// use fullduplex::CloseCode;
///
/// assert_eq!(CloseCode::NORMAL.get(), 1000);
/// assert!(CloseCode::from(4001).is_sendable());
/// assert!(!CloseCode::ABNORMAL.is_sendable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server is shutting down, or the page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer violated the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: this endpoint does not accept that kind of data.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: never sent; represents a Close without a code.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: never sent; represents a connection that ended without a Close.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: a text message is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message violates the policy of this endpoint.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message is too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not agree to an extension that the client requires.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: an unexpected condition prevents this endpoint from continuing.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the client should try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway received an invalid response from the server behind it.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: never sent; represents a failed TLS handshake.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Returns the number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the name of the code in the IANA registry, in lower case; `None` if it has none.
    ///
    /// ```
    /// use fullduplex::CloseCode;
    ///
    /// assert_eq!(CloseCode::GOING_AWAY.name(), Some("going away"));
    /// assert_eq!(CloseCode::from(4001).name(), None);
    /// ```
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1000 => "normal closure",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1005 => "no status received",
            1006 => "abnormal closure",
            1007 => "invalid frame payload data",
            1008 => "policy violation",
            1009 => "message too big",
            1010 => "mandatory extension",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            1015 => "TLS handshake",
            3000 => "unauthorized",
            3003 => "forbidden",
            3008 => "timeout",
            _ => return None,
        })
    }

    /// Returns whether a Close frame may contain this code: 1000 to 1003, 1007 to 1014, 3000 to
    /// 4999.
    ///
    /// RFC 6455 sections 7.4.1 and 7.4.2.
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_registered_code_has_its_name() {
        let names = [
            (1000, "normal closure"),
            (1001, "going away"),
            (1002, "protocol error"),
            (1003, "unsupported data"),
            (1005, "no status received"),
            (1006, "abnormal closure"),
            (1007, "invalid frame payload data"),
            (1008, "policy violation"),
            (1009, "message too big"),
            (1010, "mandatory extension"),
            (1011, "internal error"),
            (1012, "service restart"),
            (1013, "try again later"),
            (1014, "bad gateway"),
            (1015, "TLS handshake"),
            (3000, "unauthorized"),
            (3003, "forbidden"),
            (3008, "timeout"),
        ];
        for code in 0..=u16::MAX {
            let name = names.iter().find(|(registered, _)| *registered == code).map(|(_, name)| *name);
            assert_eq!(CloseCode::from(code).name(), name, "{code}");
        }
    }

    #[test]
    fn a_code_is_converted_from_its_number_and_back_and_displayed_as_it() {
        assert_eq!(u16::from(CloseCode::from(4321)), 4321);
        assert_eq!(CloseCode::from(4321).to_string(), "4321");
    }
}
