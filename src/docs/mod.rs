//! Guides. This module exists in the documentation only.
//!
//! - [`from_tungstenite`]: the same program with tokio-tungstenite and with this crate.
//! - `connecting`: TLS, proxies, redirects, reconnecting; with the features `tls`, `proxy` and
//!   `reconnect`.
//! - `web_frameworks`: axum, hyper and HTTP/2; with the features `axum`, `http2` and `tls`.
//! - `serving`: an accept loop, limits, graceful shutdown, metrics; with the feature `serve`.
//! - `calls`: events and calls with acknowledgements; with the features `calls`, `serve` and
//!   `reconnect`.
//! - [`cancel_safety`]: what remains when a future is dropped.
//! - [`back_pressure`]: full buffers, slow readers, broadcasts.
//! - [`security`]: origins, tokens, limits, compression.
//! - [`test_your_code`]: connected pairs in memory, paused clocks, misbehaving peers.
//! - `tracing`: spans and events; with the feature `tracing`.
//! - [`tuning`]: fewer system calls, copies and bytes per connection.
//! - [`features`]: what is implemented and what is not.
//! - [`how_it_is_tested`]: what each kind of test shows, its figures, and its command.

pub mod back_pressure;
#[cfg(all(feature = "calls", feature = "serve", feature = "reconnect"))]
pub mod calls;
pub mod cancel_safety;
#[cfg(all(feature = "tls", feature = "proxy", feature = "reconnect"))]
pub mod connecting;
pub mod features;
pub mod from_tungstenite;
pub mod how_it_is_tested;
pub mod security;
#[cfg(feature = "serve")]
pub mod serving;
pub mod test_your_code;
#[cfg(feature = "tracing")]
pub mod tracing;
pub mod tuning;
#[cfg(all(feature = "axum", feature = "http2", feature = "tls"))]
pub mod web_frameworks;
