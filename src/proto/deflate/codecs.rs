//! Compressors and decompressors that connections without context takeover share.

use super::{
    compressor::{Compressor, Shape},
    decompressor::Decompressor,
};

/// The number of compressors that are kept, of one shape and of all. Messages are compressed one
/// after the other; only one that is sent in parts holds its compressor longer.
const KEPT_OF_A_SHAPE: usize = 4;
const KEPT_COMPRESSORS: usize = 12;

/// The number of decompressors that are kept. A message that arrives in parts holds one until it is
/// complete.
const KEPT_DECOMPRESSORS: usize = 4;

/// The largest buffer that is kept.
pub(in crate::proto) const KEPT_BUFFER: usize = 64 * 1024;

/// The largest messages for which less is enough, and what that is: a message of no more bytes than
/// a block holds, all of which the window reaches back over, comes out the same as from the largest
/// tables. Those are cleared in part between messages, and take room in the caches, and a short
/// message would pay for that more than for its own bytes.
const SMALL: usize = (1 << 8) - 1;
const SMALL_SHAPE: (u8, u8) = (2, 10);
const MEDIUM: usize = (1 << 11) - 1;
const MEDIUM_SHAPE: (u8, u8) = (5, 12);

/// Compressors, decompressors and a buffer for the messages of one thread's connections.
#[derive(Debug, Default)]
pub(crate) struct Codecs {
    #[allow(clippy::vec_box, reason = "a connection holds the box")]
    compressors: Vec<Box<Compressor>>,
    #[allow(clippy::vec_box, reason = "a connection holds the box")]
    decompressors: Vec<Box<Decompressor>>,
    buffer: Vec<u8>,
}

impl Codecs {
    /// Takes a compressor with an empty window for one message of `len` bytes, or of unknown
    /// length, with at most the parameters `most`.
    pub(in crate::proto) fn compressor(&mut self, most: Shape, len: Option<usize>) -> Box<Compressor> {
        let shape = shape_for(most, len);
        // The last one that was returned may still be in the caches.
        match self.compressors.iter().rposition(|kept| kept.shape() == shape) {
            Some(index) => self.compressors.remove(index),
            None => Box::new(Compressor::new(shape)),
        }
    }

    /// Returns a compressor to the pool, in any state.
    pub(in crate::proto) fn take_back_compressor(&mut self, mut compressor: Box<Compressor>) {
        let shape = compressor.shape();
        if self.compressors.iter().filter(|kept| kept.shape() == shape).count() == KEPT_OF_A_SHAPE {
            return;
        }
        if self.compressors.len() == KEPT_COMPRESSORS {
            self.compressors.remove(0); // idle for the longest time
        }
        compressor.reset();
        self.compressors.push(compressor);
    }

    /// Takes a decompressor with an empty window.
    pub(in crate::proto) fn decompressor(&mut self) -> Box<Decompressor> {
        self.decompressors.pop().unwrap_or_else(|| Box::new(Decompressor::new()))
    }

    /// Returns a decompressor to the pool, in any state.
    pub(in crate::proto) fn take_back_decompressor(&mut self, mut decompressor: Box<Decompressor>) {
        if self.decompressors.len() < KEPT_DECOMPRESSORS {
            decompressor.reset();
            self.decompressors.push(decompressor);
        }
    }

    /// Takes an empty buffer.
    pub(in crate::proto) fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer
    }

    /// Returns a buffer to the pool, and borrows its content.
    pub(super) fn lend(&mut self, buffer: Vec<u8>) -> &[u8] {
        self.buffer = buffer;
        &self.buffer
    }

    /// Returns a buffer to the pool.
    pub(in crate::proto) fn take_back_buffer(&mut self, mut buffer: Vec<u8>) {
        if (self.buffer.capacity()..=KEPT_BUFFER).contains(&buffer.capacity()) {
            buffer.clear();
            self.buffer = buffer;
        }
    }
}

/// Returns the smallest parameters that compress a message of `len` bytes as well as `most` does.
fn shape_for(most: Shape, len: Option<usize>) -> Shape {
    let (memory_level, window_bits) = match len {
        Some(0..=SMALL) => SMALL_SHAPE,
        Some(..=MEDIUM) => MEDIUM_SHAPE,
        _ => return most,
    };
    Shape {
        memory_level: memory_level.min(most.memory_level),
        window_bits: window_bits.min(most.window_bits),
        ..most
    }
}

