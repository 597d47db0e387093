//! Engine.IO 4: sessions over HTTP long polling and WebSocket.
//!
//! An [`Engine`] is a route of axum. It runs a function for each session, in a task of its own, which
//! receives messages from a [`Connection`]. Whether the client polls or has a WebSocket connection, and
//! when it changes from one to the other, does not concern it.
//!
//! ```no_run
//! use axum::Router;
//! use socketio::engine::{Connection, Engine, Received, Settings};
//!
//! async fn echo(mut session: Connection) {
//!     let sender = session.sender();
//!     while let Ok(received) = session.recv().await {
//!         let sent = match received {
//!             Received::Text(text) => sender.send_text(&text).await,
//!             Received::Binary(data) => sender.send_binary(data).await,
//!         };
//!         if sent.is_err() {
//!             break;
//!         }
//!     }
//! }
//!
//! # async fn serve() -> std::io::Result<()> {
//! let engine = Engine::new(Settings::new(), echo);
//! let app = Router::new().merge(engine.routes("/engine.io/"));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await
//! # }
//! ```

mod connection;
mod handshake;
mod head;
mod http;
mod metrics;
mod origins;
mod packet;
mod payload;
mod polling;
mod query;
mod received;
mod refusal;
mod sessions;
mod settings;
mod sid;
mod stop;
mod websocket;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, routing::any};
use fullduplex::{
    CloseCode,
    serve::{Drained, Shutdown},
};

use self::{
    connection::Wire,
    sessions::{Place, Sessions},
    stop::Stop,
};
pub use self::{
    connection::{Connection, Ending, SessionSender},
    head::{Handshake, Secure},
    metrics::{Metrics, Snapshot},
    origins::Origins,
    packet::{InvalidPacket, Packet},
    payload::{InvalidPayload, PayloadWriter, Piece, decode_payload},
    query::Transport,
    received::{Received, Text},
    settings::Settings,
    sid::Sid,
};

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The sessions of a server. Clones are handles of the same ones.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    settings: Settings,
    shutdown: Shutdown,
    sessions: Arc<Sessions>,
    serve: Box<dyn Fn(Connection) -> BoxFuture + Send + Sync>,
}

impl Engine {
    /// Creates the sessions, and the function that is run for each of them.
    pub fn new<F, Fut>(settings: Settings, serve: F) -> Self
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let sessions = Sessions::new(settings.max_sessions, settings.metrics.clone());
        let shutdown = settings.shutdown.clone().unwrap_or_default();
        let serve = Box::new(move |session| -> BoxFuture { Box::pin(serve(session)) });
        Self(Arc::new(Inner { settings, shutdown, sessions, serve }))
    }

    /// Returns the routes of the sessions, at a path such as `/engine.io/`, with and without the slash
    /// at its end.
    ///
    /// They answer requests of all methods: HTTP/2 opens WebSocket connections by CONNECT.
    pub fn routes(&self, path: &str) -> Router {
        let path = path.trim_end_matches('/');
        Router::new()
            .route(path, any(http::handle))
            .route(&format!("{path}/"), any(http::handle))
            .with_state(self.clone())
    }

    /// Returns how many sessions are open.
    pub fn len(&self) -> usize {
        self.0.sessions.len()
    }

    /// Returns whether no session is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes all sessions, and waits for them, for at most `limit`. Then those that are left are cut off.
    ///
    /// From now on, requests for new sessions are refused with status 503. A client that polls is sent the
    /// packet `1`, one with a WebSocket connection a Close with the code 1001. Clients of `socket.io-client`
    /// connect again after both, those of python-socketio after a Close. What was received is handled before,
    /// as far as the limit permits.
    ///
    /// Servers of axum wait for requests, so this precedes the end of theirs:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use socketio::engine::Engine;
    /// # async fn example(engine: Engine, listener: tokio::net::TcpListener) -> std::io::Result<()> {
    /// let stopping = engine.clone();
    /// axum::serve(listener, engine.routes("/engine.io/"))
    ///     .with_graceful_shutdown(async move {
    ///         let _ = tokio::signal::ctrl_c().await;
    ///         stopping.close(Duration::from_secs(10)).await;
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// If the settings have a [`Shutdown`](Settings::shutdown), all that takes part in it is closed.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, or if its timers are not enabled.
    ///
    /// # Cancel safety
    /// If the future is dropped, sessions are still closed, and none is cut off.
    pub async fn close(&self, limit: Duration) -> Drained {
        let begun = self.0.shutdown.begin(CloseCode::GOING_AWAY, "the server stops");
        debug_assert!(begun.is_ok(), "the code may be sent, and the reason is short");
        self.0.shutdown.wait(limit).await
    }

    /// Returns whether sessions are being closed, and none is accepted.
    fn is_stopping(&self) -> bool {
        self.0.shutdown.has_begun()
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn sessions(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    /// Runs a session. Its place is free again when it has ended.
    fn serve(&self, wire: Wire, sender: fullduplex::Sender, mut place: Place) -> BoxFuture {
        let mut session = Connection::new(place.sid(), wire, sender, self.settings());
        session.handshake = place.take_handshake();
        session.stop = Some(Stop::new(&self.0.shutdown));
        place.opened();
        let serving = (self.0.serve)(session);
        Box::pin(async move {
            let _place = place;
            serving.await;
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("settings", self.settings()).field("len", &self.len()).finish()
    }
}
