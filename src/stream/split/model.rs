//! Tests of the split connection under a model checker, which tries all interleavings of threads. A
//! lost wake-up is reported as a deadlock.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_sink::Sink;
use loom::{future::block_on, thread};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Receiver, Sender, TrySendError};
use crate::{Config, Error, MessageKind, Role, WebSocket, handshake::Negotiated, proto::ProtocolError};

/// A stream that accepts everything while it is open, and ends after a number of bytes.
#[derive(Debug, Clone, Default)]
struct Stream(Arc<Mutex<StreamState>>);

#[derive(Debug, Default)]
struct StreamState {
    written: Vec<u8>,
    blocked: bool,
    /// The stream ends once this many bytes were written.
    enough: Option<usize>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Stream {
    fn blocked() -> Self {
        let stream = Self::default();
        stream.with(|state| state.blocked = true);
        stream
    }

    fn ending_after(len: usize) -> Self {
        let stream = Self::default();
        stream.with(|state| state.enough = Some(len));
        stream
    }

    /// Accesses the state. There is no scheduling point inside, so the model checker need not know
    /// of this lock.
    fn with<T>(&self, call: impl FnOnce(&mut StreamState) -> T) -> T {
        call(&mut self.0.lock().expect("nothing panics inside"))
    }

    fn unblock(&self) {
        let writer = self.with(|state| {
            state.blocked = false;
            state.writer.take()
        });
        writer.into_iter().for_each(Waker::wake);
    }

    fn written(&self) -> Vec<u8> {
        self.with(|state| state.written.clone())
    }

    fn split(&self) -> (Receiver<Self>, Sender) {
        let config = Config::new()
            .ping_interval(None)
            .write_timeout(None)
            .close_timeout(None)
            .pong_timeout(None)
            .max_write_buffer_size(8);
        let ws =
            WebSocket::from_raw(self.clone(), Bytes::new(), Role::Server, &config, Negotiated::default());
        ws.split()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|state| {
            if state.enough.is_some_and(|enough| state.written.len() >= enough) {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let reader = self.with(|state| {
            if state.blocked {
                state.writer = Some(cx.waker().clone());
                return Err(());
            }
            state.written.extend_from_slice(bytes);
            let enough = state.enough.is_some_and(|enough| state.written.len() >= enough);
            Ok(if enough { state.reader.take() } else { None })
        });
        let Ok(reader) = reader else { return Poll::Pending };
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Tries all interleavings with at most three preemptions.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 10_000;
    builder.check(check);
}

const A: &[u8] = b"\x81\x01a";
const B: &[u8] = b"\x81\x01b";

#[test]
fn messages_of_two_threads_are_written_whole_and_both_flushes_complete() {
    model(|| {
        let stream = Stream::default();
        let (_receiver, sender) = stream.split();
        let other = sender.clone();
        let thread = thread::spawn(move || block_on(other.send("a")).expect("open"));
        block_on(sender.send("b")).expect("open");
        thread.join().expect("no panic");
        let written = stream.written();
        assert!(written == [A, B].concat() || written == [B, A].concat(), "{written:?}");
        assert_eq!(sender.queued_bytes(), 0);
    });
}

#[test]
fn two_flushes_of_a_blocked_stream_complete_once_it_accepts_bytes() {
    model(|| {
        let stream = Stream::blocked();
        let (_receiver, sender) = stream.split();
        let other = sender.clone();
        let thread = thread::spawn(move || block_on(other.send("a")).expect("open"));
        let opener = thread::spawn({
            let stream = stream.clone();
            move || stream.unblock()
        });
        block_on(sender.send("b")).expect("open");
        thread.join().expect("no panic");
        opener.join().expect("no panic");
        assert_eq!(stream.written().len(), A.len() + B.len());
    });
}

#[cfg(feature = "hub")]
#[test]
fn messages_that_two_threads_write_and_queue_are_written_whole_and_their_flushes_complete() {
    model(|| {
        let stream = Stream::default();
        let (_receiver, sender) = stream.split();
        let other = sender.clone();
        let thread = thread::spawn(move || other.try_send_now(&"a".into()).expect("room"));
        block_on(sender.send("b")).expect("open");
        thread.join().expect("no panic");
        let written = stream.written();
        assert!(written == [A, B].concat() || written == [B, A].concat(), "{written:?}");
        assert_eq!(sender.queued_bytes(), 0);
    });
}

#[cfg(feature = "hub")]
#[test]
fn a_message_that_a_blocked_stream_does_not_accept_is_written_once_by_a_flush() {
    model(|| {
        let stream = Stream::blocked();
        let (_receiver, sender) = stream.split();
        let other = sender.clone();
        let thread = thread::spawn(move || {
            other.try_send_now(&"a".into()).expect("room");
            block_on(other.flush()).expect("open");
            assert_eq!(other.queued_bytes(), 0);
        });
        stream.unblock();
        thread.join().expect("no panic");
        assert_eq!(stream.written(), A);
        assert!(sender.try_send_now(&"b".into()).is_ok() && stream.written() == [A, B].concat());
    });
}

#[cfg(feature = "hub")]
#[test]
fn a_message_queued_while_another_is_written_at_once_is_written_behind_it() {
    model(|| {
        let stream = Stream::ending_after(A.len() + B.len());
        let (mut receiver, sender) = stream.split();
        // The stream ends once both messages are written; without a writer it never does.
        let thread = thread::spawn(move || block_on(receiver.recv()));
        let other = sender.clone();
        let feeder = thread::spawn(move || block_on(other.feed("b")).expect("open"));
        sender.try_send_now(&"a".into()).expect("room");
        let received = thread.join().expect("no panic");
        assert!(matches!(received, Err(Error::Protocol(ProtocolError::EofWithoutClose))));
        feeder.join().expect("no panic");
    });
}

#[test]
fn a_message_of_try_send_is_written_by_a_waiting_receiver() {
    model(|| {
        let stream = Stream::ending_after(A.len());
        let (mut receiver, sender) = stream.split();
        // The stream ends once the message is written; without a writer it never does.
        let thread = thread::spawn(move || block_on(receiver.recv()));
        sender.try_send("a").expect("room");
        let received = thread.join().expect("no panic");
        assert!(matches!(received, Err(Error::Protocol(ProtocolError::EofWithoutClose))));
        assert_eq!(stream.written(), A);
    });
}

#[test]
fn a_fed_message_is_written_by_a_waiting_receiver() {
    model(|| {
        let stream = Stream::ending_after(A.len());
        let (mut receiver, sender) = stream.split();
        // The stream ends once the message is written; without a writer it never does.
        let thread = thread::spawn(move || block_on(receiver.recv()));
        block_on(sender.feed("a")).expect("open");
        let received = thread.join().expect("no panic");
        assert!(matches!(received, Err(Error::Protocol(ProtocolError::EofWithoutClose))));
        assert_eq!(stream.written(), A);
    });
}

#[test]
fn a_waiting_receiver_is_woken_by_an_abort() {
    model(|| {
        let (mut receiver, sender) = Stream::default().split();
        let thread = thread::spawn(move || block_on(receiver.recv()));
        sender.abort();
        assert!(matches!(thread.join().expect("no panic"), Ok(None)));
        block_on(sender.closed());
    });
}

#[test]
fn dropping_the_receiver_wakes_waiting_senders() {
    model(|| {
        let stream = Stream::blocked();
        let (receiver, sender) = stream.split();
        let thread = thread::spawn(move || drop(receiver));
        assert!(block_on(sender.send("first")).is_err(), "the stream accepts nothing");
        block_on(sender.closed());
        thread.join().expect("no panic");
        assert!(matches!(sender.try_send("late"), Err(TrySendError::Closed(_))));
    });
}

#[test]
fn a_sender_waiting_for_room_is_woken_once_the_stream_accepts_bytes() {
    model(|| {
        let stream = Stream::blocked();
        let (_receiver, sender) = stream.split();
        block_on(sender.feed("0123456789")).expect("the queue is empty");
        let opener = thread::spawn({
            let stream = stream.clone();
            move || stream.unblock()
        });
        block_on(sender.send("b")).expect("open");
        opener.join().expect("no panic");
        assert_eq!(stream.written()[12..], *B);
    });
}

/// Polls a future once and drops it.
fn polled_once(future: impl Future) {
    let mut future = pin!(future);
    block_on(poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "the future is pending");
        Poll::Ready(())
    }));
}

#[test]
fn a_message_left_to_a_dropped_recv_is_written_once_and_before_reuniting() {
    model(|| {
        let stream = Stream::default();
        let (mut receiver, sender) = stream.split();
        let thread = thread::spawn(move || {
            sender.try_send("a").expect("room");
            sender
        });
        polled_once(receiver.recv());
        let sender = thread.join().expect("no panic");
        assert_eq!(stream.written(), A);
        let mut ws = receiver.reunite(sender).expect("the only sender");
        block_on(ws.flush()).expect("open");
        assert_eq!(stream.written(), A);
    });
}

#[test]
fn a_message_queued_before_reuniting_is_written_once_by_the_whole_connection() {
    model(|| {
        let stream = Stream::blocked();
        let (mut receiver, sender) = stream.split();
        let thread = thread::spawn(move || {
            polled_once(sender.send("a"));
            sender
        });
        polled_once(receiver.recv());
        let sender = thread.join().expect("no panic");
        let mut ws = receiver.reunite(sender).expect("the only sender");
        stream.unblock();
        block_on(ws.send("b")).expect("open");
        assert_eq!(stream.written(), [A, B].concat());
        assert_eq!(ws.queued_bytes(), 0);
    });
}

#[test]
fn a_ping_waiting_for_room_is_queued_once_another_thread_writes_earlier_ones() {
    model(|| {
        let stream = Stream::blocked();
        let (mut receiver, sender) = stream.split();
        // One is staged; the others fill the room for pings.
        for _ in 0..66 {
            block_on(sender.ping([0; 125])).expect("room");
        }
        stream.unblock();
        let thread = thread::spawn(move || {
            polled_once(receiver.recv());
            receiver
        });
        block_on(sender.ping("last")).expect("open");
        let _receiver = thread.join().expect("no panic");
        block_on(sender.flush()).expect("open");
    });
}

#[test]
fn a_message_in_parts_is_not_interleaved_with_another_message() {
    const PARTS: &[u8] = b"\x01\x01a\x80\x01a";
    model(|| {
        let stream = Stream::default();
        let (_receiver, sender) = stream.split();
        let other = sender.clone();
        let thread = thread::spawn(move || block_on(other.send("b")).expect("open"));
        let mut writer = block_on(sender.writer(MessageKind::Text)).expect("open");
        block_on(writer.feed_part("a")).expect("open");
        block_on(writer.feed_part("")).expect("open");
        block_on(poll_fn(|cx| tokio::io::AsyncWrite::poll_write(Pin::new(&mut writer), cx, b"a")))
            .expect("open");
        block_on(writer.finish()).expect("open");
        thread.join().expect("no panic");
        let written = stream.written();
        assert!(written == [PARTS, B].concat() || written == [B, PARTS].concat(), "{written:?}");
        assert_eq!(sender.queued_bytes(), 0);
    });
}

#[test]
fn a_sender_waiting_for_a_message_in_parts_continues_once_it_is_abandoned() {
    model(|| {
        let stream = Stream::default();
        let (_receiver, sender) = stream.split();
        let writer = block_on(sender.writer(MessageKind::Text)).expect("open");
        let other = sender.clone();
        let thread = thread::spawn(move || block_on(other.send("b")).expect("open"));
        drop(writer);
        thread.join().expect("no panic");
        assert_eq!(stream.written(), B);
    });
}

#[test]
fn a_waiting_sink_is_ready_once_another_thread_releases_room() {
    model(|| {
        let (_receiver, sender) = Stream::default().split();
        let mut sink = sender.sink();
        let permit = block_on(sender.reserve(6)).expect("open");
        let thread = thread::spawn(move || {
            block_on(poll_fn(|cx| Sink::poll_ready(Pin::new(&mut sink), cx))).expect("open");
        });
        drop(permit);
        thread.join().expect("no panic");
    });
}
