//! Sending compressed messages (RFC 7692): ordinary ones, prepared ones, and those of many senders.
#![cfg(feature = "deflate")]

mod support;

use std::{pin::pin, sync::Arc};

use bytes::{Buf, Bytes};
use fullduplex::{
    CloseCode, Config, Deflate, Error, Message, MessageKind, Outgoing, PreparedMessage,
    Role::{self, Client, Server},
    TrySendError, WebSocket,
    proto::{Batch, Buffers, MaskKey, SendPath},
};
use support::{
    deflate::{self, Unzip, json, noise, pair, quiet, sent, takeovers},
    finished,
    frames::{self, binary, close, frame, text},
    offence::{sent_to, wire_to},
    pending,
    script::{Script, Scripted},
};
use tokio::task::JoinSet;

/// Runs a test case for both roles, with and without context takeover.
fn at_either_end(mut case: impl FnMut(Role, Deflate, bool)) {
    for settings in takeovers() {
        for role in [Server, Client] {
            case(role, settings, !settings.get_server_no_context_takeover());
        }
    }
}

fn open(role: Role, settings: Deflate) -> (WebSocket<Scripted>, Script) {
    deflate::open(role, &quiet().close_timeout(None).write_timeout(None), settings)
}

#[test]
fn a_message_is_compressed_from_the_threshold_on() {
    at_either_end(|role, settings, takeover| {
        for threshold in [0, 1, 20, 64] {
            let (mut ws, script) = open(role, settings.threshold(threshold));
            let mut unzip = Unzip::new(takeover);
            for len in [0, 1, 19, 20, 63, 64, 65] {
                finished(ws.send("a".repeat(len))).expect("open");
                // A message of one byte cannot become shorter: it is sent uncompressed unless
                // context takeover is used.
                let compressed = len >= threshold && (takeover || len > 4);
                let messages = sent(&script.take_written(), &mut unzip);
                assert_eq!(messages, [(compressed, vec![b'a'; len])], "{threshold}");
            }
        }
    });
}

#[test]
fn compression_can_be_chosen_for_each_message() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        let mut unzip = Unzip::new(takeover);
        for prepared in [false, true] {
            for (len, choice) in [(10, Some(true)), (1000, Some(false)), (10, None), (1000, None)] {
                let message = "a".repeat(len);
                let outgoing = match prepared {
                    false => Outgoing::from(message.as_str()),
                    true => PreparedMessage::new(message.as_str()).into(),
                };
                let outgoing = match choice {
                    Some(choice) => outgoing.compress(choice),
                    None => outgoing,
                };
                finished(ws.send(outgoing)).expect("open");
                let messages = sent(&script.take_written(), &mut unzip);
                assert_eq!(messages, [(choice.unwrap_or(len >= 64), message.into())]);
            }
        }
    });
}

/// RFC 7692 sections 7.2.3.1 and 7.2.3.2.
#[test]
fn compressed_frames_match_the_examples_of_the_rfc() {
    let [alone, takeover] = takeovers();
    let (mut ws, script) = open(Server, takeover.threshold(0));
    for _ in 0..2 {
        finished(ws.send("Hello")).expect("open");
    }
    let first = frame(1, b"\xF2\x48\xCD\xC9\xC9\x07\x00").rsv(4);
    let second = frame(1, b"\xF2\x00\x11\x00\x00").rsv(4);
    assert_eq!(script.written(), frames::wire(&[first, second]));

    // Without context takeover, the second message does not refer to the first. "Hello" alone does
    // not become shorter.
    let (mut ws, script) = open(Server, alone.threshold(0));
    for _ in 0..2 {
        finished(ws.send("HelloHelloHello")).expect("open");
    }
    let wire = script.written();
    let (first, second) = wire.split_at(wire.len() / 2);
    assert_eq!(first, second);
    assert_eq!(sent(first, &mut Unzip::new(false)), [(true, b"HelloHelloHello".to_vec())]);
    assert!(first.len() < 2 + 15);
}

