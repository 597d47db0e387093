//! The namespace of the administration, `/admin`.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};
use socketio::{Auth, ConnectError, Namespace, Socket};

use crate::{
    app::{App, milliseconds, with_reports},
    auth::{Access, Participant},
    class::Class,
    events::{Pace, access, on, pace, unknown},
    farewell::Farewell,
    refusal::Refusal,
    values::RoomName,
};

/// A class in numbers.
#[derive(Debug, Serialize)]
struct Room {
    name: String,
    participants: usize,
    sockets: usize,
    /// Those that are kept.
    messages: usize,
}

/// The server in numbers.
#[derive(Debug, Serialize)]
struct Rooms {
    rooms: Vec<Room>,
    sockets: usize,
    /// Those since the program was started.
    messages: u64,
}

/// A socket in a class.
#[derive(Debug, Serialize)]
struct Seated {
    id: String,
    participant: Participant,
    /// In milliseconds since 1970.
    since: u64,
}

#[derive(Debug, Deserialize)]
struct InRoom {
    room: RoomName,
}

#[derive(Debug, Deserialize)]
struct OneSocket {
    room: RoomName,
    id: String,
}

/// Returns the namespace of the administration.
pub fn namespace(app: &App) -> Namespace {
    let authorizing = app.clone();
    let namespace = Namespace::new("/admin")
        .authorize(move |socket, auth| authorize(authorizing.clone(), socket, auth))
        .before_event(pace)
        .fallback(unknown);
    let namespace = on(namespace, app, "admin:rooms", rooms);
    let namespace = on(namespace, app, "admin:sockets", sockets);
    let namespace = on(namespace, app, "admin:close-room", close_room);
    let namespace = on(namespace, app, "admin:disconnect", disconnect);
    with_reports(namespace)
}

async fn authorize(app: App, socket: Socket, auth: Auth) -> Result<(), ConnectError> {
    match access(&app, &auth)? {
        Access::Admin => {
            socket.insert(Pace(Arc::new(app.rate())));
            Ok(())
        }
        Access::Class(_) => {
            Err(ConnectError::new("only administrators connect here").data(json!({ "code": "token" })))
        }
    }
}

async fn rooms(app: App, _socket: Socket, _: IgnoredAny) -> Result<Rooms, Refusal> {
    let mut rooms = Vec::new();
    for class in app.classes().all() {
        let state = class.lock().await;
        rooms.push(Room {
            name: class.name().to_string(),
            participants: state.roster.participants().count(),
            sockets: state.roster.seats().count(),
            messages: state.history.len(),
        });
    }
    let sockets = rooms.iter().map(|room| room.sockets).sum();
    Ok(Rooms { rooms, sockets, messages: app.last_id() })
}

async fn sockets(app: App, _socket: Socket, InRoom { room }: InRoom) -> Result<Value, Refusal> {
    let class = find(&app, &room)?;
    let state = class.lock().await;
    let seats = state.roster.seats().map(|(participant, seat)| Seated {
        id: seat.socket.id().to_string(),
        participant: participant.clone(),
        since: milliseconds(seat.since),
    });
    Ok(json!({ "sockets": seats.collect::<Vec<_>>() }))
}

/// Closes a class: all leave, and what is known about it is forgotten.
async fn close_room(app: App, _socket: Socket, InRoom { room }: InRoom) -> Result<Value, Refusal> {
    let class = app.classes().take(&room).ok_or_else(no_room)?;
    let mut state = class.lock().await;
    state.is_closed = true;
    let sockets = state.roster.clear();
    for socket in &sockets {
        socket.leave(&class.room());
    }
    app.returning().forget_class(&room);
    drop(state);
    let closed = sockets.len();
    Farewell::Closed.say(sockets);
    Ok(json!({ "sockets": closed }))
}

async fn disconnect(app: App, _socket: Socket, OneSocket { room, id }: OneSocket) -> Result<Value, Refusal> {
    let class = find(&app, &room)?;
    let socket = {
        let state = class.lock().await;
        let mut seats = state.roster.seats().map(|(_, seat)| &seat.socket);
        seats.find(|socket| socket.id().as_str() == id).cloned()
    };
    let socket = socket.ok_or_else(|| Refusal::new("id", "there is no such socket").field("id"))?;
    Farewell::ByAdmin.say([socket]);
    Ok(json!({ "id": id }))
}

fn find(app: &App, room: &RoomName) -> Result<Arc<Class>, Refusal> {
    app.classes().get(room).ok_or_else(no_room)
}

fn no_room() -> Refusal {
    Refusal::new("room", "there is no such room").field("room")
}
