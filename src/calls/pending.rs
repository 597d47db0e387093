//! The calls of a connection that wait for their answers.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{error::CallError, parse::MAX_ID};
use crate::Error;
#[cfg(feature = "reconnect")]
use crate::Sender;

/// What a peer answered.
pub(super) type Answer = Result<Option<Box<RawValue>>, CallError>;

/// The calls of a connection that wait, shared by its peers and the task that receives.
#[derive(Default)]
pub(super) struct Pending {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: HashMap<u64, oneshot::Sender<Answer>>,
    /// The id of the newest call; the first one has 1.
    last: u64,
    ended: bool,
    /// The task that does not receive because events wait.
    paused: Option<Waker>,
    /// The error that ended the connection, if a peer has encountered it.
    cause: Option<Error>,
    /// The connection of a client whose hook runs, with its number: what is queued waits for it.
    #[cfg(feature = "reconnect")]
    hooked: Option<(u64, Sender)>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("calls", &self.state().calls.len()).finish_non_exhaustive()
    }
}

impl Pending {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a call, which waits until the ticket is dropped, unless so many wait already.
    pub(super) fn register(self: &Arc<Self>, max_calls: usize) -> Result<Ticket, CallError> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        if state.ended {
            return Err(CallError::Closed);
        }
        if state.calls.len() >= max_calls {
            return Err(CallError::Full);
        }
        loop {
            let id = state.last % MAX_ID + 1;
            state.last = id;
            if let Entry::Vacant(vacant) = state.calls.entry(id) {
                vacant.insert(sender);
                drop(state);
                return Ok(Ticket { pending: self.clone(), id, answer });
            }
        }
    }

    /// Passes an answer to its call. One that nothing waits for is ignored.
    pub(super) fn resolve(&self, id: u64, answer: impl FnOnce() -> Answer) {
        let waiting = self.state().calls.remove(&id);
        if let Some(waiting) = waiting {
            // The caller may have been dropped just now.
            let _ = waiting.send(answer());
        }
    }

    /// Fails all calls, and those that follow: the connection has ended.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let calls = mem::take(&mut state.calls);
        drop(state);
        for waiting in calls.into_values() {
            let _ = waiting.send(Err(CallError::Lost));
        }
    }

    /// Returns whether a call waits.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.state().calls.is_empty()
    }

    /// Registers the task that does not receive, so that [`wake`](Self::wake) wakes it.
    pub(super) fn pause(&self, waker: &Waker) {
        // Cloned and dropped outside of the lock, because both may run any code.
        let waker = waker.clone();
        let before = self.state().paused.replace(waker);
        drop(before);
    }

    /// Wakes the task that does not receive: something was queued, or an answer is waited for.
    pub(super) fn wake(&self) {
        let paused = self.state().paused.take();
        if let Some(waker) = paused {
            waker.wake();
        }
    }

    /// Keeps the error that ended the connection for the task that receives.
    pub(super) fn keep(&self, error: Error) {
        if !matches!(error, Error::Closed) {
            self.state().cause.get_or_insert(error);
        }
    }

    /// Takes the error that ended the connection.
    pub(super) fn take_cause(&self) -> Option<Error> {
        self.state().cause.take()
    }

    /// Records that the hook of a connection runs, until what this returns is dropped.
    #[cfg(feature = "reconnect")]
    pub(super) fn hooked(self: &Arc<Self>, number: u64, sender: Sender) -> Hooked {
        let before = self.state().hooked.replace((number, sender));
        drop(before);
        Hooked(self.clone())
    }

    /// Returns the sender of a connection if its hook runs.
    #[cfg(feature = "reconnect")]
    pub(super) fn hooked_sender(&self, number: u64) -> Option<Sender> {
        let state = self.state();
        state.hooked.as_ref().filter(|(hooked, _)| *hooked == number).map(|(_, sender)| sender.clone())
    }
}

/// A hook that runs.
#[cfg(feature = "reconnect")]
#[derive(Debug)]
pub(super) struct Hooked(Arc<Pending>);

#[cfg(feature = "reconnect")]
impl Drop for Hooked {
    fn drop(&mut self) {
        let sender = self.0.state().hooked.take();
        drop(sender);
    }
}

/// A call that waits for its answer. Dropping it forgets the call.
#[derive(Debug)]
pub(super) struct Ticket {
    pending: Arc<Pending>,
    id: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Ticket {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        // An answer is sent before its sender is dropped.
        Pin::new(&mut self.answer).poll(cx).map(|answer| answer.unwrap_or(Err(CallError::Lost)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let forgotten = self.pending.state().calls.remove(&self.id);
        drop(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(ticket: &mut Ticket) -> Poll<Answer> {
        ticket.poll_answer(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn row_85_an_answer_reaches_its_call_once_and_others_are_ignored() {
        let pending = Arc::new(Pending::default());
        let [mut first, mut second] = [(); 2].map(|()| pending.register(9).expect("room"));
        assert_eq!((first.id(), second.id()), (1, 2));
        pending.resolve(2, || Ok(None));
        pending.resolve(2, || panic!("nothing waits"));
        pending.resolve(99, || panic!("nothing waits"));
        assert!(poll(&mut first).is_pending());
        assert!(matches!(poll(&mut second), Poll::Ready(Ok(None))));
    }

    #[test]
    fn a_dropped_call_makes_room_for_another() {
        let pending = Arc::new(Pending::default());
        let ticket = pending.register(1).expect("room");
        assert!(matches!(pending.register(1), Err(CallError::Full)));
        drop(ticket);
        assert!(!pending.is_waited_for());
        assert_eq!(pending.register(1).expect("room").id(), 2);
    }

    #[test]
    fn the_end_fails_what_waits_and_what_follows() {
        let pending = Arc::new(Pending::default());
        let mut ticket = pending.register(9).expect("room");
        pending.end();
        assert!(matches!(poll(&mut ticket), Poll::Ready(Err(CallError::Lost))));
        assert!(matches!(pending.register(9), Err(CallError::Closed)));
    }

    #[test]
    fn ids_stay_within_what_javascript_represents_and_are_not_used_twice() {
        let pending = Arc::new(Pending::default());
        let _first = pending.register(9).expect("room");
        pending.state().last = MAX_ID - 1;
        let ids = [(); 2].map(|()| pending.register(9).expect("room")).map(|ticket| ticket.id());
        assert_eq!(ids, [MAX_ID, 2]);
    }
}
