//! Taking a connection apart.

use std::fmt;

use bytes::{Buf, Bytes};

use super::{WebSocket, connection::Connection, io::OwnedIo, pool};

/// The parts of a connection, returned by [`WebSocket::into_inner`].
#[non_exhaustive]
pub struct Parts<S> {
    /// The stream.
    pub io: S,
    /// Bytes that were read from the stream and not handled, beginning with the next frame header.
    ///
    /// If the payload data of a frame was received in part, only the bytes that were not handled
    /// yet.
    pub unread: Bytes,
    /// Bytes that were queued and not written, encoded as frames. They may begin inside a frame.
    pub unsent: Bytes,
}

/// Redacts payload data: prints only its length.
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
    /// Takes the connection apart without closing it.
    ///
    /// A message that was received in part is lost, and so is one that is complete but not inflated
    /// yet. If compression with context takeover was agreed on, the compression windows are lost as
    /// well, and the connection cannot be continued. Queued messages that have not been compressed
    /// yet are compressed by this call.
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
        let Connection { io: OwnedIo { transport, mut send, .. }, inbound } = self.connection;
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
            pool::with_buffers(|buffers| send.stage(&mut batch, buffers));
            if !batch.has_remaining() && !send.has_uncompressed() {
                return Parts { io, unread: unread.into(), unsent: unsent.into() };
            }
        }
    }
}
