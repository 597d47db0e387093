//! The messages to the peer: events, answers and notices.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    error::{CallError, MAX_TEXT, truncated},
    parse::{INVALID_DATA, UNKNOWN_EVENT},
};
use crate::{JsonError, Message};

/// Encodes an event as a message, for broadcasts.
///
/// The message has no id, so it is not acknowledged. [`PreparedMessage`](crate::PreparedMessage)
/// encodes its frame as well, once for all connections.
///
/// # Errors
/// Returns an error if the data cannot be serialized.
///
/// ```
/// use fullduplex::{PreparedMessage, calls};
///
/// let message = calls::event("tick", &7)?;
/// assert_eq!(message.as_text(), Some(r#"{"event":"tick","data":7}"#));
/// let prepared = PreparedMessage::new(message);
/// # let _ = prepared;
/// # Ok::<(), fullduplex::JsonError>(())
/// ```
pub fn event<T: Serialize + ?Sized>(name: &str, data: &T) -> Result<Message, JsonError> {
    Message::json(&Event { name, id: None, data })
}

/// Encodes a call.
pub(super) fn call<T: Serialize + ?Sized>(name: &str, id: u64, data: &T) -> Result<Message, JsonError> {
    Message::json(&Event { name, id: Some(id), data })
}

/// Encodes the answer to a call.
pub(super) fn answer<T: Serialize + ?Sized>(id: u64, data: &T) -> Result<Message, JsonError> {
    Message::json(&Answer { id, data })
}

/// Encodes the answer to a call that failed.
pub(super) fn refusal(id: u64, error: &CallError) -> Message {
    Message::json(&Refusal { id: Some(id), text: &error.text(), error: Some(error) }).expect(STRINGS)
}

/// Encodes an error that answers no call.
pub(super) fn notice(text: &str) -> Message {
    Message::json(&Refusal { id: None, text: truncated(text, MAX_TEXT), error: None }).expect(STRINGS)
}

const STRINGS: &str = "numbers and strings can be serialized";

struct Event<'a, T: ?Sized> {
    name: &'a str,
    id: Option<u64>,
    data: &'a T,
}

impl<T: Serialize + ?Sized> Serialize for Event<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", self.name)?;
        if let Some(id) = self.id {
            map.serialize_entry("id", &id)?;
        }
        map.serialize_entry("data", self.data)?;
        map.end()
    }
}

struct Answer<'a, T: ?Sized> {
    id: u64,
    data: &'a T,
}

impl<T: Serialize + ?Sized> Serialize for Answer<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ack", &self.id)?;
        map.serialize_entry("ok", &true)?;
        map.serialize_entry("data", self.data)?;
        map.end()
    }
}

struct Refusal<'a> {
    id: Option<u64>,
    text: &'a str,
    /// The error, if its kind is sent as well.
    error: Option<&'a CallError>,
}

impl Serialize for Refusal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = self.id {
            map.serialize_entry("ack", &id)?;
        }
        map.serialize_entry("ok", &false)?;
        map.serialize_entry("error", self.text)?;
        match self.error {
            Some(CallError::UnknownEvent) => map.serialize_entry("code", UNKNOWN_EVENT)?,
            Some(CallError::InvalidData(invalid)) => {
                map.serialize_entry("code", INVALID_DATA)?;
                if let Some(field) = invalid.field() {
                    map.serialize_entry("field", field)?;
                }
            }
            _ => {}
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::InvalidData;

    #[test]
    fn messages_are_encoded_as_documented() {
        let text = |message: Message| message.as_text().expect("text").to_owned();
        assert_eq!(text(event("a", "b").expect("text")), r#"{"event":"a","data":"b"}"#);
        assert_eq!(text(call("a", 7, &()).expect("text")), r#"{"event":"a","id":7,"data":null}"#);
        assert_eq!(text(answer(7, &[1]).expect("text")), r#"{"ack":7,"ok":true,"data":[1]}"#);
        assert_eq!(text(notice("no")), r#"{"ok":false,"error":"no"}"#);
        let refused = CallError::refused("no");
        assert_eq!(text(refusal(7, &refused)), r#"{"ack":7,"ok":false,"error":"no"}"#);
        assert_eq!(
            text(refusal(7, &CallError::UnknownEvent)),
            r#"{"ack":7,"ok":false,"error":"unknown event","code":"unknown_event"}"#
        );
        assert_eq!(
            text(refusal(7, &InvalidData::missing("data.a").into())),
            r#"{"ack":7,"ok":false,"error":"field `data.a` is missing","code":"invalid_data","field":"data.a"}"#
        );
    }
}
