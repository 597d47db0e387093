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

use crate::{Config, error::Timeout};

/// The deadlines that a connection has, in few bytes; `None` is off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    close: Option<Millis>,
    write: Option<Millis>,
    ping: Option<Millis>,
    pong: Option<Millis>,
    idle: Option<Millis>,
}

/// A duration of at least a millisecond and at most 49 days.
#[derive(Debug, Clone, Copy)]
struct Millis(NonZeroU32);

impl Millis {
    fn new(duration: Duration) -> Self {
        let millis = u32::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        Self(NonZeroU32::new(millis).unwrap_or(NonZeroU32::MIN))
    }

    fn duration(self) -> Duration {
        Duration::from_millis(self.0.get().into())
    }

    fn after(self, start: Instant) -> Instant {
        start + self.duration()
    }
}

impl Timeouts {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            close: config.close_timeout.map(Millis::new),
            write: config.write_timeout.map(Millis::new),
            ping: config.ping_interval.map(Millis::new),
            pong: config.pong_timeout.map(Millis::new),
            idle: config.idle_timeout.map(Millis::new),
        }
    }

    /// How long a write may be stuck.
    pub(super) fn write(&self) -> Option<Duration> {
        self.write.map(Millis::duration)
    }

    /// Whether what comes from the peer has to be timed.
    pub(super) fn watch_peer(&self) -> bool {
        self.ping.is_some() || self.idle.is_some()
    }

    /// Whether any deadline runs.
    pub(super) fn watch(&self, activity: Activity) -> bool {
        self.watch_peer()
            || (activity.stuck && self.write.is_some())
            || (activity.closing && self.close.is_some())
    }
}

/// What a connection is doing, as far as deadlines depend on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Activity {
    /// Something staged waits for the stream.
    pub(super) stuck: bool,
    /// The stream has taken something since the last look.
    pub(super) progressed: bool,
    /// Our Close is queued or sent, or the connection has failed.
    pub(super) closing: bool,
    /// All that the stream has brought is handled, and it brings no more for now.
    pub(super) waiting: bool,
    /// What it brought ends inside a frame, which no pong can overtake.
    pub(super) inside_frame: bool,
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
    /// One timer for all deadlines of a connection. It is armed again when it fires, or when something is due earlier;
    /// a deadline that moves away costs nothing.
    #[derive(Debug)]
    pub(super) struct Timers {
        #[pin]
        sleep: Sleep,
        // When the stream last brought anything.
        read_at: Instant,
        // When the last message or pong came, to the read.
        heard_at: Instant,
        ping: Option<Ping>,
        stuck_since: Option<Instant>,
        closing_since: Option<Instant>,
    }
}

/// A keep-alive ping that waits for its pong.
#[derive(Debug, Clone, Copy)]
struct Ping {
    payload: [u8; 4],
    /// Since when the peer may be expected to answer.
    since: Instant,
    /// Whether it is known to have left, and not to wait behind what the stream takes slowly.
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
            stuck_since: None,
            closing_since: None,
        }
    }

    /// Notes that the stream has brought something.
    pub(super) fn read(self: Pin<&mut Self>) {
        *self.project().read_at = Instant::now();
    }

    /// Notes that a message or a pong came with the last read.
    #[inline]
    pub(super) fn heard(self: Pin<&mut Self>) {
        let this = self.project();
        *this.heard_at = *this.read_at;
    }

    /// Notes a pong.
    pub(super) fn pong(self: Pin<&mut Self>, payload: &[u8]) {
        let this = self.project();
        if this.ping.is_some_and(|ping| ping.payload == payload) {
            *this.ping = None;
        }
    }

    /// What is due; pending until something is. `None`: nothing ever will be as things stand, no timer is needed.
    pub(super) fn poll_due(
        mut self: Pin<&mut Self>,
        timeouts: &Timeouts,
        activity: Activity,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Due>> {
        self.as_mut().note(activity);
        loop {
            let Some((deadline, due)) = self.next(timeouts, activity) else { return Poll::Ready(None) };
            let mut this = self.as_mut().project();
            if deadline < this.sleep.deadline() {
                this.sleep.as_mut().reset(deadline);
            }
            ready!(this.sleep.as_mut().poll(cx));
            let now = Instant::now();
            if deadline <= now {
                let due = due.unwrap_or_else(|| Due::Ping(rand::random()));
                if let Due::Ping(payload) = due {
                    *this.ping = Some(Ping { payload, since: now, left: false });
                }
                return Poll::Ready(Some(due));
            }
            this.sleep.reset(deadline);
        }
    }

    /// Notes when what is going on began.
    fn note(self: Pin<&mut Self>, activity: Activity) {
        let this = self.project();
        if !activity.stuck {
            *this.stuck_since = None;
        } else if activity.progressed || this.stuck_since.is_none() {
            *this.stuck_since = Some(Instant::now());
        }
        // What is queued before our Close may take its time, as long as it moves: `write` is the deadline for that.
        if activity.closing && (this.closing_since.is_none() || (activity.stuck && activity.progressed)) {
            *this.closing_since = Some(Instant::now());
        }
        let Some(ping) = this.ping else { return };
        if activity.progressed && !ping.left {
            ping.since = Instant::now();
        }
        ping.left |= !activity.stuck;
        // A pong cannot come before the frame that is under way has ended.
        if activity.inside_frame {
            ping.since = ping.since.max(*this.read_at);
        }
    }

    /// The earliest deadline and what is due then, a ping where nothing is said.
    fn next(&self, timeouts: &Timeouts, activity: Activity) -> Option<(Instant, Option<Due>)> {
        let at = |timeout: Option<Millis>, since: Option<Instant>| Some(timeout?.after(since?));
        let waiting = |instant: Instant| (activity.waiting && !activity.closing).then_some(instant);
        let ping_due = match self.ping {
            None => waiting(self.heard_at),
            // Nobody waits for its pong: the next ping is due all the same.
            Some(ping) if timeouts.pong.is_none() => waiting(ping.since.max(self.heard_at)),
            Some(_) => None,
        };
        let pong_due = self.ping.and_then(|ping| waiting(ping.since));
        [
            (at(timeouts.close, self.closing_since), Some(Due::Timeout(Timeout::Close))),
            (at(timeouts.write, self.stuck_since), Some(Due::Timeout(Timeout::Write))),
            (at(timeouts.idle, waiting(self.heard_at)), Some(Due::Timeout(Timeout::Idle))),
            (at(timeouts.pong, pong_due), Some(Due::Timeout(Timeout::Pong))),
            (at(timeouts.ping, ping_due), None),
        ]
        .into_iter()
        .filter_map(|(deadline, due)| Some((deadline?, due)))
        .min_by_key(|(deadline, _)| *deadline)
    }
}
