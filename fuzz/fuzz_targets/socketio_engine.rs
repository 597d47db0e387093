//! The protocol of Engine.IO without I/O, from the sources of the example `socketio`.

#[path = "../../examples/socketio/src/engine/packet.rs"]
pub mod packet;
#[path = "../../examples/socketio/src/engine/payload.rs"]
pub mod payload;
#[path = "../../examples/socketio/src/engine/received.rs"]
mod received;

pub use received::{Received, Text};
