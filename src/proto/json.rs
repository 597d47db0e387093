//! Messages whose payload data is JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::{outgoing::Outgoing, payload::Message};

/// An error of JSON, by who caused it.
///
/// Display and Debug contain the kind and the position, and never payload data: the texts of
/// `serde_json` may quote names and values. [`detail`](Self::detail) returns them.
///
/// ```
/// use fullduplex::{JsonErrorKind, Message};
///
/// let error = Message::from(r#"{"user": "ann", "#).parse_json::<Vec<u32>>().expect_err("not a list");
/// assert_eq!(error.kind(), JsonErrorKind::Data);
/// assert_eq!(error.to_string(), "peer sent JSON of another type, at line 1, column 0");
/// ```
pub struct JsonError {
    kind: JsonErrorKind,
    detail: serde_json::Error,
}

/// Who caused a [`JsonError`], and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The caller's value cannot be serialized. Nothing was queued.
    Serialize,
    /// The payload data of the peer's message is not JSON.
    Syntax,
    /// The payload data of the peer's message ends inside a JSON value.
    Incomplete,
    /// The payload data of the peer's message is JSON, but not of the requested type.
    Data,
}

impl JsonError {
    fn serialize(detail: serde_json::Error) -> Self {
        Self { kind: JsonErrorKind::Serialize, detail }
    }

    fn parse(detail: serde_json::Error) -> Self {
        let kind = match detail.classify() {
            Category::Eof => JsonErrorKind::Incomplete,
            Category::Data => JsonErrorKind::Data,
            // Nothing is read from a stream, so that there are no errors of I/O.
            Category::Syntax | Category::Io => JsonErrorKind::Syntax,
        };
        Self { kind, detail }
    }

    /// Returns who caused the error, and how.
    pub fn kind(&self) -> JsonErrorKind {
        self.kind
    }

    /// Returns the line of the error in the payload data, counted from 1; 0 if it is unknown.
    pub fn line(&self) -> usize {
        self.detail.line()
    }

    /// Returns the column of the error, in bytes; 0 is before the first byte of the line.
    pub fn column(&self) -> usize {
        self.detail.column()
    }

    /// Returns the error of `serde_json`, with the reason.
    ///
    /// Its text may contain payload data, such as the name of an unknown field. Do not log it where
    /// payload data must not appear.
    pub fn detail(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &self.detail
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            JsonErrorKind::Serialize => "value cannot be serialized as JSON",
            JsonErrorKind::Syntax => "peer sent invalid JSON",
            JsonErrorKind::Incomplete => "peer sent incomplete JSON",
            JsonErrorKind::Data => "peer sent JSON of another type",
        };
        match self.line() {
            0 => f.write_str(text),
            line => write!(f, "{text}, at line {line}, column {}", self.column()),
        }
    }
}

/// Redacts the reason, which may contain payload data.
impl fmt::Debug for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonError")
            .field("kind", &self.kind)
            .field("line", &self.line())
            .field("column", &self.column())
            .finish_non_exhaustive()
    }
}

// Without a source: programs print the chain of sources, which would print payload data.
impl std::error::Error for JsonError {}

impl Message {
    /// Creates a text message with a value as JSON.
    ///
    /// # Errors
    /// Returns [`JsonErrorKind::Serialize`] if the value has no representation in JSON, such as a
    /// map whose keys are not strings.
    ///
    /// ```
    /// use fullduplex::Message;
    ///
    /// assert_eq!(Message::json(&("tick", 7))?, Message::from(r#"["tick",7]"#));
    /// # Ok::<(), fullduplex::JsonError>(())
    /// ```
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        serde_json::to_string(value).map(Self::from).map_err(JsonError::serialize)
    }

    /// Parses the payload data as JSON, of a text message or a binary one.
    ///
    /// The value may borrow from the message. Invalid JSON is not a violation of the WebSocket
    /// protocol: the connection stays open, and the program decides whether to close it, for
    /// example with [`CloseCode::INVALID_PAYLOAD`](crate::CloseCode::INVALID_PAYLOAD).
    ///
    /// # Errors
    /// Returns an error of any kind but [`JsonErrorKind::Serialize`].
    ///
    /// ```
    /// use fullduplex::Message;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Command<'a> {
    ///     name: &'a str,
    ///     #[serde(default)]
    ///     count: u32,
    /// }
    ///
    /// let message = Message::from(r#"{"name": "subscribe", "count": 3}"#);
    /// let command: Command<'_> = message.parse_json()?;
    /// assert_eq!((command.name, command.count), ("subscribe", 3));
    /// # Ok::<(), fullduplex::JsonError>(())
    /// ```
    pub fn parse_json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, JsonError> {
        let parsed = match self {
            // The text is UTF-8 already.
            Self::Text(text) => serde_json::from_str(text),
            Self::Binary(data) => serde_json::from_slice(data),
        };
        parsed.map_err(JsonError::parse)
    }
}

