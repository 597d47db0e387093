//! What is known of the messages of one direction.

use fullduplex::{Message, MessageKind, Outgoing, PreparedMessage};
use rand::{RngExt, rngs::SmallRng};

use super::{content, wire::Begun};

/// Whether a message was queued, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is being sent. `may_be_queued`: whether it may be queued before that completes.
    UnderWay {
        may_be_queued: bool,
    },
    Queued,
    /// Its `send` was dropped, or failed.
    Perhaps,
    Never,
}

#[derive(Debug)]
struct Sent {
    content: Message,
    fate: Fate,
    /// Whether it is written in parts: its beginning may be received even if the rest is never
    /// sent.
    in_parts: bool,
    /// The first step at which it may have been queued.
    started: u64,
    /// The step by which it was queued.
    queued_by: u64,
    /// Whether a flush has reported it as written.
    flushed: bool,
    /// Whether it was received, completely or up to where its receiver skipped the rest.
    received: bool,
}

/// The beginning of a message that was received.
#[derive(Debug)]
pub struct Beginning {
    pub kind: MessageKind,
    pub bytes: Vec<u8>,
}

/// The messages of one direction.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: Vec<Sent>,
    /// The latest first step of all received messages.
    latest_start: u64,
    /// The number of messages that were received or skipped.
    taken: usize,
    /// Messages of which too little was received to identify them, with their position in the
    /// stream.
    unknown: Vec<(usize, Beginning)>,
}

impl Ledger {
    /// Adds a message of any kind and size. Returns its number.
    pub fn compose(&mut self, rng: &mut SmallRng, may_be_queued: bool) -> (usize, Outgoing<'static>) {
        let len = content::length(rng);
        let id = self.enter(rng, len, may_be_queued, false);
        let content = self.content(id);
        let outgoing = if rng.random_ratio(1, 4) {
            Outgoing::from(PreparedMessage::new(content))
        } else if rng.random() {
            Outgoing::from(content)
        } else {
            // Its payload data is not shared, so that it may be masked in place.
            match &content {
                Message::Text(text) => Outgoing::from(text.to_string()),
                Message::Binary(data) => Outgoing::from(data.to_vec()),
            }
        };
        #[cfg(feature = "deflate")]
        let outgoing = super::deflate::choose(rng, outgoing);
        (id, outgoing)
    }

    /// Adds a message that will be written in parts.
    pub fn compose_in_parts(&mut self, rng: &mut SmallRng) -> usize {
        let len = content::length_in_parts(rng);
        self.enter(rng, len, false, true)
    }

    fn enter(&mut self, rng: &mut SmallRng, len: usize, may_be_queued: bool, in_parts: bool) -> usize {
        let id = self.sent.len();
        let kind = if rng.random() { MessageKind::Text } else { MessageKind::Binary };
        // An empty message cannot be identified, so that at most one of a kind may still arrive.
        let empty = rng.random_ratio(1, 20) && self.empty(kind).is_none();
        let content =
            if empty { content::of_kind(kind, String::new()) } else { content::content(id, kind, len) };
        let fate = Fate::UnderWay { may_be_queued };
        let (started, queued_by, flushed, received) = (u64::MAX, u64::MAX, false, false);
        self.sent.push(Sent { content, fate, in_parts, started, queued_by, flushed, received });
        id
    }

    pub fn content(&self, id: usize) -> Message {
        self.sent[id].content.clone()
    }

    /// Records that its future is polled for the first time.
    pub fn start(&mut self, id: usize, step: u64) {
        self.sent[id].started = step;
    }

    pub fn queued(&mut self, id: usize, step: u64) {
        self.sent[id].fate = Fate::Queued;
        self.sent[id].queued_by = step;
    }

    /// Records that it may be queued from here on.
    pub fn may_be_queued(&mut self, id: usize) {
        self.sent[id].fate = Fate::UnderWay { may_be_queued: true };
    }

    pub fn never(&mut self, id: usize) {
        let sent = &mut self.sent[id];
        assert!(!sent.received || sent.in_parts, "message {id} was received, and then not queued");
        sent.fate = Fate::Never;
    }

    /// Records that its future was dropped or failed: it is queued by now, or never will be.
    pub fn given_up(&mut self, id: usize, step: u64) {
        match self.sent[id].fate {
            Fate::UnderWay { may_be_queued: true } if self.sent[id].started < u64::MAX => {
                self.sent[id].fate = Fate::Perhaps;
                self.sent[id].queued_by = step;
            }
            _ => self.never(id),
        }
    }

