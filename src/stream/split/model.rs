//! The split connection under a model checker, which tries every order in which threads can take their turns. A wake-up
//! that is lost shows as a deadlock.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use loom::{future::block_on, thread};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Receiver, Sender, TrySendError};
use crate::{Config, Error, Role, WebSocket, handshake::Negotiated, proto::ProtocolError};

/// A stream that takes what it is given while it is open, and ends when it has got enough.
#[derive(Debug, Clone, Default)]
struct Stream(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    written: Vec<u8>,
    blocked: bool,
    /// The stream ends once it has got this much.
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

    /// No turn is taken inside, so the model checker need not know of this lock.
    fn with<T>(&self, call: impl FnOnce(&mut State) -> T) -> T {
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
            .max_write_buffer(8);
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

/// Tries every order in which the threads' turns can be taken, with at most three of them cut short.
fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

const A: &[u8] = b"\x81\x01a";
const B: &[u8] = b"\x81\x01b";

#[test]
fn what_two_threads_send_is_written_whole_and_both_flushes_end() {
    model(|| {
        let stream = Stream::default();
        let (_receiver, sender) = stream.split();
        let other = sender.clone();
        let thread = thread::spawn(move || block_on(other.send("a")).expect("open"));
        block_on(sender.send("b")).expect("open");
        thread.join().expect("no panic");
        let written = stream.written();
        assert!(written == [A, B].concat() || written == [B, A].concat(), "{written:?}");
        assert_eq!(sender.queued(), 0);
    });
}

#[test]
fn two_flushes_of_a_stream_that_is_stuck_end_when_it_is_not() {
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

#[test]
fn what_is_queued_without_waiting_is_written_by_a_receiver_that_waits() {
    model(|| {
        let stream = Stream::ending_after(A.len());
        let (mut receiver, sender) = stream.split();
        // It ends once the message is written: if nobody writes it, it never does.
        let thread = thread::spawn(move || block_on(receiver.recv()));
        sender.try_send("a").expect("room");
        let received = thread.join().expect("no panic");
        assert!(matches!(received, Err(Error::Protocol(ProtocolError::EofWithoutClose))));
        assert_eq!(stream.written(), A);
    });
}

#[test]
fn a_receiver_that_is_dropped_leaves_no_sender_waiting() {
    model(|| {
        let stream = Stream::blocked();
        let (receiver, sender) = stream.split();
        let thread = thread::spawn(move || drop(receiver));
        assert!(block_on(sender.send("first")).is_err(), "the stream never takes it");
        block_on(sender.closed());
        thread.join().expect("no panic");
        assert!(matches!(sender.try_send("late"), Err(TrySendError::Closed(_))));
    });
}

#[test]
fn who_waits_for_room_gets_it_when_the_stream_takes_what_was_before() {
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
