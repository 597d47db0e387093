//! The live part: who is in a room, and what they say.

mod admin;
mod backplane;
mod chat;
mod control;
mod events;
mod history;
mod join;
mod publications;
mod rooms;
mod roster;
mod route;
mod seat;
mod wire;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use fullduplex::{
    hub::{Backplane, Hub, Slow},
    serve::Shutdown,
};

pub use self::route::{RouteApp, routes};
use self::{
    backplane::StoreBackplane,
    history::{Source, View},
    rooms::Rooms,
};
use crate::{
    metrics::Metrics,
    store::Store,
    values::{ParticipantId, RoomName},
};

/// The rooms and those who are in them. Clones share them.
#[derive(Debug, Clone)]
pub struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hub: Hub,
    store: Store,
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
    /// Creates rooms on one machine, whose messages a store keeps.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn new(store: Store, settings: Settings) -> Self {
        let source = Source::Store(store.clone());
        Self::build(StoreBackplane::new(store.clone()), source, store, settings)
    }

    /// Creates rooms that several machines share, whose messages the engine of a backplane keeps. The
    /// store keeps who is restricted.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn with_backplane(backplane: impl Backplane<String>, store: Store, settings: Settings) -> Self {
        Self::build(backplane, Source::Engine, store, settings)
    }

    fn build(backplane: impl Backplane<String>, source: Source, store: Store, settings: Settings) -> Self {
        let rooms = Arc::<Rooms>::default();
        let (known, stored) = (rooms.clone(), store.clone());
        let hub = Hub::builder()
            .backplane(backplane)
            .slow(Slow::Close)
            .encode(|_room, position, message| publications::encode(position, &message).into())
            .on_event(move |hub, event| events::handle(hub, &known, &stored, event))
            .build();
        settings.metrics.observe(&hub);
        let live = Self(Arc::new(Shared { hub, store, source, rooms, settings }));
        tokio::spawn(tick(Arc::downgrade(&live.0.rooms)));
        live
    }

    fn view<'a>(&'a self, room: &'a RoomName, viewer: &'a ParticipantId) -> View<'a> {
        View { source: &self.0.source, hub: &self.0.hub, room, viewer }
    }
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
