//! Compressed messages that are read and written as streams of bytes.
#![cfg(feature = "deflate")]

mod support;

use std::pin::pin;

use fullduplex::{
    Config, Deflate, Error, Message, MessageKind,
    Role::{self, Client, Server},
    WebSocket,
    proto::{ProtocolError, SendError},
};
use support::{
    deflate::{self, TAIL, Unzip, Zip, json, noise, quiet, sent, takeovers, zip},
    finished,
    frames::{self, Frame, close, continuation, frame, ping, text},
    offence::{assert_close, wire_to},
    pending,
    script::{Script, Scripted},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ANY: u64 = u64::MAX;

/// Runs a test case for both roles, with and without context takeover.
fn at_either_end(mut case: impl FnMut(Role, Deflate, bool)) {
    for settings in takeovers() {
        for role in [Server, Client] {
            case(role, settings, !settings.get_server_no_context_takeover());
        }
    }
}

fn open(role: Role, settings: Deflate) -> (WebSocket<Scripted>, Script) {
    deflate::open(role, &quiet().close_timeout(None), settings)
}

fn compressed(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    frame(opcode, payload).rsv(4)
}

// --- reading

#[test]
fn a_compressed_message_is_read_as_it_arrives() {
    at_either_end(|role, settings, _| {
        let (mut ws, script) = open(role, settings);
        let mut zip = Zip::new(false);
        let parts = [zip.part("gr"), zip.part("\u{fc}ez"), zip.part("i")];
        script.bring(wire_to(role, &[compressed(1, &parts[0]).more(), ping("?")]));
        let mut reader = finished(ws.reader(ANY)).expect("valid").expect("a message");
        assert_eq!(reader.kind(), MessageKind::Text);
        assert_eq!(finished(reader.recv_part()).expect("valid").as_deref(), Some(&b"gr"[..]));
        pending(pin!(reader.recv_part()), "the rest has not been received");
        script.bring(wire_to(
            role,
            &[continuation(&parts[1][..3]).more(), continuation(&parts[1][3..]).more()],
        ));
        let mut bytes = [0; 4];
        finished(reader.read_exact(&mut bytes)).expect("valid");
        assert_eq!(bytes, *b"\xC3\xBCez");
        let last = &parts[2][..parts[2].len() - TAIL.len()];
        script.bring(wire_to(role, &[continuation(last).more(), ping("!"), continuation("")]));
        let mut rest = String::new();
        finished(reader.read_to_string(&mut rest)).expect("valid");
        assert_eq!(rest, "i");
        assert_eq!(finished(reader.recv_part()).expect("valid"), None);
        drop(reader);
        pending(pin!(ws.recv()), "nothing more was received");
        let pongs = frames::parse(&script.written());
        assert_eq!(pongs, [(0x8A, b"?".to_vec()), (0x8A, b"!".to_vec())]);
    });
}

#[test]
fn messages_are_read_one_after_the_other_whole_and_in_parts_compressed_or_not() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        let (mut zip, words) = (Zip::new(takeover), json(100_000));
        let frames = [
            compressed(1, zip.message(&words)),
            compressed(1, zip.message(&words)),
            text("plain"),
            compressed(2, zip.message("")),
            compressed(1, zip.message(&words)),
            compressed(1, zip.message(&words)),
            close(1000, ""),
        ];
        script.bring(wire_to(role, &frames));
        script.end();
        for (nth, expected) in [&words, &words, "plain", "", &words, &words].into_iter().enumerate() {
            if nth % 2 == 0 {
                let mut reader =
                    finished(ws.reader(expected.len() as u64)).expect("valid").expect("a message");
                let mut read = Vec::new();
                finished(reader.read_to_end(&mut read)).expect("valid");
                assert!(read == expected.as_bytes(), "message {nth}");
            } else {
                let message = finished(ws.recv()).expect("valid").expect("a message");
                assert!(message.as_bytes() == expected.as_bytes(), "message {nth}");
            }
        }
        assert!(finished(ws.reader(ANY)).expect("closed cleanly").is_none());
    });
}

