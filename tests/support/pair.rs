//! Two connected ends.

use fullduplex::{Config, WebSocket, testing};
use tokio::io::DuplexStream;

/// A client and a server, connected by a pipe with room for this many bytes in each direction.
pub fn pair(config: &Config, room: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    testing::pair_with_capacity(config, room)
}
