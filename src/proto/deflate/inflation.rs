//! Inflating what is received: most messages once they are whole, large ones as they arrive.

use std::fmt;

use super::{
    decompressor::{Decompressor, InvalidDeflate},
    params::DeflateParams,
    pool::Pool,
};
use crate::{
    Role,
    proto::{
        error::ProtocolError,
        mask::{MaskKey, Payload},
        receive::Part,
    },
};

/// An incomplete message holds at most this many times what has been received of it.
const RATIO: usize = 16;

/// What inflating takes beside the message: a decompressor, which is about 48 KB, and its boxes.
const BESIDE: usize = 64 << 10;

/// The least that is gathered before a message is inflated, and how much is gathered at a time from then on: less than a
/// decompressor takes.
const LEAST_GATHERED: usize = 16 << 10;

/// How much compressed payload data is gathered before inflating starts, for a message of at most `limit` bytes.
///
/// The result of inflating is limited, but not by what the peer sends for it: DEFLATE data grows up to 1,032 times. What is
/// gathered first is at least a sixteenth of all that inflating can take. A short message is gathered whole.
fn gathered_first(limit: usize) -> usize {
    most_compressed(limit).min((limit.saturating_add(BESIDE) / RATIO).max(LEAST_GATHERED))
}

/// Returns the maximum compressed length of a message of this length: what does not shrink grows, with the poorest of
/// encoders by an eighth.
pub(in crate::proto) fn most_compressed(len: usize) -> usize {
    len.saturating_add(len / 8 + 64)
}

/// How many compressed bytes one call takes in at most: there are blocks that cost time and produce nothing.
const INPUT_STRIDE: usize = 16 << 10;

/// What one call inflates at most, more or less: a bomb takes many calls, and between them others have their turn.
const STRIDE: usize = 256 << 10;

/// The least and the most room that is made at once for what comes out.
const LEAST_ROOM: usize = 512;
const MOST_ROOM: usize = 64 << 10;

/// How the peer compresses, and with context takeover what it said last.
#[derive(Debug)]
pub(in crate::proto) struct Inflation {
    takeover: bool,
    /// With context takeover, from the first compressed message on.
    own: Option<Box<Decompressor>>,
}

/// What has come of a compressed message and is not inflated yet.
#[derive(Default)]
pub(in crate::proto) struct Compressed {
    gathered: Vec<u8>,
    /// How much of it is inflated.
    inflated: usize,
    /// Whether inflating has started: from then on little is gathered at a time.
    started: bool,
    /// Of a message that is too long to be gathered, without context takeover.
    decompressor: Option<Box<Decompressor>>,
    /// Whether there may be more to come out of what is inflated already.
    held_back: bool,
    /// Whether all of the message has come.
    ended: bool,
}

