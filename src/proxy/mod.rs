//! Tunnels through HTTP and SOCKS proxies.
//!
//! A [`Proxy`] is parsed from a URI or from the environment. Its method [`tunnel`](Proxy::tunnel)
//! asks for a tunnel to the host and port of a target, over any transport that is connected to the
//! proxy. What is sent through the tunnel, such as a TLS handshake or the opening handshake, goes to
//! the target unchanged. Both `ws://` and `wss://` targets are reached through a tunnel.
//!
//! ```no_run
//! use fullduplex::{Client, Config, Target, proxy::Proxy};
//! use tokio::net::TcpStream;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let target: Target = "ws://example.com/chat".parse()?;
//! let proxy: Proxy = "socks5h://user:password@proxy.example:1080".parse()?;
//! let tcp = TcpStream::connect((proxy.host(), proxy.port())).await?;
//! let tunnel = proxy.tunnel(&target, &Config::new(), tcp).await?;
//! let (mut ws, _response) = Client::default().handshake(&target, tunnel).await?;
//! ws.send("hello").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Protocols
//! | scheme | [`ProxyKind`] | protocol |
//! |---|---|---|
//! | `http` or none | [`Http`](ProxyKind::Http) | CONNECT (RFC 9110 section 9.3.6) |
//! | `https` | [`Https`](ProxyKind::Https) | the same over TLS: the transport must be encrypted |
//! | `socks5h`, `socks5` | [`Socks5`](ProxyKind::Socks5) | SOCKS5 (RFC 1928) |
//! | `socks4a`, `socks4` | [`Socks4`](ProxyKind::Socks4) | SOCKS4a, without IPv6 |
//!
//! The proxy resolves the name of the target, with each of them: the name is not looked up here.
//!
//! # Credentials
//! A user and a password are sent to the proxy alone: as `Proxy-Authorization: Basic` (RFC 7617),
//! as RFC 1929 specifies for SOCKS5, or as the user ID of SOCKS4. Unless the transport to the proxy
//! is encrypted, anyone who can read the traffic can read them. `Display` and `Debug` do not show
//! them.
//!
//! # Environment
//! [`Proxy::from_environment`] reads the variables that `curl` and other programs read, and
//! `no_proxy`.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Config, Replay,
    client::target_of,
    error::Error,
    handshake::{Target, TargetError},
    opening::Deadline,
};

mod environment;
mod http_connect;
mod no_proxy;
mod socks;
mod socks4;
mod socks5;
mod uri;

pub use crate::error::{InvalidProxy, ProxyError, Socks4Reply, Socks5Reply};
pub use uri::{Proxy, ProxyKind};

impl Proxy {
    /// Opens a tunnel to the host and port of a target.
    ///
    /// The transport is connected to the proxy; with [`is_secure`](Self::is_secure), it is a TLS
    /// stream. The target supplies host and port alone: its path and its user are not sent to the
    /// proxy.
    ///
    /// The limits of `config` apply to the answer of the proxy:
    /// [`max_header_size`](Config::max_header_size), [`max_headers`](Config::max_headers), and
    /// [`handshake_timeout`](Config::handshake_timeout) for all of it.
    ///
    /// Returns the transport as a stream to the target, which first yields the bytes that were
    /// already received from it.
    ///
    /// # Errors
    /// [`Error::Proxy`] if the proxy refused, sent something else than an answer, or cannot be asked
    /// for this target. [`Error::InvalidHandshake`] if the target is invalid. [`Error::Transport`]
    /// and [`Error::Timeout`] if the transport failed or the deadline passed.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection to the proxy.
    ///
    /// ```
    /// use fullduplex::{Config, proxy::Proxy};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut peer, io) = tokio::io::duplex(1024);
    /// peer.write_all(b"HTTP/1.1 200 Connected\r\n\r\nhi").await?;
    ///
    /// let proxy: Proxy = "proxy.example:3128".parse()?;
    /// let mut tunnel = proxy.tunnel("wss://example.com/", &Config::new(), io).await?;
    /// let mut first = [0; 2];
    /// tunnel.read_exact(&mut first).await?;
    /// assert_eq!(&first, b"hi");
    ///
    /// let mut request = [0; 59];
    /// peer.read_exact(&mut request).await?;
    /// assert_eq!(&request, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn tunnel<T, S>(&self, target: T, config: &Config, mut io: S) -> Result<Replay<S>, Error>
    where
        T: TryInto<Target>,
        T::Error: Into<TargetError>,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let target = target_of(target)?;
        let deadline = Deadline::handshake(config);
        // Boxed: the state would otherwise enlarge the task for the whole life of the connection.
        let early = Box::pin(tunnel(self, &target, config, deadline, &mut io)).await?;
        Ok(Replay::new(early, io))
    }
}

/// Opens a tunnel over a transport that is connected to the proxy.
///
/// Returns the bytes that were received after the answer of the proxy, which belong to the tunnel.
/// If the deadline passes while the body of a refusal is read, the refusal is still returned.
pub(crate) async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    proxy: &Proxy,
    target: &Target,
    config: &Config,
    deadline: Deadline,
    io: &mut S,
) -> Result<Bytes, Error> {
    match proxy.kind() {
        ProxyKind::Http | ProxyKind::Https => {
            return http_connect::open(proxy, target, config, deadline, io).await;
        }
        ProxyKind::Socks5 => deadline.run(socks5::open(proxy, target, io)).await?,
        ProxyKind::Socks4 => deadline.run(socks4::open(proxy, target, io)).await?,
    }
    // A SOCKS reply has a known length, and nothing after it was read.
    Ok(Bytes::new())
}

/// Returns the error for a read that failed before the tunnel was open.
fn read_failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ProxyError::UnexpectedEof.into(),
        _ => error.into(),
    }
}
