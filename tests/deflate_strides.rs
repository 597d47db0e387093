//! Large messages that are compressed in strides: other tasks run meanwhile, pings overtake, and
//! nothing is compressed that is not sent. Row 70 of `HOSTILE.md`.
#![cfg(feature = "deflate")]

mod support;

use std::{cell::Cell, future::poll_fn, io, pin::pin, rc::Rc, sync::mpsc, task::Poll, time::Duration};

use bytes::{Buf, Bytes};
use fullduplex::{
    Config, Deflate, Error, Message, MessageKind, Outgoing, PreparedMessage,
    Role::{Client, Server},
    proto::{Batch, Buffers, MaskKey, SendPath},
};
use proptest::prelude::*;
use support::{
    deflate::{self, Unzip, json, noise, quiet, sent, takeovers, zip},
    finished,
    frames::{self, ping, text},
    pending,
    script::{Script, Scripted},
};
use tokio::task::{LocalSet, coop::consume_budget, yield_now};

/// Returns a message of this length, in whole mebibytes, which takes many strides.
fn large(len: usize) -> String {
    json(1 << 20).repeat(len >> 20)
}

fn open(settings: Deflate) -> (fullduplex::WebSocket<Scripted>, Script) {
    deflate::open(Server, &quiet().write_timeout(None).close_timeout(None), settings.level(1))
}

/// Returns how often another task is polled until `send` completes.
async fn polls_of_another_task_during(send: impl Future<Output = ()>) -> usize {
    let (local, turns) = (LocalSet::new(), Rc::new(Cell::new(0)));
    let counted = turns.clone();
    local.spawn_local(async move {
        loop {
            counted.set(counted.get() + 1);
            yield_now().await;
        }
    });
    local.run_until(send).await;
    turns.get()
}

/// Returns the frame of a compressed message, as a client sends it.
fn compressed(data: impl AsRef<[u8]>) -> Vec<u8> {
    text(zip(data)).rsv(0b100).masked().build()
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_compressed_messages_is_answered_in_one_write() {
    for settings in takeovers() {
        let (mut ws, script) = open(settings);
        script.bring([ping("?").masked().build(), compressed(json(1000)).repeat(16)].concat());
        for _ in 0..16 {
            let message = ws.recv().await.expect("valid").expect("a message");
            ws.feed(message).await.expect("room");
        }
        pending(pin!(ws.recv()), "everything was received");
        assert_eq!(script.writes(), 1);
        let wire = script.written();
        assert!(wire.starts_with(b"\x8A\x01?"));
        assert_eq!(sent(&wire, &mut Unzip::new(true)).len(), 16);
    }
}

/// RFC 6455 section 5.5.2: a pong is sent as soon as is practical.
#[tokio::test(start_paused = true)]
async fn a_pong_does_not_wait_until_a_long_message_is_inflated() {
    let (mut ws, script) = open(Deflate::new());
    script.bring([ping("?").masked().build(), compressed("a".repeat(4 << 20))].concat());
    let mut receiving = pin!(ws.recv());
    for _ in 0..120 {
        consume_budget().await;
    }
    let first = poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx))).await;
    assert!(first.is_pending(), "the task's budget is used up");
    assert_eq!(script.written(), b"\x8A\x01?");
    receiving.await.expect("valid").expect("a message");
}

