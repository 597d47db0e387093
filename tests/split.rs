//! A connection that is split into a receiver and senders.

mod support;

use std::{pin::pin, sync::Arc, time::Duration};

use fullduplex::{
    CloseCode, Config, Error, Event, Message, PreparedMessage, Receiver, Role, Sender, Timeout, TrySendError,
    WebSocket,
};
use support::{
    frames::{self, close, ping, pong, text, wire},
    pair::pair,
    pending,
    script::{self, Script, Scripted},
    settle,
};
use tokio::task::{JoinSet, yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// Opens a split server without keep-alive, over a scripted stream.
fn server() -> (Receiver<Scripted>, Sender, Script) {
    script::split_server(Config::new().ping_interval(None))
}

/// Opens a split server with this `max_write_buffer_size`.
fn server_with_room(room: usize) -> (Receiver<Scripted>, Sender, Script) {
    script::split_server(Config::new().ping_interval(None).max_write_buffer_size(room))
}

#[tokio::test]
async fn an_echo_loop_over_split_halves_returns_every_message() {
    let (mut client, server) = pair(&Config::new(), 1000);
    let (mut receiver, sender) = server.split();
    let echo = tokio::spawn(async move {
        while let Some(message) = receiver.recv().await? {
            sender.send(message).await?;
        }
        Ok::<_, Error>(())
    });
    for len in [0, 1, 125, 5000, 100_000] {
        client.send(vec![7; len]).await.expect("open");
        assert_eq!(client.recv().await.expect("open"), Some(Message::binary(vec![7; len])));
    }
    client.close(CloseCode::NORMAL, "").await.expect("closed cleanly");
    echo.await.expect("no panic").expect("closed cleanly");
}

/// The pipe of the second connection accepts no message as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_of_eight_tasks_arrive_once_intact_and_in_order() {
    messages_of_eight_tasks_arrive(2000, 2000).await;
    messages_of_eight_tasks_arrive(500, 5).await;
}

async fn messages_of_eight_tasks_arrive(each: usize, pipe: usize) {
    const SENDERS: usize = 8;
    let config = Config::new().max_write_buffer_size(4000);
    let (client, mut server) = pair(&config, pipe);
    let (mut receiver, sender) = client.split();
    let receiving = tokio::spawn(async move { receiver.recv().await });
    let mut senders = JoinSet::new();
    for index in 0..SENDERS {
        let sender = sender.clone();
        senders.spawn(async move {
            for nth in 0..each {
                let message = format!("{index} {nth} {}", "x".repeat(nth % 90));
                match nth % 4 {
                    0 => sender.send(message).await.expect("open"),
                    1 => sender.reserve(message.len()).await.expect("open").feed(message).expect("open"),
                    2 => sender.feed(message).await.expect("open"),
                    _ => retry_try_send(&sender, message).await,
                }
            }
            sender.flush().await.expect("open");
        });
    }
    let mut next = [0; SENDERS];
    for _ in 0..SENDERS * each {
        let message = server.recv().await.expect("valid").expect("another message");
        let mut words = message.as_text().expect("text").split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).expect("a number");
        let (index, nth) = (number(), number());
        assert_eq!(nth, next[index], "sender {index}");
        assert_eq!(words.next().expect("the rest").len(), nth % 90);
        next[index] += 1;
    }
    while let Some(sent) = senders.join_next().await {
        sent.expect("no panic");
    }
    let (closed, end) = tokio::join!(sender.close(CloseCode::NORMAL, "done"), server.recv());
    closed.expect("open");
    assert_eq!(end.expect("closed cleanly"), None);
    assert_eq!(receiving.await.expect("no panic").expect("closed cleanly"), None);
}

/// Retries `try_send` until there is room for the message.
async fn retry_try_send(sender: &Sender, message: String) {
    let mut message = message.into();
    while let Err(error) = sender.try_send(message) {
        let TrySendError::Full(returned) = error else { panic!("{error}") };
        message = returned;
        yield_now().await;
    }
}

