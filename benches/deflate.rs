//! permessage-deflate (RFC 7692): JSON messages are compressed by the sending path and inflated by
//! the receiving path.

#[path = "support/feed.rs"]
mod feed;

use std::hint::black_box;

use bytes::Buf;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fullduplex::{
    Config, Deflate, Message, Role,
    proto::{Batch, Buffers, MaskKey, ReceivePath, Received, SendPath},
};

use self::feed::Feed;

const SIZES: [usize; 3] = [100, 1 << 10, 64 << 10];
const LEVELS: [u8; 3] = [1, 6, 9];
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The total length of the messages of one benchmark, in bytes: more than a window, so that no
/// message refers to its previous transmission.
const VARIETY: usize = 128 << 10;

const MODES: [(&str, bool); 2] = [("no_takeover", false), ("takeover", true)];

fn compress(c: &mut Criterion) {
    let mut group = c.benchmark_group("compress");
    for (name, takeover) in MODES {
        for size in SIZES {
            let messages = messages(size);
            let mut sender = Sender::new(Role::Server, Deflate::new().context_takeover(takeover));
            let mut next = messages.iter().cycle();
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| sender.send(next.next().expect("endless")));
            });
        }
    }
}

fn compress_by_level(c: &mut Criterion) {
    let mut group = c.benchmark_group("compress_1_kib");
    let messages = messages(1 << 10);
    for level in LEVELS {
        let mut sender = Sender::new(Role::Server, Deflate::new().level(level));
        let mut next = messages.iter().cycle();
        group.throughput(Throughput::Bytes(1 << 10));
        group.bench_function(BenchmarkId::new("level", level), |b| {
            b.iter(|| sender.send(next.next().expect("endless")));
        });
    }
}

fn inflate(c: &mut Criterion) {
    let mut group = c.benchmark_group("inflate");
    for (name, takeover) in MODES {
        for size in SIZES {
            let deflate = Deflate::new().context_takeover(takeover);
            let (messages, mut sender) = (messages(size), Sender::new(Role::Client, deflate));
            let mut receiver = Receiver::new(deflate);
            for message in &messages {
                receiver.receive(&sender.frame(message));
            }
            // The second transmission refers only to data that stays in the window, so that it can
            // be received repeatedly.
            let frames: Vec<_> = messages.iter().map(|message| sender.frame(message)).collect();
            let mut next = frames.iter().cycle();
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| assert_eq!(receiver.receive(next.next().expect("endless")).len(), size));
            });
        }
    }
}

/// Sends as a connection does: messages are queued, staged and written.
struct Sender {
    path: SendPath,
    buffers: Buffers,
    batch: Batch,
}

impl Sender {
    fn new(role: Role, deflate: Deflate) -> Self {
        let path = SendPath::new(role, &Config::new()).with_deflate(deflate, deflate.into());
        Self { path, buffers: Buffers::new(), batch: Batch::new() }
    }

    fn send(&mut self, message: &Message) {
        self.stage(message);
        black_box(self.batch.chunk());
        self.batch.advance(self.batch.remaining());
    }

    fn stage(&mut self, message: &Message) {
        self.path.send(message.clone().into(), MaskKey::from(KEY), &mut self.buffers).expect("open");
        while self.path.queued_bytes() > 0 {
            self.path.stage(&mut self.batch, &mut self.buffers);
        }
    }

    fn frame(&mut self, message: &Message) -> Vec<u8> {
        self.stage(message);
        self.batch.copy_to_bytes(self.batch.remaining()).into()
    }
}

/// Receives as a connection does: frames are read into one reused buffer, received and inflated.
struct Receiver {
    path: ReceivePath,
    buffers: Buffers,
    scratch: Vec<u8>,
}

impl Receiver {
    fn new(deflate: Deflate) -> Self {
        let path = ReceivePath::new(Role::Server, &Config::new()).with_deflate(deflate.into());
        Self { path, buffers: Buffers::new(), scratch: Vec::new() }
    }

    fn receive(&mut self, frame: &[u8]) -> Message {
        self.scratch.clear();
        self.scratch.extend_from_slice(frame);
        let mut unread = &mut self.scratch[..];
        loop {
            if self.path.has_compressed() {
                if let Some(Received::Message(message)) = self.path.inflate(&mut self.buffers).expect("valid")
                {
                    return message;
                }
                continue;
            }
            let step = self.path.receive(unread).expect("valid");
            assert!(step.received.is_none(), "not compressed");
            let consumed = step.consumed;
            unread = &mut unread[consumed..];
        }
    }
}

fn messages(size: usize) -> Vec<Message> {
    let mut feed = Feed::new();
    (0..(VARIETY / size).max(2)).map(|_| Message::from(feed.message(size))).collect()
}

criterion_group!(benches, compress, compress_by_level, inflate);
criterion_main!(benches);
