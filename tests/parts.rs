//! Messages as streams of bytes.

mod support;

use std::{io, pin::pin, time::Duration};

use fullduplex::{
    CloseCode, Config, Error, Message, MessageKind, Receiver, Role, Sender, Timeout, TrySendError,
    proto::ProtocolError,
};
use support::{
    frames::{self, binary, close, continuation, frame, ping, pong, text, wire},
    pair::pair,
    pending,
    script::{self, Script, Scripted},
    settle,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

const ANY: u64 = u64::MAX;

/// Opens a split server without keep-alive, over a scripted stream.
fn split_server(config: &Config) -> (Receiver<Scripted>, Sender, Script) {
    script::split_server(config.clone().ping_interval(None))
}

// --- reading

#[tokio::test]
async fn a_message_is_read_as_it_arrives_across_fragments_and_control_frames() {
    let (mut ws, script) = script::server();
    let fragments = [
        frame(1, "gr").more().masked(),
        ping("?").masked(),
        continuation("\u{fc}ez").more().masked(),
        continuation("").more().masked(),
        continuation("i").masked(),
    ];
    script.bring(wire(&fragments[..2]));
    let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
    assert_eq!(reader.kind(), MessageKind::Text);
    assert_eq!(reader.recv_part().await.expect("valid").as_deref(), Some(&b"gr"[..]));
    pending(pin!(reader.recv_part()), "the rest has not arrived");
    script.bring(wire(&fragments[2..]));
    let mut rest = String::new();
    reader.read_to_string(&mut rest).await.expect("valid");
    assert_eq!(rest, "\u{fc}ezi");
    assert_eq!(reader.recv_part().await.expect("valid"), None);
    drop(reader);
    assert_eq!(script.written(), pong("?").build());
}

#[tokio::test]
async fn messages_are_read_in_sequence_whole_and_in_parts() {
    let (mut ws, script) = script::server();
    script.bring(wire(&[
        text("one").masked(),
        binary("").masked(),
        text("three").masked(),
        binary("four").masked(),
        close(1000, "").masked(),
    ]));
    script.end();
    let mut one = String::new();
    ws.reader(ANY).await.expect("valid").expect("a message").read_to_string(&mut one).await.expect("valid");
    assert_eq!(one, "one");
    let mut two = ws.reader(ANY).await.expect("valid").expect("a message");
    assert_eq!(
        (two.kind(), two.read_u8().await.map_err(|error| error.kind())),
        (MessageKind::Binary, Err(io::ErrorKind::UnexpectedEof))
    );
    drop(two);
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("three")));
    let mut four = ws.reader(4).await.expect("valid").expect("a message");
    assert_eq!(four.fill_buf().await.expect("valid"), b"four");
    four.consume(1);
    assert_eq!(four.read_u8().await.expect("valid"), b'o');
    drop(four);
    assert!(ws.reader(ANY).await.expect("closed cleanly").is_none());
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
}

#[tokio::test]
async fn a_dropped_reader_skips_its_message_and_no_other() {
    for receive_whole in [false, true] {
        let (mut ws, script) = script::server();
        let first = wire(&[frame(2, [7; 1000]).more().masked(), continuation("x").more().masked()]);
        script.bring(first);
        let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
        assert_eq!(reader.read_u8().await.expect("valid"), 7);
        drop(reader);
        pending(pin!(ws.recv()), "only the abandoned message was received");
        script.bring(wire(&[continuation("rest").masked(), text("next").masked()]));
        if receive_whole {
            assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("next")));
        } else {
            let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
            assert_eq!(reader.recv_part().await.expect("valid").as_deref(), Some(&b"next"[..]));
        }
    }
}

#[tokio::test]
async fn dropped_reader_and_recv_futures_lose_nothing() {
    let (mut ws, script) = script::server();
    pending(pin!(ws.reader(ANY)), "nothing was received");
    script.bring(wire(&[frame(1, "wh").more().masked()]));
    pending(pin!(ws.recv()), "the message is incomplete");
    pending(pin!(ws.recv()), "the message is incomplete");
    script.bring(wire(&[continuation("ole").masked(), text("next").masked()]));
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("whole")));
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("next")));
}

