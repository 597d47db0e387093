//! The queue of a split connection, as its transport uses it.

use std::task::{Context, Poll};

use super::{
    shared::SendState,
    sync::{Guard, Mutex},
};
use crate::{
    proto::{Batch, Buffers, SendPath},
    stream::{
        pool,
        strides::{PathAccess, Strides, poll_compress},
        transport::Source,
    },
};

/// The queue, which is locked for each access. Messages are compressed while it is unlocked.
pub(super) struct Locked<'a> {
    state: &'a Mutex<SendState>,
    /// Kept for the next access, if the stream is not used before it.
    held: Option<Guard<'a, SendState>>,
    pub(super) strides: Strides,
}

impl<'a> Locked<'a> {
    pub(super) fn new(state: &'a Mutex<SendState>) -> Self {
        Self { state, held: None, strides: Strides::new() }
    }

    /// Locks the queue, if it is not locked already.
    #[inline]
    pub(super) fn lock(&mut self) -> Guard<'a, SendState> {
        self.held.take().unwrap_or_else(|| self.state.lock())
    }
}

impl Source for Locked<'_> {
    fn poll_stage(&mut self, batch: &mut Option<Box<Batch>>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        // The batch is empty: what was staged before has been written and flushed.
        state.ledger.batch_written();
        if state.send.has_uncompressed() {
            drop(state);
            return poll_compress(self, batch.get_or_insert_with(pool::batch), cx);
        }
        let staged = state.send.poll_stage(batch, cx);
        state.staged(batch.as_deref());
        if let Poll::Ready(false) = staged {
            // Nothing is written: the ledger is settled under the same lock.
            self.held = Some(state);
        }
        staged
    }

    fn clear(&mut self) -> bool {
        Source::clear(&mut self.lock().send)
    }
}

impl PathAccess for Locked<'_> {
    fn with<T>(
        &mut self,
        batch: &mut Batch,
        call: impl FnOnce(&mut SendPath, &mut Batch, &mut Buffers) -> T,
    ) -> T {
        let mut state = self.lock();
        let result = pool::with_buffers(|buffers| call(&mut state.send, batch, buffers));
        state.staged(Some(batch));
        result
    }

    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.strides.poll_proceed(cx)
    }
}
