//! A server of Socket.IO: its namespaces, and its routes.

use std::{collections::HashMap, fmt, future::Future, sync::Arc, time::Duration};

use fullduplex::{hub::Backplane, serve::Drained};

use super::{
    auth::Auth,
    broadcast::Broadcast,
    driver,
    error::EmitError,
    handle::Socket,
    limits::Limits,
    namespace::{Name, Namespace},
    node::{Node, Nodes},
};
use crate::engine::{Engine, Metrics, Settings};

/// A server of Socket.IO. Clones are handles of the same one.
///
/// See the [crate](crate) for an example.
#[derive(Debug, Clone)]
pub struct Io {
    inner: Arc<Inner>,
    engine: Engine,
    path: Arc<str>,
}

/// The settings and the namespaces of a server, returned by [`Io::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    settings: Settings,
    limits: Limits,
    path: Arc<str>,
    namespaces: Vec<Namespace>,
    nodes: Nodes,
}

/// What the connections of a server share.
pub(super) struct Inner {
    limits: Limits,
    max_write_buffer_size: usize,
    metrics: Option<Metrics>,
    node: Node,
    /// Whether any namespace has functions for the events that are sent.
    observes_any: bool,
    exact: HashMap<Arc<str>, Arc<Namespace>>,
    matching: Vec<Arc<Namespace>>,
}

impl Io {
    /// Returns a builder, without a namespace.
    pub fn builder() -> Builder {
        Builder {
            settings: Settings::new(),
            limits: Limits::new(),
            path: "/socket.io/".into(),
            namespaces: Vec::new(),
            nodes: Nodes::default(),
        }
    }

    /// Selects all sockets of a namespace, on all nodes.
    pub fn of(&self, namespace: &str) -> Broadcast {
        Broadcast::new(self.inner.clone(), namespace)
    }

    /// Lets the other nodes know of this one, which otherwise happens before it has its first socket.
    ///
    /// Only then do they wait for what it answers. A node that handles
    /// [events of others](crate::Namespace::on_server_side) calls this when it starts.
    ///
    /// # Errors
    /// Returns [`EmitError::Hub`] if the backplane cannot be reached.
    ///
    /// # Cancel safety
    /// If the future is dropped, the others may know of this node.
    pub async fn announce(&self) -> Result<(), EmitError> {
        Ok(self.inner.cluster().enter(&self.inner).await?)
    }

    /// Returns the routes, to be merged with others.
    ///
    /// A server on hyper alone makes a service of them by `TowerToHyperService` of hyper-util, and has to serve
    /// with upgrades; `tests/hyper.rs` does so, beside answers of its own.
    pub fn routes(&self) -> axum::Router {
        self.engine.routes(&self.path)
    }

    /// Closes all connections, and waits for them, for at most `limit`.
    ///
    /// See [`Engine::close`]. Events that have arrived are handled and acknowledged before, later ones are
    /// dropped. Sockets leave their namespaces with [`Disconnect::ServerStops`](crate::Disconnect), and the
    /// functions for that run to their end. The packet of a disconnection is not sent: clients that receive it
    /// do not connect again by themselves, and after the end of their connection they do.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use socketio::Io;
    /// # async fn example(io: Io, listener: tokio::net::TcpListener) -> std::io::Result<()> {
    /// let app = io.routes();
    /// axum::serve(listener, app)
    ///     .with_graceful_shutdown(async move {
    ///         let _ = tokio::signal::ctrl_c().await;
    ///         let drained = io.close(Duration::from_secs(10)).await;
    ///         println!("{} closed, {} lost, {} cut off", drained.closed, drained.lost, drained.cut_off);
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, connections are still closed, and none is cut off.
    pub async fn close(&self, limit: Duration) -> Drained {
        self.engine.close(limit).await
    }

    /// Returns the sessions of Engine.IO.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Builder {
    /// Sets the settings of Engine.IO.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the limits of each connection.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the path, `/socket.io/` by default, which is that of clients.
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// Adds a namespace. Of several that match a name, the first counts.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespaces.push(namespace);
        self
    }

    /// Adds a namespace with nothing but a function that runs for each client, which can set handlers
    /// by [`Socket::on`].
    ///
    /// # Panics
    /// Panics if the name is not that of a namespace.
    #[track_caller]
    pub fn on_connect<F, Fut>(self, name: &str, on_connect: F) -> Self
    where
        F: Fn(Socket, Auth) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.namespace(Namespace::new(name).on_connect(on_connect))
    }

    /// Sets what connects this server to those of other nodes, and stores what is recovered.
    ///
    /// Each node has a backplane of its own on the same engine, such as a clone of a
    /// [`Memory`](fullduplex::hub::Memory) in one process.
    pub fn backplane(mut self, backplane: impl Backplane<String>) -> Self {
        self.nodes.backplane(backplane);
        self
    }

    /// Lets a client whose connection was lost go on where it was, for this long: with its
    /// [id](Socket::id), its rooms, and the events that it has missed. Default: never.
    ///
    /// Each event for a namespace, for rooms, or for one socket is then stored in the history of its
    /// namespace, with its place in it as a last argument, unless it is volatile, local, or to be
    /// acknowledged. A client that comes back too late, or has missed what the history no longer has,
    /// is a new one: see [`Socket::is_recovered`]. Values stored with a socket are not recovered.
    ///
    /// The history is that of the [`backplane`](Self::backplane): without one, the last 1000 events of
    /// each namespace.
    pub fn recovery(mut self, time: Duration) -> Self {
        self.nodes.recovery(time);
        self
    }

    /// Creates the server.
    pub fn build(self) -> Io {
        let Self { settings, limits, path, namespaces, nodes } = self;
        let max_write_buffer_size = settings.write_buffer_size();
        let metrics = settings.get_metrics().cloned();
        let observes_any = namespaces.iter().any(|namespace| !namespace.outgoing().is_empty());
        let (mut exact, mut matching) = (HashMap::new(), Vec::new());
        for namespace in namespaces.into_iter().map(Arc::new) {
            match namespace.name() {
                Name::Exactly(name) => _ = exact.entry(name.clone()).or_insert(namespace),
                Name::Matching(_) => matching.push(namespace),
            }
        }
        let inner = Arc::new_cyclic(|io| {
            let node = nodes.build(io.clone());
            Inner { limits, max_write_buffer_size, metrics, node, observes_any, exact, matching }
        });
        let io = inner.clone();
        let engine = Engine::new(settings, move |session| driver::run(io.clone(), session));
        Io { inner, engine, path }
    }
}

impl Inner {
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn max_write_buffer_size(&self) -> usize {
        self.max_write_buffer_size
    }

    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    /// Returns whether a namespace has functions for the events that are sent.
    pub(super) fn observes(&self, namespace: &str) -> bool {
        self.observes_any && self.find(namespace).is_some_and(|(found, _)| !found.outgoing().is_empty())
    }

    /// Returns a namespace, and its name.
    pub(super) fn find(&self, name: &str) -> Option<(Arc<Namespace>, Arc<str>)> {
        if let Some((name, namespace)) = self.exact.get_key_value(name) {
            return Some((namespace.clone(), name.clone()));
        }
        let matching = self.matching.iter().find(|namespace| match namespace.name() {
            Name::Matching(accepts) => accepts(name),
            Name::Exactly(_) => false,
        });
        matching.map(|namespace| (namespace.clone(), name.into()))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("namespaces", &self.exact.keys()).finish_non_exhaustive()
    }
}
