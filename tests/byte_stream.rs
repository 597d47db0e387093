//! A connection as a stream of bytes, over the scripted stream.

mod support;

use std::{
    io::{self, IoSlice},
    pin::pin,
    time::Duration,
};

use allocation_counter::measure;
use fullduplex::{ByteStream, CloseCode, Config, Error, Message, Role, Timeout, proto::ProtocolError};
use support::{
    finished,
    frames::{self, binary, close, close_empty, continuation, frame, ping, pong, text, wire},
    pending, poll_once,
    script::{self, Script, Scripted},
    settle, without_deadlines,
    writes::{WRITES, Writes, narrow},
};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

fn server() -> (ByteStream<Scripted>, Script) {
    let (ws, script) = script::server();
    (ws.into_byte_stream(), script)
}

/// Returns the error of the crate that the error contains.
fn inner(error: &io::Error) -> &Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("an error of the crate")
}

/// Returns bytes that differ from their neighbours.
fn sample(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

// --- reading

#[tokio::test]
async fn payload_data_is_read_in_order_however_input_and_reads_are_cut() {
    let data = sample(3000);
    let input = wire(&[
        binary(&data[..10]).masked(),
        binary("").masked(),
        frame(2, &data[10..300]).more().masked(),
        ping("between").masked(),
        continuation("").more().masked(),
        continuation(&data[300..1000]).masked(),
        binary(&data[1000..]).masked(),
        close(1000, "done").masked(),
    ]);
    for read_at_most in [1, 2, 13, 500, usize::MAX] {
        for room in [1, 2, 7, 100, 1 << 16] {
            let (mut stream, script) = server();
            script.read_at_most(read_at_most);
            script.bring(&input[..]);
            script.end();
            let mut read = Vec::new();
            let mut buffer = vec![0; room];
            loop {
                match stream.read(&mut buffer).await.expect("valid") {
                    0 => break,
                    len => read.extend_from_slice(&buffer[..len]),
                }
            }
            assert!(read == data, "reads of {read_at_most} into {room}");
            assert_eq!(script.written(), wire(&[pong("between"), close(1000, "done")]));
            assert_eq!(stream.read(&mut buffer).await.expect("the end again"), 0);
            assert_eq!(stream.get_ref().close_frame().expect("a code").reason(), "done");
        }
    }
}

#[tokio::test]
async fn data_is_read_before_its_message_or_frame_is_complete() {
    let (mut stream, script) = server();
    let input = binary("hello").masked().build();
    let mut buffer = [0; 100];
    pending(pin!(stream.read(&mut buffer)), "nothing was received");
    script.bring(&input[..8]);
    assert_eq!(stream.read(&mut buffer).await.expect("valid"), 2);
    pending(pin!(stream.read(&mut buffer)), "the rest has not arrived");
    script.bring(&input[8..]);
    assert_eq!(stream.read(&mut buffer[2..]).await.expect("valid"), 3);
    assert_eq!(&buffer[..5], b"hello");
}

#[tokio::test]
async fn a_burst_of_messages_is_one_read() {
    let (mut stream, script) = server();
    script.bring(wire(&[binary("one").masked(), binary("two").masked(), binary("three").masked()]));
    let mut buffer = [0; 100];
    assert_eq!(stream.read(&mut buffer).await.expect("valid"), 11);
    assert_eq!(&buffer[..11], b"onetwothree");
    assert_eq!(script.reads(), 1);
}

#[test]
fn reads_shorter_than_a_frame_do_not_allocate_and_leave_the_rest_in_the_read_buffer() {
    let (mut stream, script) = server();
    let data = sample(60_000);
    script.bring(binary(&data).masked().build());
    let mut buffer = vec![0; 1000];
    assert_eq!(finished(stream.read(&mut buffer[..100])).expect("valid"), 100);
    let mut at = 100;
    let allocated = measure(|| {
        while at < data.len() {
            let len = finished(stream.read(&mut buffer)).expect("valid");
            assert_eq!(buffer[..len], data[at..at + len]);
            at += len;
        }
    });
    // The last 4 KiB move to a box of their size, as the unread rest of each read does.
    assert!(allocated.count_total <= 2 && allocated.bytes_total < 5000, "{allocated:?}");
}

#[tokio::test]
async fn the_limits_on_messages_do_not_apply() {
    let config = Config::new().ping_interval(None).max_message_size(10).max_fragments(2);
    let (ws, script) = script::open(Role::Server, &config);
    let data = sample(100_000);
    let mut input = vec![frame(2, "").more().masked()];
    input.extend(data.chunks(1000).map(|part| continuation(part).more().masked()));
    input.extend([continuation("").masked(), close_empty().masked()]);
    script.bring(wire(&input));
    script.end();
    let mut read = Vec::new();
    ws.into_byte_stream().read_to_end(&mut read).await.expect("valid");
    assert!(read == data);
}

// RFC 6455 section 7.4.1: 1003.
#[tokio::test]
async fn a_text_message_fails_the_connection_with_1003_and_what_came_before_is_read() {
    for fragmented in [false, true] {
        let (mut stream, script) = server();
        let text = if fragmented { frame(1, "").more() } else { text("words") };
        script.bring(wire(&[binary("bytes").masked(), text.masked(), binary("never").masked()]));
        script.end();
        let mut read = Vec::new();
        let error = stream.read_to_end(&mut read).await.expect_err("text");
        assert_eq!(read, b"bytes");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(matches!(inner(&error), Error::Protocol(ProtocolError::UnexpectedText)), "{error}");
        assert_eq!(inner(&error).close_code(), Some(CloseCode::UNSUPPORTED_DATA));
        assert_eq!(frames::parse(&script.written()), [(0x88, b"\x03\xEBtext not accepted".to_vec())]);
        let again = stream.read(&mut [0; 10]).await.expect_err("the data is not complete");
        assert_eq!(again.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn text_is_read_like_binary_data_if_it_is_accepted() {
    let (stream, script) = server();
    let mut stream = stream.accept_text(true);
    script.bring(wire(&[text("gr\u{fc}").masked(), binary("ezi").masked(), close_empty().masked()]));
    script.end();
    let mut read = String::new();
    stream.read_to_string(&mut read).await.expect("valid");
    assert_eq!(read, "gr\u{fc}ezi");
    // RFC 6455 section 8.1.
    let (stream, script) = server();
    script.bring(text(b"a\xFF").masked().build());
    script.end();
    let error = stream.accept_text(true).read_exact(&mut [0; 2]).await.expect_err("invalid UTF-8");
    assert!(matches!(inner(&error), Error::Protocol(ProtocolError::InvalidUtf8)), "{error}");
}

#[tokio::test]
async fn what_a_dropped_recv_has_assembled_is_read_first() {
    for cut in 1..25 {
        let (mut ws, script) = script::server();
        let input = wire(&[frame(2, "who").more().masked(), continuation("le").masked()]);
        script.bring(&input[..cut.min(input.len())]);
        if poll_once(pin!(ws.recv())).is_ready() {
            break;
        }
        let mut stream = ws.into_byte_stream();
        script.bring([&input[cut..], &close_empty().masked().build()].concat());
        script.end();
        let mut read = String::new();
        stream.read_to_string(&mut read).await.expect("valid");
        assert_eq!(read, "whole", "cut at {cut}");
    }
    // Of a text message too, which is refused.
    let (mut ws, script) = script::server();
    script.bring(frame(1, "wo").more().masked().build());
    pending(pin!(ws.recv()), "the message is incomplete");
    script.end();
    let error = ws.into_byte_stream().read_u8().await.expect_err("text");
    assert!(matches!(inner(&error), Error::Protocol(ProtocolError::UnexpectedText)), "{error}");
}

#[tokio::test]
async fn the_rest_of_the_message_of_a_dropped_reader_is_skipped() {
    let (mut ws, script) = script::server();
    script.bring(frame(1, "begin").more().masked().build());
    let mut reader = ws.reader(u64::MAX).await.expect("valid").expect("a message");
    assert_eq!(reader.read_u8().await.expect("valid"), b'b');
    drop(reader);
    let mut stream = ws.into_byte_stream();
    script.bring(wire(&[continuation("rest").masked(), binary("next").masked(), close_empty().masked()]));
    script.end();
    let mut read = String::new();
    stream.read_to_string(&mut read).await.expect("valid");
    assert_eq!(read, "next");
}

#[tokio::test]
async fn the_connection_exchanges_messages_again_after_into_inner() {
    let (mut stream, script) = server();
    script.bring(wire(&[frame(2, "ab").more().masked(), continuation("cd").masked(), text("next").masked()]));
    assert_eq!(stream.read_u8().await.expect("valid"), b'a');
    let mut ws = stream.into_inner();
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("next")));
}

// --- the end

#[tokio::test]
async fn only_a_close_without_the_code_of_an_error_is_the_end_of_file() {
    for (closing, ends) in [
        (close(1000, ""), true),
        (close(1001, "leaving"), true),
        (close_empty(), true),
        (close(1002, ""), false),
        (close(1011, "disk full"), false),
        (close(4000, ""), false),
    ] {
        let (mut stream, script) = server();
        script.bring(wire(&[binary("data").masked(), closing.clone().masked()]));
        script.end();
        let mut read = Vec::new();
        let end = stream.read_to_end(&mut read).await;
        assert_eq!(read, b"data");
        // The result is the same for each later read.
        for end in [end.map(drop), stream.read(&mut [0; 9]).await.map(drop)] {
            match end {
                Ok(()) => assert!(ends, "{closing:?}"),
                Err(error) => {
                    assert!(!ends, "{closing:?}");
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
                    assert!(matches!(inner(&error), Error::Closed));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_transport_that_ends_without_a_close_is_an_unexpected_end_of_file() {
    let (mut stream, script) = server();
    script.bring(binary("data").masked().build());
    script.end();
    let mut read = Vec::new();
    let error = stream.read_to_end(&mut read).await.expect_err("no Close");
    assert_eq!((&read[..], error.kind()), (&b"data"[..], io::ErrorKind::UnexpectedEof));
    assert!(matches!(Error::from(error), Error::Protocol(ProtocolError::EofWithoutClose)));
    let again = stream.read(&mut [0; 9]).await.expect_err("still no Close");
    assert_eq!(again.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_failed_transport_is_the_error_of_a_read_or_a_write_and_never_a_clean_end() {
    let (mut stream, script) = server();
    script.fail_reads(io::ErrorKind::ConnectionReset);
    assert_eq!(stream.read_u8().await.expect_err("reset").kind(), io::ErrorKind::ConnectionReset);

    let (mut stream, script) = server();
    script.fail_writes(io::ErrorKind::BrokenPipe);
    stream.write_all(b"lost").await.expect("queued");
    assert_eq!(stream.flush().await.expect_err("broken").kind(), io::ErrorKind::BrokenPipe);
    script.end();
    let read = stream.read(&mut [0; 9]).await.expect_err("no Close was received");
    assert_eq!(read.kind(), io::ErrorKind::UnexpectedEof);
}

/// In one read: what came before the error is returned first, and the error by the next call.
#[tokio::test]
async fn an_invalid_frame_is_an_error_after_what_came_before_it_was_read() {
    let (mut stream, script) = server();
    script.bring(wire(&[binary("before").masked(), binary("not masked")]));
    let mut read = [0; 100];
    assert_eq!(stream.read(&mut read).await.expect("what came before"), 6);
    assert_eq!(&read[..6], b"before");
    script.end();
    let error = stream.read(&mut read).await.expect_err("a client has to mask");
    assert!(matches!(inner(&error), Error::Protocol(ProtocolError::UnmaskedFrame)), "{error:?}");
    let written = frames::parse(&script.written());
    assert_eq!((written[0].0, &written[0].1[..2]), (0x88, &1002_u16.to_be_bytes()[..]));
}

// RFC 6455 section 5.5.1.
#[tokio::test]
async fn shutdown_sends_a_close_with_1000_after_everything_that_was_written() {
    for writes in WRITES.into_iter().filter(|writes| !writes.is_blocked()) {
        let (mut stream, script) = server();
        writes.set_up(&script);
        stream.write_all(b"first").await.expect("room");
        stream.write_all(b"second").await.expect("room");
        support::polled(stream.shutdown(), 1000, || writes.step(&script)).expect("ready").expect("open");
        assert_eq!(
            script.take_written(),
            wire(&[binary("first"), binary("second"), close(1000, "")]),
            "{writes:?}"
        );
        Writes::unblock(&script);
        stream.shutdown().await.expect("it is shut down already");
        assert_eq!(stream.write(b"more").await.expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
        // What the peer sends before its own Close is still read.
        script.bring(wire(&[binary("late").masked(), close(1000, "").masked()]));
        script.end();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.expect("closed cleanly");
        assert_eq!((&read[..], script.written()), (&b"late"[..], vec![]));
    }
}

#[tokio::test]
async fn writing_fails_once_the_peer_has_closed() {
    let (mut stream, script) = server();
    script.bring(close(1000, "").masked().build());
    pending(pin!(stream.read_u8()), "the transport has not ended");
    let error = stream.write(b"more").await.expect_err("closed");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(matches!(inner(&error), Error::Closed));
    stream.shutdown().await.expect("the answer is written already");
    assert_eq!(script.written(), close(1000, "").build());
}

#[tokio::test]
async fn a_flush_succeeds_if_the_peer_has_closed_and_left_without_our_answer() {
    for written in [true, false] {
        let (mut stream, script) = server();
        stream.write_all(b"data").await.expect("room");
        if written {
            stream.flush().await.expect("open");
        } else {
            script.allow_writes(0);
        }
        pending(pin!(stream.read_u8()), "nothing was received");
        script.fail_writes(io::ErrorKind::BrokenPipe);
        script.bring(close(1000, "").masked().build());
        script.end();
        // Data that was lost is an error, and the end is not clean.
        let ended = stream.read(&mut [0; 9]).await;
        let flushed = stream.flush().await;
        assert_eq!(flushed.is_ok() && ended.is_ok(), written, "{ended:?} {flushed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_the_close_ends_the_stream_unexpectedly() {
    let config = without_deadlines().close_timeout(Duration::from_secs(5));
    let (ws, _script) = script::open(Role::Server, &config);
    let mut stream = ws.into_byte_stream();
    stream.shutdown().await.expect("open");
    let error = stream.read_u8().await.expect_err("no Close was received");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn close_waits_for_the_end_of_the_connection() {
    let (mut stream, script) = server();
    stream.write_all(b"last").await.expect("room");
    let mut closing = pin!(stream.close());
    pending(closing.as_mut(), "the peer has not answered");
    assert_eq!(script.written(), wire(&[binary("last"), close(1000, "")]));
    script.bring(wire(&[binary("discarded").masked(), close(1000, "").masked()]));
    script.end();
    closing.await.expect("closed cleanly");
    assert!(script.is_dropped());
}

// --- writing

#[tokio::test]
async fn each_write_is_a_binary_message_of_at_most_64_kib() {
    let (mut stream, script) = server();
    let data = sample(100_000);
    assert_eq!(stream.write(b"").await.expect("open"), 0);
    assert_eq!(stream.write(b"short").await.expect("room"), 5);
    assert_eq!(stream.write(&data).await.expect("room"), 65_536);
    assert_eq!(script.written(), b"", "it is queued");
    stream.flush().await.expect("open");
    assert_eq!(script.written(), wire(&[binary("short"), binary(&data[..65_536])]));
}

#[tokio::test]
async fn a_vectored_write_is_one_message() {
    let (mut stream, script) = server();
    assert!(stream.is_write_vectored());
    let long = sample(65_000);
    for (slices, message) in [
        (vec![&b""[..], b"ab", b"", b"cd"], b"abcd".to_vec()),
        (vec![b"", b"only", b""], b"only".to_vec()),
        (vec![&long, b"", &long], [&long[..], &long[..536]].concat()),
        (vec![b"", b""], vec![]),
    ] {
        let slices: Vec<_> = slices.into_iter().map(IoSlice::new).collect();
        assert_eq!(stream.write_vectored(&slices).await.expect("room"), message.len());
        stream.flush().await.expect("open");
        let expected = if message.is_empty() { vec![] } else { binary(message).build() };
        assert!(script.take_written() == expected);
    }
}

#[tokio::test]
async fn reading_writes_what_is_queued_before_it_waits() {
    let (mut stream, script) = server();
    stream.write_all(b"question").await.expect("room");
    pending(pin!(stream.read_u8()), "there is no answer");
    assert_eq!(script.written(), binary("question").build());
}

#[tokio::test]
async fn a_write_waits_while_the_write_buffer_is_full_and_a_dropped_one_writes_nothing() {
    let (ws, script) = script::open(Role::Server, &narrow());
    let mut stream = ws.into_byte_stream();
    script.allow_writes(0);
    stream.write_all(b"0123456789abcdef").await.expect("room");
    for _ in 0..3 {
        pending(pin!(stream.write_all(b"dropped")), "there is no room");
    }
    pending(pin!(stream.flush()), "the transport accepts nothing");
    assert_eq!(stream.get_ref().queued_bytes(), 18);
    script.allow_writes(None);
    stream.write_all(b"next").await.expect("room");
    stream.flush().await.expect("open");
    assert_eq!(script.written(), wire(&[binary("0123456789abcdef"), binary("next")]));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_too_long_fails_with_the_timeout() {
    let config = without_deadlines().write_timeout(Duration::from_secs(30)).max_write_buffer_size(1);
    let (ws, script) = script::open(Role::Server, &config);
    let mut stream = ws.into_byte_stream();
    script.allow_writes(0);
    stream.write_all(b"stuck").await.expect("room");
    let error = stream.write_all(b"more").await.expect_err("nothing is accepted");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(matches!(Error::from(error), Error::Timeout(Timeout::Write)));
}

// --- two tasks

#[tokio::test(start_paused = true)]
async fn a_stuck_writer_is_woken_after_the_reader_has_polled_the_stream() {
    let (ws, script) = script::open(Role::Server, &without_deadlines());
    let (mut reader, mut writer) = split(ws.into_byte_stream());
    script.allow_writes(3);
    let writing = tokio::spawn(async move {
        writer.write_all(b"stuck").await?;
        writer.flush().await
    });
    settle().await;
    let reading = tokio::spawn(async move {
        let mut data = [0; 9];
        reader.read_exact(&mut data).await.expect("valid");
        assert_eq!(&data, b"meanwhile");
        reader.read_u8().await
    });
    script.bring(binary("meanwhile").masked().build());
    settle().await;
    assert!(!writing.is_finished());
    script.allow_writes(None);
    settle().await;
    assert!(writing.is_finished(), "the writer was not woken");
    writing.await.expect("no panic").expect("open");
    assert_eq!(script.written(), binary("stuck").build());
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_sends_what_another_task_writes_without_a_flush() {
    let (ws, script) = script::open(Role::Server, &without_deadlines());
    let (mut reader, mut writer) = split(ws.into_byte_stream());
    let reading = tokio::spawn(async move { reader.read_u8().await });
    settle().await;
    writer.write_all(b"unflushed").await.expect("room");
    settle().await;
    assert_eq!(script.written(), binary("unflushed").build());
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_reader_ends_after_another_task_has_shut_the_stream_down() {
    let config = without_deadlines().close_timeout(Duration::from_secs(5));
    let (ws, script) = script::open(Role::Server, &config);
    let (mut reader, mut writer) = split(ws.into_byte_stream());
    let reading = tokio::spawn(async move { reader.read(&mut [0; 9]).await });
    settle().await;
    writer.shutdown().await.expect("open");
    assert_eq!(script.written(), close(1000, "").build());
    script.bring(close(1000, "").masked().build());
    script.end();
    assert_eq!(reading.await.expect("no panic").expect("closed cleanly"), 0);
}

// --- debug output

#[tokio::test]
async fn debug_output_contains_no_payload_data() {
    let (mut ws, script) = script::server();
    script.bring(frame(2, "hunter2").more().masked().build());
    pending(pin!(ws.recv()), "the message is incomplete");
    let mut stream = ws.into_byte_stream();
    assert_eq!(stream.read_u8().await.expect("valid"), b'h');
    script.allow_writes(0);
    stream.write_all(b"hunter2").await.expect("room");
    let shown = format!("{stream:?}");
    assert!(shown.contains("6 bytes") && !shown.contains("unter2") && !shown.contains("117, 110"), "{shown}");
}
