//! The state of the receiving side of a connection.

use std::pin::Pin;

use tokio::time::Instant;

use super::{
    io::Io,
    pings::Pings,
    pool::{self, Scratch},
    stats,
    timers::{Millis, Timeouts, Timers},
    write_clock::WriteLimits,
};
use crate::{
    Config, Role,
    handshake::Negotiated,
    proto::{CloseFrame, Part, ReceivePath, Received},
    trace::{ConnectionEvents, ConnectionTrace},
};

/// The number of frames after which queued frames are checked for a delay. It divides the number of
/// frames per budget unit.
pub(super) const FRAMES_PER_CHECK: u8 = 16;

/// The number of reads after a deadline has passed, to receive what had arrived by then.
pub(super) const GRACE_READS: u8 = 16;

/// The state of the receiving side, of a whole connection and of a split one.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) receive: ReceivePath,
    /// Bytes that were read and not handled yet.
    pub(super) scratch: Option<Box<Scratch>>,
    /// Allocated while a deadline is running.
    pub(super) timers: Option<Pin<Box<Timers>>>,
    pub(super) timeouts: Timeouts,
    /// The number of frames and reads left before the task's budget is checked again.
    pub(super) frames: u8,
    /// The number of reads left after a deadline has passed.
    pub(super) grace_reads: u8,
    /// The number of wide reads left.
    pub(super) wide: u8,
    /// Whether the connection has ended: nothing more is read or written.
    pub(super) finished: bool,
    /// State that most connections do not have.
    pub(super) rare: Option<Box<Rare>>,
}

/// State that an idle connection seldom has; allocated when first needed.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) end: Option<Box<End>>,
    /// What was agreed on in the opening handshake.
    negotiated: Negotiated,
    /// `None` if they are the usual ones.
    settings: Option<Box<Settings>>,
    /// The counters, if enabled.
    received: Option<Box<stats::ReceiveCounters>>,
}

/// The settings that few programs change.
#[derive(Debug)]
struct Settings {
    message_timeout: Option<Millis>,
    write_limits: WriteLimits,
    /// Whether the program answers pings itself.
    no_pongs: bool,
}

impl Settings {
    /// Returns the settings; `None` if they are the usual ones.
    fn of(config: &Config, timeouts: &Timeouts) -> Option<Self> {
        let settings = Self {
            message_timeout: config.message_timeout.map(Millis::new),
            write_limits: WriteLimits::new(config),
            no_pongs: !config.automatic_pongs,
        };
        let usual = settings.message_timeout.is_none()
            && settings.write_limits == timeouts.write_limits()
            && !settings.no_pongs;
        (!usual).then_some(settings)
    }
}

/// What is of use when the connection ends; allocated when first needed.
#[derive(Debug, Default)]
pub(super) struct End {
    /// The code and reason of the peer's Close.
    pub(super) close_frame: Option<CloseFrame>,
    trace: ConnectionTrace,
}

impl Rare {
    #[cold]
    fn new(
        unread: usize,
        config: &Config,
        settings: Option<Settings>,
        negotiated: Negotiated,
        trace: ConnectionTrace,
    ) -> Box<Self> {
        Box::new(Self {
            end: trace.is_enabled().then(|| Box::new(End { close_frame: None, trace })),
            negotiated,
            settings: settings.map(Box::new),
            received: config.stats.then(|| Box::new(stats::ReceiveCounters::after(unread))),
        })
    }
}

impl Inbound {
    pub(super) fn new(unread: &[u8], role: Role, config: &Config, negotiated: Negotiated) -> Self {
        let receive = receive_path(role, config, &negotiated);
        let trace = ConnectionTrace::new(role, &negotiated);
        let timeouts = Timeouts::new(config);
        let settings = Settings::of(config, &timeouts);
        let ordinary = negotiated.is_empty() && !trace.is_enabled() && settings.is_none() && !config.stats;
        Self {
            receive,
            scratch: (!unread.is_empty()).then(|| Box::new(Scratch::holding(unread))),
            timers: None,
            timeouts,
            frames: 0,
            grace_reads: GRACE_READS,
            wide: 0,
            finished: false,
            rare: (!ordinary).then(|| Rare::new(unread.len(), config, settings, negotiated, trace)),
        }
    }

    /// Returns the code and reason of the peer's Close, if one was received with a code.
    pub(super) fn close_frame(&self) -> Option<&CloseFrame> {
        self.rare.as_ref()?.end.as_ref()?.close_frame.as_ref()
    }

    /// Returns the subprotocol that was agreed on.
    pub(super) fn subprotocol(&self) -> Option<&str> {
        self.rare.as_ref()?.negotiated.subprotocol()
    }

