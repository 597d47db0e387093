//! Connecting: TLS, proxies, redirects, reconnecting.
//!
//! # TLS
//! With the feature `tls`, [`connect`](crate::connect) accepts `wss://` URIs and verifies
//! certificates as the operating system does. A [`TlsConnector`] changes that:
//!
//! ```
//! use fullduplex::{Client, Error, TlsConnector, TlsError};
//!
//! # async fn run() -> Result<(), Error> {
//! let tls = TlsConnector::builder()
//!     .roots(std::fs::read("company-ca.pem")?) // trusted as well as those of the system
//!     .client_certificate(std::fs::read("client.pem")?, std::fs::read("client.key")?)
//!     .build()?;
//! match Client::default().tls(tls).connect("wss://internal.example/feed").await {
//!     Ok((mut ws, _response)) => ws.send("hello").await?,
//!     Err(Error::Tls(error)) if matches!(*error, TlsError::Expired) => println!("renew the certificate"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - Build one connector and clone it: connections that share one resume sessions, which saves a
//!   round trip and most of the handshake's work.
//! - A machine without CA certificates returns [`TlsError::NoRoots`]: install them, or enable the
//!   feature `tls-webpki-roots`.
//! - A server wraps each connection with a [`TlsAcceptor`], and replaces its certificate with
//!   [`reload`](TlsAcceptor::reload).
//!
//! # Addresses, resolvers, other transports
//! The addresses of a host are dialed in turn (RFC 8305). [`Client::resolver`] replaces the
//! system's resolver, [`Client::connector`] the whole of it, for a Unix socket for example; TLS and
//! the opening handshake then use that stream. [`Client::handshake`] opens a connection over a
//! stream that is there already. [`connect_timeout`](Client::connect_timeout) limits everything up
//! to the opening handshake.
//!
//! # Proxies
//! The feature `proxy` opens tunnels through HTTP proxies (CONNECT), SOCKS5 and SOCKS4a. A proxy is
//! used only if the program says so, for all targets or as the environment selects:
//!
//! ```
//! use fullduplex::{Client, proxy::Proxy};
//!
//! # fn run() -> Result<(), fullduplex::proxy::InvalidProxy> {
//! let proxy: Proxy = "socks5://user:password@proxy.example:1080".parse()?;
//! let client = Client::default().proxy(proxy);
//! let client = Client::default().proxy_from_environment(); // wss_proxy, https_proxy, no_proxy, ...
//! # let _ = client;
//! # Ok(())
//! # }
//! ```
//!
//! The proxy resolves the name of the target, and receives neither the path nor the credentials of
//! the request. [`Error::proxy_response`](crate::Error::proxy_response) is the refusal of an HTTP
//! proxy.
//!
//! # Redirects
//! [`Client::max_redirects`] follows them. Credentials are not sent to another origin, and a
//! redirect from `wss` to `ws` is refused.
//!
//! # Reconnecting
//! The feature `reconnect` keeps a client connected: with random delays that grow, a queue for what
//! is sent meanwhile, and an outcome for each message. The URL and the header fields come from a
//! closure, so that each attempt can have a new token:
//!
//! ```
//! use fullduplex::{Client, reconnect::Reconnecting};
//!
//! # async fn fresh_token() -> Result<String, std::io::Error> { Ok(String::new()) }
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Reconnecting::builder(|_attempt| async {
//!     let token = fresh_token().await?;
//!     Client::default()
//!         .header("Authorization", format!("Bearer {token}"))
//!         .connect("wss://example.com/feed")
//!         .await
//! })
//! .on_open(|opened| async move { opened.sender().send("subscribe").await })
//! .build();
//! while let Some(message) = client.recv().await? {
//!     println!("{message}");
//! }
//! # Ok(())
//! # }
//! ```

#[allow(unused_imports, reason = "links refer to them")]
use crate::{Client, TlsAcceptor, TlsConnector, TlsError};
