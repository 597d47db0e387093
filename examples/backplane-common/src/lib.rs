//! What the backplanes of [`fullduplex`] hubs have in common, whatever their engine is.
//!
//! - [`Members`]: who should be present through a node, and what the engine has to be told.
//! - [`Outgoing`]: a bounded queue of messages that are not stored.
//! - [`delays`]: how long a node waits before it connects again.

#![deny(missing_debug_implementations, missing_docs, unreachable_pub)]

mod delays;
mod members;
mod outgoing;

pub use delays::{MAX_DELAY, RESET_AFTER, delays};
pub use members::{Change, Entering, Members, Seat};
pub use outgoing::{Item, Outgoing};
