//! The deadline of a sending task that waits for the stream.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until},
};

/// The deadline of a sending task that waits for the stream to accept bytes.
///
/// It has a timer of its own, because the receiving side may not be polled.
#[derive(Debug, Default)]
pub(super) struct Watchdog(Option<Watch>);

#[derive(Debug)]
struct Watch {
    sleep: Pin<Box<Sleep>>,
    since: Instant,
    /// The transport's `moves` at that time.
    moves: u64,
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
    /// The time is counted from the first call, or from when `moves` last changed. Must be called
    /// whenever the task still has to wait. Outside of a tokio runtime, the timer is one of
    /// `runtime`; without that either, there is no deadline.
    pub(super) fn poll(
        &mut self,
        limit: Duration,
        moves: u64,
        runtime: Option<&Handle>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let watch = match &mut self.0 {
            Some(watch) => watch,
            none => {
                let now = Instant::now();
                let Some(sleep) = sleep(now + limit, runtime) else { return Poll::Pending };
                none.insert(Watch { sleep: Box::pin(sleep), since: now, moves })
            }
        };
        if watch.moves != moves {
            (watch.moves, watch.since) = (moves, Instant::now());
        }
        loop {
            let deadline = watch.since + limit;
            if deadline < watch.sleep.deadline() {
                watch.sleep.as_mut().reset(deadline);
            }
            ready!(watch.sleep.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            watch.sleep.as_mut().reset(deadline);
        }
    }
}

/// Creates a timer of the current runtime, or of `runtime` if there is none.
fn sleep(at: Instant, runtime: Option<&Handle>) -> Option<Sleep> {
    if Handle::try_current().is_ok() {
        return Some(sleep_until(at));
    }
    let _entered = runtime?.enter();
    Some(sleep_until(at))
}
