//! What a client connects with, and why it is refused.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    data::InvalidData,
    packet::{Kind, Packet, put_head},
};

/// The object that a client connects with: its option `auth`.
#[derive(Debug, Clone)]
pub struct Auth(Packet);

impl Auth {
    pub(crate) fn new(packet: Packet) -> Self {
        Self(packet)
    }

    /// Returns the same without the buffer in which it arrived.
    pub(crate) fn detached(&self) -> Self {
        Self(self.0.detached())
    }

    /// Parses the object. If the client sent none, it is empty.
    ///
    /// # Errors
    /// Fails if it has another type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, InvalidData> {
        Ok(serde_json::from_str(self.as_json())?)
    }

    /// Returns the object as JSON.
    pub fn as_json(&self) -> &str {
        match self.0.data() {
            "" => "{}",
            object => object,
        }
    }

    /// Returns the name of the namespace.
    pub fn namespace(&self) -> &str {
        self.0.namespace()
    }
}

/// Why a client may not connect to a namespace, which it receives as its event `connect_error`.
///
/// ```
/// use socketio::ConnectError;
///
/// let error = ConnectError::new("Not authorized").data(serde_json::json!({ "retry": false }));
/// # let _ = error;
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConnectError {
    message: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    data: Value,
}

impl ConnectError {
    /// Creates an error with a text for the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: Value::Null }
    }

    /// Sets more data for the client.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }

    /// Encodes the packet that refuses a client.
    pub(crate) fn encode(&self, namespace: &str) -> String {
        let mut text = Vec::new();
        put_head(&mut text, Kind::ConnectError, 0, namespace, None);
        serde_json::to_writer(&mut text, self).expect("text and JSON");
        String::from_utf8(text).expect("JSON is text")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_has_a_message_and_perhaps_data() {
        let error = ConnectError::new("no");
        assert_eq!(error.encode("/"), r#"44{"message":"no"}"#);
        let error = error.data(json!({"code": 1}));
        assert_eq!(error.encode("/a"), r#"44/a,{"message":"no","data":{"code":1}}"#);
    }
}
