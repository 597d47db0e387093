//! The arguments of events and of answers.

use std::fmt;

use bytes::Bytes;
use fullduplex::{Message, Sequence};
use serde::{
    Deserializer, Serialize,
    de::{
        DeserializeOwned, IgnoredAny, SeqAccess, Visitor,
        value::{SeqAccessDeserializer, UnitDeserializer},
    },
};

use super::{
    binary::{collect_attachments, with_attachments},
    packet::{Kind, put_head},
};

/// The first argument of an event or of an answer, of a type that serde parses.
///
/// Further arguments are ignored. One that is missing is parsed as `null`, so `()` and `Option`
/// accept it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Data<T>(pub T);

/// All arguments of an event or of an answer, as a tuple or another type that serde parses from an array.
///
/// As an argument of [`emit`](crate::Socket::emit), and as an answer, it is several arguments instead
/// of one.
///
/// ```
/// use socketio::{Args, Namespace, Socket};
///
/// async fn add(_socket: Socket, Args((a, b)): Args<(i64, i64)>) -> i64 {
///     a.saturating_add(b)
/// }
///
/// let calculator = Namespace::new("/calculator").on("add", add);
/// # let _ = calculator;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Args<T>(pub T);

/// Data that does not have the type that the program expects.
#[derive(Debug, thiserror::Error)]
#[error("data of another type: {0}")]
pub struct InvalidData(#[from] serde_json::Error);

/// The arguments that have arrived: a JSON array, which has been checked, and its attachments.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    pub(crate) json: &'a str,
    /// Whether the first element is the name of an event.
    pub(crate) has_name: bool,
    pub(crate) attachments: &'a [Bytes],
}

impl Arrived<'_> {
    fn parse<T: DeserializeOwned, F: Fold<T>>(&self) -> Result<T, InvalidData> {
        with_attachments(self.attachments, || {
            let mut json = serde_json::Deserializer::from_str(self.json);
            let visitor =
                ArgumentsVisitor::<T, F> { has_name: self.has_name, marker: std::marker::PhantomData };
            Ok(json.deserialize_seq(visitor)?)
        })
    }

    pub(crate) fn first<T: DeserializeOwned>(&self) -> Result<T, InvalidData> {
        self.parse::<T, First>()
    }

    pub(crate) fn all<T: DeserializeOwned>(&self) -> Result<T, InvalidData> {
        self.parse::<T, All>()
    }
}

/// How a value is made of the rest of an array.
trait Fold<T> {
    fn fold<'de, A: SeqAccess<'de>>(array: &mut A) -> Result<T, A::Error>;
}

struct First;

impl<T: DeserializeOwned> Fold<T> for First {
    fn fold<'de, A: SeqAccess<'de>>(array: &mut A) -> Result<T, A::Error> {
        match array.next_element()? {
            Some(value) => Ok(value),
            None => T::deserialize(UnitDeserializer::new()),
        }
    }
}

struct All;

impl<T: DeserializeOwned> Fold<T> for All {
    fn fold<'de, A: SeqAccess<'de>>(array: &mut A) -> Result<T, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(array))
    }
}

struct ArgumentsVisitor<T, F> {
    has_name: bool,
    marker: std::marker::PhantomData<fn() -> (T, F)>,
}

impl<'de, T: DeserializeOwned, F: Fold<T>> Visitor<'de> for ArgumentsVisitor<T, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<T, A::Error> {
        if self.has_name {
            array.next_element::<IgnoredAny>()?;
        }
        let value = F::fold(&mut array)?;
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

/// What an acknowledgement is parsed as: [`Data`], [`Args`], or `()`, which ignores it.
pub trait FromAnswer: Sized + sealed::FromArrived {}

impl<T: sealed::FromArrived> FromAnswer for T {}

pub(crate) mod sealed {
    use super::{Args, Arrived, Data, DeserializeOwned, InvalidData};

    pub trait FromArrived: Sized {
        fn from_arrived(arrived: Arrived<'_>) -> Result<Self, InvalidData>;
    }

