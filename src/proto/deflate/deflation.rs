//! Compressing what is sent.

use bytes::Bytes;

use super::{
    compressor::{Compressor, Shape},
    params::DeflateParams,
    pool::{KEPT_BUFFER, Pool},
    settings::Deflate,
};
use crate::{
    Role,
    proto::message::{Compression, Content, MessageKind, Outgoing},
};

/// The smallest window that the library compresses with. Who agreed to a smaller one sends everything uncompressed, as
/// RFC 7692 section 6 lets everybody.
const LEAST_WINDOW_BITS: u8 = 9;

/// How this end compresses, and with context takeover what it said last.
#[derive(Debug)]
pub(in crate::proto) struct Deflation {
    how: How,
    /// With context takeover, from the first compressed message on; without, while a message is sent in parts.
    own: Option<Box<Compressor>>,
    /// Whether the message that is sent in parts is compressed.
    in_parts: bool,
}

/// How one end compresses.
#[derive(Debug, Clone, Copy)]
pub(in crate::proto) struct How {
    most: Shape,
    takeover: bool,
    /// In bytes.
    threshold: u32,
}

impl How {
    /// What the outcome depends on.
    pub(super) fn shape(&self) -> Shape {
        self.most
    }

    /// How this end compresses, as was agreed on; `None`: not at all.
    fn new(role: Role, settings: Deflate, params: DeflateParams) -> Option<Self> {
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

    /// Whether this message is to be compressed.
    fn wants(&self, outgoing: &Outgoing) -> bool {
        match outgoing.compression {
            Compression::Open => outgoing.len() >= self.threshold as usize,
            Compression::Wanted => true,
            Compression::Unwanted => false,
        }
    }

    /// Compresses a message by itself; `None` where it would not be shorter.
    pub(super) fn alone(&self, payload: &[u8], pool: &mut Pool) -> Option<Bytes> {
        let mut compressor = pool.compressor(self.most, Some(payload.len()));
        let compressed = compress(&mut compressor, payload, true, pool);
        pool.take_back_compressor(compressor);
        (compressed.len() < payload.len()).then_some(compressed)
    }

    /// A message as it goes out, where it is compressed by itself.
    pub(in crate::proto) fn outgoing_alone(&self, outgoing: Outgoing, pool: &mut Pool) -> Outgoing {
        if !self.wants(&outgoing) {
            return outgoing;
        }
        match outgoing.content {
            Content::Message(message) => match self.alone(message.as_bytes(), pool) {
                Some(payload) => compressed(message.kind(), payload),
                // It need not be tried again.
                None => Outgoing { content: Content::Message(message), compression: Compression::Unwanted },
            },
            Content::Prepared(prepared) => {
                Outgoing { content: Content::Prepared(prepared.compressed(self, pool)), ..outgoing }
            }
            done @ Content::Compressed(..) => Outgoing { content: done, ..outgoing },
        }
    }
}

/// A message that is compressed.
fn compressed(kind: MessageKind, payload: Bytes) -> Outgoing {
    Outgoing { content: Content::Compressed(kind, payload), compression: Compression::Open }
}

impl Deflation {
    /// How this end compresses, as was agreed on; `None`: not at all.
    pub(in crate::proto) fn new(role: Role, settings: Deflate, params: DeflateParams) -> Option<Self> {
        How::new(role, settings, params).map(|how| Self { how, own: None, in_parts: false })
    }

    /// A message as it goes out: compressed, where that is wanted and makes it shorter.
    pub(in crate::proto) fn outgoing(&mut self, outgoing: Outgoing, pool: &mut Pool) -> Outgoing {
        if !self.how.takeover {
            return self.how.outgoing_alone(outgoing, pool);
        }
        match &outgoing.content {
            Content::Message(message) if self.how.wants(&outgoing) => {
                compressed(message.kind(), self.compress(message.as_bytes(), true, pool))
            }
            Content::Message(_) | Content::Compressed(..) => outgoing,
            // It is compressed once, by itself, which a receiver that remembers more can inflate too. From then on the
            // receiver remembers what our compressor does not know of: so that begins anew.
            Content::Prepared(_) => {
                let outgoing = self.how.outgoing_alone(outgoing, pool);
                if matches!(&outgoing.content, Content::Prepared(prepared) if prepared.is_compressed())
                    && let Some(compressor) = &mut self.own
                {
                    compressor.reset();
                }
                outgoing
            }
        }
    }

    /// Begins a message that is sent in parts, compressed or not.
    pub(in crate::proto) fn begin_parts(&mut self, compressed: bool) {
        self.in_parts = compressed;
    }

    /// Compresses a part of a message that is sent in parts, if it is compressed. Only the last never comes to nothing.
    pub(in crate::proto) fn part(&mut self, part: &[u8], last: bool, pool: &mut Pool) -> Option<Bytes> {
        self.in_parts.then(|| self.compress(part, last, pool))
    }

    fn compress(&mut self, part: &[u8], last: bool, pool: &mut Pool) -> Bytes {
        let most = self.how.most;
        let mut compressor = match (self.own.take(), self.how.takeover) {
            (Some(own), _) => own,
            (None, true) => Box::new(Compressor::new(most)),
            (None, false) => pool.compressor(most, None),
        };
        let compressed = compress(&mut compressor, part, last, pool);
        if last && !self.how.takeover {
            pool.take_back_compressor(compressor);
        } else {
            self.own = Some(compressor);
        }
        compressed
    }

    /// Gives up a message that is sent in parts: nothing of it is sent.
    pub(in crate::proto) fn abandon(&mut self, pool: &mut Pool) {
        if !self.how.takeover
            && let Some(compressor) = self.own.take()
        {
            pool.take_back_compressor(compressor);
        }
    }

    /// Forgets what was said: nothing more will be sent.
    pub(in crate::proto) fn forget(&mut self) {
        self.own = None;
    }

    /// How to compress outside of this, which works where each message is compressed by itself.
    pub(in crate::proto) fn alone(&self) -> Option<How> {
        (!self.how.takeover).then_some(self.how)
    }
}

/// Compresses by way of a buffer of the pool.
fn compress(compressor: &mut Compressor, data: &[u8], last: bool, pool: &mut Pool) -> Bytes {
    let mut buffer = pool.buffer();
    compressor.compress(data, last, &mut buffer);
    if buffer.capacity() > KEPT_BUFFER {
        return buffer.into();
    }
    let compressed = Bytes::copy_from_slice(&buffer);
    pool.take_back_buffer(buffer);
    compressed
}
