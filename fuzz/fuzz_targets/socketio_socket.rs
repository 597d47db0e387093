//! The protocol of Socket.IO without I/O, from the sources of the example `socketio`.

#[path = "../../examples/socketio/src/socket/assembly.rs"]
pub mod assembly;
#[path = "../../examples/socketio/src/socket/binary.rs"]
mod binary;
#[path = "../../examples/socketio/src/socket/check.rs"]
mod check;
#[path = "../../examples/socketio/src/socket/data.rs"]
pub mod data;
#[path = "../../examples/socketio/src/socket/limits.rs"]
pub mod limits;
#[path = "../../examples/socketio/src/socket/packet.rs"]
pub mod packet;

/// Returns the name of an event that was received.
pub fn event_name(data: &str) -> String {
    check::event_name(data).into_owned()
}
