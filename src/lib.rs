//! fullduplex
#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod dial;
#[cfg(feature = "tokio")]
mod error;
pub mod handshake;
#[cfg(feature = "tokio")]
mod opening;
pub mod proto;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "tokio")]
pub use client::connect;
#[cfg(feature = "tokio")]
pub use dial::ClientStream;
#[cfg(feature = "tokio")]
pub use error::{Error, Timeout};
pub use handshake::{Client, Server, Target};
pub use proto::{CloseCode, CloseFrame, Config, Message, Outgoing, Role, Utf8Bytes};
#[cfg(feature = "tokio")]
pub use server::{Pending, accept};
#[cfg(feature = "tokio")]
pub use stream::{Event, Parts, Permit, WebSocket};
