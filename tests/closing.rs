//! The closing handshake, and every other way in which a connection ends.
//!
//! RFC 6455 sections 5.5.1 and 7.

mod support;

use std::{io::ErrorKind, pin::pin};

use fullduplex::{
    CloseCode, CloseFrame, Config, Error, Event, Message, Role, Timeout, WebSocket,
    proto::{Closing, ProtocolError},
};
use support::{
    frames::{self, binary, close, close_empty, continuation, frame, ping, pong, text, wire},
    offence::wire_to,
    pair::pair,
    pending,
    script::{self, Script, Scripted},
};
use tokio::time::{Duration, Instant, advance};

const BOTH: [Role; 2] = [Role::Server, Role::Client];

/// Returns the Close frame that most of these tests send.
fn bye() -> Option<CloseFrame> {
    Some(CloseFrame::new(CloseCode::NORMAL, "bye").expect("valid"))
}

/// Returns the first bytes and payloads of the frames that were written.
fn written(script: &Script) -> Vec<(u8, Vec<u8>)> {
    frames::parse(&script.written())
}

/// Returns the first bytes and payloads of these frames.
fn parsed(frames: &[frames::Frame]) -> Vec<(u8, Vec<u8>)> {
    frames::parse(&wire(frames))
}

/// Asserts that the connection has ended, and that its error, if any, was returned before.
async fn assert_ended(ws: &mut WebSocket<Scripted>) {
    for _ in 0..3 {
        assert_eq!(ws.recv().await.expect("the error was returned before"), None);
        assert!(matches!(ws.feed("too late").await, Err(Error::Closed)));
    }
}

/// Asserts that the result is this protocol error.
#[track_caller]
fn assert_protocol_error(result: Result<Option<Message>, Error>, expected: ProtocolError) {
    match result {
        Err(Error::Protocol(error)) => assert_eq!(error, expected),
        other => panic!("expected {expected:?}, not {other:?}"),
    }
}

// --- RFC 6455 sections 5.5.1 and 7.1.2: the closing handshake, started by the peer

// RFC 6455 section 7.1.1: the server closes the TCP connection first.
#[tokio::test]
async fn a_server_answers_a_close_then_shuts_down_and_reads_to_the_end_of_the_stream() {
    let (mut ws, script) = script::server();
    script.bring(close(1000, "bye").masked().build());
    pending(pin!(ws.recv()), "the client has not ended the stream");
    assert_eq!(script.written(), close(1000, "bye").build());
    assert!(script.is_shut_down());
    script.bring(text("still in flight").masked().build());
    pending(pin!(ws.recv()), "the client has not ended the stream");
    assert_eq!(script.reads(), 2, "unread data would make the system reset the connection");
    script.end();
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    assert_ended(&mut ws).await;
    assert_eq!(script.written(), close(1000, "bye").build());
}

// RFC 6455 section 7.1.1: a client waits for the server to close the TCP connection.
#[tokio::test]
async fn a_client_answers_a_close_and_waits_for_the_server_to_end_the_stream() {
    let (mut ws, script) = script::client();
    script.bring(close(1000, "bye").build());
    pending(pin!(ws.recv()), "the server has not ended the stream");
    assert_eq!(written(&script), parsed(&[close(1000, "bye")]));
    assert!(!script.is_shut_down(), "the server shuts down first");
    script.end();
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    assert!(script.is_shut_down());
    assert_ended(&mut ws).await;
}

// RFC 6455 section 5.5.1: the answer typically echoes the status code.
#[tokio::test]
async fn a_close_is_answered_with_its_code_and_reason_or_without_a_code() {
    let longest = "r".repeat(123);
    for role in BOTH {
        for frame in [close(1000, ""), close(1001, "bye"), close(4999, &longest), close_empty()] {
            let (mut ws, script) = script::open(role, &Config::new());
            script.bring(wire_to(role, std::slice::from_ref(&frame)));
            script.end();
            assert_eq!(ws.recv().await.expect("closed cleanly"), None);
            assert_eq!(written(&script), parsed(&[frame]));
        }
    }
}

