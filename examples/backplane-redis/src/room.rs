//! A room that is subscribed: what was passed of it, and what is missing.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use fullduplex::hub::{BackplaneError, Inbox, Position, Publication, RoomKey};
use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::{
    cursor::{Cursor, Head, Plan, State, Verdict},
    history::Read,
    keys::RoomKeys,
};

/// A room that is subscribed.
///
/// ```text
///             opened            a gap, a new connection
///   opening ─────────▶ live ────────────────────────────▶ behind
///                       ▲                                   │
///                       └───────────────────────────────────┘
///                               read from the history
/// ```
///
/// While it is live, published messages are passed as they arrive. While it is behind, they are only
/// noted, and read from the history, which one task does at a time.
///
/// The progress is locked while messages are passed. The hub may call `unsubscribe` meanwhile, which
/// therefore only sets a flag.
#[derive(Debug)]
pub(crate) struct Room<R> {
    pub(crate) key: R,
    pub(crate) keys: RoomKeys,
    progress: Mutex<Progress>,
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct Progress {
    /// `None` until the room is opened.
    cursor: Option<Cursor>,
    /// Whether messages are passed as they are published.
    is_live: bool,
    /// How often the subscription has ended, and up to which of these the room is subscribed again.
    /// While they differ, the room does not become live.
    suspensions: u64,
    resumed: u64,
    /// Whether what is being read may be from before the room was subscribed.
    is_outdated: bool,
    reading: Reading,
    /// The last message that was published while the room was not live.
    heard: Option<Head>,
    /// The calls that wait until the room is opened.
    waiting: Vec<Waiting>,
}

/// Whether the room is read from its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    No,
    /// It waits until a task reads it.
    Queued,
    Now,
}

pub(crate) type Waiting = oneshot::Sender<Result<Position, BackplaneError>>;

/// What follows from a step of reading a room from its history.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// There may be more: read again.
    Read,
    /// Give the history a new epoch, in the place of this one; then read again.
    Fork(u64),
    /// The room is live, or closed.
    Done,
}

impl<R: RoomKey> Room<R> {
    /// Creates a room that is not open, and the first call that waits until it is.
    pub(crate) fn new(key: R, keys: RoomKeys, waiting: Waiting) -> Self {
        let progress = Progress {
            cursor: None,
            is_live: false,
            suspensions: 0,
            resumed: 0,
            is_outdated: false,
            reading: Reading::No,
            heard: None,
            waiting: vec![waiting],
        };
        Self { key, keys, progress: Mutex::new(progress), is_closed: AtomicBool::new(false) }
    }

    /// Tells a call where the room is, once it is open. A call for a closed room is dropped.
    pub(crate) fn wait_until_open(&self, waiting: Waiting) {
        let mut progress = self.lock();
        match progress.cursor {
            // The call was dropped.
            Some(cursor) => drop(waiting.send(Ok(position(cursor)))),
            None if self.is_closed() => {}
            None => progress.waiting.push(waiting),
        }
    }