#[test]
fn the_rest_of_a_compressed_message_is_skipped_once_its_reader_is_dropped() {
    at_either_end(|role, settings, takeover| {
        for read in [0, 1, 70_000] {
            for at_most in [usize::MAX, 5000] {
                let (mut ws, script) = open(role, settings);
                let (mut zip, words) = (Zip::new(takeover), json(400_000));
                let payload = zip.message(&words);
                let (first, second) = payload.split_at(payload.len() / 2);
                script.read_at_most(at_most);
                script.bring(wire_to(role, &[compressed(1, first).more()]));
                let mut reader = finished(ws.reader(ANY)).expect("valid").expect("a message");
                let mut bytes = vec![0; read];
                finished(reader.read_exact(&mut bytes)).expect("valid");
                assert_eq!(bytes, words.as_bytes()[..read]);
                drop(reader);
                pending(pin!(ws.recv()), "the rest has not been received");
                script
                    .bring(wire_to(role, &[continuation(second), compressed(1, zip.message(&words[..300]))]));
                assert_eq!(finished(ws.recv()).expect("valid"), Some(Message::from(&words[..300])));
            }
        }
    });
}

#[test]
fn a_reader_call_dropped_before_anything_can_be_read_loses_nothing() {
    at_either_end(|role, settings, takeover| {
        let payload = Zip::new(takeover).message("Hello");
        for known in 0..2 {
            for again in [false, true] {
                let (mut ws, script) = open(role, settings);
                script.bring(wire_to(role, &[compressed(1, &payload[..known]).more()]));
                pending(pin!(ws.reader(ANY)), "nothing can be inflated yet");
                script.bring(wire_to(role, &[continuation(&payload[known..])]));
                if again {
                    let mut reader = finished(ws.reader(5)).expect("valid").expect("a message");
                    let mut read = String::new();
                    finished(reader.read_to_string(&mut read)).expect("valid");
                    assert_eq!(read, "Hello");
                } else {
                    assert_eq!(finished(ws.recv()).expect("valid"), Some(Message::from("Hello")));
                }
            }
        }
    });
}

#[test]
fn a_reader_continues_a_message_that_recv_began() {
    at_either_end(|role, settings, takeover| {
        for len in [100, 300_000] {
            let (mut ws, script) = open(role, settings);
            let (mut zip, words) = (Zip::new(takeover), json(len));
            let payload = zip.message(&words);
            let (first, second) = payload.split_at(payload.len() / 2);
            script.bring(wire_to(role, &[compressed(1, first).more()]));
            pending(pin!(ws.recv()), "the rest has not been received");
            let mut reader = finished(ws.reader(words.len() as u64)).expect("valid").expect("a message");
            script.bring(wire_to(role, &[continuation(second), compressed(1, zip.message(&words))]));
            let mut read = String::new();
            finished(reader.read_to_string(&mut read)).expect("valid");
            assert!(read == words);
            drop(reader);
            assert!(finished(ws.recv()).expect("valid") == Some(Message::text(words)));
        }
    });
}

#[test]
fn a_reader_applies_its_own_limit_to_the_inflated_size() {
    at_either_end(|role, settings, _| {
        for (limit, passes) in [(100_000, true), (99_999, false)] {
            let config = quiet().close_timeout(None).max_message_size(10).max_frame_size(10).max_fragments(1);
            let (mut ws, script) = deflate::open(role, &config, settings);
            let payload = zip(vec![0; 100_000]);
            script.bring(wire_to(role, &[compressed(2, &payload[..9]).more(), continuation(&payload[9..])]));
            script.end();
            let mut reader = finished(ws.reader(limit)).expect("valid").expect("a message");
            let mut read = Vec::new();
            match finished(reader.read_to_end(&mut read)) {
                Ok(len) => assert!(passes && len == 100_000),
                Err(error) => {
                    let error = error.downcast::<Error>().expect("an error of the crate");
                    let too_big =
                        matches!(error, Error::Protocol(ProtocolError::MessageTooBig { limit: 99_999 }));
                    assert!(too_big && !passes, "{error:?}");
                    assert_close(role, &script.written(), 1009, "message too big");
                }
            }
        }
    });
}

