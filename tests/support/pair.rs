//! Two connected ends.

use fullduplex::{Config, WebSocket, testing};
use tokio::io::DuplexStream;

/// Connects a client and a server by a pipe with a buffer of this many bytes in each direction.
pub fn pair(config: &Config, room: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    testing::pair_with_capacity(config, room)
}
