//! The JSON of the protocol: what pages send and receive.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{
    auth::{Identity, Role, Scope},
    store::{self, Audience, NewMessage},
    values::{ClientId, Name, ParticipantId, RoomName, Text},
};

/// A person in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) id: ParticipantId,
    pub(super) name: Name,
    pub(super) role: Role,
    pub(super) muted: bool,
}

/// A connection that has joined, as the nodes tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entered {
    #[serde(flatten)]
    pub(super) person: Person,
    /// When it was opened, in milliseconds since 1970.
    pub(super) since: i64,
}

/// A person by id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) id: ParticipantId,
    pub(super) name: Name,
}

/// Who has sent a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sender {
    pub(super) id: ParticipantId,
    pub(super) name: Name,
    pub(super) role: Role,
}

/// Several persons in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Group {
    #[default]
    All,
    Others,
    Me,
}

/// For whom a message is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum To {
    Group(Group),
    One(Named),
}

/// A message as hubs exchange and store it: without its offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) client_id: ClientId,
    pub(super) from: Sender,
    pub(super) to: To,
    pub(super) text: Text,
    pub(super) timestamp: i64,
}

/// A message as pages receive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Message {
    pub(super) offset: u64,
    #[serde(flatten)]
    pub(super) record: Record,
}

/// A part of the messages of a room.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct History {
    pub(super) epoch: String,
    pub(super) offset: u64,
    pub(super) messages: Vec<Message>,
    pub(super) more: bool,
    pub(super) lost: bool,
}

impl Record {
    /// Returns the name of the event with which members receive the message.
    pub(super) fn event(&self) -> &'static str {
        match self.to {
            To::Group(_) => "chat:message",
            To::One(_) => "chat:private",
        }
    }

    /// Returns what is stored of the message in a room.
    pub(super) fn into_new(self, room: RoomName) -> NewMessage {
        let Sender { id, name, role } = self.from;
        let scope = match role {
            Role::Teacher => Scope::Teacher(room.clone()),
            Role::Student => Scope::Student(room.clone()),
            Role::Admin => Scope::Admin,
        };
        let audience = match self.to {
            To::Group(Group::All) => Audience::All,
            To::Group(Group::Others) => Audience::Others,
            To::Group(Group::Me) => Audience::Me,
            To::One(Named { id, name }) => Audience::One(id, name),
        };
        let sender = Identity { id, name, scope };
        let (client_id, text, timestamp) = (self.client_id, self.text, self.timestamp);
        NewMessage { room, client_id, sender, audience, text, timestamp }
    }
}

impl From<store::Message> for Message {
    fn from(stored: store::Message) -> Self {
        let from = Sender { id: stored.sender, name: stored.sender_name, role: stored.sender_role };
        let to = match stored.audience {
            Audience::All => To::Group(Group::All),
            Audience::Others => To::Group(Group::Others),
            Audience::Me => To::Group(Group::Me),
            Audience::One(id, name) => To::One(Named { id, name }),
        };
        let (client_id, text, timestamp) = (stored.client_id, stored.text, stored.timestamp);
        Self { offset: stored.offset, record: Record { client_id, from, to, text, timestamp } }
    }
}

impl From<store::Page> for History {
    fn from(page: store::Page) -> Self {
        let messages = page.messages.into_iter().map(Message::from).collect();
        let store::Page { epoch, last, has_more, is_lossy, .. } = page;
        Self { epoch, offset: last, messages, more: has_more, lost: is_lossy }
    }
}

/// Returns the time in milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_encoded_as_documented() {
        let value = json!({
            "client_id": "c", "from": {"id": "1", "name": "Ann", "role": "student"}, "to": "all",
            "text": "hello", "timestamp": 5,
        });
        for (to, event) in [
            (json!("all"), "chat:message"),
            (json!("others"), "chat:message"),
            (json!("me"), "chat:message"),
            (json!({"id": "2", "name": "Bob"}), "chat:private"),
        ] {
            let mut value = value.clone();
            value["to"] = to;
            let record: Record = serde_json::from_value(value.clone()).expect("valid");
            assert_eq!(record.event(), event);
            let room: RoomName = "maths".parse().expect("valid");
            let new = record.clone().into_new(room);
            let stored = store::Message {
                offset: 3,
                client_id: new.client_id,
                sender: new.sender.id,
                sender_name: new.sender.name,
                sender_role: new.sender.scope.role(),
                audience: new.audience,
                timestamp: new.timestamp,
                text: new.text,
            };
            let message = Message::from(stored);
            assert_eq!(message.record, record);
            value["offset"] = json!(3);
            assert_eq!(serde_json::to_value(&message).expect("serialized"), value);
        }
    }
}
