//! The deadline of a sending task that waits for the stream.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    io::WriteStatus,
    transport::Moves,
    write_clock::{WriteClock, WriteLimits},
};
use crate::error::Timeout;

/// The deadline of a sending task that waits for the stream to accept bytes.
///
/// It has a timer of its own, because the receiving side may not be polled.
#[derive(Debug, Default)]
pub(super) struct Watchdog(Option<Box<Watch>>);

#[derive(Debug)]
struct Watch {
    timer: Timer,
    /// When the timer elapses.
    wakes_at: Instant,
    clock: WriteClock,
    /// The progress of the stream when it was last noted.
    moves: Moves,
}

/// The timer of a watchdog.
#[derive(Debug)]
enum Timer {
    /// A timer of the current runtime.
    Own(Pin<Box<Sleep>>),
    /// A task of another runtime, for a sender that is used outside of a runtime. It ends at the
    /// deadline, or with an error if its runtime is shut down.
    Task(JoinHandle<()>),
    /// The task has ended.
    Elapsed,
    /// There is no runtime, and no deadline.
    None,
}

impl Watchdog {
    /// Returns ready once a deadline has passed while the stream accepts no more.
    ///
    /// The time is counted from the first call. Must be called whenever the task still has to wait.
    /// Outside of a tokio runtime, the timer is one of `runtime`; without that either, there is no
    /// deadline.
    pub(super) fn poll(
        &mut self,
        limits: &WriteLimits,
        status: &WriteStatus,
        runtime: Option<&Handle>,
        cx: &mut Context<'_>,
    ) -> Poll<Timeout> {
        let Some(limit) = limits.shortest(status.close_sent) else { return Poll::Pending };
        // Nobody wakes the task when the stream stops accepting bytes, so it looks again then.
        let again = limit.after(Instant::now());
        let watch = self.0.get_or_insert_with(|| Box::new(Watch::new(again, status, runtime)));
        let before = mem::replace(&mut watch.moves, status.transport.moves);
        watch.clock.note(limits, before, status, status.close_sent);
        let next = watch.clock.next(limits).filter(|_| status.is_stuck());
        let deadline = next.map_or(again, |(deadline, _)| deadline);
        if deadline < watch.wakes_at {
            watch.reset(deadline, runtime);
        }
        loop {
            ready!(watch.timer.poll(cx));
            match next {
                Some((deadline, timeout)) if deadline <= Instant::now() => return Poll::Ready(timeout),
                _ => watch.reset(deadline, runtime),
            }
        }
    }
}

impl Watch {
    fn new(wakes_at: Instant, status: &WriteStatus, runtime: Option<&Handle>) -> Self {
        Self {
            timer: Timer::at(wakes_at, runtime),
            wakes_at,
            clock: WriteClock::NEW,
            moves: status.transport.moves,
        }
    }

    fn reset(&mut self, deadline: Instant, runtime: Option<&Handle>) {
        self.timer.reset(deadline, runtime);
        self.wakes_at = deadline;
    }
}

impl Timer {
    /// Creates a timer of the current runtime, or of `runtime` if there is none.
    fn at(deadline: Instant, runtime: Option<&Handle>) -> Self {
        match (Handle::try_current(), runtime) {
            (Ok(_), _) => Self::Own(Box::pin(sleep_until(deadline))),
            (Err(_), Some(runtime)) => Self::Task(runtime.spawn(async move { sleep_until(deadline).await })),
            (Err(_), None) => Self::None,
        }
    }

    fn reset(&mut self, deadline: Instant, runtime: Option<&Handle>) {
        match self {
            Self::Own(sleep) => sleep.as_mut().reset(deadline),
            Self::Task(_) | Self::Elapsed => *self = Self::at(deadline, runtime),
            Self::None => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Own(sleep) => sleep.as_mut().poll(cx),
            Self::Task(task) => {
                let elapsed = ready!(Pin::new(task).poll(cx)).is_ok();
                *self = if elapsed { Self::Elapsed } else { Self::None };
                self.poll(cx)
            }
            Self::Elapsed => Poll::Ready(()),
            Self::None => Poll::Pending,
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Self::Task(task) = self {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Waker, time::Duration};

    use tokio::time::advance;

    use super::*;
    use crate::{Config, stream::write_clock::tests::status};

    const SECOND: Duration = Duration::from_secs(1);

    struct Waiting {
        watchdog: Watchdog,
        limits: WriteLimits,
    }

    impl Waiting {
        fn new(config: &Config) -> Self {
            Self { watchdog: Watchdog::default(), limits: WriteLimits::new(config) }
        }

        /// Returns what has timed out after this many seconds more.
        async fn after(&mut self, seconds: u32, status: WriteStatus) -> Option<Timeout> {
            advance(seconds * SECOND).await;
            let mut cx = Context::from_waker(Waker::noop());
            match self.watchdog.poll(&self.limits, &status, None, &mut cx) {
                Poll::Ready(timeout) => Some(timeout),
                Poll::Pending => None,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stops_accepting_has_the_whole_of_a_timeout_from_then_on() {
        let mut waiting = Waiting::new(&Config::new().write_timeout(30 * SECOND));
        let [idle, stuck] = [false, true].map(|stuck| status(Moves::NONE, stuck, false));
        assert_eq!(waiting.after(0, idle).await, None);
        assert_eq!(waiting.after(29, stuck).await, None);
        assert_eq!(waiting.after(29, stuck).await, None);
        assert_eq!(waiting.after(0, idle).await, None, "it has accepted everything");
        assert_eq!(waiting.after(100, idle).await, None);
        assert_eq!(waiting.after(0, stuck).await, None);
        assert_eq!(waiting.after(30, stuck).await, Some(Timeout::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadlines_of_closing_run_once_a_close_is_queued_and_the_earliest_counts() {
        let config = Config::new().write_timeout(30 * SECOND).close_timeout(5 * SECOND);
        let mut waiting = Waiting::new(&config.total_close_timeout(8 * SECOND));
        let at = |written, closing| status(Moves::new(0, written), true, closing);
        assert_eq!(waiting.after(0, at(0, false)).await, None);
        assert_eq!(waiting.after(20, at(0, false)).await, None);
        assert_eq!(waiting.after(0, at(0, true)).await, None);
        assert_eq!(waiting.after(4, at(1, true)).await, None);
        assert_eq!(waiting.after(3, at(2, true)).await, None);
        assert_eq!(waiting.after(1, at(3, true)).await, Some(Timeout::Close));
    }
}