    /// Ends passing messages. What is being passed may still be.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(SeqCst)
    }

    /// Waits until a closed room passes nothing more. This blocks while a message is being passed.
    pub(crate) fn wait_until_silent(&self) {
        drop(self.lock());
    }

    /// Sets where the room begins, or closes it. Returns whether it is behind already.
    pub(crate) fn open(&self, state: Result<State, BackplaneError>) -> bool {
        let mut progress = self.lock();
        match &state {
            Ok(state) => progress.cursor = Some((*state).into()),
            Err(_failed) => self.close(),
        }
        let opened = state.map(|state| position(state.into()));
        for waiting in std::mem::take(&mut progress.waiting) {
            // The call was dropped.
            let _dropped = waiting.send(opened.clone());
        }
        opened.is_ok() && progress.settle()
    }

    /// Returns where the room is, unless it is not open.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.lock().cursor
    }

    /// Stops passing messages as they are published, because some may have been missed.
    pub(crate) fn interrupt(&self) {
        let mut progress = self.lock();
        progress.is_live = false;
        progress.resumed = progress.suspensions;
        progress.is_outdated = false;
        progress.reading = Reading::No;
        progress.heard = None;
    }

    /// Stops passing messages as they are published, because the subscription has ended.
    pub(crate) fn suspend(&self) {
        let mut progress = self.lock();
        progress.is_live = false;
        progress.suspensions += 1;
    }

    /// Returns how often the subscription has ended.
    pub(crate) fn suspensions(&self) -> u64 {
        self.lock().suspensions
    }

    /// Notes that the room was subscribed again after so many suspensions. It has to be compared.
    pub(crate) fn resume(&self, suspensions: u64) {
        let mut progress = self.lock();
        progress.resumed = suspensions;
        progress.is_outdated = progress.reading != Reading::No;
    }

    /// Compares the room with the end of its history, which was read after the cursor `before` was.
    /// Returns whether the room has to be read.
    pub(crate) fn compare(&self, before: Cursor, state: Option<State>) -> bool {
        let mut progress = self.lock();
        if progress.is_suspended() || progress.reading != Reading::No {
            return false;
        }
        let Some(cursor) = progress.cursor else { return false };
        let is_level = match state {
            // The history has expired or was deleted: the next message tells what follows.
            None => true,
            Some(state) if state.offset == before.offset => {
                state.epoch == before.epoch
                    && state.stamp.is_none_or(|stamp| before.stamp.is_none_or(|known| known == stamp))
            }
            // It was passed meanwhile.
            Some(state) => {
                progress.is_live
                    && state.epoch == cursor.epoch
                    && (before.offset..=cursor.offset).contains(&state.offset)
            }
        };
        if is_level { !progress.is_live && progress.settle() } else { progress.queue() }
    }

    /// Passes a message that was published. Returns whether the room has to be read.
    pub(crate) fn receive(&self, inbox: &Inbox<R>, head: Head, record: &[u8]) -> bool {
        let mut progress = self.lock();
        if self.is_closed() {
            return false;
        }
        let verdict = progress.cursor.filter(|_| progress.is_live).map(|cursor| cursor.judge(&head));
        match verdict {
            Some(Verdict::Next) => {
                if let Ok(publication) = Publication::from_bytes(record) {
                    progress.cursor = Some(head.into());
                    inbox.message(&self.key, position(head.into()), publication).deliver();
                    // If the members cannot keep up, what follows waits in the history.
                    return inbox.keep_up(&self.key).now_or_never().is_none() && progress.queue();
                }
                // Reading it from the history reports that it is lost.
                progress.heard = Some(head);
                progress.queue()
            }
            Some(Verdict::Known) => false,
            Some(Verdict::Gap) => {
                progress.heard = Some(head);
                progress.queue()
            }
            None => {
                progress.heard = Some(head);
                false
            }
        }
    }

    /// Begins to read the room from its history. Returns `false` if it is read already.
    pub(crate) fn start_reading(&self) -> bool {
        let mut progress = self.lock();
        let is_queued = progress.reading == Reading::Queued;
        if is_queued {
            progress.reading = Reading::Now;
        }
        is_queued
    }

    /// Begins a step of reading the room from its history. Returns where to read from, unless there
    /// is nothing to do.
    pub(crate) fn begin_to_read(&self) -> Option<Cursor> {
        let mut progress = self.lock();
        progress.heard = None;
        progress.is_outdated = false;
        progress.cursor.filter(|_| !self.is_closed())
    }

    /// Ends a step of reading the room from its history.
    pub(crate) fn end_to_read(&self, inbox: &Inbox<R>, from: Cursor, read: Option<Read>) -> Next {
        let Some(read) = read else {
            // There is no history, so nothing is missing.
            return self.end_to_catch_up();
        };
        let heads: Vec<Head> = read.entries.iter().map(|entry| entry.head).collect();
        match from.plan(&read.state, &heads) {
            Plan::Level => self.end_to_catch_up(),
            Plan::Fork => Next::Fork(from.epoch),
            Plan::Lost(cursor) => self.lose(inbox, cursor),
            Plan::Pass { skip, count } => {
                for entry in &read.entries[skip..skip + count] {
                    match Publication::from_bytes(&entry.record) {
                        Ok(publication) => {
                            if !self.pass(inbox, entry.head, publication) {
                                return Next::Done;
                            }
                        }
                        // Stored by another version of the program: no client can get it.
                        Err(_invalid) => return self.lose(inbox, entry.head.into()),
                    }
                }
                let is_end =
                    heads[skip..skip + count].last().is_some_and(|last| last.offset == read.state.offset);
                if is_end { self.end_to_catch_up() } else { Next::Read }
            }
        }
    }

    /// Stops reading after an error. The next comparison begins again.
    pub(crate) fn stop_reading(&self) {
        let mut progress = self.lock();
        progress.reading = Reading::No;
        progress.is_outdated = false;
    }

    /// Reports that messages are lost, and continues behind them.
    fn lose(&self, inbox: &Inbox<R>, cursor: Cursor) -> Next {
        if self.is_closed() {
            return Next::Done;
        }
        // Not under the lock, because it calls a function of the program. Nothing else is passed
        // meanwhile, because the room is not live.
        inbox.lost(&self.key, position(cursor));
        self.lock().cursor = Some(cursor);
        Next::Read
    }

    /// Passes a message that was read. Returns `false` if the room is closed.
    fn pass(&self, inbox: &Inbox<R>, head: Head, publication: Publication) -> bool {
        let mut progress = self.lock();
        if self.is_closed() {
            return false;
        }
        progress.cursor = Some(head.into());
        inbox.message(&self.key, position(head.into()), publication).deliver();
        true
    }

    /// Makes the room live, unless more was published meanwhile.
    fn end_to_catch_up(&self) -> Next {
        if self.lock().settle() { Next::Read } else { Next::Done }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Makes a room live that is level with its history, unless messages were published since. Returns
    /// whether it has to be read.
    fn settle(&mut self) -> bool {
        if self.is_suspended() {
            self.reading = Reading::No;
            return false;
        }
        if std::mem::take(&mut self.is_outdated) {
            return self.reading == Reading::Now || self.queue();
        }
        let is_known = |heard: &Head, cursor: &Cursor| cursor.judge(heard) == Verdict::Known;
        if let (Some(heard), Some(cursor)) = (&self.heard, &self.cursor)
            && !is_known(heard, cursor)
        {
            // The task that reads it goes on.
            return self.reading == Reading::Now || self.queue();
        }
        self.is_live = true;
        self.reading = Reading::No;
        false
    }

    fn is_suspended(&self) -> bool {
        self.suspensions != self.resumed
    }

    /// Makes a room be read. Returns `false` if it waits for that already, or is being read.
    fn queue(&mut self) -> bool {
        self.is_live = false;
        let is_new = self.reading == Reading::No;
        if is_new {
            self.reading = Reading::Queued;
        }
        is_new
    }
}

