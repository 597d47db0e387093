//! Messages that are read and written in parts, over the halves of a connection.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    ReceiveGuard, Receiver, Sender,
    wait_list::{Ticket, Wait},
};
use crate::{
    Error, MessageKind,
    proto::Received,
    stream::{
        reader::{MessageReader, PartSource},
        watchdog::Watchdog,
        writer::{MessageWriter, PartSink},
    },
};

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Receiver<S> {
    /// Waits for the next message, and returns a reader of its payload data.
    ///
    /// This is [`WebSocket::reader`](crate::WebSocket::reader) for the receiving half.
    ///
    /// ```
    /// # use fullduplex::{Error, Receiver, Sender};
    /// # use tokio::net::TcpStream;
    /// /// Echoes messages of any size without holding them in memory.
    /// async fn echo(mut receiver: Receiver<TcpStream>, sender: Sender) -> Result<(), Error> {
    ///     while let Some(mut message) = receiver.reader(u64::MAX).await? {
    ///         let mut answer = sender.writer(message.kind()).await?;
    ///         while let Some(part) = message.recv_part().await? {
    ///             answer.feed_part(part).await?;
    ///         }
    ///         answer.finish().await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call of `reader` or `recv` returns the message.
    /// Dropping the reader discards the message: the next call skips the rest of it.
    pub async fn reader(&mut self, limit: u64) -> Result<Option<MessageReader<&mut Self>>, Error> {
        let guard = ReceiveGuard(&mut *self);
        let first =
            poll_fn(|cx| guard.0.poll_with(cx, |connection, cx| connection.poll_first_part(limit, cx)));
        let first = first.await?;
        drop(guard);
        Ok(first.map(|first| MessageReader::new(self, first)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> PartSource for &mut Receiver<S> {
    fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.poll_with(cx, |connection, cx| connection.poll_received(cx, pick))
    }

    fn stop_waiting(&mut self) {
        Receiver::stop_waiting(self);
    }
}

impl Sender {
    /// Waits for its turn, begins a message, and returns a writer of its payload data.
    ///
    /// The message need never be in memory as a whole. Its turn comes when all messages that were
    /// queued before have been written. Until the message is finished or dropped, messages of other
    /// senders wait, and [`try_send`](Self::try_send) finds no room; pings and pongs are still
    /// sent.
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future begins no message.
    pub async fn writer(&self, kind: MessageKind) -> Result<MessageWriter<SenderTurn<'_>>, Error> {
        let room = self.room(self.shared.capacity()).await?;
        let held = room.num_permits();
        // The message holds all the room until it ends.
        room.forget();
        let begun = self.shared.with_open(held, |send, _, _| send.begin_message(kind));
        let through = begun.map_err(|error| self.shared.error(error))?;
        let (ticket, watchdog) = (Ticket::default(), Watchdog::default());
        Ok(MessageWriter::new(SenderTurn { sender: self, ticket, watchdog, through }))
    }
}

/// The turn of a [`Sender`] that sends a message in parts, which [`Sender::writer`] waits for.
#[derive(Debug)]
pub struct SenderTurn<'a> {
    sender: &'a Sender,
    ticket: Ticket,
    watchdog: Watchdog,
    /// The position that a flush has to reach. What others queue after the message is finished does
    /// not delay it.
    through: u64,
}

impl PartSink for SenderTurn<'_> {
    fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Error>> {
        let Self { sender, ticket, watchdog, .. } = self;
        sender.poll_for(cx, Wait::Flush, ticket, watchdog, |send, staged| send.has_room(len, staged))
    }

    fn send_part(&mut self, part: Bytes, last: bool) -> Result<(), Error> {
        let shared = &self.sender.shared;
        let queued = shared.with_open(0, |send, key, buffers| send.send_part(part, last, key, buffers));
        self.through = queued.map_err(|error| shared.error(error))?;
        shared.count_sent(u64::from(last));
        shared.wait_list.wake_waiting_receiver();
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = self.sender.poll_flushed(self.through, &mut self.ticket, cx);
        if flushed.is_pending() {
            self.sender.shared.watch(&mut self.watchdog, cx);
        }
        flushed
    }

    fn abandon(&mut self) {
        let shared = &self.sender.shared;
        // After the end of the connection no Close can be sent.
        let _ended = shared.with_open(0, |send, key, buffers| {
            send.abandon_message(key, buffers);
            Ok(())
        });
        shared.release();
        if !shared.wait_list.wake_receiver() {
            shared.drive();
        }
    }

    #[cfg(feature = "deflate")]
    fn leave_uncompressed(&mut self) {
        self.sender.shared.with_send(0, |send, _, _| send.leave_uncompressed());
    }
}
