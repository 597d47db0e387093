//! Futures that are dropped at any await while messages are inflated and compressed.
#![cfg(feature = "deflate")]

mod support;

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use fullduplex::{
    Deflate, Error, Message, Outgoing, PreparedMessage,
    Role::{self, Client, Server},
    WebSocket,
};
use support::{
    deflate::{self, Unzip, Zip, json, noise, sent, takeovers},
    finished,
    frames::{close, continuation, frame, ping},
    offence::wire_to,
    polled,
    script::{Script, Scripted},
    writes::{Writes, narrow},
};

/// Returns messages of every kind, which the peer sends.
fn messages() -> Vec<Message> {
    vec![
        json(300).into(),
        Message::binary(noise(40_000)),
        "".into(),
        json(700_000).into(),
        Message::binary(vec![0; 600_000]),
        json(300).into(),
    ]
}

#[test]
fn recv_dropped_at_every_await_while_inflating_loses_nothing() {
    for settings in takeovers() {
        for role in [Server, Client] {
            for at_most in [usize::MAX, 10_000] {
                for times in 1..4 {
                    let (mut ws, script) = deflate::open(role, &narrow(), settings);
                    script.read_at_most(at_most);
                    let mut zip = Zip::new(!settings.get_server_no_context_takeover());
                    let mut frames = Vec::new();
                    for message in messages() {
                        let opcode = if message.is_text() { 1 } else { 2 };
                        let payload = zip.message(message.as_bytes());
                        let (first, second) = payload.split_at(payload.len() / 2);
                        frames.push(frame(opcode, first).rsv(4).more());
                        frames.push(ping("?"));
                        frames.push(continuation(second));
                    }
                    frames.push(close(1000, "bye"));
                    for piece in wire_to(role, &frames).chunks(7000) {
                        script.bring(piece);
                        script.pause();
                    }
                    script.end();
                    let mut received = Vec::new();
                    while received.len() < messages().len() {
                        // Without budget, it is pending in the middle of a message.
                        let mut polls = 0;
                        let mut recv = pin!(ws.recv());
                        while polls < times {
                            polls += 1;
                            let once = tokio::task::coop::cooperative(recv.as_mut());
                            let mut cx = Context::from_waker(Waker::noop());
                            if let Poll::Ready(message) = pin!(once).poll(&mut cx) {
                                received.push(message.expect("valid").expect("it was sent before the Close"));
                                break;
                            }
                        }
                    }
                    assert!(received == messages(), "{role:?} {settings:?} {at_most} {times}");
                }
            }
        }
    }
}

/// How long the messages are that are sent.
#[derive(Debug, Clone, Copy)]
enum Length {
    /// Several fit into the write buffer.
    Short,
    /// Two or three are enough for a turn of compression.
    Long,
}

/// Returns the message with this number and its text. In turn, messages are owned, prepared and
/// uncompressed.
fn outgoing(nth: usize, length: Length) -> (Outgoing<'static>, String) {
    let len = match length {
        Length::Short => 200 + nth * 10,
        Length::Long => 20_000 + nth * 500,
    };
    let words = format!("{nth} {}", json(len));
    let outgoing = match nth % 3 {
        0 => Outgoing::from(words.clone()),
        1 => PreparedMessage::new(words.as_str()).into(),
        _ => Outgoing::from(words.clone()).compress(false),
    };
    (outgoing, words)
}

#[test]
fn sends_and_feeds_dropped_at_every_await_neither_corrupt_nor_duplicate_messages() {
    for settings in takeovers() {
        for role in [Server, Client] {
            for writes in [Writes::Drip, Writes::Stutter, Writes::DripAndStutter] {
                for feeds in [false, true] {
                    drop_sends_of_a_whole_connection(role, settings, writes, feeds, Length::Short);
                    drop_sends_of_a_split_connection(role, settings, writes, feeds, Length::Short);
                }
            }
        }
    }
}

#[test]
fn feeds_that_compress_a_turn_and_are_dropped_lose_nothing_they_have_queued() {
    for settings in takeovers() {
        for writes in [Writes::Drip, Writes::Stutter, Writes::DripAndStutter] {
            drop_sends_of_a_whole_connection(Server, settings, writes, true, Length::Long);
            drop_sends_of_a_split_connection(Server, settings, writes, true, Length::Long);
        }
    }
}

fn drop_sends_of_a_whole_connection(
    role: Role,
    settings: Deflate,
    writes: Writes,
    feeds: bool,
    length: Length,
) {
    let (mut ws, script) = open(role, settings, length);
    writes.set_up(&script);
    let fate = drop_sends(feeds, length, |outgoing, times| {
        let step = || writes.step(&script);
        if feeds { polled(ws.feed(outgoing), times, step) } else { polled(ws.send(outgoing), times, step) }
    });
    Writes::unblock(&script);
    finished(ws.flush()).expect("open");
    fate.check(&script, settings);
}

fn drop_sends_of_a_split_connection(
    role: Role,
    settings: Deflate,
    writes: Writes,
    feeds: bool,
    length: Length,
) {
    let (ws, script) = open(role, settings, length);
    let (_receiver, sender) = ws.split();
    writes.set_up(&script);
    let fate = drop_sends(feeds, length, |outgoing, times| {
        let step = || writes.step(&script);
        if feeds {
            polled(sender.feed(outgoing), times, step)
        } else {
            polled(sender.send(outgoing), times, step)
        }
    });
    Writes::unblock(&script);
    finished(sender.flush()).expect("open");
    fate.check(&script, settings);
}

fn open(role: Role, settings: Deflate, length: Length) -> (WebSocket<Scripted>, Script) {
    let config = match length {
        Length::Short => narrow(),
        Length::Long => narrow().max_write_buffer_size(150_000),
    };
    deflate::open(role, &config.write_timeout(None).close_timeout(None), settings)
}

/// The messages that were sent, and those that may have been sent.
struct Fate {
    length: Length,
    sure: Vec<String>,
    perhaps: Vec<String>,
}

/// Sends messages with futures that are dropped after up to six polls.
fn drop_sends(
    feeds: bool,
    length: Length,
    mut send: impl FnMut(Outgoing, usize) -> Option<Result<(), Error>>,
) -> Fate {
    let mut fate = Fate { length, sure: Vec::new(), perhaps: Vec::new() };
    for nth in 0..60 {
        let (outgoing, words) = outgoing(nth, length);
        match send(outgoing, nth % 7) {
            Some(done) => {
                done.expect("open");
                fate.sure.push(words);
            }
            None if !feeds => fate.perhaps.push(words),
            None => {}
        }
    }
    fate
}

impl Fate {
    /// Asserts that only complete messages were written, in order, and that these include all that
    /// were certainly sent.
    fn check(mut self, script: &Script, settings: Deflate) {
        let unzip = &mut Unzip::new(!settings.get_server_no_context_takeover());
        let mut next = 0;
        for (_, message) in sent(&script.written(), unzip) {
            let message = String::from_utf8(message).expect("text");
            let nth: usize = message.split(' ').next().expect("a word").parse().expect("a number");
            assert!(nth >= next && message == outgoing(nth, self.length).1, "{settings:?}: {nth}");
            next = nth + 1;
            match self.sure.first() {
                Some(first) if *first == message => drop(self.sure.remove(0)),
                _ => assert!(self.perhaps.contains(&message), "{settings:?}: {nth} was not sent"),
            }
        }
        assert!(self.sure.is_empty(), "{settings:?}: lost");
    }
}
