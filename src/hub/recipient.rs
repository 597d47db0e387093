//! A member as a recipient: its sender, and what waits for room in its write buffer.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use super::{counters::Fate, slow::Slow};
use crate::{
    CloseCode, PreparedMessage, Sender, TrySendError,
    proto::{CloseFrame, SendError},
    stream::TrackedSender,
};

/// The number of kinds of which the latest message waits for a member.
const MAX_KINDS: usize = 16;

/// A member as a recipient.
pub(super) struct Recipient {
    pub(super) serial: u64,
    pub(super) sender: Sender,
    /// In a box of its own, because most programs do not name users.
    user: Option<Box<User>>,
    /// The latest message of each kind that waits. `Some` while a task waits for room for them.
    waiting: Mutex<Option<Box<Waiting>>>,
}

struct User(String);

type Waiting = Vec<(String, PreparedMessage)>;

impl Recipient {
    pub(super) fn new(serial: u64, sender: Sender, user: Option<String>) -> Self {
        let user = user.map(|user| Box::new(User(user)));
        Self { serial, sender, user, waiting: Mutex::new(None) }
    }

    /// Returns the name of the user.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|user| &*user.0)
    }

    /// Sends a message, without waiting.
    ///
    /// If the stream panics, its connection is ended: the others receive the message.
    pub(super) fn send(self: &Arc<Self>, message: &PreparedMessage, slow: &Slow) -> Fate {
        // The locks of the connection are released by a panic, and it is not used afterwards.
        catch_unwind(AssertUnwindSafe(|| self.try_send(message, slow))).unwrap_or_else(|_panic| {
            self.sender.abort();
            Fate::Aborted
        })
    }

    fn try_send(self: &Arc<Self>, message: &PreparedMessage, slow: &Slow) -> Fate {
        if let Slow::KeepLatest(kind) = slow
            && self.replace_waiting(kind, message)
        {
            return Fate::Waiting;
        }
        match self.sender.try_send_now(message) {
            Ok(()) => Fate::Sent,
            Err(TrySendError::Closed(_)) => Fate::Gone,
            Err(TrySendError::Full(_)) => self.full(message, slow),
        }
    }

    /// Applies the policy for a full write buffer.
    #[cold]
    fn full(self: &Arc<Self>, message: &PreparedMessage, slow: &Slow) -> Fate {
        match slow {
            Slow::DropNewest => Fate::Dropped,
            Slow::KeepLatest(kind) => self.wait(kind, message),
            Slow::Close => {
                let frame = CloseFrame::from_static(CloseCode::TRY_AGAIN_LATER, "too slow");
                match self.sender.start_close(Some(frame)) {
                    Ok(()) => Fate::Closed,
                    Err(_closing) => Fate::Gone,
                }
            }
            Slow::Abort => {
                self.sender.abort();
                Fate::Aborted
            }
        }
    }

    /// Replaces a message of the same kind that waits. Returns `false` if there is none.
    fn replace_waiting(&self, kind: &str, message: &PreparedMessage) -> bool {
        let mut waiting = self.lock();
        let Some(waiting) = waiting.as_mut() else { return false };
        let Some((_, older)) = waiting.iter_mut().find(|(other, _)| other == kind) else { return false };
        *older = message.clone();
        true
    }

    /// Lets a message wait for room, and starts a task for it if there is none.
    fn wait(self: &Arc<Self>, kind: &str, message: &PreparedMessage) -> Fate {
        // Without a runtime there is no task that could wait.
        let Some(runtime) = self.sender.runtime() else { return Fate::Dropped };
        let mut waiting = self.lock();
        let is_first = waiting.is_none();
        let kinds = waiting.get_or_insert_default();
        match kinds.iter().position(|(other, _)| other == kind) {
            Some(index) => kinds[index].1 = message.clone(),
            None if kinds.len() == MAX_KINDS => return Fate::Dropped,
            None => kinds.push((kind.to_owned(), message.clone())),
        }
        drop(waiting);
        if is_first {
            runtime.spawn(self.clone().send_waiting());
        }
        Fate::Waiting
    }

    /// Sends what waits, as there is room for it.
    async fn send_waiting(self: Arc<Self>) {
        // If the runtime is shut down, a later message has to start another task.
        let mut clearing = ClearWaiting(Some(&self));
        let mut sender = TrackedSender::new(self.sender.clone());
        while let Some(fed) = poll_fn(|cx| self.poll_feed_waiting(&mut sender, cx)).await {
            let Ok(position) = fed else { return };
            if !poll_fn(|cx| poll_flushed(&mut sender, position, cx)).await {
                return;
            }
        }
        clearing.0 = None;
    }

    /// Queues the message that has waited longest once there is room for it. Returns `None` if none
    /// waits; the next one has to start a task.
    fn poll_feed_waiting(
        &self,
        sender: &mut TrackedSender,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<u64, SendError>>> {
        let Some(message) = self.first_waiting() else { return Poll::Ready(None) };
        let mut outgoing = message.clone().into();
        match sender.poll_feed(&mut outgoing, false, cx) {
            Poll::Ready(Ok((position, _))) => {
                self.remove_waiting(&message);
                Poll::Ready(Some(Ok(position)))
            }
            Poll::Ready(Err(closing)) => Poll::Ready(Some(Err(closing))),
            Poll::Pending => {
                sender.watch(cx);
                Poll::Pending
            }
        }
    }

    fn first_waiting(&self) -> Option<PreparedMessage> {
        let mut waiting = self.lock();
        let first = waiting.as_ref().and_then(|kinds| kinds.first()).map(|(_, message)| message.clone());
        if first.is_none() {
            *waiting = None;
        }
        first
    }

    /// Removes the message that has waited longest, unless another has replaced it: that follows.
    fn remove_waiting(&self, sent: &PreparedMessage) {
        let mut waiting = self.lock();
        if let Some(kinds) = waiting.as_mut()
            && kinds.first().is_some_and(|(_, message)| message == sent)
        {
            kinds.remove(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls until everything up to a position is flushed. Returns `false` if it never will be.
pub(super) fn poll_flushed(sender: &mut TrackedSender, position: u64, cx: &mut Context<'_>) -> Poll<bool> {
    let flushed = sender.poll_flushed(position, cx);
    if flushed.is_pending() {
        sender.watch(cx);
    }
    flushed
}

/// Drops what waits, if the task that waits for room is dropped.
struct ClearWaiting<'a>(Option<&'a Recipient>);

impl Drop for ClearWaiting<'_> {
    fn drop(&mut self) {
        if let Some(recipient) = self.0 {
            *recipient.lock() = None;
        }
    }
}
