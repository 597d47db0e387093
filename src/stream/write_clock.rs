//! The deadlines of writing and of closing.

use std::num::NonZeroU32;

use tokio::time::Instant;

use super::{
    io::WriteStatus,
    timers::Millis,
    transport::{Moves, TransportStatus},
};
use crate::{Config, error::Timeout};

/// The limits of writing and of closing; `None` disables one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WriteLimits {
    write: Option<Millis>,
    /// The number of bytes that the stream has to accept within `write`; `None` for any number.
    unit: Option<NonZeroU32>,
    close: Option<Millis>,
    /// `None` also if there is no `close`.
    total_close: Option<Millis>,
}

/// The usual limit of closing in all.
const TOTAL_CLOSE: Option<Millis> = match Config::new().total_close_timeout {
    Some(timeout) => Some(Millis::new(timeout)),
    None => None,
};

impl WriteLimits {
    pub(super) fn new(config: &Config) -> Self {
        let rate = config.min_write_rate.filter(|rate| *rate > 0);
        let period = config.write_timeout.or(rate.and(Config::new().write_timeout));
        let write = period.map(Millis::new);
        let close = config.close_timeout.map(Millis::new);
        Self {
            write,
            unit: rate.zip(write).map(|(rate, period)| period.bytes_at(rate)),
            close,
            total_close: config.total_close_timeout.map(Millis::new).filter(|_| close.is_some()),
        }
    }

    /// Returns the limits of a connection for which only these two are configured.
    pub(super) fn usual(write: Option<Millis>, close: Option<Millis>) -> Self {
        Self { write, unit: None, close, total_close: TOTAL_CLOSE.filter(|_| close.is_some()) }
    }

    pub(super) fn write(&self) -> Option<Millis> {
        self.write
    }

    pub(super) fn close(&self) -> Option<Millis> {
        self.close
    }

    /// Returns the shortest time in which a deadline can pass; `None` if none is running.
    ///
    /// `closing` is `true` once our Close is queued or sent.
    pub(super) fn shortest(&self, closing: bool) -> Option<Millis> {
        let of_closing = [self.close, self.total_close].map(|limit| limit.filter(|_| closing));
        of_closing.into_iter().chain([self.write]).flatten().min()
    }

    /// Returns whether the progress since `before` restarts the deadline of writing.
    fn is_enough(&self, before: Moves, transport: &TransportStatus) -> bool {
        match self.unit {
            None => transport.moves != before,
            Some(unit) => transport.moves.has_taken(unit, before),
        }
    }
}

/// Since when a connection waits for its stream to accept bytes, and since when it closes.
///
/// ```text
///   stuck     ├──── write ────▶            restarts when the stream accepts enough
///   closing   ├──── close ────▶            restarts with each byte, until our Close is written
///             ├──── total_close ─────────▶ never restarts
/// ```
///
/// The receiving task and each sending task that waits have one of their own.
#[derive(Debug, Default)]
pub(super) struct WriteClock {
    stuck_since: Option<Instant>,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    began: Instant,
    /// When closing began, or the stream last accepted bytes before our Close was written.
    moved: Instant,
    /// Whether our Close has been written. What is queued after it does not extend the deadline.
    close_out: bool,
}

impl WriteClock {
    pub(super) const NEW: Self = Self { stuck_since: None, closing: None };

    /// Records the state of a connection whose stream had made the progress `before` the last time.
    ///
    /// `closing` is `true` once our Close is queued or sent, or the connection has failed.
    pub(super) fn note(&mut self, limits: &WriteLimits, before: Moves, write: &WriteStatus, closing: bool) {
        let transport = &write.transport;
        if !write.is_stuck() {
            self.stuck_since = None;
        } else if self.stuck_since.is_none() || limits.is_enough(before, transport) {
            self.stuck_since = Some(Instant::now());
        }
        if !closing {
            return;
        }
        // RFC 6455 section 7.1.1. The messages before the Close may take their time, within
        // `write_timeout` and `total_close_timeout`.
        match &mut self.closing {
            None => {
                let began = Instant::now();
                self.closing = Some(Closing { began, moved: began, close_out: !write.pending });
            }
            Some(closing) => {
                if transport.moves != before && !closing.close_out {
                    closing.moved = Instant::now();
                }
                closing.close_out |= !write.pending;
            }
        }
    }

