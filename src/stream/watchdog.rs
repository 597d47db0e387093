//! The deadline of a sending task that waits for the stream.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, Sleep, sleep_until},
};

/// The deadline of a sending task that waits for the stream to accept bytes.
///
/// It has a timer of its own, because the receiving side may not be polled.
#[derive(Debug, Default)]
pub(super) struct Watchdog(Option<Watch>);

#[derive(Debug)]
struct Watch {
    timer: Timer,
    since: Instant,
    limit: Duration,
    /// The transport's `moves` at that time.
    moves: u64,
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
    /// Restarts the deadline.
    pub(super) fn restart(&mut self) {
        if let Some(watch) = &mut self.0 {
            watch.since = Instant::now();
        }
    }

    /// Returns ready once the stream has accepted nothing for `limit`.
    ///
    /// The time is counted from the first call, or from when `moves` or the limit last changed.
    /// Must be called whenever the task still has to wait. Outside of a tokio runtime, the timer is
    /// one of `runtime`; without that either, there is no deadline.
    pub(super) fn poll(
        &mut self,
        limit: Duration,
        moves: u64,
        runtime: Option<&Handle>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let now = Instant::now();
        let watch = self.0.get_or_insert_with(|| Watch {
            timer: Timer::at(now + limit, runtime),
            since: now,
            limit,
            moves,
        });
        if (watch.limit, watch.moves) != (limit, moves) {
            (watch.limit, watch.moves, watch.since) = (limit, moves, now);
            // The new deadline may be earlier.
            watch.timer.reset(now + limit, runtime);
        }
        loop {
            ready!(watch.timer.poll(cx));
            let deadline = watch.since + limit;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            watch.timer.reset(deadline, runtime);
        }
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
