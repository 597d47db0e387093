//! Who should be present through this node.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use fullduplex::hub::{BackplaneError, MemberId};
use tokio::sync::{Notify, oneshot};

/// Who should be present through this node, and what the engine has to be told.
///
/// A seat is kept while its member should be present, or the engine may list it. What is called while
/// the engine is away therefore takes no memory beyond that of the members who were present.
#[derive(Debug)]
pub struct Members {
    state: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    seats: HashMap<Seat, State>,
    /// The seats that the engine has to be told about.
    changed: HashSet<Seat>,
    /// The seats that the engine is being told about.
    in_flight: Vec<Seat>,
    lease: String,
    calls: u64,
}

/// A member in a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seat {
    /// The member.
    pub member: MemberId,
    /// The room.
    pub room: String,
}

#[derive(Debug)]
struct State {
    /// `None` if the member should not be present.
    data: Option<Bytes>,
    /// The call that has set this.
    call: u64,
    /// Whether the engine may list the member.
    may_be_listed: bool,
    waiting: Vec<oneshot::Sender<Result<(), BackplaneError>>>,
}

/// What the engine has to be told about a seat.
#[derive(Debug, Clone)]
pub struct Change {
    /// The seat.
    pub seat: Seat,
    /// `None` if the member has left.
    pub data: Option<Bytes>,
    call: u64,
}

/// A call that waits until a member is present.
#[derive(Debug)]
pub struct Entering {
    seat: Seat,
    call: u64,
    entered: oneshot::Receiver<Result<(), BackplaneError>>,
}

impl Members {
    /// Creates an empty list.
    pub fn new() -> Self {
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
    pub fn lease(&self) -> String {
        self.lock().lease.clone()
    }

    /// Sets a new lease. All members enter again, under this one.
    pub fn set_lease(&self, lease: String) {
        let mut guard = self.lock();
        let Inner { seats, changed, lease: current, .. } = &mut *guard;
        *current = lease;
        let present = seats.iter().filter(|(_, state)| state.data.is_some());
        changed.extend(present.map(|(seat, _)| seat.clone()));
        self.changed.notify_one();
    }

    /// Begins again after a connection was lost: what the engine was being told may be unknown to it.
    pub fn restart(&self) {
        let mut inner = self.lock();
        let in_flight = std::mem::take(&mut inner.in_flight);
        inner.changed.extend(in_flight);
        self.changed.notify_one();
    }

    /// Makes a member present.
    pub fn enter(&self, seat: Seat, data: Bytes) -> Entering {
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

    /// Waits until the engine has recorded that a member is present. If it has not, the member leaves.
    ///
    /// # Errors
    /// Returns the error with which the change was [settled](Self::settle), or
    /// [`BackplaneError::Away`] if it was not.
    ///
    /// # Cancel safety
    /// If the future is dropped, the member still enters.
    pub async fn entered(&self, entering: Entering) -> Result<(), BackplaneError> {
        let Entering { seat, call, entered } = entering;
        let result = entered.await.unwrap_or(Err(BackplaneError::Away));
        if result.is_err() {
            self.exit_if(&seat, |state| state.call == call);
        }
        result
    }

    /// Makes a member leave.
    pub fn exit(&self, seat: &Seat) {
        self.exit_if(seat, |_| true);
    }

    /// Fails the calls that wait.
    pub fn disconnected(&self) {
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

    /// Waits for changes that the engine has to be told about, and returns at most `most` of them.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn changes(&self, most: usize) -> Vec<Change> {
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
    pub fn settle(&self, change: &Change, result: Result<(), BackplaneError>) {
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

impl Default for Members {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn new() -> Self {
        Self { data: None, call: 0, may_be_listed: false, waiting: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    fn seat(serial: u64) -> Seat {
        Seat { member: MemberId { node: 1, serial }, room: "r".into() }
    }

    fn data(changes: &[Change]) -> Vec<(u64, Option<&[u8]>)> {
        let mut data: Vec<_> =
            changes.iter().map(|change| (change.seat.member.serial, change.data.as_deref())).collect();
        data.sort();
        data
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut cx) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    fn settle_all(members: &Members) -> Vec<Change> {
        let changes = members.take_changes(9);
        changes.iter().for_each(|change| members.settle(change, Ok(())));
        changes
    }

    #[test]
    fn what_follows_in_the_same_seat_replaces_what_waits() {
        let members = Members::new();
        let first = members.enter(seat(1), "a".into());
        let second = members.enter(seat(1), "b".into());
        assert_eq!(data(&settle_all(&members)), [(1, Some(&b"b"[..]))]);
        assert!(matches!(now(members.entered(first)), Some(Ok(()))));
        assert!(matches!(now(members.entered(second)), Some(Ok(()))));
        assert!(members.take_changes(9).is_empty());
    }

    #[test]
    fn a_member_that_the_engine_has_not_been_told_about_leaves_without_a_trace() {
        let members = Members::new();
        let entering = members.enter(seat(1), "a".into());
        members.exit(&seat(1));
        members.exit(&seat(2));
        assert!(members.take_changes(9).is_empty());
        assert!(members.lock().seats.is_empty());
        assert!(matches!(now(members.entered(entering)), Some(Err(BackplaneError::Away))));
    }

    #[test]
    fn a_member_leaves_that_left_while_it_was_entering() {
        let members = Members::new();
        let _entering = members.enter(seat(1), "a".into());
        let changes = members.take_changes(9);
        members.exit(&seat(1));
        changes.iter().for_each(|change| members.settle(change, Ok(())));
        assert_eq!(data(&settle_all(&members)), [(1, None)]);
        assert!(members.lock().seats.is_empty());
    }

    #[test]
    fn a_member_that_could_not_enter_leaves() {
        let members = Members::new();
        let entering = members.enter(seat(1), "a".into());
        let changes = members.take_changes(9);
        members.settle(&changes[0], Err(BackplaneError::Lost));
        assert!(matches!(now(members.entered(entering)), Some(Err(BackplaneError::Lost))));
        assert_eq!(data(&settle_all(&members)), [(1, None)]);
    }

    #[test]
    fn changes_in_flight_are_told_again_after_a_restart() {
        let members = Members::new();
        let entering = members.enter(seat(1), "a".into());
        let changes = members.take_changes(9);
        members.disconnected();
        drop(changes);
        assert!(matches!(now(members.entered(entering)), Some(Err(BackplaneError::Away))));
        members.restart();
        assert_eq!(data(&settle_all(&members)), [(1, None)], "the call has failed");
    }

    #[test]
    fn all_members_enter_again_under_a_new_lease() {
        let members = Members::new();
        let _entering = [1, 2, 3].map(|serial| members.enter(seat(serial), "a".into()));
        settle_all(&members);
        members.exit(&seat(2));
        settle_all(&members);
        members.set_lease("new".into());
        assert_eq!(members.lease(), "new");
        assert_eq!(data(&settle_all(&members)), [(1, Some(&b"a"[..])), (3, Some(&b"a"[..]))]);
    }

    #[test]
    fn calls_while_the_engine_is_away_take_no_memory() {
        let members = Members::new();
        for serial in 0..1000 {
            let _entering = members.enter(seat(serial), "a".into());
            members.exit(&seat(serial));
        }
        let inner = members.lock();
        assert_eq!((inner.seats.len(), inner.changed.len(), inner.in_flight.len()), (0, 0, 0));
    }
}
