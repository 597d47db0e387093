//! Compression in strides.

use super::{codecs::Codecs, compressor::End, engine::Engine};

/// The least that a message counts for: codes are built for each.
pub(in crate::proto) const LEAST_STRIDE: usize = 256;

/// Payload data that is being compressed.
pub(in crate::proto) struct Work {
    engine: Engine,
    /// The number of bytes that are compressed.
    taken: usize,
    out: Vec<u8>,
}

impl Work {
    pub(in crate::proto) fn new(engine: Engine, codecs: &mut Codecs) -> Self {
        Self { engine, taken: 0, out: codecs.buffer() }
    }

    /// Compresses up to `stride` more bytes of the payload data, or all of a short message; returns
    /// whether that completed it.
    pub(in crate::proto) fn advance(&mut self, payload: &[u8], end: End, stride: &mut usize) -> bool {
        let rest = &payload[self.taken..];
        let divided = rest.len() > *stride && self.engine.can_divide();
        let (now, end) = if divided { (&rest[..*stride], End::Open) } else { (rest, end) };
        self.engine.compress(now, end, &mut self.out);
        self.taken += now.len();
        *stride = stride.saturating_sub(now.len().max(LEAST_STRIDE));
        end != End::Open
    }

    /// Returns the output.
    pub(in crate::proto) fn out(&self) -> &[u8] {
        &self.out
    }

    /// Returns everything to the pool.
    pub(in crate::proto) fn end(self, codecs: &mut Codecs) {
        codecs.take_back_engine(self.engine);
        codecs.take_back_buffer(self.out);
    }

    /// Returns the engine and its output.
    pub(in crate::proto) fn into_parts(self) -> (Engine, Vec<u8>) {
        (self.engine, self.out)
    }
}
