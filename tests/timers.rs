//! Keep-alive pings and deadlines, on a clock that the tests advance.

mod support;

use std::{pin::pin, time::Duration};

use fullduplex::{CloseCode, Config, Error, Message, Role, Timeout, WebSocket};
use support::{
    frames::{self, binary, close, continuation, ping, pong, text, wire},
    pending,
    script::{self, Script, Scripted},
};
use tokio::time::{Instant, advance};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Returns a configuration with a ping after 20 seconds of silence, 20 more for its pong, and no
/// other deadline.
fn keep_alive() -> Config {
    quiet().ping_interval(20 * SECOND).pong_timeout(20 * SECOND)
}

/// Returns a configuration without any deadline.
fn quiet() -> Config {
    let config = Config::new().close_timeout(None).write_timeout(None).idle_timeout(None);
    config.ping_interval(None).pong_timeout(None)
}

/// Returns the payload data of the only frame that was written, which must be a ping.
#[track_caller]
fn only_ping(script: &Script) -> Vec<u8> {
    match &frames::parse(&script.take_written())[..] {
        [(0x89, payload)] => payload.clone(),
        other => panic!("expected one ping, not {other:?}"),
    }
}

/// Polls `recv`, and asserts that it is pending.
#[track_caller]
fn nothing_received(ws: &mut WebSocket<Scripted>) {
    pending(pin!(ws.recv()), "nothing was received and no deadline has passed");
}

/// Asserts that this timeout was returned.
#[track_caller]
fn timed_out(result: Result<Option<Message>, Error>, expected: Timeout) {
    match result {
        Err(Error::Timeout(returned)) => assert_eq!(returned, expected),
        other => panic!("expected a timeout ({expected}), not {other:?}"),
    }
}

// --- keep-alive

#[tokio::test(start_paused = true)]
async fn a_ping_is_sent_after_the_interval_of_silence_and_not_before() {
    for role in [Role::Server, Role::Client] {
        let (mut ws, script) = script::open(role, &keep_alive());
        nothing_received(&mut ws);
        advance(20 * SECOND - MILLISECOND).await;
        nothing_received(&mut ws);
        assert_eq!(script.written(), b"");
        advance(MILLISECOND).await;
        nothing_received(&mut ws);
        assert_eq!(script.written()[1] & 0x80 != 0, role == Role::Client, "a client masks");
        assert_eq!(only_ping(&script).len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn the_ping_interval_wakes_a_task_that_waits_in_recv() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    let started = Instant::now();
    let receiving = tokio::spawn(async move { (ws.recv().await, ws) });
    while script.written().is_empty() {
        tokio::time::sleep(MILLISECOND).await;
    }
    assert_eq!(started.elapsed().as_secs(), 20);
    receiving.abort();
}

#[tokio::test(start_paused = true)]
async fn the_ping_interval_counts_from_the_last_message() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    nothing_received(&mut ws);
    advance(15 * SECOND).await;
    script.bring(text("here").masked().build());
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("here")));
    nothing_received(&mut ws);
    advance(20 * SECOND - MILLISECOND).await;
    nothing_received(&mut ws);
    assert_eq!(script.written(), b"");
    advance(MILLISECOND).await;
    nothing_received(&mut ws);
    only_ping(&script);
}

#[tokio::test(start_paused = true)]
async fn a_matching_pong_prevents_the_timeout_and_the_next_ping_follows_an_interval_later() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    nothing_received(&mut ws);
    let mut payloads = Vec::new();
    for _ in 0..10 {
        advance(20 * SECOND).await;
        nothing_received(&mut ws);
        let payload = only_ping(&script);
        // Just before the deadline.
        advance(20 * SECOND - MILLISECOND).await;
        script.bring(pong(&payload).masked().build());
        nothing_received(&mut ws);
        assert_eq!(script.written(), b"");
        payloads.push(payload);
    }
    payloads.sort();
    payloads.dedup();
    assert!(payloads.len() > 8, "pings have different payload data");
}

