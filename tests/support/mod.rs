//! Shared by the tests: frames built byte by byte, a scripted stream, two connected ends.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

#[cfg(feature = "calls")]
pub mod calls;
#[cfg(feature = "deflate")]
pub mod deflate;
pub mod drive;
pub mod frames;
#[cfg(feature = "hub")]
pub mod hub;
pub mod offence;
pub mod pair;
#[cfg(feature = "reconnect")]
pub mod reconnect;
pub mod replay;
pub mod script;
pub mod writes;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use fullduplex::{Config, WebSocket};
use script::Scripted;

/// Polls a future once, with a waker that does nothing, and outside of the budget of the test's
/// task, so that only the future itself can be the reason if it is pending.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    std::pin::pin!(tokio::task::coop::unconstrained(future)).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future once, and asserts that it is pending. `why` is the reason for the panic message.
#[track_caller]
pub fn pending<F: Future<Output: std::fmt::Debug>>(future: Pin<&mut F>, why: &str) {
    if let Poll::Ready(output) = poll_once(future) {
        panic!("ready with {output:?}, though {why}");
    }
}

/// Returns a configuration without any deadline.
pub fn without_deadlines() -> Config {
    let config = Config::new().close_timeout(None).write_timeout(None).idle_timeout(None);
    config.ping_interval(None).pong_timeout(None)
}

/// Polls `recv`, and asserts that nothing was received.
#[track_caller]
pub fn nothing_received(ws: &mut WebSocket<Scripted>) {
    pending(std::pin::pin!(ws.recv()), "nothing was received");
}

/// A waker that counts how often it is woken.
#[derive(Debug, Default)]
pub struct Wakes(pub AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A future that counts its polls.
pub struct Counted<F>(pub Pin<Box<F>>, pub Arc<AtomicUsize>);

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Relaxed);
        self.0.as_mut().poll(cx)
    }
}

/// Polls a future at most this many times, then drops it. Returns `None` if it did not complete.
pub fn polled<F: Future>(future: F, times: usize, mut before_each: impl FnMut()) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        before_each();
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return Some(output);
        }
    }
    None
}

/// Polls a future until it completes.
pub fn finished<F: Future>(future: F) -> F::Output {
    polled(future, 100_000, || {}).expect("a future that completes")
}

/// Yields until all other tasks wait.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
