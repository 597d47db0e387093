//! Decompression of received messages: most of them once they are complete, large ones as they
//! arrive.

use std::fmt;

use super::{
    codecs::Codecs,
    decompressor::{Decompressor, InvalidDeflate},
    params::DeflateParams,
};
use crate::proto::{
    error::ProtocolError,
    payload::{MaskKey, Payload},
    received::Part,
    role::Role,
};

/// An incomplete message takes at most this many times the memory of what was received of it.
const RATIO: usize = 16;

/// What decompression takes in addition to the message: a decompressor, which has about 48 KB, and
/// its boxes.
const BESIDE: usize = 64 << 10;

/// The least compressed data that is buffered before a message is decompressed, and the amount from
/// then on: less than the size of a decompressor.
const LEAST_GATHERED: usize = 16 << 10;

/// Returns how much compressed payload data is buffered before decompression begins, for a message
/// of at most `limit` bytes.
///
/// DEFLATE data grows up to 1,032 times. The amount is at least a sixteenth of all that
/// decompression can take. A short message is buffered as a whole.
fn gathered_first(limit: usize) -> usize {
    most_compressed(limit).min((limit.saturating_add(BESIDE) / RATIO).max(LEAST_GATHERED))
}

/// Returns the maximum compressed length of a message of this length. Incompressible data grows,
/// with the worst encoders by an eighth.
pub(in crate::proto) fn most_compressed(len: usize) -> usize {
    len.saturating_add(len / 8 + 64)
}

/// The most compressed bytes that one call consumes: there are blocks that take time and produce
/// nothing.
const INPUT_STRIDE: usize = 16 << 10;

/// About the most that one call decompresses. Other tasks run between the calls that a
/// decompression bomb takes.
const STRIDE: usize = 256 << 10;

/// The minimum and maximum room that is made at once for the output.
const LEAST_ROOM: usize = 512;
const MOST_ROOM: usize = 64 << 10;

/// How to decompress messages of the peer, and with context takeover the window.
#[derive(Debug)]
pub(in crate::proto) struct Inflation {
    takeover: bool,
    /// With context takeover, `Some` from the first compressed message.
    own: Option<Box<Decompressor>>,
}

/// The data of a compressed message that is not decompressed yet.
#[derive(Default)]
pub(in crate::proto) struct Compressed {
    gathered: Vec<u8>,
    /// The number of bytes of it that are decompressed.
    inflated: usize,
    /// Whether decompression has begun: from then on, little is buffered at a time.
    started: bool,
    /// For a message that is too long to be buffered, without context takeover.
    decompressor: Option<Box<Decompressor>>,
    /// Whether the decompressor may hold back some output.
    held_back: bool,
    /// Whether all of the message was received.
    ended: bool,
}

/// Redacted: prints only the length.
impl fmt::Debug for Compressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressed").field("gathered", &self.gathered.len()).finish_non_exhaustive()
    }
}

impl From<InvalidDeflate> for ProtocolError {
    fn from(InvalidDeflate: InvalidDeflate) -> Self {
        Self::InvalidDeflate
    }
}

impl Inflation {
    /// Creates it from what was negotiated.
    pub(in crate::proto) fn new(role: Role, params: DeflateParams) -> Self {
        let no_takeover = match role {
            Role::Server => params.client_no_context_takeover(),
            Role::Client => params.server_no_context_takeover(),
        };
        Self { takeover: !no_takeover, own: None }
    }

    /// Begins a compressed message.
    pub(in crate::proto) fn begin(&self) -> Compressed {
        Compressed::default()
    }

    /// Decompresses more of a message, and appends it to its payload data, which does not exceed
    /// `limit`; returns whether the message is complete.
    pub(in crate::proto) fn inflate(
        &mut self,
        compressed: &mut Compressed,
        payload: &mut Payload,
        limit: usize,
        codecs: &mut Codecs,
    ) -> Result<bool, ProtocolError> {
        let mut decompressor = self.decompressor(compressed, codecs);
        let stop = payload.len().saturating_add(STRIDE);
        let (mut whole, mut input) = (false, INPUT_STRIDE);
        while !whole && !compressed.is_drained() && payload.len() < stop && input > 0 {
            // The limit may be lower than when the message began.
            if payload.len() > limit {
                return Err(ProtocolError::MessageTooBig { limit: limit as u64 });
            }
            // One byte beyond the limit shows that the limit is exceeded.
            let most = limit.saturating_add(1);
            let left = payload.fill(compressed.room(), most, |out| {
                compressed.inflate(&mut decompressor, out, &mut input)
            })?;
            if payload.len() > limit {
                return Err(ProtocolError::MessageTooBig { limit: limit as u64 });
            }
            if left && compressed.is_exhausted() {
                decompressor.finish()?;
                whole = true;
            }
        }
        self.put_back(decompressor, compressed, whole, codecs);
        Ok(whole)
    }

