//! A backplane of [`fullduplex`] hubs on Redis.
//!
//! Hubs of any number of processes share their rooms: messages and their history are in streams of
//! Redis, presence is in hashes, and all else is published on channels.
//!
//! ```no_run
//! use fullduplex::hub::Hub;
//! use fullduplex_backplane_redis::Redis;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let redis: Redis<String> = Redis::builder("redis://localhost:6379").prefix("chat").build()?;
//! let hub = Hub::builder().backplane(redis.clone()).build();
//! redis.connected().await?;
//! hub.publish(&"class 1b".to_owned(), "Good morning").await?;
//! # Ok(())
//! # }
//! ```
//!
//! The server needs Redis 6.2 or later. The README of this package describes what is guaranteed, what
//! is stored, and how to configure the server.

#![deny(missing_debug_implementations, missing_docs, unreachable_pub)]

mod builder;
mod commands;
mod cursor;
mod driver;
mod history;
mod keys;
mod link;
mod notice;
mod presence;
mod redis_backplane;
mod room;
mod rooms;
mod scripts;
mod server;
mod shards;
mod shared;
mod subscriptions;
mod transient;

pub use ::redis::RedisError;
pub use builder::{Builder, InvalidSettings};
pub use redis_backplane::Redis;
