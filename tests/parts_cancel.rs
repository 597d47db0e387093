//! Row 52 of `HOSTILE.md`: a future that reads or writes a message in parts, and is dropped at any
//! await, loses, corrupts and duplicates nothing.
//!
//! Each future is polled n times and dropped, for every n up to the number at which it completes.

mod support;

use std::{future::Future, pin::pin};

use fullduplex::{
    Config, Message, MessageKind, MessageReader, Receiver,
    Role::{self, Client, Server},
    Sender, WebSocket,
};
use support::{
    finished,
    frames::{self, Frame, binary, close, continuation, frame, ping, pong, text},
    offence::wire_to,
    polled,
    script::{self, Script, Scripted},
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

const ANY: u64 = u64::MAX;

/// No keep-alive; `max_write_buffer_size` is so small that a part waits for an almost empty queue.
fn narrow() -> Config {
    Config::new().ping_interval(None).max_write_buffer_size(16)
}

/// How the stream delays writes.
#[derive(Debug, Clone, Copy)]
enum Writes {
    /// Accepts one byte per poll.
    Drip,
    /// Accepts everything at once, but every other call is pending.
    Stutter,
    /// Accepts one byte per call, and every other call is pending.
    DripAndStutter,
}

const WRITES: [Writes; 3] = [Writes::Drip, Writes::Stutter, Writes::DripAndStutter];

impl Writes {
    fn set_up(self, script: &Script) {
        match self {
            Self::Drip => script.allow_writes(0),
            Self::Stutter => script.stutter(),
            Self::DripAndStutter => {
                script.write_at_most(1);
                script.stutter();
            }
        }
    }

    /// Prepares the stream for the next poll.
    fn step(self, script: &Script) {
        if matches!(self, Self::Drip) {
            script.allow_writes(1);
        }
    }
}

/// Runs a case for both roles, each way of writing and each number of polls, until `case` reports
/// that the future completed.
fn at_every_await(case: impl Fn(Role, Writes, usize) -> bool) {
    for role in [Server, Client] {
        for writes in WRITES {
            let mut times = 0;
            while !case(role, writes, times) {
                times += 1;
                assert!(times < 1000, "{role:?} {writes:?}: the future never completes");
            }
            assert!(times > 1, "{role:?} {writes:?}: the future never waits");
        }
    }
}

/// Opens a connection that has one message queued.
fn with_a_message_queued(role: Role, writes: Writes) -> (WebSocket<Scripted>, Script) {
    let (mut ws, script) = script::open(role, &narrow());
    finished(ws.feed("the first one")).expect("the queue is empty");
    writes.set_up(&script);
    (ws, script)
}

/// Opens a split connection that has one message queued.
fn halves_with_a_message_queued(role: Role, writes: Writes) -> (Receiver<Scripted>, Sender, Script) {
    let (ws, script) = with_a_message_queued(role, writes);
    let (receiver, sender) = ws.split();
    (receiver, sender, script)
}

/// Returns the first bytes and payloads of these frames.
fn parsed(frames: &[Frame]) -> Vec<(u8, Vec<u8>)> {
    frames::parse(&frames::wire(frames))
}

// --- reading

/// Returns messages of every kind, with control frames between their fragments.
fn all_frames() -> Vec<Frame> {
    vec![
        text("one"),
        frame(1, "tw").more(),
        ping("1"),
        continuation("").more(),
        continuation(b"o \xE2\x82").more(),
        continuation(b"\xAC"),
        binary(""),
        frame(2, "").more(),
        continuation(""),
        binary(vec![7; 300]),
        frame(2, [8; 40_000]).more(),
        ping([b'x'; 125]),
        continuation(vec![9; 40_000]),
        text("last"),
        close(1000, "bye"),
    ]
}

/// Returns the messages that are received from [`all_frames`].
fn all_messages() -> Vec<Message> {
    vec![
        "one".into(),
        "two \u{20ac}".into(),
        Message::binary(""),
        Message::binary(""),
        Message::binary(vec![7; 300]),
        Message::binary([vec![8; 40_000], vec![9; 40_000]].concat()),
        "last".into(),
    ]
}

/// The method by which a reader is read.
#[derive(Debug, Clone, Copy)]
enum By {
    Parts,
    Reads(usize),
    Buffers,
}

/// Reads a whole message with futures that are dropped after this many polls.
macro_rules! read_whole {
    ($reader:expr, $by:expr, $times:expr, $step:expr) => {{
        let (mut reader, mut read): (MessageReader<_>, Vec<u8>) = ($reader, Vec::new());
        loop {
            match $by {
                By::Parts => match polled(reader.recv_part(), $times, $step) {
                    None => {}
                    Some(part) => match part.expect("valid") {
                        Some(part) => read.extend_from_slice(&part),
                        None => break,
                    },
                },
                By::Reads(len) => {
                    let mut buffer = vec![0; len];
                    match polled(reader.read(&mut buffer), $times, $step) {
                        None => {}
                        Some(len) => match len.expect("valid") {
                            0 => break,
                            len => read.extend_from_slice(&buffer[..len]),
                        },
                    }
                }
                By::Buffers => match polled(reader.fill_buf(), $times, $step) {
                    None => {}
                    Some(part) => {
                        let part = part.expect("valid");
                        if part.is_empty() {
                            break;
                        }
                        read.extend_from_slice(&part[..part.len().div_ceil(2)]);
                        let len = part.len().div_ceil(2);
                        reader.consume(len);
                    }
                },
            }
        }
        match reader.kind() {
            MessageKind::Text => Message::text(String::from_utf8(read).expect("valid UTF-8")),
            MessageKind::Binary => Message::binary(read),
        }
    }};
}

/// Reads all messages with futures that are dropped after this many polls.
macro_rules! read_all {
    ($from:expr, $by:expr, $times:expr, $step:expr) => {{
        let mut messages = Vec::new();
        loop {
            match polled($from.reader(ANY), $times, $step) {
                None => {}
                Some(Ok(Some(reader))) => messages.push(read_whole!(reader, $by, $times, $step)),
                Some(Ok(None)) => break messages,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }};
}

#[tokio::test]
async fn reader_and_read_futures_dropped_at_every_await_lose_and_duplicate_nothing() {
    let pongs = [pong("1"), pong([b'x'; 125]), close(1000, "bye")];
    for role in [Server, Client] {
        for (len, times) in [(1, 7), (3, 1), (13, 2), (500, 1), (33_000, 1), (100_000, 1)] {
            for by in [By::Parts, By::Reads(7), By::Buffers] {
                for split in [false, true] {
                    // Reads of few bytes are slow, and roles and halves do not differ here.
                    if len < 10 && (role == Client) != split {
                        continue;
                    }
                    let (ws, script) = script::open(role, &narrow());
                    script.stutter();
                    for chunk in wire_to(role, &all_frames()).chunks(len) {
                        script.bring(chunk);
                        script.pause();
                    }
                    script.end();
                    let messages = if split {
                        let (mut receiver, _sender) = ws.split();
                        read_all!(receiver, by, times, || {})
                    } else {
                        let mut ws = ws;
                        read_all!(ws, by, times, || {})
                    };
                    let case = format!("{role:?} {len} {times} {by:?} split: {split}");
                    assert!(messages == all_messages(), "{case}");
                    assert_eq!(frames::parse(&script.written()), parsed(&pongs), "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_next_message_is_complete_wherever_a_reader_is_dropped() {
    let frames = [
        frame(2, [8; 300]).more(),
        ping("?"),
        continuation("").more(),
        continuation([9; 40_000]),
        text("next"),
    ];
    for (len, by) in [(1, By::Parts), (100, By::Reads(7)), (1000, By::Parts), (50_000, By::Reads(100))] {
        for polls in (0..20).chain([50, 100, 300, 1000, 40_500]) {
            let (mut ws, script) = script::server();
            for chunk in wire_to(Server, &frames).chunks(len) {
                script.bring(chunk);
                script.pause();
            }
            let mut reader = finished(ws.reader(ANY)).expect("valid").expect("a message");
            for _ in 0..polls {
                let mut buffer = [0; 7];
                let ended = match by {
                    By::Parts => matches!(polled(reader.recv_part(), 1, || {}), Some(Ok(None))),
                    _ => matches!(polled(reader.read(&mut buffer), 1, || {}), Some(Ok(0))),
                };
                if ended {
                    break;
                }
            }
            drop(reader);
            // Futures that skip the rest of the message are dropped, too.
            let next = loop {
                if let Some(next) = polled(ws.recv(), 1, || {}) {
                    break next;
                }
                if let Some(reader) = polled(ws.reader(ANY), 1, || {}) {
                    let reader = reader.expect("valid").expect("a message");
                    break Ok(Some(read_whole!(reader, By::Parts, 1, || {})));
                }
            };
            assert_eq!(next.expect("valid"), Some(Message::from("next")), "{len} {by:?} {polls}");
            finished(ws.flush()).expect("open");
            assert_eq!(script.written(), pong("?").build());
        }
    }
}

#[tokio::test]
async fn try_send_writes_at_once_if_a_recv_part_future_was_dropped() {
    let (ws, script) = script::server();
    let (mut receiver, sender) = ws.split();
    script.bring(frame(2, "part").more().masked().build());
    let mut reader = finished(receiver.reader(ANY)).expect("valid").expect("a message");
    assert!(finished(reader.recv_part()).expect("valid").is_some());
    assert!(polled(reader.recv_part(), 1, || {}).is_none(), "the rest has not arrived");
    sender.try_send("nobody waits").expect("room");
    assert_eq!(script.written(), text("nobody waits").build());
    drop(reader);
}

// --- writing

/// Lets the stream accept everything, sends another message, and returns the frames that were
/// written before it.
fn drain(mut ws: WebSocket<Scripted>, script: &Script) -> Vec<(u8, Vec<u8>)> {
    script.allow_writes(None);
    finished(ws.send("the last one")).expect("open");
    let mut frames = frames::parse(&script.written());
    assert_eq!(frames.pop(), Some((0x81, b"the last one".to_vec())));
    frames
}

/// Asserts that the whole write buffer becomes free, and continues like [`drain`].
fn drain_halves(receiver: Receiver<Scripted>, sender: Sender, script: &Script) -> Vec<(u8, Vec<u8>)> {
    script.allow_writes(None);
    drop(finished(sender.reserve(1000)).expect("room"));
    drain(receiver.reunite(sender).expect("the only sender"), script)
}

#[tokio::test]
async fn dropped_feed_part_has_queued_nothing_and_completed_feed_part_has_queued_its_part() {
    for split in [false, true] {
        at_every_await(|role, writes, times| {
            let first = text("the first one");
            let (done, frames) = if split {
                let (receiver, sender, script) = halves_with_a_message_queued(role, writes);
                let mut writer = finished(poll_with_steps(sender.writer(MessageKind::Text), writes, &script))
                    .expect("the stream accepts everything");
                finished(writer.write(b"a")).expect("room");
                finished(poll_with_steps(writer.feed_part("more than there is room for"), writes, &script))
                    .expect("open");
                let done = polled(writer.feed_part("a part"), times, || writes.step(&script));
                finished(poll_with_steps(writer.finish(), writes, &script)).expect("open");
                (done, drain_halves(receiver, sender, &script))
            } else {
                let (mut ws, script) = with_a_message_queued(role, writes);
                let mut writer = ws.writer(MessageKind::Text).expect("open");
                finished(writer.write(b"a")).expect("room");
                finished(poll_with_steps(writer.feed_part("more than there is room for"), writes, &script))
                    .expect("open");
                let done = polled(writer.feed_part("a part"), times, || writes.step(&script));
                finished(poll_with_steps(writer.finish(), writes, &script)).expect("open");
                (done, drain(ws, &script))
            };
            let mut expected =
                vec![first, frame(1, "a").more(), continuation("more than there is room for").more()];
            if let Some(result) = &done {
                result.as_ref().expect("open");
                expected.push(continuation("a part").more());
            }
            expected.push(continuation(""));
            assert_eq!(frames, parsed(&expected), "{role:?} {writes:?} {times}");
            done.is_some()
        });
    }
}

/// Polls a future until it completes, and lets the stream accept more before each poll.
async fn poll_with_steps<F: Future>(future: F, writes: Writes, script: &Script) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        writes.step(script);
        future.as_mut().poll(cx)
    })
    .await
}

#[tokio::test]
async fn dropped_write_and_flush_lose_and_duplicate_nothing() {
    let full = vec![7; 64 << 10];
    for flushes in [true, false] {
        for len in [3, 64 << 10] {
            at_every_await_or_at_once(if flushes { &WRITES } else { &WRITES[..2] }, |role, writes, times| {
                let (mut ws, script) = with_a_message_queued(role, writes);
                let mut writer = ws.writer(MessageKind::Binary).expect("open");
                finished(writer.write_all(&full[..len])).expect("it is buffered");
                let done = if flushes {
                    polled(writer.flush(), times, || writes.step(&script)).map(|result| {
                        result.expect("open");
                        0
                    })
                } else if len == full.len() {
                    polled(writer.write(b"next"), times, || writes.step(&script))
                        .map(|written| written.expect("open"))
                } else {
                    Some(0)
                };
                script.allow_writes(None);
                script.write_at_most(usize::MAX);
                finished(writer.write_all(&b"next"[done.unwrap_or(0)..])).expect("open");
                finished(writer.finish()).expect("open");
                let frames = drain(ws, &script);
                assert_eq!(frames[0], parsed(&[text("the first one")])[0]);
                let sent: Vec<u8> = frames[1..].iter().flat_map(|(_, payload)| payload.clone()).collect();
                assert!(sent == [&full[..len], b"next"].concat(), "{role:?} {writes:?} {times}");
                let firsts: Vec<_> = frames[1..].iter().map(|(first, _)| *first).collect();
                assert!(firsts == [0x82] || firsts == [0x02, 0x80], "{firsts:?}");
                done.is_some()
            });
        }
    }
}

/// Runs a case like [`at_every_await`], but for these ways of writing, and for futures that may
/// complete without waiting.
fn at_every_await_or_at_once(all: &[Writes], case: impl Fn(Role, Writes, usize) -> bool) {
    for role in [Server, Client] {
        for writes in all {
            // A stream that accepts single bytes has too many awaits to drop a future at each.
            let mut times = 0;
            while !case(role, *writes, times) {
                times = if times < 40 { times + 1 } else { times * 3 };
                assert!(times < 1_000_000, "{role:?} {writes:?}: the future never completes");
            }
        }
    }
}

#[tokio::test]
async fn dropped_shutdown_can_be_called_again_and_finishes_once() {
    at_every_await(|role, writes, times| {
        let (mut ws, script) = with_a_message_queued(role, writes);
        let mut writer = ws.writer(MessageKind::Text).expect("open");
        finished(writer.write_all(b"a message")).expect("it is buffered");
        let done = polled(writer.shutdown(), times, || writes.step(&script));
        finished(poll_with_steps(writer.shutdown(), writes, &script)).expect("open");
        assert_eq!(frames::parse(&script.written()), parsed(&[text("the first one"), text("a message")]));
        drop(writer);
        assert_eq!(drain(ws, &script), parsed(&[text("the first one"), text("a message")]));
        done.is_some()
    });
}

#[tokio::test]
async fn dropped_finish_has_finished_the_message_or_sent_nothing_of_it() {
    for split in [false, true] {
        at_every_await(|role, writes, times| {
            let (done, frames) = if split {
                let (receiver, sender, script) = halves_with_a_message_queued(role, writes);
                let mut writer = finished(poll_with_steps(sender.writer(MessageKind::Text), writes, &script))
                    .expect("open");
                finished(writer.write_all(b"a message")).expect("it is buffered");
                let done = polled(writer.finish(), times, || writes.step(&script));
                (done, drain_halves(receiver, sender, &script))
            } else {
                let (mut ws, script) = with_a_message_queued(role, writes);
                let mut writer = ws.writer(MessageKind::Text).expect("open");
                finished(writer.write_all(b"a message")).expect("it is buffered");
                let done = polled(writer.finish(), times, || writes.step(&script));
                (done, drain(ws, &script))
            };
            let (first, second) = (text("the first one"), text("a message"));
            if done.is_some() || frames.len() == 2 {
                assert_eq!(frames, parsed(&[first, second]), "{role:?} {writes:?} {times}");
            } else {
                assert_eq!(frames, parsed(&[first]), "{role:?} {writes:?} {times}");
            }
            done.is_some()
        });
    }
}

#[tokio::test]
async fn dropped_finish_after_a_part_has_finished_the_message_or_failed_the_connection() {
    at_every_await(|role, writes, times| {
        let (mut ws, script) = script::open(role, &narrow());
        writes.set_up(&script);
        let mut writer = ws.writer(MessageKind::Text).expect("open");
        finished(writer.feed_part("more than there is room for")).expect("the queue is empty");
        finished(writer.write_all(b"a message")).expect("it is buffered");
        let done = polled(writer.finish(), times, || writes.step(&script));
        script.allow_writes(None);
        finished(ws.flush()).expect("the stream accepts everything");
        let part = frame(1, "more than there is room for").more();
        let end =
            if ws.is_closed() { close(1011, "message not finished") } else { continuation("a message") };
        assert_eq!(frames::parse(&script.written()), parsed(&[part, end]), "{role:?} {writes:?} {times}");
        assert!(done.is_none() || !ws.is_closed());
        done.is_some()
    });
}

#[tokio::test]
async fn dropped_writer_future_begins_no_message_and_occupies_no_write_buffer_space() {
    at_every_await(|role, writes, times| {
        let (receiver, sender, script) = halves_with_a_message_queued(role, writes);
        let done = polled(sender.writer(MessageKind::Text), times, || writes.step(&script)).map(drop);
        script.allow_writes(None);
        finished(sender.flush()).expect("open");
        sender.try_send("all the room").expect("room");
        assert_eq!(
            drain_halves(receiver, sender, &script),
            parsed(&[text("the first one"), text("all the room")])
        );
        done.is_some()
    });
}
