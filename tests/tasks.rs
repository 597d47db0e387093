//! One connection that several tasks use: each is woken by what it waits for, and by nothing else.

mod support;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use fullduplex::{
    CloseCode, Config, Error, Message, MessageKind, Receiver, Role, Sender, Timeout, TrySendError, WebSocket,
};
use futures_util::{SinkExt, StreamExt};
use support::{
    Counted, Wakes, finished,
    frames::{binary, close_empty, pong, text, wire},
    pending, poll_once,
    script::{self, Script, Scripted},
    settle, without_deadlines,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, advance, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

fn split_server(config: Config) -> (Receiver<Scripted>, Sender, Script) {
    script::split_server(config)
}

// --- row 73: the halves of `StreamExt::split` in two tasks

#[tokio::test(start_paused = true)]
async fn row_73_a_stuck_writer_is_woken_after_the_reader_has_polled_the_stream() {
    let (ws, script) = script::open(Role::Server, &without_deadlines());
    let (mut sink, mut stream) = StreamExt::split(ws);
    script.allow_writes(3);
    let writer = tokio::spawn(async move { SinkExt::send(&mut sink, Message::from("stuck")).await });
    settle().await;
    let reader = tokio::spawn(async move {
        let first = stream.next().await;
        assert!(matches!(&first, Some(Ok(message)) if message.as_text() == Some("meanwhile")), "{first:?}");
        stream.next().await
    });
    script.bring(text("meanwhile").masked().build());
    settle().await;
    assert!(!writer.is_finished());
    script.allow_writes(None);
    settle().await;
    assert!(writer.is_finished(), "the writer was not woken");
    writer.await.expect("no panic").expect("open");
    assert_eq!(script.written(), text("stuck").build());
    reader.abort();
}

#[tokio::test]
async fn row_73_two_tasks_over_tcp_echo_more_than_the_socket_holds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a client");
        let ws = fullduplex::accept(tcp).await.expect("a request");
        let (sink, stream) = StreamExt::split(ws);
        let (queue, mut queued) = tokio::sync::mpsc::unbounded_channel();
        let writer = tokio::spawn(async move {
            let mut sink = sink;
            while let Some(message) = queued.recv().await {
                SinkExt::send(&mut sink, message).await.expect("open");
            }
        });
        let mut stream = stream;
        while let Some(message) = stream.next().await {
            queue.send(message.expect("valid")).expect("the writer is running");
        }
        writer.abort();
    });
    let (ws, _) = fullduplex::connect(format!("ws://{address}")).await.expect("a server");
    let (mut receiver, sender) = ws.split();
    // Everything is sent before anything is received, so that the server's writer is stuck while
    // messages still arrive.
    const MESSAGES: usize = 400;
    for _ in 0..MESSAGES {
        sender.send(vec![7; 50_000]).await.expect("open");
    }
    for nth in 0..MESSAGES {
        let received = timeout(30 * SECOND, receiver.recv()).await;
        let received = received.unwrap_or_else(|_| panic!("message {nth} was not received"));
        assert_eq!(received.expect("valid").expect("more messages follow").len(), 50_000);
    }
    sender.close(CloseCode::NORMAL, "").await.expect("open");
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
    server.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn row_73_a_stuck_writer_times_out_without_affecting_the_readers_timer() {
    let deadlines = without_deadlines().write_timeout(30 * SECOND).close_timeout(5 * SECOND);
    let config = deadlines.ping_interval(20 * SECOND);
    let (ws, script) = script::open(Role::Server, &config);
    let (mut sink, mut stream) = StreamExt::split(ws);
    let reader = tokio::spawn(async move { stream.next().await });
    settle().await;
    script.allow_writes(0);
    let started = Instant::now();
    let sent = SinkExt::send(&mut sink, Message::from("stuck")).await;
    assert!(matches!(sent, Err(Error::Timeout(Timeout::Write))), "{sent:?}");
    assert_eq!(started.elapsed(), 30 * SECOND);
    drop(sink);
    let read = timeout(60 * SECOND, reader).await.expect("the reader is woken").expect("no panic");
    assert!(read.is_none(), "{read:?}");
    assert_eq!(started.elapsed(), 30 * SECOND, "the connection has ended");
}

