//! What was sent, and what must arrive.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use fullduplex::{Message, hub::Position};

use super::{
    content::{content, number, parse},
    facts::Way,
};

/// The messages of one connection to the echo server.
#[derive(Debug, Default)]
struct Talk {
    way: Way,
    /// The lengths of what the client has sent, or may have.
    sent: Vec<usize>,
    /// How many of these the server has received.
    received: usize,
    /// How many of those have come back.
    returned: usize,
}

/// The messages of a client that connects again.
#[derive(Debug, Default)]
struct Again {
    /// How many messages the server has applied.
    applied: usize,
    /// How often the server has received each transmission.
    received: BTreeMap<usize, usize>,
    /// The last transmission over each connection, and whether it was one of the queue.
    connections: Vec<Option<(bool, usize)>>,
    /// How many connections there were when the client was told that a transmission is sent.
    sealed: BTreeMap<usize, usize>,
}

/// The messages of a room.
#[derive(Debug, Default)]
struct Room {
    /// The texts by their offsets.
    published: BTreeMap<u64, String>,
    epoch: Option<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    talks: Vec<Talk>,
    clients: Vec<Again>,
    rooms: BTreeMap<String, Room>,
}

/// A transmission of a message of a client.
#[derive(Debug)]
pub struct Transmission {
    /// Whether the queue has sent it, and not the hook.
    pub is_queued: bool,
    pub number: usize,
    pub message: usize,
}

/// What all ends have sent and received. It outlives the servers, as a database does.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Inner>>);

impl Ledger {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // After an assertion has failed, the other tasks still show what they find.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    // --- echoes

    /// Begins a connection. Returns its number.
    pub fn begin_talk(&self, way: &Way) -> usize {
        let mut inner = self.inner();
        inner.talks.push(Talk { way: way.clone(), ..Talk::default() });
        inner.talks.len() - 1
    }

    /// Returns the way of a connection.
    pub fn way_of_talk(&self, talk: usize) -> Way {
        self.inner().talks[talk].way.clone()
    }

    /// Returns the next message of the client.
    pub fn say(&self, talk: usize, len: usize) -> Message {
        let sent = &mut self.inner().talks[talk].sent;
        sent.push(len);
        content(&format!("talk {talk}"), sent.len() - 1, len)
    }

    /// The server has received a message.
    pub fn hear(&self, talk: usize, message: &Message) {
        let mut inner = self.inner();
        let talk_now = &mut inner.talks[talk];
        let expected = talk_now.received;
        check_talk(talk, talk_now, expected, message, "the server");
        talk_now.received += 1;
    }

    /// The client has received a message.
    pub fn hear_echo(&self, talk: usize, message: &Message) {
        let mut inner = self.inner();
        let talk_now = &mut inner.talks[talk];
        let expected = talk_now.returned;
        assert!(expected < talk_now.received, "talk {talk}: the echo {expected} of what was not received");
        check_talk(talk, talk_now, expected, message, "the client");
        talk_now.returned += 1;
    }

    /// Returns how many messages were sent, received, and returned.
    pub fn talk(&self, talk: usize) -> (usize, usize, usize) {
        let talk = &self.inner().talks[talk];
        (talk.sent.len(), talk.received, talk.returned)
    }

    // --- clients that connect again

    pub fn begin_client(&self) -> usize {
        let mut inner = self.inner();
        inner.clients.push(Again::default());
        inner.clients.len() - 1
    }

    /// The server opens a connection of a client. Returns its number.
    pub fn begin_connection(&self, client: usize) -> usize {
        let connections = &mut self.inner().clients[client].connections;
        connections.push(None);
        connections.len() - 1
    }

