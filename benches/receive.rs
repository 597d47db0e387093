//! The receiving path, as parts and as a whole: headers, unmasking, UTF-8, frames to messages.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fullduplex::{
    Config, Role,
    proto::{Backend, Header, MaskKey, Opcode, ReceivePath, Utf8Validator, Want},
};

const SIZES: [usize; 9] = [0, 16, 128, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 1 << 20];
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The size of a read, unless the reads are wide.
const READ: usize = 64 << 10;

fn header_parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("header_parse");
    for payload_len in [5, 1 << 10, 1 << 20] {
        let mut header = Header::new(Opcode::Text, payload_len);
        header.mask = Some(MaskKey::from(KEY));
        let bytes = header.encode();
        group.bench_function(BenchmarkId::from_parameter(payload_len), |b| {
            b.iter(|| Header::parse(black_box(&bytes)));
        });
    }
}

fn unmask(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask");
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
        for size in SIZES {
            let mut data = vec![0x55; size];
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(format!("{backend:?}"), size), |b| {
                b.iter(|| backend.apply(black_box(&mut data), MaskKey::from(KEY)));
            });
        }
    }
}

fn utf8(c: &mut Criterion) {
    let mut group = c.benchmark_group("utf8");
    for (name, pattern) in [("ascii", "a plain line of text. "), ("mixed", "grüezi, ça va? 你好 ")] {
        for size in SIZES {
            let text = text_of(pattern, size);
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| Utf8Validator::default().push(black_box(text.as_bytes())));
            });
        }
    }
}

/// Measures the conversion of masked frames to whole validated messages.
fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive");
    for (name, opcode, pattern) in [
        ("binary", Opcode::Binary, "\u{1}\u{2}\u{3}"),
        ("ascii", Opcode::Text, "a plain line of text. "),
        ("mixed", Opcode::Text, "grüezi, ça va? 你好 "),
    ] {
        for size in SIZES {
            let wire = frames_of(opcode, text_of(pattern, size).as_bytes());
            let frames = (wire.len() / frame_len(&wire)) as u64;
            group.throughput(Throughput::Elements(frames));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter_batched_ref(
                    || ReceivePath::new(Role::Server, &Config::new()),
                    |path| assert_eq!(drive(path, &wire), frames),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

/// Reads as a connection does: into one reused buffer, or directly into the buffer of a large
/// message.
fn drive(path: &mut ReceivePath, mut wire: &[u8]) -> u64 {
    thread_local! {
        static SCRATCH: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; READ]);
    }
    let mut messages = 0;
    SCRATCH.with_borrow_mut(|scratch| {
        while !wire.is_empty() {
            if let Want::Payload(mut room) = path.want() {
                let part = wire.len().min(bytes::BufMut::remaining_mut(&room));
                bytes::BufMut::put_slice(&mut room, &wire[..part]);
                wire = &wire[part..];
                messages += u64::from(path.payload_received().expect("valid").is_some());
                continue;
            }
            let (part, rest) = wire.split_at(wire.len().min(READ));
            scratch[..part.len()].copy_from_slice(part);
            let mut unread = &mut scratch[..part.len()];
            while !unread.is_empty() {
                let step = path.receive(unread).expect("valid");
                messages += u64::from(black_box(step.received).is_some());
                let consumed = step.consumed;
                unread = &mut unread[consumed..];
            }
            wire = rest;
        }
    });
    messages
}

/// Returns about 256 KiB of frames with this payload, at least one.
fn frames_of(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut header = Header::new(opcode, payload.len() as u64);
    header.mask = Some(MaskKey::from(KEY));
    let mut frame = header.encode().to_vec();
    let at = frame.len();
    frame.extend_from_slice(payload);
    MaskKey::from(KEY).apply(&mut frame[at..]);
    frame.repeat(((256 << 10) / frame.len()).max(1))
}

fn frame_len(wire: &[u8]) -> usize {
    let (header, len) = Header::parse(wire).expect("well-formed").expect("whole");
    len + header.payload_len as usize
}

/// Returns the pattern, repeated up to this many bytes, with a whole code point at the end.
fn text_of(pattern: &str, size: usize) -> String {
    let mut text = pattern.repeat(size / pattern.len() + 1);
    let end = (0..=size).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text + &"x".repeat(size - end)
}

criterion_group!(benches, header_parse, unmask, utf8, receive);
criterion_main!(benches);