    impl<T: DeserializeOwned> FromArrived for Data<T> {
        fn from_arrived(arrived: Arrived<'_>) -> Result<Self, InvalidData> {
            arrived.first().map(Self)
        }
    }

    impl<T: DeserializeOwned> FromArrived for Args<T> {
        fn from_arrived(arrived: Arrived<'_>) -> Result<Self, InvalidData> {
            arrived.all().map(Self)
        }
    }

    impl FromArrived for () {
        fn from_arrived(_: Arrived<'_>) -> Result<Self, InvalidData> {
            Ok(())
        }
    }
}

/// What can be sent as the arguments of an event, or as an answer.
///
/// Any type that serde serializes is one argument, except that `()` is none. [`Args`] is several.
pub trait Arguments {
    /// Writes the arguments as JSON, separated by commas.
    ///
    /// # Errors
    /// Fails if serde does, or if [`Args`] does not contain a sequence.
    #[doc(hidden)]
    fn write(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error>;
}

impl<T: Serialize + ?Sized> Arguments for T {
    fn write(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let from = json.len();
        serde_json::to_writer(&mut *json, self)?;
        if size_of_val(self) == 0 && json[from..] == *b"null" {
            json.truncate(from);
        }
        Ok(())
    }
}

impl<T: Serialize> Arguments for Args<T> {
    fn write(&self, json: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let from = json.len();
        serde_json::to_writer(&mut *json, &self.0)?;
        match &json[from..] {
            b"null" => json.truncate(from),
            [b'[', .., b']'] => {
                json.pop();
                json.remove(from);
            }
            _ => return Err(serde::ser::Error::custom("`Args` without a tuple")),
        }
        Ok(())
    }
}

/// A packet as it is sent: a message of text, and one for each attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) text: String,
    pub(crate) attachments: Vec<Bytes>,
}

impl From<Encoded> for Sequence {
    fn from(packet: Encoded) -> Self {
        Self::new(packet.text, packet.attachments.into_iter().map(Message::binary))
    }
}

impl Encoded {
    /// Encodes an event again whose data is JSON already, with another id.
    pub(crate) fn of_event(namespace: &str, id: Option<u64>, json: &str, attachments: Vec<Bytes>) -> Self {
        let mut text = Vec::with_capacity(json.len() + USUAL);
        put_head(&mut text, Kind::Event, attachments.len(), namespace, id);
        text.extend(json.as_bytes());
        Self { text: String::from_utf8(text).expect("text"), attachments }
    }

    /// Returns the data of an event with this id: the name and the arguments.
    pub(crate) fn json(&self, namespace: &str, id: Option<u64>) -> &str {
        let mut head = Vec::new();
        put_head(&mut head, Kind::Event, self.attachments.len(), namespace, id);
        &self.text[head.len()..]
    }

    /// Returns the number of bytes that it takes in a write buffer, at most.
    pub(crate) fn size(&self) -> usize {
        let attachments = self.attachments.iter().map(Bytes::len);
        attachments.chain([self.text.len()]).map(|len| len + MAX_HEADER).sum()
    }
}

/// The length of the header of a frame of a server, at most.
const MAX_HEADER: usize = 10;

/// The length of a packet for which memory is reserved.
const USUAL: usize = 96;

/// Encodes an event.
pub(crate) fn encode_event(
    namespace: &str,
    id: Option<u64>,
    event: &str,
    arguments: &(impl Arguments + ?Sized),
) -> Result<Encoded, serde_json::Error> {
    encode(Kind::Event, namespace, id, |json| {
        serde_json::to_writer(&mut *json, event)?;
        let from = json.len();
        json.push(b',');
        arguments.write(json)?;
        if json.len() == from + 1 {
            json.truncate(from);
        }
        Ok(())
    })
}

/// Encodes arguments alone, as a JSON array, and their attachments.
pub(crate) fn encode_arguments(
    arguments: &(impl Arguments + ?Sized),
) -> Result<(String, Vec<Bytes>), serde_json::Error> {
    let mut json = vec![b'['];
    let (written, attachments) = collect_attachments(|| arguments.write(&mut json));
    written?;
    json.push(b']');
    Ok((String::from_utf8(json).expect("JSON is text"), attachments))
}

/// Encodes an answer.
pub(crate) fn encode_ack(
    namespace: &str,
    id: u64,
    arguments: &(impl Arguments + ?Sized),
) -> Result<Encoded, serde_json::Error> {
    encode(Kind::Ack, namespace, Some(id), |json| arguments.write(json))
}

fn encode(
    kind: Kind,
    namespace: &str,
    id: Option<u64>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), serde_json::Error>,
) -> Result<Encoded, serde_json::Error> {
    let mut text = Vec::with_capacity(USUAL);
    put_head(&mut text, kind, 0, namespace, id);
    let head_len = text.len();
    text.push(b'[');
    let (written, attachments) = collect_attachments(|| write(&mut text));
    written?;
    text.push(b']');
    if !attachments.is_empty() {
        // The number of attachments is known only now.
        let mut head = Vec::new();
        put_head(&mut head, kind, attachments.len(), namespace, id);
        text.splice(..head_len, head);
    }
    let text = String::from_utf8(text).expect("JSON is text");
    Ok(Encoded { text, attachments })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Binary;

    fn arrived(json: &str) -> Arrived<'_> {
        Arrived { json, has_name: true, attachments: &[] }
    }