    /// Returns the earliest deadline, and what has timed out then.
    pub(super) fn next(&self, limits: &WriteLimits) -> Option<(Instant, Timeout)> {
        let at = |limit: Option<Millis>, since: Option<Instant>| Some(limit?.after(since?));
        let closing = self.closing.as_ref();
        [
            (at(limits.close, closing.map(|closing| closing.moved)), Timeout::Close),
            (at(limits.total_close, closing.map(|closing| closing.began)), Timeout::Close),
            (at(limits.write, self.stuck_since), Timeout::Write),
        ]
        .into_iter()
        .filter_map(|(deadline, timeout)| Some((deadline?, timeout)))
        .min_by_key(|(deadline, _)| *deadline)
    }

    /// Returns `true` once our Close has been written.
    pub(super) fn is_close_out(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.close_out)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The status of a connection whose stream has made this progress.
    pub(in crate::stream) fn status(moves: Moves, stuck: bool, closing: bool) -> WriteStatus {
        let transport =
            TransportStatus { staged: 0, stuck, compressing: false, moves, written: 0, ended: false };
        WriteStatus { transport, pending: stuck, owes_pong: false, close_sent: closing, over: false }
    }

    /// The clock of a connection, whose stream is stuck.
    struct Stuck {
        clock: WriteClock,
        limits: WriteLimits,
        closing: bool,
        turns: u16,
        written: u32,
    }

    impl Stuck {
        fn new(config: Config) -> Self {
            let limits = WriteLimits::new(&config);
            let mut stuck = Self { clock: WriteClock::NEW, limits, closing: false, turns: 0, written: 0 };
            stuck.note(0, 0, true);
            stuck
        }

        fn note(&mut self, turns: u16, written: u32, pending: bool) {
            let before = Moves::new(self.turns, self.written);
            self.turns += turns;
            self.written = self.written.wrapping_add(written);
            let write = status(Moves::new(self.turns, self.written), pending, self.closing);
            self.clock.note(&self.limits, before, &write, self.closing);
        }

        /// Accepts bytes after this many seconds. Returns what has timed out by then.
        async fn accept(&mut self, seconds: u32, bytes: u32) -> Option<Timeout> {
            advance(seconds * SECOND).await;
            self.note(0, bytes, true);
            self.due()
        }

        fn due(&self) -> Option<Timeout> {
            let (deadline, timeout) = self.clock.next(&self.limits)?;
            (deadline <= Instant::now()).then_some(timeout)
        }
    }

