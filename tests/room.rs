//! Write buffer space of a split connection: each waiting call receives it, or fails once the
//! connection has ended.

mod support;

use std::{
    pin::{Pin, pin},
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use fullduplex::{
    Config, Error, Message, MessageKind, Role::Server, SenderSink, Timeout, TrySendError,
    proto::ProtocolError,
};
use futures_util::{Sink, SinkExt};
use support::{
    finished,
    frames::{self, binary, close_empty, text},
    poll_once, script,
};
use tokio::io::AsyncWriteExt;

/// No keep-alive; `max_write_buffer_size` is so small that a message waits for an almost empty
/// queue.
fn narrow() -> Config {
    Config::new().ping_interval(None).max_write_buffer_size(16)
}

/// Returns whether the sink is ready for a message; if it is not, it has registered the waker.
fn is_ready_for_message(sink: &mut SenderSink, waker: &Waker) -> bool {
    Pin::new(sink).poll_ready(&mut Context::from_waker(waker)).is_ready()
}

/// Creates a waker, and the flag that it sets.
fn recording_waker() -> (Waker, std::sync::Arc<Woken>) {
    let woken = std::sync::Arc::new(Woken::default());
    (woken.clone().into(), woken)
}

/// A flag that is set when a task is woken.
#[derive(Debug, Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl Woken {
    /// Returns whether the task was woken since the last call.
    fn take(&self) -> bool {
        self.0.swap(false, std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_waiting_sink_is_woken_when_unused_write_buffer_space_is_released() {
    let (ws, _script) = script::open(Server, &narrow());
    let (_receiver, sender) = ws.split();
    let mut sink = sender.sink();
    let (waker, woken) = recording_waker();

    let permit = finished(sender.reserve(14)).expect("open");
    assert!(!is_ready_for_message(&mut sink, &waker));
    drop(permit);
    assert!(woken.take() && is_ready_for_message(&mut sink, &waker), "a permit was dropped");

    let permit = finished(sender.reserve(10)).expect("open");
    {
        let mut waiting = pin!(sender.reserve(14));
        assert!(poll_once(waiting.as_mut()).is_pending());
        assert!(!is_ready_for_message(&mut sink, &waker), "the waiting reserve precedes the sink");
        woken.take();
    }
    assert!(woken.take() && is_ready_for_message(&mut sink, &waker), "the waiting reserve was dropped");
    drop(permit);

    let writer = finished(sender.writer(MessageKind::Text)).expect("open");
    assert!(!is_ready_for_message(&mut sink, &waker));
    drop(writer);
    assert!(woken.take() && is_ready_for_message(&mut sink, &waker), "a writer was dropped");
}

#[tokio::test]
async fn a_waiting_sink_is_woken_when_part_of_the_write_buffer_is_written() {
    let (ws, script) = script::open(Server, &Config::new().ping_interval(None).max_write_buffer_size(32));
    let (_receiver, sender) = ws.split();
    let mut sink = sender.sink();
    let (waker, woken) = recording_waker();
    let permit = finished(sender.reserve(30)).expect("open");
    assert!(!is_ready_for_message(&mut sink, &waker));
    script.allow_writes(20);
    permit.feed(vec![7; 30]).expect("within the permit");
    assert!(woken.take() && is_ready_for_message(&mut sink, &waker), "there are twenty bytes of room");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_sink_enforces_the_write_timeout_if_the_receiver_is_busy() {
    for closes in [true, false] {
        let (ws, script) = script::open(Server, &narrow());
        let (_receiver, sender) = ws.split();
        let mut sink = sender.sink();
        script.allow_writes(0);
        sender.feed(Message::binary(vec![7; 100])).await.expect("the queue is empty");
        let waited = async {
            if closes {
                SinkExt::<Message>::close(&mut sink).await
            } else {
                SinkExt::feed(&mut sink, Message::from("x")).await
            }
        };
        let result = tokio::time::timeout(Duration::from_secs(61), waited).await.expect("the call returns");
        let expected = if closes { Timeout::Close } else { Timeout::Write };
        assert!(matches!(result, Err(Error::Timeout(timeout)) if timeout == expected), "{result:?}");
    }
}

#[tokio::test]
async fn a_permit_queues_nothing_after_the_connection_ended() {
    let (ws, script) = script::open(Server, &narrow());
    let (mut receiver, sender) = ws.split();
    let permit = finished(sender.reserve(4)).expect("open");
    script.end();
    assert!(matches!(finished(receiver.recv()), Err(Error::Protocol(ProtocolError::EofWithoutClose))));
    assert!(matches!(permit.feed("late"), Err(Error::Closed)));
    assert_eq!(sender.queued_bytes(), 0);
}

#[tokio::test]
async fn invalid_utf_8_releases_the_write_buffer_space_of_its_message() {
    let (ws, script) = script::open(Server, &narrow());
    let (_receiver, sender) = ws.split();
    let mut writer = finished(sender.writer(MessageKind::Text)).expect("open");
    finished(writer.write_all(b"\xFF")).expect("it is validated later");
    assert!(matches!(finished(writer.flush()), Err(Error::Send(_))));
    sender.try_send("all the room").expect("room");
    drop(writer);
    assert_eq!(script.written(), text("all the room").build());
}

#[tokio::test]
async fn dropping_a_writer_wakes_a_waiting_sender_without_a_poll_of_the_receiver() {
    let (ws, _script) = script::open(Server, &narrow());
    let (mut receiver, sender) = ws.split();
    let mut receiving = pin!(receiver.recv());
    assert!(poll_once(receiving.as_mut()).is_pending(), "nothing was received");
    let writer = finished(sender.writer(MessageKind::Text)).expect("open");
    let (waker, woken) = recording_waker();
    let mut waiting = pin!(sender.feed("next"));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "a message is open");
    woken.take();
    drop(writer);
    assert!(woken.take() && poll_once(waiting).is_ready());
}

#[tokio::test]
async fn finish_does_not_wait_for_messages_queued_after_it() {
    let (ws, script) = script::server();
    let (_receiver, sender) = ws.split();
    script.block_flush(true);
    let mut writer = finished(sender.writer(MessageKind::Text)).expect("open");
    finished(writer.write_all(b"a message")).expect("it is buffered");
    let mut finish = pin!(writer.finish());
    assert!(poll_once(finish.as_mut()).is_pending(), "the stream is not flushed");
    sender.try_send(Message::binary(vec![7; 100])).expect("the message occupies no room");
    script.allow_writes(0);
    script.block_flush(false);
    assert!(poll_once(finish).is_ready(), "the message is written and flushed");
}

#[tokio::test]
async fn a_message_held_by_a_sink_is_queued_by_its_next_flush_or_close() {
    for closes in [false, true] {
        let (ws, script) = script::open(Server, &narrow());
        let (_receiver, sender) = ws.split();
        let mut sink = sender.sink();
        assert!(is_ready_for_message(&mut sink, Waker::noop()));
        script.allow_writes(0);
        sender.try_send(Bytes::from(vec![7; 14])).expect("room");
        sink.start_send_unpin("kept".into()).expect("open");
        assert!(matches!(sender.try_send("x"), Err(TrySendError::Full(_))));
        script.allow_writes(None);
        let mut expected = vec![binary([7; 14]), text("kept")];
        if closes {
            finished(SinkExt::<Message>::close(&mut sink)).expect("open");
            expected.push(close_empty());
        } else {
            finished(SinkExt::<Message>::flush(&mut sink)).expect("open");
        }
        assert_eq!(frames::parse(&script.written()), frames::parse(&frames::wire(&expected)));
    }
}

#[tokio::test]
async fn the_flush_of_a_sink_waits_only_for_its_own_messages() {
    let (ws, script) = script::server();
    let (_receiver, sender) = ws.split();
    let mut sink = sender.sink();
    finished(SinkExt::feed(&mut sink, Message::from("its own"))).expect("open");
    finished(SinkExt::<Message>::flush(&mut sink)).expect("open");
    script.allow_writes(0);
    sender.try_send("of another").expect("room");
    finished(SinkExt::<Message>::flush(&mut sink)).expect("its own messages are written");
    assert_eq!(script.written(), text("its own").build());
}