#[test]
fn incompressible_messages_are_sent_uncompressed_unless_context_takeover_is_used() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        let mut unzip = Unzip::new(takeover);
        for len in [64, 5000, 100_000] {
            let bytes = noise(len);
            for outgoing in [Outgoing::from(bytes.clone()), Outgoing::from(bytes.clone()).compress(true)] {
                finished(ws.send(outgoing)).expect("open");
                assert!(sent(&script.take_written(), &mut unzip) == [(takeover, bytes.clone())]);
            }
            finished(ws.send(PreparedMessage::new(bytes.clone()))).expect("open");
            assert!(sent(&script.take_written(), &mut unzip) == [(false, bytes)]);
        }
    });
}

#[test]
fn any_window_size_is_respected_and_the_smallest_is_for_short_messages() {
    at_either_end(|role, settings, takeover| {
        for bits in 8..=15 {
            let ours = match role {
                Server => settings.server_max_window_bits(bits),
                Client => settings.client_max_window_bits(bits),
            };
            let (mut ws, script) = open(role, ours);
            let mut unzip = Unzip::with_window(takeover, bits);
            for len in [100, 1000, 4096, 4097, 40_000, 300] {
                let words = json(len);
                finished(ws.send(words.as_str())).expect("open");
                finished(ws.send(PreparedMessage::new(words.as_str()))).expect("open");
                let messages = sent(&script.take_written(), &mut unzip);
                let compressed = bits > 8 || len <= 4096;
                assert!(messages == vec![(compressed, words.into_bytes()); 2], "{len} bytes, {bits}");
            }
        }
    });
}

/// RFC 7692 section 7.2.1. Data that is repeated within the window is compressed, and data that is
/// repeated from beyond it is not.
#[test]
fn no_reference_goes_beyond_the_agreed_window() {
    at_either_end(|role, settings, _| {
        for bits in 9..=15 {
            let ours = match role {
                Server => settings.server_max_window_bits(bits),
                Client => settings.client_max_window_bits(bits),
            };
            let repeated = |distance: usize, times: usize| {
                let (mut ws, script) = open(role, ours);
                let data = noise(distance).repeat(times);
                finished(ws.send(data.as_slice())).expect("open");
                (script.written().len(), data.len())
            };
            let (sent, len) = repeated((1 << bits) + 1, 2);
            assert!(sent > len, "{bits}: {sent} of {len} bytes");
            let (sent, len) = repeated(1 << (bits - 2), 8);
            assert!(sent < len / 2, "{bits}: {sent} of {len} bytes");
        }
    });
}

#[test]
fn with_the_smallest_window_messages_in_parts_are_sent_uncompressed() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings.server_max_window_bits(8).client_max_window_bits(8));
        let mut writer = ws.writer(MessageKind::Text).expect("open");
        finished(writer.feed_part(json(300))).expect("open");
        finished(writer.finish()).expect("open");
        finished(ws.send(json(300))).expect("open");
        let messages = sent(&script.take_written(), &mut Unzip::with_window(takeover, 8));
        assert_eq!(messages, [false, true].map(|compressed| (compressed, json(300).into_bytes())));
    });
}

#[test]
fn compressed_messages_are_received_with_the_smallest_window() {
    at_either_end(|role, settings, _| {
        let (mut ws, script) = open(role, settings.server_max_window_bits(8).client_max_window_bits(8));
        script.bring(sent_to(role, frame(1, b"\xF2\x48\xCD\xC9\xC9\x07\x00").rsv(4)).build());
        assert_eq!(finished(ws.recv()).expect("valid"), Some(Message::from("Hello")));
    });
}

// --- prepared messages

/// Returns the frame that a server writes, in its original memory.
fn frame_of(settings: Deflate, message: &PreparedMessage) -> Bytes {
    let (mut buffers, mut batch) = (Buffers::new(), Batch::new());
    let mut path = SendPath::new(Server, &Config::new()).with_deflate(settings, settings.into());
    path.send(message.into(), MaskKey::default(), &mut buffers).expect("open");
    while path.queued_bytes() > 0 {
        path.stage(&mut batch, &mut buffers);
    }
    batch.copy_to_bytes(batch.remaining())
}

