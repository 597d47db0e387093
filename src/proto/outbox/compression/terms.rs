//! How one end compresses.

use crate::proto::{
    deflate::{Deflate, DeflateParams, Shape},
    outgoing::{Compression, Outgoing},
    role::Role,
};

/// The smallest window that the library compresses with. Who agreed to a smaller one sends everything uncompressed, as
/// RFC 7692 section 6 lets everybody.
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
    /// How this end compresses, as was agreed on; `None`: not at all.
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

    /// What the result depends on, of a message that is compressed by itself.
    pub(super) fn shape(&self) -> Shape {
        self.most
    }

    /// Whether a message may refer to those before it.
    pub(super) fn takeover(&self) -> bool {
        self.takeover
    }

    /// Whether this message is to be compressed.
    pub(super) fn wants(&self, outgoing: &Outgoing<'_>) -> bool {
        match outgoing.compression {
            Compression::Open => outgoing.len() >= self.threshold as usize,
            Compression::Wanted => true,
            Compression::Unwanted => false,
        }
    }
}