fn position(cursor: Cursor) -> Position {
    Position { epoch: cursor.epoch, offset: cursor.offset }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    const STATE: State = State { epoch: 1, offset: 10, stamp: Some(1010), base: 0 };
    const LATER: State = State { offset: 12, stamp: Some(1012), ..STATE };

    /// Returns a room that is live, behind the tenth message.
    fn room() -> Room<String> {
        let (waiting, _position) = oneshot::channel();
        let room = Room::new("r".to_owned(), Keys::new("chat", 0).room("r"), waiting);
        assert!(!room.open(Ok(STATE)));
        assert!(room.lock().is_live);
        room
    }

    fn compare(room: &Room<String>, state: State) -> bool {
        room.compare(room.cursor().expect("open"), Some(state))
    }

    #[test]
    fn a_suspended_room_is_compared_once_it_is_subscribed_again() {
        let room = room();
        room.suspend();
        assert!(!compare(&room, LATER), "it is not subscribed");
        assert!(!compare(&room, STATE) && !room.lock().is_live);
        room.resume(room.suspensions());
        assert!(compare(&room, LATER), "it has to be read");
    }

    #[test]
    fn a_room_that_has_missed_nothing_is_live_again() {
        let room = room();
        room.suspend();
        room.resume(room.suspensions());
        assert!(!room.lock().is_live, "before it is compared");
        assert!(!compare(&room, STATE));
        assert!(room.lock().is_live);
    }

    #[test]
    fn a_room_that_is_suspended_while_it_is_being_subscribed_stays_suspended() {
        let room = room();
        room.suspend();
        let subscribing = room.suspensions();
        room.suspend();
        room.resume(subscribing);
        assert!(!compare(&room, STATE) && !room.lock().is_live);
        room.resume(room.suspensions());
        assert!(!compare(&room, STATE) && room.lock().is_live);
    }

    #[test]
    fn what_was_read_before_a_room_was_subscribed_again_is_read_again() {
        let room = room();
        assert!(compare(&room, LATER) && room.start_reading());
        let from = room.begin_to_read().expect("open");
        room.suspend();
        room.resume(room.suspensions());
        assert!(!compare(&room, LATER), "it is being read");
        assert_eq!(from.plan(&STATE, &[]), Plan::Level);
        assert_eq!(room.end_to_catch_up(), Next::Read);
        assert!(room.begin_to_read().is_some());
        assert_eq!(room.end_to_catch_up(), Next::Done);
        assert!(room.lock().is_live);
    }

    #[test]
    fn a_room_that_was_read_while_it_is_suspended_does_not_become_live() {
        let room = room();
        assert!(compare(&room, LATER) && room.start_reading());
        room.suspend();
        assert!(room.begin_to_read().is_some());
        assert_eq!(room.end_to_catch_up(), Next::Done);
        assert!(!room.lock().is_live);
        room.resume(room.suspensions());
        assert!(!compare(&room, STATE) && room.lock().is_live);
    }
}
