//! How a client connects to a namespace.

use std::sync::Arc;

use fullduplex::hub::{HubError, Joined, Since};

use super::{
    assembly::Whole,
    auth::{Auth, ConnectError},
    data::Encoded,
    error::EmitError,
    handle::Socket,
    packet::{Kind, put_head},
    recovery::{self, Private, Restored},
    room::{Member, key},
    shared::{NoPlace, Shared},
};

/// Connects a client to a namespace for which it has a place, or refuses it.
pub(super) async fn connect(shared: Arc<Shared>, whole: Whole) {
    let auth = Auth::new(whole.packet);
    let Some((namespace, name)) = shared.io().find(auth.namespace()) else {
        return refuse(&shared, &auth, &ConnectError::new("Invalid namespace")).await;
    };
    let restored = recovery::restore(shared.io(), &name, &auth).await;
    let socket = Socket::new(name, namespace.clone(), shared.clone(), restored.as_ref());
    if shared.handshake().is_some() {
        socket.insert(auth.detached());
    }
    if let Err(error) = namespace.accepts(&socket, &auth).await {
        return refuse(&shared, &auth, &error).await;
    }
    if let Err(error) = enter(&socket, restored).await {
        return match error {
            EmitError::Disconnected => shared.remove(auth.namespace()),
            _ => refuse(&shared, &auth, &ConnectError::new("Server error")).await,
        };
    }
    shared.open(&socket);
    namespace.connected(socket, auth).await;
}

/// Tells a client that it is accepted, and lets it receive what is for the namespace from then on; before
/// that, what it has missed.
async fn enter(socket: &Socket, restored: Option<Restored>) -> Result<(), EmitError> {
    let (shared, name) = (socket.shared(), socket.namespace());
    let (io, member) = (shared.io(), socket.member().ok_or(EmitError::Disconnected)?);
    io.cluster().enter(io).await?;
    // It is a room of the hub now, so that to join it below takes no time.
    let _held = io.hub().hold(name).await?;
    // Nothing may precede this packet.
    shared.send(Encoded { text: accepted(socket), attachments: Vec::new() }).await?;
    socket.connect();
    io.node().add(member.id(), socket);
    match join_all(socket, &member, restored).await {
        Ok(joined) if !joined.has_lost => Ok(()),
        // The client believes that it is connected, and that nothing is lost. It connects again.
        _ => {
            shared.sender().abort();
            Err(EmitError::Disconnected)
        }
    }
}

/// Joins the rooms that a socket has from the beginning, and then the namespace, whose history has what
/// was for them.
async fn join_all(socket: &Socket, member: &Member, restored: Option<Restored>) -> Result<Joined, HubError> {
    let name = socket.namespace();
    if socket.shared().io().recovery().is_some() {
        member.join(&key(name, socket.id().as_str())).await?;
    }
    let early = socket.take_early();
    for room in restored.iter().flat_map(|restored| &restored.rooms).chain(&early) {
        member.join(&key(name, room)).await?;
    }
    let since = restored.as_ref().map_or(Since::Now, |restored| Since::Position(restored.position));
    let joined = member.join_since(name, since).await?;
    if let Some(private) = socket.private() {
        // It is set once.
        let _ = private.from.set(restored.map_or(joined.position, |restored| restored.from));
    }
    Ok(joined)
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
    let data = match socket.private() {
        Some(Private { pid, .. }) => format!(r#"{{"sid":"{}","pid":"{pid}"}}"#, socket.id()),
        None => format!(r#"{{"sid":"{}"}}"#, socket.id()),
    };
    text.extend(data.as_bytes());
    String::from_utf8(text).expect("text")
}
