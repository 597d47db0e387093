//! Calls: events and acknowledgements over text messages.
//!
//! The feature `calls` adds a small layer over messages: named events with typed data, calls with
//! answers and deadlines, middleware, and errors that name the field. Both ends use the same
//! [`Router`] and the same [`Peer`]. The [module](crate::calls) documents the wire format, which a
//! page in a browser can write by hand.
//!
//! # A server
//! ```no_run
//! use std::{collections::HashMap, sync::{Arc, Mutex, MutexGuard, atomic::{AtomicU64, Ordering}}};
//!
//! use fullduplex::{
//!     CloseCode, Error, PreparedMessage,
//!     calls::{self, CallError, Context, InvalidData, Peer, Refusal, Router},
//!     serve::Serve,
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default)]
//! struct Room {
//!     joined: AtomicU64,
//!     members: Mutex<HashMap<u64, Peer>>,
//! }
//!
//! impl Room {
//!     fn members(&self) -> MutexGuard<'_, HashMap<u64, Peer>> {
//!         self.members.lock().expect("no panic")
//!     }
//! }
//!
//! /// The state of one connection. It leaves the room when it is dropped.
//! struct Member {
//!     number: u64,
//!     name: String,
//!     room: Arc<Room>,
//! }
//!
//! impl Drop for Member {
//!     fn drop(&mut self) {
//!         self.room.members().remove(&self.number);
//!     }
//! }
//!
//! #[derive(Deserialize)]
//! struct Post {
//!     text: String,
//! }
//!
//! #[derive(Serialize)]
//! struct Posted<'a> {
//!     from: &'a str,
//!     text: &'a str,
//! }
//!
//! async fn join(context: Context<Member>) -> Result<(), Refusal> {
//!     let Member { number, room, .. } = context.state();
//!     let mut members = room.members();
//!     if members.len() >= 100 {
//!         return Err(Refusal::new(CloseCode::from(4000), "the room is full"));
//!     }
//!     members.insert(*number, context.peer().clone());
//!     Ok(())
//! }
//!
//! async fn post(context: Context<Member>, post: Post) -> Result<usize, CallError> {
//!     if post.text.chars().count() > 1000 {
//!         return Err(InvalidData::new("data.text", "longer than 1,000 characters").into());
//!     }
//!     let Member { name, room, .. } = context.state();
//!     // Encoded once for all members. One that does not read misses it.
//!     let message = PreparedMessage::new(calls::event("posted", &Posted { from: name, text: &post.text })?);
//!     let members = room.members();
//!     let sent = members.values().filter_map(Peer::sender).filter(|member| member.try_send(&message).is_ok());
//!     Ok(sent.count())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let room = Arc::new(Room::default());
//!     let router = Router::new()
//!         .on_connect(join)
//!         .before_each(|context: Context<Member>| async move {
//!             println!("{}: {}", context.state().name, context.event());
//!             Ok(())
//!         })
//!         .on_failure(|context, error| eprintln!("{}: {error}", context.event()))
//!         .on("post", post);
//!     Serve::bind("127.0.0.1:9001").await?
//!         .run(move |session, request| {
//!             let number = room.joined.fetch_add(1, Ordering::Relaxed);
//!             let member = Member { number, name: request.path().to_owned(), room: room.clone() };
//!             router.serve(session, member)
//!         })
//!         .await
//! }
//! ```
//!
//! # A client
//! It calls the server, and the server can call it. Calls wait while there is no connection, and while
//! the hook for a new one runs. If the server refuses the call of the hook, the client tries again
//! later: [`Attached::on_open`](crate::calls::Attached::on_open) shows how to stop instead.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use fullduplex::{Client, calls::{CallError, Router}, reconnect::Reconnecting};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize)]
//! struct Post<'a> {
//!     text: &'a str,
//! }
//!
//! #[derive(Deserialize)]
//! struct Posted {
//!     from: String,
//!     text: String,
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Reconnecting::client(Client::default(), "ws://127.0.0.1:9001/ann")?.build();
//!     let router = Router::new()
//!         .on("posted", |_context, posted: Posted| async move {
//!             println!("{}: {}", posted.from, posted.text);
//!             Ok(())
//!         })
//!         .on("version", |_context, (): ()| async { Ok(env!("CARGO_PKG_VERSION")) });
//!     let attached = router
//!         .attach(client, ())
//!         // On each new connection, before the calls that wait.
//!         .on_open(|peer, _opened| async move { peer.call::<(), _>("join", "room 7").await });
//!     let peer = attached.peer().clone();
//!     let running = tokio::spawn(attached.run());
//!
//!     // Sent again if the connection is lost before the answer. The server has to drop the second one.
//!     let patient = peer.with_timeout(Duration::from_secs(60)).with_resend(true);
//!     match patient.call::<usize, _>("post", &Post { text: "hello" }).await {
//!         Ok(members) => println!("sent to {members} members"),
//!         Err(CallError::Refused(why)) => println!("not sent: {why:?}"),
//!         Err(error) => println!("perhaps not sent: {error}"),
//!     }
//!     running.await??;
//!     Ok(())
//! }
//! ```
//!
//! # Rate limits and roles
//! A function of [`before_each`](Router::before_each) runs before the data is parsed, also for
//! unknown events and invalid messages. Its error is the answer.
//!
//! # Graceful shutdown
//! A [`Session`](crate::serve::Session) that a router serves takes part in the shutdown of its
//! server: the router receives until the peer has answered the Close.

#[allow(unused_imports, reason = "links refer to them")]
use crate::calls::{Peer, Router};
