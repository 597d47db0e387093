//! The messages of the peer: events, answers and notices.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::error::{CallError, InvalidData, MAX_TEXT, truncated};

/// The largest id: the largest integer that JavaScript represents exactly.
pub(super) const MAX_ID: u64 = (1 << 53) - 1;
/// The longest name of an event, in bytes.
pub(super) const MAX_NAME: usize = 256;

/// The codes of the errors that a caller matches.
pub(super) const UNKNOWN_EVENT: &str = "unknown_event";
pub(super) const INVALID_DATA: &str = "invalid_data";

/// A message of the peer.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// An event; a call, if it has an id.
    Event { name: Cow<'a, str>, id: Option<u64>, data: Option<&'a RawValue> },
    /// The answer to a call.
    Answer { id: u64, answer: Result<Option<&'a RawValue>, CallError> },
    /// An error that answers no call.
    Notice(String),
}

/// A message of the peer that is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The id of the call, if that is clear.
    pub(super) id: Option<u64>,
    pub(super) why: InvalidData,
}

impl Malformed {
    pub(super) fn message(text: impl Into<Box<str>>) -> Self {
        Self { id: None, why: InvalidData::message(text) }
    }
}

/// Parses a text message.
pub(super) fn parse(text: &str) -> Result<Frame<'_>, Malformed> {
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => Malformed::message("not a JSON object"),
        _ => {
            let (line, column) = (error.line(), error.column());
            Malformed::message(format!("invalid JSON, at line {line}, column {column}"))
        }
    })?;
    members.into_frame()
}

/// The members of the object. Their values are checked later, so that errors can name them.
#[derive(Debug, Default)]
struct Members<'a> {
    event: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    ack: Option<&'a RawValue>,
    ok: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    code: Option<&'a RawValue>,
    field: Option<&'a RawValue>,
    /// The name of a member that occurs twice.
    twice: Option<&'static str>,
}

impl<'a> Members<'a> {
    fn slot(&mut self, key: Key) -> Option<(&mut Option<&'a RawValue>, &'static str)> {
        Some(match key {
            Key::Event => (&mut self.event, "event"),
            Key::Id => (&mut self.id, "id"),
            Key::Data => (&mut self.data, "data"),
            Key::Ack => (&mut self.ack, "ack"),
            Key::Ok => (&mut self.ok, "ok"),
            Key::Error => (&mut self.error, "error"),
            Key::Code => (&mut self.code, "code"),
            Key::Field => (&mut self.field, "field"),
            Key::Other => return None,
        })
    }

    fn into_frame(self) -> Result<Frame<'a>, Malformed> {
        let invalid = |id, why| Err(Malformed { id, why });
        if let Some(name) = self.twice {
            return invalid(None, InvalidData::new(name, "occurs twice"));
        }
        match (self.event, self.ack) {
            (Some(_), Some(_)) => invalid(None, InvalidData::new("ack", "not allowed beside `event`")),
            (Some(event), None) => self.into_event(event),
            (None, Some(ack)) => match integer(ack) {
                Some(id) => Ok(Frame::Answer { id, answer: self.into_answer() }),
                None => invalid(None, InvalidData::new("ack", NOT_AN_ID)),
            },
            (None, None) => match (self.ok.map(RawValue::get), self.error.and_then(string)) {
                (Some("false"), Some(error)) => Ok(Frame::Notice(truncated(&error, MAX_TEXT).to_owned())),
                _ => invalid(None, InvalidData::message("neither `event` nor `ack`")),
            },
        }
    }

    fn into_event(self, event: &'a RawValue) -> Result<Frame<'a>, Malformed> {
        let id = match self.id.filter(|id| id.get() != "null") {
            None => None,
            Some(raw) => match integer(raw) {
                None => return Err(Malformed { id: None, why: InvalidData::new("id", NOT_AN_ID) }),
                id => id,
            },
        };
        let invalid = |reason| Err(Malformed { id, why: InvalidData::new("event", reason) });
        match string(event) {
            None => invalid("not a string"),
            Some(name) if name.len() > MAX_NAME => invalid("longer than 256 bytes"),
            Some(name) => Ok(Frame::Event { name, id, data: self.data }),
        }
    }

    fn into_answer(self) -> Result<Option<&'a RawValue>, CallError> {
        let malformed = |why| Err(CallError::MalformedAnswer(why));
        match self.ok.map(RawValue::get) {
            Some("true") => return Ok(self.data),
            Some("false") => {}
            Some(_) => return malformed(InvalidData::new("ok", "not a boolean")),
            None => return malformed(InvalidData::missing("ok")),
        }
        let Some(text) = self.error else { return malformed(InvalidData::missing("error")) };
        let Some(text) = string(text) else { return malformed(InvalidData::new("error", "not a string")) };
        Err(match self.code.and_then(string).as_deref() {
            Some(UNKNOWN_EVENT) => CallError::UnknownEvent,
            Some(INVALID_DATA) => {
                let field = self.field.and_then(string);
                CallError::InvalidData(InvalidData::described(field.as_deref(), &text))
            }
            _ => CallError::Refused(truncated(&text, MAX_TEXT).to_owned()),
        })
    }
}

