//! Taking a connection apart.

use std::fmt;

use bytes::{Buf, Bytes};

use super::{WebSocket, connection::Connection, line::Own, pool};

/// What a connection was made of: see [`WebSocket::into_inner`].
#[non_exhaustive]
pub struct Parts<S> {
    /// The stream.
    pub io: S,
    /// What was read from it and is not part of a frame that was handled, from the start of the next header on. Of a frame
    /// whose payload data has come in part, only what was not yet handled.
    pub unread: Bytes,
    /// What was queued and not written, as it would have gone over the wire; it may start inside a frame.
    pub unsent: Bytes,
}

/// Payload data is nobody's business but the application's: only its length is shown.
impl<S: fmt::Debug> fmt::Debug for Parts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("io", &self.io)
            .field("unread", &format_args!("{} bytes", self.unread.len()))
            .field("unsent", &format_args!("{} bytes", self.unsent.len()))
            .finish()
    }
}

impl<S> WebSocket<S> {
    /// Takes the connection apart, without closing it.
    ///
    /// A message that has come in part is lost, or compressed and not inflated yet. So is what the ends remember of earlier
    /// messages, where they agreed on compression with context takeover: then nobody can go on. What is queued and still to be
    /// compressed is compressed by this call.
    ///
    /// ```
    /// use fullduplex::{Config, Role, WebSocket, handshake::Negotiated};
    ///
    /// let unread = bytes::Bytes::from_static(b"\x81\x05He");
    /// let ws = WebSocket::from_raw("any stream", unread, Role::Client, &Config::new(), Negotiated::default());
    /// let parts = ws.into_inner();
    /// assert_eq!((parts.io, &parts.unread[..]), ("any stream", &b"\x81\x05He"[..]));
    /// ```
    pub fn into_inner(self) -> Parts<S> {
        let Connection { line: Own { transport, mut send, .. }, inbound } = self.connection;
        let mut unread = inbound.receive.carried_header().to_vec();
        if let Some(scratch) = &inbound.scratch {
            unread.extend_from_slice(scratch.unread());
        }
        let (io, batch) = transport.into_parts();
        let mut batch = batch.unwrap_or_default();
        let mut unsent = Vec::new();
        loop {
            while batch.has_remaining() {
                let chunk = batch.chunk();
                let len = chunk.len();
                unsent.extend_from_slice(chunk);
                batch.advance(len);
            }
            pool::with_lent(|lent| send.stage(&mut batch, lent));
            if !batch.has_remaining() && !send.has_uncompressed() {
                return Parts { io, unread: unread.into(), unsent: unsent.into() };
            }
        }
    }
}