#[tokio::test]
async fn close_frame_returns_code_and_reason_of_the_peers_close() {
    let (mut ws, script) = script::server();
    assert_eq!(ws.close_frame(), None, "no Close was received");
    ws.start_close(bye()).expect("open");
    script.bring(close(4000, "of the peer").masked().build());
    script.end();
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    let frame = ws.close_frame().expect("a Close with a code");
    assert_eq!((frame.code().get(), frame.reason()), (4000, "of the peer"));

    let (mut ws, script) = script::server();
    script.bring(close_empty().masked().build());
    script.end();
    assert_eq!(ws.recv_event().await.expect("a Close"), Some(Event::Close(None)));
    assert_eq!(ws.close_frame(), None, "it had no code");
}

#[tokio::test]
async fn the_answering_close_follows_queued_messages_and_pongs_precede_them() {
    let (mut ws, script) = script::server();
    script.bring(wire_to(Role::Server, &[text("x"), ping("!"), close(1000, "")]));
    script.end();
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("x")));
    ws.feed("one").await.expect("room");
    ws.feed("two").await.expect("room");
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    assert_eq!(script.written(), wire(&[pong("!"), text("one"), text("two"), close(1000, "")]));
}

// --- RFC 6455 sections 5.5.1 and 7.1.2: the closing handshake, started by this end

// RFC 6455 section 5.5.1: no data frame follows a Close.
#[tokio::test]
async fn our_close_follows_queued_frames_and_nothing_is_queued_after_it() {
    for role in BOTH {
        let (mut ws, script) = script::open(role, &Config::new());
        ws.feed("one").await.expect("room");
        ws.feed(vec![7; 10_000]).await.expect("room");
        ws.start_close(bye()).expect("open");
        let queued = ws.queued_bytes();
        assert!(matches!(ws.feed("late").await, Err(Error::Closed)));
        assert!(matches!(ws.send("late").await, Err(Error::Closed)));
        assert!(matches!(ws.ping("late").await, Err(Error::Closed)));
        assert!(matches!(ws.reserve(1).await.map(|_| ()), Err(Error::Closed)));
        assert!(matches!(ws.start_send("late"), Err(Error::Closed)));
        assert!(matches!(ws.start_close(bye()), Err(Error::Closed)));
        assert_eq!(ws.queued_bytes(), queued);
        ws.flush().await.expect("the stream accepts everything");
        assert_eq!(
            written(&script),
            parsed(&[text("one"), frames::binary(vec![7; 10_000]), close(1000, "bye")])
        );
    }
}

#[tokio::test]
async fn our_close_waits_for_the_frame_that_is_being_written() {
    let (mut ws, script) = script::server();
    script.allow_writes(3);
    pending(pin!(ws.send("being written")), "the stream accepts three bytes");
    ws.start_close(bye()).expect("open");
    pending(pin!(ws.recv()), "the stream accepts three bytes");
    assert_eq!(script.written().len(), 3);
    script.allow_writes(None);
    pending(pin!(ws.recv()), "the peer has not answered");
    assert_eq!(script.written(), wire(&[text("being written"), close(1000, "bye")]));
}

// RFC 6455 section 5.5.1: a Close may have no body.
#[tokio::test]
async fn a_close_without_a_code_can_be_sent() {
    let (mut ws, script) = script::server();
    ws.start_close(None).expect("open");
    ws.flush().await.expect("the stream accepts everything");
    assert_eq!(script.written(), close_empty().build());
}

// RFC 6455 section 5.5.2: a ping is answered unless a Close was received.
#[tokio::test]
async fn row_68_pings_received_between_our_close_and_the_peers_are_answered() {
    let (mut ws, script) = script::server();
    ws.start_close(bye()).expect("open");
    script.bring(wire(&[ping("late").masked(), close(1000, "bye").masked()]));
    script.end();
    assert_eq!(ws.recv_event().await.expect("a ping"), Some(Event::Ping("late".into())));
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    assert_eq!(script.written(), wire(&[close(1000, "bye"), pong("late")]));
}

#[tokio::test]
async fn row_68_every_ping_after_our_close_is_answered() {
    let (mut ws, script) = script::server();
    ws.start_close(bye()).expect("open");
    ws.flush().await.expect("the stream accepts everything");
    for n in 0..=255_u8 {
        script.bring(ping([n]).masked().build());
        support::nothing_received(&mut ws);
    }
    let pongs: Vec<_> = (0..=255_u8).map(|n| pong([n])).collect();
    assert_eq!(script.written(), [close(1000, "bye").build(), wire(&pongs)].concat());
}

