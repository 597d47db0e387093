//! What one end compresses, and with what.

use crate::proto::{
    deflate::{Deflate, DeflateParams, Shape},
    outgoing::{Compression, Outgoing},
    role::Role,
};

/// The smallest window that zlib-rs compresses with. An end that agreed to a smaller one sends
/// messages uncompressed, which RFC 7692 section 6 allows.
const LEAST_WINDOW_BITS: u8 = 9;

/// How one end compresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    most: Shape,
    takeover: bool,
    /// In bytes.
    threshold: u32,
}

impl Terms {
    /// Creates the terms from what was negotiated; `None` if this end does not compress.
    pub(super) fn new(role: Role, settings: Deflate, params: DeflateParams) -> Option<Self> {
        let (no_takeover, window_bits) = match role {
            Role::Server => (params.server_no_context_takeover(), params.server_max_window_bits()),
            Role::Client => (params.client_no_context_takeover(), params.client_max_window_bits()),
        };
        let (level, memory_level) = (settings.get_level(), settings.get_memory_level());
        let most = Shape { level, memory_level, window_bits };
        (window_bits >= LEAST_WINDOW_BITS).then_some(Self {
            most,
            takeover: !no_takeover,
            threshold: u32::try_from(settings.get_threshold()).unwrap_or(u32::MAX),
        })
    }

    /// Returns the parameters of the compressor, which determine the result.
    pub(super) fn shape(&self) -> Shape {
        self.most
    }

    /// Returns whether a message may refer to earlier ones.
    pub(super) fn takeover(&self) -> bool {
        self.takeover
    }

    /// Returns whether this message is to be compressed.
    pub(super) fn wants(&self, outgoing: &Outgoing<'_>) -> bool {
        match outgoing.compression {
            Compression::Open => outgoing.len() >= self.threshold as usize,
            Compression::Wanted => true,
            Compression::Unwanted => false,
        }
    }
}