#[test]
fn a_prepared_message_is_compressed_for_each_set_of_parameters() {
    let words = json(200_000);
    let message = PreparedMessage::new(words.as_str());
    let [alone, takeover] = takeovers();
    let mut seen = Vec::new();
    for settings in [alone, alone.level(1), alone.server_max_window_bits(9), alone.memory_level(1), takeover]
    {
        let wire = frame_of(settings, &message);
        assert_eq!(wire, frame_of(settings, &message.clone()));
        let messages = sent(&wire, &mut Unzip::with_window(false, settings.get_server_max_window_bits()));
        assert!(messages == [(true, words.clone().into_bytes())]);
        seen.push(wire);
    }
    assert_eq!(seen[0], seen[4], "a prepared message is the same with and without context takeover");
    assert!(seen[1] != seen[0] && seen[2] != seen[0] && seen[3] != seen[0]);
    assert_eq!(message, PreparedMessage::new(words), "the message is unchanged");
}

#[test]
fn prepared_messages_can_be_mixed_with_messages_that_share_a_window() {
    at_either_end(|role, settings, takeover| {
        for bits in [9, 15] {
            let settings = settings.server_max_window_bits(bits).client_max_window_bits(bits);
            let (mut ws, script) = open(role, settings);
            let prepared = PreparedMessage::new(json(3000));
            let mut expected = Vec::new();
            for nth in 0..200 {
                let words = json(nth % 50 * 40);
                match nth % 7 {
                    0 | 3 => {
                        finished(ws.send(&prepared)).expect("open");
                        expected.push(json(3000).into_bytes());
                    }
                    1 => finished(ws.send(Outgoing::from(&prepared).compress(false))).expect("open"),
                    _ => {
                        finished(ws.send(words.as_str())).expect("open");
                        expected.push(words.into_bytes());
                    }
                }
                if nth % 7 == 1 {
                    expected.push(json(3000).into_bytes());
                }
            }
            let mut unzip = Unzip::with_window(takeover, bits);
            let messages: Vec<_> =
                sent(&script.written(), &mut unzip).into_iter().map(|(_, message)| message).collect();
            assert!(messages == expected, "{role:?} {bits}");
        }
    });
}

// --- split

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_of_many_senders_arrive_complete_once_and_in_order() {
    const SENDERS: usize = 6;
    const EACH: usize = 300;
    for settings in takeovers() {
        let config = quiet().max_write_buffer_size(4000);
        let (client, server) = pair(&config, settings.threshold(30), 2000);
        let mut all = JoinSet::new();
        for end in [client, server] {
            let (mut receiver, sender) = end.split();
            let shared = PreparedMessage::new(json(700));
            for id in 0..SENDERS {
                let (sender, shared) = (sender.clone(), shared.clone());
                all.spawn(async move {
                    for nth in 0..EACH {
                        let message = format!("{id} {nth} {}", json(nth % 90 * 3));
                        match nth % 5 {
                            0 => sender.send(message).await.expect("open"),
                            1 => sender
                                .reserve(message.len())
                                .await
                                .expect("open")
                                .feed(message)
                                .expect("open"),
                            2 if nth % 20 == 2 => {
                                use tokio::io::AsyncWriteExt;
                                let mut writer =
                                    sender.writer(fullduplex::MessageKind::Text).await.expect("open");
                                writer.write_all(message.as_bytes()).await.expect("open");
                                writer.finish().await.expect("open");
                            }
                            3 => {
                                sender.feed(message).await.expect("open");
                                sender.feed(&shared).await.expect("open");
                            }
                            _ => {
                                let mut outgoing = Outgoing::from(message);
                                while let Err(error) = sender.try_send(outgoing) {
                                    let TrySendError::Full(back) = error else { panic!("{error:?}") };
                                    outgoing = back;
                                    tokio::task::yield_now().await;
                                }
                            }
                        }
                    }
                    sender.flush().await.expect("open");
                });
            }
            all.spawn(async move {
                let (mut next, mut prepared) = ([0; SENDERS], 0);
                while next.iter().sum::<usize>() + prepared < SENDERS * (EACH + EACH / 5) {
                    let message = receiver.recv().await.expect("valid").expect("more messages follow");
                    let message = message.as_text().expect("text");
                    if message == json(700) {
                        prepared += 1;
                        continue;
                    }
                    let mut words = message.splitn(3, ' ');
                    let mut number =
                        || words.next().and_then(|word| word.parse::<usize>().ok()).expect("a number");
                    let (id, nth) = (number(), number());
                    assert_eq!(nth, next[id], "from {id}");
                    assert_eq!(words.next(), Some(&*json(nth % 90 * 3)));
                    next[id] += 1;
                }
                // The peer may still send.
                std::future::pending::<()>().await;
            });
        }
        for _ in 0..2 * SENDERS {
            all.join_next().await.expect("a sender").expect("no panic");
        }
        all.abort_all();
        while let Some(ended) = all.join_next().await {
            assert!(ended.is_err_and(|error| error.is_cancelled()));
        }
    }
}