#[tokio::test]
async fn row_68_pongs_after_our_close_are_bounded_if_the_peer_does_not_read() {
    let (mut ws, script) = script::server();
    script.allow_writes(0);
    ws.start_close(bye()).expect("open");
    for _ in 0..100 {
        script.bring(wire(&vec![ping([7; 100]).masked(); 100]));
        support::nothing_received(&mut ws);
        // Our Close, the pongs that are being written, and those that are queued after them.
        assert!(ws.queued_bytes() <= 7 + (8 << 10), "{} bytes", ws.queued_bytes());
    }
    script.allow_writes(None);
    support::nothing_received(&mut ws);
    assert!(script.written().starts_with(&close(1000, "bye").build()));
}

#[tokio::test]
async fn messages_between_our_close_and_the_peers_are_returned_by_recv() {
    let (mut ws, script) = script::server();
    ws.start_close(bye()).expect("open");
    script.bring(wire_to(
        Role::Server,
        &[text("one"), text("t").more(), continuation("wo"), close(1000, "bye")],
    ));
    script.end();
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("one")));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("two")));
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
}

#[tokio::test]
async fn messages_between_our_close_and_the_peers_are_discarded_by_close() {
    let (mut ws, script) = script::server();
    script.bring(wire_to(Role::Server, &[text("one"), text("two"), close(1001, "gone")]));
    script.end();
    ws.close(CloseCode::NORMAL, "bye").await.expect("closed cleanly");
    assert_eq!(ws.recv().await.expect("the connection has ended"), None);
    assert_eq!(ws.close_frame().expect("a Close with a code").reason(), "gone");
    assert_eq!(script.written(), close(1000, "bye").build());
}

#[tokio::test]
async fn an_initiating_server_shuts_down_after_the_peers_close_and_a_client_after_end_of_stream() {
    for role in BOTH {
        let (mut ws, script) = script::open(role, &Config::new());
        ws.start_close(bye()).expect("open");
        pending(pin!(ws.recv()), "the peer has not answered");
        assert!(!script.is_shut_down());
        assert_eq!(ws.closing(), Closing::CloseSent);
        script.bring(wire_to(role, &[close(1000, "bye")]));
        pending(pin!(ws.recv()), "the stream has not ended");
        assert_eq!(script.is_shut_down(), role == Role::Server);
        assert_eq!(ws.closing(), Closing::Complete);
        script.end();
        assert_eq!(ws.recv().await.expect("closed cleanly"), None);
        assert!(script.is_shut_down());
    }
}

// RFC 6455 sections 1.4 and 5.5.1.
#[tokio::test]
async fn simultaneous_closes_answer_each_other() {
    for role in BOTH {
        let (mut ws, script) = script::open(role, &Config::new());
        ws.start_close(bye()).expect("open");
        script.bring(wire_to(role, &[close(4001, "of the peer")]));
        script.end();
        assert_eq!(ws.recv().await.expect("closed cleanly"), None);
        assert_eq!(written(&script), parsed(&[close(1000, "bye")]));
        assert_eq!(ws.close_frame().expect("a Close with a code").code().get(), 4001);
    }
    let (mut client, mut server) = pair(&Config::new(), 8);
    let (at_client, at_server) = tokio::join!(
        client.close(CloseCode::NORMAL, "client"),
        server.close(CloseCode::GOING_AWAY, "server")
    );
    at_client.expect("closed cleanly");
    at_server.expect("closed cleanly");
    assert_eq!(client.close_frame().expect("a Close with a code").reason(), "server");
    assert_eq!(server.close_frame().expect("a Close with a code").reason(), "client");
}

#[tokio::test]
async fn closing_again_succeeds_and_sends_nothing() {
    let (mut ws, script) = script::server();
    script.bring(close(1000, "bye").masked().build());
    script.end();
    ws.close(CloseCode::NORMAL, "bye").await.expect("closed cleanly");
    ws.close(CloseCode::GOING_AWAY, "again").await.expect("closed already");
    assert!(matches!(ws.start_close(None), Err(Error::Closed)));
    ws.flush().await.expect("nothing is queued");
    assert_eq!(script.written(), close(1000, "bye").build());
    assert_ended(&mut ws).await;
}

