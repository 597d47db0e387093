//! Sending values as JSON.

use std::future::Future;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Sender, WebSocket};
use crate::{Error, Outgoing};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Sends a value as a text message with JSON.
    ///
    /// The value is serialized by the call, before the future is polled. To queue the message
    /// without flushing, [`feed`](Self::feed) an [`Outgoing::json`]. Received messages are parsed
    /// with [`Message::parse_json`](crate::Message::parse_json).
    ///
    /// ```
    /// use fullduplex::{CloseCode, Error, WebSocket};
    /// use serde::{Deserialize, Serialize};
    /// use tokio::net::TcpStream;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Point {
    ///     x: f64,
    ///     y: f64,
    /// }
    ///
    /// async fn mirror(mut ws: WebSocket<TcpStream>) -> Result<(), Error> {
    ///     while let Some(message) = ws.recv().await? {
    ///         match message.parse_json::<Point>() {
    ///             Ok(point) => ws.send_json(&Point { x: -point.x, y: point.y }).await?,
    ///             // The peer erred, and the connection is still open.
    ///             Err(error) => return ws.close(CloseCode::INVALID_PAYLOAD, error.to_string()).await,
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns [`Error::Json`] if the value cannot be serialized, without sending anything;
    /// otherwise the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future is dropped, the message is either queued as a whole or not at all.
    pub fn send_json<'a, T: Serialize + ?Sized>(
        &'a mut self,
        value: &T,
    ) -> impl Future<Output = Result<(), Error>> + use<'a, S, T> {
        let message = Outgoing::json(value);
        async move { self.send(message?).await }
    }
}

impl Sender {
    /// Sends a value as a text message with JSON, as [`WebSocket::send_json`] does.
    ///
    /// # Errors
    /// Returns [`Error::Json`] if the value cannot be serialized, without sending anything;
    /// otherwise the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future is dropped, the message is either queued as a whole or not at all.
    pub fn send_json<'a, T: Serialize + ?Sized>(
        &'a self,
        value: &T,
    ) -> impl Future<Output = Result<(), Error>> + use<'a, T> {
        let message = Outgoing::json(value);
        async move { self.send(message?).await }
    }
}
