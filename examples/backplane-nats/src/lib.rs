//! A backplane of [`fullduplex`] hubs on NATS JetStream.
//!
//! Hubs of any number of processes share their rooms: messages and presence are in streams, which
//! publish again what they have stored, and all else is published on subjects of its own.
//!
//! ```no_run
//! use fullduplex::hub::Hub;
//! use fullduplex_backplane_nats::Nats;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let nats: Nats<String> = Nats::builder("nats://localhost:4222").name("chat").build()?;
//! let hub = Hub::builder().backplane(nats.clone()).build();
//! nats.connected().await?;
//! hub.publish(&"class 1b".to_owned(), "Good morning").await?;
//! # Ok(())
//! # }
//! ```
//!
//! The server needs NATS 2.9 or later, with JetStream. The README of this package describes what is
//! guaranteed, what is stored, and what calls cost.

#![deny(missing_debug_implementations, missing_docs, unreachable_pub)]

mod builder;
mod driver;
mod failure;
mod history;
mod link;
mod names;
mod nats_backplane;
mod presence;
mod record;
mod room;
mod rooms;
mod shared;
mod transient;

pub use builder::{Builder, InvalidSettings};
pub use failure::Failure;
pub use nats_backplane::Nats;