#[tokio::test]
async fn closing_after_the_peers_close_completes_the_closing_handshake() {
    let (mut ws, script) = script::server();
    script.bring(close(1001, "gone").masked().build());
    assert!(matches!(ws.recv_event().await, Ok(Some(Event::Close(Some(_))))));
    script.end();
    ws.close(CloseCode::NORMAL, "bye").await.expect("closed cleanly");
    assert_eq!(script.written(), close(1001, "gone").build());
}

#[tokio::test]
async fn a_reset_or_unexpected_eof_after_both_closes_is_a_clean_end() {
    for role in BOTH {
        for kind in [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe] {
            for ours_first in [true, false] {
                let (mut ws, script) = script::open(role, &Config::new());
                if ours_first {
                    ws.start_close(bye()).expect("open");
                    ws.flush().await.expect("the stream accepts everything");
                }
                script.bring(wire_to(role, &[close(1000, "bye")]));
                script.fail_reads(kind);
                assert_eq!(ws.recv().await.expect("closed cleanly"), None);
                assert_eq!(written(&script), parsed(&[close(1000, "bye")]));
                assert_ended(&mut ws).await;
            }
        }
    }
}

#[tokio::test]
async fn dropping_a_connection_drops_its_stream_and_sends_nothing() {
    let (mut ws, script) = script::server();
    ws.feed("never sent").await.expect("room");
    drop(ws);
    assert!(script.is_dropped());
    assert_eq!(script.written(), b"");
}

// --- RFC 6455 sections 7.1.5 and 7.1.7: ends without a closing handshake

// RFC 6455 section 7.1.5: the close code is 1006.
#[tokio::test]
async fn an_end_of_stream_without_a_close_is_an_error_that_is_returned_once() {
    for role in BOTH {
        for ours in [true, false] {
            let (mut ws, script) = script::open(role, &Config::new());
            if ours {
                ws.start_close(bye()).expect("open");
            }
            script.bring(wire_to(role, &[text("before")]));
            script.end();
            assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("before")));
            let error = ws.recv().await.expect_err("there was no Close");
            assert_eq!(error.close_code(), None, "no Close can be sent");
            assert_protocol_error(Err(error), ProtocolError::EofWithoutClose);
            assert_ended(&mut ws).await;
            ws.close(CloseCode::NORMAL, "").await.expect("the connection has ended");
        }
    }
}

#[tokio::test]
async fn recv_returns_no_error_at_the_end_of_the_stream_after_flush_failed() {
    let (mut ws, script) = script::server();
    script.allow_writes(0);
    ws.feed("lost").await.expect("room");
    script.bring(text("before").masked().build());
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("before")));
    script.fail_writes(ErrorKind::BrokenPipe);
    assert!(matches!(ws.flush().await, Err(Error::Transport(_))));
    script.end();
    assert_ended(&mut ws).await;
}

#[tokio::test]
async fn a_pending_protocol_error_is_not_returned_by_recv_after_flush_failed() {
    let (mut ws, script) = script::server();
    script.allow_writes(0);
    script.bring(frame(0x3, "").masked().build());
    pending(pin!(ws.recv()), "the Close cannot be written");
    script.fail_writes(ErrorKind::BrokenPipe);
    ws.flush().await.expect_err("the stream has failed");
    script.end();
    assert_eq!(ws.recv().await.expect("the error was returned before"), None);
}

#[tokio::test]
async fn a_protocol_error_is_returned_only_after_the_close_was_written() {
    let (mut ws, script) = script::server();
    ws.feed("queued before").await.expect("room");
    script.allow_writes(0);
    script.bring(frame(0x3, "").masked().build());
    script.end();
    for allowed in 0..wire(&[text("queued before"), close(1002, "reserved opcode")]).len() {
        pending(pin!(ws.recv()), "the Close is not written");
        assert_eq!(script.written().len(), allowed);
        script.allow_writes(1);
    }
    assert_protocol_error(ws.recv().await, ProtocolError::ReservedOpcode(3));
    assert_eq!(script.written(), wire(&[text("queued before"), close(1002, "reserved opcode")]));
    assert!(script.is_shut_down());
    assert_ended(&mut ws).await;
}