#[test]
fn errors_in_a_compressed_message_are_returned_to_its_reader() {
    at_either_end(|role, settings, _| {
        for (payload, error, code, reason) in [
            (&b"\x06"[..], ProtocolError::InvalidDeflate, 1007, "invalid compressed data"),
            (&zip("abc\u{20ac}")[..5], ProtocolError::InvalidDeflate, 1007, "invalid compressed data"),
            (&zip(b"abc\xE2\x82"), ProtocolError::InvalidUtf8, 1007, "invalid UTF-8"),
            (&zip(b"abc\xFF"), ProtocolError::InvalidUtf8, 1007, "invalid UTF-8"),
        ] {
            let (mut ws, script) = open(role, settings);
            script.bring(wire_to(role, &[compressed(1, "").more(), continuation(payload)]));
            script.end();
            let returned = match finished(ws.reader(ANY)) {
                Ok(reader) => {
                    let mut reader = reader.expect("a message");
                    loop {
                        match finished(reader.recv_part()) {
                            Ok(Some(_)) => {}
                            Ok(None) => panic!("{payload:?} was accepted"),
                            Err(returned) => break returned,
                        }
                    }
                }
                Err(returned) => returned,
            };
            assert!(matches!(returned, Error::Protocol(returned) if returned == error), "{returned:?}");
            assert_close(role, &script.written(), code, reason);
        }
    });
}

// --- writing

#[test]
fn a_message_is_compressed_as_it_is_written_and_flushed_data_can_be_inflated() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        let mut unzip = Unzip::new(takeover);
        for _ in 0..3 {
            let mut writer = ws.writer(MessageKind::Text).expect("open");
            let (mut first, mut inflated) = (true, Vec::new());
            for part in ["Hello, ", "", "Hello, ", "gr\u{fc}\u{df}e"] {
                finished(writer.write_all(part.as_bytes())).expect("open");
                finished(AsyncWriteExt::flush(&mut writer)).expect("open");
                let wire = frames::parse(&script.take_written());
                assert_eq!(wire.len(), usize::from(!part.is_empty()), "an empty part is not sent");
                for (bits, payload) in wire {
                    assert_eq!(bits, if first { 0x41 } else { 0x00 });
                    first = false;
                    inflated.extend(unzip.part(&payload));
                }
                assert!(inflated.ends_with(part.as_bytes()), "all of it can be inflated");
            }
            finished(writer.finish()).expect("open");
            let (last, payload) = frames::parse(&script.take_written()).pop().expect("the last frame");
            assert_eq!((last, &payload[..]), (0x80, &b"\x00"[..]));
            inflated.extend(unzip.message(&payload));
            assert_eq!(inflated, "Hello, Hello, gr\u{fc}\u{df}e".as_bytes());
        }
    });
}

#[test]
fn an_empty_message_is_written_and_text_may_be_split_anywhere() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        finished(ws.writer(MessageKind::Text).expect("open").finish()).expect("open");
        let mut writer = ws.writer(MessageKind::Text).expect("open");
        for byte in "\u{1f600}\u{20ac}".bytes() {
            finished(writer.feed_part(vec![byte])).expect("valid text so far");
        }
        finished(writer.finish()).expect("complete text");
        let wire = script.take_written();
        assert_eq!(frames::parse(&wire)[0], (0xC1, vec![0]));
        let messages = sent(&wire, &mut Unzip::new(takeover));
        assert_eq!(messages, [(true, Vec::new()), (true, "\u{1f600}\u{20ac}".into())]);

        let mut writer = ws.writer(MessageKind::Text).expect("open");
        let returned = finished(writer.feed_part(&b"\xFF"[..]));
        assert!(matches!(returned, Err(Error::Send(SendError::InvalidUtf8))), "{returned:?}");
        drop(writer);
        assert!(!ws.is_closed(), "nothing of it was queued");
    });
}

#[test]
fn a_writer_can_disable_compression_before_anything_is_sent() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        let mut unzip = Unzip::new(takeover);
        for uncompressed in [true, false, true] {
            let mut writer = ws.writer(MessageKind::Binary).expect("open");
            if uncompressed {
                writer = writer.uncompressed();
            }
            finished(writer.feed_part(&b""[..])).expect("open");
            finished(writer.feed_part(&b"part"[..])).expect("open");
            // This has no effect any more.
            writer = if uncompressed { writer } else { writer.uncompressed() };
            finished(writer.write_all(b", part")).expect("open");
            finished(writer.finish()).expect("open");
            let messages = sent(&script.take_written(), &mut unzip);
            assert_eq!(messages, [(!uncompressed, b"part, part".to_vec())]);
        }
    });
}

