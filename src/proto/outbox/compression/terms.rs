//! What one end compresses, and with what.

use crate::proto::{
    deflate::{Deflate, DeflateParams, LONGEST_SHORT, Shape},
    outgoing::{Compression, Outgoing},
    role::Role,
};

/// How one end compresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    shape: Shape,
    takeover: bool,
    /// In bytes.
    threshold: u32,
}

impl Terms {
    /// Creates the terms from what was negotiated.
    pub(super) fn new(role: Role, settings: Deflate, params: DeflateParams) -> Self {
        let (no_takeover, window_bits) = match role {
            Role::Server => (params.server_no_context_takeover(), params.server_max_window_bits()),
            Role::Client => (params.client_no_context_takeover(), params.client_max_window_bits()),
        };
        let (level, memory_level) = (settings.get_level(), settings.get_memory_level());
        let shape = Shape { level, memory_level, window_bits };
        Self {
            shape,
            // RFC 7692 section 7.1.1: an end may compress messages by themselves in any case.
            takeover: !no_takeover && shape.is_for_streams(),
            threshold: u32::try_from(settings.get_threshold()).unwrap_or(u32::MAX),
        }
    }

    /// Returns the parameters of the compressor, which determine the result.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns whether a message may refer to earlier ones.
    pub(super) fn takeover(&self) -> bool {
        self.takeover
    }

    /// Returns whether this message is to be compressed.
    pub(super) fn wants(&self, outgoing: &Outgoing<'_>) -> bool {
        let wanted = match outgoing.compression {
            Compression::Open => outgoing.len() >= self.threshold as usize,
            Compression::Wanted => true,
            Compression::Unwanted => false,
        };
        wanted && (self.wants_parts() || outgoing.len() <= LONGEST_SHORT)
    }

    /// Returns whether messages in parts are to be compressed, and long ones.
    ///
    /// With a window of 8 bits they are sent uncompressed, which RFC 7692 section 6 allows.
    pub(super) fn wants_parts(&self) -> bool {
        self.shape.is_for_streams()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(settings: Deflate) -> Terms {
        Terms::new(Role::Server, settings, settings.into())
    }

    #[test]
    fn a_message_is_compressed_from_the_threshold_on_unless_it_says_otherwise() {
        let terms = terms(Deflate::new().threshold(100));
        for (len, compressed) in [(0, false), (99, false), (100, true), (1 << 20, true)] {
            let message = || Outgoing::from(vec![7; len]);
            assert_eq!(terms.wants(&message()), compressed, "{len}");
            assert!(terms.wants(&message().compress(true)) && !terms.wants(&message().compress(false)));
        }
    }

    #[test]
    fn with_a_window_of_8_bits_only_short_messages_are_compressed() {
        let terms = terms(Deflate::new().threshold(100).server_max_window_bits(8));
        for (len, compressed) in [(99, false), (100, true), (LONGEST_SHORT, true), (LONGEST_SHORT + 1, false)]
        {
            assert_eq!(terms.wants(&Outgoing::from(vec![7; len])), compressed, "{len}");
        }
    }
}