#[tokio::test]
async fn messages_queued_between_two_polls_are_written_in_one_write_by_the_waiting_receiver() {
    let (mut receiver, sender, script) = server();
    tokio::spawn(async move { receiver.recv().await });
    settle().await;
    let prepared: Vec<_> = (0..20).map(|i| PreparedMessage::new(format!("tick {i}"))).collect();
    for message in &prepared {
        sender.try_send(message).expect("room");
    }
    assert_eq!(script.writes(), 0);
    settle().await;
    assert_eq!(script.writes(), 1);
    assert_eq!(script.written(), wire(&(0..20).map(|i| text(format!("tick {i}"))).collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_burst_over_max_write_buffer_is_written_before_try_send_returns_full() {
    let (mut receiver, sender, script) = server_with_room(20);
    tokio::spawn(async move { receiver.recv().await });
    settle().await;
    for _ in 0..10 {
        sender.try_send("0123456789").expect("the stream accepts everything");
    }
    settle().await;
    assert_eq!(script.written(), wire(&vec![text("0123456789"); 10]));
    script.allow_writes(0);
    sender.try_send("0123456789").expect("room");
    assert!(matches!(sender.try_send("0123456789"), Err(TrySendError::Full(_))));
}

#[tokio::test]
async fn try_send_writes_at_once_while_the_receiver_is_busy() {
    let (mut receiver, sender, script) = server();
    script.bring(text("work").masked().build());
    receiver.recv().await.expect("valid").expect("a message");
    sender.try_send("now").expect("room");
    assert_eq!(script.written(), text("now").build());
}

#[tokio::test]
async fn try_send_writes_at_once_if_the_receivers_future_was_dropped() {
    let (mut receiver, sender, script) = server();
    pending(pin!(receiver.recv()), "nothing was received");
    sender.try_send("now").expect("room");
    assert_eq!(script.written(), text("now").build());
}

#[tokio::test]
async fn queued_messages_are_written_when_a_woken_receivers_future_is_dropped() {
    let (mut receiver, sender, script) = server();
    {
        let mut receiving = pin!(receiver.recv());
        assert!(support::poll_once(receiving.as_mut()).is_pending());
        sender.try_send("counted on").expect("room");
        assert_eq!(script.written(), b"");
    }
    assert_eq!(script.written(), text("counted on").build());
}

// RFC 6455 section 5.5.2.
#[tokio::test]
async fn a_ping_is_answered_while_the_receiver_waits() {
    let (mut receiver, _sender, script) = server();
    tokio::spawn(async move { receiver.recv().await });
    script.bring(ping("there?").masked().build());
    settle().await;
    assert_eq!(script.written(), pong("there?").build());
}

#[tokio::test]
async fn the_receiver_receives_and_answers_pings_after_the_last_sender_is_dropped() {
    let (mut receiver, sender, script) = server();
    drop(sender);
    script.bring(wire(&[ping("there?").masked(), text("still").masked()]));
    assert_eq!(receiver.recv().await.expect("valid"), Some(Message::from("still")));
    script.bring(close(1000, "").masked().build());
    script.end();
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
    assert_eq!(script.written(), wire(&[pong("there?"), close(1000, "")]));
}

#[tokio::test]
async fn dropping_the_receiver_drops_the_stream_and_every_sender_fails() {
    let (receiver, sender, script) = server_with_room(10);
    script.allow_writes(0);
    sender.feed("0123456789").await.expect("the queue is empty");
    let waiting = [sender.clone(), sender.clone()].map(|sender| {
        tokio::spawn(async move { tokio::join!(sender.feed("no room"), sender.flush(), sender.closed()) })
    });
    settle().await;
    assert!(!sender.is_closed());
    drop(receiver);
    assert!(script.is_dropped());
    for waiting in waiting {
        let (fed, flushed, ()) = waiting.await.expect("no panic");
        assert!(matches!(fed, Err(Error::Closed)));
        assert!(matches!(flushed, Err(Error::Closed)));
    }
    assert!(sender.is_closed());
    assert!(matches!(sender.try_send("late"), Err(TrySendError::Closed(_))));
    assert_eq!(sender.queued_bytes(), 0);
}

#[tokio::test]
async fn a_send_dropped_while_the_receiver_waits_has_queued_its_whole_message_or_nothing() {
    let (mut receiver, sender, script) = server_with_room(10);
    let receiving = tokio::spawn(async move { receiver.recv().await });
    script.allow_writes(3);
    pending(pin!(sender.send("0123456789")), "the stream accepts three bytes");
    pending(pin!(sender.send("never queued")), "there is no room");
    script.allow_writes(None);
    sender.send("last").await.expect("open");
    assert_eq!(script.written(), wire(&[text("0123456789"), text("last")]));
    receiving.abort();
}

#[tokio::test]
async fn waiting_senders_are_served_in_order_and_try_send_does_not_overtake_them() {
    let (_receiver, sender, script) = server_with_room(20);
    script.allow_writes(0);
    sender.feed("0123456789").await.expect("the queue is empty");
    let mut large = pin!(sender.feed("a large message"));
    let mut small = pin!(sender.feed("small"));
    assert!(support::poll_once(large.as_mut()).is_pending());
    assert!(support::poll_once(small.as_mut()).is_pending());
    assert!(matches!(sender.try_send("x"), Err(TrySendError::Full(_))), "other senders wait");
    script.allow_writes(None);
    sender.flush().await.expect("open");
    large.await.expect("open");
    pending(small.as_mut(), "the large message occupies the room");
    sender.flush().await.expect("open");
    small.await.expect("open");
    sender.flush().await.expect("open");
    assert_eq!(script.written(), wire(&[text("0123456789"), text("a large message"), text("small")]));
}

#[tokio::test]
async fn one_message_larger_than_max_write_buffer_fits_an_empty_queue() {
    let (_receiver, sender, script) = server_with_room(10);
    sender.send(vec![7; 1000]).await.expect("the queue is empty");
    sender.send("and on").await.expect("room");
    assert_eq!(script.written(), wire(&[frames::binary(vec![7; 1000]), text("and on")]));
}

#[tokio::test]
async fn a_permit_holds_its_write_buffer_space_until_it_is_dropped() {
    let (_receiver, sender, script) = server_with_room(20);
    let permit = sender.reserve(18).await.expect("the queue is empty");
    assert!(matches!(sender.try_send("x"), Err(TrySendError::Full(_))));
    drop(permit);
    sender.try_send("x").expect("room");
    let permit = sender.reserve(3).await.expect("room");
    assert!(matches!(permit.feed("longer"), Err(Error::Send(_))));
    assert_eq!(script.written(), text("x").build());
}

#[tokio::test(start_paused = true)]
async fn the_receiver_enforces_the_write_timeout_of_a_stuck_sender() {
    let (mut receiver, sender, script) = server();
    script.allow_writes(0);
    let receiving = tokio::spawn(async move { (receiver.recv().await, receiver) });
    settle().await;
    let sent = sender.send("stuck").await;
    let received = receiving.await.expect("no panic").0;
    let errors = [sent.err(), received.err()].into_iter().flatten();
    let timeouts = errors.filter(|error| matches!(error, Error::Timeout(Timeout::Write))).count();
    assert_eq!(timeouts, 1, "the timeout is returned once");
    assert!(sender.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_sender_enforces_the_write_timeout_if_the_receiver_is_busy() {
    let (mut receiver, sender, script) = server_with_room(10);
    script.allow_writes(0);
    let late = tokio::spawn({
        let sender = sender.clone();
        async move {
            settle().await;
            sender.feed("no room").await
        }
    });
    let started = tokio::time::Instant::now();
    let results = [sender.send("0123456789").await, late.await.expect("no panic")];
    assert!(started.elapsed() <= 60 * SECOND);
    let timeouts =
        results.iter().filter(|result| matches!(result, Err(Error::Timeout(Timeout::Write)))).count();
    assert_eq!(timeouts, 1, "the timeout is returned once: {results:?}");
    assert!(matches!(sender.feed("late").await, Err(Error::Closed)));
    script.end();
    assert_eq!(receiver.recv().await.expect("the error was returned before"), None);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_causes_no_write_timeout() {
    let (_receiver, sender, script) = server();
    script.allow_writes(0);
    let sending = tokio::spawn(async move { sender.send(vec![7; 1000]).await });
    for _ in 0..101 {
        settle().await;
        tokio::time::advance(20 * SECOND).await;
        script.allow_writes(10);
    }
    sending.await.expect("no panic").expect("open");
}

#[tokio::test(start_paused = true)]
async fn recv_sends_keep_alive_pings_and_enforces_the_pong_timeout() {
    let (ws, script) = script::open(Role::Server, &Config::new().ping_interval(SECOND).pong_timeout(SECOND));
    let (mut receiver, sender) = ws.split();
    assert!(matches!(receiver.recv().await, Err(Error::Timeout(Timeout::Pong))));
    assert_eq!(script.written()[0], 0x89);
    sender.closed().await;
}

#[tokio::test]
async fn a_failed_write_is_returned_once() {
    let (mut receiver, sender, script) = server();
    script.fail_writes(std::io::ErrorKind::BrokenPipe);
    assert!(matches!(sender.send("lost").await, Err(Error::Transport(_))));
    assert!(matches!(sender.send("late").await, Err(Error::Closed)));
    script.bring(text("it came").masked().build());
    script.end();
    assert_eq!(receiver.recv().await.expect("valid"), Some(Message::from("it came")));
    assert_eq!(receiver.recv().await.expect("the error was returned before"), None);
}

// RFC 6455 section 7.1.2.
#[tokio::test]
async fn a_sender_closes_and_the_receiver_completes_the_closing_handshake() {
    let (mut receiver, sender, script) = server();
    sender.feed("before").await.expect("room");
    sender.close(CloseCode::NORMAL, "bye").await.expect("open");
    assert!(sender.is_closed());
    assert!(matches!(sender.feed("after").await, Err(Error::Closed)));
    assert_eq!(script.written(), wire(&[text("before"), close(1000, "bye")]));
    script.bring(wire(&[text("on its way").masked(), close(1000, "bye").masked()]));
    script.end();
    assert_eq!(receiver.recv().await.expect("valid"), Some(Message::from("on its way")));
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
    assert_eq!(receiver.close_frame().expect("a Close with a code").reason(), "bye");
}

#[tokio::test]
async fn a_close_from_the_peer_closes_every_sender() {
    let (mut receiver, sender, script) = server();
    let closed = tokio::spawn({
        let sender = sender.clone();
        async move { sender.closed().await }
    });
    settle().await;
    script.bring(close(1001, "away").masked().build());
    script.end();
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
    closed.await.expect("no panic");
    assert!(matches!(sender.send("late").await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_ping_of_a_sender_overtakes_queued_messages() {
    let (_receiver, sender, script) = server();
    sender.feed("queued").await.expect("room");
    sender.ping("first").await.expect("room");
    assert_eq!(script.written(), wire(&[ping("first"), text("queued")]));
    assert!(matches!(sender.ping([0; 126]).await, Err(Error::Send(_))));
}

#[tokio::test]
async fn reunited_halves_are_the_original_connection() {
    let (mut receiver, sender, script) = server();
    script.allow_writes(3);
    sender.feed("half").await.expect("room");
    pending(pin!(sender.flush()), "the stream accepts three bytes");
    sender.feed("queued").await.expect("room");
    script.bring([text("one").masked().build(), text("two").masked().build()].concat());
    assert_eq!(receiver.recv().await.expect("valid"), Some(Message::from("one")));

    let clone = sender.clone();
    let (receiver, sender) = *receiver.reunite(sender).expect_err("there is another sender");
    drop(clone);
    let (other_receiver, _other_sender, _other_script) = server();
    let (_, sender) = *other_receiver.reunite(sender).expect_err("the sender of another connection");
    let mut ws: WebSocket<_> = receiver.reunite(sender).expect("the two halves");

    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("two")));
    script.allow_writes(None);
    ws.send("last").await.expect("open");
    assert_eq!(script.written(), wire(&[text("half"), text("queued"), text("last")]));
    assert!(!script.is_dropped());
}

#[tokio::test]
async fn messages_queued_before_the_split_are_written_and_counted() {
    let (mut ws, script) =
        script::open(Role::Server, &Config::new().ping_interval(None).max_write_buffer_size(10));
    script.allow_writes(0);
    ws.feed("01234567").await.expect("the queue is empty");
    let (_receiver, sender) = ws.split();
    assert_eq!(sender.queued_bytes(), 10);
    assert!(matches!(sender.try_send("x"), Err(TrySendError::Full(_))));
    script.allow_writes(None);
    sender.send("x").await.expect("open");
    assert_eq!(script.written(), wire(&[text("01234567"), text("x")]));
}

#[test]
fn halves_are_send_and_a_sender_is_sync() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let (receiver, sender, _script) = server();
    is_send(&receiver);
    is_send(&sender);
    is_sync(&Arc::new(sender));
}

#[tokio::test(start_paused = true)]
async fn a_sender_waiting_for_a_permit_does_not_shorten_the_write_timeout() {
    let (_receiver, sender, script) = server_with_room(100);
    let permit = sender.reserve(90).await.expect("the queue is empty");
    let other = tokio::spawn({
        let sender = sender.clone();
        async move { sender.feed("w".repeat(60)).await }
    });
    tokio::time::sleep(29 * SECOND).await;
    script.allow_writes(0);
    permit.feed(vec![0; 90]).expect("open");
    let flush = tokio::spawn({
        let sender = sender.clone();
        async move { sender.flush().await }
    });
    tokio::time::sleep(2 * SECOND).await;
    script.allow_writes(None);
    flush.await.expect("no panic").expect("stalled for 2 s of 30 s");
    other.await.expect("no panic").expect("open");
}

#[tokio::test]
async fn a_small_and_a_large_message_take_two_writes_without_vectored_writes() {
    let (mut ws, script) = script::server();
    script.no_vectored_writes();
    ws.feed("small").await.expect("room");
    ws.send(vec![0; 5000]).await.expect("open");
    assert_eq!(script.writes(), 2);
}

#[tokio::test]
async fn a_receiver_has_what_was_negotiated_and_returns_events() {
    let (mut receiver, sender, script) = server();
    assert_eq!((receiver.subprotocol(), receiver.extensions()), (None, ""));
    script.bring([ping("a").masked().build(), text("b").masked().build()].concat());
    let mut events = Vec::new();
    for _ in 0..2 {
        events.push(receiver.recv_event().await.expect("valid").expect("open"));
    }
    assert_eq!(events, [Event::Ping("a".into()), Event::Message("b".into())]);
    let sink = sender.sink();
    assert!(!sink.get_ref().is_closed());
    sink.into_inner().send("c").await.expect("open");
    assert_eq!(script.written(), wire(&[pong("a"), text("c")]));
}
