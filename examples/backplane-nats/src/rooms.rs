//! The rooms that are subscribed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fullduplex::hub::{BackplaneError, Inbox, Position, RoomKey};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    failure::Failure,
    link::Link,
    names::token,
    record::Cursor,
    room::{Feed, Room},
    shared::Shared,
};

/// Tasks that have been aborted, beyond which those that have ended are removed.
const MOST_ABORTED: usize = 64;

/// The rooms that are subscribed, by their tokens.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<String, Open>,
    /// Tasks that were aborted, and may be passing a message.
    aborted: HashMap<String, JoinHandle<()>>,
}

/// A room that is subscribed, or is about to be.
#[derive(Debug)]
struct Open {
    feeds: mpsc::UnboundedSender<Feed>,
    cursor: watch::Receiver<Option<Cursor>>,
    task: JoinHandle<()>,
}

impl Rooms {
    /// Subscribes a room, unless it is subscribed. Returns where it is.
    pub(crate) async fn subscribe<R: RoomKey + AsRef<str>>(
        &self,
        shared: &Arc<Shared<R>>,
        inbox: &Inbox<R>,
        link: &Arc<Link>,
        key: &R,
    ) -> Result<Position, BackplaneError> {
        let token = token(key.as_ref());
        let known = self.cursor(&token);
        let mut cursor = match known {
            Some(cursor) => cursor,
            None => {
                // Subscribed before the task is started, which opens the room with its first request.
                let feed =
                    Feed::open(shared, link, &token).await.inspect_err(|failure| link.failed(failure))?;
                self.start(shared, inbox, key, token, feed)
            }
        };
        match cursor.wait_for(Option::is_some).await.map(|cursor| *cursor) {
            Ok(Some(Cursor { epoch, offset, .. })) => Ok(Position { epoch, offset }),
            // The task has ended, because the room could not be opened, or was unsubscribed.
            _ => Err(BackplaneError::Away),
        }
    }

    fn cursor(&self, token: &str) -> Option<watch::Receiver<Option<Cursor>>> {
        let inner = self.lock();
        inner.open.get(token).filter(|room| !room.task.is_finished()).map(|room| room.cursor.clone())
    }

    fn start<R: RoomKey + AsRef<str>>(
        &self,
        shared: &Arc<Shared<R>>,
        inbox: &Inbox<R>,
        key: &R,
        token: String,
        feed: Feed,
    ) -> watch::Receiver<Option<Cursor>> {
        let mut inner = self.lock();
        // Another call may have been first.
        if let Some(room) = inner.open.get(&token).filter(|room| !room.task.is_finished()) {
            return room.cursor.clone();
        }
        let (sender, cursor) = watch::channel(None);
        let (feeds, more) = mpsc::unbounded_channel();
        let previous = inner.aborted.remove(&token);
        let room = Room::new(shared.clone(), inbox.clone(), key.clone(), &token, sender);
        let task = tokio::spawn(room.run(previous, feed, more));
        inner.open.insert(token, Open { feeds, cursor: cursor.clone(), task });
        cursor
    }

    /// Unsubscribes a room.
    pub(crate) fn unsubscribe(&self, room: &str) {
        let token = token(room);
        let mut inner = self.lock();
        if let Some(room) = inner.open.remove(&token) {
            room.task.abort();
            inner.aborted.insert(token, room.task);
        }
        if inner.aborted.len() > MOST_ABORTED {
            inner.aborted.retain(|_, task| !task.is_finished());
        }
    }

    /// Subscribes all rooms over a new connection.
    pub(crate) async fn resubscribe<R>(&self, shared: &Shared<R>, link: &Arc<Link>) -> Result<(), Failure> {
        let tokens: Vec<String> = self.lock().open.keys().cloned().collect();
        for token in tokens {
            let feed = Feed::open(shared, link, &token).await?;
            if let Some(room) = self.lock().open.get(&token) {
                // Its task may have ended.
                let _ended = room.feeds.send(feed);
            }
        }
        Ok(())
    }

    /// Ends the rooms that are not open yet, whose calls fail.
    pub(crate) fn disconnected(&self) {
        let mut inner = self.lock();
        let Inner { open, aborted } = &mut *inner;
        let opening: Vec<String> = open
            .iter()
            .filter(|(_, room)| room.cursor.borrow().is_none())
            .map(|(token, _)| token.clone())
            .collect();
        for token in opening {
            if let Some(room) = open.remove(&token) {
                room.task.abort();
                aborted.insert(token, room.task);
            }
        }
    }

    /// Ends all rooms.
    pub(crate) fn close(&self) {
        for (_, room) in self.lock().open.drain() {
            room.task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
