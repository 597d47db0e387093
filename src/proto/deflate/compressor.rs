//! Compression of payload data.

use std::fmt;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::{EMPTY, TAIL};

/// The maximum room for compressed data in one step.
const STEP: usize = 16 * 1024;

/// Room beyond the data for block headers, and for a flush, which must find more than six bytes or
/// is written twice.
const SLACK: usize = 64;

/// The parameters of a compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The effort to find repetitions, 1 to 9.
    pub(crate) level: u8,
    /// The size of its tables, 1 to 9. A block has at least `2^(memory_level + 6) - 1` bytes of a
    /// message.
    pub(crate) memory_level: u8,
    /// The window has `2^window_bits` bytes, 8 to 15. zlib does not support 8.
    pub(crate) window_bits: u8,
}

impl Shape {
    /// Returns whether a [`Compressor`] supports it: zlib has no windows of less than 9 bits.
    pub(crate) fn is_for_streams(&self) -> bool {
        self.window_bits >= 9
    }
}

/// What ends with the data that is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing: more data of the same part follows.
    Open,
    /// A part of a message: the receiver of the output so far can decompress it.
    Part,
    /// The message.
    Message,
}

/// Compresses messages, whole or in parts.
pub(crate) struct Compressor {
    deflate: Deflate,
    shape: Shape,
}

impl Compressor {
    /// Creates a compressor.
    ///
    /// # Panics
    /// Panics if a parameter is out of its range, or not [supported](Shape::is_for_streams).
    pub(crate) fn new(shape: Shape) -> Self {
        assert!((1..=9).contains(&shape.level) && (1..=9).contains(&shape.memory_level));
        assert!(shape.is_for_streams() && shape.window_bits <= 15);
        let config = DeflateConfig {
            level: shape.level.into(),
            mem_level: shape.memory_level.into(),
            window_bits: -i32::from(shape.window_bits), // negative: bare DEFLATE, without a zlib header
            ..DeflateConfig::default()
        };
        Self { deflate: Deflate::new_with_config(config), shape }
    }

    /// Compresses the next data of a message, and appends the result to `out`.
    ///
    /// At the [end](End) of a message or of a part, the result contains all data so far. An empty
    /// part appends nothing.
    pub(crate) fn compress(&mut self, mut data: &[u8], end: End, out: &mut Vec<u8>) {
        if data.is_empty() {
            if end == End::Message {
                out.push(EMPTY);
            }
            return;
        }
        let flush = if end == End::Open { DeflateFlush::NoFlush } else { DeflateFlush::SyncFlush };
        loop {
            let room = STEP.min(data.len() + data.len() / 8 + SLACK);
            let flushed = self.step(&mut data, flush, room, out);
            if data.is_empty() && (flushed || end == End::Open) {
                break;
            }
        }
        // RFC 7692 section 7.2.1: the sender removes the tail of the empty block that the flush
        // ends with.
        if end == End::Message {
            debug_assert!(out.ends_with(&TAIL));
            out.truncate(out.len() - TAIL.len());
        }
    }

    /// Clears the window: what follows refers to nothing before it.
    pub(crate) fn reset(&mut self) {
        self.deflate.reset();
    }

    /// Returns its parameters.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Compresses as much as fits into `room` bytes; returns whether all output was written.
    fn step(&mut self, data: &mut &[u8], flush: DeflateFlush, room: usize, out: &mut Vec<u8>) -> bool {
        let (taken, put) = (self.deflate.total_in(), self.deflate.total_out());
        let begin = out.len();
        out.resize(begin + room, 0);
        self.deflate
            .compress(data, &mut out[begin..], flush)
            .expect("fails only after a final block, which is never requested");
        *data = &data[(self.deflate.total_in() - taken) as usize..];
        let put = (self.deflate.total_out() - put) as usize;
        out.truncate(begin + put);
        put < room
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("shape", &self.shape).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decompressor::Decompressor;
    use super::*;

    const FULL: Shape = Shape { level: 6, memory_level: 8, window_bits: 15 };

    fn compress(compressor: &mut Compressor, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compressor.compress(message, End::Message, &mut out);
        out
    }

    /// Generates JSON of a market feed, or random bytes.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let trade =
            (0..4_u8, 0..9999_u32).prop_map(|(s, p)| format!("{{\"s\":\"ABC{s}\",\"p\":\"{p}.5\"}},"));
        prop_oneof![
            proptest::collection::vec(trade, 0..200).prop_map(|trades| trades.concat().into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..3000),
        ]
    }

    /// RFC 7692 section 7.2.3.1.
    #[test]
    fn a_message_is_one_block_and_the_start_of_an_empty_one() {
        assert_eq!(compress(&mut Compressor::new(FULL), b"Hello"), b"\xF2\x48\xCD\xC9\xC9\x07\x00");
    }

    /// RFC 7692 section 7.2.3.2.
    #[test]
    fn the_second_message_refers_to_the_first_one() {
        let mut compressor = Compressor::new(FULL);
        compress(&mut compressor, b"Hello");
        assert_eq!(compress(&mut compressor, b"Hello"), b"\xF2\x00\x11\x00\x00");
    }

