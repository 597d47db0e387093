//! Data of events and answers in what nodes send to each other.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::data::{Arguments, Arrived, FromAnswer, InvalidData, encode_arguments};

/// The data of an event or of an answer: a JSON array, and its attachments.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Payload {
    pub(super) json: String,
    attachments: Vec<Blob>,
}

impl Payload {
    pub(super) fn new(json: String, attachments: Vec<Bytes>) -> Self {
        Self { json, attachments: attachments.into_iter().map(Blob).collect() }
    }

    /// Encodes arguments.
    pub(super) fn encode(arguments: &(impl Arguments + ?Sized)) -> Result<Self, serde_json::Error> {
        let (json, attachments) = encode_arguments(arguments)?;
        Ok(Self::new(json, attachments))
    }

    /// Parses data without the name of an event.
    pub(super) fn parse<R: FromAnswer>(&self) -> Result<R, InvalidData> {
        let attachments = self.attachments();
        R::from_arrived(Arrived { json: &self.json, has_name: false, attachments: &attachments })
    }

    pub(super) fn attachments(&self) -> Vec<Bytes> {
        self.attachments.iter().map(|blob| blob.0.clone()).collect()
    }
}

/// Redacted: prints only the length.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("len", &self.json.len())
            .field("attachments", &self.attachments.len())
            .finish()
    }
}

/// Binary data, as base64 in JSON.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Blob(Bytes);

impl TryFrom<String> for Blob {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ok(Self(STANDARD.decode(text)?.into()))
    }
}

impl From<Blob> for String {
    fn from(blob: Blob) -> Self {
        STANDARD.encode(blob.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Args, Binary};

    #[test]
    fn data_is_the_same_on_another_node() {
        let sent = Payload::encode(&Args((1, Binary::from("x\0"), "z"))).expect("serializes");
        let json = serde_json::to_string(&sent).expect("serializes");
        let received: Payload = serde_json::from_str(&json).expect("parses");
        let Args(data): Args<(i32, Binary, String)> = received.parse().expect("the type");
        assert_eq!(data, (1, Binary::from("x\0"), "z".to_owned()));
        assert!(received.parse::<Args<(i32,)>>().is_ok() && received.parse::<Args<(bool,)>>().is_err());
        assert!(serde_json::from_str::<Payload>(r#"{"json":"[]","attachments":["?"]}"#).is_err());
        assert_eq!(format!("{received:?}"), "Payload { len: 37, attachments: 1 }");
    }
}