/// Payload data is nobody's business but the application's: only its length is shown.
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
    /// How this end inflates what the other compresses as was agreed on.
    pub(in crate::proto) fn new(role: Role, params: DeflateParams) -> Self {
        let no_takeover = match role {
            Role::Server => params.client_no_context_takeover(),
            Role::Client => params.server_no_context_takeover(),
        };
        Self { takeover: !no_takeover, own: None }
    }

    /// A compressed message of which nothing has come.
    pub(in crate::proto) fn begin(&self) -> Compressed {
        Compressed::default()
    }

    /// Inflates some more of a message to the end of its payload data, which gets no longer than `limit`; says whether that
    /// was the last of it.
    pub(in crate::proto) fn inflate(
        &mut self,
        compressed: &mut Compressed,
        payload: &mut Payload,
        limit: usize,
        pool: &mut Pool,
    ) -> Result<bool, ProtocolError> {
        let mut decompressor = self.decompressor(compressed, pool);
        let stop = payload.len().saturating_add(STRIDE);
        let (mut whole, mut input) = (false, INPUT_STRIDE);
        while !whole && !compressed.is_drained() && payload.len() < stop && input > 0 {
            // The limit may be lower than when the message began.
            if payload.len() > limit {
                return Err(ProtocolError::MessageTooBig { limit: limit as u64 });
            }
            // One byte beyond the limit, to see whether there is one.
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
        self.put_back(decompressor, compressed, whole, pool);
        Ok(whole)
    }

    /// Inflates some more of a message into a buffer of the pool; gives that, and whether it was the last of it. `None`:
    /// nothing came out.
    pub(in crate::proto) fn inflate_part<'a>(
        &mut self,
        compressed: &mut Compressed,
        payload: &mut Payload,
        pool: &'a mut Pool,
    ) -> Result<Option<Part<'a>>, ProtocolError> {
        let mut decompressor = self.decompressor(compressed, pool);
        let mut buffer = pool.buffer();
        buffer.resize(compressed.room(), 0);
        let mut input = INPUT_STRIDE;
        let (produced, left) = compressed.inflate(&mut decompressor, &mut buffer, &mut input)?;
        buffer.truncate(produced);
        let last = left && compressed.is_exhausted();
        if last {
            decompressor.finish()?;
        }
        payload.pass(&mut buffer, None)?;
        self.put_back(decompressor, compressed, last, pool);
        let (kind, payload) = (payload.kind(), pool.lend(buffer));
        Ok((produced > 0 || last).then_some(Part { kind, payload, last }))
    }

    /// Forgets what the peer said: nothing more will come.
    pub(in crate::proto) fn forget(&mut self) {
        self.own = None;
    }

    fn decompressor(&mut self, compressed: &mut Compressed, pool: &mut Pool) -> Box<Decompressor> {
        match (self.own.take().or_else(|| compressed.decompressor.take()), self.takeover) {
            (Some(own), _) => own,
            (None, true) => Box::new(Decompressor::new()),
            (None, false) => pool.decompressor(),
        }
    }

    fn put_back(
        &mut self,
        decompressor: Box<Decompressor>,
        compressed: &mut Compressed,
        whole: bool,
        pool: &mut Pool,
    ) {
        if self.takeover {
            self.own = Some(decompressor);
        } else if whole {
            pool.take_back_decompressor(decompressor);
        } else {
            compressed.decompressor = Some(decompressor);
        }
    }
}

impl Compressed {
    /// Returns how much more may be gathered before it has to be inflated, for a message of at most `limit` bytes.
    ///
    /// This depends on what has been received alone, not on how it was cut into reads.
    pub(in crate::proto) fn gatherable(&self, limit: usize, in_parts: bool) -> usize {
        self.gathers(limit, in_parts).saturating_sub(self.gathered.len())
    }

    /// Takes over a part of the payload data, of what is [gatherable](Self::gatherable).
    pub(in crate::proto) fn gather(&mut self, part: &[u8], mask: Option<MaskKey>) {
        match mask {
            Some(key) => _ = key.append(part, &mut self.gathered),
            None => self.gathered.extend_from_slice(part),
        }
    }

    /// Notes that all of it has come.
    pub(in crate::proto) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether all of it has come.
    pub(in crate::proto) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether it is time to inflate: all of it has come, or as much as is gathered; or, `in_parts`, anything.
    pub(in crate::proto) fn is_waiting(&self, limit: usize, in_parts: bool) -> bool {
        let least = if in_parts { 1 } else { self.gathers(limit, in_parts) };
        self.ended || self.held_back || self.inflated > 0 || self.gathered.len() >= least
    }

    /// How much is gathered at most. In parts, nothing that comes out is kept, so nothing has to be gathered for it.
    fn gathers(&self, limit: usize, in_parts: bool) -> usize {
        if in_parts {
            LEAST_GATHERED
        } else if self.started {
            most_compressed(limit).min(LEAST_GATHERED)
        } else {
            gathered_first(limit)
        }
    }

    /// Whether nothing can come out before more comes in.
    fn is_drained(&self) -> bool {
        !self.held_back && !self.ended && self.inflated == self.gathered.len()
    }

    /// Returns whether all of the message has been received and taken in.
    fn is_exhausted(&self) -> bool {
        self.ended && self.inflated == self.gathered.len()
    }

    /// Inflates at most `input` bytes, which it reduces, into `out`. Returns how many bytes were produced, and whether room is
    /// left, so that nothing is held back.
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
            // Freed, for it may be long until more comes.
            (self.gathered, self.inflated) = (Vec::new(), 0);
        }
        Ok((progress.produced, left))
    }

    /// How much room to make: text shrinks to a quarter or so, and where that was too little, it was much too little.
    fn room(&self) -> usize {
        if self.held_back {
            return MOST_ROOM;
        }
        ((self.gathered.len() - self.inflated) * 4).clamp(LEAST_ROOM, MOST_ROOM)
    }
}
