//! What a hub tells the program.

use super::{backplane::PresenceChange, position::Position};
use crate::Message;

/// What a hub tells the program, by the function of
/// [`Builder::on_event`](super::Builder::on_event).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<R> {
    /// A member has entered a room that has members here, or left it, on any hub.
    Presence {
        /// The room.
        room: R,
        /// The change.
        change: PresenceChange,
    },
    /// Messages of a room no longer exist that its members here have not received. What is sent to
    /// them next follows the gap: a message that the program sends to them now arrives before it.
    Lost {
        /// The room.
        room: R,
        /// The end of the gap: messages up to this position are lost.
        position: Position,
    },
    /// The engine of the backplane cannot be reached. What is published waits.
    BackplaneAway,
    /// The engine of the backplane can be reached again. Who entered and left meanwhile is not
    /// told: read it by [`Hub::present`](super::Hub::present).
    BackplaneBack,
    /// Another hub has sent this by [`Hub::signal`](super::Hub::signal).
    Signal(Message),
}
