//! `Stream` and `Sink`, for those who come from other libraries.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};

use super::WebSocket;
use crate::{Error, Message};

/// [`recv`](WebSocket::recv), as a stream: it ends where `recv` gives `Ok(None)`.
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

/// [`feed`](WebSocket::feed), [`flush`](WebSocket::flush) and the first half of [`close`](WebSocket::close), as a sink.
///
/// It is ready while less than [`max_write_buffer_size`](crate::Config::max_write_buffer_size) is queued; the message that is then
/// sent may pass that limit. Closing the sink queues our Close and flushes: it is the stream that waits for the peer's.
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