impl Outgoing<'static> {
    /// Creates a text message to send, with a value as JSON.
    ///
    /// The value is serialized once, into a buffer that is sent as it is; only text of at most 4
    /// KiB is copied into the write buffer, like any short message.
    ///
    /// # Errors
    /// Returns [`JsonErrorKind::Serialize`] if the value has no representation in JSON.
    ///
    /// ```
    /// use fullduplex::Outgoing;
    ///
    /// assert_eq!(Outgoing::json(&[1, 2])?, Outgoing::from("[1,2]"));
    /// # Ok::<(), fullduplex::JsonError>(())
    /// ```
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        serde_json::to_string(value).map(Self::from).map_err(JsonError::serialize)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SECRET: &str = "hunter2";

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Login {
        #[allow(dead_code, reason = "it is parsed")]
        user: u32,
    }

    #[derive(Debug, Deserialize)]
    enum Choice {
        One,
    }

    #[track_caller]
    fn check(error: &JsonError, kind: JsonErrorKind) {
        assert_eq!(error.kind(), kind);
        for shown in [format!("{error}"), format!("{error:#}"), format!("{error:?}"), format!("{error:#?}")] {
            assert!(!shown.contains(SECRET), "{shown}");
        }
        assert!(std::error::Error::source(error).is_none());
    }

    #[test]
    fn errors_of_the_peer_have_a_kind_and_a_position_and_no_payload_data() {
        use JsonErrorKind::{Data, Incomplete, Syntax};
        for (text, kind) in [
            ("{\"hunter2\": 1}", Data),
            ("{\"user\": \"hunter2\"}", Data),
            ("\"hunter2\"", Data),
            ("hunter2", Syntax),
            ("{\"user\": 1} hunter2", Syntax),
            ("{\"user\": hunter2}", Syntax),
            ("{\"user\": \"hunter2", Incomplete),
            ("", Incomplete),
        ] {
            for message in [Message::from(text), Message::from(text.as_bytes())] {
                check(&message.parse_json::<Login>().expect_err(text), kind);
            }
        }
        let error = Message::from("\"hunter2\"").parse_json::<Choice>().expect_err("no such variant");
        check(&error, Data);
        assert!(error.detail().to_string().contains(SECRET), "the detail quotes it");
        let error = Message::from("{\n \"user\": x}").parse_json::<Login>().expect_err("no value");
        assert_eq!((error.line(), error.column()), (2, 10));
        assert_eq!(error.to_string(), "peer sent invalid JSON, at line 2, column 10");
        assert!(matches!(Message::from("\"One\"").parse_json(), Ok(Choice::One)));
    }

    #[test]
    fn binary_payload_data_has_to_be_utf_8() {
        let error = Message::from(&b"\"\xFF\""[..]).parse_json::<String>().expect_err("not UTF-8");
        check(&error, JsonErrorKind::Syntax);
    }

    #[test]
    fn a_value_that_cannot_be_serialized_is_an_error_of_the_caller() {
        let map = BTreeMap::from([(vec![SECRET], 1)]);
        let error = Message::json(&map).expect_err("a key that is no string");
        check(&error, JsonErrorKind::Serialize);
        assert_eq!(error.to_string(), "value cannot be serialized as JSON");
        check(&Outgoing::json(&map).expect_err("the same"), JsonErrorKind::Serialize);
    }
}