#[tokio::test]
async fn after_a_protocol_error_nothing_can_be_sent_while_the_close_is_queued() {
    let (mut ws, script) = script::server();
    script.allow_writes(0);
    script.bring(frame(0x3, "").masked().build());
    pending(pin!(ws.recv()), "the Close cannot be written");
    assert_eq!(ws.closing(), Closing::Failed);
    for _ in 0..2 {
        assert!(matches!(ws.feed("late").await, Err(Error::Closed)));
    }
    script.allow_writes(None);
    script.end();
    assert_protocol_error(ws.recv().await, ProtocolError::ReservedOpcode(3));
    assert_eq!(script.written(), close(1002, "reserved opcode").build());
}

#[tokio::test]
async fn a_protocol_error_that_feed_returned_after_the_close_is_not_returned_by_recv() {
    let (mut ws, script) = script::server();
    script.bring(frame(0x3, "").masked().build());
    pending(pin!(ws.recv()), "the stream has not ended");
    assert_protocol_error(ws.feed("late").await.map(|()| None), ProtocolError::ReservedOpcode(3));
    script.end();
    assert_ended(&mut ws).await;
}

#[tokio::test(start_paused = true)]
async fn row_79_a_protocol_error_is_returned_after_the_close_timeout_if_the_peer_does_not_end_the_stream() {
    for accepted in [None, Some(1)] {
        let (mut ws, script) = script::server();
        script.allow_writes(accepted);
        script.bring(frame(0x3, "").masked().build());
        let started = Instant::now();
        assert_protocol_error(ws.recv().await, ProtocolError::ReservedOpcode(3));
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        assert_ended(&mut ws).await;
    }
}

// --- failed writes

#[tokio::test]
async fn a_failed_write_hides_no_message_and_is_returned_once() {
    let (mut ws, script) = script::server();
    script.bring(wire_to(Role::Server, &[text("one"), text("two")]));
    script.bring(wire_to(Role::Server, &[text("three")]));
    script.fail_reads(ErrorKind::ConnectionReset);
    script.fail_writes(ErrorKind::BrokenPipe);
    for message in ["one", "two", "three"] {
        assert_eq!(ws.recv().await.expect("a message"), Some(Message::from(message)));
        if message == "two" {
            ws.feed("lost").await.expect("nothing was written yet");
        }
    }
    match ws.recv().await {
        Err(Error::Transport(error)) => assert_eq!(error.kind(), ErrorKind::BrokenPipe, "the first failure"),
        other => panic!("expected a transport error, not {other:?}"),
    }
    assert_ended(&mut ws).await;
}

#[tokio::test]
async fn a_failed_write_does_not_hide_a_close_that_was_received_before() {
    let (mut ws, script) = script::server();
    script.bring(wire_to(Role::Server, &[text("one")]));
    script.bring(wire_to(Role::Server, &[text("two"), close(4000, "why")]));
    script.end();
    script.fail_writes(ErrorKind::BrokenPipe);
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("one")));
    ws.feed("an answer").await.expect("room");
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("two")));
    assert!(matches!(ws.recv().await, Err(Error::Transport(_))), "the answer is lost");
    assert_eq!(ws.close_frame().expect("a Close with a code").reason(), "why");
    assert_ended(&mut ws).await;
}

#[tokio::test]
async fn a_failed_write_of_only_the_answering_close_is_a_clean_end() {
    let (mut ws, script) = script::server();
    script.bring(close(4000, "why").masked().build());
    script.end();
    script.fail_writes(ErrorKind::BrokenPipe);
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    assert_eq!(ws.close_frame().expect("a Close with a code").reason(), "why");
}

#[tokio::test(start_paused = true)]
async fn input_that_arrived_while_the_program_was_busy_is_received_before_the_close_timeout_fires() {
    let (mut ws, script) = script::server();
    ws.start_close(bye()).expect("open");
    pending(pin!(ws.recv()), "nothing was received");
    script.bring(wire_to(Role::Server, &[text("a"), text("b"), close(1000, "bye")]));
    script.end();
    advance(Duration::from_secs(6)).await;
    assert_eq!(ws.recv().await.expect("received before the deadline"), Some(Message::from("a")));
    assert_eq!(ws.recv().await.expect("received before the deadline"), Some(Message::from("b")));
    assert_eq!(ws.recv().await.expect("received before the deadline"), None);
    assert_eq!(ws.close_frame().expect("received before the deadline").reason(), "bye");
}

