//! The `Sink` implementation of a sender.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_sink::Sink;
use tokio::sync::TryAcquireError;

use super::{
    Sender,
    wait_list::{Ticket, Wait},
};
use crate::{Error, Message, Outgoing, stream::watchdog::Watchdog};

/// A [`Sink`] that sends over a split connection, returned by [`Sender::sink`].
///
/// It is ready while less than [`max_write_buffer_size`](crate::Config::max_write_buffer_size) is
/// queued; the next message may exceed that limit. It does not queue for room: it takes the room
/// that senders waiting in [`feed`](Sender::feed) leave. If others take the room after the sink was
/// ready, the message waits inside the sink until that is flushed. Until then, calls of the
/// sender's methods overtake the message, and [`Sender::close`] or dropping the sink loses it.
///
/// Flushing waits for the messages of this sink, not for those that others queue meanwhile. Closing
/// the sink queues our Close and flushes it; the [`Receiver`](crate::Receiver) waits for the peer's
/// Close.
///
/// ```
/// # use fullduplex::{Error, Message, Sender};
/// use futures_util::{SinkExt, StreamExt, stream};
///
/// # async fn example(sender: Sender) -> Result<(), Error> {
/// let mut ticks = stream::iter(["one", "two"]).map(|text| Ok(Message::from(text)));
/// sender.sink().send_all(&mut ticks).await
/// # }
/// ```
#[derive(Debug)]
pub struct SenderSink {
    sender: Sender,
    /// Messages that were accepted after others had taken the room that was available when the sink
    /// was ready.
    late: VecDeque<Outgoing<'static>>,
    /// The position that a flush has to reach.
    through: u64,
    ticket: Ticket,
    watchdog: Watchdog,
}

impl Sink<Message> for SenderSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_late(cx))?;
        let ready = self.poll_any_room(cx);
        self.watch(cx, ready)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let mut outgoing = Some(message.into());
        if self.late.is_empty() {
            self.queue_if_room(&mut outgoing)?;
        }
        self.late.extend(outgoing);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_late(cx))?;
        let Self { sender, through, ticket, .. } = &mut *self;
        let flushed = sender.poll_flushed(*through, ticket, cx);
        self.watch(cx, flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_late(cx))?;
        match self.sender.start_close(None) {
            // The Close is the last frame that is queued.
            Ok(()) | Err(Error::Closed) => self.through = self.sender.shared.flush_target(),
            Err(error) => return Poll::Ready(Err(error)),
        }
        self.poll_flush(cx)
    }
}

impl SenderSink {
    pub(super) fn new(sender: Sender) -> Self {
        let (ticket, watchdog) = (Ticket::default(), Watchdog::default());
        Self { sender, late: VecDeque::new(), through: 0, ticket, watchdog }
    }

    /// Returns the sender. Messages that wait inside the sink are lost.
    pub fn into_inner(self) -> Sender {
        self.sender.clone()
    }

    /// Returns a reference to the sender.
    pub fn get_ref(&self) -> &Sender {
        &self.sender
    }

    /// Queues the messages that wait inside the sink.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.late.is_empty() {
            let room = self.poll_any_room(cx);
            ready!(self.watch(cx, room))?;
            let mut outgoing = self.late.pop_front();
            let queued = self.queue_if_room(&mut outgoing);
            if let Some(late) = outgoing {
                self.late.push_front(late);
            }
            queued?;
        }
        Poll::Ready(Ok(()))
    }

    /// Returns ready if there is any room.
    fn poll_any_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let shared = &self.sender.shared;
        for attempt in 0..2 {
            if shared.room().is_closed() {
                return Poll::Ready(Err(shared.why_closed()));
            }
            if shared.room().available_permits() > 0 {
                return Poll::Ready(Ok(()));
            }
            if attempt == 0 {
                shared.wait_list.register_sender(&mut self.ticket, cx.waker(), Wait::AnyRoom);
                shared.drive();
            }
        }
        Poll::Pending
    }

    /// Queues a message if there is any room. If the message needs more, takes all of it.
    fn queue_if_room(&mut self, waiting: &mut Option<Outgoing<'static>>) -> Result<(), Error> {
        let Some(outgoing) = waiting else { return Ok(()) };
        let shared = &self.sender.shared;
        let room = shared.room();
        let need = shared.need(outgoing.len());
        loop {
            let there = u32::try_from(room.available_permits()).unwrap_or(u32::MAX);
            if there == 0 && !room.is_closed() {
                return Ok(());
            }
            match room.try_acquire_many(need.min(there)) {
                Ok(room) => {
                    self.through = self.sender.queue(outgoing, room).map_err(|error| shared.error(error))?;
                    *waiting = None;
                    return Ok(());
                }
                Err(TryAcquireError::NoPermits) => {}
                Err(TryAcquireError::Closed) => return Err(shared.why_closed()),
            }
        }
    }

    /// Checks the deadline of a stuck stream while the sink waits.
    fn watch<T>(&mut self, cx: &mut Context<'_>, waited: Poll<T>) -> Poll<T> {
        if waited.is_pending() {
            self.sender.shared.watch(&mut self.watchdog, cx);
        } else {
            (self.ticket, self.watchdog) = (Ticket::default(), Watchdog::default());
        }
        waited
    }
}

/// Wakes a waiting receiver, which writes what was queued and not flushed.
impl Drop for SenderSink {
    fn drop(&mut self) {
        self.sender.shared.wait_list.wake_waiting_receiver();
    }
}

#[cfg(all(test, not(fullduplex_loom)))]
mod tests {
    use std::task::Waker;

    use super::{super::tests::split, *};
    use crate::{Config, stream::test_stream::TestStream};

    #[tokio::test]
    async fn a_message_that_found_no_room_is_queued_once_there_is_some() {
        let stream = TestStream::limited(0);
        let (_receiver, sender) = split(&stream, &Config::new().max_write_buffer_size(10));
        let (mut sink, mut cx) = (sender.sink(), Context::from_waker(Waker::noop()));
        let mut sink = Pin::new(&mut sink);
        for message in ["12345678", "late"] {
            sink.as_mut().start_send(message.into()).expect("open");
        }
        assert!(sink.as_mut().poll_ready(&mut cx).is_pending());
        stream.state().room = None;
        assert!(sink.as_mut().poll_ready(&mut cx).is_ready());
        assert!(sink.as_mut().poll_flush(&mut cx).is_ready());
        assert_eq!(stream.take_written(), b"\x81\x0812345678\x81\x04late");
    }
}
