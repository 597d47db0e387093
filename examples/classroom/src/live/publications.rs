//! Messages as publications of the hub, and as events for its members.

use fullduplex::{
    JsonError, Message,
    calls::event,
    hub::{Position, Publication},
};
use serde::Serialize;

use super::wire::{self, Group, Record, To};
use crate::values::{ClientId, ParticipantId};

/// Messages of a room up to this offset are lost for good.
#[derive(Serialize)]
struct Lost {
    epoch: String,
    offset: u64,
}

/// Returns the text form of an epoch, which pages compare.
pub(super) fn epoch_text(epoch: u64) -> String {
    format!("{epoch:016x}")
}

/// Returns the id with which a message is stored once. No person can use that of another.
pub(super) fn publication_id(sender: &ParticipantId, client_id: &ClientId) -> String {
    format!("{sender}:{client_id}")
}

/// Returns the publication of a message, for its audience.
pub(super) fn publication(record: &Record) -> Result<Publication, JsonError> {
    let sender = record.from.id.as_str();
    let publication = Publication::new(Message::json(record)?);
    let publication = match &record.to {
        To::Group(Group::All) => publication,
        To::Group(Group::Others) => publication.except_user(sender),
        To::Group(Group::Me) => publication.users([sender]),
        To::One(to) => publication.users([sender, to.id.as_str()]),
    };
    Ok(publication.id(publication_id(&record.from.id, &record.client_id)))
}

/// Returns the message of a publication.
pub(super) fn record(message: &Message) -> Result<Record, serde_json::Error> {
    serde_json::from_slice(message.as_bytes())
}

/// Encodes a stored message for the members of its room.
pub(super) fn encode(position: Position, message: &Message) -> Message {
    let encoded = record(message).map_err(|error| error.to_string()).and_then(|record| {
        let (name, message) = (record.event(), wire::Message { offset: position.offset, record });
        event(name, &message).map_err(|error| error.to_string())
    });
    match encoded {
        Ok(message) => message,
        Err(error) => {
            tracing::error!(%error, %position, "a message cannot be read");
            lost(position)
        }
    }
}

/// Encodes that messages up to a position are lost.
pub(super) fn lost(Position { epoch, offset }: Position) -> Message {
    event("history:lost", &Lost { epoch: epoch_text(epoch), offset }).expect("a number and a string")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record_to(to: &serde_json::Value) -> Record {
        let value = json!({
            "client_id": "c", "from": {"id": "ann", "name": "Ann", "role": "student"}, "to": to,
            "text": "hello", "timestamp": 5,
        });
        serde_json::from_value(value).expect("valid")
    }

    #[test]
    fn a_publication_is_for_its_audience() {
        for (to, audience) in [
            (json!("all"), ["ann", "bob", "eve"].as_slice()),
            (json!("others"), &["bob", "eve"]),
            (json!("me"), &["ann"]),
            (json!({"id": "bob", "name": "Bob"}), &["ann", "bob"]),
        ] {
            let publication = publication(&record_to(&to)).expect("serialized");
            let got: Vec<_> =
                ["ann", "bob", "eve"].into_iter().filter(|user| publication.is_for_user(user)).collect();
            assert_eq!(got, audience, "{to}");
            assert_eq!(publication.get_id(), Some("ann:c"));
            assert_eq!(record(publication.message()).expect("valid"), record_to(&to));
        }
    }

    #[test]
    fn members_receive_the_offset_and_the_event() {
        let position = Position { epoch: 0xab, offset: 7 };
        let publication = publication(&record_to(&json!("all"))).expect("serialized");
        let encoded = encode(position, publication.message());
        let event: serde_json::Value = serde_json::from_slice(encoded.as_bytes()).expect("JSON");
        assert_eq!((&event["event"], &event["data"]["offset"]), (&json!("chat:message"), &json!(7)));
        let encoded = encode(position, &"no record".into());
        let event: serde_json::Value = serde_json::from_slice(encoded.as_bytes()).expect("JSON");
        assert_eq!(
            event,
            json!({"event": "history:lost", "data": {"epoch": "00000000000000ab", "offset": 7}})
        );
    }
}
