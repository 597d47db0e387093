//! Any messages sent by one end, with the bytes divided in any way: the other end receives the same
//! messages in the same order.

#![no_main]

use arbitrary::Arbitrary;
use bytes::{Buf, Bytes};
use fullduplex::{
    CloseCode, CloseFrame, Config, Deflate, Message, MessageKind, Outgoing, PreparedMessage, Role,
    proto::{Batch, Buffers, MaskKey, ReceivePath, Received, SendPath},
};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/drive.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod drive;

use drive::{Outcome, drive_path};

#[derive(Debug, Arbitrary)]
struct Input {
    from_client: bool,
    key: [u8; 4],
    reads: [u16; 4],
    /// Whether messages are compressed, and how.
    deflate: Option<Compressed>,
    sent: Vec<Sent>,
    close: Option<(u16, String)>,
}

#[derive(Debug, Arbitrary)]
struct Compressed {
    takeover: bool,
    level: u8,
    memory_level: u8,
    window_bits: u8,
    threshold: u8,
    /// One for each message, repeated cyclically.
    choices: [Option<bool>; 4],
}

impl Compressed {
    fn settings(&self) -> Deflate {
        let bits = 8 + self.window_bits % 8;
        Deflate::new()
            .context_takeover(self.takeover)
            .level(self.level % 10)
            .memory_level(self.memory_level % 10)
            .threshold(self.threshold.into())
            .server_max_window_bits(bits)
            .client_max_window_bits(bits)
    }
}

#[derive(Debug, Arbitrary)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    /// Large enough to be written without being copied.
    Large(u8, u32),
    Prepared(Vec<u8>),
    /// Divided in the middle.
    InParts(String),
    /// Overtakes what is queued.
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Writes all that is queued.
    Flush,
}

fuzz_target!(|input: Input| {
    let (sender, receiver) =
        if input.from_client { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) };
    let config = Config::new();
    let key = MaskKey::from(input.key);
    let (mut path, mut buffers, mut batch) = (SendPath::new(sender, &config), Buffers::new(), Batch::new());
    let mut receive = ReceivePath::new(receiver, &config);
    if let Some(compressed) = &input.deflate {
        let settings = compressed.settings();
        path = path.with_deflate(settings, settings.into());
        receive = receive.with_deflate(settings.into());
    }
    let mut choices = input.deflate.map_or([None; 4], |compressed| compressed.choices).into_iter().cycle();
    let (mut wire, mut messages) = (Vec::new(), Vec::new());
    for sent in input.sent {
        let message = match sent {
            Sent::Text(text) => Message::text(text),
            Sent::Binary(data) => Message::binary(data),
            Sent::Large(byte, len) => Message::binary(vec![byte; len as usize % 100_000]),
            Sent::Prepared(data) => {
                let prepared = PreparedMessage::new(data.clone());
                path.send(prepared.into(), key, &mut buffers).expect("open");
                messages.push(Outcome::Message(data.into()));
                continue;
            }
            Sent::InParts(text) => {
                let (first, last) = text.as_bytes().split_at(text.len() / 2);
                path.begin_message(MessageKind::Text).expect("none is open");
                path.send_part(Bytes::copy_from_slice(first), false, key, &mut buffers).expect("text so far");
                path.send_part(Bytes::copy_from_slice(last), true, key, &mut buffers).expect("text");
                messages.push(Outcome::Message(text.into()));
                continue;
            }
            Sent::Ping(payload) => {
                assert_eq!(path.ping(&payload, key, &mut buffers).is_ok(), payload.len() <= 125);
                continue;
            }
            Sent::Pong(payload) => {
                let payload = &payload[..payload.len().min(125)];
                path.answer(&Received::Ping(payload), key, &mut buffers);
                continue;
            }
            Sent::Flush => {
                flush(&mut path, &mut batch, &mut buffers, &mut wire);
                continue;
            }
        };
        let mut outgoing = Outgoing::from(message.clone());
        if let Some(Some(choice)) = choices.next() {
            outgoing = outgoing.compress(choice);
        }
        path.send(outgoing, key, &mut buffers).expect("open");
        messages.push(Outcome::Message(message));
    }
    let close = input.close.and_then(|(code, reason)| CloseFrame::new(CloseCode::from(code), reason).ok());
    path.close(close.as_ref(), key, &mut buffers).expect("open");
    assert!(path.send("too late".into(), key, &mut buffers).is_err());
    messages.push(Outcome::Close(close));
    flush(&mut path, &mut batch, &mut buffers, &mut wire);
    assert_eq!(path.queued_bytes(), 0);

    let reads = input.reads.map(usize::from);
    let mut received = drive_path(receive, u64::MAX, &wire, &reads, &[false, true]);
    received.retain(|outcome| !matches!(outcome, Outcome::Ping(_) | Outcome::Pong(_)));
    assert_eq!(received, messages);
});

fn flush(path: &mut SendPath, batch: &mut Batch, buffers: &mut Buffers, wire: &mut Vec<u8>) {
    loop {
        path.stage(batch, buffers);
        if !batch.has_remaining() && !path.has_uncompressed() {
            return;
        }
        let written = batch.chunk().len().div_ceil(2);
        wire.extend_from_slice(&batch.chunk()[..written]);
        batch.advance(written);
    }
}
