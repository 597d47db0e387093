//! Any frames or bytes, divided into reads in any way, in both roles: this crate receives what the
//! RFC says, and so do tungstenite and tokio-websockets, but for the differences that
//! `fuzz/README.md` lists with the sentences of the RFC. The messages are the same, and so is whether
//! the bytes are accepted; a code that the connection is failed with is that of a fault of the frame.

#![no_main]

mod other_decoders;
mod reference;
mod wire;

use fullduplex::{Config, Message, Role};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/drive.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod drive;
#[path = "../../tests/support/frames.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod frames;

use drive::{Outcome, drive};
use fullduplex::proto::ProtocolError;
use reference::{Differences, End, Event, Received, read};
use wire::{LIMIT, Wire};

const NONE: Differences =
    Differences { long_lengths: false, replaced_codes: false, unfinished_text: false, late: false };

const TUNGSTENITE: Differences = Differences { long_lengths: true, replaced_codes: true, late: true, ..NONE };

const TOKIO_WEBSOCKETS: Differences = Differences { unfinished_text: true, late: true, ..NONE };

fuzz_target!(|input: &[u8]| {
    let Some(wire) = Wire::of(input) else { return };
    for server in [false, true] {
        let expected = |differences| read(server, LIMIT, &wire.bytes, differences);
        expected(NONE).check("this crate", &received(server, &wire));
        expected(TUNGSTENITE).check("tungstenite", &other_decoders::tungstenite(server, &wire));
        expected(TOKIO_WEBSOCKETS)
            .check("tokio-websockets", &other_decoders::tokio_websockets(server, &wire));
    }
});

/// Receives with this crate.
fn received(server: bool, wire: &Wire) -> Received {
    let role = if server { Role::Server } else { Role::Client };
    let config = Config::new().max_message_size(LIMIT).max_frame_size(LIMIT).max_fragments(u32::MAX);
    let mut outcomes = drive(role, &config, &wire.bytes, &wire.reads);
    let end = match outcomes.last() {
        Some(Outcome::Close(_)) => End::Closed,
        Some(Outcome::Error(ProtocolError::EofWithoutClose)) => End::Eof,
        Some(Outcome::Error(error)) => End::Failed(error.close_code().get()),
        other => panic!("{other:?} at the end"),
    };
    if end != End::Closed {
        outcomes.pop();
    }
    Received { events: outcomes.into_iter().map(event).collect(), end }
}

fn event(outcome: Outcome) -> Event {
    match outcome {
        Outcome::Message(Message::Text(text)) => Event::Text(text.as_bytes().to_vec()),
        Outcome::Message(Message::Binary(data)) => Event::Binary(data.into()),
        Outcome::Ping(payload) => Event::Ping(payload),
        Outcome::Pong(payload) => Event::Pong(payload),
        Outcome::Close(frame) => {
            Event::Close(frame.map(|frame| (frame.code().get(), frame.reason().as_bytes().to_vec())))
        }
        Outcome::Error(error) => panic!("{error:?} before the end"),
    }
}