    #[test]
    fn after_a_reset_no_earlier_message_is_referred_to() {
        let mut compressor = Compressor::new(FULL);
        compress(&mut compressor, b"Hello");
        compressor.reset();
        assert_eq!(compress(&mut compressor, b"Hello"), b"\xF2\x48\xCD\xC9\xC9\x07\x00");
    }

    /// RFC 7692 section 7.2.3.6.
    #[test]
    fn an_empty_message_is_one_byte() {
        let mut compressor = Compressor::new(FULL);
        assert_eq!(compress(&mut compressor, b""), b"\x00");
        assert_eq!(compress(&mut compressor, b""), b"\x00");
        assert_eq!(compress(&mut compressor, b"Hello"), b"\xF2\x48\xCD\xC9\xC9\x07\x00");
    }

    /// RFC 7692 section 7.2.3.6.
    #[test]
    fn an_empty_part_appends_nothing_unless_it_is_the_last() {
        let mut compressor = Compressor::new(FULL);
        let mut out = Vec::new();
        compressor.compress(b"", End::Part, &mut out);
        assert_eq!(out, b"");
        compressor.compress(b"Hello", End::Part, &mut out);
        compressor.compress(b"", End::Part, &mut out);
        assert_eq!(out, b"\xF2\x48\xCD\xC9\xC9\x07\x00\x00\x00\xFF\xFF");
        compressor.compress(b"", End::Message, &mut out);
        assert_eq!(out, b"\xF2\x48\xCD\xC9\xC9\x07\x00\x00\x00\xFF\xFF\x00");
    }

    #[test]
    fn output_is_appended() {
        let mut out = b"frame".to_vec();
        Compressor::new(FULL).compress(b"Hello", End::Message, &mut out);
        assert_eq!(out, b"frame\xF2\x48\xCD\xC9\xC9\x07\x00");
    }

    #[test]
    fn well_compressed_output_stays_within_one_step() {
        let mut out = Vec::new();
        Compressor::new(FULL).compress(&vec![b'a'; 8 << 20], End::Message, &mut out);
        assert!(out.len() < STEP && out.capacity() <= STEP, "{} in {}", out.len(), out.capacity());
    }

    #[test]
    fn incompressible_data_is_stored_over_many_steps() {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        let noise: Vec<u8> = noise.take(1 << 20).collect();
        for level in [1, 6, 9] {
            let out = compress(&mut Compressor::new(Shape { level, ..FULL }), &noise);
            assert!(out.len() < noise.len() + noise.len() / 8, "{} at level {level}", out.len());
            assert_eq!(Decompressor::new().message(&out).as_ref(), Ok(&noise));
        }
    }

    proptest! {
        #[test]
        fn messages_are_restored_for_any_shape_with_and_without_takeover(
            messages in proptest::collection::vec(message(), 1..6),
            level in 1..=9_u8,
            memory_level in 1..=9_u8,
            window_bits in 9..=15_u8,
            takeover: bool,
        ) {
            let mut compressor = Compressor::new(Shape { level, memory_level, window_bits });
            let mut decompressor = Decompressor::new();
            for message in messages {
                let payload = compress(&mut compressor, &message);
                prop_assert_eq!(decompressor.message(&payload), Ok(message));
                if !takeover {
                    compressor.reset();
                    decompressor.reset();
                }
            }
        }

        #[test]
        fn each_part_can_be_inflated_immediately(
            message in message(),
            cuts in proptest::collection::vec(0_usize..1500, 0..8),
            ends_empty: bool,
        ) {
            let mut compressor = Compressor::new(FULL);
            let mut decompressor = Decompressor::new();
            let (mut inflated, mut filled) = (vec![0; message.len() + 1], 0);
            let mut rest = &message[..];
            let mut parts: Vec<&[u8]> = Vec::new();
            for cut in cuts {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = after;
            }
            parts.push(rest);
            if ends_empty {
                parts.push(b"");
            }
            let mut sent = 0;
            for (index, part) in parts.iter().enumerate() {
                let mut out = Vec::new();
                let end = if index + 1 == parts.len() { End::Message } else { End::Part };
                compressor.compress(part, end, &mut out);
                filled += decompressor.inflate(&out, &mut inflated[filled..]).unwrap().produced;
                sent += part.len();
                prop_assert_eq!(&inflated[..filled], &message[..sent]);
            }
            prop_assert_eq!(decompressor.finish(), Ok(()));
        }
    }

    #[test]
    fn the_room_for_a_short_message_is_about_its_length() {
        let message: Vec<u8> =
            (0..1000_u32).map(|nth| (nth.wrapping_mul(2_654_435_769) >> 24) as u8).collect();
        let out = compress(&mut Compressor::new(FULL), &message);
        assert!(out.len() > 800 && out.capacity() < 1500, "{} in {}", out.len(), out.capacity());
    }
}
