//! Who should be present through this node.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use fullduplex::hub::{BackplaneError, MemberId};
use tokio::sync::{Notify, oneshot};

/// Who should be present through this node, and what the server has to be told.
///
/// A seat is kept while its member should be present, or the server may list it. What is called while
/// the server is away therefore takes no memory beyond that of the members who were present.
#[derive(Debug)]
pub(crate) struct Members {
    state: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    seats: HashMap<Seat, State>,
    /// The seats that the server has to be told about.
    changed: HashSet<Seat>,
    /// The seats that the server is being told about.
    in_flight: Vec<Seat>,
    lease: String,
    calls: u64,
}

/// A member in a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Seat {
    pub(crate) member: MemberId,
    pub(crate) room: String,
}

#[derive(Debug)]
struct State {
    /// `None` if the member should not be present.
    data: Option<Bytes>,
    /// The call that has set this.
    call: u64,
    /// Whether the server may list the member.
    may_be_listed: bool,
    waiting: Vec<oneshot::Sender<Result<(), BackplaneError>>>,
}

/// What the server has to be told about a seat.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) seat: Seat,
    /// `None` if the member has left.
    pub(crate) data: Option<Bytes>,
    call: u64,
}

/// A call that waits until a member is present.
#[derive(Debug)]
pub(crate) struct Entering {
    seat: Seat,
    call: u64,
    entered: oneshot::Receiver<Result<(), BackplaneError>>,
}

impl Members {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            seats: HashMap::new(),
            changed: HashSet::new(),
            in_flight: Vec::new(),
            lease: String::new(),
            calls: 0,
        };
        Self { state: Mutex::new(inner), changed: Notify::new() }
    }

    /// Returns the lease under which members enter; empty before there is one.
    pub(crate) fn lease(&self) -> String {
        self.lock().lease.clone()
    }

    /// Sets a new lease. All members enter again, under this one.
    pub(crate) fn set_lease(&self, lease: String) {
        let mut guard = self.lock();
        let Inner { seats, changed, lease: current, .. } = &mut *guard;
        *current = lease;
        let present = seats.iter().filter(|(_, state)| state.data.is_some());
        changed.extend(present.map(|(seat, _)| seat.clone()));
        self.changed.notify_one();
    }

    /// Begins again after a connection was lost: what the server was being told may be unknown to it.
    pub(crate) fn restart(&self) {
        let mut inner = self.lock();
        let in_flight = std::mem::take(&mut inner.in_flight);
        inner.changed.extend(in_flight);
        self.changed.notify_one();
    }

    /// Makes a member present.
    pub(crate) fn enter(&self, seat: Seat, data: Bytes) -> Entering {
        let (sender, entered) = oneshot::channel();
        let mut inner = self.lock();
        inner.calls += 1;
        let call = inner.calls;
        let state = inner.seats.entry(seat.clone()).or_insert_with(State::new);
        state.data = Some(data);
        state.call = call;
        state.waiting.push(sender);
        inner.changed.insert(seat.clone());
        self.changed.notify_one();
        Entering { seat, call, entered }
    }

    /// Waits until the server has recorded that a member is present.
    pub(crate) async fn entered(&self, entering: Entering) -> Result<(), BackplaneError> {
        let Entering { seat, call, entered } = entering;
        let result = entered.await.unwrap_or(Err(BackplaneError::Away));
        if result.is_err() {
            self.exit_if(&seat, |state| state.call == call);
        }
        result
    }

    /// Makes a member leave.
    pub(crate) fn exit(&self, seat: &Seat) {
        self.exit_if(seat, |_| true);
    }

    /// Fails the calls that wait.
    pub(crate) fn disconnected(&self) {
        for state in self.lock().seats.values_mut() {
            // Their receivers return an error.
            state.waiting.clear();
        }
    }

    fn exit_if(&self, seat: &Seat, condition: impl FnOnce(&State) -> bool) {
        let mut inner = self.lock();
        let Some(state) = inner.seats.get_mut(seat).filter(|state| condition(state)) else { return };
        state.data = None;
        state.waiting.clear();
        if state.may_be_listed {
            inner.changed.insert(seat.clone());
            self.changed.notify_one();
        } else {
            inner.seats.remove(seat);
            inner.changed.remove(seat);
        }
    }

    /// Waits for changes that the server has to be told about, and returns some of them.
    pub(crate) async fn changes(&self, most: usize) -> Vec<Change> {
        loop {
            let changes = self.take_changes(most);
            if !changes.is_empty() {
                return changes;
            }
            self.changed.notified().await;
        }
    }

    fn take_changes(&self, most: usize) -> Vec<Change> {
        let mut guard = self.lock();
        let Inner { seats, changed, in_flight, .. } = &mut *guard;
        let taken: Vec<Seat> = changed.iter().take(most).cloned().collect();
        let mut changes = Vec::with_capacity(taken.len());
        for seat in taken {
            changed.remove(&seat);
            let Some(state) = seats.get_mut(&seat) else { continue };
            state.may_be_listed = true;
            in_flight.push(seat.clone());
            changes.push(Change { seat, data: state.data.clone(), call: state.call });
        }
        changes
    }

    /// Records what has become of a change.
    pub(crate) fn settle(&self, change: &Change, result: Result<(), BackplaneError>) {
        let mut guard = self.lock();
        let Inner { seats, changed, in_flight, .. } = &mut *guard;
        in_flight.retain(|seat| *seat != change.seat);
        let Some(state) = seats.get_mut(&change.seat) else { return };
        // A later call has changed it again.
        let is_latest = state.call == change.call && state.data.is_some() == change.data.is_some();
        match (&change.data, &result) {
            (None, Ok(())) if is_latest => {
                seats.remove(&change.seat);
                return;
            }
            // It is attempted again with the next change.
            (None, Err(_)) => {
                changed.insert(change.seat.clone());
            }
            _ => {}
        }
        if is_latest {
            for waiting in state.waiting.drain(..) {
                // The call was dropped.
                let _dropped = waiting.send(result.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new() -> Self {
        Self { data: None, call: 0, may_be_listed: false, waiting: Vec::new() }
    }
}
