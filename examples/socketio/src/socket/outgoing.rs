//! The functions for all events that are sent: to one socket, or to several.

use super::{
    broadcast::Selection, check::event_name, data::Encoded, error::EmitError, handle::Socket, io::Inner,
};

impl Socket {
    /// Calls what the namespace has for each event that is sent, with one for this socket.
    pub(super) fn emitting(&self, id: Option<u64>, encoded: &Encoded) {
        if !self.its_namespace().outgoing().is_empty() {
            self.observe(encoded.json(self.namespace(), id));
        }
    }

    /// Calls what the namespace has for each event that is sent, with the data of one for this socket.
    fn observe(&self, json: &str) {
        if !self.is_connected() {
            return;
        }
        let event = event_name(json);
        for outgoing in self.its_namespace().outgoing() {
            outgoing(self, &event, json);
        }
    }
}

/// Calls what the namespace has for each event that is sent, for each of the selected sockets of all nodes.
///
/// Sending does not depend on it: an event is encoded once, and a hub sends it. Namespaces without such a
/// function are not even looked up, unless another one has one.
pub(super) fn emitting(
    io: &Inner,
    selection: &Selection,
    is_local: bool,
    encoded: &Encoded,
) -> Result<(), EmitError> {
    if !io.observes(&selection.namespace) {
        return Ok(());
    }
    let json = encoded.json(&selection.namespace, None);
    observe(io, selection, json);
    if is_local { Ok(()) } else { io.cluster().tell_emitted(io, selection, json) }
}

/// Calls the functions for each of the selected sockets of this node.
pub(super) fn observe(io: &Inner, selection: &Selection, json: &str) {
    if io.observes(&selection.namespace) {
        selection.sockets(io).iter().for_each(|socket| socket.observe(json));
    }
}
