//! Rooms of connections, on one machine or several.
//!
//! A [`Hub`] has members: connections that are sent to from outside of their own tasks. Members
//! join rooms, and messages are sent to a room, to all members, or to one. There is no task and no
//! channel for each member: a message is encoded once, and written to each connection directly.
//!
#![cfg_attr(feature = "serve", doc = "```no_run")]
#![cfg_attr(not(feature = "serve"), doc = "```ignore")]
//! use fullduplex::{hub::Hub, serve::Serve};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let hub: Hub = Hub::new();
//!     Serve::bind("127.0.0.1:9001").await?
//!         .run(move |session, request| {
//!             let hub = hub.clone();
//!             async move {
//!                 let room = request.path().to_owned();
//!                 let (ws, mut guard) = session.into_parts();
//!                 let (mut receiver, sender) = ws.split();
//!                 let member = hub.add(sender);
//!                 if member.join(&room).await.is_err() {
//!                     return Ok(());
//!                 }
//!                 while let Some(message) = guard.recv(&mut receiver).await? {
//!                     hub.to(&room).except(member.id()).send(message);
//!                 }
//!                 Ok(())
//!             }
//!         })
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! # Two ways to send
//! | | [`Hub::publish`] | [`To::send`] |
//! |---|---|---|
//! | for | messages of which none may be missing | typing, cursors, notices |
//! | stored in the history | yes, with a [`Position`] | no |
//! | order | that of the room, the same on all hubs | that of the calls, on one hub |
//! | other hubs, while the backplane cannot be reached | waits | not sent |
//!
//! # History and recovery
//! A backplane that stores the history of rooms, such as [`Memory::history`], gives each published
//! message a position. A client that has been away names the last position that it has seen, and
//! [`Member::join_since`] sends what it has missed, once and in order with what is published
//! meanwhile. If some of it no longer exists, [`Joined::has_lost`] says so.
//!
//! For this, the clients have to know positions: [`Builder::encode`] adds them to the messages.
//!
//! # Several rooms
//! A message can be for the members of several rooms, each of whom receives it once, without those of
//! others: [`To::rooms`], [`To::except_rooms`]. One that is published can be so too: the history of one
//! room then holds the messages of many in one order, and a client that comes back names one position
//! ([`Publication::rooms`]).
//!
//! Several messages can be sent as one unit: see [`Sequence`](crate::Sequence).
//!
//! # Slow members
//! Sending to many never waits for one. For a member whose write buffer is full, [`Slow`] decides
//! between dropping the message, keeping the latest of its kind, and closing the connection. What
//! has become of each is in [`Delivered`].
//!
//! # Several machines
//! A [`Backplane`] connects the hubs of several processes. A client may connect to any of them.
//! Members are [present](Member::enter) in rooms with data about them, and all hubs are told who
//! comes and goes, also if a machine fails. [`Memory`] connects hubs in one process, for tests.
//!
//! # Memory
//! A member in one room takes about 190 bytes beyond its connection.

mod backplane;
mod builder;
mod counters;
mod delivery;
mod error;
mod event;
mod handle;
mod held;
mod inbox;
mod inner;
mod key;
mod member;
mod members;
mod memory;
mod position;
mod queue;
mod recipient;
mod record;
mod room;
mod shards;
mod slow;
mod to;
mod whom;

pub use backplane::{
    Backplane, BackplaneError, BoxFuture, Page, PresenceChange, Present, Published, RoomKey, Stored, Target,
};
pub use builder::Builder;
pub use counters::Delivered;
pub use delivery::Sending;
pub use error::HubError;
pub use event::Event;
pub use handle::Hub;
pub use held::Held;
pub use inbox::{Inbox, Pushed};
pub use key::RoomRef;
pub use member::{Joined, Member, Since};
pub use memory::Memory;
pub use position::{InvalidId, MemberId, Position};
pub use record::{InvalidRecord, Publication, Transient};
pub use slow::Slow;
pub use to::To;
