//! Deadlines and wake-ups of waiting tasks: from when each deadline is counted, and which tasks are
//! not woken.

mod support;

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use fullduplex::{CloseCode, Config, Error, Message, MessageKind, Role, Timeout, WebSocket};
use futures_util::SinkExt;
use support::{
    Counted,
    frames::{self, close, close_empty, ping, pong, text},
    nothing_received, pending, script, settle, without_deadlines,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, advance, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

// --- closing

#[tokio::test(start_paused = true)]
async fn close_timeout_counts_from_when_our_close_is_written() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().close_timeout(5 * SECOND));
    script.allow_writes(0);
    ws.start_close(None).expect("open");
    let receiving = tokio::spawn(async move { (ws.recv().await, Instant::now()) });
    settle().await;
    sleep(4 * SECOND).await;
    script.allow_writes(None);
    settle().await;
    let written = Instant::now();
    assert_eq!(script.written(), close_empty().build());
    let (received, ended) = receiving.await.expect("no panic");
    assert!(matches!(received, Ok(None)), "{received:?}");
    assert_eq!(ended - written, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn close_timeout_of_a_sender_counts_from_its_close_and_not_from_when_the_stream_stalled() {
    for waits in [false, true] {
        let config = without_deadlines().write_timeout(30 * SECOND).close_timeout(5 * SECOND);
        let (mut receiver, sender, script) = script::split_server(config);
        script.allow_writes(0);
        let other = sender.clone();
        let flushing = tokio::spawn(async move { other.send("stuck").await });
        settle().await;
        sleep(20 * SECOND).await;
        if !waits {
            flushing.abort();
            settle().await;
        }
        let started = Instant::now();
        let receiving = tokio::spawn(async move { receiver.recv().await });
        let closed = sender.close(CloseCode::NORMAL, "").await;
        assert_eq!(started.elapsed(), 5 * SECOND, "{waits}: {closed:?}");
        receiving.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn close_timeout_of_a_sink_counts_from_its_close_and_not_from_when_the_stream_stalled() {
    let config = without_deadlines().write_timeout(30 * SECOND).close_timeout(5 * SECOND);
    let (mut ws, script) = script::open(Role::Server, &config);
    script.allow_writes(0);
    assert!(timeout(20 * SECOND, ws.send("stuck")).await.is_err());
    let started = Instant::now();
    let closed = SinkExt::close(&mut ws).await;
    assert_eq!(started.elapsed(), 5 * SECOND, "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn close_timeout_of_a_stuck_sender_counts_from_the_close_of_the_peer() {
    let config = without_deadlines().write_timeout(30 * SECOND).close_timeout(5 * SECOND);
    let (mut receiver, sender, script) = script::split_server(config);
    script.allow_writes(0);
    let receiving = tokio::spawn(async move { (receiver.recv().await, receiver) });
    let sending = tokio::spawn(async move { sender.send("slow").await });
    settle().await;
    sleep(6 * SECOND).await;
    script.bring(close(1000, "bye").masked().build());
    settle().await;
    sleep(SECOND).await;
    script.allow_writes(None);
    settle().await;
    assert_eq!(script.written(), [text("slow").build(), close(1000, "bye").build()].concat());
    script.end();
    sending.await.expect("no panic").expect("the message is written");
    assert!(matches!(receiving.await.expect("no panic").0, Ok(None)));
}

#[tokio::test(start_paused = true)]
async fn pings_after_our_close_do_not_extend_close_timeout() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().close_timeout(5 * SECOND));
    ws.start_close(None).expect("open");
    let started = Instant::now();
    let pinging = tokio::spawn(async move {
        for _ in 0..100 {
            sleep(SECOND).await;
            script.bring(ping("p").masked().build());
        }
    });
    assert!(matches!(ws.recv().await, Ok(None)));
    assert_eq!(started.elapsed(), 5 * SECOND);
    pinging.abort();
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_cannot_be_written_after_our_close_is_not_an_error() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().close_timeout(5 * SECOND));
    ws.start_close(None).expect("open");
    nothing_received(&mut ws);
    assert_eq!(script.take_written(), close_empty().build());
    script.allow_writes(0);
    script.bring(ping("late").masked().build());
    assert!(matches!(ws.recv().await, Ok(None)));
}

// --- keep-alive

#[tokio::test(start_paused = true)]
async fn unanswered_keep_alive_pings_do_not_accumulate() {
    let (mut ws, _script) = script::open(Role::Server, &without_deadlines().ping_interval(SECOND));
    assert!(timeout(1000 * SECOND, ws.recv()).await.is_err());
    let kept = format!("{ws:?}").matches("Instant").count();
    assert!((4..100).contains(&kept), "{kept} instants are stored");
}

#[tokio::test(start_paused = true)]
async fn row_59_a_pong_to_the_newest_of_several_pings_with_equal_payloads_prevents_the_timeout() {
    let config = without_deadlines().ping_interval(20 * SECOND).pong_timeout(20 * SECOND);
    let (mut ws, script) = script::open(Role::Server, &config);
    nothing_received(&mut ws);
    ws.ping("").await.expect("open");
    ws.ping("").await.expect("open");
    script.bring(pong("").masked().build());
    nothing_received(&mut ws);
    advance(20 * SECOND).await;
    // The keep-alive ping is sent, and then another ping of the application.
    nothing_received(&mut ws);
    ws.ping("").await.expect("open");
    script.bring(pong("").masked().build());
    nothing_received(&mut ws);
    assert!(timeout(30 * SECOND, ws.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_time_counts_from_the_newest_ping_with_the_same_payload() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().stats(true));
    ws.ping("").await.expect("open");
    ws.ping("").await.expect("open");
    script.bring(pong("").masked().build());
    nothing_received(&mut ws);
    advance(100 * SECOND).await;
    ws.ping("").await.expect("open");
    advance(SECOND).await;
    script.bring(pong("").masked().build());
    nothing_received(&mut ws);
    assert_eq!(ws.stats().expect("stats are enabled").round_trip, Some(SECOND));
}

// --- messages

#[tokio::test]
async fn message_timeout_is_checked_during_a_flood_of_pings() {
    let config = without_deadlines().message_timeout(Duration::from_millis(50));
    let (mut ws, script) = script::open(Role::Server, &config);
    script.bring(text("be").more().masked().build());
    script.bring_endlessly(ping("x").masked().build());
    let received = timeout(60 * SECOND, async {
        let mut receiving = pin!(ws.recv());
        poll_fn(|cx| {
            let received = receiving.as_mut().poll(cx);
            cx.waker().wake_by_ref();
            received
        })
        .await
    });
    let received = received.await.expect("the deadline is checked");
    assert!(matches!(received, Err(Error::Timeout(Timeout::Message))), "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn message_timeout_that_is_noticed_late_is_restarted_once() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().message_timeout(30 * SECOND));
    script.bring([text("first").masked().build(), text("be").more().masked().build()].concat());
    assert!(ws.recv().await.expect("valid").is_some());
    nothing_received(&mut ws);
    advance(60 * SECOND).await;
    // The peer could not send while the connection was not polled.
    nothing_received(&mut ws);
    script.bring(frames::continuation("gun").masked().build());
    assert_eq!(ws.recv().await.expect("in time"), Some(Message::from("begun")));
}

// --- senders

#[tokio::test(start_paused = true)]
async fn row_65_written_pongs_do_not_wake_tasks_that_wait_to_send() {
    let (mut receiver, sender, script) = script::split_server(without_deadlines());
    let polls = Arc::new(AtomicUsize::new(0));
    // One sender writes a message in parts; the others wait until it is finished.
    let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
    writer.feed_part("part").await.expect("open");
    for _ in 0..100 {
        let sender = sender.clone();
        let waiting = async move { sender.send("x").await.is_ok() };
        tokio::spawn(Counted(Box::pin(waiting), polls.clone()));
    }
    let receiving = tokio::spawn(async move { receiver.recv().await.is_ok() });
    settle().await;
    let before = polls.load(Relaxed);
    for _ in 0..100 {
        script.bring(ping("p").masked().build());
        settle().await;
    }
    assert_eq!(polls.load(Relaxed), before, "waiting tasks were polled for 100 pongs");
    receiving.abort();
}

#[tokio::test]
async fn a_message_fed_to_a_sink_is_written_by_a_waiting_receiver_once_the_sink_is_dropped() {
    let (mut receiver, sender, script) = script::split_server(without_deadlines());
    let receiving = tokio::spawn(async move { receiver.recv().await.is_ok() });
    settle().await;
    let mut sink = sender.sink();
    sink.feed(Message::from("x")).await.expect("open");
    drop(sink);
    settle().await;
    assert_eq!(script.written(), text("x").build());
    receiving.abort();
}

#[tokio::test]
async fn a_pending_send_returns_an_error_if_the_stream_fails_after_our_close_is_queued() {
    let (_receiver, sender, script) = script::split_server(without_deadlines());
    script.allow_writes(0);
    let other = sender.clone();
    let flushing = tokio::spawn(async move { other.send("lost").await });
    settle().await;
    sender.start_close(None).expect("open");
    script.fail_writes(io::ErrorKind::BrokenPipe);
    let sent = timeout(60 * SECOND, flushing).await.expect("it is woken").expect("no panic");
    assert!(sent.is_err(), "{sent:?}");
}

#[test]
fn a_sender_outlives_the_runtime_in_which_the_connection_was_split() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = runtime();
    let (_receiver, sender, script) = first.block_on(async { script::split_server(Config::new()) });
    script.allow_writes(0);
    let mut sending = pin!(sender.send("slow"));
    pending(sending.as_mut(), "the stream accepts nothing");
    drop(first);
    pending(sending.as_mut(), "the stream accepts nothing");
    pending(pin!(sender.send("slow")), "the stream accepts nothing");
    script.allow_writes(None);
    support::finished(sender.flush()).expect("open");
}

#[tokio::test(start_paused = true)]
async fn a_connection_ended_by_a_senders_deadline_ends_for_the_receiver_at_once() {
    for split in [false, true] {
        let config = without_deadlines().write_timeout(30 * SECOND);
        let (mut ws, script) = script::open(Role::Server, &config);
        script.bring(text("came before").masked().build().repeat(2));
        ws.recv().await.expect("valid").expect("a message");
        script.allow_writes(0);
        let (sent, last, end);
        if split {
            let (mut receiver, sender) = ws.split();
            sent = sender.send("stuck").await;
            last = receiver.recv().await;
            end = timeout(60 * SECOND, receiver.recv()).await;
            assert_eq!(receiver.closing(), fullduplex::proto::Closing::Failed);
        } else {
            sent = ws.send("stuck").await;
            last = ws.recv().await;
            end = timeout(60 * SECOND, ws.recv()).await;
        }
        assert!(matches!(sent, Err(Error::Timeout(Timeout::Write))), "{sent:?}");
        assert_eq!(last.expect("received before the timeout"), Some(Message::from("came before")));
        assert!(matches!(end, Ok(Ok(None))), "{end:?}");
    }
}

#[tokio::test]
async fn a_receiver_creates_a_sender_after_all_senders_were_dropped() {
    let (receiver, sender, script) = script::split_server(without_deadlines());
    drop(sender);
    receiver.sender().close(CloseCode::NORMAL, "").await.expect("open");
    assert_eq!(script.written(), close(1000, "").build());
}

#[tokio::test]
async fn a_writer_of_a_closed_connection_returns_closed_on_every_call() {
    let (mut receiver, sender, script) = script::split_server(without_deadlines());
    let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
    writer.feed_part("a").await.expect("open");
    script.bring(close(1000, "").masked().build());
    script.end();
    assert_eq!(receiver.recv().await.expect("closed cleanly"), None);
    for _ in 0..2 {
        assert!(matches!(writer.feed_part("b").await, Err(Error::Closed)));
    }
    assert!(matches!(writer.finish().await, Err(Error::Closed)));
}

/// Helpers as a program would write them: the message borrows from something other than the
/// connection.
mod helpers {
    use super::*;
    use fullduplex::{Outgoing, Sender};

    pub(super) async fn by_sender(sender: &Sender, message: impl Into<Outgoing<'_>>) -> Result<(), Error> {
        sender.send(message).await
    }

    pub(super) async fn by_connection<S: AsyncRead + AsyncWrite + Unpin>(
        ws: &mut WebSocket<S>,
        message: impl Into<Outgoing<'_>>,
    ) -> Result<(), Error> {
        ws.feed(message).await?;
        ws.flush().await
    }

    pub(super) fn spawned<M>(sender: Sender, message: M) -> tokio::task::JoinHandle<Result<(), Error>>
    where
        M: Into<Outgoing<'static>> + Send + 'static,
    {
        tokio::spawn(async move { sender.send(message).await })
    }
}

#[tokio::test]
async fn generic_helpers_send_borrowed_messages() {
    let (mut ws, script) = script::server();
    let local = String::from("one");
    helpers::by_connection(&mut ws, &local).await.expect("open");
    let (_receiver, sender) = ws.split();
    helpers::by_sender(&sender, &local[..]).await.expect("open");
    helpers::spawned(sender, local.clone()).await.expect("no panic").expect("open");
    assert_eq!(script.written(), text("one").build().repeat(3));
}

// --- a write in progress at the deadline

/// Whether a [`Slow`] stream accepts writes, and the task that waits for it.
#[derive(Debug, Default)]
struct Gate {
    open: bool,
    writer: Option<Waker>,
}

/// A stream that accepts nothing until it is open, and whose writes then block for 150 ms.
#[derive(Debug, Clone, Default)]
struct Slow(Arc<Mutex<Gate>>);

impl AsyncRead for Slow {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Slow {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut gate = self.0.lock().expect("no panic");
        if !gate.open {
            gate.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(gate);
        thread::sleep(Duration::from_millis(150));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_write_in_progress_when_the_deadline_passes_prevents_the_timeout() {
    for _ in 0..10 {
        if is_written_after_the_deadline().await {
            return;
        }
        // The machine was too busy to open the stream before the deadline.
    }
    panic!("it has timed out ten times");
}

/// Sends a message over a stream that accepts it after the deadline, in a write that began before.
/// Returns `false` if the deadline has passed.
async fn is_written_after_the_deadline() -> bool {
    let config = without_deadlines().write_timeout(Duration::from_millis(200));
    let slow = Slow::default();
    let ws = WebSocket::from_raw(slow.clone(), Bytes::new(), Role::Server, &config, Default::default());
    let (mut receiver, sender) = ws.split();
    let other = sender.clone();
    let flushing = tokio::spawn(async move { other.send("stuck").await });
    sleep(Duration::from_millis(150)).await;
    slow.0.lock().expect("no panic").open = true;
    // The receiver finds the stream open before the deadline, and writes until after it.
    let receiving = thread::spawn(move || {
        pending(pin!(receiver.recv()), "nothing is received");
        receiver
    });
    let sent = flushing.await.expect("no panic");
    let _receiver = receiving.join().expect("no panic");
    match &sent {
        Ok(()) => sender.send("again").await.expect("a write that began in time does not end the connection"),
        Err(error) => assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}"),
    }
    sent.is_ok()
}
