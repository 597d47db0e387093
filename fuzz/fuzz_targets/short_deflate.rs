//! A short message, compressed by itself at any level and for any window: two independent decoders
//! restore it, one of them with no more memory than the window.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Buf;
use fullduplex::{
    Config, Deflate, Message, Outgoing, PreparedMessage, Role,
    proto::{Batch, Buffers, MaskKey, SendPath},
};
use libfuzzer_sys::fuzz_target;
use miniz_oxide::{DataFormat, MZFlush, inflate::stream};
use zlib_rs::{Inflate, InflateFlush};

/// The longest message that is compressed by the encoder for short ones.
const LONGEST: usize = 4096;

/// What the sender removes (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    level: u8,
    window_bits: u8,
    prepared: bool,
    /// Messages of one connection, each a piece that is repeated.
    messages: [(u8, &'a [u8]); 2],
    last: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let window_bits = 8 + input.window_bits % 8;
    let settings = Deflate::new()
        .level(1 + input.level % 9)
        .server_max_window_bits(window_bits)
        .client_max_window_bits(window_bits);
    let mut sender = Sender::new(settings);
    for (times, piece) in input.messages.into_iter().chain([(0, input.last)]) {
        let mut message = piece.repeat(1 + usize::from(times));
        message.truncate(LONGEST);
        let payload = sender.payload(&message, input.prepared);
        assert!(payload.data.len() <= message.len());
        if payload.compressed {
            let data = [&payload.data[..], &TAIL].concat();
            assert!(within_window(&data, message.len(), window_bits) == message);
            assert!(by_miniz(&data, message.len()) == message);
        } else {
            assert!(payload.data == message);
        }
    }
});

/// Sends as a server does.
struct Sender {
    path: SendPath,
    buffers: Buffers,
    batch: Batch,
}

/// The payload data of a frame.
struct Payload {
    compressed: bool,
    data: Vec<u8>,
}

impl Sender {
    fn new(settings: Deflate) -> Self {
        let path = SendPath::new(Role::Server, &Config::new()).with_deflate(settings, settings.into());
        Self { path, buffers: Buffers::new(), batch: Batch::new() }
    }

    fn payload(&mut self, message: &[u8], prepared: bool) -> Payload {
        let message = Message::binary(message.to_vec());
        let outgoing = if prepared { PreparedMessage::new(message).into() } else { Outgoing::from(message) };
        self.path.send(outgoing.compress(true), MaskKey::default(), &mut self.buffers).expect("open");
        self.path.stage(&mut self.batch, &mut self.buffers);
        assert!(!self.path.has_uncompressed(), "a short message is compressed at once");
        let frame = self.batch.copy_to_bytes(self.batch.remaining());
        let header = if frame[1] == 126 { 4 } else { 2 };
        Payload { compressed: frame[0] & 0x40 != 0, data: frame[header..].to_vec() }
    }
}

/// Decompresses by zlib-rs. With room for one byte at a time, it can refer to its window only; a
/// message that is no longer needs no such proof.
fn within_window(data: &[u8], len: usize, window_bits: u8) -> Vec<u8> {
    let mut inflate = Inflate::new(false, window_bits);
    let mut message = vec![0; len + 1];
    let step = if len > 1 << window_bits { 1 } else { len + 1 };
    for room in message.chunks_mut(step) {
        let consumed = inflate.total_in() as usize;
        inflate.decompress(&data[consumed..], room, InflateFlush::NoFlush).expect("valid DEFLATE data");
    }
    assert_eq!((inflate.total_in(), inflate.total_out()), (data.len() as u64, len as u64));
    message.truncate(len);
    message
}

/// Decompresses by miniz_oxide.
fn by_miniz(data: &[u8], len: usize) -> Vec<u8> {
    let mut state = stream::InflateState::new_boxed(DataFormat::Raw);
    let mut message = vec![0; len + 1];
    let result = stream::inflate(&mut state, data, &mut message, MZFlush::Sync);
    result.status.expect("valid DEFLATE data");
    assert_eq!((result.bytes_consumed, result.bytes_written), (data.len(), len));
    message.truncate(len);
    message
}
