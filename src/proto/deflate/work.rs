//! Compression in strides.

use super::{
    codecs::Codecs,
    compressor::{Compressor, End},
};

/// The least that a message counts for: the tables of a compressor are cleared for each.
pub(in crate::proto) const LEAST_STRIDE: usize = 256;

/// Payload data that is being compressed.
pub(in crate::proto) struct Work {
    compressor: Box<Compressor>,
    /// The number of bytes that are compressed.
    taken: usize,
    out: Vec<u8>,
}

impl Work {
    pub(in crate::proto) fn new(compressor: Box<Compressor>, codecs: &mut Codecs) -> Self {
        Self { compressor, taken: 0, out: codecs.buffer() }
    }

    /// Compresses up to `stride` more bytes of the payload data; returns whether that completed it.
    pub(in crate::proto) fn advance(&mut self, payload: &[u8], end: End, stride: &mut usize) -> bool {
        let rest = &payload[self.taken..];
        let (now, end) = if rest.len() > *stride { (&rest[..*stride], End::Open) } else { (rest, end) };
        self.compressor.compress(now, end, &mut self.out);
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
        codecs.take_back_compressor(self.compressor);
        codecs.take_back_buffer(self.out);
    }

    /// Returns the compressor and its output.
    pub(in crate::proto) fn into_parts(self) -> (Box<Compressor>, Vec<u8>) {
        (self.compressor, self.out)
    }
}