#[tokio::test]
async fn data_assembled_by_a_dropped_recv_is_read_first() {
    for cut in 0..40 {
        let (mut ws, script) = script::server();
        let message = wire(&[frame(1, "gr\u{fc}").more().masked(), continuation("ezi \u{20ac}").masked()]);
        script.bring(&message[..cut.min(message.len())]);
        if support::poll_once(pin!(ws.recv())).is_ready() {
            break;
        }
        script.bring(&message[cut..]);
        let mut read = String::new();
        let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
        reader.read_to_string(&mut read).await.expect("valid");
        assert_eq!(
            (read.as_str(), reader.kind()),
            ("gr\u{fc}ezi \u{20ac}", MessageKind::Text),
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn a_reader_has_its_own_limit_and_the_configured_limits_do_not_apply() {
    let config = Config::new().ping_interval(None).max_message_size(10).max_fragments(2);
    let (mut ws, script) = script::open(Role::Server, &config);
    let fragments = [frame(2, [0; 100]).more().masked(), continuation([0; 100]).more().masked()];
    script.bring(wire(&[&fragments[..], &[continuation([0; 100]).masked()]].concat()));
    let mut all = Vec::new();
    ws.reader(300).await.expect("valid").expect("a message").read_to_end(&mut all).await.expect("valid");
    assert_eq!(all.len(), 300);

    script.bring(wire(&[&fragments[..], &[continuation([0; 101]).masked()]].concat()));
    script.end();
    let mut reader = ws.reader(300).await.expect("valid").expect("a message");
    for _ in 0..2 {
        assert_eq!(reader.recv_part().await.expect("within the limit").expect("a part").len(), 100);
    }
    let error = reader.recv_part().await.expect_err("one byte too many");
    assert!(matches!(error, Error::Protocol(ProtocolError::MessageTooBig { limit: 300 })), "{error}");
    assert!(matches!(reader.recv_part().await, Err(Error::Closed)), "the message is incomplete");
    drop(reader);
    assert!(ws.reader(300).await.expect("the error was returned before").is_none());
    assert_eq!(script.written()[2..4], 1009_u16.to_be_bytes());
}

#[tokio::test]
async fn assembled_data_that_exceeds_the_limit_of_a_reader_fails_the_connection() {
    // A complete fragment, and a part of a longer frame.
    let frame = frame(2, [0; 100]).masked();
    for input in [frame.clone().more().build(), frame.build()[..50].to_vec()] {
        for limit in [10, 99, 100] {
            let (mut ws, script) = script::server();
            script.bring(&input[..]);
            pending(pin!(ws.recv()), "the message is incomplete");
            script.end();
            match ws.reader(limit).await {
                Ok(Some(_)) => assert_eq!(limit, 100),
                Err(Error::Protocol(ProtocolError::MessageTooBig { limit: reported })) => {
                    assert!(reported == limit && limit < 100);
                    assert_eq!(script.written()[2..4], 1009_u16.to_be_bytes());
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

// RFC 6455 section 8.1.
#[tokio::test]
async fn invalid_utf_8_fails_the_connection_when_the_invalid_byte_arrives() {
    let (mut ws, script) = script::server();
    script.bring(wire(&[frame(1, b"a\xE2\x82").more().masked()]));
    let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
    assert_eq!(reader.recv_part().await.expect("valid so far").as_deref(), Some(&b"a\xE2\x82"[..]));
    script.bring(wire(&[continuation("x").more().masked()]));
    script.end();
    let error = reader.read_u8().await.expect_err("invalid UTF-8");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let error = error.downcast::<Error>().expect("an error of the crate");
    assert!(matches!(error, Error::Protocol(ProtocolError::InvalidUtf8)), "{error}");
}

// RFC 6455 section 8.1.
#[tokio::test]
async fn text_that_ends_inside_a_code_point_fails_its_reader() {
    let (mut ws, script) = script::server();
    script.bring(wire(&[frame(1, b"a\xE2").more().masked(), continuation(b"\x82").masked()]));
    script.end();
    let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
    let error = reader.read_to_end(&mut Vec::new()).await.expect_err("invalid UTF-8");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_close_or_end_of_stream_inside_a_message_is_an_error() {
    let (mut ws, script) = script::server();
    script.bring(wire(&[frame(2, "part").more().masked(), close(1001, "").masked()]));
    script.end();
    let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
    let error = reader.read_to_end(&mut Vec::new()).await.expect_err("the message is incomplete");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(matches!(reader.recv_part().await, Err(Error::Closed)));

    let (mut ws, script) = script::server();
    script.bring(wire(&[frame(2, "part").more().masked()]));
    script.end();
    let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
    assert!(reader.recv_part().await.expect("valid").is_some());
    let error = reader.recv_part().await.expect_err("the message is incomplete");
    assert!(matches!(error, Error::Protocol(ProtocolError::EofWithoutClose)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_message_postpone_the_idle_timeout() {
    let second = Duration::from_secs(1);
    let config = Config::new().ping_interval(None).idle_timeout(10 * second);
    let (mut ws, script) = script::open(Role::Server, &config);
    script.bring(wire(&[frame(2, "x").more().masked()]));
    let mut reader = ws.reader(ANY).await.expect("valid").expect("a message");
    assert_eq!(reader.read_u8().await.expect("valid"), b'x');
    for _ in 0..5 {
        tokio::time::timeout(8 * second, reader.read_u8()).await.expect_err("nothing to read");
        script.bring(wire(&[continuation("x").more().masked()]));
        assert_eq!(reader.read_u8().await.expect("valid"), b'x');
    }
    let error = reader.recv_part().await.expect_err("idle for ten seconds");
    assert!(matches!(error, Error::Timeout(Timeout::Idle)), "{error}");
}

// --- errors through `AsyncRead` and `AsyncWrite`

/// Copies all data and shuts down the writer, with errors converted by `?`.
async fn copy(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> Result<u64, Error> {
    let copied = tokio::io::copy(from, to).await?;
    to.shutdown().await?;
    Ok(copied)
}

/// Reads this input, which begins a text message, and returns the error of the reader, with its
/// close code.
async fn copied(input: Vec<u8>, then: impl FnOnce(&Script)) -> (Error, Option<CloseCode>) {
    let (mut ws, script) = script::server();
    script.bring(input);
    then(&script);
    let mut reader = ws.reader(100).await.expect("valid").expect("a message");
    let error = copy(&mut reader, &mut tokio::io::sink()).await.expect_err("the message is incomplete");
    let code = error.close_code();
    (error, code)
}

#[tokio::test]
async fn row_77_an_error_while_copying_from_a_message_keeps_its_kind() {
    let begun = frame(1, "begun").more().masked();
    let bad = wire(&[begun.clone(), continuation(b"\xFF").masked()]);
    let (error, code) = copied(bad, Script::end).await;
    assert!(matches!(error, Error::Protocol(ProtocolError::InvalidUtf8)), "{error:#}");
    assert_eq!(code, Some(CloseCode::INVALID_PAYLOAD));

    let long = wire(&[begun.clone(), continuation([b'x'; 100]).masked()]);
    let (error, code) = copied(long, Script::end).await;
    assert!(matches!(error, Error::Protocol(ProtocolError::MessageTooBig { limit: 100 })), "{error:#}");
    assert_eq!(code, Some(CloseCode::MESSAGE_TOO_BIG));

    let closed = wire(&[begun.clone(), close(1000, "").masked()]);
    let (error, code) = copied(closed, Script::end).await;
    assert!(matches!((&error, code), (Error::Closed, None)), "{error:#}");

    let (error, _) = copied(begun.build(), Script::end).await;
    assert!(matches!(error, Error::Protocol(ProtocolError::EofWithoutClose)), "{error:#}");
    assert!(error.is_disconnect());

    let (error, _) = copied(begun.build(), |script| script.fail_reads(io::ErrorKind::ConnectionReset)).await;
    assert!(matches!(&error, Error::Transport(_)) && error.is_disconnect(), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn row_77_a_timeout_while_copying_from_a_message_keeps_its_kind() {
    let config = Config::new().idle_timeout(Duration::from_secs(9)).ping_interval(None);
    let (mut client, mut server) = fullduplex::testing::pair(&config);
    let mut writer = client.writer(MessageKind::Binary).expect("open");
    writer.feed_part("a part").await.expect("room");
    writer.flush().await.expect("open");
    let mut reader = server.reader(ANY).await.expect("valid").expect("a message");
    let error = copy(&mut reader, &mut tokio::io::sink()).await.expect_err("the rest does not arrive");
    assert!(matches!(error, Error::Timeout(Timeout::Idle)), "{error:#}");
    assert_eq!(error.close_code(), Some(CloseCode::GOING_AWAY));
}

#[tokio::test(start_paused = true)]
async fn row_77_an_error_while_copying_to_a_message_keeps_its_kind() {
    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Text).expect("open");
    let error = copy(&mut &b"\xFF"[..], &mut writer).await.expect_err("invalid UTF-8");
    assert!(matches!(error, Error::Send(fullduplex::proto::SendError::InvalidUtf8)), "{error:#}");
    drop(writer);

    script.allow_writes(10);
    let mut writer = ws.writer(MessageKind::Binary).expect("open");
    let error = copy(&mut &[0; 200_000][..], &mut writer).await.expect_err("the stream accepts no more");
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:#}");
    drop(writer);

    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Binary).expect("open");
    script.fail_writes(io::ErrorKind::BrokenPipe);
    let error = copy(&mut &[0; 200_000][..], &mut writer).await.expect_err("the stream has failed");
    assert!(matches!(&error, Error::Transport(_)) && error.is_disconnect(), "{error:#}");
    drop(writer);

    let (receiver, sender, _script) = split_server(&Config::new());
    let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
    drop(receiver);
    let error = copy(&mut &[0; 10][..], &mut writer).await.expect_err("the connection is dropped");
    assert!(matches!(error, Error::Closed), "{error:#}");
}

// --- writing

// RFC 6455 section 5.4.
#[tokio::test]
async fn small_writes_are_combined_into_frames_of_64_kib() {
    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Binary).expect("open");
    let data: Vec<u8> = (0..150_000_u32).map(|i| i as u8).collect();
    for small in data.chunks(10) {
        writer.write_all(small).await.expect("open");
    }
    writer.finish().await.expect("open");
    let sent = frames::parse(&script.written());
    let lengths: Vec<_> = sent.iter().map(|(first, payload)| (*first, payload.len())).collect();
    assert_eq!(lengths, [(0x02, 65_536), (0x00, 65_536), (0x80, 18_928)]);
    assert_eq!(sent.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>(), data);
}

#[tokio::test]
async fn short_and_empty_messages_are_written_as_one_frame() {
    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Text).expect("open");
    writer.write_all(b"short").await.expect("open");
    assert_eq!(script.written(), b"");
    writer.finish().await.expect("open");
    ws.writer(MessageKind::Binary).expect("open").finish().await.expect("open");
    assert_eq!(script.written(), wire(&[text("short"), binary("")]));
}

#[tokio::test]
async fn a_flush_sends_written_data_and_each_part_is_its_own_frame() {
    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Text).expect("open");
    writer.write_all("gr\u{fc}".as_bytes()).await.expect("open");
    writer.flush().await.expect("open");
    writer.write_all(b"\xE2").await.expect("open");
    writer.feed_part(&b"\x82"[..]).await.expect("valid so far");
    writer.feed_part("").await.expect("an empty part");
    writer.write_all(b"\xAC").await.expect("open");
    writer.shutdown().await.expect("open");
    writer.shutdown().await.expect("the message is finished");
    writer.flush().await.expect("the message is finished");
    assert_eq!(
        writer.write_all(b"late").await.expect_err("the message is finished").kind(),
        io::ErrorKind::InvalidInput
    );
    drop(writer);
    ws.send("next").await.expect("open");
    let expected = [
        frame(1, "gr\u{fc}").more(),
        continuation(b"\xE2").more(),
        continuation(b"\x82").more(),
        continuation(b"\xAC"),
        text("next"),
    ];
    assert_eq!(script.written(), wire(&expected));
}

// RFC 6455 section 5.3.
#[tokio::test]
async fn a_client_masks_each_frame_with_its_own_key() {
    let (mut ws, script) = script::client();
    let mut writer = ws.writer(MessageKind::Binary).expect("open");
    let part = bytes::Bytes::from(vec![7; 5000]);
    writer.feed_part(part.clone()).await.expect("open");
    writer.feed_part(part.clone()).await.expect("open");
    writer.finish().await.expect("open");
    let written = script.written();
    let sent = frames::parse(&written);
    assert_eq!(sent, [(0x02, part.to_vec()), (0x00, part.to_vec()), (0x80, Vec::new())]);
    assert_ne!(written[4..8], written[5008 + 4..5008 + 8]);
    assert!(part.iter().all(|byte| *byte == 7), "shared data is not masked");
}

// RFC 6455 section 7.4.1.
#[tokio::test]
async fn a_writer_dropped_unfinished_fails_the_connection_with_1011() {
    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Binary).expect("open");
    writer.feed_part("part").await.expect("open");
    drop(writer);
    assert!(ws.is_closed());
    assert!(matches!(ws.send("late").await, Err(Error::Closed)));
    script.bring(wire(&[text("on its way").masked(), close(1011, "").masked()]));
    script.end();
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("on its way")));
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    let expected = wire(&[frame(2, "part").more(), close(1011, "message not finished")]);
    assert_eq!(script.written(), expected);
}

#[tokio::test]
async fn a_writer_dropped_before_anything_was_queued_has_no_effect() {
    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Binary).expect("open");
    writer.write_all(b"taken back").await.expect("open");
    drop(writer);
    ws.send("next").await.expect("open");
    assert_eq!(script.written(), text("next").build());
}

#[tokio::test]
async fn invalid_utf_8_is_not_sent_and_abandons_the_message() {
    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Text).expect("open");
    writer.write_all(b"good").await.expect("open");
    writer.flush().await.expect("valid");
    writer.write_all(b"\xFF").await.expect("it is validated later");
    assert!(matches!(writer.flush().await, Err(Error::Send(_))));
    assert!(matches!(writer.flush().await, Err(Error::Send(_))), "the message is abandoned");
    assert!(matches!(writer.finish().await, Err(Error::Send(_))));
    ws.flush().await.expect("open");
    let expected = wire(&[frame(1, "good").more(), close(1011, "message not finished")]);
    assert_eq!(script.written(), expected);

    let (mut ws, script) = script::server();
    let mut writer = ws.writer(MessageKind::Text).expect("open");
    writer.write_all(b"\xE2\x82").await.expect("it is validated later");
    assert!(matches!(writer.finish().await, Err(Error::Send(_))), "it ends inside a code point");
    ws.send("next").await.expect("open");
    assert_eq!(script.written(), text("next").build());
}

#[tokio::test]
async fn a_write_waits_for_write_buffer_space_and_loses_nothing_when_it_is_dropped() {
    let (mut ws, script) =
        script::open(Role::Server, &Config::new().ping_interval(None).max_write_buffer_size(10));
    script.allow_writes(0);
    let mut writer = ws.writer(MessageKind::Binary).expect("open");
    writer.feed_part("0123456789").await.expect("the queue is empty");
    pending(pin!(writer.feed_part("never")), "there is no room");
    writer.write_all(b"next").await.expect("it is buffered");
    pending(pin!(writer.flush()), "there is no room");
    script.allow_writes(None);
    writer.finish().await.expect("open");
    assert_eq!(script.written(), wire(&[frame(2, "0123456789").more(), continuation("next")]));
}

// --- split connections

// RFC 6455 section 5.4: only control frames may be sent between the fragments of a message.
#[tokio::test]
async fn messages_wait_for_an_open_writer_and_control_frames_do_not() {
    let (mut receiver, sender, script) = split_server(&Config::new());
    tokio::spawn(async move { receiver.recv().await });
    let mut writer = sender.writer(MessageKind::Text).await.expect("open");
    writer.feed_part("begun, ").await.expect("open");
    let other = sender.clone();
    let mut waiting = tokio::spawn(async move { other.send("other").await });
    settle().await;
    assert!(!waiting.is_finished());
    assert!(matches!(sender.try_send("x"), Err(TrySendError::Full(_))));
    sender.ping("ours").await.expect("pings need no room");
    script.bring(ping("theirs").masked().build());
    settle().await;
    writer.write_all(b"done").await.expect("open");
    writer.finish().await.expect("open");
    (&mut waiting).await.expect("no panic").expect("open");
    sender.send("last").await.expect("open");
    let written = frames::parse(&script.written());
    let (controls, data): (Vec<_>, Vec<_>) = written.into_iter().partition(|(first, _)| first & 8 != 0);
    assert_eq!(controls, [(0x89, b"ours".to_vec()), (0x8A, b"theirs".to_vec())]);
    let expected: [(u8, &[u8]); 4] = [(0x01, b"begun, "), (0x80, b"done"), (0x81, b"other"), (0x81, b"last")];
    assert_eq!(data, expected.map(|(first, payload)| (first, payload.to_vec())));
}

#[tokio::test]
async fn a_writer_waits_for_queued_messages_and_releases_the_write_buffer_space() {
    let (_receiver, sender, script) = split_server(&Config::new().max_write_buffer_size(20));
    script.allow_writes(0);
    sender.feed("0123456789").await.expect("the queue is empty");
    let mut waiting = pin!(sender.writer(MessageKind::Binary));
    assert!(support::poll_once(waiting.as_mut()).is_pending());
    script.allow_writes(None);
    sender.flush().await.expect("open");
    let mut writer = waiting.await.expect("open");
    writer.write_all(b"taken back").await.expect("open");
    drop(writer);
    sender.try_send("0123456789").expect("the whole buffer is free");
    let writer = sender.writer(MessageKind::Binary).await.expect("open");
    writer.finish().await.expect("open");
    let permit = sender.reserve(18).await.expect("the whole buffer is free");
    assert!(matches!(sender.try_send("x"), Err(TrySendError::Full(_))));
    drop(permit);
    assert_eq!(script.written(), wire(&[text("0123456789"), text("0123456789"), binary("")]));
}

#[tokio::test]
async fn a_writer_dropped_unfinished_closes_the_connection_for_all_senders() {
    let (mut receiver, sender, script) = split_server(&Config::new());
    let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
    writer.feed_part("part").await.expect("open");
    let other = sender.clone();
    let waiting = tokio::spawn(async move { other.send("other").await });
    settle().await;
    drop(writer);
    assert!(matches!(waiting.await.expect("no panic"), Err(Error::Closed)));
    let expected = wire(&[frame(2, "part").more(), close(1011, "message not finished")]);
    assert_eq!(script.written(), expected);
    script.bring(close(1011, "").masked().build());
    script.end();
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
}

#[tokio::test]
async fn a_writer_fails_after_a_close_from_the_peer() {
    let (mut receiver, sender, script) = split_server(&Config::new());
    let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
    writer.feed_part("part").await.expect("open");
    script.bring(close(1001, "").masked().build());
    script.end();
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
    assert!(matches!(writer.feed_part("late").await, Err(Error::Closed)));
    drop(writer);
    assert_eq!(script.written(), wire(&[frame(2, "part").more(), close(1001, "")]));
}

#[tokio::test(start_paused = true)]
async fn a_writer_enforces_the_write_timeout_if_the_receiver_is_busy() {
    let (_receiver, sender, script) = split_server(&Config::new());
    script.allow_writes(0);
    let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
    writer.write_all(&[0; 1000]).await.expect("open");
    let started = tokio::time::Instant::now();
    assert!(matches!(writer.flush().await, Err(Error::Timeout(Timeout::Write))));
    assert!(started.elapsed() < Duration::from_secs(61));
    assert!(matches!(writer.finish().await, Err(Error::Send(_) | Error::Closed)));
}

#[tokio::test]
async fn a_reader_of_a_receiver_writes_what_senders_have_queued() {
    let (mut receiver, sender, script) = split_server(&Config::new());
    script.bring(wire(&[frame(2, "part").more().masked()]));
    let mut reader = receiver.reader(ANY).await.expect("valid").expect("a message");
    assert_eq!(reader.recv_part().await.expect("valid").as_deref(), Some(&b"part"[..]));
    {
        let mut part = pin!(reader.recv_part());
        assert!(support::poll_once(part.as_mut()).is_pending());
        sender.try_send("counts on the receiver").expect("room");
        assert_eq!(script.written(), b"");
        assert!(support::poll_once(part.as_mut()).is_pending());
        assert_eq!(script.take_written(), text("counts on the receiver").build());
    }
    sender.try_send("again").expect("room");
    drop(reader);
    assert_eq!(script.written(), text("again").build());
}

#[tokio::test]
async fn split_halves_echo_a_message_in_parts_that_is_larger_than_max_message_size() {
    const LEN: usize = 3_000_000;
    let config = Config::new().max_message_size(1000);
    let (client, server) = pair(&config, 10_000);
    let (mut receiver, sender) = server.split();
    let echo = tokio::spawn(async move {
        while let Some(mut message) = receiver.reader(LEN as u64).await? {
            let mut answer = sender.writer(message.kind()).await?;
            tokio::io::copy_buf(&mut message, &mut answer).await?;
            answer.finish().await?;
        }
        Ok::<_, Error>(())
    });
    let (mut receiver, sender) = client.split();
    let text: String = ('a'..='z').chain(['\u{e9}', '\u{20ac}', '\u{1f600}']).cycle().take(LEN / 2).collect();
    let sent = text.clone();
    let sending = tokio::spawn(async move {
        let mut writer = sender.writer(MessageKind::Text).await?;
        writer.write_all(sent.as_bytes()).await?;
        writer.finish().await?;
        Ok::<_, Error>(sender)
    });
    let mut back = String::new();
    let mut reader = receiver.reader(LEN as u64).await.expect("valid").expect("a message");
    reader.read_to_string(&mut back).await.expect("valid");
    assert!(back == text, "the echo differs");
    drop(reader);
    let sender = sending.await.expect("no panic").expect("open");
    sender.close(CloseCode::NORMAL, "").await.expect("open");
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
    echo.await.expect("no panic").expect("closed cleanly");
}

#[tokio::test(start_paused = true)]
async fn a_sender_waiting_for_an_idle_writer_does_not_shorten_the_write_timeout() {
    let second = Duration::from_secs(1);
    let (_receiver, sender, script) = split_server(&Config::new().write_timeout(30 * second));
    let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
    let other = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send("waits").await }
    });
    tokio::time::sleep(29 * second).await;
    script.allow_writes(0);
    writer.feed_part("part").await.expect("open");
    let release = async {
        tokio::time::sleep(2 * second).await;
        script.allow_writes(None);
    };
    let (flushed, ()) = tokio::join!(writer.flush(), release);
    flushed.expect("stalled for 2 s of 30 s");
    writer.finish().await.expect("open");
    other.await.expect("no panic").expect("open");
}

#[tokio::test]
async fn a_writer_dropped_after_a_failed_write_queues_nothing() {
    for split in [false, true] {
        let (mut ws, script) = script::server();
        if split {
            let (_receiver, sender) = ws.split();
            let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
            writer.feed_part("part").await.expect("open");
            script.fail_writes(io::ErrorKind::BrokenPipe);
            assert!(matches!(writer.flush().await, Err(Error::Transport(_))));
            drop(writer);
            assert_eq!(sender.queued_bytes(), 0);
        } else {
            let mut writer = ws.writer(MessageKind::Binary).expect("open");
            writer.feed_part("part").await.expect("open");
            script.fail_writes(io::ErrorKind::BrokenPipe);
            assert!(matches!(writer.flush().await, Err(Error::Transport(_))));
            drop(writer);
            assert_eq!(ws.queued_bytes(), 0);
        }
    }
}

#[tokio::test]
async fn a_failed_write_is_returned_by_recv_after_the_writer_was_dropped() {
    let (mut receiver, sender, script) = split_server(&Config::new());
    let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
    writer.feed_part("part").await.expect("open");
    script.fail_writes(io::ErrorKind::BrokenPipe);
    sender.ping("it fails, and nobody asks").await.expect("it is queued");
    drop(writer);
    script.end();
    assert!(matches!(receiver.recv().await, Err(Error::Transport(_))));
}
