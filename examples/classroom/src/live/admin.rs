//! The administration: what happens on this node, and closing rooms and connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use fullduplex::{
    Error,
    axum::WebSocket,
    calls::{CallError, Context, InvalidData, Peer, Router},
    hub::{BackplaneError, MemberId},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::time::sleep;

use super::{
    Live,
    chat::{Nothing, not_decided, unavailable},
    control::What,
    events,
    rooms::Room,
    seat::Seat,
    signal,
    wire::{Entered, Person},
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
    since: i64,
    #[serde(flatten)]
    here: Option<Here>,
}

/// What only the node knows that has the connection.
#[derive(Debug, Serialize)]
struct Here {
    address: String,
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
    room: Option<RoomName>,
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
    let mut all = context.state().live.connections(&ask.room).await.map_err(unavailable)?;
    all.retain(|(id, _)| after.is_none_or(|after| *id > after));
    let more = all.len() > MOST;
    Ok(Connections { connections: all.into_iter().take(MOST).map(|(_, one)| one).collect(), more })
}

async fn close_room(context: Context<Watcher>, AskRoom { room }: AskRoom) -> Result<Nothing, CallError> {
    let by = "an administrator".parse().map_err(unavailable::<crate::values::Invalid>)?;
    let decisions = context.state().live.0.decisions.of(&room);
    decisions.decide(What::Close { by }, || {}).await.map_err(not_decided)?;
    Ok(Nothing {})
}

async fn close_connection(
    context: Context<Watcher>,
    AskConnection { id, room }: AskConnection,
) -> Result<Nothing, CallError> {
    let (id, live) = (member_id(&id, "data.id")?, &context.state().live.0);
    if signal::close_here(&live.rooms, id) {
        return Ok(Nothing {});
    }
    let Some(room) = room else {
        let error = "no connection of this node has this id; for one of another, `data.room` is needed";
        return Err(InvalidData::new("data.id", error).into());
    };
    let present = live.hub.present(&room.to_string()).await.map_err(unavailable)?;
    if !present.iter().any(|present| present.member == id) {
        return Err(InvalidData::new("data.id", "no connection in the room has this id").into());
    }
    signal::close_connection(&live.hub, id).map_err(unavailable)?;
    Ok(Nothing {})
}

fn member_id(text: &str, field: &str) -> Result<MemberId, CallError> {
    text.parse().map_err(|invalid: fullduplex::hub::InvalidId| InvalidData::new(field, invalid).into())
}

impl Live {
    /// Returns the connections in a room on all nodes, by their ids.
    async fn connections(&self, room: &RoomName) -> Result<Vec<(MemberId, Connection)>, BackplaneError> {
        let room = room.to_string();
        let present = self.0.hub.present(&room).await?;
        let seats = self.0.rooms.find(&room).map(|room| room.seats()).unwrap_or_default();
        let elsewhere = present.iter().filter(|present| self.0.hub.sender(present.member).is_none());
        let elsewhere = elsewhere.filter_map(events::entry);
        let mut all: Vec<_> =
            elsewhere.map(|(id, entered)| (id, Connection::elsewhere(id, &room, entered))).collect();
        all.extend(seats.iter().map(|seat| (seat.id(), Connection::of(seat))));
        all.sort_unstable_by_key(|(id, _)| *id);
        Ok(all)
    }

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
            since: seat.since,
            here: Some(Here {
                address: seat.address.to_string(),
                queued_bytes: seat.sender().queued_bytes(),
            }),
        }
    }

    fn elsewhere(id: MemberId, room: &str, Entered { person, since }: Entered) -> Self {
        let Person { name, role, .. } = person;
        Self { id: id.to_string(), name, role, room: room.to_owned(), since, here: None }
    }
}