    /// Decompresses more of a message into a buffer of the pool; returns that part. `None` if there
    /// is no output.
    pub(in crate::proto) fn inflate_part<'a>(
        &mut self,
        compressed: &mut Compressed,
        payload: &mut Payload,
        codecs: &'a mut Codecs,
    ) -> Result<Option<Part<'a>>, ProtocolError> {
        let mut decompressor = self.decompressor(compressed, codecs);
        let mut buffer = codecs.buffer();
        buffer.resize(compressed.room(), 0);
        let mut input = INPUT_STRIDE;
        let (produced, left) = compressed.inflate(&mut decompressor, &mut buffer, &mut input)?;
        buffer.truncate(produced);
        let last = left && compressed.is_exhausted();
        if last {
            decompressor.finish()?;
        }
        payload.unmask_and_validate(&mut buffer, None)?;
        self.put_back(decompressor, compressed, last, codecs);
        let (kind, payload) = (payload.kind(), codecs.lend(buffer));
        Ok((produced > 0 || last).then_some(Part { kind, payload, last }))
    }

    /// Drops the window: nothing more will be received.
    pub(in crate::proto) fn forget(&mut self) {
        self.own = None;
    }

    fn decompressor(&mut self, compressed: &mut Compressed, codecs: &mut Codecs) -> Box<Decompressor> {
        match (self.own.take().or_else(|| compressed.decompressor.take()), self.takeover) {
            (Some(own), _) => own,
            (None, true) => Box::new(Decompressor::new()),
            (None, false) => codecs.decompressor(),
        }
    }

    fn put_back(
        &mut self,
        decompressor: Box<Decompressor>,
        compressed: &mut Compressed,
        whole: bool,
        codecs: &mut Codecs,
    ) {
        if self.takeover {
            self.own = Some(decompressor);
        } else if whole {
            codecs.take_back_decompressor(decompressor);
        } else {
            compressed.decompressor = Some(decompressor);
        }
    }
}

impl Compressed {
    /// Returns how much more may be buffered before decompression, for a message of at most `limit`
    /// bytes.
    ///
    /// This depends only on what has been received, not on how it was cut into reads.
    pub(in crate::proto) fn gatherable(&self, limit: usize, in_parts: bool) -> usize {
        self.gathers(limit, in_parts).saturating_sub(self.gathered.len())
    }

    /// Appends a part of the payload data, at most what is [gatherable](Self::gatherable).
    pub(in crate::proto) fn gather(&mut self, part: &[u8], mask: Option<MaskKey>) {
        match mask {
            Some(key) => _ = key.append(part, &mut self.gathered),
            None => self.gathered.extend_from_slice(part),
        }
    }

    /// Records that all of the message was received.
    pub(in crate::proto) fn end(&mut self) {
        self.ended = true;
    }

    /// Returns whether all of the message was received.
    pub(in crate::proto) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Returns whether to decompress now: all of the message was received, or as much as is
    /// buffered; in parts, anything.
    pub(in crate::proto) fn is_ready(&self, limit: usize, in_parts: bool) -> bool {
        let least = if in_parts { 1 } else { self.gathers(limit, in_parts) };
        self.ended || self.held_back || self.inflated > 0 || self.gathered.len() >= least
    }

    /// Returns how much is buffered at most. In parts, no output is kept, so little is buffered.
    fn gathers(&self, limit: usize, in_parts: bool) -> usize {
        if in_parts {
            LEAST_GATHERED
        } else if self.started {
            most_compressed(limit).min(LEAST_GATHERED)
        } else {
            gathered_first(limit)
        }
    }

    /// Returns whether more input is needed for more output.
    fn is_drained(&self) -> bool {
        !self.held_back && !self.ended && self.inflated == self.gathered.len()
    }

    /// Returns whether all of the message was received and decompressed.
    fn is_exhausted(&self) -> bool {
        self.ended && self.inflated == self.gathered.len()
    }

