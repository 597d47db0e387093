//! What one end sends, the other receives: the same messages, in their order, whatever they are and however the bytes are
//! cut.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Buf;
use fullduplex::{
    CloseCode, CloseFrame, Config, Message, Role,
    proto::{Batch, Lent, MaskKey, Received, SendPath},
};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/drive.rs"]
mod drive;

use drive::{Outcome, drive};

#[derive(Debug, Arbitrary)]
struct Input {
    from_client: bool,
    key: [u8; 4],
    reads: [u16; 4],
    sent: Vec<Sent>,
    close: Option<(u16, String)>,
}

#[derive(Debug, Arbitrary)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    /// Large enough to go out uncopied.
    Large(u8, u32),
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
    let (mut path, mut lent, mut batch) = (SendPath::new(sender, &config), Lent::new(), Batch::new());
    let (mut wire, mut messages) = (Vec::new(), Vec::new());
    for sent in input.sent {
        let message = match sent {
            Sent::Text(text) => Message::text(text),
            Sent::Binary(data) => Message::binary(data),
            Sent::Large(byte, len) => Message::binary(vec![byte; len as usize % 100_000]),
            Sent::Ping(payload) => {
                assert_eq!(path.ping(&payload, key, &mut lent).is_ok(), payload.len() <= 125);
                continue;
            }
            Sent::Pong(payload) => {
                let payload = &payload[..payload.len().min(125)];
                path.answer(&Received::Ping(payload), key, &mut lent);
                continue;
            }
            Sent::Flush => {
                flush(&mut path, &mut batch, &mut lent, &mut wire);
                continue;
            }
        };
        path.send(message.clone().into(), key, &mut lent).expect("open");
        messages.push(Outcome::Message(message));
    }
    let close = input.close.and_then(|(code, reason)| CloseFrame::new(CloseCode::from(code), reason).ok());
    path.close(close.as_ref(), key, &mut lent).expect("open");
    assert!(path.send("too late".into(), key, &mut lent).is_err());
    messages.push(Outcome::Close(close));
    flush(&mut path, &mut batch, &mut lent, &mut wire);
    assert_eq!(path.queued(), 0);

    let mut received = drive(receiver, &config, &wire, &input.reads.map(usize::from));
    received.retain(|outcome| !matches!(outcome, Outcome::Ping(_) | Outcome::Pong(_)));
    assert_eq!(received, messages);
});

fn flush(path: &mut SendPath, batch: &mut Batch, lent: &mut Lent, wire: &mut Vec<u8>) {
    loop {
        path.stage(batch, lent);
        if !batch.has_remaining() {
            return;
        }
        let written = batch.chunk().len().div_ceil(2);
        wire.extend_from_slice(&batch.chunk()[..written]);
        batch.advance(written);
    }
}
