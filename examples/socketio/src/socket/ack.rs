//! The acknowledgements that a socket waits for.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{assembly::Whole, error::AckError};

/// The acknowledgements that a socket waits for. It takes no memory beyond a pointer as long as there
/// were none.
#[derive(Debug, Default)]
pub(super) struct Acks(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    None,
    Some(Box<Waiting>),
    Ended,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Whole>>,
}

impl Acks {
    /// Registers an event, unless too many wait. Returns its id, and what its answer arrives by.
    pub(super) fn register(&self, max: usize) -> Result<(u64, oneshot::Receiver<Whole>), AckError> {
        let mut state = self.lock();
        if matches!(*state, State::None) {
            *state = State::Some(Box::default());
        }
        let State::Some(waiting) = &mut *state else { return Err(AckError::Disconnected) };
        if waiting.answers.len() >= max {
            return Err(AckError::TooMany);
        }
        // It does not come round: that takes longer than any connection lasts.
        let id = waiting.next;
        waiting.next += 1;
        let (answer, arrives) = oneshot::channel();
        waiting.answers.insert(id, answer);
        Ok((id, arrives))
    }

    /// Passes on an answer. One that nothing waits for is ignored: it may have come too late.
    pub(super) fn resolve(&self, id: u64, whole: Whole) {
        let waiting = match &mut *self.lock() {
            State::Some(waiting) => waiting.answers.remove(&id),
            State::None | State::Ended => None,
        };
        if let Some(answer) = waiting {
            // The one that waits may have been dropped just now.
            let _ = answer.send(whole);
        }
    }

    /// Forgets an event, whose answer is not waited for any more.
    pub(super) fn forget(&self, id: u64) {
        if let State::Some(waiting) = &mut *self.lock() {
            waiting.answers.remove(&id);
        }
    }

    /// Ends all waiting: the socket has left.
    pub(super) fn end(&self) {
        let ended = std::mem::replace(&mut *self.lock(), State::Ended);
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
