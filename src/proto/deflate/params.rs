//! The negotiated parameters.

use std::fmt;

/// The extension's registered name (RFC 7692 section 11.1).
pub(crate) const NAME: &str = "permessage-deflate";
pub(crate) const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
pub(crate) const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
pub(crate) const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
pub(crate) const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// RFC 7692 section 7.1.2: from 256 bytes to 32 KiB, which is the default.
pub(super) const MIN_WINDOW_BITS: u8 = 8;
pub(crate) const MAX_WINDOW_BITS: u8 = 15;

/// The parameters of permessage-deflate that both ends have negotiated (RFC 7692 section 7.1).
///
/// The opening handshake derives them from the settings of both ends. Converted from one
/// [`Deflate`](super::Deflate), they are what two ends with the same settings negotiate.
///
/// Display prints the element of `Sec-WebSocket-Extensions`, without a window of 15 bits, which is
/// the default.
///
/// ```
/// use fullduplex::{Deflate, proto::DeflateParams};
///
/// let params = DeflateParams::from(Deflate::new().client_no_context_takeover(false).server_max_window_bits(10));
/// assert!(params.server_no_context_takeover() && !params.client_no_context_takeover());
/// assert_eq!((params.server_max_window_bits(), params.client_max_window_bits()), (10, 15));
/// assert_eq!(params.to_string(), "permessage-deflate; server_no_context_takeover; server_max_window_bits=10");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateParams {
    pub(crate) server_no_context_takeover: bool,
    pub(crate) client_no_context_takeover: bool,
    /// From 8 to 15, like that of the client.
    pub(crate) server_max_window_bits: u8,
    pub(crate) client_max_window_bits: u8,
}

impl DeflateParams {
    /// Returns whether the server compresses messages without context takeover (RFC 7692 section
    /// 7.1.1.1).
    pub fn server_no_context_takeover(&self) -> bool {
        self.server_no_context_takeover
    }

    /// Returns whether the client compresses messages without context takeover (RFC 7692 section
    /// 7.1.1.2).
    pub fn client_no_context_takeover(&self) -> bool {
        self.client_no_context_takeover
    }

    /// Returns the maximum window of the server's compressor, as a power of two in bytes: 8 to 15
    /// (RFC 7692 section 7.1.2.1).
    pub fn server_max_window_bits(&self) -> u8 {
        self.server_max_window_bits
    }

    /// Returns the maximum window of the client's compressor, as a power of two in bytes: 8 to 15
    /// (RFC 7692 section 7.1.2.2).
    pub fn client_max_window_bits(&self) -> u8 {
        self.client_max_window_bits
    }
}

impl fmt::Display for DeflateParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        for (name, set) in [
            (SERVER_NO_CONTEXT_TAKEOVER, self.server_no_context_takeover),
            (CLIENT_NO_CONTEXT_TAKEOVER, self.client_no_context_takeover),
        ] {
            if set {
                write!(f, "; {name}")?;
            }
        }
        for (name, bits) in [
            (SERVER_MAX_WINDOW_BITS, self.server_max_window_bits),
            (CLIENT_MAX_WINDOW_BITS, self.client_max_window_bits),
        ] {
            if bits < MAX_WINDOW_BITS {
                write!(f, "; {name}={bits}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::settings::Deflate, *};

    #[test]
    fn only_parameters_that_differ_from_the_defaults_of_rfc_7692_are_written() {
        let plain = Deflate::new().context_takeover(true);
        for (settings, text) in [
            (plain, "permessage-deflate"),
            (plain.server_no_context_takeover(true), "permessage-deflate; server_no_context_takeover"),
            (plain.client_no_context_takeover(true), "permessage-deflate; client_no_context_takeover"),
            (plain.server_max_window_bits(14), "permessage-deflate; server_max_window_bits=14"),
            (plain.client_max_window_bits(8), "permessage-deflate; client_max_window_bits=8"),
        ] {
            assert_eq!(DeflateParams::from(settings).to_string(), text);
        }
    }
}
