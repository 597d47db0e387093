//! Judging a stuck stream where no receiver may do it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::shared::{Shared, Transmit};

/// The deadline of who waits for the stream to take something: [`write_timeout`](crate::Config::write_timeout), which the
/// receiver may not be there to judge.
#[derive(Debug, Default)]
pub(super) struct Watchdog(Option<Watch>);

#[derive(Debug)]
struct Watch {
    sleep: Pin<Box<Sleep>>,
    /// How often the stream had taken something when it began.
    moves: u64,
}

impl Watchdog {
    /// To be called when what is waited for is pending. Where the stream has been stuck for too long, it ends the
    /// connection, which wakes whoever waits. One that has gone on meanwhile starts it anew.
    pub(super) fn poll(&mut self, shared: &Shared<dyn Transmit>, cx: &mut Context<'_>) {
        let Some(limit) = shared.write_timeout else { return };
        let moves = shared.moves();
        let watch = self
            .0
            .get_or_insert_with(|| Watch { sleep: Box::pin(sleep_until(Instant::now() + limit)), moves });
        while let Poll::Ready(()) = watch.sleep.as_mut().poll(cx) {
            shared.end_if_stuck_since(watch.moves);
            watch.moves = moves;
            watch.sleep.as_mut().reset(Instant::now() + limit);
        }
    }
}
