//! The deadlines of an open connection.

use std::{
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    io::WriteStatus,
    pings::Pings,
    transport::Moves,
    write_clock::{WriteClock, WriteLimits},
};
use crate::{Config, error::Timeout};

/// An idle deadline that is noticed later than this is restarted once.
const IDLE_TOLERANCE: Duration = Duration::from_secs(1);

/// The timeouts of a connection, in few bytes; `None` disables one.
///
/// Those that are seldom configured are elsewhere: [`WriteLimits`] has all of writing and closing, and
/// [`Activity`] that of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    close: Option<Millis>,
    write: Option<Millis>,
    ping: Option<Millis>,
    pong: Option<Millis>,
    idle: Option<Millis>,
}

/// A duration of at least a millisecond and at most 49 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Millis(NonZeroU32);

impl Millis {
    pub(super) const fn new(duration: Duration) -> Self {
        // Not in 128 bits, as `as_micros` is: this runs whenever a connection is opened.
        let part = duration.subsec_micros().div_ceil(1000);
        let millis = duration.as_secs().saturating_mul(1000).saturating_add(part as u64);
        let millis = if millis > u32::MAX as u64 { u32::MAX } else { millis as u32 };
        match NonZeroU32::new(millis) {
            Some(millis) => Self(millis),
            None => Self(NonZeroU32::MIN),
        }
    }

    pub(super) fn duration(self) -> Duration {
        Duration::from_millis(self.0.get().into())
    }

    /// Returns how many bytes this time has at a rate in bytes per second: at least one, and at most
    /// 4 GiB.
    pub(super) fn bytes_at(self, rate: usize) -> NonZeroU32 {
        let bytes = (rate as u128 * u128::from(self.0.get())).div_ceil(1000);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        NonZeroU32::new(bytes).unwrap_or(NonZeroU32::MIN)
    }

    pub(super) fn after(self, start: Instant) -> Instant {
        start + self.duration()
    }
}

impl Timeouts {
    pub(super) fn new(config: &Config) -> Self {
        let limits = WriteLimits::new(config);
        Self {
            close: limits.close(),
            write: limits.write(),
            ping: config.ping_interval.map(Millis::new),
            pong: config.pong_timeout.map(Millis::new),
            idle: config.idle_timeout.map(Millis::new),
        }
    }

    /// Returns the limits of writing and closing, if no others are configured.
    pub(super) fn write_limits(&self) -> WriteLimits {
        WriteLimits::usual(self.write, self.close)
    }

    /// Returns `true` if the peer's silence is timed.
    pub(super) fn watch_peer(&self) -> bool {
        self.ping.is_some() || self.idle.is_some()
    }

    /// Returns `true` if any deadline is running.
    pub(super) fn watch(&self, activity: Activity) -> bool {
        self.watch_peer()
            || (activity.write.is_stuck() && !activity.write.transport.compressing && self.write.is_some())
            || (activity.closing && self.close.is_some())
            || activity.message_timeout.is_some()
    }
}

/// The state of a connection, as far as deadlines depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activity {
    pub(super) write: WriteStatus,
    /// Whether our Close is queued or sent, or the connection has failed.
    pub(super) closing: bool,
    /// Whether everything that was read has been handled, and the stream has nothing more for now.
    pub(super) waiting: bool,
    /// The timeout of the message that is being received; `None` if there is no such message, or no
    /// timeout for it.
    pub(super) message_timeout: Option<Millis>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A keep-alive ping with this payload.
    Ping([u8; 4]),
    /// The end of the connection.
    Timeout(Timeout),
}

pin_project! {
    /// The timer for all deadlines of a connection, polled by receiving calls alone.
    ///
    /// It is reset when it fires, or when something is due earlier. A deadline that moves further
    /// away costs nothing.
    #[derive(Debug)]
    pub(super) struct Timers {
        #[pin]
        sleep: Sleep,
        // When bytes were last read.
        read_at: Instant,
        // When the last message or matching pong was received, or the idle deadline was restarted.
        heard_at: Instant,
        ping: Option<Ping>,
        pings: Pings,
        moves: Moves,
        // Allocated when first needed.
        states: Option<Box<States>>,
    }
}

/// Since when the connection has been in states in which an idle one is not.
#[derive(Debug, Default)]
struct States {
    /// When the idle deadline or that of a message was restarted: each is restarted only once.
    restarted: Option<Instant>,
    /// When the message that is being received began.
    message_since: Option<Instant>,
    write: WriteClock,
}

