//! Whether data is what its packet demands, without its values.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::packet::InvalidPacket;

/// Names of events that have a meaning of their own in clients.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Checks the data of an event: an array, whose first element is its name.
pub(super) fn check_event(data: &str) -> Result<(), InvalidPacket> {
    let NonEmpty(name) = parse(data)?;
    if RESERVED.contains(&&*name.0) { Err(InvalidPacket::Data) } else { Ok(()) }
}

/// Checks the data of an answer: an array.
pub(super) fn check_array(data: &str) -> Result<(), InvalidPacket> {
    parse::<Vec<Nothing>>(data).map(drop)
}

/// Checks the data with which a client connects: an object.
pub(super) fn check_object(data: &str) -> Result<(), InvalidPacket> {
    parse::<Object>(data).map(drop)
}

/// Checks that each placeholder in the data has its attachment.
pub(super) fn check_placeholders(data: &str, attachments: usize) -> Result<(), InvalidPacket> {
    let mut json = serde_json::Deserializer::from_str(data);
    Placeholders { attachments }.deserialize(&mut json).map_err(|_| InvalidPacket::Placeholder)
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, InvalidPacket> {
    serde_json::from_str(data).map_err(|_| InvalidPacket::Data)
}

/// Returns the name of an event. Its data has been checked.
pub(super) fn event_name(data: &str) -> Cow<'_, str> {
    // Nearly all names are text without an escape at the beginning of the array.
    if let Some(rest) = data.strip_prefix("[\"")
        && let Some(end) = rest.find(['"', '\\'])
        && rest[end..].starts_with('"')
    {
        return Cow::Borrowed(&rest[..end]);
    }
    parse::<NonEmpty<'_>>(data).map_or_else(|_| Cow::default(), |NonEmpty(name)| name.0)
}

/// Any value, of which nothing is kept. A vector of them takes no memory.
struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// An array that begins with a name.
struct NonEmpty<'a>(Name<'a>);

impl<'de> Deserialize<'de> for NonEmpty<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ArrayVisitor;

        impl<'de> Visitor<'de> for ArrayVisitor {
            type Value = NonEmpty<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array that begins with a name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<NonEmpty<'de>, A::Error> {
                let name = array.next_element()?.ok_or_else(|| A::Error::custom("an empty array"))?;
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(NonEmpty(name))
            }
        }

        deserializer.deserialize_seq(ArrayVisitor)
    }
}

/// The name of an event: text, or a number, which clients may use as well.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an event")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }

            fn visit_u64<E: Error>(self, name: u64) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_string())))
            }

            fn visit_i64<E: Error>(self, name: i64) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_string())))
            }
        }

        deserializer.deserialize_any(NameVisitor)
    }
}

/// An object, of which nothing is kept.
struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Object, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// Walks through a value, and fails at a placeholder without its attachment.
#[derive(Clone, Copy)]
struct Placeholders {
    attachments: usize,
}

impl Placeholders {
    /// Returns the value of a key. If it is no placeholder, there may be some in it.
    fn walked<'de, A: MapAccess<'de>>(self, object: &mut A) -> Result<serde_json::Value, A::Error> {
        let value = object.next_value::<serde_json::Value>()?;
        self.deserialize(&value).map_err(A::Error::custom)?;
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for Placeholders {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Placeholders {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let (mut is_placeholder, mut has_attachment) = (false, false);
        while let Some(key) = object.next_key::<Cow<'_, str>>()? {
            match &*key {
                "_placeholder" => is_placeholder = self.walked::<A>(&mut object)? == true,
                "num" => {
                    let num = self.walked::<A>(&mut object)?.as_u64();
                    has_attachment = num.is_some_and(|num| num < self.attachments as u64);
                }
                _ => object.next_value_seed(self)?,
            }
        }
        match is_placeholder && !has_attachment {
            true => Err(A::Error::custom("a placeholder without an attachment")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_in_any_form() {
        for (data, name) in [
            (r#"["chat",1]"#, "chat"),
            (r#" [ "chat" ] "#, "chat"),
            (r#"["a\"b"]"#, "a\"b"),
            (r#"["\u0061"]"#, "a"),
            (r#"[""]"#, ""),
            ("[7]", "7"),
            ("[-7]", "-7"),
        ] {
            assert_eq!(check_event(data), Ok(()), "{data}");
            assert_eq!(event_name(data), name, "{data}");
        }
    }

    #[test]
    fn placeholders_are_found_wherever_they_are() {
        let missing = r#"{"_placeholder":true,"num":1}"#;
        for data in [
            format!(r#"["a",[[{missing}]]]"#),
            format!(r#"["a",{{"b":{missing}}}]"#),
            format!(r#"["a",{{"num":{missing}}}]"#),
            format!(r#"["a",{{"_placeholder":[{missing}]}}]"#),
        ] {
            assert_eq!(check_placeholders(&data, 1), Err(InvalidPacket::Placeholder), "{data}");
            assert_eq!(check_placeholders(&data, 2), Ok(()), "{data}");
        }
    }

    #[test]
    fn data_that_nests_deeply_takes_no_stack() {
        let deep = format!(r#"["a",{}{}]"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(check_event(&deep), Ok(()));
        assert_eq!(check_placeholders(&deep, 1), Err(InvalidPacket::Placeholder));
        assert_eq!(check_event(&deep[..deep.len() - 1]), Err(InvalidPacket::Data));
    }
}
