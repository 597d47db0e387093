//! Compressors and decompressors that connections without context takeover share.

use super::{
    compressor::{Compressor, Shape},
    decompressor::Decompressor,
    engine::Engine,
    short::{self, ShortCompressor},
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

/// Compressors, decompressors and a buffer for the messages of one thread's connections.
#[derive(Debug, Default)]
pub(crate) struct Codecs {
    /// One is enough: a short message is compressed at once.
    short: Option<Box<ShortCompressor>>,
    #[allow(clippy::vec_box, reason = "a connection holds the box")]
    compressors: Vec<Box<Compressor>>,
    #[allow(clippy::vec_box, reason = "a connection holds the box")]
    decompressors: Vec<Box<Decompressor>>,
    buffer: Vec<u8>,
}

impl Codecs {
    /// Takes what compresses one message of `len` bytes, or of unknown length, without reference to
    /// others.
    pub(in crate::proto) fn engine(&mut self, shape: Shape, len: Option<usize>) -> Engine {
        if len.is_some_and(|len| len <= short::LONGEST) {
            return Engine::Short(
                self.short.take().unwrap_or_else(|| Box::new(ShortCompressor::new())),
                shape,
            );
        }
        // The last one that was returned may still be in the caches.
        Engine::Stream(match self.compressors.iter().rposition(|kept| kept.shape() == shape) {
            Some(index) => self.compressors.remove(index),
            None => Box::new(Compressor::new(shape)),
        })
    }

    /// Returns it to the pool, in any state.
    pub(in crate::proto) fn take_back_engine(&mut self, engine: Engine) {
        match engine {
            Engine::Short(short, _) => self.short = Some(short),
            Engine::Stream(compressor) => self.take_back_compressor(compressor),
        }
    }

    fn take_back_compressor(&mut self, mut compressor: Box<Compressor>) {
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

#[cfg(test)]
mod tests {
    use super::{
        super::{compressor::End, work::Work},
        *,
    };

    const FULL: Shape = Shape { level: 6, memory_level: 8, window_bits: 15 };

    fn compress(codecs: &mut Codecs, len: Option<usize>, message: &[u8], end: End) -> Vec<u8> {
        let mut work = Work::new(codecs.engine(FULL, len), codecs);
        work.advance(message, end, &mut { usize::MAX });
        let out = work.out().to_vec();
        work.end(codecs);
        out
    }

    #[test]
    fn a_message_of_up_to_4096_bytes_takes_no_compressor_of_streams() {
        let mut codecs = Codecs::default();
        for (len, streams) in [(Some(0), 0), (Some(4096), 0), (Some(4097), 1), (None, 1)] {
            let message = vec![0; len.unwrap_or(1)];
            let out = compress(&mut codecs, len, &message, End::Message);
            assert_eq!(codecs.decompressor().message(&out), Ok(message));
            assert_eq!(codecs.compressors.len(), streams, "{len:?}");
        }
        assert!(codecs.short.is_some());
    }

    #[test]
    fn a_pooled_codec_has_an_empty_window() {
        let mut codecs = Codecs::default();
        let first = compress(&mut codecs, None, b"Hello", End::Message);
        assert_eq!(compress(&mut codecs, None, b"Hello", End::Message), first);
        assert_eq!(compress(&mut codecs, Some(5), b"Hello", End::Message), first);
        assert_eq!(compress(&mut codecs, Some(5), b"Hello", End::Message), first);
        assert_eq!(codecs.compressors.len(), 1);

        let mut decompressor = codecs.decompressor();
        assert_eq!(decompressor.message(&first).as_deref(), Ok(&b"Hello"[..]));
        codecs.take_back_decompressor(decompressor);
        assert!(codecs.decompressor().message(b"\xF2\x00\x11\x00\x00").is_err());
    }

    #[test]
    fn a_compressor_may_be_returned_in_the_middle_of_a_message() {
        let mut codecs = Codecs::default();
        compress(&mut codecs, None, b"Hello", End::Part);
        let out = compress(&mut codecs, None, b"Hello", End::Message);
        assert_eq!(out, b"\xF2\x48\xCD\xC9\xC9\x07\x00");
    }

    #[test]
    fn the_most_recent_codecs_are_kept_up_to_the_maximum() {
        let mut codecs = Codecs::default();
        for level in 1..=9 {
            let engines: Vec<_> = (0..6).map(|_| codecs.engine(Shape { level, ..FULL }, None)).collect();
            engines.into_iter().for_each(|engine| codecs.take_back_engine(engine));
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
