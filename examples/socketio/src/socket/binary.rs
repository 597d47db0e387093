//! Binary data in events.

use std::{cell::RefCell, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
    ser::{Error as _, SerializeStruct},
};

/// Binary data, anywhere in the data of an event or of an answer.
///
/// In JavaScript it is an `ArrayBuffer`, a `Blob`, or a `Buffer`. It is transmitted as an attachment,
/// not as JSON, and not copied.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use socketio::Binary;
///
/// #[derive(Serialize, Deserialize)]
/// struct Picture {
///     name: String,
///     data: Binary,
/// }
/// ```
///
/// It is only serialized and deserialized by this crate: elsewhere, both fail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Bytes);

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(data: T) -> Self {
        Self(data.into())
    }
}

thread_local! {
    /// The attachments of the data that is deserialized now, and those of the data that is serialized.
    /// Both are set for one call, which does not wait.
    static RECEIVED: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
    static COLLECTED: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Runs a function that deserializes data with these attachments.
pub(super) fn with_attachments<T>(attachments: &[Bytes], deserialize: impl FnOnce() -> T) -> T {
    if attachments.is_empty() {
        return deserialize();
    }
    let _restored = Restore(&RECEIVED, RECEIVED.replace(Some(attachments.to_vec())));
    deserialize()
}

/// Runs a function that serializes data. Returns the attachments too.
pub(super) fn collect_attachments<T>(serialize: impl FnOnce() -> T) -> (T, Vec<Bytes>) {
    let _restored = Restore(&COLLECTED, COLLECTED.replace(Some(Vec::new())));
    let serialized = serialize();
    (serialized, COLLECTED.take().unwrap_or_default())
}

/// Restores what was there before, also if a function panics.
struct Restore(&'static std::thread::LocalKey<RefCell<Option<Vec<Bytes>>>>, Option<Vec<Bytes>>);

impl Drop for Restore {
    fn drop(&mut self) {
        self.0.replace(self.1.take());
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let num = COLLECTED.with_borrow_mut(|collected| {
            let collected = collected.as_mut()?;
            collected.push(self.0.clone());
            Some(collected.len() - 1)
        });
        let num = num.ok_or_else(|| S::Error::custom("binary data outside of an event"))?;
        let mut placeholder = serializer.serialize_struct("Binary", 2)?;
        placeholder.serialize_field("_placeholder", &true)?;
        placeholder.serialize_field("num", &num)?;
        placeholder.end()
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PlaceholderVisitor)
    }
}

struct PlaceholderVisitor;

impl<'de> Visitor<'de> for PlaceholderVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut placeholder: A) -> Result<Binary, A::Error> {
        let (mut is_placeholder, mut num) = (false, None);
        while let Some(key) = placeholder.next_key::<std::borrow::Cow<'_, str>>()? {
            match &*key {
                "_placeholder" => is_placeholder = placeholder.next_value()?,
                "num" => num = Some(placeholder.next_value::<usize>()?),
                _ => _ = placeholder.next_value::<IgnoredAny>()?,
            }
        }
        let num = num.filter(|_| is_placeholder).ok_or_else(|| A::Error::custom("not binary data"))?;
        RECEIVED
            .with_borrow(|received| received.as_ref()?.get(num).cloned())
            .map(Binary)
            .ok_or_else(|| A::Error::custom("binary data that is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_data_is_replaced_by_placeholders_and_back() {
        let pair = [Binary::from("a"), Binary::from("b")];
        let (json, attachments) = collect_attachments(|| serde_json::to_string(&pair).expect("serializes"));
        assert_eq!(json, r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
        assert_eq!(attachments, ["a", "b"]);
        let parsed = with_attachments(&attachments, || serde_json::from_str::<[Binary; 2]>(&json));
        assert_eq!(parsed.expect("valid"), pair);
    }

    #[test]
    fn it_has_no_meaning_elsewhere() {
        assert!(serde_json::to_string(&Binary::default()).is_err());
        let json = r#"{"_placeholder":true,"num":0}"#;
        assert!(serde_json::from_str::<Binary>(json).is_err());
        let attachments = [Bytes::from_static(b"a")];
        for json in [r#"{"_placeholder":true,"num":1}"#, r#"{"num":0}"#, "{}", "[1]", r#""a""#] {
            assert!(
                with_attachments(&attachments, || serde_json::from_str::<Binary>(json)).is_err(),
                "{json}"
            );
        }
    }

    #[test]
    fn calls_do_not_disturb_each_other() {
        let (inner, outer) = collect_attachments(|| {
            serde_json::to_string(&Binary::from("outer")).expect("serializes");
            collect_attachments(|| serde_json::to_string(&Binary::from("inner")).expect("serializes")).1
        });
        assert_eq!((inner, outer), (vec![Bytes::from("inner")], vec![Bytes::from("outer")]));
    }
}