#[tokio::test(start_paused = true)]
async fn row_73_keep_alive_continues_while_a_writer_waits_and_after_it_is_dropped() {
    let config = without_deadlines().ping_interval(20 * SECOND).pong_timeout(20 * SECOND);
    let (ws, script) = script::open(Role::Server, &config);
    let (mut sink, mut stream) = StreamExt::split(ws);
    let reader = tokio::spawn(async move { stream.next().await });
    settle().await;
    script.allow_writes(0);
    {
        let mut sending = pin!(SinkExt::send(&mut sink, Message::from("stuck")));
        assert!(poll_once(sending.as_mut()).is_pending());
        advance(SECOND).await;
        assert!(poll_once(sending.as_mut()).is_pending());
    }
    let started = Instant::now();
    let returned = reader.await.expect("no panic");
    assert!(matches!(returned, Some(Err(Error::Timeout(Timeout::Pong)))), "{returned:?}");
    assert_eq!(started.elapsed(), 39 * SECOND);
}

// --- row 69: closing by one task while another receives

#[tokio::test(start_paused = true)]
async fn row_69_close_timeout_counts_from_the_close_of_a_sender_while_the_receiver_waits() {
    let (mut receiver, sender, _script) = split_server(without_deadlines().close_timeout(5 * SECOND));
    let receiving = tokio::spawn(async move { (receiver.recv().await, Instant::now()) });
    tokio::time::sleep(60 * SECOND).await;
    let closed_at = Instant::now();
    sender.close(CloseCode::NORMAL, "").await.expect("open");
    let (received, ended_at) = timeout(60 * SECOND, receiving).await.expect("it ends").expect("no panic");
    assert!(matches!(received, Ok(None)), "{received:?}");
    assert_eq!(ended_at - closed_at, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn row_69_close_timeout_counts_from_the_close_of_a_sink_while_the_other_half_waits() {
    for split_by_futures in [true, false] {
        let (ws, script) = script::open(Role::Server, &without_deadlines().close_timeout(5 * SECOND));
        let receiving: tokio::task::JoinHandle<_>;
        let closed_at;
        if split_by_futures {
            let (mut sink, mut stream) = StreamExt::split(ws);
            receiving = tokio::spawn(async move { (stream.next().await.is_none(), Instant::now()) });
            tokio::time::sleep(60 * SECOND).await;
            closed_at = Instant::now();
            SinkExt::close(&mut sink).await.expect("open");
        } else {
            let (mut receiver, sender) = ws.split();
            receiving =
                tokio::spawn(async move { (matches!(receiver.recv().await, Ok(None)), Instant::now()) });
            tokio::time::sleep(60 * SECOND).await;
            closed_at = Instant::now();
            SinkExt::<Message>::close(&mut sender.sink()).await.expect("open");
        }
        assert_eq!(script.written(), close_empty().build());
        let (clean, ended_at) = timeout(60 * SECOND, receiving).await.expect("it ends").expect("no panic");
        assert!(clean);
        assert_eq!(ended_at - closed_at, 5 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn row_69_dropping_an_unfinished_writer_starts_close_timeout() {
    let (mut receiver, sender, _script) = split_server(without_deadlines().close_timeout(5 * SECOND));
    let receiving = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    let mut writer = sender.writer(MessageKind::Text).await.expect("open");
    writer.feed_part("begun").await.expect("open");
    let started = Instant::now();
    drop(writer);
    assert!(matches!(receiving.await.expect("no panic"), Ok(None)));
    assert_eq!(started.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn row_69_a_close_over_a_stuck_stream_without_other_deadlines_ends_at_close_timeout() {
    let config = without_deadlines().close_timeout(5 * SECOND);
    let (_receiver, sender, script) = split_server(config.clone());
    script.allow_writes(0);
    let started = Instant::now();
    let closed = timeout(60 * SECOND, sender.close(CloseCode::NORMAL, "")).await.expect("it ends");
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
    assert_eq!(started.elapsed(), 5 * SECOND);

    let (mut ws, script) = script::open(Role::Server, &config);
    script.allow_writes(0);
    let started = Instant::now();
    let closed = timeout(60 * SECOND, ws.close(CloseCode::NORMAL, "")).await.expect("it ends");
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
    assert_eq!(started.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn row_69_a_flush_without_a_deadline_ends_at_close_timeout_once_another_sender_closes() {
    let (_receiver, sender, script) = split_server(without_deadlines().close_timeout(5 * SECOND));
    script.allow_writes(0);
    let other = sender.clone();
    let flushing = tokio::spawn(async move { other.send("stuck").await });
    settle().await;
    sender.start_close(None).expect("open");
    let started = Instant::now();
    let sent = flushing.await.expect("no panic");
    assert!(matches!(sent, Err(Error::Timeout(Timeout::Close))), "{sent:?}");
    assert_eq!(started.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receiver_is_woken_when_a_senders_write_fails() {
    let (mut receiver, sender, script) = split_server(without_deadlines().close_timeout(5 * SECOND));
    let receiving = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    script.fail_writes(std::io::ErrorKind::BrokenPipe);
    let started = Instant::now();
    assert!(matches!(sender.send("lost").await, Err(Error::Transport(_))));
    assert!(matches!(timeout(60 * SECOND, receiving).await.expect("it ends").expect("no panic"), Ok(None)));
    assert_eq!(started.elapsed(), 5 * SECOND);
}

// --- feeding while the receiver waits

#[tokio::test]
async fn row_76_a_waiting_receiver_writes_a_burst_of_fed_messages_in_one_write() {
    let (mut receiver, sender, script) = split_server(without_deadlines());
    let receiving = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    for nth in 0..20 {
        sender.feed(format!("tick {nth}")).await.expect("room");
    }
    sender.reserve(10).await.expect("room").feed("by permit").expect("open");
    assert_eq!(script.writes(), 0);
    settle().await;
    assert_eq!(script.writes(), 1, "the receiver is woken once, and writes everything");
    let mut expected: Vec<_> = (0..20).map(|nth| text(format!("tick {nth}"))).collect();
    expected.push(text("by permit"));
    assert_eq!(script.written(), wire(&expected));
    receiving.abort();
}

#[tokio::test]
async fn row_76_a_waiting_receiver_writes_a_part_that_is_fed() {
    let (mut receiver, sender, script) = split_server(without_deadlines());
    let receiving = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    let mut writer = sender.writer(MessageKind::Text).await.expect("open");
    writer.feed_part("part").await.expect("room");
    settle().await;
    assert_eq!(script.written(), text("part").more().build());
    writer.finish().await.expect("open");
    receiving.abort();
}

#[tokio::test]
async fn row_76_messages_fed_while_the_receiver_is_busy_are_written_by_its_next_call() {
    let (mut receiver, sender, script) = split_server(without_deadlines());
    script.bring(text("work").masked().build());
    receiver.recv().await.expect("valid").expect("a message");
    sender.feed("answer").await.expect("room");
    settle().await;
    assert_eq!(script.written(), b"");
    pending(pin!(receiver.recv()), "nothing was received");
    assert_eq!(script.written(), text("answer").build());
}

// --- row 65: tasks that wait for something else are not woken

#[tokio::test]
async fn row_65_small_messages_do_not_wake_tasks_that_wait_for_the_end_or_to_send() {
    const WAITERS: usize = 1000;
    let (mut receiver, sender, script) = split_server(without_deadlines().max_write_buffer_size(100));
    script.allow_writes(0);
    sender.feed(vec![7; 96]).await.expect("the queue is empty");
    let polls = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for nth in 0..WAITERS {
        let (sender, polls) = (sender.clone(), polls.clone());
        let waiting = async move {
            match nth % 3 {
                0 => sender.closed().await,
                1 => sender.feed("no room").await.unwrap_or_default(),
                _ => sender.flush().await.unwrap_or_default(),
            }
        };
        tasks.spawn(Counted(Box::pin(waiting), polls));
    }
    let received = Arc::new(AtomicUsize::new(0));
    let receiving = tokio::spawn({
        let received = received.clone();
        async move {
            while let Ok(Some(_)) = receiver.recv().await {
                received.fetch_add(1, Relaxed);
            }
        }
    });
    settle().await;
    let before = polls.load(Relaxed);
    assert!(before >= WAITERS);
    for nth in 1..=100 {
        script.bring(text("small").masked().build());
        settle().await;
        assert_eq!(received.load(Relaxed), nth);
    }
    assert_eq!(polls.load(Relaxed), before, "polls of {WAITERS} tasks that wait for something else");
    script.allow_writes(None);
    sender.close(CloseCode::NORMAL, "").await.expect("open");
    while let Some(waited) = tasks.join_next().await {
        waited.expect("no panic");
    }
    receiving.abort();
}

#[tokio::test]
async fn row_65_a_dropped_future_drops_its_waker() {
    let (_receiver, sender, script) = split_server(without_deadlines().max_write_buffer_size(16));
    script.allow_writes(0);
    sender.feed(vec![7; 14]).await.expect("the queue is empty");
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    for _ in 0..10 {
        assert!(pin!(sender.closed()).poll(&mut cx).is_pending());
        assert!(pin!(sender.feed("no room")).poll(&mut cx).is_pending());
        assert!(pin!(sender.flush()).poll(&mut cx).is_pending());
        assert!(pin!(sender.reserve(10)).poll(&mut cx).is_pending());
        let mut sink = sender.sink();
        assert!(pin!(SinkExt::<Message>::flush(&mut sink)).poll(&mut cx).is_ready(), "it has queued nothing");
        assert!(pin!(SinkExt::feed(&mut sink, Message::from("x"))).poll(&mut cx).is_pending());
    }
    // One reference of the test, and one of its `Waker`.
    assert_eq!(Arc::strong_count(&wakes), 2);
    script.allow_writes(None);
    sender.close(CloseCode::NORMAL, "").await.expect("open");
    assert_eq!(wakes.0.load(Relaxed), 0);
}

// --- row 71: wakers that use the connection

/// Uses the connection when it is dropped.
struct UseOnDrop(Mutex<Option<Sender>>);

impl Wake for UseOnDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for UseOnDrop {
    fn drop(&mut self) {
        let sender = self.0.lock().expect("no panic").take().expect("dropped once");
        let _ = sender.try_send("from a waker");
        sender.queued_bytes();
        pending(pin!(sender.closed()), "it is open");
    }
}

#[test]
fn row_71_a_waker_whose_drop_uses_the_connection_does_not_deadlock() {
    let (done, finished) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let (mut receiver, sender, script) = split_server(without_deadlines().max_write_buffer_size(64));
        let new_waker = || Waker::from(Arc::new(UseOnDrop(Mutex::new(Some(sender.clone())))));
        for _ in 0..3 {
            script.allow_writes(0);
            assert!(receiver.poll_recv(&mut Context::from_waker(&new_waker())).is_pending());
            assert!(receiver.poll_recv(&mut Context::from_waker(&new_waker())).is_pending());
            sender.try_send("x").unwrap_or_default();
            assert!(receiver.poll_recv(&mut Context::from_waker(&new_waker())).is_pending());
            for _ in 0..2 {
                let (mut flushing, mut feeding) = (pin!(sender.flush()), pin!(sender.feed(vec![7; 64])));
                for _ in 0..2 {
                    assert!(flushing.as_mut().poll(&mut Context::from_waker(&new_waker())).is_pending());
                    assert!(feeding.as_mut().poll(&mut Context::from_waker(&new_waker())).is_pending());
                }
            }
            pending(pin!(receiver.recv()), "nothing was received");
            script.allow_writes(None);
            pending(pin!(receiver.recv()), "nothing was received");
        }
        done.send(()).expect("the test waits");
    });
    finished.recv_timeout(60 * SECOND).expect("no deadlock");
}

// --- outside of a runtime

#[test]
fn row_78_a_sender_works_outside_of_a_runtime_even_if_the_stream_is_slow() {
    let (receiver, sender, script) = split_server(Config::new());
    script.allow_writes(0);
    pending(pin!(sender.send("slow")), "the stream accepts nothing");
    pending(pin!(sender.close(CloseCode::NORMAL, "")), "the stream accepts nothing");
    script.allow_writes(None);
    finished(sender.flush()).expect("open");
    drop(receiver);

    let (mut ws, script) = script::server();
    script.allow_writes(0);
    pending(pin!(ws.send("slow")), "the stream accepts nothing");
    script.allow_writes(None);
    finished(ws.flush()).expect("open");
    assert_eq!(script.written(), text("slow").build());
}

#[tokio::test]
async fn row_78_a_sender_outside_of_a_runtime_uses_a_timer_of_the_runtime_that_split_the_connection() {
    let config = without_deadlines().write_timeout(Duration::from_millis(50));
    let (_receiver, sender, script) = split_server(config);
    script.allow_writes(0);
    let (result_tx, result_rx) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let parker = Arc::new(Unpark(thread::current()));
        let (waker, mut sending) = (Waker::from(parker), pin!(sender.send("stuck")));
        let sent = loop {
            match sending.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(sent) => break sent,
                Poll::Pending => thread::park(),
            }
        };
        result_tx.send(sent).expect("the test waits");
    });
    let sent = timeout(60 * SECOND, result_rx).await.expect("it is woken").expect("no panic");
    assert!(matches!(sent, Err(Error::Timeout(Timeout::Write))), "{sent:?}");
}

/// Unparks a thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

// --- ending a connection, options and counters

#[tokio::test]
async fn abort_drops_the_stream_at_once_and_is_not_an_error_for_the_receiver() {
    let (mut receiver, sender, script) = split_server(without_deadlines());
    let receiving = tokio::spawn(async move { (receiver.recv().await, receiver.with_ref(|_| ())) });
    settle().await;
    script.allow_writes(0);
    sender.try_send("lost").expect("room");
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { tokio::join!(sender.flush(), sender.closed()).0 }
    });
    settle().await;
    sender.abort();
    assert!(script.is_dropped() && sender.is_closed());
    assert!(matches!(receiving.await.expect("no panic"), (Ok(None), None)));
    assert!(matches!(waiting.await.expect("no panic"), Err(Error::Closed)));
    assert!(matches!(sender.try_send("late"), Err(TrySendError::Closed(_))));
    assert_eq!((sender.queued_bytes(), script.written()), (0, Vec::new()));
    sender.abort();
}

#[tokio::test]
async fn a_close_without_a_code_is_sent_by_a_sender_and_by_a_whole_connection() {
    let (mut receiver, sender, script) = split_server(without_deadlines());
    assert_eq!((receiver.role(), receiver.is_closed()), (Role::Server, false));
    assert_eq!(receiver.closing(), fullduplex::proto::Closing::Open);
    sender.close_with(None).await.expect("open");
    assert!(receiver.is_closed());
    assert_eq!(receiver.closing(), fullduplex::proto::Closing::CloseSent);
    assert_eq!(script.written(), close_empty().build());
    script.bring(close_empty().masked().build());
    script.end();
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
    assert_eq!(receiver.closing(), fullduplex::proto::Closing::Complete);

    let (mut ws, script) = script::server();
    script.bring(close_empty().masked().build());
    script.end();
    ws.close_with(None).await.expect("closed cleanly");
    assert_eq!(script.written(), close_empty().build());
}

#[tokio::test]
async fn the_program_sends_the_pongs_if_automatic_pongs_are_disabled() {
    for split in [false, true] {
        let (mut ws, script) = script::open(Role::Server, &without_deadlines().automatic_pongs(false));
        script.bring(wire(&[support::frames::ping("there?").masked(), binary([1]).masked()]));
        assert_eq!(ws.recv().await.expect("valid"), Some(Message::binary(vec![1])));
        ws.flush().await.expect("open");
        assert_eq!(script.written(), b"", "no pong was sent");
        if split {
            let (_receiver, sender) = ws.split();
            sender.pong("there?").await.expect("open");
            assert!(matches!(sender.pong([0; 126]).await, Err(Error::Send(_))));
        } else {
            ws.pong("there?").await.expect("open");
            assert!(matches!(ws.pong([0; 126]).await, Err(Error::Send(_))));
        }
        assert_eq!(script.written(), pong("there?").build());
    }
}

#[tokio::test]
async fn changed_limits_apply_from_the_next_frame_on() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().max_message_size(4));
    script.bring(text("four").masked().build());
    assert_eq!(ws.recv().await.expect("within the limit"), Some(Message::from("four")));
    ws.set_limits(&Config::new().max_message_size(8).max_write_buffer_size(10));
    script.bring(text("and four").masked().build());
    assert_eq!(ws.recv().await.expect("within the new limit"), Some(Message::from("and four")));
    script.allow_writes(0);
    ws.feed("12345678").await.expect("the queue is empty");
    pending(pin!(ws.feed("1")), "the queue is full");
    let (mut receiver, _sender) = ws.split();
    receiver.set_limits(&Config::new().max_message_size(7));
    script.bring(text("and four").masked().build());
    script.end();
    script.allow_writes(None);
    let returned = receiver.recv().await.expect_err("beyond the limit");
    assert_eq!(returned.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
}

#[tokio::test]
async fn the_stream_can_be_inspected_while_the_connection_is_split() {
    let (a, b) = tokio::io::duplex(100);
    drop(b);
    let ws = WebSocket::from_raw(a, Default::default(), Role::Client, &Config::new(), Default::default());
    let (receiver, _sender) = ws.split();
    assert!(receiver.with_ref(|io| format!("{io:?}").contains("Duplex")).expect("the stream exists"));
    let _: fn(Receiver<TcpStream>) = drop;
}

#[tokio::test(start_paused = true)]
async fn stats_count_messages_and_bytes_in_both_directions_and_measure_the_last_round_trip() {
    let config = without_deadlines().stats(true);
    let (mut ws, script) = script::open(Role::Server, &config);
    let input = [
        text("two ").more().masked().build(),
        support::frames::continuation("frames").masked().build(),
        binary([7; 100_000]).masked().build(),
        pong("unasked").masked().build(),
    ]
    .concat();
    script.bring(input.clone());
    for _ in 0..2 {
        ws.recv().await.expect("valid").expect("a message");
    }
    pending(pin!(ws.recv()), "nothing was received");
    ws.feed("queued").await.expect("room");
    ws.feed("behind").await.expect("room");
    ws.send(vec![7; 70_000]).await.expect("open");
    ws.send("staged").await.expect("open");
    let mut writer = ws.writer(MessageKind::Text).expect("open");
    writer.feed_part("part").await.expect("room");
    writer.finish().await.expect("open");
    let stats = ws.stats().expect("stats are enabled");
    assert_eq!((stats.messages_received, stats.messages_sent), (2, 5));
    assert_eq!(stats.bytes_received, input.len() as u64);
    assert_eq!(stats.bytes_sent, script.written().len() as u64);
    assert_eq!(stats.round_trip, None);

    ws.ping("of the program").await.expect("open");
    advance(SECOND).await;
    script.bring(pong("of the program").masked().build());
    pending(pin!(ws.recv()), "nothing was received");
    assert_eq!(ws.stats().expect("stats are enabled").round_trip, Some(SECOND));

    let (mut receiver, sender) = ws.split();
    sender.send("split").await.expect("open");
    sender.ping("again").await.expect("open");
    let mut writer = sender.writer(MessageKind::Text).await.expect("open");
    writer.feed_part("part").await.expect("room");
    writer.finish().await.expect("open");
    advance(2 * SECOND).await;
    script.bring(pong("again").masked().build());
    pending(pin!(receiver.recv()), "nothing was received");
    let stats = receiver.stats().expect("stats are enabled");
    assert_eq!((stats.messages_sent, stats.round_trip), (7, Some(2 * SECOND)));
    assert_eq!(stats.bytes_sent, script.written().len() as u64);
    let ws = receiver.reunite(sender).expect("the only sender");
    assert_eq!(ws.stats(), Some(stats));
    assert_eq!(script::server().0.stats(), None);
}

#[tokio::test(start_paused = true)]
async fn stats_measure_the_round_trip_of_keep_alive_pings() {
    let config = without_deadlines().ping_interval(20 * SECOND).stats(true);
    let (mut ws, script) = script::open(Role::Server, &config);
    pending(pin!(ws.recv()), "nothing was received");
    advance(20 * SECOND).await;
    pending(pin!(ws.recv()), "nothing was received");
    let (_, payload) = support::frames::parse(&script.take_written()).remove(0);
    advance(3 * SECOND).await;
    script.bring(pong(payload).masked().build());
    pending(pin!(ws.recv()), "nothing was received");
    assert_eq!(ws.stats().expect("stats are enabled").round_trip, Some(3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn stats_include_bytes_read_with_the_handshake_and_discarded_bytes() {
    let (a, _b) = tokio::io::duplex(100);
    let unread = text("early").build().into();
    let config = without_deadlines().stats(true);
    let mut ws = WebSocket::from_raw(a, unread, Role::Client, &config, Default::default());
    ws.recv().await.expect("valid").expect("a message");
    let stats = ws.stats().expect("stats are enabled");
    assert_eq!((stats.messages_received, stats.bytes_received), (1, 7));

    let (mut ws, script) = script::open(Role::Server, &config);
    let input = [close_empty().masked().build(), vec![0; 1000]];
    let len: usize = input.iter().map(Vec::len).sum();
    input.into_iter().for_each(|bytes| script.bring(bytes));
    script.end();
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    assert_eq!(ws.stats().expect("stats are enabled").bytes_received, len as u64);
}