const NOT_AN_ID: &str = "not an integer from 0 to 9007199254740991";

fn integer(raw: &RawValue) -> Option<u64> {
    value(raw).filter(|id| *id <= MAX_ID)
}

/// Returns a string, borrowed if it has no escapes.
fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    match serde_json::from_str(raw.get()) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => value(raw).map(Cow::Owned),
    }
}

fn value<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// The name of a member.
#[derive(Debug, Clone, Copy)]
enum Key {
    Event,
    Id,
    Data,
    Ack,
    Ok,
    Error,
    Code,
    Field,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(match name {
            "event" => Key::Event,
            "id" => Key::Id,
            "data" => Key::Data,
            "ack" => Key::Ack,
            "ok" => Key::Ok,
            "error" => Key::Error,
            "code" => Key::Code,
            "field" => Key::Field,
            _ => Key::Other,
        })
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(key) = map.next_key()? {
            let Some((slot, name)) = members.slot(key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if slot.replace(map.next_value()?).is_some() {
                members.twice = Some(name);
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Message, calls::encode};

    fn malformed(text: &str) -> (Option<u64>, String) {
        let malformed = parse(text).expect_err(text);
        (malformed.id, malformed.why.to_string())
    }

    #[test]
    fn an_error_names_the_member_and_keeps_the_id_of_the_call() {
        let not_an_id = |field| format!("field `{field}`: {NOT_AN_ID}");
        for (text, id, error) in [
            ("", None, "invalid JSON, at line 1, column 0"),
            ("{nonsense", None, "invalid JSON, at line 1, column 2"),
            (r#"{"event":"a"} x"#, None, "invalid JSON, at line 1, column 15"),
            ("[1]", None, "not a JSON object"),
            ("7", None, "not a JSON object"),
            ("{}", None, "neither `event` nor `ack`"),
            (r#"{"id":7,"data":1}"#, None, "neither `event` nor `ack`"),
            (r#"{"ok":false}"#, None, "neither `event` nor `ack`"),
            (r#"{"ok":true,"error":"x"}"#, None, "neither `event` nor `ack`"),
            (r#"{"event":7,"id":7}"#, Some(7), "field `event`: not a string"),
            (r#"{"event":null}"#, None, "field `event`: not a string"),
            (r#"{"event":"a","id":"7"}"#, None, &not_an_id("id")),
            (r#"{"event":"a","id":-1}"#, None, &not_an_id("id")),
            (r#"{"event":"a","id":1.5}"#, None, &not_an_id("id")),
            (r#"{"event":"a","id":9007199254740992}"#, None, &not_an_id("id")),
            (r#"{"event":"a","id":1e999}"#, None, &not_an_id("id")),
            (r#"{"ack":{},"ok":true}"#, None, &not_an_id("ack")),
            (r#"{"event":"a","ack":1}"#, None, "field `ack`: not allowed beside `event`"),
            (r#"{"event":"a","event":"b","id":1}"#, None, "field `event`: occurs twice"),
        ] {
            assert_eq!(malformed(text), (id, error.to_owned()), "{text}");
        }
        let name = "x".repeat(257);
        let error = malformed(&format!(r#"{{"event":"{name}","id":1}}"#));
        assert_eq!(error, (Some(1), "field `event`: longer than 256 bytes".into()));
        assert!(matches!(parse(&format!(r#"{{"event":"{}"}}"#, &name[1..])), Ok(Frame::Event { .. })));
    }

    #[test]
    fn members_may_be_escaped_in_any_order_and_unknown() {
        let text = r#"{ "x": {"event": 1}, "data": [1 ], "\u0065vent": "\u0061b", "id": null }"#;
        let Ok(Frame::Event { name, id, data }) = parse(text) else { panic!("an event") };
        assert_eq!((&*name, id, data.map(RawValue::get)), ("ab", None, Some("[1 ]")));
    }

    #[test]
    fn an_answer_is_matched_by_its_kind() {
        let answer = |text| match parse(text) {
            Ok(Frame::Answer { id: 7, answer }) => answer.map(|data| data.map(RawValue::get)),
            other => panic!("{other:?}"),
        };
        assert_eq!(answer(r#"{"ack":7,"ok":true,"data":1}"#).expect("ok"), Some("1"));
        assert_eq!(answer(r#"{"ack":7,"ok":true}"#).expect("ok"), None);
        for (text, shown) in [
            (r#"{"ack":7,"ok":false,"error":"no"}"#, "refused: no"),
            (r#"{"ack":7,"ok":false,"error":"no","code":"other"}"#, "refused: no"),
            (r#"{"ack":7,"ok":false,"error":"x","code":"unknown_event"}"#, "unknown event"),
            (r#"{"ack":7,"ok":false,"error":"x","code":"invalid_data"}"#, "x"),
            (r#"{"ack":7}"#, "malformed answer: field `ok` is missing"),
            (r#"{"ack":7,"ok":1}"#, "malformed answer: field `ok`: not a boolean"),
            (r#"{"ack":7,"ok":false}"#, "malformed answer: field `error` is missing"),
            (r#"{"ack":7,"ok":false,"error":1}"#, "malformed answer: field `error`: not a string"),
        ] {
            assert_eq!(answer(text).expect_err(text).to_string(), shown);
        }
        let long = format!(r#"{{"ack":7,"ok":false,"error":"{}"}}"#, "x".repeat(100_000));
        assert!(matches!(answer(&long), Err(CallError::Refused(text)) if text.len() == MAX_TEXT));
        let Ok(Frame::Notice(text)) = parse(r#"{"ok":false,"error":"no"}"#) else { panic!("a notice") };
        assert_eq!(text, "no");
    }

    #[test]
    fn row_83_deep_json_takes_no_stack() {
        for deep in ["[".repeat(1 << 20), r#"{"a":"#.repeat(1 << 18)] {
            for text in [format!(r#"{{"x":{deep}"#), format!(r#"{{"event":"a","data":{deep}"#)] {
                assert!(malformed(&text).1.starts_with("invalid JSON"), "{:.20}", text);
            }
        }
        let deep = format!(r#"{{"event":"a","data":{}{}}}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(matches!(parse(&deep), Ok(Frame::Event { .. })));
    }

    /// Encodes a frame again.
    fn encoded(frame: &Frame<'_>) -> Message {
        match frame {
            Frame::Event { name, id: Some(id), data } => encode::call(name, *id, data).expect("JSON"),
            Frame::Event { name, id: None, data } => encode::event(name, data).expect("JSON"),
            Frame::Answer { id, answer: Ok(data) } => encode::answer(*id, data).expect("JSON"),
            Frame::Answer { id, answer: Err(error) } => encode::refusal(*id, error),
            Frame::Notice(text) => encode::notice(text),
        }
    }

    /// Returns a frame as text, in which data that is missing is `null`.
    fn shown(frame: &Frame<'_>) -> String {
        let shown = |data: &Option<&RawValue>| data.map_or("null", RawValue::get).to_owned();
        match frame {
            Frame::Event { name, id, data } => format!("event {name:?} {id:?} {}", shown(data)),
            Frame::Answer { id, answer: Ok(data) } => format!("answer {id} {}", shown(data)),
            Frame::Answer { id, answer: Err(error) } => format!("refusal {id} {error:?}"),
            Frame::Notice(text) => format!("notice {text:?}"),
        }
    }

    fn check(text: &str) {
        let Ok(frame) = parse(text) else { return };
        // An answer that is malformed is answered by no peer, and has no encoding of its own.
        if matches!(&frame, Frame::Answer { answer: Err(CallError::MalformedAnswer(_)), .. }) {
            return;
        }
        let again = encoded(&frame);
        let parsed = parse(again.as_text().expect("text")).expect("it was encoded here");
        assert_eq!(shown(&parsed), shown(&frame), "{text}");
    }

    fn json() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("false".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            (0..20_u64).prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| serde_json::to_string(&text).expect("text")),
            prop_oneof![Just("\"invalid_data\""), Just("\"unknown_event\"")].prop_map(str::to_owned),
        ];
        scalar.prop_recursive(3, 16, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(", ")))
        })
    }

    fn object() -> impl Strategy<Value = String> {
        let names = ["event", "id", "data", "ack", "ok", "error", "code", "field", "other"];
        let member = (prop::sample::select(names.to_vec()), json());
        prop::collection::vec(member, 0..6).prop_map(|members| {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{{}}}", members.join(","))
        })
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>()) {
            check(&text);
        }

        #[test]
        fn any_object_is_parsed_or_refused_and_means_the_same_when_encoded_again(text in object()) {
            check(&text);
        }

        #[test]
        fn a_damaged_message_is_parsed_or_refused(text in object(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = std::str::from_utf8(&bytes) {
                check(text);
            }
        }
    }
}
