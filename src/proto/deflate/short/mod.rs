//! Compression of short messages, each by itself.
//!
//! zlib has tables for a window of 32 KiB. To clear them, and to build codes for streams of any
//! length, takes longer than all else for a message of a few hundred bytes. Here, the tables fit the
//! message, which is one block.

mod bits;
mod block;
#[cfg(test)]
mod corpora;
mod huffman;
mod lens;
mod matches;

use std::fmt;

pub(in crate::proto) use self::matches::LONGEST;
use self::{
    block::BlockWriter,
    matches::{Effort, Match, Matcher},
};
use super::{EMPTY, compressor::Shape};

/// Compresses messages of at most [`LONGEST`] bytes, each without reference to others.
///
/// It takes about 35 KB. The result is at most six bytes longer than the message.
pub(in crate::proto) struct ShortCompressor {
    matcher: Matcher,
    matches: Vec<Match>,
    block: BlockWriter,
}

impl ShortCompressor {
    pub(in crate::proto) fn new() -> Self {
        Self { matcher: Matcher::new(), matches: Vec::with_capacity(LONGEST / 3), block: BlockWriter::new() }
    }

    /// Compresses a whole message, and appends the result to `out`, as
    /// [`Compressor::compress`](super::Compressor::compress) does at the end of one.
    ///
    /// No reference is longer than the window of the shape, from 8 bits on. Its memory level has no
    /// effect.
    pub(in crate::proto) fn compress(&mut self, message: &[u8], shape: Shape, out: &mut Vec<u8>) {
        debug_assert!(message.len() <= LONGEST);
        if message.is_empty() {
            out.push(EMPTY);
            return;
        }
        self.matcher.find_all(message, 1 << shape.window_bits, effort(shape.level), &mut self.matches);
        self.block.write(message, &self.matches, out);
    }
}

/// Returns the effort of a level from 1 to 9.
///
/// At each, the result is about as large as that of zlib at the same level, or smaller; at the first
/// it is much smaller, because zlib then uses fixed codes only.
fn effort(level: u8) -> Effort {
    let (depth, enough, lazy) = match level {
        0..=1 => (1, 16, 0),
        2 => (4, 16, 0),
        3 => (8, 32, 4),
        4 => (8, 32, 8),
        5 => (16, 64, 16),
        6 => (24, 128, 16),
        7 => (48, 128, 32),
        8 => (64, 258, 64),
        _ => (128, 258, 258),
    };
    Effort { depth, enough, lazy }
}

