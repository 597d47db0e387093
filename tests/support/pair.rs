//! Two connected ends.

use bytes::Bytes;
use fullduplex::{Config, Role, WebSocket, handshake::Negotiated};
use tokio::io::DuplexStream;

/// A client and a server, connected by a pipe with room for this many bytes in each direction.
pub fn pair(config: &Config, room: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (a, b) = tokio::io::duplex(room);
    let open = |io, role| WebSocket::from_raw(io, Bytes::new(), role, config, Negotiated::default());
    (open(a, Role::Client), open(b, Role::Server))
}