/// A keep-alive ping that waits for its pong.
#[derive(Debug, Clone, Copy)]
struct Ping {
    payload: [u8; 4],
    sent: Instant,
    /// When the peer's time to answer began.
    since: Instant,
    /// Whether the ping has been written, and does not wait behind a stream that is stuck.
    left: bool,
}

impl Timers {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            sleep: sleep_until(now + Duration::from_secs(86_400)),
            read_at: now,
            heard_at: now,
            ping: None,
            pings: Pings::default(),
            moves: Moves::NONE,
            states: None,
        }
    }

    /// Records that bytes were read.
    pub(super) fn read(self: Pin<&mut Self>, now: Instant) {
        *self.project().read_at = now;
    }

    /// Records that a part of a message was received with the last read.
    #[inline]
    pub(super) fn heard(self: Pin<&mut Self>) {
        let this = self.project();
        *this.heard_at = *this.read_at;
    }

    /// Records that a message was completed with the last read.
    #[inline]
    pub(super) fn message(self: Pin<&mut Self>) {
        let this = self.project();
        *this.heard_at = *this.read_at;
        if let Some(states) = this.states {
            states.message_since = None;
        }
    }

    /// Records pings that the program has sent.
    pub(super) fn pinged(self: Pin<&mut Self>, pings: Pings) {
        self.project().pings.extend(pings);
    }

    /// Records a pong, and returns its round-trip time.
    ///
    /// An unsolicited pong (RFC 6455 section 5.5.3) may be sent without reading anything: it does
    /// not count as activity.
    pub(super) fn pong(self: Pin<&mut Self>, payload: &[u8]) -> Option<Duration> {
        let this = self.project();
        let sent = match this.ping.filter(|ping| ping.payload == payload) {
            Some(ping) => Some(ping.sent),
            None => this.pings.answered(payload),
        };
        let sent = sent?;
        *this.heard_at = *this.read_at;
        // RFC 6455 section 5.5.3: the peer may answer only the most recent ping, so a pong to a
        // later one answers the keep-alive ping too.
        if this.ping.is_some_and(|ping| ping.sent <= sent) {
            *this.ping = None;
        }
        Some(sent.elapsed())
    }

    /// Returns `true` once our Close has been written.
    pub(super) fn is_close_out(&self) -> bool {
        self.states.as_ref().is_some_and(|states| states.write.is_close_out())
    }

    /// Returns what is due; pending until something is. Returns `None` if no deadline is running,
    /// and no timer is needed.
    pub(super) fn poll_due(
        mut self: Pin<&mut Self>,
        timeouts: &Timeouts,
        limits: &WriteLimits,
        activity: Activity,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Due>> {
        self.as_mut().note(limits, activity);
        loop {
            let Some((deadline, due)) = self.next(timeouts, limits, activity) else {
                return Poll::Ready(None);
            };
            let mut this = self.as_mut().project();
            if deadline < this.sleep.deadline() {
                this.sleep.as_mut().reset(deadline);
            }
            ready!(this.sleep.as_mut().poll(cx));
            let now = Instant::now();
            if now < deadline {
                this.sleep.reset(deadline);
                continue;
            }
            let due = due.unwrap_or_else(|| Due::Ping(rand::random()));
            // If this is noticed late, nobody has polled the connection. No ping was sent
            // meanwhile, and the peer may have had nothing to answer.
            let late = now.duration_since(deadline) > IDLE_TOLERANCE;
            if late && let Due::Timeout(timeout @ (Timeout::Idle | Timeout::Message)) = due {
                let States { restarted, message_since, .. } = &mut **this.states.get_or_insert_default();
                let started = match timeout {
                    Timeout::Idle => Some(this.heard_at),
                    _ => message_since.as_mut(),
                };
                if let Some(started) = started.filter(|started| *restarted != Some(**started)) {
                    *started = now;
                    *restarted = Some(now);
                    continue;
                }
            }
            if let Due::Ping(payload) = due {
                if let Some(earlier) = this.ping.take() {
                    this.pings.push(&earlier.payload, earlier.sent);
                }
                *this.ping = Some(Ping { payload, sent: now, since: now, left: false });
            }
            return Poll::Ready(Some(due));
        }
    }

    /// Records since when the connection has been in its present state.
    fn note(self: Pin<&mut Self>, limits: &WriteLimits, activity: Activity) {
        let this = self.project();
        let (stuck, moves) = (activity.write.is_stuck(), activity.write.transport.moves);
        let before = std::mem::replace(this.moves, moves);
        if this.states.is_some() || stuck || activity.closing || activity.message_timeout.is_some() {
            let states = this.states.get_or_insert_default();
            states.write.note(limits, before, &activity.write, activity.closing);
            states.note_message(activity.message_timeout.is_some(), *this.read_at);
        }
        // `pong_timeout`: counted from when the ping was sent, and until it has been written, from
        // when the stream last accepted bytes.
        let Some(ping) = this.ping else { return };
        if before != moves && !ping.left {
            ping.since = Instant::now();
        }
        ping.left |= !stuck;
        // RFC 6455 section 5.4: a pong may come between two fragments, but not within a frame.
        // Bytes that were received since show that the peer is alive, and may be part of a frame
        // that delays the pong.
        ping.since = ping.since.max(*this.read_at);
    }

    /// Returns the earliest deadline, and what is due then. For a ping, the latter is `None`.
    fn next(
        &self,
        timeouts: &Timeouts,
        limits: &WriteLimits,
        activity: Activity,
    ) -> Option<(Instant, Option<Due>)> {
        let at = |timeout: Option<Millis>, since: Option<Instant>| Some(timeout?.after(since?));
        // The peer's silence is timed only when there is nothing left to read, and not while
        // closing.
        let waiting = |instant: Instant| (activity.waiting && !activity.closing).then_some(instant);
        // RFC 6455 section 5.5.2: a ping may be sent at any time before the connection is closed.
        // One is due after a period without activity.
        let ping_due = match self.ping {
            None => waiting(self.heard_at),
            // No deadline for the pong: the next ping is due whether or not it is received.
            Some(ping) if timeouts.pong.is_none() => waiting(ping.since.max(self.heard_at)),
            // One ping at a time waits for its pong.
            Some(_) => None,
        };
        let pong_due = self.ping.and_then(|ping| waiting(ping.since));
        let States { message_since, write, .. } = self.states.as_deref().unwrap_or(&States::NONE);
        // Checked also while the peer sends: it must not postpone this deadline with other frames.
        let message_due = message_since.filter(|_| !activity.closing);
        let of_writing =
            write.next(limits).map(|(deadline, timeout)| (deadline, Some(Due::Timeout(timeout))));
        let others = [
            (at(timeouts.idle, waiting(self.heard_at)), Some(Due::Timeout(Timeout::Idle))),
            (at(timeouts.pong, pong_due), Some(Due::Timeout(Timeout::Pong))),
            (at(activity.message_timeout, message_due), Some(Due::Timeout(Timeout::Message))),
            (at(timeouts.ping, ping_due), None),
        ];
        let others = others.into_iter().filter_map(|(deadline, due)| Some((deadline?, due)));
        of_writing.into_iter().chain(others).min_by_key(|(deadline, _)| *deadline)
    }
}

