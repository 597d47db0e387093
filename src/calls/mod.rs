//! Events and calls with acknowledgements, as JSON in text messages.
//!
//! A [`Router`] maps the names of events to handlers. It is attached to a connection of either end: a
//! [`WebSocket`](crate::WebSocket), or a client that reconnects. A [`Peer`] emits events to the other
//! end and calls it.
//!
//! ```
//! use fullduplex::{Config, calls::{CallError, Context, Router}, testing};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Post {
//!     text: String,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Posted {
//!     id: u64,
//! }
//!
//! async fn post(context: Context<&'static str>, post: Post) -> Result<Posted, CallError> {
//!     if post.text.is_empty() {
//!         return Err(CallError::refused("the message is empty"));
//!     }
//!     println!("{}: {}", context.state(), post.text);
//!     Ok(Posted { id: 1 })
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), CallError> {
//!     let (client, server) = testing::pair(&Config::new());
//!     let router = Router::new().on("chat:message", post);
//!     tokio::spawn(async move { router.serve(server, "ann").await });
//!
//!     let attached = Router::new().attach(client, ());
//!     let peer = attached.peer().clone();
//!     tokio::spawn(attached.run());
//!     let posted: Posted = peer.call("chat:message", &Post { text: "hello".into() }).await?;
//!     assert_eq!(posted.id, 1);
//!     let error = peer.call::<(), _>("chat:message", &7).await.expect_err("not a message");
//!     assert_eq!(error.to_string(), "field `data`: invalid type, expected struct Post");
//!     Ok(())
//! }
//! ```
//!
//! The guide `docs::calls` has a server, and a client that reconnects.
//!
//! # Wire format
//! All messages are text with a JSON object, in both directions:
//!
//! | message | meaning |
//! |---|---|
//! | `{"event":"chat:message","id":7,"data":{...}}` | a call, which is answered |
//! | `{"event":"chat:typing","data":{...}}` | an event, which is not acknowledged |
//! | `{"ack":7,"ok":true,"data":{...}}` | the answer to call 7 |
//! | `{"ack":7,"ok":false,"error":"..."}` | call 7 has failed |
//! | `{"ok":false,"error":"..."}` | a notice: an event without an id has failed, or a message is not valid |
//!
//! - An `id` is an integer from 0 to 2^53 - 1, chosen by the caller; `null` counts as missing. `data`
//!   that is missing is `null`. The name of an event has at most 256 bytes. Other members are ignored.
//! - The answer to an unknown event also has `"code":"unknown_event"`, and the answer to invalid data
//!   has `"code":"invalid_data"` and the path of the field as `"field"`. The caller matches them as
//!   [`CallError::UnknownEvent`] and [`CallError::InvalidData`].
//! - A binary message, a message that is not a JSON object, and one with neither `event` nor `ack` are
//!   answered with a notice, and the connection continues. If the id is valid and the rest of a call is
//!   not, the call is answered.
//! - An answer to a call that nothing waits for is ignored. Answers and notices are never answered, so
//!   two ends cannot answer each other without end.
//! - Texts of errors have at most 1024 bytes. Those of this crate name fields and types, and quote no
//!   values.
//!
//! # Order
//! The handlers of one connection run one after the other, in the order in which the events arrived.
//! Meanwhile the connection continues to receive: pings are answered, and answers reach the calls
//! that wait for them, so a handler can call its own peer. [`Limits::concurrency`] lets several run at
//! once. Handlers that call each other's ends in a circle wait for each other until a deadline passes,
//! unless enough of them may run at once.
//!
//! Handlers run in the task that runs the connection. No other task is spawned. A handler that panics
//! panics that task.
//!
//! # Back-pressure
//! If [`Limits::max_waiting`] events wait for their handlers, nothing more is received: TCP stops the
//! peer. Its pings are not answered then, because they are behind the events. A handler that may take
//! longer than the [`pong_timeout`](crate::Config::pong_timeout) of a peer that sends much spawns a
//! task for its work.
//!
//! While a call to the peer waits, its answer may be behind such events. Then the connection continues
//! to receive until [`Limits::max_waiting_bytes`]. If the answer is behind even more, the call ends at
//! its deadline, and the connection continues.
//!
//! # The end of a connection
//! Calls that wait fail at once with [`CallError::Lost`]. Events that have arrived are still handled;
//! their answers are dropped.
//!
//! Over a client that reconnects, the peer stays: calls wait in the queue of the client until a
//! connection is open, while their deadlines run. `Peer::with_resend` decides about calls that were
//! sent over a connection that is lost. The calls of the server are answered only over the connection
//! that they arrived over.
//!
//! `Attached::on_open` sets a hook for each new connection, which calls the server before all that
//! waits: to log in, or to join a room again.

mod attached;
mod call;
mod connection;
mod context;
mod data;
mod encode;
mod error;
mod limits;
mod parse;
mod peer;
mod pending;
mod queue;
mod router;
mod routes;

pub use attached::Attached;
pub use call::Call;
pub use connection::Connection;
pub use context::Context;
pub use encode::event;
pub use error::{CallError, InvalidData, Refusal};
pub use limits::Limits;
pub use peer::Peer;
pub use router::Router;
