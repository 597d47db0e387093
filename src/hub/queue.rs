//! The messages that are queued for an audience.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::{counters::Delivered, position::Position, slow::Slow, whom::Whom};
use crate::{Message, PreparedMessage, Sequence};

/// How many messages, and how many bytes of them, may be queued for an audience. Beyond that,
/// messages that are not stored are dropped, and those who publish wait.
const MAX_QUEUED: usize = 1024;
const MAX_QUEUED_BYTES: usize = 8 << 20;

/// The number of messages for which an empty queue keeps its memory.
const KEPT: usize = 16;

/// Messages that are queued for an audience.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// The number of bytes of their payload data.
    bytes: usize,
    /// Whether a thread or a task sends them.
    is_delivering: bool,
}

/// A message that is queued.
pub(super) struct Item {
    pub(super) content: Content,
    pub(super) whom: Whom,
    pub(super) slow: Slow,
    pub(super) report: Option<oneshot::Sender<Delivered>>,
}

pub(super) enum Content {
    /// A message of the history, which is encoded when it is sent.
    Stored {
        position: Position,
        era: u32,
        message: Sequence,
    },
    Transient(PreparedMessage),
    /// Nothing: it is reported when all before it is sent.
    Marker,
}

impl Queue {
    pub(super) fn push(&mut self, item: Item) {
        self.bytes += item.len();
        self.items.push_back(item);
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= MAX_QUEUED || self.bytes >= MAX_QUEUED_BYTES
    }

    /// Lets the caller send a message itself, if nothing is queued or sent before it.
    pub(super) fn begin_first(&mut self) -> bool {
        let is_first = !self.is_delivering && self.items.is_empty();
        self.is_delivering |= is_first;
        is_first
    }

    /// Lets the caller send what is queued, unless that is nothing, or another does.
    pub(super) fn begin(&mut self) -> bool {
        let begins = !self.is_delivering && !self.items.is_empty();
        self.is_delivering |= begins;
        begins
    }

    /// Returns the next message for the one who sends. If there is none, the next one can begin.
    pub(super) fn next(&mut self) -> Option<Item> {
        let Some(item) = self.items.pop_front() else {
            self.items.shrink_to(KEPT);
            self.end();
            return None;
        };
        self.bytes -= item.len();
        Some(item)
    }

    /// Lets another send what is queued.
    pub(super) fn end(&mut self) {
        self.is_delivering = false;
    }
}

impl Item {
    fn len(&self) -> usize {
        match &self.content {
            Content::Stored { message, .. } => message.iter().map(Message::len).sum(),
            Content::Transient(message) => message.len(),
            Content::Marker => 0,
        }
    }
}
