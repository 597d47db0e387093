//! Payloads of HTTP long polling: several packets in one body.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::packet::{InvalidPacket, Packet};

/// What separates the packets of a payload.
const SEPARATOR: char = '\u{1e}';

/// What binary data begins with.
const BINARY: char = 'b';

/// A packet in a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A packet that is text.
    Text(Packet<'a>),
    /// Binary data, decoded.
    Binary(Vec<u8>),
}

/// A body that is not a payload of Engine.IO.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPayload {
    /// One of the packets is not valid.
    #[error(transparent)]
    Packet(#[from] InvalidPacket),
    /// There are more packets than [`Settings::max_packets`](super::Settings::max_packets).
    #[error("too many packets")]
    TooMany,
    /// Binary data is not Base64, with its padding.
    #[error("binary data that is not Base64")]
    Base64,
}

/// Decodes a payload, packet by packet.
///
/// After an error, the rest has no meaning.
///
/// ```
/// use socketio::engine::{Packet, Piece, decode_payload};
///
/// let pieces: Result<Vec<_>, _> = decode_payload("4hello\u{1e}bAQID").collect();
/// assert_eq!(pieces, Ok(vec![Piece::Text(Packet::Message("hello")), Piece::Binary(vec![1, 2, 3])]));
/// ```
pub fn decode_payload(payload: &str) -> impl Iterator<Item = Result<Piece<'_>, InvalidPayload>> {
    payload.split(SEPARATOR).map(|piece| match piece.strip_prefix(BINARY) {
        Some(encoded) => STANDARD.decode(encoded).map(Piece::Binary).map_err(|_| InvalidPayload::Base64),
        None => Ok(Piece::Text(Packet::parse(piece)?)),
    })
}

/// A payload that is written packet by packet.
///
/// ```
/// use socketio::engine::PayloadWriter;
///
/// let mut payload = PayloadWriter::new();
/// payload.text("4hello");
/// payload.binary(&[1, 2, 3]);
/// assert_eq!(payload.into_string(), "4hello\u{1e}bAQID");
/// ```
#[derive(Debug, Clone, Default)]
pub struct PayloadWriter {
    payload: String,
}

impl PayloadWriter {
    /// Creates an empty payload.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a packet that is text, with its digit.
    pub fn text(&mut self, packet: &str) {
        self.separate();
        self.payload.push_str(packet);
    }

    /// Adds binary data.
    pub fn binary(&mut self, data: &[u8]) {
        self.separate();
        self.payload.push(BINARY);
        STANDARD.encode_string(data, &mut self.payload);
    }

    fn separate(&mut self) {
        // No packet is empty.
        if !self.payload.is_empty() {
            self.payload.push(SEPARATOR);
        }
    }

    /// Returns the length of the payload so far, in bytes.
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Returns whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// Returns the payload.
    pub fn into_string(self) -> String {
        self.payload
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(payload: &str) -> Result<Vec<Piece<'_>>, InvalidPayload> {
        decode_payload(payload).collect()
    }

    #[test]
    fn packets_are_separated_and_binary_data_is_base64() {
        let text = |text| Piece::Text(Packet::Message(text));
        assert_eq!(decode("4hello"), Ok(vec![text("hello")]));
        assert_eq!(
            decode("4hello\u{1e}2\u{1e}4world"),
            Ok(vec![text("hello"), Piece::Text(Packet::Ping("")), text("world")])
        );
        assert_eq!(decode("4hello\u{1e}bAQIDBA=="), Ok(vec![text("hello"), Piece::Binary(vec![1, 2, 3, 4])]));
        assert_eq!(decode("b"), Ok(vec![Piece::Binary(Vec::new())]));
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        let empty = || InvalidPayload::Packet(InvalidPacket::Empty);
        for (payload, error) in [
            ("", empty()),
            ("\u{1e}", empty()),
            ("4hello\u{1e}", empty()),
            ("\u{1e}4hello", empty()),
            ("4a\u{1e}\u{1e}4b", empty()),
            ("abc", InvalidPayload::Packet(InvalidPacket::UnknownType)),
            ("4a\u{1e}1b", InvalidPayload::Packet(InvalidPacket::UnexpectedData)),
            ("bAQIDBA", InvalidPayload::Base64),
            ("bAQIDBA===", InvalidPayload::Base64),
            ("bAQID BA==", InvalidPayload::Base64),
            ("bAQ-_", InvalidPayload::Base64),
            ("bAQIDBB==", InvalidPayload::Base64),
        ] {
            assert_eq!(decode(payload), Err(error), "{payload:?}");
        }
    }

    fn written() -> impl Strategy<Value = Vec<Result<String, Vec<u8>>>> {
        let one = prop_oneof![
            "[^\u{1e}]{0,20}".prop_map(|data| Ok(format!("4{data}"))),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(Err),
        ];
        proptest::collection::vec(one, 1..9)
    }

    proptest! {
        #[test]
        fn a_payload_is_decoded_as_it_was_written(packets in written()) {
            let mut writer = PayloadWriter::new();
            for packet in &packets {
                match packet {
                    Ok(text) => writer.text(text),
                    Err(data) => writer.binary(data),
                }
            }
            let payload = writer.into_string();
            let decoded = decode(&payload).expect("valid").into_iter().map(|piece| match piece {
                Piece::Text(packet) => Ok(packet.to_string()),
                Piece::Binary(data) => Err(data),
            });
            prop_assert_eq!(decoded.collect::<Vec<_>>(), packets);
        }

        #[test]
        fn any_text_is_decoded_or_refused(payload in "[0-7b\u{1e}A-D=]{0,30}|.{0,30}") {
            if let Ok(pieces) = decode(&payload) {
                let mut writer = PayloadWriter::new();
                for piece in &pieces {
                    match piece {
                        Piece::Text(packet) => writer.text(&packet.to_string()),
                        Piece::Binary(data) => writer.binary(data),
                    }
                }
                prop_assert_eq!(writer.into_string(), payload);
            }
        }
    }
}
