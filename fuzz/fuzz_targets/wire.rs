//! The input of the target `decoders`: frames, valid or not, as an input describes them.

use crate::frames::{self, frame};

/// The maximum length of frames and of messages, for all decoders.
pub(crate) const LIMIT: usize = 1 << 16;

/// No frame begins after this many bytes.
const LONGEST: usize = 2 * LIMIT;

/// The lengths of payload data that a record can choose: those around the limits of the length forms
/// and of frames.
const LENGTHS: [usize; 8] = [125, 126, 127, 1000, 65_535, LIMIT, LIMIT + 1, 40_000];

/// Bytes on a connection, and how they are divided into reads.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    /// The lengths of the reads, the last of which is repeated.
    pub(crate) reads: [usize; 3],
}

impl Wire {
    /// Reads an input: flags, the lengths of three reads, a mutation, and records.
    ///
    /// With flag 1, frames are masked, as a client sends them. With flag 2, what follows are the
    /// bytes themselves, without records.
    pub(crate) fn of(input: &[u8]) -> Option<Self> {
        let ([flags, reads @ .., high, low, change], records) = input.split_first_chunk::<7>()?;
        let mut bytes = match flags & 2 {
            0 => encode(records, flags & 1 == 1),
            _ => records.to_vec(),
        };
        // One byte is changed after masking: in a header, in a key, or in payload data.
        if let Some(byte) = bytes.get_mut(usize::from(u16::from_be_bytes([*high, *low]))) {
            *byte ^= change;
        }
        // At most about a thousand reads.
        let least = 1 + bytes.len() / 1000;
        let len = |len: u8| if len == u8::MAX { usize::MAX } else { usize::from(len).max(least) };
        Some(Self { bytes, reads: reads.map(len) })
    }
}

/// Encodes records, each of which is a frame or some bytes:
///
/// ```text
/// record  = first flags payload
/// first   = the first byte of the frame; with all three reserved bits: bytes, as many as `flags` says
/// flags   = 1 bit:  masked as the other role does
///           2 bits: the form of the length: shortest, 16 bits, 64 bits, 64 bits and too long
///           5 bits: the length of the payload data, which follows; from 24 on: one byte follows,
///                   which is repeated up to one of `LENGTHS`
/// ```
fn encode(mut records: &[u8], masks: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut key = frames::KEY;
    while let Some(([first, flags], rest)) = records.split_first_chunk()
        && wire.len() < LONGEST
    {
        let choice = usize::from(flags & 0x1F);
        let taken = match choice.checked_sub(24) {
            Some(_) if first & 0x70 != 0x70 => 1,
            _ => choice,
        };
        let (taken, rest) = rest.split_at(taken.min(rest.len()));
        records = rest;
        if first & 0x70 == 0x70 {
            wire.extend_from_slice(taken);
            continue;
        }
        let payload = match choice.checked_sub(24) {
            Some(long) => taken.repeat(LENGTHS[long]),
            None => taken.to_vec(),
        };
        let payload_len = payload.len() as u64;
        let mut frame = frame(first & 0x0F, payload).rsv(first >> 4 & 7);
        if first & 0x80 == 0 {
            frame = frame.more();
        }
        frame = match flags >> 5 & 3 {
            0 => frame,
            1 => frame.length_bits(16),
            2 => frame.length_bits(64),
            _ => frame.declaring(payload_len | 1 << 63),
        };
        if masks ^ (flags & 0x80 != 0) {
            frame = frame.masked_with(key);
        }
        key.rotate_left(1);
        wire.extend(frame.build());
    }
    wire
}
