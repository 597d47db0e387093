//! The live part: who is in a room, and what they say.

mod admin;
mod backplane;
mod chat;
mod control;
mod decisions;
mod events;
mod history;
mod join;
mod publications;
mod rooms;
mod roster;
mod route;
mod seat;
mod signal;
mod wire;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use fullduplex::{
    hub::{Backplane, Hub, Slow},
    serve::Shutdown,
};
use tokio::sync::Notify;

use self::{
    backplane::StoreBackplane,
    history::{Source, View},
    rooms::Rooms,
};
pub use self::{
    decisions::Decisions,
    route::{RouteApp, routes},
};
use crate::{
    metrics::Metrics,
    store::Store,
    values::{ParticipantId, RoomName},
};

/// The messages of each room that an engine has to keep at least. What is decided about a room is among
/// so many of its messages, however often it is changed.
pub const LEAST_KEPT: u32 = 1000;

/// The rooms and those who are in them. Clones share them.
#[derive(Debug, Clone)]
pub struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: Hub,
    decisions: Decisions,
    /// Where the history is.
    source: Source,
    rooms: Arc<Rooms>,
    settings: Settings,
}

/// The settings of the live part.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Events that a connection may send per second.
    pub rate: NonZeroU32,
    /// Events that a connection may send at once.
    pub burst: NonZeroU32,
    /// How long a client has for its first call, which joins.
    pub join_timeout: Duration,
    /// Begins when the server stops.
    pub shutdown: Shutdown,
    /// Counts messages, and shows the counters of the hub.
    pub metrics: Metrics,
}

impl Live {
    /// Creates rooms on one machine, whose messages a store keeps, and what is decided.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn new(store: Store, settings: Settings) -> Self {
        let rooms = Arc::<Rooms>::default();
        let decisions = Decisions::in_store(store.clone(), rooms.clone());
        let hub = hub(StoreBackplane::new(store.clone()), &rooms, Arc::default());
        Self::of(hub, rooms, decisions, Source::Store(store), settings)
    }

    /// Creates rooms that several machines share, whose messages the engine of a backplane keeps, and
    /// what is decided.
    ///
    /// The engine has to keep at least [`LEAST_KEPT`] messages of each room.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn with_backplane(backplane: impl Backplane<String>, settings: Settings) -> Self {
        let (rooms, back) = (Arc::<Rooms>::default(), Arc::<Notify>::default());
        let hub = hub(backplane, &rooms, back.clone());
        let decisions = Decisions::in_history(hub.clone(), rooms.clone(), back);
        Self::of(hub, rooms, decisions, Source::Engine, settings)
    }

    fn of(hub: Hub, rooms: Arc<Rooms>, decisions: Decisions, source: Source, settings: Settings) -> Self {
        settings.metrics.observe(&hub);
        let live = Self(Arc::new(Shared { hub, decisions, source, rooms, settings }));
        tokio::spawn(tick(Arc::downgrade(&live.0.rooms)));
        live
    }

    /// Returns who is barred or muted, and which rooms are closed.
    pub fn decisions(&self) -> Decisions {
        self.0.decisions.clone()
    }

    fn view<'a>(&'a self, room: &'a RoomName, viewer: &'a ParticipantId) -> View<'a> {
        View { source: &self.0.source, hub: &self.0.hub, room, viewer }
    }
}

/// Creates a hub. `back` is notified when its engine can be reached again.
fn hub(backplane: impl Backplane<String>, rooms: &Arc<Rooms>, back: Arc<Notify>) -> Hub {
    let rooms = rooms.clone();
    Hub::builder()
        .backplane(backplane)
        .slow(Slow::Close)
        .encode(|room, position, message| match decisions::is_key(room) {
            // For nobody: the nodes read it.
            true => message.into(),
            false => publications::encode(position, &message).into(),
        })
        .on_event(move |hub, event| events::handle(hub, &rooms, &back, event))
        .build()
}

/// Counts the messages of each second, for as long as there are rooms.
async fn tick(rooms: std::sync::Weak<Rooms>) {
    let mut each = tokio::time::interval(Duration::from_secs(1));
    loop {
        each.tick().await;
        match rooms.upgrade() {
            Some(rooms) => rooms.tick(),
            None => return,
        }
    }
}
