//! Decompression of payload data.

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::TAIL;

/// The largest window of DEFLATE. It is used even if a smaller one was negotiated, which the sender
/// keeps to.
const WINDOW_BITS: u8 = 15;

/// Decompresses messages, as their payload data arrives and as far as there is room.
///
/// Call [`finish`](Self::finish) after each message. After an error, only [`reset`](Self::reset)
/// may be called.
///
/// RFC 7692 section 7.2.2. A reference to before all decompressed data, or further back than 32
/// KiB, is invalid. A reference beyond a smaller negotiated window is not detected.
///
/// RFC 7692 section 7.2.3.4: a block may be marked as final, anywhere in a message. As in RFC 1951,
/// it ends the data: what follows refers to nothing before it.
pub(crate) struct Decompressor {
    inflate: Inflate,
    /// Whether a final block has ended, and nothing of this message followed.
    ended: bool,
}

/// The result of [`Decompressor::inflate`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The number of bytes of the input that were consumed.
    pub(crate) consumed: usize,
    /// The number of bytes that were written.
    pub(crate) produced: usize,
}

/// The data is not DEFLATE data, or not a whole message of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("invalid DEFLATE data")]
pub(crate) struct InvalidDeflate;

impl Decompressor {
    /// Creates a decompressor.
    pub(crate) fn new() -> Self {
        Self { inflate: Inflate::new(false, WINDOW_BITS), ended: false }
    }

    /// Decompresses `input` into `out`.
    ///
    /// Stops when the input or the room is used up. If room is left, everything that the input
    /// contains was written; otherwise more may be held back, which the next call returns, even
    /// without input.
    ///
    /// # Errors
    /// The data is invalid, whatever follows.
    pub(crate) fn inflate(&mut self, input: &[u8], out: &mut [u8]) -> Result<Progress, InvalidDeflate> {
        let mut done = Progress::default();
        loop {
            let (step, status) =
                self.step(&input[done.consumed..], &mut out[done.produced..], InflateFlush::NoFlush)?;
            done.consumed += step.consumed;
            done.produced += step.produced;
            if status == Status::StreamEnd {
                self.begin_again();
            }
            if done.consumed == input.len() || done.produced == out.len() {
                return Ok(done);
            }
            // Neither the input nor the room is used up: after a final block, and for input beyond
            // 4 GiB.
            if status != Status::StreamEnd && step == Progress::default() {
                return Err(InvalidDeflate);
            }
        }
    }

    /// Ends the message, all of which was decompressed with room left.
    ///
    /// # Errors
    /// The message is incomplete, or does not end as RFC 7692 section 7.2.1 requires.
    pub(crate) fn finish(&mut self) -> Result<(), InvalidDeflate> {
        // RFC 7692 section 7.2.3.4 requires one more byte after a final block. It is accepted
        // without it as well.
        if !self.ended {
            self.take_tail()?;
        }
        self.ended = false;
        Ok(())
    }

    /// Clears all state: what follows refers to nothing before it.
    pub(crate) fn reset(&mut self) {
        // This also sets the window to 15 bits, as it was.
        self.inflate.reset(false);
        self.ended = false;
    }

    /// Processes the four bytes that the sender removed.
    fn take_tail(&mut self) -> Result<(), InvalidDeflate> {
        // RFC 7692 section 7.2.2: with them a block ends, an empty one. A fifth byte, which must be
        // left over, and room, which must stay, tell that from a block that goes on, and swallows
        // them. (Were they the length of a block that began too early, the fifth is no length's
        // complement.)
        let [a, b, c, d] = TAIL;
        let mut room = [0];
        let (step, _) = self.step(&[a, b, c, d, 0xFF], &mut room, InflateFlush::Block)?;
        if step != (Progress { consumed: TAIL.len(), produced: 0 }) {
            return Err(InvalidDeflate);
        }
        // The empty block may have been marked as final: then this comes to the end, and else it
        // does nothing.
        let (_, status) = self.step(&[], &mut room, InflateFlush::NoFlush)?;
        if status == Status::StreamEnd {
            self.begin_again();
        }
        Ok(())
    }