#[test]
fn try_send_returns_the_message_unchanged() {
    at_either_end(|role, settings, _| {
        let config = quiet().close_timeout(None).max_write_buffer_size(10_000);
        let (ws, script) = deflate::open(role, &config, settings);
        let (receiver, sender) = ws.split();
        script.allow_writes(0);
        finished(sender.feed(noise(9000))).expect("room");
        let messages = [Outgoing::from(json(5000)), PreparedMessage::new(json(5000)).into()];
        let mut back = Vec::new();
        for message in &messages {
            let Err(TrySendError::Full(full)) = sender.try_send(message.clone()) else {
                panic!("the queue is full")
            };
            assert_eq!(full, *message);
            back.push(full);
        }
        drop(receiver);
        for message in &messages {
            let Err(TrySendError::Closed(closed)) = sender.try_send(message.clone()) else {
                panic!("the connection is closed")
            };
            assert_eq!(closed, *message);
            back.push(closed);
        }
        // An uncompressed connection sends them too.
        let (mut plain, script) = support::script::open(role, &config);
        for message in back {
            finished(plain.send(message)).expect("open");
        }
        let messages = sent(&script.written(), &mut Unzip::new(false));
        assert!(messages == vec![(false, json(5000).into_bytes()); 4]);
    });
}

// --- closing

#[test]
fn a_close_follows_compressed_messages_and_data_after_the_peers_close_is_ignored() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        script.allow_writes(0);
        for message in [json(500), json(600)] {
            finished(ws.feed(message)).expect("room");
        }
        script.bring(wire_to(
            role,
            &[
                frame(1, b"\xF2\x48\xCD\xC9\xC9\x07\x00").rsv(4).more(),
                close(1001, "bye"),
                frame(0, ""),
                frame(1, b"\xF2\x48\xCD\xC9\xC9\x07\x00").rsv(4),
                frame(1, b"\x06").rsv(4),
                text("too late"),
                binary([0; 3]).rsv(4),
            ],
        ));
        script.end();
        pending(pin!(ws.recv()), "our own messages are not written yet");
        script.allow_writes(None);
        assert_eq!(finished(ws.recv()).expect("closed cleanly"), None);
        let wire = script.written();
        let (last, payload) = frames::parse(&wire).pop().expect("the Close");
        assert_eq!((last, &payload[..]), (0x88, &b"\x03\xE9bye"[..]));
        let messages = sent(&wire, &mut Unzip::new(takeover));
        assert_eq!(messages, [500, 600].map(|len| (true, json(len).into_bytes())));
        assert!(matches!(finished(ws.send("late")), Err(Error::Closed)));
    });
}

#[tokio::test]
async fn an_echo_over_a_compressed_connection_closes_cleanly() {
    for settings in takeovers() {
        let (mut client, mut server) = pair(&quiet(), settings, 1000);
        let echo = tokio::spawn(async move {
            while let Some(message) = server.recv().await? {
                server.feed(message).await?;
            }
            Ok::<_, Error>(())
        });
        let words = Arc::new(json(150_000));
        for len in [0, 1, 63, 64, 5000, 100_000] {
            let message = Message::text(
                words[..(0..=len).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0)].to_owned(),
            );
            client.send(message.clone()).await.expect("open");
            assert!(client.recv().await.expect("open") == Some(message));
        }
        client.close(CloseCode::NORMAL, "").await.expect("closed cleanly");
        echo.await.expect("no panic").expect("closed cleanly");
    }
}
