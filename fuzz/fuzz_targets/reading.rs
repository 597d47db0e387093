//! What a message of the target `calls` means, by the documentation of the wire format alone.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A message of a peer.
pub(crate) enum Reading {
    /// The data is as it was written.
    Event {
        name: String,
        id: Option<u64>,
        data: Option<String>,
    },
    Answer {
        id: u64,
        answer: Answer,
    },
    Notice(String),
    /// A member is wrong. The id is that of the call, if that is clear.
    InvalidMember(Option<u64>, &'static str),
    /// Not an object, or one of no kind.
    Invalid,
}

/// The answer to a call.
#[derive(Debug)]
pub(crate) enum Answer {
    Data(String),
    Refused(String),
    UnknownEvent,
    InvalidData(Option<String>),
    /// With the member that is wrong or missing.
    Malformed(&'static str),
}

impl Reading {
    pub(crate) fn of(text: &str) -> Self {
        let Ok(Members(members)) = serde_json::from_str(text) else { return Self::Invalid };
        let mut known = HashSet::new();
        let mut twice = None;
        for (name, _) in &members {
            if let Some(name) = NAMES.iter().find(|known| *known == name)
                && !known.insert(name)
            {
                twice = Some(*name);
            }
        }
        if let Some(name) = twice {
            return Self::InvalidMember(None, name);
        }
        let get = |name| members.iter().find(|(other, _)| other == name).map(|(_, value)| value.get());
        match (get("event"), get("ack")) {
            (Some(_), Some(_)) => Self::InvalidMember(None, "ack"),
            (Some(event), None) => Self::event(event, get("id"), get("data")),
            (None, Some(ack)) => match id(ack) {
                Some(id) => Self::Answer { id, answer: answer(get) },
                None => Self::InvalidMember(None, "ack"),
            },
            (None, None) => match (get("ok"), get("error").and_then(string)) {
                (Some("false"), Some(error)) => Self::Notice(beginning(&error, 1024)),
                _ => Self::Invalid,
            },
        }
    }

    fn event(event: &str, number: Option<&str>, data: Option<&str>) -> Self {
        let id = match number {
            None | Some("null") => None,
            Some(number) => match id(number) {
                None => return Self::InvalidMember(None, "id"),
                id => id,
            },
        };
        match string(event) {
            Some(name) if name.len() <= 256 => Self::Event { name, id, data: data.map(str::to_owned) },
            _ => Self::InvalidMember(id, "event"),
        }
    }
}

fn answer<'a>(get: impl Fn(&'static str) -> Option<&'a str>) -> Answer {
    match get("ok") {
        Some("true") => return Answer::Data(get("data").unwrap_or("null").to_owned()),
        Some("false") => {}
        _ => return Answer::Malformed("ok"),
    }
    let Some(error) = get("error").and_then(string) else { return Answer::Malformed("error") };
    match get("code").and_then(string).as_deref() {
        Some("unknown_event") => Answer::UnknownEvent,
        Some("invalid_data") => {
            Answer::InvalidData(get("field").and_then(string).map(|field| beginning(&field, 256)))
        }
        _ => Answer::Refused(beginning(&error, 1024)),
    }
}

/// An integer from 0 to 2^53 - 1, in the only way in which JSON writes it.
fn id(number: &str) -> Option<u64> {
    let is_integer = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|id| is_integer && *id < 1 << 53)
}

fn string(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// Returns the longest beginning of whole characters that has at most `max` bytes.
pub(crate) fn beginning(text: &str, max: usize) -> String {
    let mut beginning = String::new();
    for character in text.chars() {
        if beginning.len() + character.len_utf8() > max {
            break;
        }
        beginning.push(character);
    }
    beginning
}

const NAMES: [&str; 8] = ["event", "id", "data", "ack", "ok", "error", "code", "field"];

/// All members of an object, in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