    /// Continues after a final block.
    fn begin_again(&mut self) {
        self.reset();
        self.ended = true;
    }

    fn step(
        &mut self,
        input: &[u8],
        out: &mut [u8],
        flush: InflateFlush,
    ) -> Result<(Progress, Status), InvalidDeflate> {
        let (taken, put) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, out, flush).map_err(|_| InvalidDeflate)?;
        let consumed = self.inflate.total_in() - taken;
        self.ended &= consumed == 0;
        let produced = (self.inflate.total_out() - put) as usize;
        Ok((Progress { consumed: consumed as usize, produced }, status))
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Decompressor {
    /// Decompresses a whole message.
    pub(in crate::proto) fn message(&mut self, payload: &[u8]) -> Result<Vec<u8>, InvalidDeflate> {
        self.message_in_steps(payload, usize::MAX, 1024)
    }

    /// Decompresses a whole message, with this much input and room at a time.
    fn message_in_steps(
        &mut self,
        payload: &[u8],
        input: usize,
        room: usize,
    ) -> Result<Vec<u8>, InvalidDeflate> {
        let (mut message, mut filled) = (Vec::new(), 0);
        let mut consumed = 0_usize;
        loop {
            message.resize(filled + room, 0);
            let end = payload.len().min(consumed.saturating_add(input));
            let step = self.inflate(&payload[consumed..end], &mut message[filled..])?;
            assert!(step.consumed <= end - consumed && step.produced <= room);
            consumed += step.consumed;
            filled += step.produced;
            if filled < message.len() {
                assert_eq!(consumed, end, "input and room remain");
                if consumed == payload.len() {
                    message.truncate(filled);
                    return self.finish().map(|()| message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compressor::{Compressor, End, Shape};
    use super::*;

    /// "Hello" as a final block, with no bytes after it.
    const FINAL_HELLO: &[u8] = b"\xF3\x48\xCD\xC9\xC9\x07\x00";

    fn compressor() -> Compressor {
        Compressor::new(Shape { level: 6, memory_level: 8, window_bits: 15 })
    }

    fn compress(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compressor().compress(message, End::Message, &mut out);
        out
    }

    /// Asserts that a payload is inflated to a message.
    #[track_caller]
    fn inflates(decompressor: &mut Decompressor, payload: &[u8], message: &[u8]) {
        assert_eq!(decompressor.message(payload).as_deref(), Ok(message));
    }

    /// RFC 7692 section 7.2.3.1.
    #[test]
    fn one_block_inflates() {
        inflates(&mut Decompressor::new(), b"\xF2\x48\xCD\xC9\xC9\x07\x00", b"Hello");
    }

    /// RFC 7692 section 7.2.3.1: the same message, in two fragments.
    #[test]
    fn a_block_may_be_divided_into_fragments() {
        let mut decompressor = Decompressor::new();
        let mut message = [0; 8];
        let first = decompressor.inflate(b"\xF2\x48\xCD", &mut message).unwrap();
        let second = decompressor.inflate(b"\xC9\xC9\x07\x00", &mut message[first.produced..]).unwrap();
        let len = first.produced + second.produced;
        assert_eq!(&message[..len], b"Hello");
        assert_eq!(decompressor.finish(), Ok(()));
    }

    /// RFC 7692 section 7.2.3.2.
    #[test]
    fn the_window_is_kept_from_message_to_message() {
        let mut decompressor = Decompressor::new();
        inflates(&mut decompressor, b"\xF2\x48\xCD\xC9\xC9\x07\x00", b"Hello");
        inflates(&mut decompressor, b"\xF2\x00\x11\x00\x00", b"Hello");
        inflates(&mut decompressor, b"\xF2\x00\x11\x00\x00", b"Hello");
    }

    #[test]
    fn a_reference_to_a_message_before_a_reset_is_invalid() {
        let mut decompressor = Decompressor::new();
        assert_eq!(decompressor.message(b"\xF2\x00\x11\x00\x00"), Err(InvalidDeflate));
        decompressor.reset();
        inflates(&mut decompressor, b"\xF2\x48\xCD\xC9\xC9\x07\x00", b"Hello");
        decompressor.reset();
        assert_eq!(decompressor.message(b"\xF2\x00\x11\x00\x00"), Err(InvalidDeflate));
    }

    /// RFC 7692 section 7.2.3.3.
    #[test]
    fn a_stored_block_inflates() {
        let payload = b"\x00\x05\x00\xFA\xFF\x48\x65\x6C\x6C\x6F\x00";
        inflates(&mut Decompressor::new(), payload, b"Hello");
    }

    /// RFC 7692 section 7.2.3.4.
    #[test]
    fn a_final_block_inflates() {
        let mut decompressor = Decompressor::new();
        for _ in 0..3 {
            inflates(&mut decompressor, &[FINAL_HELLO, b"\x00"].concat(), b"Hello");
        }
    }

    /// The output of a compressor that supports whole streams only.
    #[test]
    fn a_message_may_end_with_a_final_block() {
        let mut decompressor = Decompressor::new();
        inflates(&mut decompressor, FINAL_HELLO, b"Hello");
        inflates(&mut decompressor, b"\x03\x00", b"");
        inflates(&mut decompressor, b"\x01", b"");
        inflates(&mut decompressor, b"\x01\x00\x00\xFF\xFF", b"");
        inflates(&mut decompressor, b"\xF2\x48\xCD\xC9\xC9\x07\x00", b"Hello");
        assert_eq!(Decompressor::new().message(&FINAL_HELLO[..6]), Err(InvalidDeflate));
    }

    #[test]
    fn a_final_block_of_an_earlier_message_does_not_end_the_next() {
        let mut decompressor = Decompressor::new();
        inflates(&mut decompressor, FINAL_HELLO, b"Hello");
        assert_eq!(decompressor.message(b""), Err(InvalidDeflate));
    }

    #[test]
    fn a_reference_to_data_before_a_final_block_is_invalid() {
        let mut decompressor = Decompressor::new();
        inflates(&mut decompressor, &[FINAL_HELLO, FINAL_HELLO, b"\x00"].concat(), b"HelloHello");
        let refers = b"\xF2\x00\x11\x00\x00";
        assert_eq!(decompressor.message(&[FINAL_HELLO, refers].concat()), Err(InvalidDeflate));
        decompressor.reset();
        inflates(&mut decompressor, FINAL_HELLO, b"Hello");
        assert_eq!(decompressor.message(refers), Err(InvalidDeflate));
    }

    /// RFC 7692 section 7.2.3.5.
    #[test]
    fn two_blocks_in_one_message_inflate() {
        let payload = b"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00";
        inflates(&mut Decompressor::new(), payload, b"Hello");
    }

    /// RFC 7692 section 7.2.3.6.
    #[test]
    fn an_empty_message_is_an_empty_block() {
        let mut decompressor = Decompressor::new();
        inflates(&mut decompressor, b"\x00", b"");
        inflates(&mut decompressor, b"\x02\x00", b"");
        inflates(&mut decompressor, &b"\x00\x00\x00\xFF\xFF".repeat(10_000)[..49_996], b"");
    }

    /// RFC 7692 section 7.2.2.
    #[test]
    fn a_message_that_ends_in_the_middle_of_a_block_is_invalid() {
        for payload in
            [&b""[..], b"\x00\x00\x00\xFF\xFF", b"\x00\x08\x00\xF7\xFFHell", b"\xF2\x48\xCD\xC9\xC9"]
        {
            assert_eq!(Decompressor::new().message(payload), Err(InvalidDeflate), "{payload:02X?}");
        }
    }

    #[test]
    fn every_truncated_message_is_invalid() {
        let text =
            b"{\"s\":\"ABC\",\"p\":\"12.5\"},{\"s\":\"ABD\",\"p\":\"13.5\"},{\"s\":\"ABE\",\"p\":\"77\"}"
                .repeat(40);
        for message in [&text[..23], &text[..], b"\x00\x00\x00\x00\xFF\xFF\xFF\xFF"] {
            for level in [1, 6, 9] {
                let mut payload = Vec::new();
                let shape = Shape { level, memory_level: 8, window_bits: 15 };
                Compressor::new(shape).compress(message, End::Message, &mut payload);
                for len in 0..payload.len() {
                    assert_eq!(Decompressor::new().message(&payload[..len]), Err(InvalidDeflate), "{len}");
                }
            }
        }
    }

    #[test]
    fn a_reference_to_data_before_the_first_message_is_invalid() {
        // A fixed block: "a", and a match of length 3 and distance 2.
        assert_eq!(Decompressor::new().message(b"\x4A\x04\x41\x00\x00"), Err(InvalidDeflate));
    }

    #[test]
    fn a_message_ends_after_one_more_step_if_it_fills_the_room_exactly() {
        let mut decompressor = Decompressor::new();
        let mut message = [0; 6];
        let payload = compress(b"Hello");
        let done = decompressor.inflate(&payload, &mut message[..5]).unwrap();
        assert_eq!(done.produced, 5);
        let done = decompressor.inflate(&payload[done.consumed..], &mut message[5..]).unwrap();
        assert_eq!(done.produced, 0);
        assert_eq!(decompressor.finish(), Ok(()));
    }

    #[test]
    fn a_gibibyte_of_zeros_is_inflated_in_steps() {
        let (mut compressor, mut decompressor) = (compressor(), Decompressor::new());
        let mebibyte = vec![0; 1 << 20];
        let mut room = vec![1; 1 << 16];
        let mut inflated = 0_u64;
        let mut part = Vec::new();
        for index in 0..1024 {
            // From the second one on, the parts are equal: the window contains the same data.
            if index < 2 {
                part.clear();
                compressor.compress(&mebibyte, End::Part, &mut part);
            }
            let mut rest = &part[..];
            loop {
                let done = decompressor.inflate(rest, &mut room).unwrap();
                rest = &rest[done.consumed..];
                inflated += done.produced as u64;
                if done.produced < room.len() {
                    break;
                }
            }
        }
        assert_eq!(inflated, 1 << 30);
        assert_eq!(decompressor.inflate(b"\x00", &mut room), Ok(Progress { consumed: 1, produced: 0 }));
        assert_eq!(decompressor.finish(), Ok(()));
    }

    #[test]
    fn a_million_final_blocks_are_inflated_one_by_one() {
        let done = Decompressor::new().inflate(&b"\x03\x00".repeat(1 << 20), &mut [0]);
        assert_eq!(done, Ok(Progress { consumed: 2 << 20, produced: 0 }));
    }

    /// Generates bytes that begin like a message more often than random ones.
    fn garbage() -> impl Strategy<Value = Vec<u8>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            bytes(),
            (bytes(), 0_usize..300, any::<u8>()).prop_map(|(message, at, bits)| {
                let mut payload = compress(&message.repeat(3));
                let at = at % payload.len();
                payload[at] ^= bits;
                payload
            }),
            bytes().prop_map(|tail| [FINAL_HELLO, &tail].concat()),
        ]
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_size_of_input_and_room(
            payload in garbage(),
            input in 1_usize..20,
            room in 1_usize..300,
        ) {
            let whole = Decompressor::new().message(&payload);
            prop_assert_eq!(Decompressor::new().message_in_steps(&payload, input, room), whole);
        }

        #[test]
        fn a_message_is_inflated_with_any_size_of_input_and_room(
            words in proptest::collection::vec("[a-e]{1,9}", 0..300),
            input in 1_usize..40,
            room in 1_usize..600,
        ) {
            let message = words.concat().into_bytes();
            let payload = compress(&message);
            prop_assert_eq!(Decompressor::new().message_in_steps(&payload, input, room), Ok(message));
        }
    }
}