#[tokio::test(flavor = "current_thread")]
async fn row_70_another_task_runs_while_a_message_of_64_mib_is_compressed() {
    let words = large(64 << 20);
    for settings in takeovers() {
        for prepared in [false, true] {
            let (mut ws, script) = open(settings);
            let message = match prepared {
                false => Outgoing::from(words.as_str()),
                true => PreparedMessage::new(words.as_str()).into(),
            };
            let turns = polls_of_another_task_during(async { ws.send(message).await.expect("open") }).await;
            assert!(turns >= 100, "{turns}");
            let messages = sent(&script.written(), &mut Unzip::new(true));
            assert!(messages.len() == 1 && messages[0] == (true, words.clone().into_bytes()));
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn row_70_a_split_connection_receives_and_sends_pongs_while_it_compresses() {
    for settings in takeovers() {
        let (ws, script) = open(settings);
        let (mut receiver, sender) = ws.split();
        let (words, other) = (large(16 << 20), sender.clone());
        let len = words.len();
        let local = LocalSet::new();
        let (received, queued) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let counted = received.clone();
        local.spawn_local(async move {
            while let Ok(Some(_)) = receiver.recv().await {
                counted.set(counted.get() + 1);
            }
        });
        let (counted, to_bring) = (queued.clone(), script.clone());
        local.spawn_local(async move {
            while other.queued_bytes() < len {
                yield_now().await;
            }
            // The message takes the whole write buffer; pings need none of it, and messages are
            // received.
            while other.queued_bytes() >= len {
                assert!(other.try_send("full").is_err());
                to_bring.bring(text("in between").masked().build());
                if counted.get() < 10 {
                    to_bring.bring(ping("?").masked().build());
                }
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        });
        local
            .run_until(async {
                sender.send(words.as_str()).await.expect("open");
                sender.send("then").await.expect("open");
            })
            .await;
        assert!(queued.get() >= 30, "{}", queued.get());
        assert!(received.get() >= 30, "{}", received.get());
        let wire = script.written();
        let pongs = frames::parse(&wire).iter().take_while(|(bits, _)| *bits == 0x8A).count();
        assert_eq!(pongs, 10, "pongs overtake the message that was queued before them");
        let messages = sent(&wire, &mut Unzip::new(true));
        assert!(messages == [(true, words.into_bytes()), (false, b"then".to_vec())]);
    }
}

/// Payload data that calls a function when it is dropped: in its last stride.
struct AtItsEnd<F: FnMut()>(String, F);

impl<F: FnMut()> AsRef<[u8]> for AtItsEnd<F> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<F: FnMut()> Drop for AtItsEnd<F> {
    fn drop(&mut self) {
        (self.1)();
    }
}

#[tokio::test(start_paused = true)]
async fn row_70_no_lock_is_held_while_a_message_is_compressed() {
    for settings in takeovers() {
        let (ws, _script) = open(settings);
        let (_receiver, sender) = ws.split();
        let (len, other) = (1 << 20, sender.clone());
        let (ask, asked) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                // Waits for the lock of the queue.
                _ = answer.send(other.queued_bytes());
            }
        });
        let (seen, shown) = mpsc::channel();
        let data = AtItsEnd(large(len), move || {
            ask.send(()).expect("the thread runs");
            seen.send(answered.recv_timeout(Duration::from_secs(20))).expect("the test runs");
        });
        sender.send(Bytes::from_owner(data)).await.expect("open");
        // The message counts until its last stride has ended.
        assert_eq!(shown.try_recv().expect("dropped while it was sent"), Ok(len + 10));
        thread.join().expect("no panic");
    }
}

#[test]
fn try_send_compresses_only_a_part_of_a_large_message() {
    for settings in takeovers() {
        let (ws, script) = open(settings);
        let (_receiver, sender) = ws.split();
        let words = large(4 << 20);
        sender.try_send(words.as_str()).expect("room");
        assert_eq!(script.written(), b"", "it is not complete");
        assert_eq!(sender.queued_bytes(), words.len() + 10);
        let mut polls = 0;
        assert!(support::polled(sender.flush(), 1000, || polls += 1).expect("it is flushed").is_ok());
        assert!(polls > 10, "{polls}");
        assert_eq!(sender.queued_bytes(), 0);
        assert!(sent(&script.written(), &mut Unzip::new(true)) == [(true, words.into_bytes())]);
    }
}

/// What a program does with a `SendPath` between calls of `stage`.
#[derive(Debug, Clone)]
enum Step {
    Send {
        len: usize,
        compress: Option<bool>,
        prepared: bool,
        alike: bool,
    },
    Parts {
        lens: Vec<usize>,
        compress: bool,
    },
    Ping,
    /// Stages this many times, and writes what is staged.
    Stage(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0_usize..300, 3000_usize..6000, 60_000_usize..200_000];
    let send = (len.clone(), any::<Option<bool>>(), any::<bool>(), any::<bool>())
        .prop_map(|(len, compress, prepared, alike)| Step::Send { len, compress, prepared, alike });
    let parts = (proptest::collection::vec(len, 1..4), any::<bool>())
        .prop_map(|(lens, compress)| Step::Parts { lens, compress });
    prop_oneof![4 => send, 1 => parts, 1 => Just(Step::Ping), 3 => (1_usize..4).prop_map(Step::Stage)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn messages_arrive_in_order_and_pings_overtake_whenever_frames_are_staged(
        steps in proptest::collection::vec(step(), 1..24),
        takeover in any::<bool>(),
        client in any::<bool>(),
    ) {
        let settings = Deflate::new().context_takeover(takeover).level(1);
        let (role, key) = (if client { Client } else { Server }, MaskKey::from([7, 5, 3, 1]));
        let (mut buffers, mut batch) = (Buffers::new(), Batch::new());
        let mut path = SendPath::new(role, &Config::new()).with_deflate(settings, settings.into());
        let (mut wire, mut expected, mut pings) = (Vec::new(), Vec::new(), 0);
        let stage = |path: &mut SendPath, batch: &mut Batch, buffers: &mut Buffers, wire: &mut Vec<u8>| {
            path.stage(batch, buffers);
            while batch.has_remaining() {
                let len = batch.chunk().len().div_ceil(2);
                wire.extend_from_slice(&batch.chunk()[..len]);
                batch.advance(len);
            }
        };
        let data = |len, alike| if alike { json(len).into_bytes() } else { noise(len) };
        for step in steps {
            let queued = path.queued_bytes();
            match step {
                Step::Send { len, compress, prepared, alike } => {
                    let message = Message::from(data(len, alike));
                    expected.push(message.as_bytes().to_vec());
                    let header = match len {
                        0..126 => 2,
                        126..65_536 => 4,
                        _ => 10,
                    };
                    let frame = header + if client { 4 } else { 0 } + message.len();
                    let outgoing = match prepared {
                        true => PreparedMessage::new(message).into(),
                        false => Outgoing::from(message),
                    };
                    let outgoing = match compress {
                        Some(compress) => outgoing.compress(compress),
                        None => outgoing,
                    };
                    path.send(outgoing, key, &mut buffers).expect("open");
                    prop_assert_eq!(path.queued_bytes() - queued, frame);
                }
                Step::Parts { lens, compress } => {
                    path.begin_message(MessageKind::Binary).expect("open");
                    if !compress {
                        path.leave_uncompressed();
                    }
                    let (mut whole, last) = (Vec::new(), lens.len() - 1);
                    for (nth, len) in lens.into_iter().enumerate() {
                        whole.extend(data(len, nth % 2 == 0));
                        let part = data(len, nth % 2 == 0);
                        path.send_part(part.into(), nth == last, key, &mut buffers).expect("open");
                    }
                    expected.push(whole);
                }
                Step::Ping => {
                    path.ping(b"?", key, &mut buffers).expect("open");
                    pings += 1;
                    let before = wire.len();
                    stage(&mut path, &mut batch, &mut buffers, &mut wire);
                    prop_assert_eq!(wire[before], 0x89, "a ping overtakes everything that is queued");
                }
                Step::Stage(times) => {
                    (0..times).for_each(|_| stage(&mut path, &mut batch, &mut buffers, &mut wire));
                }
            }
        }
        path.close(None, key, &mut buffers).expect("open");
        while path.queued_bytes() > 0 {
            stage(&mut path, &mut batch, &mut buffers, &mut wire);
        }
        let frames = frames::parse(&wire);
        prop_assert_eq!(frames.iter().filter(|(bits, _)| *bits == 0x89).count(), pings);
        prop_assert_eq!(frames.last().map(|(bits, _)| *bits), Some(0x88));
        let messages = sent(&wire, &mut Unzip::new(takeover));
        prop_assert!(messages.into_iter().map(|(_, message)| message).eq(expected));
    }
}

#[test]
fn messages_that_were_never_queued_do_not_enter_the_window() {
    for settings in takeovers() {
        for role in [Server, Client] {
            for split in [false, true] {
                let config = quiet().max_write_buffer_size(1000).write_timeout(None);
                let (mut ws, script) = deflate::open(role, &config, settings);
                let mut unzip = Unzip::new(!settings.get_server_no_context_takeover());
                finished(ws.send(json(500))).expect("open");
                script.allow_writes(0);
                finished(ws.feed(json(600))).expect("room");
                let secret = "something that no other message contains ".repeat(40);
                let mut messages = vec![json(500), json(600), json(700), secret.clone()];
                if split {
                    let (_receiver, sender) = ws.split();
                    pending(pin!(sender.send(secret.as_str())), "there is no room");
                    pending(pin!(sender.feed(secret.as_str())), "there is no room");
                    pending(pin!(sender.reserve(secret.len())), "there is no room");
                    script.allow_writes(None);
                    finished(sender.send(json(700))).expect("open");
                    finished(sender.send(secret.as_str())).expect("open");
                    drop(sender);
                } else {
                    pending(pin!(ws.send(secret.as_str())), "there is no room");
                    pending(pin!(ws.feed(secret.as_str())), "there is no room");
                    script.allow_writes(None);
                    finished(ws.send(json(700))).expect("open");
                    finished(ws.send(secret.as_str())).expect("open");
                }
                for (_, message) in sent(&script.written(), &mut unzip) {
                    assert!(message == messages.remove(0).into_bytes());
                }
                assert!(messages.is_empty());
            }
        }
    }
}

#[test]
fn a_message_that_is_being_compressed_is_written_before_the_close() {
    for settings in takeovers() {
        let (ws, script) = open(settings);
        let (mut receiver, sender) = ws.split();
        let words = large(2 << 20);
        sender.try_send(words.as_str()).expect("room");
        script.bring(frames::close(1000, "bye").masked().build());
        script.end();
        let closed = support::polled(receiver.recv(), 1000, || {}).expect("it ends");
        assert_eq!(closed.expect("closed cleanly"), None::<Message>);
        let wire = script.written();
        assert!(sent(&wire, &mut Unzip::new(true)) == [(true, words.into_bytes())]);
        assert!(wire.ends_with(b"\x88\x05\x03\xE8bye"));
    }
}

#[test]
fn a_reunited_connection_finishes_a_message_that_is_being_compressed() {
    for settings in takeovers() {
        let (ws, script) = open(settings);
        let (receiver, sender) = ws.split();
        let words = large(2 << 20);
        sender.try_send(words.as_str()).expect("room");
        let mut ws = receiver.reunite(sender).expect("halves of one connection");
        finished(ws.send("then")).expect("open");
        let messages = sent(&script.written(), &mut Unzip::new(true));
        assert!(messages == [(true, words.into_bytes()), (false, b"then".to_vec())]);
    }
}

#[test]
fn the_write_buffer_space_of_a_compressed_message_is_freed_once_it_is_written() {
    for settings in takeovers() {
        let config = quiet().write_timeout(None).max_write_buffer_size(100_000);
        let (ws, _script) = deflate::open(Server, &config, settings);
        let (_receiver, sender) = ws.split();
        for _ in 0..20 {
            finished(sender.feed(json(50_000))).expect("open");
        }
        finished(sender.flush()).expect("open");
        assert_eq!(sender.queued_bytes(), 0);
        let permit = finished(sender.reserve(99_000)).expect("open");
        drop(permit);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn row_70_a_whole_connection_receives_while_it_compresses() {
    for settings in takeovers() {
        let (mut ws, script) = open(settings);
        ws.feed(large(8 << 20)).await.expect("the queue is empty");
        // The message takes thousands of strides; the ping can be read from the start.
        script.bring(ping("there?").masked().build());
        let mut receiving = pin!(ws.recv());
        let pong = frames::pong("there?").build();
        for turn in 0.. {
            assert!(turn < 10, "the ping was not read in {turn} turns");
            assert!(support::poll_once(receiving.as_mut()).is_pending());
            if !script.written().is_empty() {
                assert!(script.written().starts_with(&pong), "the pong is written before the message");
                break;
            }
        }
    }
}

#[test]
fn row_43_compressed_data_that_produces_no_output_is_inflated_in_strides() {
    // Empty final blocks, each of which ends the DEFLATE data; what follows is inflated again.
    let blocks = [0x03, 0x00].repeat(1 << 20);
    let mut wire = frames::frame(2, blocks).rsv(4).build();
    let params = fullduplex::proto::DeflateParams::from(Deflate::new());
    let mut path = fullduplex::proto::ReceivePath::new(Client, &Config::new()).with_deflate(params);
    let (mut buffers, mut calls) = (Buffers::new(), 0);
    let mut input = &mut wire[..];
    while !input.is_empty() {
        let consumed = path.receive(input).expect("valid").consumed;
        input = &mut input[consumed..];
        while path.has_compressed() {
            calls += 1;
            if let Some(received) = path.inflate(&mut buffers).expect("valid") {
                assert!(received.into_message().expect("a message").is_empty());
            }
        }
    }
    assert!(calls >= (2 << 20) / (16 << 10), "{calls} calls for 2 MiB");
}

#[test]
fn a_limit_that_is_lowered_inside_a_compressed_message_fails_the_connection() {
    let wire = deflate::compressed_frames(&noise(200_000), &[150_000]);
    let params = fullduplex::proto::DeflateParams::from(Deflate::new());
    let config = Config::new().max_message_size(1 << 20);
    let mut path = fullduplex::proto::ReceivePath::new(Client, &config).with_deflate(params);
    let (mut buffers, mut first_error) = (Buffers::new(), None);
    for (nth, mut frame) in wire.into_iter().enumerate() {
        if nth == 1 {
            path.set_limits(&Config::new().max_message_size(1000));
        }
        let mut input = &mut frame[..];
        while !input.is_empty() {
            match path.receive(input) {
                Ok(step) => {
                    let consumed = step.consumed;
                    input = &mut input[consumed..];
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                    break;
                }
            }
            while path.has_compressed() {
                if let Err(error) = path.inflate(&mut buffers) {
                    first_error.get_or_insert(error);
                }
            }
        }
    }
    assert_eq!(first_error, Some(fullduplex::proto::ProtocolError::MessageTooBig { limit: 1000 }));
}

/// Feeds messages of 16 KiB, and asserts that they are compressed and written whenever 64 KiB are
/// queued.
fn assert_written_in_turns(script: &Script, mut feed: impl FnMut(String)) {
    let message = json(16 << 10);
    for turn in 1..=3 {
        for _ in 0..3 {
            feed(message.clone());
        }
        assert_eq!(script.writes(), turn - 1, "less than 64 KiB wait");
        feed(message.clone());
        assert_eq!(script.writes(), turn);
    }
    let messages = sent(&script.written(), &mut Unzip::new(true));
    assert!(messages == vec![(true, message.into_bytes()); 12]);
}

#[test]
fn queued_messages_are_compressed_and_written_64_kib_at_a_time() {
    for settings in takeovers() {
        let (mut ws, script) = open(settings);
        assert_written_in_turns(&script, |message| finished(ws.feed(message)).expect("open"));
        let (ws, script) = open(settings);
        let (_receiver, sender) = ws.split();
        assert_written_in_turns(&script, |message| finished(sender.feed(message)).expect("open"));
    }
}

#[test]
fn a_message_is_queued_although_the_stream_accepts_nothing_of_what_was_compressed() {
    for settings in takeovers() {
        let (mut ws, script) = open(settings);
        script.allow_writes(0);
        for _ in 0..3 {
            finished(ws.feed(json(70_000))).expect("room");
        }
        script.allow_writes(None);
        finished(ws.flush()).expect("open");
        let messages = sent(&script.written(), &mut Unzip::new(true));
        assert!(messages == vec![(true, json(70_000).into_bytes()); 3]);
    }
}

#[test]
fn a_stream_that_fails_while_a_queued_message_is_written_fails_the_call() {
    for settings in takeovers() {
        let (mut ws, script) = open(settings);
        script.fail_writes(io::ErrorKind::BrokenPipe);
        assert!(matches!(finished(ws.feed(json(100_000))), Err(Error::Transport(_))));
        assert!(matches!(finished(ws.feed("after")), Err(Error::Closed)));
        let (ws, script) = open(settings);
        let (_receiver, sender) = ws.split();
        script.fail_writes(io::ErrorKind::BrokenPipe);
        finished(sender.feed(json(100_000))).expect("it is queued");
        assert!(matches!(finished(sender.flush()), Err(Error::Transport(_))));
    }
}