#[cfg(test)]
mod tests {
    use super::{super::compressor::End, *};

    const FULL: Shape = Shape { level: 6, memory_level: 8, window_bits: 15 };

    fn compress(codecs: &mut Codecs, most: Shape, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut compressor = codecs.compressor(most, Some(message.len()));
        compressor.compress(message, End::Message, &mut out);
        codecs.take_back_compressor(compressor);
        out
    }

    /// Returns `len` bytes of JSON.
    fn json(len: usize) -> Vec<u8> {
        let trades =
            (0_u32..).map(|n| format!("{{\"s\":\"ABC\",\"p\":\"{}\"}},", n.wrapping_mul(2_654_435_769)));
        trades.flat_map(String::into_bytes).take(len).collect()
    }

    #[test]
    fn a_short_message_is_compressed_as_with_the_largest_tables() {
        let mut codecs = Codecs::default();
        for len in [1, 100, SMALL, SMALL + 1, 1000, MEDIUM, MEDIUM + 1, 9000] {
            for level in [1, 6, 9] {
                let most = Shape { level, ..FULL };
                let mut whole = Vec::new();
                Compressor::new(most).compress(&json(len), End::Message, &mut whole);
                assert_eq!(compress(&mut codecs, most, &json(len)), whole, "{len} bytes at level {level}");
            }
        }
    }

    #[test]
    fn the_shape_never_exceeds_the_negotiated_one() {
        let most = Shape { level: 1, memory_level: 1, window_bits: 9 };
        for len in [None, Some(0), Some(SMALL), Some(MEDIUM), Some(usize::MAX)] {
            assert_eq!(shape_for(most, len), most);
        }
    }

    #[test]
    fn a_pooled_codec_has_an_empty_window() {
        let mut codecs = Codecs::default();
        let first = compress(&mut codecs, FULL, b"Hello");
        assert_eq!(compress(&mut codecs, FULL, b"Hello"), first);
        assert_eq!(codecs.compressors.len(), 1);

        let mut decompressor = codecs.decompressor();
        assert_eq!(decompressor.message(&first).as_deref(), Ok(&b"Hello"[..]));
        codecs.take_back_decompressor(decompressor);
        assert!(codecs.decompressor().message(b"\xF2\x00\x11\x00\x00").is_err());
    }

    #[test]
    fn a_compressor_may_be_returned_in_the_middle_of_a_message() {
        let mut codecs = Codecs::default();
        let mut compressor = codecs.compressor(FULL, None);
        compressor.compress(b"Hello", End::Part, &mut Vec::new());
        codecs.take_back_compressor(compressor);
        let mut out = Vec::new();
        codecs.compressor(FULL, None).compress(b"Hello", End::Message, &mut out);
        assert_eq!(out, b"\xF2\x48\xCD\xC9\xC9\x07\x00");
    }

    #[test]
    fn the_most_recent_codecs_are_kept_up_to_the_maximum() {
        let mut codecs = Codecs::default();
        for level in 1..=9 {
            let buffers: Vec<_> = (0..6).map(|_| codecs.compressor(Shape { level, ..FULL }, None)).collect();
            buffers.into_iter().for_each(|compressor| codecs.take_back_compressor(compressor));
        }
        let kept: Vec<_> = codecs.compressors.iter().map(|kept| kept.shape().level).collect();
        assert_eq!(kept, [7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9]);

        let buffers: Vec<_> = (0..6).map(|_| codecs.decompressor()).collect();
        buffers.into_iter().for_each(|decompressor| codecs.take_back_decompressor(decompressor));
        assert_eq!(codecs.decompressors.len(), KEPT_DECOMPRESSORS);
    }

    #[test]
    fn the_largest_allowed_buffer_is_kept_and_emptied() {
        let mut codecs = Codecs::default();
        codecs.take_back_buffer(vec![1; 1000]);
        codecs.take_back_buffer(vec![1; 10]);
        codecs.take_back_buffer(vec![1; KEPT_BUFFER + 1]);
        let buffer = codecs.buffer();
        assert_eq!((buffer.len(), buffer.capacity()), (0, 1000));
        assert_eq!(codecs.buffer().capacity(), 0);
    }
}
