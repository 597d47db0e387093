//! A member as a recipient: its sender, and what waits for room in its write buffer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{counters::Fate, slow::Slow};
use crate::{CloseCode, PreparedMessage, Sender, TrySendError, proto::CloseFrame};

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
    pub(super) fn send(self: &Arc<Self>, message: &PreparedMessage, slow: &Slow) -> Fate {
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
            tokio::spawn(self.clone().send_waiting());
        }
        Fate::Waiting
    }

    /// Sends what waits, as there is room for it.
    async fn send_waiting(self: Arc<Self>) {
        while let Some(len) = self.next_waiting_len() {
            let Ok(permit) = self.sender.reserve(len).await else {
                // The connection has ended.
                *self.lock() = None;
                return;
            };
            if let Some(message) = self.take_waiting(len) {
                // Fails if the connection has begun to close meanwhile.
                let _closing = permit.feed(message);
            }
        }
    }

    /// Returns the length of the message that has waited longest. If none waits, the next one has to
    /// start a task.
    fn next_waiting_len(&self) -> Option<usize> {
        let mut waiting = self.lock();
        let next = waiting.as_ref().and_then(|kinds| kinds.first()).map(|(_, message)| message.len());
        if next.is_none() {
            *waiting = None;
        }
        next
    }

    /// Takes the message that has waited longest, unless it has been replaced by one that is longer.
    fn take_waiting(&self, len: usize) -> Option<PreparedMessage> {
        let mut waiting = self.lock();
        let kinds = waiting.as_mut()?;
        if kinds.first()?.1.len() > len {
            return None;
        }
        Some(kinds.remove(0).1)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
