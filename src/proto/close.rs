//! Close frames.

use std::fmt::{self, Write};

use bytes::Bytes;

use super::{
    close_code::{CloseCode, MAX_CLOSE_REASON},
    error::{InvalidClose, ProtocolError},
    opcode::MAX_CONTROL_PAYLOAD,
    payload::Utf8Bytes,
};

/// The content of a Close frame: a code that may be sent, and a reason of at most 123 bytes.
///
/// A Close frame may be empty, which is `Option::None` of this type.
///
/// RFC 6455 sections 5.5.1 and 7.1.5 to 7.1.6.
///
/// Display and Debug escape control characters and those that start a line or change the direction
/// of text, because a peer could forge log lines with them. [`reason`](Self::reason) returns the
/// reason unchanged.
///
/// ```
/// use fullduplex::{CloseCode, CloseFrame};
///
/// let frame = CloseFrame::new(CloseCode::NORMAL, "bye")?;
/// assert_eq!((frame.code(), frame.reason()), (CloseCode::NORMAL, "bye"));
/// assert!(CloseFrame::new(CloseCode::NO_STATUS, "").is_err());
/// # Ok::<(), fullduplex::proto::InvalidClose>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CloseFrame {
    code: CloseCode,
    reason: Utf8Bytes,
}

impl CloseFrame {
    /// Creates a Close frame with this code and reason.
    ///
    /// # Errors
    /// [`InvalidClose`] for a code that must not be sent, or a reason of more than 123 bytes.
    pub fn new(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<Self, InvalidClose> {
        let reason = reason.into();
        if !code.is_sendable() {
            return Err(InvalidClose::Code(code));
        }
        if reason.len() > MAX_CLOSE_REASON {
            return Err(InvalidClose::ReasonTooLong(reason.len()));
        }
        Ok(Self { code, reason })
    }

    /// Creates a Close frame with a code and a reason of the crate.
    pub(crate) fn from_static(code: CloseCode, reason: &'static str) -> Self {
        debug_assert!(code.is_sendable() && reason.len() <= MAX_CLOSE_REASON);
        Self { code, reason: Utf8Bytes::from_static(reason) }
    }

    /// Parses the unmasked payload of a Close frame; returns `None` if it is empty.
    ///
    /// # Errors
    /// The payload has one byte, the code must not be sent, or the reason is not UTF-8.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            // RFC 6455 section 5.5.1: a body starts with a code of two bytes.
            [_] => return Err(ProtocolError::CloseTooShort),
            [high, low, reason @ ..] => (CloseCode::from(u16::from_be_bytes([*high, *low])), reason),
        };
        // RFC 6455 section 7.4.1: 1005, 1006 and 1015 are never sent; 7.4.2: neither are undefined
        // codes.
        if !code.is_sendable() {
            return Err(ProtocolError::InvalidCloseCode(code));
        }
        // RFC 6455 section 5.5.1: the reason is UTF-8; section 8.1: otherwise the connection fails.
        let reason =
            Utf8Bytes::try_from(Bytes::copy_from_slice(reason)).map_err(|_| ProtocolError::InvalidUtf8)?;
        Ok(Some(Self { code, reason }))
    }

    /// Returns the code.
    pub fn code(&self) -> CloseCode {
        self.code
    }

    /// Returns the reason, which may be empty.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Encodes the payload of the frame, before masking; returns it with its length.
    pub(crate) fn encode(frame: Option<&Self>) -> ([u8; MAX_CONTROL_PAYLOAD], usize) {
        let mut payload = [0; MAX_CONTROL_PAYLOAD];
        let Some(frame) = frame else { return (payload, 0) };
        let len = 2 + frame.reason.len();
        payload[..2].copy_from_slice(&frame.code.get().to_be_bytes());
        payload[2..len].copy_from_slice(frame.reason.as_bytes());
        (payload, len)
    }
}

impl ProtocolError {
    /// Returns the Close frame for the error; `None` if the transport has ended.
    pub fn close_frame(self) -> Option<CloseFrame> {
        self.close_reason().map(|reason| CloseFrame::from_static(self.close_code(), reason))
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            "" => self.code.fmt(f),
            reason => write!(f, "{} ({})", self.code, Escaped(reason)),
        }
    }
}

impl fmt::Debug for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = format_args!("\"{}\"", Escaped(self.reason()));
        f.debug_struct("CloseFrame").field("code", &self.code).field("reason", &reason).finish()
    }
}

/// Text from the peer, escaped for logs and terminals.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            let harmful = char.is_control()
                || matches!(char, '\\' | '"')
                || matches!(char, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
            if harmful { write!(f, "{}", char.escape_default())? } else { f.write_char(char)? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(code: u16) -> Result<Option<CloseFrame>, ProtocolError> {
        CloseFrame::parse(&code.to_be_bytes())
    }

    /// RFC 6455 section 7.4.
    #[test]
    fn only_codes_that_may_be_sent_are_accepted() {
        for code in 0..=u16::MAX {
            let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert_eq!(parsed(code).is_ok(), allowed, "{code}");
            assert_eq!(CloseFrame::new(code.into(), "").is_ok(), allowed, "{code}");
        }
    }

    /// RFC 6455 section 5.5.1.
    #[test]
    fn an_empty_payload_has_no_code_and_one_byte_is_too_short() {
        assert_eq!(CloseFrame::parse(b""), Ok(None));
        assert_eq!(CloseFrame::parse(b"\x03"), Err(ProtocolError::CloseTooShort));
    }

    #[test]
    fn a_reason_may_have_at_most_123_bytes() {
        let frame = CloseFrame::new(CloseCode::NORMAL, "x".repeat(123)).expect("123 bytes fit");
        let (payload, len) = CloseFrame::encode(Some(&frame));
        assert_eq!(len, 125);
        assert_eq!(CloseFrame::parse(&payload[..len]), Ok(Some(frame)));
        assert_eq!(
            CloseFrame::new(CloseCode::NORMAL, "x".repeat(124)),
            Err(InvalidClose::ReasonTooLong(124))
        );
    }

    #[test]
    fn row_66_a_reason_is_escaped_in_display_and_debug() {
        let reason = "gr\u{fc}ezi\r\n\u{1b}[2J\u{202e}\u{2028}\u{85}\\n \"x\" \0";
        let frame = CloseFrame::new(CloseCode::NORMAL, reason).expect("valid");
        let escaped = r#"grüezi\r\n\u{1b}[2J\u{202e}\u{2028}\u{85}\\n \"x\" \u{0}"#;
        assert_eq!(frame.to_string(), format!("1000 ({escaped})"));
        let shown = format!("CloseFrame {{ code: CloseCode(1000), reason: \"{escaped}\" }}");
        assert_eq!(format!("{frame:?}"), shown);
        assert_eq!(frame.reason(), reason);
    }

    #[test]
    fn a_reason_that_is_not_utf8_is_refused() {
        assert_eq!(CloseFrame::parse(b"\x03\xE8\xFF"), Err(ProtocolError::InvalidUtf8));
    }
}
