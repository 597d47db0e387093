//! A sender that finds out how far each of its messages has been written.

use std::task::{Context, Poll};

use tokio::sync::TryAcquireError;

use super::{
    Sender,
    wait_list::{Ticket, Wait},
};
use crate::{Outgoing, proto::SendError, stream::watchdog::Watchdog};

/// A sender with poll functions, which returns the position of each message.
///
/// A message is flushed once its position is: then the stream has accepted and flushed all of it.
/// No function takes the error that ended the connection: that is left to the receiver.
#[derive(Debug)]
pub(crate) struct TrackedSender {
    sender: Sender,
    room: Ticket,
    flush: Ticket,
    watchdog: Watchdog,
}

impl TrackedSender {
    pub(crate) fn new(sender: Sender) -> Self {
        Self { sender, room: Ticket::default(), flush: Ticket::default(), watchdog: Watchdog::default() }
    }

    /// Queues a message once there is room, and returns its position; with `keep`, also a copy of
    /// the message.
    ///
    /// It is written when the receiver is next polled, or by [`poll_flushed`](Self::poll_flushed).
    /// The message is unchanged unless this returns a position.
    ///
    /// # Errors
    /// Returns [`SendError::Closing`] if nothing more can be sent.
    pub(crate) fn poll_feed(
        &mut self,
        message: &mut Outgoing<'static>,
        keep: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(u64, Option<Outgoing<'static>>), SendError>> {
        let shared = &self.sender.shared;
        let need = shared.need(message.len());
        for attempt in 0..2 {
            match shared.room().try_acquire_many(need) {
                Ok(room) => {
                    self.room = Ticket::default();
                    let copy = keep.then(|| message.clone());
                    return Poll::Ready(self.sender.queue(message, room).map(|position| (position, copy)));
                }
                Err(TryAcquireError::Closed) => return Poll::Ready(Err(SendError::Closing)),
                // Registered before the attempt to write, so that no wake-up is lost.
                Err(TryAcquireError::NoPermits) if attempt == 0 => {
                    shared.wait_list.register_sender(&mut self.room, cx.waker(), Wait::AnyRoom);
                    shared.drive();
                }
                Err(TryAcquireError::NoPermits) => {}
            }
        }
        Poll::Pending
    }

    /// Returns `true` once everything up to this position is flushed, and `false` if it never will
    /// be.
    pub(crate) fn poll_flushed(&mut self, position: u64, cx: &mut Context<'_>) -> Poll<bool> {
        for attempt in 0..2 {
            if let Some(flushed) = self.outcome(position) {
                self.flush = Ticket::default();
                return Poll::Ready(flushed);
            }
            if attempt == 0 {
                let shared = &self.sender.shared;
                shared.wait_list.register_sender(&mut self.flush, cx.waker(), Wait::Flush);
                shared.drive();
            }
        }
        Poll::Pending
    }

    /// Writes what is queued, for a task that does not poll the receiver.
    ///
    /// The task is woken until all of it is written. It is not woken by messages that are fed later.
    #[cfg(feature = "calls")]
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) {
        let target = self.sender.shared.flush_target();
        // If the connection has ended, the receiver returns why.
        let _ = self.poll_flushed(target, cx);
        self.watch(cx);
    }

    /// Checks the deadline of a stuck stream, for a task that does not poll the receiver.
    pub(crate) fn watch(&mut self, cx: &mut Context<'_>) {
        self.sender.shared.watch(&mut self.watchdog, cx);
    }

    /// Returns the sender.
    pub(crate) fn get_ref(&self) -> &Sender {
        &self.sender
    }

    /// Returns whether everything up to this position is flushed.
    pub(crate) fn is_flushed(&self, position: u64) -> bool {
        self.outcome(position) == Some(true)
    }

    /// Returns whether everything up to this position is flushed; `None` if that is still open.
    fn outcome(&self, position: u64) -> Option<bool> {
        let state = self.sender.shared.state.lock();
        if state.ledger.is_flushed(position) {
            return Some(true);
        }
        state.ledger.transport().ended.then_some(false)
    }
}

#[cfg(all(test, not(fullduplex_loom)))]
mod tests {
    use std::task::Waker;

    use super::{super::tests::split, *};
    use crate::{Config, stream::test_stream::TestStream};

    #[tokio::test]
    async fn a_message_is_flushed_once_the_stream_has_accepted_all_of_it() {
        let stream = TestStream::limited(2);
        let (receiver, sender) = split(&stream, &Config::new());
        let (mut sender, mut cx) = (TrackedSender::new(sender), Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok((position, None))) = sender.poll_feed(&mut "text".into(), false, &mut cx) else {
            panic!("there is room");
        };
        assert!(sender.poll_flushed(position, &mut cx).is_pending() && !sender.is_flushed(position));
        stream.state().room = None;
        assert_eq!(sender.poll_flushed(position, &mut cx), Poll::Ready(true));
        assert!(sender.is_flushed(position));
        drop(receiver);
        assert_eq!(sender.poll_flushed(position + 1, &mut cx), Poll::Ready(false));
        assert!(!sender.is_flushed(position + 1));
    }
}
