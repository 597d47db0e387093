//! TLS for both ends: `wss://`.
//!
//! A client needs no settings: with the feature `tls`, [`connect`](crate::connect) accepts
//! `wss://` URIs. A [`TlsConnector`] changes what it trusts and presents. A server wraps each
//! connection with a [`TlsAcceptor`]:
//!
//! ```no_run
//! use fullduplex::{Error, TlsAcceptor};
//! use tokio::net::TcpListener;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let acceptor = TlsAcceptor::from_pem(&std::fs::read("cert.pem")?, &std::fs::read("key.pem")?)?;
//! let listener = TcpListener::bind("0.0.0.0:443").await?;
//! loop {
//!     // The process may have no file descriptors left: see `fullduplex::accept`.
//!     let (tcp, peer) = listener.accept().await?;
//!     let acceptor = acceptor.clone();
//!     tokio::spawn(async move {
//!         let connection = async {
//!             tcp.set_nodelay(true)?;
//!             let mut ws = fullduplex::accept(acceptor.accept(tcp).await?).await?;
//!             while let Some(message) = ws.recv().await? {
//!                 ws.feed(message).await?;
//!             }
//!             Ok::<(), Error>(())
//!         };
//!         if let Err(error) = connection.await {
//!             eprintln!("{peer}: {error:#}");
//!         }
//!     });
//! }
//! # }
//! ```
//!
//! # Implementation
//! TLS is by rustls, with the cryptography of ring, or of AWS-LC with the feature `tls-aws-lc`. It
//! is passed explicitly: the default provider of the process is neither used nor changed. TLS 1.2
//! and 1.3 are supported, sessions are resumed, and ALPN offers `http/1.1` alone, because a
//! WebSocket connection of HTTP/1.1 cannot be opened over HTTP/2.
//!
//! Certificates are verified as the operating system does, by rustls-platform-verifier. If a
//! machine has no CA certificates, as a minimal container, the feature `tls-webpki-roots` adds
//! those of Mozilla.
//!
//! [`rustls`] is re-exported for programs that bring their own configuration.

mod acceptor;
mod connector;
mod failure;
mod pem;
mod read_ahead;
mod stream;
mod verify;

use std::sync::Arc;

pub use acceptor::TlsAcceptor;
pub use connector::{TlsConnector, TlsConnectorBuilder};
#[cfg(feature = "hyper")]
pub(crate) use stream::RustlsStream;
pub use stream::TlsStream;
/// The crate `rustls`, in the version that this crate uses.
#[doc(no_inline)]
pub use tokio_rustls::rustls;

/// The ALPN protocol of HTTP/1.1 (RFC 7301), which the opening handshake uses.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The ALPN protocol of HTTP/2.
#[cfg(feature = "http2")]
pub(crate) const HTTP_2: &[u8] = b"h2";

/// Returns the cryptography that this crate is built with.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    #[cfg(feature = "tls-aws-lc")]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "tls-aws-lc"))]
    let provider = rustls::crypto::ring::default_provider();
    Arc::new(provider)
}
