//! WebSocket over tokio.
use crate::{Config, Role, handshake::Negotiated};
use bytes::Bytes;
/// A WebSocket connection.
#[derive(Debug)]
pub struct WebSocket<S> {
    io: S,
    #[allow(dead_code)]
    unread: Bytes,
}
impl<S> WebSocket<S> {
    /// From an open connection.
    pub fn from_raw(io: S, unread: Bytes, _role: Role, _config: &Config, _negotiated: Negotiated) -> Self {
        Self { io, unread }
    }
    /// The transport.
    pub fn get_ref(&self) -> &S {
        &self.io
    }
}
