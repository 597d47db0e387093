//! The errors of calls and of handlers.

use std::{borrow::Cow, fmt};

use crate::{
    CloseCode, CloseFrame, JsonError,
    proto::{Escaped, MAX_CLOSE_REASON},
};

/// The longest text of an error that is sent or kept, in bytes.
pub(super) const MAX_TEXT: usize = 1024;
/// The longest name of a field that is sent or kept, in bytes.
const MAX_FIELD: usize = 256;

/// Why a call failed, or why a handler refuses an event.
///
/// A [call](super::Peer::call) returns it, and a handler returns it to be answered with. A handler
/// that returns the error of another call is answered with the text of that error.
///
/// Display escapes control characters of texts from the peer. It contains no payload data but the
/// text of a refusal and the names of fields.
///
/// ```
/// use fullduplex::calls::CallError;
///
/// fn may_be_tried_again(error: &CallError) -> bool {
///     matches!(error, CallError::Closed | CallError::Full)
/// }
/// assert_eq!(CallError::Refused("you are muted".into()).to_string(), "refused: you are muted");
/// # assert!(!may_be_tried_again(&CallError::Lost));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The answer did not arrive in time.
    ///
    /// The peer may have handled the call, or may still do so. A late answer is ignored.
    #[error("no answer in time")]
    Timeout,
    /// The connection is closing or has ended, or the client has. Nothing was sent.
    #[error("connection closed")]
    Closed,
    /// The connection was lost after it had accepted the call, and before the answer arrived.
    ///
    /// The peer may have handled the call.
    #[error("connection lost before the answer")]
    Lost,
    /// Too many calls wait for their answers, or the queue of a client that reconnects is full.
    /// Nothing was sent.
    #[error("too many calls or messages wait")]
    Full,
    /// The handler of the peer refused the call, with this text.
    ///
    /// At most 1024 bytes of the text are sent and kept.
    #[error("refused: {}", Escaped(.0))]
    Refused(String),
    /// The peer has no handler for the event.
    #[error("unknown event")]
    UnknownEvent,
    /// The data of the call, or the message itself, is not what the receiver of it expects.
    #[error("{0}")]
    InvalidData(InvalidData),
    /// The answer of the peer is not of the requested type, or not an answer.
    #[error("malformed answer: {0}")]
    MalformedAnswer(InvalidData),
    /// The caller's data, or the answer of the handler, cannot be serialized. Nothing was sent.
    #[error("cannot send: {0}")]
    Serialize(JsonError),
}

impl CallError {
    /// Creates a refusal with a text for the peer.
    ///
    /// ```
    /// use fullduplex::calls::CallError;
    ///
    /// fn check(text: &str) -> Result<(), CallError> {
    ///     if text.is_empty() { Err(CallError::refused("the message is empty")) } else { Ok(()) }
    /// }
    /// # assert!(check("").is_err());
    /// ```
    pub fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    /// Returns the text that is sent to the peer.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Refused(text) => truncated(text, MAX_TEXT).into(),
            Self::InvalidData(invalid) => (&*invalid.text).into(),
            other => other.to_string().into(),
        }
    }
}

impl From<JsonError> for CallError {
    fn from(error: JsonError) -> Self {
        Self::Serialize(error)
    }
}

impl From<InvalidData> for CallError {
    fn from(invalid: InvalidData) -> Self {
        Self::InvalidData(invalid)
    }
}

/// What is wrong with a message or its data.
///
/// ```
/// use fullduplex::calls::{CallError, InvalidData};
///
/// fn check(text: &str) -> Result<(), CallError> {
///     if text.chars().count() > 1000 {
///         return Err(InvalidData::new("data.text", "longer than 1,000 characters").into());
///     }
///     Ok(())
/// }
/// let error = check(&"x".repeat(1001)).expect_err("too long");
/// assert_eq!(error.to_string(), "field `data.text`: longer than 1,000 characters");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidData {
    field: Option<Box<str>>,
    text: Box<str>,
}

impl InvalidData {
    /// Creates an error about a field, by its path from the message on, such as `data.user.name`.
    ///
    /// At most 256 bytes of the path and 1024 bytes of the text are kept.
    pub fn new(field: &str, reason: impl fmt::Display) -> Self {
        Self::about(field, |field| format!("field `{field}`: {reason}"))
    }