    #[test]
    fn one_argument_or_all_are_parsed() {
        let event = arrived(r#"["add",1,2]"#);
        assert_eq!(event.first::<i32>().expect("a number"), 1);
        assert_eq!(event.all::<(i32, i32)>().expect("numbers"), (1, 2));
        assert_eq!(event.all::<Vec<i32>>().expect("numbers"), [1, 2]);
        assert_eq!(event.all::<(i32,)>().expect("a number"), (1,));
        assert!(event.all::<(i32, i32, i32)>().is_err());
        assert!(event.first::<String>().is_err());
    }

    #[test]
    fn a_missing_argument_is_null() {
        let event = arrived(r#"["ping"]"#);
        event.first::<()>().expect("null");
        assert_eq!(event.first::<Option<i32>>().expect("null"), None);
        assert_eq!(event.first::<Value>().expect("null"), Value::Null);
        assert!(event.first::<i32>().is_err());
        assert_eq!(event.all::<Vec<i32>>().expect("none"), [0; 0]);
    }

    #[test]
    fn events_and_answers_are_encoded() {
        for (encoded, text) in [
            (encode_event("/", None, "a", &()), r#"42["a"]"#),
            (encode_event("/", None, "a", &None::<u8>), r#"42["a",null]"#),
            (encode_event("/", None, "a", "b"), r#"42["a","b"]"#),
            (encode_event("/", None, "a", &(1, 2)), r#"42["a",[1,2]]"#),
            (encode_event("/", None, "a", &Args((1, "x"))), r#"42["a",1,"x"]"#),
            (encode_event("/", None, "a", &Args(())), r#"42["a"]"#),
            (encode_event("/", None, "a", &Args([0; 0])), r#"42["a"]"#),
            (encode_event("/chat", Some(7), "a\"b", &json!({"c": 1})), r#"42/chat,7["a\"b",{"c":1}]"#),
            (encode_ack("/", 3, &()), "433[]"),
            (encode_ack("/chat", 3, &true), "43/chat,3[true]"),
        ] {
            assert_eq!(encoded.expect("serializes"), Encoded { text: text.to_owned(), attachments: vec![] });
        }
        assert!(encode_ack("/", 3, &Args(1)).is_err());
    }

    #[test]
    fn binary_data_makes_a_packet_with_attachments() {
        let encoded = encode_event("/chat", None, "a", &Args((1, Binary::from("x"), Binary::from("y"))));
        let encoded = encoded.expect("serializes");
        assert_eq!(
            encoded.text,
            r#"452-/chat,["a",1,{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#
        );
        assert_eq!(encoded.attachments, ["x", "y"]);
        let ack = encode_ack("/", 15, &Binary::from("z")).expect("serializes");
        assert_eq!(ack.text, r#"461-15[{"_placeholder":true,"num":0}]"#);
    }
}
