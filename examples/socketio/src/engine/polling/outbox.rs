//! What was written for a client that polls: frames, as a server sends them over WebSocket.

use bytes::{Buf, Bytes, BytesMut};
use fullduplex::proto::{Header, Opcode};

use crate::engine::payload::PayloadWriter;

/// The size of a payload, in bytes, beyond which no further packet is added to it.
const ENOUGH: usize = 256 << 10;

/// How many bytes of a message beyond the capacity are written at a time.
const STEP: usize = 4 << 10;

/// Frames that were written and not fetched yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
    /// The end of the last complete frame. Each is a message, because nothing here begins a message in
    /// parts.
    whole: usize,
}

/// What a poll returns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) payload: String,
    /// Whether the last packet is the end of the session.
    pub(super) is_closed: bool,
}

impl Outbox {
    /// Adds bytes that were written, which may end inside a frame.
    pub(super) fn push(&mut self, written: &[u8]) {
        self.bytes.extend_from_slice(written);
        while let Some((header, header_len)) = parse(&self.bytes[self.whole..]) {
            let end = self.whole + header_len + payload_len(&header);
            if end > self.bytes.len() {
                return;
            }
            self.whole = end;
        }
    }

    /// Returns how many bytes may be written now. There is room until a message is complete, whatever
    /// its length, because only complete messages are fetched.
    pub(super) fn room(&self, capacity: usize) -> usize {
        let room = capacity.saturating_sub(self.bytes.len());
        if self.whole == 0 { room.max(STEP) } else { room }
    }

    /// Takes complete messages as the packets of a payload; `None` if there are none.
    pub(super) fn fetch(&mut self) -> Option<Fetched> {
        let (mut payload, mut is_closed) = (PayloadWriter::new(), false);
        while self.whole > 0 && payload.len() < ENOUGH && !is_closed {
            let (opcode, message) = self.take_message();
            match opcode {
                Opcode::Text => payload.text(&String::from_utf8_lossy(&message)),
                Opcode::Binary => payload.binary(&message),
                Opcode::Close => {
                    payload.text("1");
                    is_closed = true;
                }
                // Polling has no pings of WebSocket.
                _ => {}
            }
        }
        (!payload.is_empty()).then(|| Fetched { payload: payload.into_string(), is_closed })
    }

    /// Takes the first complete message.
    fn take_message(&mut self) -> (Opcode, Bytes) {
        let (header, header_len) = parse(&self.bytes).expect("a complete frame begins here");
        let payload_len = payload_len(&header);
        self.bytes.advance(header_len);
        self.whole -= header_len + payload_len;
        (header.opcode, self.bytes.split_to(payload_len).freeze())
    }

    /// Takes all that was not fetched, to be written to a WebSocket connection. It may end inside a
    /// frame, whose rest follows.
    pub(super) fn take_all(&mut self) -> Bytes {
        self.whole = 0;
        std::mem::take(&mut self.bytes).freeze()
    }
}

/// Parses a header that this server has written; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Option<(Header, usize)> {
    Header::parse(bytes).expect("frames of this server are valid")
}

fn payload_len(header: &Header) -> usize {
    usize::try_from(header.payload_len).expect("a message of this server is in memory")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        [&Header::new(opcode, payload.len() as u64).encode()[..], payload].concat()
    }

    fn fetched(outbox: &mut Outbox) -> Option<String> {
        outbox.fetch().map(|fetched| fetched.payload)
    }

    #[test]
    fn complete_messages_are_fetched_as_packets() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.fetch(), None);
        outbox.push(&frame(Opcode::Text, b"4a"));
        outbox.push(&frame(Opcode::Binary, &[1, 2, 3]));
        let second = frame(Opcode::Text, "4ü".repeat(100).as_bytes());
        outbox.push(&second[..100]);
        assert_eq!(fetched(&mut outbox).as_deref(), Some("4a\u{1e}bAQID"));
        assert_eq!(outbox.fetch(), None);
        outbox.push(&second[100..]);
        assert_eq!(fetched(&mut outbox), Some("4ü".repeat(100)));
        assert_eq!(outbox.fetch(), None);
    }

    #[test]
    fn a_close_is_the_last_packet() {
        let mut outbox = Outbox::default();
        outbox.push(&frame(Opcode::Text, b"4a"));
        outbox.push(&frame(Opcode::Close, &[3, 232]));
        let expected = Fetched { payload: "4a\u{1e}1".to_owned(), is_closed: true };
        assert_eq!(outbox.fetch(), Some(expected));
    }

    #[test]
    fn there_is_room_until_a_message_is_complete() {
        let mut outbox = Outbox::default();
        let message = frame(Opcode::Text, &[b'4'; 1000]);
        outbox.push(&message[..999]);
        assert_eq!((outbox.room(10), outbox.room(9999)), (STEP, 9000));
        outbox.push(&message[999..]);
        assert_eq!((outbox.room(10), outbox.room(9999)), (0, 9999 - message.len()));
    }

    #[test]
    fn a_payload_does_not_grow_without_limit() {
        let mut outbox = Outbox::default();
        let message = "4".repeat(ENOUGH / 2);
        for _ in 0..3 {
            outbox.push(&frame(Opcode::Text, message.as_bytes()));
        }
        assert_eq!(fetched(&mut outbox).map(|payload| payload.len()), Some(ENOUGH + 1));
        assert_eq!(fetched(&mut outbox), Some(message));
    }

    proptest! {
        #[test]
        fn the_packets_do_not_depend_on_how_they_were_written(
            lens in proptest::collection::vec(0..300_usize, 1..9),
            cuts in proptest::collection::vec(1..200_usize, 1..40),
        ) {
            let texts: Vec<String> = lens.iter().map(|len| format!("4{}", "x".repeat(*len))).collect();
            let bytes: Vec<u8> = texts.iter().flat_map(|text| frame(Opcode::Text, text.as_bytes())).collect();
            let (mut outbox, mut rest, mut payloads) = (Outbox::default(), &bytes[..], Vec::new());
            for cut in cuts.iter().cycle() {
                let (part, later) = rest.split_at((*cut).min(rest.len()));
                outbox.push(part);
                payloads.extend(outbox.fetch().map(|fetched| fetched.payload));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(payloads.join("\u{1e}"), texts.join("\u{1e}"));
        }
    }
}
