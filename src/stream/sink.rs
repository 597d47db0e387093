//! The `Stream` and `Sink` implementations of a connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};

use super::WebSocket;
use crate::{Error, Message};

/// Yields the messages that [`recv`](WebSocket::recv) returns, and ends when it returns `Ok(None)`.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

/// Sends messages as [`feed`](WebSocket::feed) and [`flush`](WebSocket::flush) do.
///
/// It is ready while less than [`max_write_buffer_size`](crate::Config::max_write_buffer_size) is
/// queued; the next message may exceed that limit. Closing the sink queues our Close and flushes
/// it; the stream waits for the peer's Close.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        WebSocket::poll_ready(self.get_mut(), cx, 0)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        WebSocket::start_send(self.get_mut(), message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        WebSocket::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        if let Err(error) = this.start_close(None)
            && !matches!(error, Error::Closed)
        {
            return Poll::Ready(Err(error));
        }
        WebSocket::poll_flush(this, cx)
    }
}