    /// The server has received a message of a client, and applies it unless it has before.
    pub fn apply(&self, client: usize, connection: usize, sent: &Transmission) {
        let mut inner = self.inner();
        let now = &mut inner.clients[client];
        *now.received.entry(sent.number).or_default() += 1;
        assert!(
            sent.message <= now.applied,
            "client {client}: {sent:?} arrives after {} messages",
            now.applied
        );
        now.applied = now.applied.max(sent.message + 1);
        let last = Some((sent.is_queued, sent.number));
        let before = std::mem::replace(&mut now.connections[connection], last);
        // Those of the hook first, and both in the order in which they were sent.
        assert!(before < last, "client {client}: {sent:?} arrives after {before:?}");
        let sealed = now.sealed.get(&sent.number).copied();
        assert!(
            sealed.is_none_or(|connections| connection < connections),
            "client {client}: {sent:?} arrives again after the client was told that it is sent"
        );
    }

    /// The client was told that a transmission is sent.
    pub fn seal(&self, client: usize, transmission: usize) {
        let now = &mut self.inner().clients[client];
        now.sealed.insert(transmission, now.connections.len());
    }

    /// Returns how many messages of a client were applied.
    pub fn applied(&self, client: usize) -> usize {
        self.inner().clients[client].applied
    }

    /// Returns how often the server has received a transmission.
    pub fn received(&self, client: usize, transmission: usize) -> usize {
        self.inner().clients[client].received.get(&transmission).copied().unwrap_or(0)
    }

    // --- rooms

    /// The hub has returned a position of a room, whose history is the same all the time.
    pub fn check_epoch(&self, room: &str, position: Position) {
        let mut inner = self.inner();
        let room_now = inner.rooms.entry(room.to_owned()).or_default();
        let epoch = *room_now.epoch.get_or_insert(position.epoch);
        assert_eq!(epoch, position.epoch, "room {room}: a new history");
    }

    /// Returns the position of an offset.
    pub fn position(&self, room: &str, offset: u64) -> Position {
        let epoch = self.inner().rooms.get(room).and_then(|room| room.epoch);
        Position { epoch: epoch.expect("a member has joined before"), offset }
    }

    /// The hub has stored a message, or sends it.
    pub fn publish(&self, room: &str, position: Position, text: &str) {
        self.check_epoch(room, position);
        let mut inner = self.inner();
        let room_now = inner.rooms.entry(room.to_owned()).or_default();
        let known = room_now.published.entry(position.offset).or_insert_with(|| text.to_owned());
        assert_eq!(known, text, "room {room}: two messages at {}", position.offset);
    }

    /// A member has received a message of a room.
    pub fn check_published(&self, room: &str, offset: u64, text: &str) {
        let inner = self.inner();
        let published = inner.rooms.get(room).and_then(|room| room.published.get(&offset));
        assert_eq!(published.map(String::as_str), Some(text), "room {room}: another message at {offset}");
    }

    /// Returns the offset of the last message of a room.
    pub fn last_published(&self, room: &str) -> u64 {
        let inner = self.inner();
        let last = inner.rooms.get(room).and_then(|room| room.published.last_key_value());
        last.map_or(0, |(offset, _)| *offset)
    }

    /// Returns how often a text with this beginning was stored in a room.
    pub fn count_published(&self, room: &str, beginning: &str) -> usize {
        let inner = self.inner();
        let published = inner.rooms.get(room).map(|room| room.published.values());
        published.map_or(0, |texts| texts.filter(|text| text.starts_with(beginning)).count())
    }
}

/// Asserts that a message is the expected one.
fn check_talk(talk: usize, now: &Talk, expected: usize, message: &Message, who: &str) {
    let (words, _) = parse(message, 3);
    let found: usize = number(words.get(2).map_or("", String::as_str));
    assert_eq!(found, expected, "talk {talk}: {who} receives message {found} in the place of {expected}");
    assert!(expected < now.sent.len(), "talk {talk}: {who} receives message {expected}, which was not sent");
    let sent = content(&format!("talk {talk}"), expected, now.sent[expected]);
    assert!(*message == sent, "talk {talk}: {who} receives other content in message {expected}");
}
