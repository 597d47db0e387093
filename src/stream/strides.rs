//! Compressing what is queued in short strides, so that other tasks have their turns.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Buf;
use tokio::task::{coop, yield_now};

use super::{pool, transport::Source};
use crate::proto::{Batch, Buffers, SendPath};

/// The number of message bytes compressed for one unit of the task's budget: about 0.25 ms at level
/// 6. A task that is interrupted more often loses its compressor from the processor's cache.
const STRIDE: usize = 16 << 10;

/// The sending path, for short accesses while messages are compressed.
pub(super) trait PathAccess {
    /// Calls a function with the sending path.
    fn with<T>(
        &mut self,
        batch: &mut Batch,
        call: impl FnOnce(&mut SendPath, &mut Batch, &mut Buffers) -> T,
    ) -> T;

    /// Returns ready if another stride may be compressed; pending if other tasks are to run first.
    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The number of strides that are compressed in one turn, so that a connection reads in between,
/// and a split one does not lock its transport for long.
const STRIDES: u8 = 4;

/// The number of message bytes that are compressed in one turn.
///
/// A call that only queues messages compresses and writes them once there are this many: many long
/// messages in a row would no longer be in the processor's cache later.
pub(super) const TURN: usize = STRIDE * STRIDES as usize;

/// The strides left in one turn.
#[derive(Debug)]
pub(super) struct Strides {
    left: u8,
    exhausted: bool,
}

impl Strides {
    pub(super) fn new() -> Self {
        Self { left: STRIDES, exhausted: false }
    }

    /// Takes a stride and a unit of the task's budget; pending if either is used up.
    pub(super) fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(left) = self.left.checked_sub(1) else {
            self.exhausted = true;
            return Poll::Pending;
        };
        ready!(coop::poll_proceed(cx)).made_progress();
        self.left = left;
        Poll::Ready(())
    }

    /// Wakes the task to continue after others have run, if the strides were used up.
    pub(super) fn poll_yield(&self, waker: &Waker) {
        if self.exhausted {
            let _pending = pin!(yield_now()).poll(&mut Context::from_waker(waker));
        }
    }
}

/// The sending path of a whole connection while it compresses, for one turn.
pub(super) struct InStrides<'a> {
    pub(super) path: &'a mut SendPath,
    pub(super) strides: Strides,
}

impl Source for InStrides<'_> {
    fn poll_stage(&mut self, batch: &mut Option<Box<Batch>>, cx: &mut Context<'_>) -> Poll<bool> {
        if self.path.has_uncompressed() {
            return poll_compress(self, batch.get_or_insert_with(pool::batch), cx);
        }
        self.path.poll_stage(batch, cx)
    }

    fn clear(&mut self) -> bool {
        Source::clear(self.path)
    }
}

impl PathAccess for InStrides<'_> {
    fn with<T>(
        &mut self,
        batch: &mut Batch,
        call: impl FnOnce(&mut SendPath, &mut Batch, &mut Buffers) -> T,
    ) -> T {
        pool::with_buffers(|buffers| call(self.path, batch, buffers))
    }

    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.strides.poll_proceed(cx)
    }
}

/// Stages frames and compresses messages, until the batch is full or the task's budget is used up.
/// Returns `true` if there is anything to write.
#[inline(never)]
pub(super) fn poll_compress(
    path: &mut impl PathAccess,
    batch: &mut Batch,
    cx: &mut Context<'_>,
) -> Poll<bool> {
    loop {
        // Stages what needs no compression, including pings that were queued meanwhile.
        let Some(mut deflater) = path.with(batch, |send, batch, buffers| send.take_deflater(batch, buffers))
        else {
            return Poll::Ready(batch.has_remaining());
        };
        let proceed = path.poll_proceed(cx);
        let mut stride = STRIDE;
        let staged = match proceed {
            Poll::Ready(()) => {
                pool::with_buffers(|buffers| deflater.compress(batch, &mut stride, buffers.codecs()))
            }
            Poll::Pending => 0,
        };
        path.with(batch, |send, _, buffers| send.return_deflater(deflater, staged, buffers));
        if proceed.is_pending() {
            return if batch.has_remaining() { Poll::Ready(true) } else { Poll::Pending };
        }
    }
}