    /// Creates an error about a field that is missing.
    pub(super) fn missing(field: &str) -> Self {
        Self::about(field, |field| format!("field `{field}` is missing"))
    }

    /// Creates an error about the message as a whole.
    pub(super) fn message(text: impl Into<Box<str>>) -> Self {
        Self { field: None, text: text.into() }
    }

    /// Creates the error that a peer has described.
    pub(super) fn described(field: Option<&str>, text: &str) -> Self {
        Self {
            field: field.map(|field| truncated(field, MAX_FIELD).into()),
            text: truncated(text, MAX_TEXT).into(),
        }
    }

    fn about(field: &str, text: impl FnOnce(&str) -> String) -> Self {
        let field = truncated(field, MAX_FIELD);
        Self { field: Some(field.into()), text: truncated(&text(field), MAX_TEXT).into() }
    }

    /// Returns the path of the field from the message on, such as `data.user.name`.
    ///
    /// Returns `None` if the message is wrong as a whole, such as one that is not JSON.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

impl fmt::Display for InvalidData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.text).fmt(f)
    }
}

impl std::error::Error for InvalidData {}

/// Why a connection is refused by a function of [`Router::on_connect`](super::Router::on_connect).
///
/// The peer receives the text as `{"ok":false,"error":"..."}`, and then a Close with the code and the
/// beginning of the text as its reason.
///
/// ```
/// use fullduplex::{CloseCode, calls::Refusal};
///
/// let refusal = Refusal::new(CloseCode::from(4003), "the room is closed");
/// # let _ = refusal;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub(super) text: String,
    pub(super) frame: CloseFrame,
}

impl Refusal {
    /// Creates a refusal with a close code and a text for the peer, of which 1024 bytes are sent.
    ///
    /// # Panics
    /// Panics if the code must not be sent: see [`CloseFrame::new`]. Applications use 4000 to 4999.
    #[track_caller]
    pub fn new(code: CloseCode, text: impl Into<String>) -> Self {
        let text = text.into();
        let reason = truncated(&text, MAX_CLOSE_REASON);
        let frame = CloseFrame::new(code, reason).expect("a close code that may be sent");
        Self { frame, text }
    }
}

/// Returns the beginning of a text, of at most `max` bytes.
pub(super) fn truncated(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_87_texts_and_fields_are_bounded_at_a_character() {
        let long = "ü".repeat(5000);
        assert_eq!(CallError::refused(long.clone()).text(), "ü".repeat(MAX_TEXT / 2));
        let invalid = InvalidData::new(&format!("a{long}"), &long);
        assert_eq!(invalid.field(), Some(&*format!("a{}", "ü".repeat(127))));
        assert!(invalid.text.len() <= MAX_TEXT && invalid.text.len() > MAX_TEXT - 2);
        let described = InvalidData::described(Some(&long), &long);
        assert_eq!((described.field.map(|field| field.len()), described.text.len()), (Some(256), 1024));
        let refusal = Refusal::new(CloseCode::from(4000), long);
        assert_eq!(refusal.frame.reason(), "ü".repeat(61));
    }

    #[test]
    fn texts_of_the_peer_are_escaped_in_display() {
        let hostile = "a\r\nb\u{1b}[2J\u{202e}";
        let escaped = r"a\r\nb\u{1b}[2J\u{202e}";
        assert_eq!(CallError::refused(hostile).to_string(), format!("refused: {escaped}"));
        let invalid = InvalidData::described(None, hostile);
        assert_eq!(CallError::InvalidData(invalid.clone()).to_string(), escaped);
        let error = CallError::MalformedAnswer(invalid);
        assert_eq!(error.to_string(), format!("malformed answer: {escaped}"));
        assert!(!format!("{error:?}").contains(|c: char| c.is_control() || c == '\u{202e}'));
    }

    #[test]
    fn the_text_for_the_peer_is_not_escaped_twice() {
        assert_eq!(CallError::refused("\"a\"\n").text(), "\"a\"\n");
        assert_eq!(CallError::Timeout.text(), "no answer in time");
    }

    #[test]
    #[should_panic = "a close code that may be sent"]
    fn a_code_that_must_not_be_sent_panics() {
        let _ = Refusal::new(CloseCode::NO_STATUS, "");
    }
}