    /// Decompresses at most `input` bytes, which it subtracts, into `out`. Returns the length of
    /// the output, and whether room is left, in which case nothing is held back.
    fn inflate(
        &mut self,
        decompressor: &mut Decompressor,
        out: &mut [u8],
        input: &mut usize,
    ) -> Result<(usize, bool), ProtocolError> {
        let end = self.gathered.len().min(self.inflated + *input);
        let progress = decompressor.inflate(&self.gathered[self.inflated..end], out)?;
        *input -= progress.consumed;
        self.started = true;
        self.inflated += progress.consumed;
        let left = progress.produced < out.len();
        self.held_back = !left;
        if self.inflated == self.gathered.len() {
            // Freed, because it may take long until more arrives.
            (self.gathered, self.inflated) = (Vec::new(), 0);
        }
        Ok((progress.produced, left))
    }

    /// Returns how much room to make. Text shrinks to about a quarter; if that was too little, it
    /// was much too little.
    fn room(&self) -> usize {
        if self.held_back {
            return MOST_ROOM;
        }
        ((self.gathered.len() - self.inflated) * 4).clamp(LEAST_ROOM, MOST_ROOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        deflate::{Compressor, End, Shape},
        payload::{Message, MessageKind},
    };

    #[test]
    fn a_sixteenth_of_what_decompression_takes_is_buffered_first() {
        for limit in [1 << 20, 16 << 20, 64 << 20] {
            assert_eq!(gathered_first(limit), (limit + BESIDE) / RATIO);
        }
        // A short message is buffered as a whole.
        assert_eq!(gathered_first(100), most_compressed(100));
    }

    /// A message whose compressed data was received up to here.
    fn received(gathered: &[u8], ended: bool) -> (Inflation, Compressed, Payload) {
        let inflation = Inflation::new(Role::Client, crate::Deflate::new().into());
        let mut compressed = inflation.begin();
        compressed.gather(gathered, None);
        if ended {
            compressed.end();
        }
        (inflation, compressed, Payload::new(MessageKind::Binary))
    }

    fn deflated(message: &[u8]) -> Vec<u8> {
        let shape = Shape { level: 6, memory_level: 8, window_bits: 15 };
        let mut out = Vec::new();
        Compressor::new(shape).compress(message, End::Message, &mut out);
        out
    }

    #[test]
    fn a_message_may_be_as_long_as_the_limit_wherever_the_room_for_it_ends() {
        for limit in [1, LEAST_ROOM - 1, LEAST_ROOM, LEAST_ROOM + 1, LEAST_ROOM + MOST_ROOM] {
            for (len, allowed) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
                let (mut inflation, mut compressed, mut payload) = received(&deflated(&vec![7; len]), true);
                let inflated =
                    inflation.inflate(&mut compressed, &mut payload, limit, &mut Codecs::default());
                let expected = if allowed {
                    Ok(true)
                } else {
                    Err(ProtocolError::MessageTooBig { limit: limit as u64 })
                };
                assert_eq!(inflated, expected, "{len} of {limit}");
            }
        }
    }

    #[test]
    fn decompression_pauses_until_more_is_received() {
        let data = deflated(b"some text, and some more text");
        let (mut inflation, mut compressed, mut payload) = received(&data[..data.len() / 2], false);
        let mut inflate = |compressed: &mut Compressed| {
            inflation.inflate(compressed, &mut payload, 1000, &mut Codecs::default())
        };
        assert_eq!(inflate(&mut compressed), Ok(false));
        assert_eq!(inflate(&mut compressed), Ok(false));
        compressed.gather(&data[data.len() / 2..], None);
        compressed.end();
        assert_eq!(inflate(&mut compressed), Ok(true));
        assert_eq!(payload.finish(), Ok(Message::from(&b"some text, and some more text"[..])));
    }

    #[test]
    fn one_call_consumes_a_limited_part_of_blocks_without_output() {
        let empty_blocks = [0, 0, 0, 0xFF, 0xFF].repeat(INPUT_STRIDE);
        let (mut inflation, mut compressed, mut payload) = received(&empty_blocks, false);
        for calls in 1..=3 {
            let inflated = inflation.inflate(&mut compressed, &mut payload, 1000, &mut Codecs::default());
            assert_eq!((inflated, compressed.inflated), (Ok(false), calls * INPUT_STRIDE));
        }
    }
}
