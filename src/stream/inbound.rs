//! The state of the receiving side of a connection.

use std::{mem, pin::Pin};

use tokio::time::Instant;

use super::{
    io::Io,
    pool::{self, Scratch},
    stats,
    timers::{Millis, Pings, Timeouts, Timers},
};
use crate::{
    Config, Role,
    handshake::Negotiated,
    proto::{CloseFrame, Part, ReceivePath, Received},
};

/// How many frames are handled, at most, before a look at what waits to be written. It divides the one above.
pub(super) const FRAMES_PER_CHECK: u8 = 16;

/// A rest of this many bytes, or fewer, does not stay in the scratch that it was read into.
const SHORT_REST: usize = 4 << 10;

/// How often a peer that sends without a pause is still read after a deadline has passed: what had come by then is
/// received first.
pub(super) const GRACE_READS: u8 = 16;

/// The state of the receiving side, whatever the line is.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) receive: ReceivePath,
    /// Bytes that were read and are not handled yet.
    pub(super) scratch: Option<Box<Scratch>>,
    /// Allocated while a deadline runs.
    pub(super) timers: Option<Pin<Box<Timers>>>,
    pub(super) timeouts: Timeouts,
    /// How many frames and reads may be handled before the task's budget is asked for again.
    pub(super) frames: u8,
    /// How many reads are left after a deadline has passed.
    pub(super) grace_reads: u8,
    /// How many of the next reads are wide.
    pub(super) wide: u8,
    /// Whether the connection is over: nothing more will be read or written.
    pub(super) finished: bool,
    /// What most connections do without.
    pub(super) rare: Option<Box<Rare>>,
}

/// State that an idle connection seldom has; allocated when first needed.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// The peer's Close.
    pub(super) close_frame: Option<Box<CloseFrame>>,
    /// What the opening handshake agreed on.
    negotiated: Negotiated,
    message_timeout: Option<Millis>,
    /// Counters, if they were asked for.
    received: Option<Box<stats::Received>>,
    /// Whether pings are left to the application to answer.
    no_pongs: bool,
}

impl Rare {
    #[cold]
    fn new(config: &Config, negotiated: Negotiated) -> Box<Self> {
        Box::new(Self {
            close_frame: None,
            negotiated,
            message_timeout: config.message_timeout.map(Millis::new),
            received: config.stats.then(Box::default),
            no_pongs: !config.automatic_pongs,
        })
    }
}

impl Inbound {
    pub(super) fn new(unread: &[u8], role: Role, config: &Config, negotiated: Negotiated) -> Self {
        let receive = receive_path(role, config, &negotiated);
        let ordinary = negotiated.is_empty()
            && config.message_timeout.is_none()
            && config.automatic_pongs
            && !config.stats;
        Self {
            receive,
            scratch: (!unread.is_empty()).then(|| Box::new(Scratch::holding(unread))),
            timers: None,
            timeouts: Timeouts::new(config),
            frames: 0,
            grace_reads: GRACE_READS,
            wide: 0,
            finished: false,
            rare: if ordinary { None } else { Some(Rare::new(config, negotiated)) },
        }
    }

    /// Returns the peer's Close, if one has come with a code.
    pub(super) fn close_frame(&self) -> Option<&CloseFrame> {
        self.rare.as_ref()?.close_frame.as_deref()
    }

    /// Returns the subprotocol that was agreed on.
    pub(super) fn subprotocol(&self) -> Option<&str> {
        self.rare.as_ref()?.negotiated.subprotocol()
    }

    /// Returns the extensions that were agreed on, as the response listed them.
    pub(super) fn extensions(&self) -> &str {
        self.rare.as_ref().map_or("", |rare| rare.negotiated.extensions())
    }

