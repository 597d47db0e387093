//! Connected in-memory pairs, for tests of programs that use this crate.
//!
//! [`pair`] returns an open client and server. It uses no socket and does no opening handshake.
//!
//! # Testing time
//! All deadlines use tokio's clock. If it is paused (`start_paused = true`, which needs tokio's
//! feature `test-util` in the dev-dependencies), the runtime advances it to the next deadline
//! whenever all tasks wait. A test of a timeout of 40 seconds then takes no time, and its result is
//! deterministic. An end that the test does not poll acts as a peer that does not respond.
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
//!     let error = client.recv().await.expect_err("the server is not polled");
//!     assert!(matches!(error, Error::Timeout(Timeout::Pong)));
//!     assert_eq!(start.elapsed().as_secs(), 40);
//!
//!     // A server that does not answer the Close: `close` returns after `close_timeout`.
//!     let (mut client, _server) = testing::pair(&config.close_timeout(Duration::from_secs(5)));
//!     let start = Instant::now();
//!     client.close(CloseCode::NORMAL, "bye").await?;
//!     assert_eq!(start.elapsed().as_secs(), 5);
//!     Ok(())
//! }
//! ```

#[cfg(feature = "hyper")]
mod upgrade;

use bytes::Bytes;
use tokio::io::DuplexStream;
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub use upgrade::{TestConnection, TestUpgrade, upgrade_request};

use crate::{Config, Role, WebSocket, handshake::Negotiated};

/// The default capacity in each direction, in bytes.
const CAPACITY: usize = 64 << 10;

/// Creates a client and a server that are connected in memory.
///
/// Both ends have the same `config`. With the feature `deflate`, they compress if `config` enables
/// it, as if each had agreed to the settings of the other. For ends with different settings, or
/// with a subprotocol, use [`WebSocket::from_raw`] over [`tokio::io::duplex`].
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

/// Creates a connected pair with a capacity of `capacity` bytes in each direction.
///
/// Like [`pair`]. A small capacity tests a program whose peer does not read.
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
