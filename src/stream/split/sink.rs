//! A sender as a sink.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_sink::Sink;
use tokio::sync::TryAcquireError;

use super::{Sender, watchdog::Watchdog};
use crate::{Error, Message, Outgoing};

/// What a sink keeps while it waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// What it was given when the room that it had been promised was gone: others took it in between.
    late: VecDeque<Outgoing<'static>>,
    watchdog: Watchdog,
}

/// [`feed`](Sender::feed), [`flush`](Sender::flush) and [`close`](Sender::close), as a sink; as with
/// [`WebSocket`](crate::WebSocket), the last message may pass [`max_write_buffer`](crate::Config::max_write_buffer).
///
/// A sink does not stand in line for room: it takes what those who wait in [`feed`](Sender::feed) leave. Its flush waits
/// for what others queue meanwhile, too. Where others take the room between its being ready and its being given a message,
/// that waits inside: until the sink is flushed, calls of the methods overtake it, and [`close`](Sender::close) or a drop
/// loses it.
impl Sink<Message> for Sender {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_late(cx))?;
        let ready = self.poll_any_room(cx);
        self.watch_sink(cx, ready)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let mut outgoing = Some(message.into());
        if !self.has_late() {
            self.queue_if_room(&mut outgoing)?;
        }
        if let Some(late) = outgoing {
            self.waiting.get_or_insert_default().late.push_back(late);
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_late(cx))?;
        let flushed = self.poll_flushed(self.shared.flush_target(), cx);
        self.watch_sink(cx, flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_late(cx))?;
        match self.start_close(None) {
            Ok(()) | Err(Error::Closed) => self.poll_flush(cx),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Sender {
    /// What the sink was given and is not queued.
    pub(super) fn take_late(&mut self) -> Option<Outgoing<'static>> {
        self.waiting.as_mut()?.late.pop_front()
    }

    fn has_late(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.late.is_empty())
    }

    /// Queues what the sink was given and could not queue at once.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.has_late() {
            let room = self.poll_any_room(cx);
            ready!(self.watch_sink(cx, room))?;
            let mut outgoing = self.take_late();
            let queued = self.queue_if_room(&mut outgoing);
            if let (Some(late), Some(waiting)) = (outgoing, &mut self.waiting) {
                waiting.late.push_front(late);
            }
            queued?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready where there is any room.
    fn poll_any_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for attempt in 0..2 {
            if self.is_closed() {
                return Poll::Ready(Err(self.shared.why_closed()));
            }
            if self.shared.room().available_permits() > 0 {
                return Poll::Ready(Ok(()));
            }
            if attempt == 0 {
                self.shared.parked.park_for_room(cx.waker());
                self.shared.drive();
            }
        }
        Poll::Pending
    }

    /// Queues a message if there is any room, and takes all that there is where it needs more; else leaves it.
    fn queue_if_room(&self, waiting: &mut Option<Outgoing<'static>>) -> Result<(), Error> {
        let Some(outgoing) = waiting else { return Ok(()) };
        let room = self.shared.room();
        let need = self.shared.need(outgoing.len());
        loop {
            let there = u32::try_from(room.available_permits()).unwrap_or(u32::MAX);
            if there == 0 && !room.is_closed() {
                return Ok(());
            }
            match room.try_acquire_many(need.min(there)) {
                Ok(room) => {
                    self.queue(outgoing, room).map_err(|error| self.shared.error(error))?;
                    *waiting = None;
                    return Ok(());
                }
                Err(TryAcquireError::NoPermits) => {}
                Err(TryAcquireError::Closed) => return Err(self.shared.why_closed()),
            }
        }
    }

    /// Judges a stuck stream while the sink waits.
    fn watch_sink<T>(&mut self, cx: &mut Context<'_>, waited: Poll<T>) -> Poll<T> {
        if waited.is_pending() {
            self.waiting.get_or_insert_default().watchdog.poll(&self.shared, cx);
        } else if self.has_late() {
            self.waiting.get_or_insert_default().watchdog = Watchdog::default();
        } else {
            self.waiting = None;
        }
        waited
    }
}
