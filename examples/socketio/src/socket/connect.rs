//! How a client connects to a namespace.

use std::sync::Arc;

use super::{
    assembly::Whole,
    auth::{Auth, ConnectError},
    data::Encoded,
    handle::Socket,
    packet::{Kind, put_head},
    shared::{NoPlace, Shared},
};

/// Connects a client to a namespace for which it has a place, or refuses it.
pub(super) async fn connect(shared: Arc<Shared>, whole: Whole) {
    let auth = Auth::new(whole.packet);
    let Some((namespace, name)) = shared.io().find(auth.namespace()) else {
        return refuse(&shared, &auth, &ConnectError::new("Invalid namespace")).await;
    };
    let socket = Socket::new(name, namespace.clone(), shared.clone());
    if let Err(error) = namespace.accepts(&socket, &auth).await {
        return refuse(&shared, &auth, &error).await;
    }
    // Others may send from now on, and nothing may precede the packet that says so.
    let text = accepted(&socket);
    if shared.send(Encoded { text, attachments: Vec::new() }).await.is_err() {
        return shared.remove(auth.namespace());
    }
    socket.connect();
    shared.open(&socket);
    namespace.connected(socket, auth).await;
}

async fn refuse(shared: &Shared, auth: &Auth, error: &ConnectError) {
    shared.remove(auth.namespace());
    let text = error.encode(auth.namespace());
    // It fails only if the connection has ended.
    let _ = shared.send(Encoded { text, attachments: Vec::new() }).await;
}

/// Refuses a client that is in too many namespaces. Returns `false` if it is in this one, which is a
/// violation.
pub(super) fn place(shared: &Shared, whole: &Whole) -> Result<(), Option<ConnectError>> {
    match shared.connecting(whole.packet.namespace()) {
        Ok(()) => Ok(()),
        Err(NoPlace::TooMany) => Err(Some(ConnectError::new("Too many namespaces"))),
        Err(NoPlace::Taken) => Err(None),
    }
}

/// Encodes the packet that accepts a client.
fn accepted(socket: &Socket) -> String {
    let mut text = Vec::new();
    put_head(&mut text, Kind::Connect, 0, socket.namespace(), None);
    // The characters of an id need no escaping.
    text.extend(format!(r#"{{"sid":"{}"}}"#, socket.id()).as_bytes());
    String::from_utf8(text).expect("text")
}