    fn writing() -> Config {
        Config::new().write_timeout(30 * SECOND)
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_each_byte_restarts_the_deadline_of_writing() {
        let mut stuck = Stuck::new(writing());
        for _ in 0..100 {
            assert_eq!(stuck.accept(29, 1).await, None);
        }
        assert_eq!(stuck.accept(30, 0).await, Some(Timeout::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_rate_its_bytes_of_one_period_restart_the_deadline_of_writing() {
        let mut slow = Stuck::new(writing().min_write_rate(100));
        assert_eq!(slow.accept(29, 2999).await, None);
        assert_eq!(slow.accept(1, 0).await, Some(Timeout::Write));

        for steps in [1, 3, 29] {
            let mut fast = Stuck::new(writing().min_write_rate(100));
            for _ in 0..100 {
                assert_eq!(fast.accept(29 / steps, 3000_u32.div_ceil(steps)).await, None, "{steps} steps");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_accepts_almost_what_the_rate_requires_is_too_slow_in_the_second_period() {
        for offset in 0..30 {
            let mut slow = Stuck::new(writing().min_write_rate(100));
            slow.note(0, offset * 100, true);
            let mut seconds = 0;
            while slow.accept(1, 80).await.is_none() {
                seconds += 1;
                assert!(seconds < 61, "from byte {offset} of a unit");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_writing_restarts_when_nothing_is_left_to_write_and_not_with_each_flush() {
        const FLUSH: u16 = 1;
        const PAUSE: u16 = 2;
        for (rate, turns, due) in [
            (None, FLUSH, None),
            (None, PAUSE, None),
            (Some(100), FLUSH, Some(Timeout::Write)),
            (Some(100), PAUSE, None),
        ] {
            let mut stuck = Stuck::new(writing().min_write_rate(rate));
            advance(30 * SECOND).await;
            stuck.note(turns, 0, true);
            assert_eq!(stuck.due(), due, "{rate:?}, {turns}");
        }
        let mut stuck = Stuck::new(writing().min_write_rate(100));
        stuck.note(0, 0, false);
        assert_eq!(stuck.accept(100, 0).await, None, "it was not stuck meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn the_count_of_written_bytes_may_wrap_around() {
        let mut stuck = Stuck::new(writing().min_write_rate(1000));
        stuck.written = u32::MAX - 10_000;
        stuck.note(0, 0, true);
        for _ in 0..3 {
            assert_eq!(stuck.accept(29, 30_000).await, None);
        }
        assert_eq!(stuck.accept(29, 0).await, None);
        assert_eq!(stuck.accept(1, 1).await, Some(Timeout::Write));
    }

    #[test]
    fn a_rate_without_a_write_timeout_is_measured_over_30_s_and_one_of_zero_is_none() {
        let off = Config::new().write_timeout(None).min_write_rate(0);
        assert_eq!((WriteLimits::new(&off).write, WriteLimits::new(&off).unit), (None, None));
        let limits = WriteLimits::new(&off.min_write_rate(100));
        assert_eq!(limits, WriteLimits::new(&writing().min_write_rate(100)));
        assert_eq!(limits.unit, NonZeroU32::new(3000));
        let huge = WriteLimits::new(&Config::new().write_timeout(Duration::MAX).min_write_rate(usize::MAX));
        assert_eq!(huge.unit, NonZeroU32::new(u32::MAX));
    }

    /// RFC 6455 section 7.1.1.
    #[tokio::test(start_paused = true)]
    async fn all_of_closing_has_a_deadline_that_no_progress_restarts() {
        let config = writing().close_timeout(5 * SECOND).total_close_timeout(60 * SECOND);
        let mut stuck = Stuck::new(config);
        assert_eq!(stuck.accept(29, 1).await, None);
        stuck.closing = true;
        stuck.note(0, 0, true);
        for _ in 0..14 {
            assert_eq!(stuck.accept(4, 1).await, None);
        }
        assert_eq!(stuck.accept(4, 1).await, Some(Timeout::Close));
        assert!(!stuck.clock.is_close_out());
    }

    #[tokio::test(start_paused = true)]
    async fn once_the_close_is_written_neither_bytes_nor_pauses_restart_its_deadline() {
        let mut stuck = Stuck::new(writing().close_timeout(5 * SECOND));
        stuck.closing = true;
        stuck.note(0, 0, true);
        assert_eq!(stuck.accept(4, 1).await, None);
        stuck.note(2, 1, false);
        assert!(stuck.clock.is_close_out());
        assert_eq!(stuck.accept(4, 1).await, None);
        stuck.note(2, 1, false);
        assert_eq!(stuck.accept(1, 1).await, Some(Timeout::Close));
    }

    #[test]
    fn all_of_closing_has_a_deadline_only_if_its_steps_have_one() {
        let limits = WriteLimits::new(&Config::new().close_timeout(None).write_timeout(None));
        assert_eq!(limits.shortest(true), None);
        let limits = WriteLimits::new(&Config::new().total_close_timeout(SECOND));
        assert_eq!(limits.shortest(true), Some(Millis::new(SECOND)));
        let limits = WriteLimits::new(&Config::new().total_close_timeout(None));
        assert_eq!(limits.shortest(true), Some(Millis::new(5 * SECOND)));
        assert_eq!(limits.shortest(false), Some(Millis::new(30 * SECOND)));
    }

    #[test]
    fn the_usual_limits_are_those_of_a_configuration_without_others() {
        for config in [Config::new(), Config::new().close_timeout(None), Config::new().write_timeout(SECOND)]
        {
            let limits = WriteLimits::new(&config);
            assert_eq!(limits, WriteLimits::usual(limits.write, limits.close));
        }
    }
}
