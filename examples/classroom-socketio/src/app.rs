//! The server: what its namespaces share, and its routes.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::Router;
use fullduplex::serve::Shutdown;
use socketio::{
    Io, Limits, Namespace,
    engine::{Origins, Settings as Engine},
};

use crate::{
    admin,
    auth::{Auth, Secret},
    classes::Classes,
    events,
    limits::Rate,
    page,
    returning::Returning,
};

/// The largest packet and the largest body of a POST, in bytes: several messages of 1,000 characters, each
/// escaped as a surrogate pair.
const MAX_PAYLOAD: usize = 64 << 10;

/// What a program sets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The secret that signs tokens.
    pub secret: Secret,
    /// Origins of pages that may connect, besides that of the server.
    pub allow_origins: Vec<String>,
    /// How many clients may be connected.
    pub max_connections: usize,
    /// How many events a socket may send per second.
    pub rate: NonZeroU32,
    /// How many events a socket may send at once.
    pub burst: NonZeroU32,
    /// The time from a pong to the next ping.
    pub ping_interval: Duration,
    /// The time that a client has for its pong.
    pub ping_timeout: Duration,
    /// How long a socket that was lost may be recovered.
    pub recovery: Duration,
    /// Begins when the server stops.
    pub shutdown: Shutdown,
}

/// What the namespaces share. Clones are handles of the same server.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    auth: Auth,
    classes: Classes,
    returning: Returning,
    /// The last id of a message. Classes have no ids of their own, so that one that is closed and opened
    /// again does not repeat them.
    last_id: AtomicU64,
    epoch: String,
    rate: NonZeroU32,
    burst: NonZeroU32,
}

impl App {
    /// Creates a server. Returns its Socket.IO, and its routes with those of the page.
    pub fn serve(settings: &Settings) -> (Self, Io, Router) {
        let inner = Inner {
            auth: Auth::new(&settings.secret),
            classes: Classes::default(),
            returning: Returning::new(settings.recovery),
            last_id: AtomicU64::new(0),
            epoch: format!("{:016x}", rand::random::<u64>()),
            rate: settings.rate,
            burst: settings.burst,
        };
        let app = Self(Arc::new(inner));
        let io = Io::builder()
            .settings(engine(settings))
            .limits(Limits::new().max_attachments(0).max_event_size(MAX_PAYLOAD))
            .recovery(settings.recovery)
            .namespace(events::namespace(&app))
            .namespace(admin::namespace(&app))
            .build();
        let routes = page::routes().merge(io.routes());
        (app, io, routes)
    }

    /// Returns what signs and checks tokens.
    pub fn auth(&self) -> &Auth {
        &self.0.auth
    }

    /// Returns the classes.
    pub fn classes(&self) -> &Classes {
        &self.0.classes
    }

    /// Returns whose sockets may be recovered.
    pub fn returning(&self) -> &Returning {
        &self.0.returning
    }

    /// Returns the name of this run of the program: ids of messages begin again with the next one.
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// Returns the last id of a message, which is the number of messages.
    pub fn last_id(&self) -> u64 {
        self.0.last_id.load(Relaxed)
    }

    /// Returns the id of the next message.
    pub fn next_id(&self) -> u64 {
        self.0.last_id.fetch_add(1, Relaxed) + 1
    }

    /// Returns a full bucket of events for a socket.
    pub fn rate(&self) -> Rate {
        Rate::new(self.0.rate, self.0.burst)
    }
}

fn engine(settings: &Settings) -> Engine {
    Engine::new()
        .max_payload(MAX_PAYLOAD)
        .max_sessions(settings.max_connections)
        .ping_interval(settings.ping_interval)
        .ping_timeout(settings.ping_timeout)
        .origins(Origins::list(&settings.allow_origins))
        .shutdown(&settings.shutdown)
}

/// Returns a time as messages have it: in milliseconds since 1970.
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Reports events that the library itself has not handled, or not acknowledged.
pub fn with_reports(namespace: Namespace) -> Namespace {
    namespace.on_failure(
        |socket, event, error| tracing::debug!(id = %socket.id(), event, %error, "an event has failed"),
    )
}
