//! The administration: what happens on this node, and closing rooms and connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use fullduplex::{
    CloseCode, Error,
    axum::WebSocket,
    calls::{CallError, Context, InvalidData, Peer, Router},
    hub::MemberId,
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::time::sleep;

use super::{
    Live,
    chat::{Nothing, not_decided, unavailable},
    control::{CLOSED_BY_ADMIN, What},
    rooms::Room,
    seat::Seat,
};
use crate::{
    admission::Admitted,
    auth::Role,
    limits::Rate,
    values::{Name, RoomName},
};

/// The most rooms, connections or slow consumers in one answer.
const MOST: usize = 100;

/// With this many bytes queued, a connection counts as slow.
const SLOW_BYTES: usize = 64 << 10;

/// How often statistics are sent.
const INTERVAL: Duration = Duration::from_secs(1);

/// The connection of an administrator.
#[derive(Debug)]
pub(super) struct Watcher {
    live: Live,
    rate: Rate,
    is_watching: AtomicBool,
}

#[derive(Debug, Serialize)]
struct Stats {
    rooms: Vec<RoomStats>,
    connections: usize,
    messages_per_second: u64,
    slow: Vec<Connection>,
}

#[derive(Debug, Serialize)]
struct RoomStats {
    name: String,
    participants: usize,
    connections: usize,
    messages_per_second: u64,
}

#[derive(Debug, Serialize)]
struct Connection {
    id: String,
    name: Name,
    role: Role,
    room: String,
    address: String,
    since: i64,
    queued_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Connections {
    connections: Vec<Connection>,
    more: bool,
}

#[derive(Debug, Deserialize)]
struct AskConnections {
    room: RoomName,
    after: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AskRoom {
    room: RoomName,
}

#[derive(Debug, Deserialize)]
struct AskConnection {
    id: String,
}

/// Returns the handlers.
pub(super) fn router() -> Router<Watcher> {
    Router::new()
        .before_each(async |context: Context<Watcher>| match context.state().rate.take() {
            Ok(()) => Ok(()),
            Err(wait) => {
                let wait = wait.as_millis() + 1;
                Err(CallError::refused(format!("rate: too fast, wait for {wait} ms")))
            }
        })
        .on("admin:watch", watch)
        .on("admin:connections", connections)
        .on("admin:close-room", close_room)
        .on("admin:close-connection", close_connection)
        .on("ping", async |_context, _data: IgnoredAny| Ok(Nothing {}))
}

/// Serves the connection of an administrator.
pub(super) async fn serve(
    live: &Live,
    router: &Router<Watcher>,
    ws: WebSocket,
    Admitted { place, .. }: Admitted,
) -> Result<(), Error> {
    let settings = &live.0.settings;
    let rate = Rate::new(settings.rate, settings.burst);
    let watcher = Watcher { live: live.clone(), rate, is_watching: AtomicBool::new(false) };
    let result = router.serve(settings.shutdown.guard().attach(ws), watcher).await;
    drop(place);
    result
}

async fn watch(context: Context<Watcher>, _data: IgnoredAny) -> Result<Stats, CallError> {
    let watcher = context.state();
    if !watcher.is_watching.swap(true, SeqCst) {
        tokio::spawn(send_stats(watcher.live.clone(), context.peer().clone()));
    }
    Ok(watcher.live.stats())
}

/// Sends statistics until the connection ends.
async fn send_stats(live: Live, peer: Peer) {
    loop {
        sleep(INTERVAL).await;
        if peer.emit("admin:stats", &live.stats()).await.is_err() {
            return;
        }
    }
}

async fn connections(context: Context<Watcher>, ask: AskConnections) -> Result<Connections, CallError> {
    let after = ask.after.map(|after| member_id(&after, "data.after")).transpose()?;
    let Some(room) = context.state().live.0.rooms.find(ask.room.as_str()) else {
        return Ok(Connections { connections: Vec::new(), more: false });
    };
    let mut seats = room.seats().into_iter().filter(|seat| after.is_none_or(|after| seat.id() > after));
    let connections = seats.by_ref().take(MOST).map(|seat| Connection::of(&seat)).collect();
    Ok(Connections { connections, more: seats.next().is_some() })
}

async fn close_room(context: Context<Watcher>, AskRoom { room }: AskRoom) -> Result<Nothing, CallError> {
    let by = "an administrator".parse().map_err(unavailable::<crate::values::Invalid>)?;
    let decisions = context.state().live.0.decisions.of(&room);
    decisions.decide(What::Close { by }, || {}).await.map_err(not_decided)?;
    Ok(Nothing {})
}

async fn close_connection(
    context: Context<Watcher>,
    AskConnection { id }: AskConnection,
) -> Result<Nothing, CallError> {
    let id = member_id(&id, "data.id")?;
    let rooms = context.state().live.0.rooms.all();
    let Some(seat) = rooms.iter().flat_map(|room| room.seats()).find(|seat| seat.id() == id) else {
        return Err(InvalidData::new("data.id", "no connection of this node has this id").into());
    };
    seat.close(CloseCode::from(CLOSED_BY_ADMIN), "an administrator has closed the connection");
    Ok(Nothing {})
}

fn member_id(text: &str, field: &str) -> Result<MemberId, CallError> {
    text.parse().map_err(|invalid: fullduplex::hub::InvalidId| InvalidData::new(field, invalid).into())
}

impl Live {
    fn stats(&self) -> Stats {
        let all = self.0.rooms.all();
        let mut slow: Vec<Arc<Seat>> = all.iter().flat_map(|room| room.seats()).collect();
        slow.retain(|seat| seat.sender().queued_bytes() >= SLOW_BYTES);
        let rooms: Vec<_> = all.iter().map(|room| RoomStats::of(room)).collect();
        Stats {
            connections: rooms.iter().map(|room| room.connections).sum(),
            messages_per_second: rooms.iter().map(|room| room.messages_per_second).sum(),
            slow: slow.iter().take(MOST).map(|seat| Connection::of(seat)).collect(),
            rooms: rooms.into_iter().take(MOST).collect(),
        }
    }
}

impl RoomStats {
    fn of(room: &Room) -> Self {
        let connections = room.seats().len();
        let state = room.lock();
        Self {
            name: room.name.clone(),
            participants: state.roster.len(),
            connections,
            messages_per_second: state.messages_per_second,
        }
    }
}

impl Connection {
    fn of(seat: &Seat) -> Self {
        Self {
            id: seat.id().to_string(),
            name: seat.identity.name.clone(),
            role: seat.identity.scope.role(),
            room: seat.room.clone(),
            address: seat.address.to_string(),
            since: seat.since,
            queued_bytes: seat.sender().queued_bytes(),
        }
    }
}