    /// Records that everything queued before this step was written. Returns the minimum number of
    /// these messages.
    pub fn flushed(&mut self, before: u64) -> usize {
        let due = |sent: &&mut Sent| sent.fate == Fate::Queued && sent.queued_by < before;
        self.sent.iter_mut().filter(due).map(|sent| sent.flushed = true).count()
    }

    pub fn flushed_one(&mut self, id: usize) {
        self.sent[id].flushed = true;
    }

    /// Asserts that a received message is one of them, complete, not a duplicate, and in order.
    pub fn receive(&mut self, message: &Message) {
        self.taken += 1;
        let id =
            if message.is_empty() { self.empty(message.kind()) } else { content::number(message.as_bytes()) };
        let id = id.filter(|id| *id < self.sent.len()).expect("a message that was sent");
        let sent = &self.sent[id];
        assert!(sent.content == *message, "message {id} is corrupt");
        let may_come = !matches!(sent.fate, Fate::Never | Fate::UnderWay { may_be_queued: false });
        assert!(may_come, "message {id} was not queued: {:?}", sent.fate);
        self.mark(id);
    }

    /// Records the beginning of a message whose receiver skips the rest.
    pub fn receive_beginning(&mut self, beginning: Beginning) {
        match content::number(&beginning.bytes) {
            Some(id) => {
                self.check_beginning(id, &beginning);
                self.mark(id);
            }
            None => self.unknown.push((self.taken, beginning)),
        }
        self.taken += 1;
    }

    /// Records the beginning of a message after which the connection ended: the message is lost if
    /// it was due.
    pub fn receive_cut_short(&mut self, beginning: &Beginning) {
        self.taken += 1;
        if let Some(id) = content::number(&beginning.bytes) {
            self.check_beginning(id, beginning);
        }
    }

    /// Returns whether the message exceeds this limit, as far as is known.
    pub fn passes(&self, beginning: &Beginning, limit: u64) -> bool {
        content::number(&beginning.bytes).is_none_or(|id| self.sent[id].content.len() as u64 > limit)
    }

    fn check_beginning(&self, id: usize, beginning: &Beginning) {
        let sent = self.sent.get(id).expect("a message that was sent");
        let same =
            sent.content.kind() == beginning.kind && sent.content.as_bytes().starts_with(&beginning.bytes);
        assert!(same, "message {id} is corrupt");
        let may_come = match sent.fate {
            _ if sent.in_parts => sent.started < u64::MAX,
            Fate::Never | Fate::UnderWay { may_be_queued: false } => false,
            _ => true,
        };
        assert!(may_come, "message {id} was not queued: {:?}", sent.fate);
    }

    /// Asserts that it arrived for the first time, after those that were queued before it.
    fn mark(&mut self, id: usize) {
        let sent = &mut self.sent[id];
        assert!(!sent.received, "message {id} is duplicated");
        // A message that was queued before the future of another was polled is sent first.
        assert!(sent.queued_by >= self.latest_start, "message {id} was overtaken");
        sent.received = true;
        self.latest_start = self.latest_start.max(sent.started);
    }

    /// Asserts at the end that all due messages arrived. `wire` is what the reader was shown.
    pub fn check(&mut self, only_flushed: bool, wire: &[Begun]) {
        for (nth, beginning) in std::mem::take(&mut self.unknown) {
            let begun = wire.get(nth).expect("a message on the wire");
            let id = match content::number(&begun.name) {
                None if begun.whole => self.empty(beginning.kind),
                id => id,
            };
            // A message of which so little arrived is not due.
            let Some(id) = id else { continue };
            self.check_beginning(id, &beginning);
            assert!(!self.sent[id].received, "message {id} is duplicated");
            self.sent[id].received = true;
        }
        for (id, sent) in self.sent.iter().enumerate() {
            let due = sent.fate == Fate::Queued && (sent.flushed || !only_flushed);
            assert!(sent.received || !due, "message {id} is lost (flushed: {})", sent.flushed);
        }
    }

    /// Returns whether a message that `try_send` returned has the length of the one it was given.
    pub fn is_its_own(&self, id: usize, back: &Outgoing<'_>) -> bool {
        self.sent[id].content.len() == back.len()
    }

    /// Returns the empty message of this kind that may still arrive.
    fn empty(&self, kind: MessageKind) -> Option<usize> {
        let may_come = |sent: &Sent| {
            sent.content.is_empty()
                && sent.content.kind() == kind
                && !sent.received
                && sent.fate != Fate::Never
        };
        self.sent.iter().position(may_come)
    }
}
