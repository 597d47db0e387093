//! Why an event is refused, and how its client learns it.
//!
//! The acknowledgement is then `{"error":{"message":...,"data":...}}`, as `socketio` itself answers events
//! that are refused before their handler. Whether the client waits for it or not, it receives `chat:error`.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use socketio::{EmitError, Refused, Socket};

/// The length of a reason or of the name of a field, at most, in characters.
const MAX: usize = 120;

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A word for programs.
    pub code: &'static str,
    /// The field that is wrong.
    pub field: Option<String>,
    /// A text for people.
    pub reason: String,
    /// When it may be sent again.
    pub wait: Option<Duration>,
}

impl Refusal {
    /// Creates a refusal with a word for programs and a text for people.
    pub fn new(code: &'static str, reason: impl ToString) -> Self {
        Self { code, field: None, reason: reason.to_string(), wait: None }
    }

    /// Names the field that is wrong.
    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Creates the refusal of an event that is only for who has joined.
    pub fn not_joined() -> Self {
        Self::new("not-joined", "join the class first")
    }

    /// Creates the refusal of a failure of the server.
    pub fn unavailable(error: &EmitError) -> Self {
        tracing::error!(%error, "an event was not sent");
        Self::new("unavailable", "the server cannot do this now")
    }

    /// Returns it for an event, as `chat:error` has it.
    pub fn to_json(&self, event: &str) -> Value {
        let wait = self.wait.map(|wait| wait.as_millis());
        let mut data = json!({"event": event, "code": self.code, "reason": self.reason});
        if let Some(field) = &self.field {
            data["field"] = json!(field);
        }
        if let Some(wait) = wait {
            data["wait"] = json!(wait);
        }
        data
    }

    /// Returns it as the refusal of `socketio`.
    pub fn to_refused(&self, event: &str) -> Refused {
        Refused::new(&*self.reason).data(self.to_json(event))
    }
}

/// What a handler answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Reply<T> {
    /// What the client asked for.
    Done(T),
    /// Why not.
    Refused {
        /// The message and the data.
        error: Refused,
    },
}

impl<T> Reply<T> {
    /// Creates the answer to an event. If it is refused, the client receives `chat:error` too.
    pub fn new(socket: &Socket, event: &str, result: Result<T, Refusal>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(refusal) => {
                tell(socket, event, &refusal);
                Self::Refused { error: refusal.to_refused(event) }
            }
        }
    }
}

/// Sends `chat:error`, unless the client is too slow to take it.
pub fn tell(socket: &Socket, event: &str, refusal: &Refusal) {
    match socket.emit_volatile("chat:error", &refusal.to_json(event)) {
        // Whether there is room or not: nobody waits for it.
        Ok(_) | Err(EmitError::Disconnected) => {}
        Err(error) => tracing::error!(%error, "an error was not sent"),
    }
}

/// Parses the data of an event.
///
/// # Errors
/// The refusal names the field, and quotes no value.
pub fn parse<T: DeserializeOwned>(data: Value) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(data).map_err(|error| {
        let reason = error.inner().to_string();
        let field = match reason.strip_prefix("missing field `") {
            Some(name) => name.trim_end_matches('`').to_owned(),
            None => error.path().to_string(),
        };
        // What precedes it quotes the value.
        let reason = match reason.rsplit_once(", expected ") {
            Some((_, expected)) => format!("expected {expected}"),
            None => reason,
        };
        let cut = |text: &str| text.chars().take(MAX).collect::<String>();
        let field = if field == "." { "data".to_owned() } else { cut(&field) };
        Refusal::new("data", cut(&reason)).field(&field)
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::values::{ClientId, Text};

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "it is parsed")]
    struct Post {
        client_id: ClientId,
        text: Text,
    }

    #[test]
    fn the_field_that_is_wrong_is_named_and_no_value_is_quoted() {
        for (data, field, reason) in [
            (json!({"text": "a"}), "client_id", "missing field `client_id`"),
            (json!({"client_id": "1", "text": 12345}), "text", "expected a string"),
            (
                json!({"client_id": "1", "text": "a".repeat(1001)}),
                "text",
                "it is longer than 1000 characters",
            ),
            (json!({"client_id": "a b", "text": "a"}), "client_id", "it has other characters"),
            (json!("secret"), "data", "expected struct Post"),
            (Value::Null, "data", "expected struct Post"),
        ] {
            let refusal = parse::<Post>(data.clone()).expect_err("refused");
            assert_eq!(refusal.field.as_deref(), Some(field), "{data}");
            assert!(refusal.reason.starts_with(reason), "{data}: {}", refusal.reason);
        }
    }

    #[test]
    fn the_event_the_field_and_the_time_are_in_the_data() {
        let refusal = Refusal::new("data", "no").field("text");
        let expected = json!({"event": "a", "code": "data", "reason": "no", "field": "text"});
        assert_eq!(refusal.to_json("a"), expected);
        let refusal = Refusal { wait: Some(Duration::from_millis(70)), ..Refusal::new("rate", "no") };
        assert_eq!(refusal.to_json("a"), json!({"event": "a", "code": "rate", "reason": "no", "wait": 70}));
    }
}
