//! Compression against miniz_oxide, in both directions: it restores what this crate compresses, with
//! no more than the window that was agreed on, and this crate restores what it compresses. Of any
//! other data, both make the same of it.

#![no_main]

mod miniz_ends;

use arbitrary::Arbitrary;
use bytes::Buf;
use fullduplex::{
    Config, Deflate, Message, Outgoing, Role,
    proto::{Batch, Buffers, MaskKey, ReceivePath, SendPath},
};
use libfuzzer_sys::fuzz_target;
use miniz_ends::{Deflater, Inflater};

#[path = "../../tests/support/drive.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod drive;
#[path = "../../tests/support/frames.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod frames;

use drive::{Outcome, drive_path};
use frames::{Frame, continuation, frame};

/// The longest message, before it is compressed.
const LONGEST: usize = 1 << 16;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    direction: u8,
    takeover: bool,
    level: u8,
    window_bits: u8,
    strategy: u8,
    /// How messages are divided for miniz_oxide, and how their pieces end.
    flushes: [u8; 2],
    /// Where the second and the third message begin.
    starts: [u16; 2],
    /// How often each of them is repeated.
    repeat: [u8; 3],
    /// The length of the first fragment, and of the reads.
    fragment: u16,
    read: u16,
    data: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    match input.direction % 3 {
        0 => miniz_restores(&input),
        1 => this_crate_restores(&input),
        _ => both_make_the_same(&input),
    }
});

impl Input<'_> {
    /// Returns three messages.
    fn messages(&self) -> [Vec<u8>; 3] {
        let (first, rest) = self.data.split_at(self.data.len().min(self.starts[0].into()));
        let (second, third) = rest.split_at(rest.len().min(self.starts[1].into()));
        let mut repeat = self.repeat.iter();
        [first, second, third].map(|piece| {
            let times = 1 + repeat.next().copied().map_or(0, usize::from);
            let mut message = piece.repeat(times);
            message.truncate(LONGEST);
            message
        })
    }
}

fn miniz_restores(input: &Input<'_>) {
    // A server and a client have the same compressor.
    let bits = 8 + input.window_bits % 8;
    let settings = Deflate::new()
        .level(1 + input.level % 9)
        .memory_level(1 + input.strategy % 9)
        .context_takeover(input.takeover)
        .server_max_window_bits(bits)
        .threshold(0);
    let mut path = SendPath::new(Role::Server, &Config::new()).with_deflate(settings, settings.into());
    let (mut buffers, mut batch) = (Buffers::new(), Batch::new());
    let mut inflater = Inflater::new(1 << bits, 32);
    for message in input.messages() {
        let outgoing = Outgoing::from(Message::binary(message.clone())).compress(true);
        path.send(outgoing, MaskKey::default(), &mut buffers).expect("open");
        let mut wire = Vec::new();
        while path.queued_bytes() > 0 || batch.has_remaining() {
            path.stage(&mut batch, &mut buffers);
            wire.extend_from_slice(&batch.copy_to_bytes(batch.remaining()));
        }
        let sent = frames::parse(&wire);
        let payload: Vec<u8> = sent.iter().flat_map(|(_, payload)| payload).copied().collect();
        if sent[0].0 & 0x40 == 0 {
            assert!(payload == message, "not compressed");
            continue;
        }
        let restored = inflater.message(&payload, message.len() + 1);
        assert!(restored.as_ref() == Ok(&message), "{:?}", restored.map(|restored| restored.len()));
        if !input.takeover {
            inflater.forget();
        }
    }
}

fn this_crate_restores(input: &Input<'_>) {
    let mut deflater = Deflater::new(input.level, input.window_bits, input.strategy);
    let messages = input.messages();
    let payloads = messages.each_ref().map(|message| {
        let payload = deflater.message(message, input.flushes);
        if !input.takeover {
            deflater.forget();
        }
        payload
    });
    let (restored, is_valid) = receive(input, &payloads);
    assert!(is_valid, "{restored:?}");
    assert!(restored == messages);
}

/// The payload data of compressed messages is that of the input.
fn both_make_the_same(input: &Input<'_>) {
    let payloads = input.messages();
    let (own, is_valid) = receive(input, &payloads);
    let mut inflater = Inflater::new(1 << 15, 1 << 16);
    let mut own = own.into_iter();
    for payload in payloads {
        let message = inflater.message(&payload, LONGEST);
        match (own.next(), message) {
            (Some(own), message) => assert!(message.as_ref() == Ok(&own), "miniz_oxide: {message:?}"),
            (None, message) => {
                assert!(!is_valid && message.is_err(), "this crate has rejected it");
                return;
            }
        }
        if !input.takeover {
            inflater.forget();
        }
    }
}

/// Receives compressed messages with this crate; returns them up to the first that is invalid, and
/// whether all are valid.
fn receive(input: &Input<'_>, payloads: &[Vec<u8>]) -> (Vec<Vec<u8>>, bool) {
    let settings = Deflate::new().context_takeover(input.takeover);
    let config = Config::new().max_message_size(LONGEST).max_frame_size(usize::MAX).max_fragments(u32::MAX);
    let frames: Vec<_> = payloads.iter().flat_map(|payload| fragments(payload, input.fragment)).collect();
    let path = ReceivePath::new(Role::Client, &config).with_deflate(settings.into());
    let wire = frames::wire(&frames);
    let outcomes = drive_path(path, LONGEST as u64, &wire, &[input.read.into()], &[false]);
    let messages: Vec<_> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome {
            Outcome::Message(message) => Some(message.as_bytes().to_vec()),
            _ => None,
        })
        .collect();
    let is_valid = messages.len() == payloads.len();
    (messages, is_valid)
}

fn fragments(payload: &[u8], len: u16) -> [Frame; 2] {
    let (first, rest) = payload.split_at(payload.len().min(len.into()));
    [frame(2, first).rsv(4).more(), continuation(rest)]
}
