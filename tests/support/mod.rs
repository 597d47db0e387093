//! What the tests share: frames built byte by byte, a scripted stream, two connected ends.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod drive;
pub mod frames;
pub mod offence;
pub mod pair;
pub mod script;

use std::{
    future::Future,
    task::{Context, Poll, Waker},
};

/// Polls a future once, with a waker that does nothing, and without a part in the budget of the test's task: that it is
/// pending is the future's own doing.
pub fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    std::pin::pin!(tokio::task::coop::unconstrained(future)).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future once, which has to be pending: `why` says what it waits for.
#[track_caller]
pub fn pending<F: Future<Output: std::fmt::Debug>>(future: std::pin::Pin<&mut F>, why: &str) {
    if let Poll::Ready(output) = poll_once(future) {
        panic!("ready with {output:?}, though {why}");
    }
}
