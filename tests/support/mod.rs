//! What the tests share: frames built byte by byte, a scripted stream, two connected ends.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod frames;
pub mod pair;
pub mod script;

use std::{
    future::Future,
    task::{Context, Poll, Waker},
};

/// Polls a future once, with a waker that does nothing.
pub fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
