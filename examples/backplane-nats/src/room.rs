//! A room that is subscribed: the task that passes its messages.

use std::sync::Arc;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use fullduplex::hub::{Inbox, Position, PresenceChange, Present, Publication, RoomKey, Target};
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, interval_at, sleep},
};

use crate::{
    failure::Failure,
    history::{self, Raw},
    link::Link,
    names::parse_member,
    presence::is_left,
    record::{Cursor, Entry},
    shared::Shared,
    transient,
};

/// The messages that are read at a time to pass them.
const STEP: usize = 64;

/// The sequence of a message that the stream has published.
const HEADER_SEQUENCE: &str = "Nats-Sequence";

/// The subscriptions of a room, over one connection.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) link: Arc<Link>,
    live: Subscriber,
    presence: Subscriber,
    to_room: Subscriber,
}

impl Feed {
    /// Subscribes a room. The server has done so before it answers what is requested next.
    pub(crate) async fn open<R>(shared: &Shared<R>, link: &Arc<Link>, token: &str) -> Result<Self, Failure> {
        let subscribe = async |subject| link.client.subscribe(subject).await.map_err(Failure::away);
        Ok(Self {
            live: subscribe(shared.names.live(token)).await?,
            presence: subscribe(shared.names.presence(token)).await?,
            to_room: subscribe(shared.names.to_room(token)).await?,
            link: link.clone(),
        })
    }
}

/// The task of a room.
pub(crate) struct Room<R> {
    shared: Arc<Shared<R>>,
    inbox: Inbox<R>,
    key: R,
    subject: String,
    /// `None` until the room is open.
    cursor: watch::Sender<Option<Cursor>>,
}

impl<R: RoomKey + AsRef<str>> Room<R> {
    pub(crate) fn new(
        shared: Arc<Shared<R>>,
        inbox: Inbox<R>,
        key: R,
        token: &str,
        cursor: watch::Sender<Option<Cursor>>,
    ) -> Self {
        let subject = shared.names.room(token);
        Self { shared, inbox, key, subject, cursor }
    }

    /// Passes what is published, until the task is aborted, or the room cannot be opened.
    pub(crate) async fn run(
        self,
        previous: Option<JoinHandle<()>>,
        mut feed: Feed,
        mut feeds: mpsc::UnboundedReceiver<Feed>,
    ) {
        // Two tasks must not pass messages of the same room. It was aborted, and returns an error.
        if let Some(previous) = previous {
            let _aborted = previous.await;
        }
        if let Err(failure) = self.open(&feed.link).await {
            feed.link.failed(&failure);
            self.shared.report(failure);
            return;
        }
        let mut is_new = true;
        loop {
            tokio::select! {
                biased;
                next = feeds.recv() => match next {
                    Some(next) => feed = next,
                    None => return,
                },
                failure = self.follow(&mut feed, is_new) => {
                    feed.link.failed(&failure);
                    if failure.is_away() {
                        match feeds.recv().await {
                            Some(next) => feed = next,
                            None => return,
                        }
                    } else {
                        self.shared.report(failure);
                        sleep(self.shared.settings.heartbeat).await;
                    }
                }
            }
            is_new = false;
        }
    }

    /// Begins behind the last message.
    async fn open(&self, link: &Link) -> Result<(), Failure> {
        let last = link.limited(history::last(link, &self.subject)).await?;
        self.cursor.send_replace(Some(cursor_at(link.epoch, last)));
        Ok(())
    }

    /// Passes what is published. Returns why it cannot.
    async fn follow(&self, feed: &mut Feed, is_new: bool) -> Failure {
        match self.try_follow(feed, is_new).await {
            Ok(()) => Failure::away("a subscription has ended"),
            Err(failure) => failure,
        }
    }

    async fn try_follow(&self, feed: &mut Feed, is_new: bool) -> Result<(), Failure> {
        let Feed { link, live, presence, to_room } = feed;
        if !is_new {
            self.verify(link).await?;
            self.catch_up(link).await?;
        }
        let heartbeat = self.shared.settings.heartbeat;
        // At other times than other rooms.
        let mut compare =
            interval_at(Instant::now() + heartbeat.mul_f64(rand::random_range(0.5..1.5)), heartbeat);
        loop {
            tokio::select! {
                message = live.next() => match message {
                    Some(message) => self.receive(link, message).await?,
                    None => return Ok(()),
                },
                message = presence.next() => match message {
                    Some(message) => self.receive_presence(message),
                    None => return Ok(()),
                },
                message = to_room.next() => match message {
                    Some(message) => {
                        transient::receive(&self.inbox, Target::Room(&self.key), &message.payload);
                    }
                    None => return Ok(()),
                },
                _ = compare.tick() => self.compare(link).await?,
            }
        }
    }

