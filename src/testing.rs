//! Connected pairs in memory, for tests of programs that use this crate.
//!
//! No socket and no port is needed, and no opening handshake is done: [`pair`] returns a client and
//! a server that are open.
//!
//! # Testing time
//! All deadlines use tokio's clock. With that paused (`start_paused = true`, which needs tokio's
//! feature `test-util` among the dev-dependencies), the runtime advances it to the next deadline
//! whenever all tasks wait: a test of a timeout of 40 seconds takes no time, and its result is
//! always the same. An end that a test does not poll is a peer that does not respond.
//!
//! ```
//! use std::time::Duration;
//! use fullduplex::{CloseCode, Config, Error, Timeout, testing};
//! use tokio::time::Instant;
//!
//! // In a test: #[tokio::test(start_paused = true)]
//! #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() -> Result<(), Error> {
//!     let config = Config::new().ping_interval(Duration::from_secs(20)).pong_timeout(Duration::from_secs(20));
//!
//!     // A server that does not answer the keep-alive ping.
//!     let (mut client, _server) = testing::pair(&config);
//!     let start = Instant::now();
//!     let error = client.recv().await.expect_err("nobody answers");
//!     assert!(matches!(error, Error::Timeout(Timeout::Pong)));
//!     assert_eq!(start.elapsed().as_secs(), 40);
//!
//!     // One that does not answer our Close: `close` gives up after `close_timeout`, which is no error.
//!     let (mut client, _server) = testing::pair(&config.close_timeout(Duration::from_secs(5)));
//!     let start = Instant::now();
//!     client.close(CloseCode::NORMAL, "bye").await?;
//!     assert_eq!(start.elapsed().as_secs(), 5);
//!     Ok(())
//! }
//! ```

use bytes::Bytes;
use tokio::io::DuplexStream;

use crate::{Config, Role, WebSocket, handshake::Negotiated};

/// How many bytes are under way in each direction, unless a test wants to choose.
const CAPACITY: usize = 64 << 10;

/// Returns a client and a server that are connected in memory.
///
/// Both have the same `config`. With the feature `deflate` they compress if that says so, as if
/// each had agreed to the settings of the other. For ends with different settings, or with a
/// subprotocol, there is [`WebSocket::from_raw`] over [`tokio::io::duplex`].
///
/// ```
/// use fullduplex::{Config, Error, Message, testing};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Error> {
///     let (mut client, mut server) = testing::pair(&Config::new());
///     client.send("hello").await?;
///     assert_eq!(server.recv().await?, Some(Message::from("hello")));
///     drop(client);
///     let error = server.recv().await.expect_err("the client left without a Close");
///     assert!(error.is_disconnect());
///     Ok(())
/// }
/// ```
pub fn pair(config: &Config) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    pair_with_capacity(config, CAPACITY)
}

/// Returns a client and a server, as [`pair`], with room for `capacity` bytes in each direction.
///
/// A small capacity shows what a program does while its peer does not read.
///
/// ```
/// use std::time::Duration;
/// use fullduplex::{Config, Error, Timeout, testing};
///
/// #[tokio::main(flavor = "current_thread", start_paused = true)]
/// async fn main() {
///     let config = Config::new().write_timeout(Duration::from_secs(30));
///     let (mut client, _server) = testing::pair_with_capacity(&config, 10);
///     let error = client.send("more than ten bytes").await.expect_err("the server does not read");
///     assert!(matches!(error, Error::Timeout(Timeout::Write)));
/// }
/// ```
pub fn pair_with_capacity(
    config: &Config,
    capacity: usize,
) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = tokio::io::duplex(capacity);
    let open = |io, role| WebSocket::from_raw(io, Bytes::new(), role, config, negotiated(config));
    (open(client, Role::Client), open(server, Role::Server))
}

#[cfg(feature = "deflate")]
fn negotiated(config: &Config) -> Negotiated {
    config
        .deflate
        .map_or_else(Negotiated::default, |settings| Negotiated::default().with_deflate(settings.into()))
}

#[cfg(not(feature = "deflate"))]
fn negotiated(_: &Config) -> Negotiated {
    Negotiated::default()
}