    /// Returns the extensions that were agreed on, as listed in the response.
    pub(super) fn extensions(&self) -> &str {
        self.rare.as_ref().map_or("", |rare| rare.negotiated.extensions())
    }

    /// Returns the events of the connection, for `tracing`.
    pub(super) fn events(&self) -> ConnectionEvents<'_> {
        events(self.rare.as_deref())
    }

    /// Marks `len` bytes of the scratch as handled, and returns it to the pool if that is possible.
    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        if self.scratch.as_mut().is_some_and(|scratch| scratch.consume(len)) {
            self.release_scratch();
        }
    }

    /// Returns the scratch to the pool. A short unread rest is moved to a box of its size, because
    /// the program may hold a message for long, and the scratch is large.
    fn release_scratch(&mut self) {
        let Some(scratch) = self.scratch.take() else { return };
        if !scratch.unread().is_empty() {
            self.scratch = Some(pool::short_scratch(&scratch));
        }
        pool::return_scratch(scratch);
    }

    /// Returns the counters of the receiving side, if enabled.
    pub(super) fn received(&self) -> Option<&stats::ReceiveCounters> {
        self.rare.as_ref()?.received.as_deref()
    }

    /// Records that `len` bytes were read.
    pub(super) fn note_read(&mut self, len: usize, now: Instant) {
        if let Some(timers) = &mut self.timers {
            timers.as_mut().read(now);
        }
        if let Some(Rare { received: Some(received), .. }) = self.rare.as_deref_mut() {
            received.bytes += len as u64;
        }
    }

    /// Returns `true` if queued frames have to be checked for a delay before the next frame is
    /// handled.
    #[inline(always)]
    pub(super) fn is_check_due(&self) -> bool {
        self.frames.is_multiple_of(FRAMES_PER_CHECK)
    }

    /// Makes the next call check queued frames for a delay before it returns a message.
    #[inline]
    pub(super) fn check_writes_next(&mut self) {
        self.frames -= self.frames % FRAMES_PER_CHECK;
    }

    /// Returns the deadline of the message that is being received, if any.
    pub(super) fn message_timeout(&self) -> Option<Millis> {
        let timeout = self.rare.as_ref()?.settings.as_ref()?.message_timeout?;
        self.receive.is_inside_message().then_some(timeout)
    }

    /// Returns the limits of writing and of closing.
    pub(super) fn write_limits(&self) -> WriteLimits {
        match self.rare.as_ref().and_then(|rare| rare.settings.as_ref()) {
            Some(settings) => settings.write_limits,
            None => self.timeouts.write_limits(),
        }
    }

    /// Returns the scratch to the buffer pool.
    #[inline]
    pub(super) fn return_scratch(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            pool::return_scratch(scratch);
        }
    }
}

/// Creates the receiving path with the extensions that were agreed on.
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

/// Returns the events of a connection, for `tracing`.
pub(super) fn events(rare: Option<&Rare>) -> ConnectionEvents<'_> {
    rare.and_then(|rare| rare.end.as_ref()).map(|end| end.trace.events()).unwrap_or_default()
}

/// Returns `true` if this has to be answered, and the program does not answer it itself.
#[inline]
pub(super) fn owes_answer(rare: Option<&Rare>, received: &Received<'_>) -> bool {
    match received {
        Received::Ping(_) => {
            let settings = rare.and_then(|rare| rare.settings.as_ref());
            !settings.is_some_and(|settings| settings.no_pongs)
        }
        Received::Close(_) => true,
        _ => false,
    }
}

/// Records that a message has ended.
#[inline]
pub(super) fn message_ended(timers: Option<Pin<&mut Timers>>, rare: Option<&mut Rare>) {
    if let Some(timers) = timers {
        timers.message();
    }
    if let Some(Rare { received: Some(received), .. }) = rare {
        received.messages += 1;
    }
}

/// Records that something was received, for timers and counters.
#[inline]
pub(super) fn record_received(
    timers: Option<Pin<&mut Timers>>,
    rare: Option<&mut Rare>,
    io: &mut impl Io,
    received: &Received<'_>,
) {
    match received {
        Received::Message(_) | Received::Part(Part { last: true, .. }) => message_ended(timers, rare),
        Received::Part(_) => timers.into_iter().for_each(Timers::heard),
        Received::Pong(payload) => pong(timers, rare, io.take_pings(), payload),
        _ => {}
    }
}

/// Records a pong, and the pings that the program has sent since the last one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_a_span_takes_nothing_for_it() {
        assert!(size_of::<Rare>() <= 32);
        assert!(size_of::<End>() <= if cfg!(feature = "tracing") { 80 } else { size_of::<CloseFrame>() });
    }
}