impl States {
    const NONE: Self = Self { restarted: None, message_since: None, write: WriteClock::NEW };

    /// Records whether a message is being received that has a deadline. It is counted from the read
    /// that brought the first byte of the message.
    fn note_message(&mut self, inside: bool, read_at: Instant) {
        if !inside {
            self.message_since = None;
        } else if self.message_since.is_none() {
            self.message_since = Some(read_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::advance;

    use super::*;
    use crate::stream::transport::TransportStatus;

    const SECOND: Duration = Duration::from_secs(1);

    const WAITING: Activity = Activity {
        write: WriteStatus {
            transport: TransportStatus {
                staged: 0,
                stuck: false,
                compressing: false,
                moves: Moves::NONE,
                written: 0,
                ended: false,
            },
            pending: false,
            owes_pong: false,
            close_sent: false,
            over: false,
        },
        closing: false,
        waiting: true,
        message_timeout: None,
    };

    /// A stream that is stuck, and has accepted bytes `moves` times.
    fn stuck(moves: u32) -> Activity {
        let mut activity = WAITING;
        activity.write.pending = true;
        (activity.write.transport.stuck, activity.write.transport.moves) = (true, Moves::new(0, moves));
        activity
    }

    fn closing(write: WriteStatus) -> Activity {
        Activity { write, closing: true, ..WAITING }
    }

    fn without_deadlines() -> Config {
        Config::new().ping_interval(None).pong_timeout(None).write_timeout(None).close_timeout(None)
    }

    struct Deadlines {
        timers: Pin<Box<Timers>>,
        timeouts: Timeouts,
        limits: WriteLimits,
    }

    impl Deadlines {
        fn new(config: Config) -> Self {
            let (timeouts, limits) = (Timeouts::new(&config), WriteLimits::new(&config));
            Self { timers: Box::pin(Timers::new()), timeouts, limits }
        }

        /// Returns what is due after `seconds` more.
        async fn due_after(&mut self, seconds: u64, activity: Activity) -> Option<Due> {
            advance(Duration::from_secs(seconds)).await;
            let mut cx = Context::from_waker(Waker::noop());
            match self.timers.as_mut().poll_due(&self.timeouts, &self.limits, activity, &mut cx) {
                Poll::Ready(due) => due,
                Poll::Pending => None,
            }
        }

        /// Waits for the keep-alive ping that is due after `seconds`, and returns its payload.
        async fn ping_after(&mut self, seconds: u64) -> [u8; 4] {
            match self.due_after(seconds, WAITING).await {
                Some(Due::Ping(payload)) => payload,
                other => panic!("not a ping: {other:?}"),
            }
        }

        /// Records a read that completes a message.
        fn receive(&mut self) {
            self.timers.as_mut().read(Instant::now());
            self.timers.as_mut().message();
        }
    }

    const fn timed_out(timeout: Timeout) -> Option<Due> {
        Some(Due::Timeout(timeout))
    }

    /// RFC 6455 section 5.5.2.
    #[tokio::test(start_paused = true)]
    async fn a_ping_is_due_after_the_interval_without_a_message_and_the_timeout_after_the_ping() {
        let config = without_deadlines().ping_interval(20 * SECOND).pong_timeout(10 * SECOND);
        let mut deadlines = Deadlines::new(config);
        assert_eq!(deadlines.due_after(19, WAITING).await, None);
        deadlines.receive();
        assert_eq!(deadlines.due_after(19, WAITING).await, None);
        deadlines.ping_after(1).await;
        assert_eq!(deadlines.due_after(9, WAITING).await, None);
        let unread = Activity { waiting: false, ..WAITING };
        assert_eq!(deadlines.due_after(1, unread).await, None, "the pong may be in what was not read yet");
        assert_eq!(deadlines.due_after(0, WAITING).await, timed_out(Timeout::Pong));
    }

    /// RFC 6455 section 5.5.3.
    #[tokio::test(start_paused = true)]
    async fn a_pong_to_the_ping_or_to_a_later_one_counts_and_an_unsolicited_one_does_not() {
        let config = without_deadlines().ping_interval(20 * SECOND).pong_timeout(10 * SECOND);
        let mut deadlines = Deadlines::new(config);
        let payload = deadlines.ping_after(20).await;
        assert_eq!(deadlines.due_after(4, WAITING).await, None);
        assert_eq!(deadlines.timers.as_mut().pong(b"unsolicited"), None);
        assert_eq!(deadlines.timers.as_mut().pong(&payload), Some(4 * SECOND));
        assert_eq!(deadlines.timers.as_mut().pong(&payload), None, "it has been answered");

        deadlines.receive();
        deadlines.ping_after(20).await;
        let mut later = Pings::default();
        later.sent(b"later");
        deadlines.timers.as_mut().pinged(later);
        assert_eq!(deadlines.due_after(3, WAITING).await, None);
        deadlines.timers.as_mut().read(Instant::now());
        assert_eq!(deadlines.timers.as_mut().pong(b"later"), Some(3 * SECOND));
        assert_eq!(deadlines.due_after(10, WAITING).await, None, "the pong answers both pings");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_were_read_prove_life_and_are_no_activity() {
        let config = without_deadlines()
            .ping_interval(20 * SECOND)
            .pong_timeout(10 * SECOND)
            .idle_timeout(36 * SECOND);
        let mut deadlines = Deadlines::new(config);
        deadlines.ping_after(20).await;
        assert_eq!(deadlines.due_after(9, WAITING).await, None);
        deadlines.timers.as_mut().read(Instant::now());
        assert_eq!(deadlines.due_after(6, WAITING).await, None, "the pong deadline has been restarted");
        assert_eq!(deadlines.due_after(1, WAITING).await, timed_out(Timeout::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_deadline_that_is_noticed_late_is_restarted_once() {
        let mut deadlines = Deadlines::new(without_deadlines().idle_timeout(10 * SECOND));
        assert_eq!(deadlines.due_after(15, WAITING).await, None);
        assert_eq!(deadlines.due_after(15, WAITING).await, timed_out(Timeout::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn the_write_deadline_counts_from_when_the_stream_last_accepted_bytes() {
        let mut deadlines = Deadlines::new(without_deadlines().write_timeout(30 * SECOND));
        assert_eq!(deadlines.due_after(100, WAITING).await, None);
        assert_eq!(deadlines.due_after(0, stuck(1)).await, None);
        assert_eq!(deadlines.due_after(20, stuck(2)).await, None);
        assert_eq!(deadlines.due_after(29, stuck(2)).await, None);
        assert_eq!(deadlines.due_after(1, stuck(2)).await, timed_out(Timeout::Write));
    }

    #[test]
    fn no_write_deadline_runs_while_compression_is_interrupted() {
        let timeouts = Timeouts::new(&without_deadlines().write_timeout(30 * SECOND));
        let mut activity = stuck(0);
        assert!(timeouts.watch(activity));
        activity.write.transport.compressing = true;
        assert!(!timeouts.watch(activity), "the stream has accepted everything it was given");
        activity.message_timeout = Some(Millis::new(SECOND));
        assert!(timeouts.watch(activity), "another deadline is running");
    }

    /// RFC 6455 section 7.1.1.
    #[tokio::test(start_paused = true)]
    async fn the_close_deadline_counts_from_the_last_progress_until_the_close_is_written() {
        let mut deadlines = Deadlines::new(without_deadlines().close_timeout(5 * SECOND));
        assert_eq!(deadlines.due_after(60, closing(stuck(1).write)).await, None);
        assert_eq!(deadlines.due_after(4, closing(stuck(2).write)).await, None);
        assert!(!deadlines.timers.is_close_out());
        let mut written = WAITING.write;
        written.transport.moves = Moves::new(0, 3);
        assert_eq!(deadlines.due_after(4, closing(written)).await, None);
        assert!(deadlines.timers.is_close_out());
        written.transport.moves = Moves::new(0, 4);
        assert_eq!(deadlines.due_after(4, closing(written)).await, None);
        written.transport.moves = Moves::new(0, 5);
        let due = deadlines.due_after(1, closing(written)).await;
        assert_eq!(due, timed_out(Timeout::Close), "pongs that follow our Close do not extend it");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_a_message_counts_from_the_read_of_its_first_byte_and_not_while_closing() {
        let mut deadlines = Deadlines::new(without_deadlines());
        let inside = Activity { message_timeout: Some(Millis::new(10 * SECOND)), ..WAITING };
        advance(SECOND).await;
        deadlines.timers.as_mut().read(Instant::now());
        assert_eq!(deadlines.due_after(9, inside).await, None);
        let closing = Activity { closing: true, ..inside };
        assert_eq!(deadlines.due_after(1, closing).await, None);
        assert_eq!(deadlines.due_after(0, inside).await, timed_out(Timeout::Message));
        deadlines.receive();
        assert_eq!(deadlines.due_after(60, WAITING).await, None);
    }

    #[test]
    fn a_timeout_is_at_least_a_millisecond_and_at_most_49_days() {
        for (duration, millis) in [
            (Duration::ZERO, 1),
            (Duration::from_nanos(1_000_001), 1),
            (Duration::from_micros(1001), 2),
            (Duration::MAX, u32::MAX.into()),
        ] {
            assert_eq!(Millis::new(duration).duration(), Duration::from_millis(millis), "{duration:?}");
        }
    }
    #[test]
    fn a_rate_makes_at_least_one_byte_and_at_most_4_gib_of_a_time() {
        for (rate, millis, bytes) in [
            (1, 1, 1),
            (500, 30_000, 15_000),
            (333, 1001, 334),
            (1 << 20, 1000, 1 << 20),
            (usize::MAX, 1, u32::MAX),
        ] {
            let time = Millis::new(Duration::from_millis(millis));
            assert_eq!(time.bytes_at(rate).get(), bytes, "{rate} for {millis} ms");
        }
    }
}