#[tokio::test(start_paused = true)]
async fn the_close_timeout_does_not_expire_while_the_stream_accepts_queued_messages() {
    let (mut ws, script) = script::server();
    ws.feed(vec![7; 1000]).await.expect("room");
    script.allow_writes(0);
    ws.start_close(None).expect("open");
    for _ in 0..11 {
        pending(pin!(ws.recv()), "the peer reads slowly");
        advance(Duration::from_secs(4)).await;
        script.allow_writes(100);
    }
    pending(pin!(ws.recv()), "the peer has not answered");
    assert_eq!(script.written(), wire(&[binary(vec![7; 1000]), close_empty()]));
    script.bring(close_empty().masked().build());
    script.end();
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
}

#[tokio::test(start_paused = true)]
async fn after_a_timeout_the_connection_has_failed_and_is_closed() {
    let (mut ws, script) = script::open(Role::Server, &Config::new().idle_timeout(Duration::from_secs(1)));
    script.bring(&binary([7; 1000]).masked().build()[..500]);
    assert!(matches!(ws.recv().await, Err(Error::Timeout(Timeout::Idle))));
    assert_eq!(ws.closing(), Closing::Failed);
    assert!(ws.is_closed());
}

#[tokio::test]
async fn tls_eof_without_close_notify_is_an_end_of_stream_without_a_close() {
    let (mut ws, script) = script::server();
    script.fail_reads(ErrorKind::UnexpectedEof);
    assert_protocol_error(ws.recv().await, ProtocolError::EofWithoutClose);
    assert_ended(&mut ws).await;
}

#[tokio::test]
async fn flush_fails_if_queued_data_was_lost() {
    let (mut ws, script) = script::server();
    ws.feed("lost").await.expect("room");
    script.bring(close(1000, "bye").masked().build());
    script.end();
    script.fail_writes(ErrorKind::BrokenPipe);
    assert!(matches!(ws.recv().await, Err(Error::Transport(_))));
    assert_eq!(script.written(), b"");
    assert!(matches!(ws.flush().await, Err(Error::Closed)));
    assert_ended(&mut ws).await;
}

#[tokio::test]
async fn a_failed_write_that_send_returned_is_not_returned_by_recv() {
    let (mut ws, script) = script::server();
    script.bring(text("one").masked().build());
    script.fail_writes(ErrorKind::BrokenPipe);
    assert!(matches!(ws.send("lost").await, Err(Error::Transport(_))));
    assert!(matches!(ws.send("late").await, Err(Error::Closed)));
    assert!(matches!(ws.flush().await, Err(Error::Closed)));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("one")));
    script.fail_reads(ErrorKind::ConnectionReset);
    assert_ended(&mut ws).await;
}

#[tokio::test]
async fn after_a_failed_write_sending_fails_even_if_a_ping_was_received() {
    let (mut ws, script) = script::server();
    script.fail_writes(ErrorKind::BrokenPipe);
    assert!(matches!(ws.send("lost").await, Err(Error::Transport(_))));
    script.bring(wire_to(Role::Server, &[ping("p"), text("one")]));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("one")));
    assert!(matches!(ws.feed("late").await, Err(Error::Closed)));
    assert!(matches!(ws.send("late").await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_write_recv_returns_at_the_close_timeout_if_the_stream_does_not_end() {
    let (mut ws, script) = script::server();
    script.fail_writes(ErrorKind::BrokenPipe);
    ws.feed("lost").await.expect("room");
    let started = Instant::now();
    assert!(matches!(ws.recv().await, Err(Error::Transport(_))));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_ended(&mut ws).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_timeout_in_flush_hides_no_message_that_was_received_before() {
    let (mut ws, script) = script::server();
    script.bring(wire_to(Role::Server, &[text("one"), text("two")]));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("one")));
    script.allow_writes(0);
    ws.start_close(bye()).expect("open");
    assert!(matches!(ws.flush().await, Err(Error::Timeout(Timeout::Close))));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("two")));
    script.end();
    assert_ended(&mut ws).await;
}