#[tokio::test(start_paused = true)]
async fn without_a_pong_the_timeout_is_returned_once_and_a_close_with_1011_is_written() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    let started = Instant::now();
    let error = ws.recv().await.expect_err("no pong is received");
    assert_eq!(started.elapsed(), 40 * SECOND);
    assert!(matches!(error, Error::Timeout(Timeout::Pong)), "{error:?}");
    assert_eq!(error.close_code(), Some(CloseCode::INTERNAL_ERROR));
    let written = script.written();
    assert_eq!(written[6..], close(1011, "pong timeout").build());
    assert!(script.is_shut_down());
    for _ in 0..3 {
        assert_eq!(ws.recv().await.expect("the error was returned"), None);
        assert!(matches!(ws.send("too late").await, Err(Error::Closed)));
    }
    assert_eq!(script.written(), written);
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_does_not_match_does_not_answer_the_ping() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    nothing_received(&mut ws);
    advance(20 * SECOND).await;
    nothing_received(&mut ws);
    let mut wrong = only_ping(&script);
    wrong[0] ^= 1;
    script.bring(wire(&[pong(wrong).masked(), pong("").masked(), text("still here").masked()]));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("still here")));
    let started = Instant::now();
    timed_out(ws.recv().await, Timeout::Pong);
    assert_eq!(started.elapsed(), 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn without_a_pong_timeout_a_ping_may_remain_unanswered() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive().pong_timeout(None));
    nothing_received(&mut ws);
    advance(20 * SECOND).await;
    nothing_received(&mut ws);
    only_ping(&script);
    advance(86_400 * SECOND).await;
    nothing_received(&mut ws);
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_waits_in_the_stream_while_the_application_is_busy_prevents_the_timeout() {
    for at_most in [usize::MAX, 1] {
        let (mut ws, script) = script::open(Role::Server, &keep_alive());
        script.read_at_most(at_most);
        nothing_received(&mut ws);
        advance(20 * SECOND).await;
        nothing_received(&mut ws);
        let payload = only_ping(&script);
        // The pong is in a later read than the message, and the connection is not polled for an
        // hour.
        script.bring(text("first").masked().build());
        script.bring(pong(payload).masked().build());
        advance(3600 * SECOND).await;
        assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("first")));
        advance(3600 * SECOND).await;
        nothing_received(&mut ws);
        assert_eq!(script.written(), b"");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_that_is_received_slowly_causes_no_pong_timeout() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    let frame = binary(vec![7; 1000]).masked().build();
    for byte in &frame[..100] {
        script.bring([*byte]);
        nothing_received(&mut ws);
        advance(19 * SECOND).await;
    }
    // The ping was sent, but cannot be answered before the frame ends.
    only_ping(&script);
    // The deadline passes only once no more bytes are received.
    let started = Instant::now();
    timed_out(ws.recv().await, Timeout::Pong);
    assert_eq!(started.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_that_is_written_slowly_causes_no_pong_timeout() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    let message = vec![7; 10_000];
    script.allow_writes(0);
    ws.feed(message.clone()).await.expect("room");
    for _ in 0..100 {
        script.allow_writes(100);
        nothing_received(&mut ws);
        advance(SECOND).await;
    }
    // The ping, which was due after 20 seconds, could not be written before the end of the frame.
    script.allow_writes(None);
    nothing_received(&mut ws);
    let frames = frames::parse(&script.take_written());
    assert_eq!(frames[0], (0x82, message));
    assert_eq!(frames[1].0, 0x89);
    advance(20 * SECOND - MILLISECOND).await;
    nothing_received(&mut ws);
    script.bring(pong(&frames[1].1).masked().build());
    nothing_received(&mut ws);
    assert_eq!(script.written(), b"");
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_cannot_be_written_causes_a_pong_timeout() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    script.allow_writes(0);
    let started = Instant::now();
    timed_out(ws.recv().await, Timeout::Pong);
    assert_eq!(started.elapsed(), 40 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_wakes_the_task_that_polled_last() {
    let (mut ws, _script) = script::open(Role::Server, &keep_alive());
    nothing_received(&mut ws);
    advance(5 * SECOND).await;
    let started = Instant::now();
    let (result, _ws) = tokio::spawn(async move { (ws.recv().await, ws) }).await.expect("no panic");
    timed_out(result, Timeout::Pong);
    assert_eq!(started.elapsed(), 35 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_keep_alive_ping_follows_our_close() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    nothing_received(&mut ws);
    ws.start_close(None).expect("open");
    nothing_received(&mut ws);
    assert_eq!(script.take_written(), frames::close_empty().build());
    advance(3600 * SECOND).await;
    nothing_received(&mut ws);
    assert_eq!(script.written(), b"");
}

// --- the other deadlines

#[tokio::test(start_paused = true)]
async fn the_idle_timeout_ends_a_silent_connection_with_1001() {
    let (mut ws, script) = script::open(Role::Server, &quiet().idle_timeout(30 * SECOND));
    let started = Instant::now();
    let error = ws.recv().await.expect_err("nothing is received");
    assert_eq!(started.elapsed(), 30 * SECOND);
    assert!(matches!(error, Error::Timeout(Timeout::Idle)), "{error:?}");
    assert_eq!(error.close_code(), Some(CloseCode::GOING_AWAY));
    assert_eq!(script.written(), close(1001, "idle timeout").build());
    assert_eq!(ws.recv().await.expect("the error was returned"), None);
}

#[tokio::test(start_paused = true)]
async fn the_write_timeout_restarts_with_every_byte_that_is_written() {
    let (mut ws, script) = script::open(Role::Server, &quiet().write_timeout(30 * SECOND));
    script.allow_writes(0);
    ws.feed("a message").await.expect("room");
    for _ in 0..5 {
        pending(pin!(ws.flush()), "the stream accepts nothing");
        advance(30 * SECOND - MILLISECOND).await;
        pending(pin!(ws.flush()), "the deadline has not passed");
        script.allow_writes(1);
    }
    pending(pin!(ws.flush()), "the stream accepts one byte");
    let started = Instant::now();
    let error = ws.flush().await.expect_err("the stream accepts nothing");
    assert_eq!(started.elapsed(), 30 * SECOND);
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
    assert_eq!(error.close_code(), None);
    assert_eq!(script.written().len(), 5);
    assert!(matches!(ws.flush().await, Err(Error::Closed)), "the message is lost");
    script.end();
    assert_eq!(ws.recv().await.expect("the error was returned"), None);
}

#[tokio::test(start_paused = true)]
async fn the_write_timeout_is_also_checked_by_recv_and_feed() {
    let config = quiet().write_timeout(30 * SECOND).max_write_buffer_size(10);
    for receives in [true, false] {
        let (mut ws, script) = script::open(Role::Server, &config);
        script.allow_writes(0);
        ws.feed("a message").await.expect("the queue is empty");
        let started = Instant::now();
        let error = if receives {
            ws.recv().await.expect_err("the stream accepts nothing")
        } else {
            ws.feed("another").await.expect_err("the stream accepts nothing")
        };
        assert_eq!(started.elapsed(), 30 * SECOND);
        assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_never_completes_causes_a_write_timeout() {
    let (mut ws, script) = script::open(Role::Server, &quiet().write_timeout(30 * SECOND));
    script.block_flush(true);
    let started = Instant::now();
    let error = ws.send("held back").await.expect_err("the stream never flushes");
    assert_eq!(started.elapsed(), 30 * SECOND);
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stall_that_is_shorter_than_the_write_timeout_causes_no_timeout() {
    let (mut ws, script) = script::open(Role::Server, &quiet().write_timeout(30 * SECOND));
    for _ in 0..3 {
        script.allow_writes(0);
        ws.feed("a message").await.expect("room");
        pending(pin!(ws.flush()), "the stream accepts nothing");
        advance(20 * SECOND).await;
        script.allow_writes(None);
        ws.flush().await.expect("the stream accepts everything");
    }
    assert_eq!(script.written(), wire(&[text("a message"), text("a message"), text("a message")]));
}

#[tokio::test(start_paused = true)]
async fn a_write_timeout_does_not_hide_messages_received_before() {
    let (mut ws, script) = script::open(Role::Server, &quiet().write_timeout(30 * SECOND));
    script.bring(wire(&[text("first").masked(), text("second").masked()]));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("first")));
    script.allow_writes(0);
    let error = ws.send("an answer").await.expect_err("the stream accepts nothing");
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
    assert_eq!(ws.recv().await.expect("received before the timeout"), Some(Message::from("second")));
    script.end();
    assert_eq!(ws.recv().await.expect("the error was returned"), None);
}

#[tokio::test(start_paused = true)]
async fn the_close_timeout_ends_the_wait_for_the_peers_close_and_is_not_an_error() {
    for role in [Role::Server, Role::Client] {
        let (mut ws, script) = script::open(role, &quiet().close_timeout(5 * SECOND));
        let started = Instant::now();
        ws.close(CloseCode::NORMAL, "bye").await.expect("our Close is written");
        assert_eq!(started.elapsed(), 5 * SECOND);
        assert_eq!(frames::parse(&script.written()), [(0x88, b"\x03\xE8bye".to_vec())]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_close_timeout_is_an_error_if_our_close_could_not_be_written() {
    let (mut ws, script) = script::open(Role::Server, &quiet().close_timeout(5 * SECOND));
    script.allow_writes(3);
    let started = Instant::now();
    let error = ws.close(CloseCode::NORMAL, "bye").await.expect_err("the stream accepts three bytes");
    assert_eq!(started.elapsed(), 5 * SECOND);
    assert!(matches!(error, Error::Timeout(Timeout::Close)), "{error:?}");
    assert_eq!(error.close_code(), None);
    assert_eq!(ws.recv().await.expect("the error was returned"), None);
}

#[tokio::test(start_paused = true)]
async fn input_from_the_peer_does_not_restart_the_close_timeout() {
    let (mut ws, script) = script::open(Role::Server, &quiet().close_timeout(5 * SECOND));
    ws.start_close(None).expect("open");
    nothing_received(&mut ws);
    for _ in 0..4 {
        advance(SECOND).await;
        script.bring(wire(&[text("not done").masked(), ping("").masked()]));
        assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("not done")));
        nothing_received(&mut ws);
    }
    let started = Instant::now();
    assert_eq!(ws.recv().await.expect("our Close is written"), None);
    assert_eq!(started.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn with_every_deadline_disabled_nothing_is_sent_and_the_connection_stays_open() {
    let (mut ws, script) = script::open(Role::Server, &quiet());
    for _ in 0..24 {
        nothing_received(&mut ws);
        advance(3600 * SECOND).await;
    }
    nothing_received(&mut ws);
    assert_eq!(script.written(), b"");
    assert_eq!((script.writes(), script.flushes()), (0, 0));

    script.allow_writes(0);
    ws.feed("stuck").await.expect("room");
    ws.start_close(None).expect("open");
    for _ in 0..24 {
        nothing_received(&mut ws);
        advance(3600 * SECOND).await;
    }
    script.allow_writes(None);
    nothing_received(&mut ws);
    assert_eq!(script.written(), wire(&[text("stuck"), frames::close_empty()]));
}

#[tokio::test(start_paused = true)]
async fn without_a_pong_timeout_keep_alive_pings_continue_without_answers() {
    let config = Config::new().ping_interval(20 * SECOND).pong_timeout(None);
    let (mut ws, script) = script::open(Role::Server, &config);
    for _ in 0..5 {
        nothing_received(&mut ws);
        advance(20 * SECOND).await;
    }
    nothing_received(&mut ws);
    assert_eq!(frames::parse(&script.written()).len(), 5);
}

#[test]
fn with_every_deadline_disabled_no_runtime_is_required() {
    let config = quiet().close_timeout(None).write_timeout(None);
    let (mut ws, script) = script::open(Role::Server, &config);
    script.allow_writes(0);
    ws.start_close(None).expect("open");
    nothing_received(&mut ws);
    script.allow_writes(None);
    script.bring(close(1000, "").masked().build());
    script.end();
    let poll = support::poll_once(pin!(ws.recv()));
    assert!(matches!(poll, std::task::Poll::Ready(Ok(None))), "{poll:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_waited_does_not_shorten_the_timeout_of_a_later_write() {
    let (mut ws, script) = script::open(Role::Server, &quiet().write_timeout(30 * SECOND));
    script.block_flush(true);
    ws.feed("first").await.expect("room");
    pending(pin!(ws.flush()), "the stream does not complete the flush");
    script.block_flush(false);
    ws.flush().await.expect("the stream accepts everything");
    advance(60 * SECOND).await;
    script.allow_writes(0);
    ws.feed("second").await.expect("room");
    pending(pin!(ws.flush()), "the deadline has not passed");
}

#[tokio::test(start_paused = true)]
async fn messages_that_arrive_while_the_program_is_busy_are_received_before_the_write_timeout() {
    let (mut ws, script) = script::open(Role::Server, &quiet().write_timeout(30 * SECOND));
    script.allow_writes(0);
    ws.feed("an answer").await.expect("room");
    nothing_received(&mut ws);
    script.bring(text("it came").masked().build());
    advance(31 * SECOND).await;
    assert_eq!(ws.recv().await.expect("in time"), Some(Message::from("it came")));
    timed_out(ws.recv().await, Timeout::Write);
}

// --- row 57: writing while what was read is handled

/// Runs a server that reads this input at once and takes 20 ms for each message. Returns the first
/// byte of each frame that it wrote, and how many messages it had handled before.
async fn written_while_working(input: Vec<u8>, feeds: bool) -> Vec<(u8, usize)> {
    let (mut ws, script) = script::open(Role::Server, &quiet());
    script.bring(input);
    let mut written = Vec::new();
    for nth in 0.. {
        let Some(received) = support::polled(ws.recv(), 1, || {}) else { break };
        let message = received.expect("valid").expect("no Close was received");
        written.extend(frames::parse(&script.take_written()).into_iter().map(|(first, _)| (first, nth)));
        if feeds {
            ws.feed(message).await.expect("room");
        }
        advance(20 * MILLISECOND).await;
    }
    written.extend(frames::parse(&script.take_written()).into_iter().map(|(first, _)| (first, usize::MAX)));
    written
}

/// RFC 6455 section 5.5.2: a pong is sent as soon as is practical.
#[tokio::test(start_paused = true)]
async fn row_57_a_pong_is_written_by_the_first_recv_after_a_millisecond() {
    let messages = wire(&vec![text("x").masked(); 5000]);
    let written = written_while_working([ping("").masked().build(), messages.clone()].concat(), false).await;
    assert_eq!(written, [(0x8A, 1)], "with the second message, 20 ms after the read");

    // At other positions of the ping among the messages.
    for before in [1, 14, 15, 16, 17, 70] {
        let input =
            [wire(&vec![text("x").masked(); before]), ping("").masked().build(), messages.clone()].concat();
        let written = written_while_working(input, false).await;
        assert!(matches!(written[..], [(0x8A, nth)] if nth <= before + 1), "{before}: {written:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn row_57_answers_are_written_while_the_rest_of_a_read_is_handled() {
    let written = written_while_working(wire(&vec![text("x").masked(); 200]), true).await;
    assert_eq!(written.len(), 200);
    for (nth, (_, by)) in written.iter().enumerate().take(160) {
        assert!(*by <= nth + 17, "answer {nth} was written at message {by}");
    }
}

#[tokio::test(start_paused = true)]
async fn row_57_a_busy_receiver_writes_messages_that_senders_feed() {
    let (mut receiver, sender, script) = script::split_server(quiet());
    script.bring(wire(&vec![text("x").masked(); 100]));
    for _ in 0..3 {
        receiver.recv().await.expect("valid").expect("a message");
    }
    sender.feed("fed").await.expect("room");
    assert_eq!(script.written(), b"");
    for _ in 0..17 {
        advance(20 * MILLISECOND).await;
        receiver.recv().await.expect("valid").expect("a message");
    }
    assert_eq!(script.written(), text("fed").build());
}

#[tokio::test(start_paused = true)]
async fn row_57_the_answers_to_a_burst_and_its_pong_take_one_write() {
    let (mut ws, script) = script::open(Role::Server, &quiet());
    script.bring([ping("").masked().build(), wire(&vec![text("x").masked(); 200])].concat());
    for _ in 0..200 {
        let message = ws.recv().await.expect("valid").expect("a message");
        ws.feed(message).await.expect("room");
    }
    assert_eq!(script.writes(), 0);
    nothing_received(&mut ws);
    assert_eq!(script.writes(), 1);
    assert_eq!(script.written(), wire(&[&[pong("")][..], &vec![text("x"); 200]].concat()));
}

// --- rows 59 to 61: peers that are alive

/// Opens a server that has just sent a keep-alive ping. Also returns its stream and the payload
/// data of the ping.
async fn pinged(config: Config) -> (WebSocket<Scripted>, Script, Vec<u8>) {
    let (mut ws, script) = script::open(Role::Server, &config);
    nothing_received(&mut ws);
    advance(20 * SECOND).await;
    nothing_received(&mut ws);
    let ping = only_ping(&script);
    (ws, script, ping)
}

/// RFC 6455 section 5.5.3: a peer may answer only the newest of several pings.
#[tokio::test(start_paused = true)]
async fn row_59_a_pong_to_a_later_ping_of_the_application_answers_the_keep_alive_ping() {
    for split in [false, true] {
        let (mut ws, script, _) = pinged(keep_alive()).await;
        advance(SECOND).await;
        if split {
            let (receiver, sender) = ws.split();
            sender.ping("first").await.expect("open");
            sender.ping("second").await.expect("open");
            ws = receiver.reunite(sender).expect("the only sender");
        } else {
            ws.ping("first").await.expect("open");
            ws.ping("second").await.expect("open");
        }
        script.take_written();
        script.bring(pong("second").masked().build());
        nothing_received(&mut ws);
        // After silence for longer than `pong_timeout`, the next ping is due, but no timeout.
        for _ in 0..2 {
            advance(20 * SECOND).await;
            nothing_received(&mut ws);
            let answer = only_ping(&script);
            script.bring(pong(answer).masked().build());
            nothing_received(&mut ws);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_59_a_pong_to_an_earlier_ping_of_the_application_does_not_answer_the_keep_alive_ping() {
    let (mut ws, script) = script::open(Role::Server, &keep_alive());
    nothing_received(&mut ws);
    ws.ping("earlier").await.expect("open");
    advance(20 * SECOND).await;
    nothing_received(&mut ws);
    script.bring(pong("earlier").masked().build());
    nothing_received(&mut ws);
    let started = Instant::now();
    timed_out(ws.recv().await, Timeout::Pong);
    assert_eq!(started.elapsed(), 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn row_60_frames_received_before_a_delayed_pong_prevent_the_timeout() {
    let (mut ws, script, ping) = pinged(keep_alive()).await;
    // Fragments of one message, then pings, then messages: each is a complete frame.
    let mut input = vec![text("a").more(), continuation("b").more(), continuation("c"), frames::ping("")];
    input.extend(vec![text("d"); 6]);
    for frame in input {
        advance(19 * SECOND).await;
        script.bring(frame.masked().build());
        let _message =
            support::polled(ws.recv(), 1, || {}).map(|received| received.expect("the peer is alive"));
    }
    advance(19 * SECOND).await;
    script.bring(pong(ping).masked().build());
    nothing_received(&mut ws);
    advance(19 * SECOND).await;
    nothing_received(&mut ws);
}

#[tokio::test(start_paused = true)]
async fn row_61_an_application_that_is_busy_for_longer_than_a_deadline_causes_no_timeout() {
    let (mut ws, script, ping) = pinged(keep_alive()).await;
    script.bring(pong(ping).masked().build());
    advance(100 * SECOND).await;
    nothing_received(&mut ws);

    // The connection was not polled, so no ping was sent, and the peer had nothing to answer.
    let config = quiet().ping_interval(20 * SECOND).pong_timeout(20 * SECOND).idle_timeout(45 * SECOND);
    let (mut ws, script) = script::open(Role::Server, &config);
    script.bring(text("work").masked().build());
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("work")));
    nothing_received(&mut ws);
    advance(50 * SECOND).await;
    nothing_received(&mut ws);
    script.bring(pong(only_ping(&script)).masked().build());
    nothing_received(&mut ws);
}

#[tokio::test(start_paused = true)]
async fn row_61_an_idle_deadline_that_is_noticed_late_is_restarted_once() {
    for late in [true, false] {
        let (mut ws, _script) = script::open(Role::Server, &quiet().idle_timeout(45 * SECOND));
        nothing_received(&mut ws);
        advance(if late { 50 * SECOND } else { 46 * SECOND }).await;
        if late {
            nothing_received(&mut ws);
            // Late again, without any input since.
            advance(50 * SECOND).await;
        }
        timed_out(ws.recv().await, Timeout::Idle);
    }
}

// --- messages that take too long

#[tokio::test(start_paused = true)]
async fn row_58_a_message_that_takes_longer_than_message_timeout_ends_the_connection_with_1008() {
    let (mut ws, script) = script::open(Role::Server, &quiet().message_timeout(10 * SECOND));
    nothing_received(&mut ws);
    advance(100 * SECOND).await;
    nothing_received(&mut ws);
    let whole = wire(&[text("a long ").more().masked(), continuation("message").masked()]);
    let started = Instant::now();
    // One byte per second.
    for byte in &whole[..9] {
        script.bring([*byte]);
        nothing_received(&mut ws);
        advance(SECOND).await;
    }
    let error = ws.recv().await.expect_err("the message takes too long");
    assert!(matches!(error, Error::Timeout(Timeout::Message)), "{error:?}");
    assert_eq!(error.close_code(), Some(CloseCode::POLICY_VIOLATION));
    assert_eq!(started.elapsed(), 10 * SECOND);
    assert_eq!(script.written(), close(1008, "message timeout").build());
}

#[tokio::test(start_paused = true)]
async fn message_timeout_counts_for_each_message_from_its_own_first_byte() {
    let (mut ws, script) = script::open(Role::Server, &quiet().message_timeout(10 * SECOND));
    // The end of each message is read together with the beginning of the next.
    let mut rest = Vec::new();
    for nth in 0..5 {
        let frame = text(format!("message {nth}")).masked().build();
        let (beginning, end) = frame.split_at(4);
        script.bring([&rest[..], beginning].concat());
        if nth > 0 {
            assert!(ws.recv().await.expect("in time").is_some());
        }
        nothing_received(&mut ws);
        advance(9 * SECOND).await;
        nothing_received(&mut ws);
        rest = end.to_vec();
    }
    // The first byte of a ping does not start the deadline.
    script.bring([rest, vec![0x89]].concat());
    assert!(ws.recv().await.expect("in time").is_some());
    nothing_received(&mut ws);
    advance(100 * SECOND).await;
    nothing_received(&mut ws);
}

#[tokio::test(start_paused = true)]
async fn message_timeout_applies_to_a_message_that_is_read_in_parts() {
    let (mut ws, script) = script::open(Role::Server, &quiet().message_timeout(10 * SECOND));
    script.bring(text("part").more().masked().build());
    let mut reader = ws.reader(1 << 20).await.expect("open").expect("a message");
    assert_eq!(reader.recv_part().await.expect("open").as_deref(), Some(&b"part"[..]));
    for _ in 0..9 {
        advance(SECOND).await;
        script.bring(continuation("x").more().masked().build());
        reader.recv_part().await.expect("in time").expect("a part");
    }
    assert!(matches!(reader.recv_part().await, Err(Error::Timeout(Timeout::Message))));
}