#[test]
fn a_writer_of_a_sender_can_disable_compression_too() {
    at_either_end(|role, settings, takeover| {
        let (ws, script) = open(role, settings);
        let (_receiver, sender) = ws.split();
        let mut unzip = Unzip::new(takeover);
        for uncompressed in [true, false] {
            let mut writer = finished(sender.writer(MessageKind::Binary)).expect("open");
            writer = if uncompressed { writer.uncompressed() } else { writer };
            finished(writer.write_all(b"part")).expect("open");
            finished(writer.finish()).expect("open");
            assert_eq!(sent(&script.take_written(), &mut unzip), [(!uncompressed, b"part".to_vec())]);
        }
    });
}

#[test]
fn a_writer_dropped_before_anything_was_sent_has_no_effect() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        let (mut unzip, words) = (Unzip::new(takeover), json(500));
        for _ in 0..3 {
            finished(ws.send(words.as_str())).expect("open");
            let mut writer = ws.writer(MessageKind::Text).expect("open");
            finished(writer.feed_part(&b""[..])).expect("open");
            finished(writer.write_all(b"Hello")).expect("open");
            drop(writer);
        }
        let messages = sent(&script.written(), &mut unzip);
        assert_eq!(messages, vec![(true, words.into_bytes()); 3]);
    });
}

#[test]
fn a_writer_dropped_unfinished_fails_the_connection() {
    at_either_end(|role, settings, takeover| {
        let (mut ws, script) = open(role, settings);
        let mut writer = ws.writer(MessageKind::Binary).expect("open");
        finished(writer.feed_part(&b"Hello"[..])).expect("open");
        drop(writer);
        pending(pin!(ws.recv()), "the stream has not ended");
        let wire = frames::parse(&script.written());
        assert_eq!(wire[0].0, 0x42);
        assert_eq!(Unzip::new(takeover).part(&wire[0].1), b"Hello");
        assert_eq!(wire[1], (0x88, b"\x03\xF3message not finished".to_vec()));
        assert_eq!(wire.len(), 2);
    });
}

#[test]
fn highly_compressed_messages_are_read_in_few_parts() {
    at_either_end(|role, settings, _| {
        let (mut ws, script) = open(role, settings);
        script.bring(wire_to(role, &[compressed(2, zip(vec![0; 8 << 20]))]));
        let mut reader = finished(ws.reader(ANY)).expect("valid").expect("a message");
        let (mut parts, mut len) = (0, 0);
        while let Some(part) = finished(reader.recv_part()).expect("valid") {
            (parts, len) = (parts + 1, len + part.len());
        }
        assert_eq!(len, 8 << 20);
        assert!(parts <= 140, "{parts}");
    });
}

/// The data is incompressible, in frames as large as the write buffer; then it compresses to almost
/// nothing.
#[tokio::test]
async fn large_messages_are_written_and_read_through_a_narrow_pipe() {
    for settings in takeovers() {
        let config = Config::new().ping_interval(None).max_write_buffer_size(10_000);
        let (mut client, mut server) = deflate::pair(&config, settings, 3000);
        let data = [noise(500_000), vec![0; 2 << 20], json(500_000).into_bytes()].concat();
        let expected = data.clone();
        let writing = tokio::spawn(async move {
            for _ in 0..2 {
                let mut writer = client.writer(MessageKind::Binary).expect("open");
                writer.write_all(&data).await.expect("open");
                writer.finish().await.expect("open");
                client.send(&data[..10_000]).await.expect("open");
            }
            client
        });
        for _ in 0..2 {
            let mut reader = server.reader(ANY).await.expect("valid").expect("a message");
            let mut read = Vec::new();
            reader.read_to_end(&mut read).await.expect("valid");
            assert!(read == expected);
            drop(reader);
            let short = server.recv().await.expect("valid").expect("a message");
            assert!(short.as_bytes() == &expected[..10_000]);
        }
        writing.await.expect("no panic");
    }
}