    /// Marks `len` bytes of the scratch as handled.
    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        if let Some(scratch) = &mut self.scratch {
            scratch.consume(len);
            if scratch.unread().is_empty() {
                self.return_scratch();
            }
        }
    }

    /// Returns the counters of this side, if they were asked for.
    pub(super) fn received(&self) -> Option<&stats::Received> {
        self.rare.as_ref()?.received.as_deref()
    }

    /// Records that a message has ended, as a sign of life.
    #[inline]
    pub(super) fn message(&mut self) {
        message(self.timers.as_mut().map(Pin::as_mut), self.rare.as_deref_mut());
    }

    /// Records that the stream has brought `len` bytes.
    pub(super) fn note_read(&mut self, len: usize, now: Instant) {
        if let Some(timers) = &mut self.timers {
            timers.as_mut().read(now);
        }
        if let Some(Rare { received: Some(received), .. }) = self.rare.as_deref_mut() {
            received.bytes += len as u64;
        }
    }

    /// Makes the next call look at what waits to be written before it hands out a message.
    #[inline]
    pub(super) fn check_writes_next(&mut self) {
        self.frames -= self.frames % FRAMES_PER_CHECK;
    }

    /// Moves a short rest of what was read to a box of its size, when the first message of a read is handed out: the program
    /// may take its time, and the scratch is large.
    #[inline]
    pub(super) fn shrink_scratch(&mut self) {
        if let Some(scratch) = &mut self.scratch
            && scratch.take_fresh()
            && scratch.unread().len() <= SHORT_REST
        {
            let rest = pool::short_scratch(scratch);
            pool::return_scratch(mem::replace(scratch, rest));
        }
    }

    /// Returns the deadline of the message that is under way, if there is one.
    pub(super) fn message_timeout(&self) -> Option<Millis> {
        let timeout = self.rare.as_ref()?.message_timeout?;
        self.receive.is_inside_message().then_some(timeout)
    }

    #[inline]
    pub(super) fn return_scratch(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            pool::return_scratch(scratch);
        }
    }
}

/// The way in, as was agreed on.
#[cfg(feature = "deflate")]
fn receive_path(role: Role, config: &Config, negotiated: &Negotiated) -> ReceivePath {
    let path = ReceivePath::new(role, config);
    match negotiated.deflate() {
        Some(params) => path.with_deflate(params),
        None => path,
    }
}

#[cfg(not(feature = "deflate"))]
fn receive_path(role: Role, config: &Config, _: &Negotiated) -> ReceivePath {
    ReceivePath::new(role, config)
}

/// Whether this is owed an answer, and the application does not give it itself.
#[inline]
pub(super) fn owes_answer(rare: Option<&Rare>, received: &Received<'_>) -> bool {
    match received {
        Received::Ping(_) => !rare.is_some_and(|rare| rare.no_pongs),
        Received::Close(_) => true,
        _ => false,
    }
}

/// Records that a message has ended.
#[inline]
fn message(timers: Option<Pin<&mut Timers>>, rare: Option<&mut Rare>) {
    if let Some(timers) = timers {
        timers.message();
    }
    if let Some(Rare { received: Some(received), .. }) = rare {
        received.messages += 1;
    }
}

/// Records a sign of life.
#[inline]
pub(super) fn record_received(
    timers: Option<Pin<&mut Timers>>,
    rare: Option<&mut Rare>,
    io: &mut impl Io,
    received: &Received<'_>,
) {
    match received {
        Received::Message(_) | Received::Part(Part { last: true, .. }) => message(timers, rare),
        Received::Part(_) => timers.into_iter().for_each(Timers::heard),
        Received::Pong(payload) => pong(timers, rare, io.take_pings(), payload),
        _ => {}
    }
}

/// Records a pong, and the pings that the application has sent since the last one.
#[cold]
fn pong(timers: Option<Pin<&mut Timers>>, rare: Option<&mut Rare>, pings: Pings, payload: &[u8]) {
    let counters = rare.and_then(|rare| rare.received.as_deref_mut());
    match (timers, counters) {
        (Some(mut timers), counters) => {
            timers.as_mut().pinged(pings);
            let round_trip = timers.pong(payload);
            if let Some(counters) = counters {
                counters.round_trip = round_trip.or(counters.round_trip);
            }
        }
        (None, Some(counters)) => {
            counters.pings.extend(pings);
            let sent = counters.pings.answered(payload);
            counters.round_trip = sent.map(|sent| sent.elapsed()).or(counters.round_trip);
        }
        (None, None) => {}
    }
}
