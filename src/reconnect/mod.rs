//! A client that connects again after a connection is lost.
//!
//! [`Reconnecting`] opens connections one after the other, and returns the messages of all of them
//! as one stream. A [`Handle`] queues messages, also while there is no connection.
//!
//! ```no_run
//! use fullduplex::{Client, Error, reconnect::{Delivery, Reconnecting}};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut client = Reconnecting::client(Client::default(), "ws://localhost:9001/ticks")?
//!         // On each new connection, before queued messages are sent.
//!         .on_open(|opened| async move { opened.sender().send("subscribe EURUSD").await })
//!         .build();
//!
//!     let handle = client.handle();
//!     tokio::spawn(async move {
//!         let receipt = handle.send("buy 100").await?;
//!         match receipt.await {
//!             Delivery::Sent => println!("sent"),
//!             _ => println!("the server may not have received the order"),
//!         }
//!         Ok::<_, Error>(())
//!     });
//!
//!     while let Some(message) = client.recv().await? {
//!         println!("{message}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # When it connects again
//! After each loss, unless the [reason is final](Reason::is_final): a server that restarts, a
//! network that fails or a status 503 are tried again, an invalid request or a status 403 are not.
//! [`Builder::classify`] overrides this. The client waits a random time before each attempt, which
//! [`Backoff`] limits.
//!
//! # What happens to messages
//! Each message that is queued has one outcome, which its [`Receipt`] returns:
//!
//! | outcome | meaning |
//! |---|---|
//! | [`Sent`](Delivery::Sent) | written to the transport as a whole, and flushed |
//! | [`Unknown`](Delivery::Unknown) | a connection was lost that had accepted it: written in part, or not at all |
//! | [`Dropped`](Delivery::Dropped) | never passed to a connection |
//!
//! **At most once** is the default: a message that a connection has accepted is not sent again. A
//! message that waits in the queue is not affected by the loss of a connection. **At least once**
//! is possible with [`QueuedMessage::retry`]: a message whose outcome would be unknown is sent again
//! over the next connection, so that the server may receive it twice.
//!
//! In both cases, `Sent` does not show that the server has received the message: what the operating
//! system has accepted can still be lost with the connection. A program that must not lose messages
//! numbers them, lets the server acknowledge them, and sends again what is not acknowledged, in the
//! hook of [`Builder::on_open`]. Messages that the server sends while there is no connection are
//! lost as well, unless the hook asks for them.
//!
//! Messages are sent in the order in which they were queued. Those of the hook are sent first.
//!
//! # Limits
//! | limit | default | beyond it |
//! |---|---|---|
//! | [`QueueLimits::max_bytes`], without an outcome | 1 MiB | [`WhenFull`] |
//! | [`QueueLimits::max_messages`], without an outcome | 1024 | [`WhenFull`] |
//! | [`Builder::attempt_timeout`], for each closure | 60 s | the attempt fails |
//! | [`Backoff::max_retry_after`] | 1 h | `Retry-After` counts as this |
//!
//! The deadlines of a connection itself are those of its [`Config`](crate::Config). With the
//! default, a server that disappears is noticed within 40 seconds.

mod backlog;
mod backoff;
mod builder;
mod classify;
mod driver;
mod handle;
mod live;
mod queue;

pub use backoff::Backoff;
pub use builder::{Attempt, Builder, IntoConnection, Opened};
pub use classify::{Reason, Verdict};
pub use driver::Reconnecting;
pub use handle::{Handle, State};
pub use queue::{Delivery, QueueLimits, QueuedMessage, Receipt, WhenFull};
