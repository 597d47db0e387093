//! An event or a call that a program handles itself.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    data, encode,
    error::{CallError, InvalidData},
    parse::{Frame, Malformed, parse},
    routes::Data,
};
use crate::{JsonError, Message};

/// An event or a call that a program handles itself, without a [`Router`](super::Router).
///
/// For a connection whose first message decides about the rest: it is received, answered, and then a
/// router is attached.
///
/// ```
/// use fullduplex::{Error, Receiver, Sender, calls::{Call, CallError, Router}};
/// use tokio::net::TcpStream;
///
/// /// Expects `{"event":"join","id":1,"data":"ann"}` first.
/// async fn serve(
///     mut receiver: Receiver<TcpStream>,
///     sender: Sender,
///     router: &Router<String>,
/// ) -> Result<(), Error> {
///     let Some(message) = receiver.recv().await? else { return Ok(()) };
///     let call = match Call::parse(message) {
///         Ok(call) => call,
///         Err(notice) => return sender.send(notice).await,
///     };
///     let name: String = match call.data() {
///         Ok(name) if call.event() == "join" => name,
///         Ok(_) => return sender.send(call.refusal(&CallError::UnknownEvent)).await,
///         Err(invalid) => return sender.send(call.refusal(&invalid.into())).await,
///     };
///     if let Some(answer) = call.answer("welcome").map_err(std::io::Error::other)? {
///         sender.feed(answer).await?;
///     }
///     router.serve((receiver, sender), name).await
/// }
/// ```
pub struct Call {
    event: Box<str>,
    id: Option<u64>,
    data: Data,
}

impl Call {
    /// Parses a message.
    ///
    /// # Errors
    /// Returns what to answer if the message is not a valid event. The connection can continue.
    pub fn parse(message: Message) -> Result<Self, Message> {
        let refused = |Malformed { id, why }: Malformed| {
            let error = CallError::from(why);
            id.map_or_else(|| encode::notice(&error.text()), |id| encode::refusal(id, &error))
        };
        let Some(text) = message.into_text() else {
            return Err(refused(Malformed::message("binary messages are not supported")));
        };
        match parse(&text).map_err(refused)? {
            Frame::Event { name, id, data } => {
                let data = Data::new(text.clone(), data.map(|raw| raw.get()));
                Ok(Self { event: name.into(), id, data })
            }
            Frame::Answer { .. } | Frame::Notice(_) => Err(refused(Malformed::message("not an event"))),
        }
    }

    /// Returns the name of the event.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Returns the id of the call; `None` for an event that is not acknowledged.
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// Parses the data. Data that is missing is parsed as `null`.
    ///
    /// # Errors
    /// Returns an error that names the field.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, InvalidData> {
        data::parse(self.data.as_str())
    }

    /// Encodes the answer. Returns `None` for an event that is not acknowledged.
    ///
    /// # Errors
    /// Returns an error if the answer cannot be serialized.
    pub fn answer<T: Serialize + ?Sized>(&self, answer: &T) -> Result<Option<Message>, JsonError> {
        self.id.map(|id| encode::answer(id, answer)).transpose()
    }

    /// Encodes the answer to a call that is refused; for an event that is not acknowledged, a notice.
    pub fn refusal(&self, error: &CallError) -> Message {
        match self.id {
            Some(id) => encode::refusal(id, error),
            None => encode::notice(&error.text()),
        }
    }
}

/// Without the data, which may contain anything.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("event", &self.event).field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &Message) -> &str {
        message.as_text().expect("text")
    }

    #[test]
    fn a_call_is_answered_with_its_id() {
        let call = Call::parse(r#"{"event":"join","id":7,"data":{"name":"ann"}}"#.into()).expect("valid");
        assert_eq!((call.event(), call.id()), ("join", Some(7)));
        let answer = call.answer(&1).expect("serialized").expect("a call");
        assert_eq!(text(&answer), r#"{"ack":7,"ok":true,"data":1}"#);
        let invalid = call.data::<u32>().expect_err("an object");
        assert_eq!(
            text(&call.refusal(&invalid.into())),
            r#"{"ack":7,"ok":false,"error":"field `data`: invalid type, expected u32","code":"invalid_data","field":"data"}"#
        );
    }

    #[test]
    fn an_event_is_not_answered_unless_it_is_refused() {
        let call = Call::parse(r#"{"event":"join"}"#.into()).expect("valid");
        assert_eq!((call.id(), call.data()), (None, Ok(())));
        assert_eq!(call.answer(&1).expect("serialized"), None);
        assert_eq!(text(&call.refusal(&CallError::refused("no"))), r#"{"ok":false,"error":"no"}"#);
    }

    #[test]
    fn what_is_no_event_is_answered() {
        for (message, answer) in [
            (Message::binary(b"a".as_slice()), r#"{"ok":false,"error":"binary messages are not supported"}"#),
            ("7".into(), r#"{"ok":false,"error":"not a JSON object"}"#),
            (r#"{"ack":1,"ok":true}"#.into(), r#"{"ok":false,"error":"not an event"}"#),
            (r#"{"ok":false,"error":"no"}"#.into(), r#"{"ok":false,"error":"not an event"}"#),
            (
                r#"{"event":7,"id":7}"#.into(),
                r#"{"ack":7,"ok":false,"error":"field `event`: not a string","code":"invalid_data","field":"event"}"#,
            ),
        ] {
            assert_eq!(text(&Call::parse(message).expect_err("refused")), answer);
        }
    }
}
