//! What was said in a class: the last messages, and which were sent already.

use std::{collections::VecDeque, sync::Arc};

use serde::Serialize;

use crate::{
    auth::Participant,
    values::{ClientId, ParticipantId, Text},
};

/// The messages that a class keeps.
pub const MAX_MESSAGES: usize = 100;

/// The messages whose client ids a class remembers.
pub const MAX_KNOWN: usize = 1000;

/// A message, as the members of a class receive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The id of the server, which ascends in each class.
    pub id: u64,
    /// The id of the page that has sent it.
    pub client_id: ClientId,
    /// Who has sent it.
    pub from: Participant,
    /// The person for whom it is; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Participant>,
    /// The text.
    pub text: Text,
    /// When it has arrived, in milliseconds since 1970.
    pub at: u64,
}

/// The acknowledgement of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// The id of the server.
    pub id: u64,
    /// When the message has arrived, in milliseconds since 1970.
    pub at: u64,
}

/// The history of a class.
#[derive(Debug)]
pub struct History {
    messages: VecDeque<Arc<Message>>,
    known: VecDeque<(ParticipantId, ClientId, Sent)>,
    /// Messages up to this id may be missing.
    forgotten: u64,
}

impl History {
    /// Creates an empty history, which has no messages up to this id.
    pub fn new(forgotten: u64) -> Self {
        Self { messages: VecDeque::new(), known: VecDeque::new(), forgotten }
    }

    /// Returns the acknowledgement of a message that was sent before.
    pub fn known(&self, from: &ParticipantId, client_id: &ClientId) -> Option<Sent> {
        let mut known = self.known.iter().rev();
        known.find(|(person, id, _)| person == from && id == client_id).map(|(.., sent)| *sent)
    }

    /// Adds a message. Returns its acknowledgement.
    pub fn add(&mut self, message: Message) -> Sent {
        let sent = Sent { id: message.id, at: message.at };
        if self.known.len() >= MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back((message.from.id.clone(), message.client_id.clone(), sent));
        if self.messages.len() >= MAX_MESSAGES
            && let Some(oldest) = self.messages.pop_front()
        {
            self.forgotten = oldest.id;
        }
        self.messages.push_back(Arc::new(message));
        sent
    }

    /// Returns the messages that a person may read and that follow an id.
    pub fn after(&self, reader: &ParticipantId, id: Option<u64>) -> Vec<Arc<Message>> {
        let is_for_reader = |message: &Message| {
            message.to.as_ref().is_none_or(|to| to.id == *reader || message.from.id == *reader)
        };
        let messages = self.messages.iter().filter(|message| id.is_none_or(|id| message.id > id));
        messages.filter(|message| is_for_reader(message)).cloned().collect()
    }

    /// Returns the number of messages that are kept.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns whether no message is kept.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns whether all messages that follow an id are there.
    pub fn is_complete_after(&self, id: u64) -> bool {
        id >= self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;

    fn person(id: &str) -> Participant {
        Participant { id: id.parse().expect("valid"), name: id.parse().expect("valid"), role: Role::Student }
    }

    fn message(id: u64, from: &str, to: Option<&str>) -> Message {
        let client_id = id.to_string().parse().expect("valid");
        let text = "text".parse().expect("valid");
        Message { id, client_id, from: person(from), to: to.map(person), text, at: 7 * id }
    }

    fn ids(history: &History, reader: &str, after: Option<u64>) -> Vec<u64> {
        history.after(&person(reader).id, after).iter().map(|message| message.id).collect()
    }

    #[test]
    fn the_last_hundred_messages_are_kept() {
        let mut history = History::new(0);
        for id in 1..=150 {
            history.add(message(id, "a", None));
        }
        assert_eq!(ids(&history, "b", None), (51..=150).collect::<Vec<_>>());
        assert_eq!(ids(&history, "b", Some(148)), [149, 150]);
        assert_eq!((history.is_complete_after(49), history.is_complete_after(50)), (false, true));
    }

    #[test]
    fn a_new_history_lacks_what_was_before() {
        let history = History::new(9);
        assert_eq!((history.is_complete_after(8), history.is_complete_after(9)), (false, true));
    }

    #[test]
    fn a_private_message_is_read_by_two() {
        let mut history = History::new(0);
        history.add(message(1, "a", None));
        history.add(message(2, "a", Some("b")));
        for (reader, read) in [("a", vec![1, 2]), ("b", vec![1, 2]), ("c", vec![1])] {
            assert_eq!(ids(&history, reader, None), read, "{reader}");
        }
    }

    #[test]
    fn a_message_that_was_sent_is_known_by_the_person_and_the_client_id() {
        let mut history = History::new(0);
        let sent = history.add(message(1, "a", None));
        let id = "1".parse().expect("valid");
        assert_eq!(history.known(&person("a").id, &id), Some(sent));
        assert_eq!(history.known(&person("b").id, &id), None);
        for id in 2..=MAX_KNOWN as u64 {
            history.add(message(id, "a", None));
        }
        assert_eq!(history.known(&person("a").id, &id), Some(sent));
        history.add(message(MAX_KNOWN as u64 + 1, "a", None));
        assert_eq!(history.known(&person("a").id, &id), None, "there is a limit");
    }
}