    /// Passes a message that was published, and what is missing before it.
    async fn receive(&self, link: &Link, message: Message) -> Result<(), Failure> {
        let headers = message.headers.unwrap_or_default();
        let offset = headers.get(HEADER_SEQUENCE).and_then(|offset| offset.as_str().parse().ok());
        let entry = offset.and_then(|offset| Entry::of(offset, &headers, message.payload));
        let Some(cursor) = self.cursor() else { return Ok(()) };
        match entry {
            Some(entry) if entry.offset > cursor.offset && entry.previous() == cursor.offset => {
                self.pass(entry);
                self.inbox.keep_up(&self.key).await;
                Ok(())
            }
            Some(entry) if entry.offset < cursor.offset || cursor.is(&entry) => Ok(()),
            // Something is missing, or the message is not one of this program.
            _ => {
                self.verify(link).await?;
                self.catch_up(link).await
            }
        }
    }

    fn receive_presence(&self, message: Message) {
        let Some((_lease, member)) = parse_member(&message.subject) else { return };
        let present = Present { member, data: Bytes::copy_from_slice(&message.payload) };
        let change = if is_left(message.headers.as_ref()) {
            PresenceChange::Left(present)
        } else {
            PresenceChange::Entered(present)
        };
        self.inbox.presence(&self.key, change);
    }

    /// Checks that what was passed is in the history, which the server may have lost.
    async fn verify(&self, link: &Link) -> Result<(), Failure> {
        let Some(cursor) = self.cursor() else { return Ok(()) };
        if cursor.epoch != link.epoch {
            self.lose(Cursor::begin(link.epoch));
            return Ok(());
        }
        let known = match cursor.offset {
            0 => None,
            offset => link.limited(history::get(link, &self.subject, offset)).await?,
        };
        let last = link.limited(history::last(link, &self.subject)).await?;
        let is_replaced = known.is_some_and(|known| !is_at(cursor, known));
        let is_shorter = last.as_ref().is_some_and(|last| last.offset < cursor.offset);
        if is_replaced || is_shorter {
            self.lose(cursor_at(link.epoch, last));
        }
        Ok(())
    }

    /// Reads the room if messages have been stored that were not published to this node.
    async fn compare(&self, link: &Link) -> Result<(), Failure> {
        let last = link.limited(history::last(link, &self.subject)).await?;
        let Some(cursor) = self.cursor() else { return Ok(()) };
        if last.is_none_or(|last| is_at(cursor, last)) {
            return Ok(());
        }
        self.verify(link).await?;
        self.catch_up(link).await
    }

    /// Passes all messages behind the last one that was passed.
    async fn catch_up(&self, link: &Link) -> Result<(), Failure> {
        loop {
            self.inbox.keep_up(&self.key).await;
            let Some(cursor) = self.cursor() else { return Ok(()) };
            // Not held while the hub is slow.
            let Ok(reading) = self.shared.readers.acquire().await else { return Ok(()) };
            let read = history::read_behind(link, &self.subject, cursor.offset, STEP);
            let (messages, is_end) = link.limited(read).await?;
            messages.into_iter().for_each(|message| self.pass_raw(message));
            drop(reading);
            if is_end {
                return Ok(());
            }
        }
    }

    fn pass_raw(&self, raw: Raw) {
        let Some(cursor) = self.cursor() else { return };
        let offset = raw.offset;
        match raw.entry() {
            Some(entry) => {
                if entry.previous() != cursor.offset {
                    self.lose(Cursor { offset: entry.previous(), nonce: None, ..cursor });
                }
                self.pass(entry);
            }
            None => self.lose(Cursor { offset, nonce: None, ..cursor }),
        }
    }

    fn pass(&self, entry: Entry) {
        let Some(cursor) = self.cursor() else { return };
        let passed = Cursor::of(cursor.epoch, &entry);
        match Publication::from_bytes(&entry.record) {
            Ok(publication) => {
                self.cursor.send_replace(Some(passed));
                let position = Position { epoch: passed.epoch, offset: passed.offset };
                self.inbox.message(&self.key, position, publication).deliver();
            }
            // Stored by another version of the program: no client can get it.
            Err(_invalid) => self.lose(passed),
        }
    }

    /// Reports that messages are lost, and continues behind them.
    fn lose(&self, cursor: Cursor) {
        self.cursor.send_replace(Some(cursor));
        self.inbox.lost(&self.key, Position { epoch: cursor.epoch, offset: cursor.offset });
    }

    fn cursor(&self) -> Option<Cursor> {
        *self.cursor.borrow()
    }
}

/// Returns the cursor at the last message of a history.
fn cursor_at(epoch: u64, last: Option<Raw>) -> Cursor {
    let Some(last) = last else { return Cursor::begin(epoch) };
    let offset = last.offset;
    last.entry().map_or(Cursor { epoch, offset, nonce: None }, |last| Cursor::of(epoch, &last))
}

/// Returns whether a message is the one that was passed.
fn is_at(cursor: Cursor, raw: Raw) -> bool {
    let offset = raw.offset;
    raw.entry().map_or(cursor.offset == offset && cursor.nonce.is_none(), |entry| cursor.is(&entry))
}