/// Redacted: its tables contain data of earlier messages.
impl fmt::Debug for ShortCompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShortCompressor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            compressor::{Compressor, End},
            decompressor::Decompressor,
        },
        corpora::{Corpus, NAMES},
        *,
    };

    const FULL: Shape = Shape { level: 6, memory_level: 8, window_bits: 15 };

    fn compress(message: &[u8], shape: Shape) -> Vec<u8> {
        let mut out = Vec::new();
        ShortCompressor::new().compress(message, shape, &mut out);
        out
    }

    /// Asserts that a message is restored, and returns its compressed length.
    #[track_caller]
    fn restored(compressor: &mut ShortCompressor, message: &[u8], shape: Shape) -> usize {
        let mut out = Vec::new();
        compressor.compress(message, shape, &mut out);
        assert!(Decompressor::new().message(&out).as_deref() == Ok(message), "{shape:?}, {message:02X?}");
        assert!(out.len() <= message.len() + 6, "{} for {}", out.len(), message.len());
        out.len()
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        (1..=9_u8, 8..=15_u8).prop_map(|(level, window_bits)| Shape { level, window_bits, ..FULL })
    }

    fn noise(seed: u64) -> impl Iterator<Item = u8> {
        let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        std::iter::successors(Some(seed), next).map(|state| (state >> 56) as u8)
    }

    /// RFC 7692 section 7.2.3.1.
    #[test]
    fn a_message_is_one_block_and_the_start_of_an_empty_one() {
        assert_eq!(compress(b"Hello", FULL), b"\xF2\x48\xCD\xC9\xC9\x07\x00");
    }

    /// RFC 7692 section 7.2.3.6.
    #[test]
    fn an_empty_message_is_one_byte() {
        assert_eq!(compress(b"", FULL), b"\x00");
    }

    /// RFC 7692 section 7.2.3.3.
    #[test]
    fn a_message_that_would_grow_is_stored() {
        assert_eq!(compress(b"\xFF", FULL), b"\xFA\x0F\x00", "a fixed block is shorter");
        let message: Vec<u8> = noise(1).take(LONGEST).collect();
        let expected = [b"\x00\x00\x10\xFF\xEF", &message[..], b"\x00"].concat();
        assert_eq!(compress(&message, FULL), expected);
    }

    #[test]
    fn a_repeated_byte_takes_a_few_bytes() {
        for len in [258, 259, 4095, LONGEST] {
            let bytes = restored(&mut ShortCompressor::new(), &vec![b'a'; len], FULL);
            assert!(bytes <= 24, "{bytes} for {len}");
        }
    }

    #[test]
    fn output_is_appended() {
        let mut out = b"frame".to_vec();
        ShortCompressor::new().compress(b"Hello", FULL, &mut out);
        assert_eq!(out, b"frame\xF2\x48\xCD\xC9\xC9\x07\x00");
    }

    #[test]
    fn messages_of_any_length_are_restored_with_any_parameters() {
        let text: String = (0..).map(|n: u32| format!("{},", n.wrapping_mul(77_777))).take(1_500).collect();
        let mut compressor = ShortCompressor::new();
        for len in (0..20).chain([257, 258, 259, 260, 511, 512, 513, 1023, 1024, 4094, 4095, LONGEST]) {
            for level in 1..=9 {
                for window_bits in 8..=15 {
                    let shape = Shape { level, window_bits, ..FULL };
                    restored(&mut compressor, &text.as_bytes()[..len], shape);
                    restored(&mut compressor, &vec![0; len], shape);
                }
            }
        }
    }

    #[test]
    fn all_bytes_and_lengths_are_restored() {
        let mut compressor = ShortCompressor::new();
        let all: Vec<u8> = (0..=255).collect();
        for len in 3..=300 {
            // A match of each length, at distances of many.
            let mut message = all.repeat(2)[..len].to_vec();
            message.extend_from_slice(&all[..len % 256]);
            message.extend_from_within(..len);
            restored(&mut compressor, &message, FULL);
        }
        for distance in 1..=2048 {
            let block: Vec<u8> = noise(distance as u64).take(distance).collect();
            restored(&mut compressor, &[&block[..], &block].concat(), FULL);
        }
    }

    #[test]
    fn no_message_refers_to_an_earlier_one() {
        let mut compressor = ShortCompressor::new();
        let mut corpus = Corpus::new(NAMES[0]);
        for len in [4000, 100, 300, 100, 1000, 4000, 70] {
            let message = corpus.message(len).into_bytes();
            let mut out = Vec::new();
            compressor.compress(&message, FULL, &mut out);
            assert_eq!(out, compress(&message, FULL));
        }
    }

    /// zlib-rs at level 6, with its largest tables.
    #[test]
    fn no_corpus_is_larger_than_with_zlib_by_more_than_2_percent() {
        let (mut short, mut zlib) = (ShortCompressor::new(), Compressor::new(FULL));
        for name in NAMES {
            for len in [100, 300, 1024, LONGEST] {
                let mut corpus = Corpus::new(name);
                let (mut ours, mut theirs) = (0, 0);
                for _ in 0..60 {
                    let message = corpus.message(len).into_bytes();
                    assert!((len / 2..=len).contains(&message.len()), "{} for {len}", message.len());
                    ours += restored(&mut short, &message, FULL);
                    let mut out = Vec::new();
                    zlib.compress(&message, End::Message, &mut out);
                    zlib.reset();
                    theirs += out.len();
                }
                assert!(ours * 100 <= theirs * 102, "{name}, {len} bytes: {ours} instead of {theirs}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_restored(
            message in proptest::collection::vec(any::<u8>(), 0..=LONGEST),
            shape in shapes(),
        ) {
            restored(&mut ShortCompressor::new(), &message, shape);
        }

        #[test]
        fn repetitive_bytes_are_restored(
            pieces in proptest::collection::vec(("[ab]{1,9}|[0-9a-f\u{0}-\u{ff}]{1,40}", 1..40_usize), 1..60),
            shape in shapes(),
        ) {
            let mut message = pieces.iter().map(|(piece, times)| piece.repeat(*times)).collect::<String>().into_bytes();
            message.truncate(LONGEST);
            restored(&mut ShortCompressor::new(), &message, shape);
        }

        #[test]
        fn messages_of_every_corpus_are_restored_at_any_length(
            name in proptest::sample::select(&NAMES[..]),
            lens in proptest::collection::vec(0..=LONGEST, 1..5),
            shape in shapes(),
        ) {
            let (mut compressor, mut corpus) = (ShortCompressor::new(), Corpus::new(name));
            for len in lens {
                let mut message = corpus.message(LONGEST).into_bytes();
                message.truncate(len);
                restored(&mut compressor, &message, shape);
            }
        }
    }
}
