//! Guides. This module exists in the documentation only.
//!
//! - [`from_tungstenite`]: the same program with tokio-tungstenite and with this crate.
//! - `connecting`: TLS, proxies, redirects, reconnecting; with the features `tls`, `proxy` and
//!   `reconnect`.
//! - `serving`: an accept loop, limits, graceful shutdown, metrics; with the feature `serve`.
//! - [`cancel_safety`]: what remains when a future is dropped.
//! - [`back_pressure`]: full buffers, slow readers, broadcasts.
//! - [`security`]: origins, tokens, limits, compression.
//! - [`test_your_code`]: connected pairs in memory, paused clocks, misbehaving peers.
//! - [`tuning`]: fewer system calls, copies and bytes per connection.
//! - [`features`]: what is implemented and what is not.

pub mod back_pressure;
pub mod cancel_safety;
#[cfg(all(feature = "tls", feature = "proxy", feature = "reconnect"))]
pub mod connecting;
pub mod features;
pub mod from_tungstenite;
pub mod security;
#[cfg(feature = "serve")]
pub mod serving;
pub mod test_your_code;
pub mod tuning;
