//! Namespaces: what a program does with the sockets in them.

use std::{fmt, future::Future, sync::Arc};

use super::{
    BoxFuture,
    auth::{Auth, ConnectError},
    data::{Arguments, InvalidData, encode_ack},
    error::{Disconnect, EmitError},
    event::{Event, FromEvent},
    handle::{Socket, nothing},
    listeners::{Listeners, Refused},
    server_side::ServerListeners,
};

pub(super) type Handler = dyn Fn(Socket, Event) -> BoxFuture<()> + Send + Sync;
type Authorize = dyn Fn(Socket, Auth) -> BoxFuture<Result<(), ConnectError>> + Send + Sync;
type OnConnect = dyn Fn(Socket, Auth) -> BoxFuture<()> + Send + Sync;
type OnDisconnect = dyn Fn(Socket, Disconnect) -> BoxFuture<()> + Send + Sync;
type OnFailure = dyn Fn(&Socket, &str, &(dyn std::error::Error + 'static)) + Send + Sync;
type Outgoing = dyn Fn(&Socket, &str, &str) + Send + Sync;

/// A namespace, or all whose names a function accepts.
///
/// ```
/// use socketio::{Data, Namespace, Socket};
///
/// let classes = Namespace::matching(|name| name.starts_with("/class/"))
///     .on_connect(|socket: Socket, _auth| async move { println!("{} in {}", socket.id(), socket.namespace()) })
///     .on("post", |_socket, Data(text): Data<String>| async move { text.len() })
///     .on_disconnect(|socket, why| async move { println!("{} has left: {why:?}", socket.id()) });
/// # let _ = classes;
/// ```
pub struct Namespace {
    name: Name,
    authorize: Vec<Box<Authorize>>,
    on_connect: Option<Box<OnConnect>>,
    listeners: Listeners,
    outgoing: Vec<Box<Outgoing>>,
    server_listeners: ServerListeners,
    on_disconnect: Option<Box<OnDisconnect>>,
    on_failure: Option<Box<OnFailure>>,
}

/// Which names a namespace has.
pub(super) enum Name {
    Exactly(Arc<str>),
    Matching(Box<dyn Fn(&str) -> bool + Send + Sync>),
}

/// Why a handler did not run, or why its answer was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HandlerError {
    #[error(transparent)]
    Data(#[from] InvalidData),
    #[error(transparent)]
    Answer(#[from] EmitError),
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl HandlerError {
    /// Returns a short name, as the label of a metric.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Data(_) => "data",
            Self::Answer(_) => "answer",
            Self::Refused(_) => "refused",
        }
    }
}

impl Namespace {
    /// Creates a namespace. The main one is `/`.
    ///
    /// # Panics
    /// Panics if the name does not begin with a slash, or contains a comma.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        assert!(name.starts_with('/') && !name.contains(','), "the name of a namespace begins with a slash");
        Self::with(Name::Exactly(name.into()))
    }

    /// Creates the namespaces whose names a function accepts. Those with an exact name precede them.
    pub fn matching(accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::with(Name::Matching(Box::new(accepts)))
    }

    fn with(name: Name) -> Self {
        Self {
            name,
            authorize: Vec::new(),
            on_connect: None,
            listeners: Listeners::default(),
            outgoing: Vec::new(),
            server_listeners: ServerListeners::default(),
            on_disconnect: None,
            on_failure: None,
        }
    }

    /// Adds a function that accepts or refuses each client, before it is connected.
    ///
    /// Several run in the order in which they were added. Nothing can be sent to the socket yet; data
    /// can be [stored](Socket::insert) with it.
    #[must_use]
    pub fn authorize<F, Fut>(mut self, authorize: F) -> Self
    where
        F: Fn(Socket, Auth) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), ConnectError>> + Send + 'static,
    {
        self.authorize.push(Box::new(move |socket, auth| Box::pin(authorize(socket, auth))));
        self
    }

    /// Sets a function that runs for each client that was connected, before its first event is handled.
    #[must_use]
    pub fn on_connect<F, Fut>(mut self, on_connect: F) -> Self
    where
        F: Fn(Socket, Auth) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_connect = Some(Box::new(move |socket, auth| Box::pin(on_connect(socket, auth))));
        self
    }

    /// Adds the handler of an event.
    ///
    /// It receives the socket, and what it takes from the event: see [`FromEvent`]. What it returns is
    /// the acknowledgement, if the client waits for one. An event whose data has another type is dropped,
    /// after [`on_failure`](Self::on_failure) was called.
    ///
    /// # Panics
    /// Panics if the event has a handler already.
    #[must_use]
    #[track_caller]
    pub fn on<E, R, F, Fut>(mut self, event: &str, handler: F) -> Self
    where
        E: FromEvent + Send + 'static,
        R: Arguments + 'static,
        F: Fn(Socket, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        let had_one = self.listeners.insert(event, erase(handler), false);
        assert!(!had_one, "event {event:?} has a handler already");
        self
    }

    /// Sets the handler of all events that have no other. It can take the [`Event`] itself, with its name.
    ///
    /// ```
    /// use socketio::{Event, Namespace, Socket};
    ///
    /// let namespace = Namespace::new("/")
    ///     .fallback(|_socket: Socket, event: Event| async move { format!("no event {}", event.name()) });
    /// # let _ = namespace;
    /// ```
    ///
    /// Without one, such events are dropped, and not acknowledged.
    #[must_use]
    pub fn fallback<E, R, F, Fut>(mut self, handler: F) -> Self
    where
        E: FromEvent + Send + 'static,
        R: Arguments + 'static,
        F: Fn(Socket, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        self.listeners.set_fallback(erase(handler));
        self
    }

    /// Adds a function that runs before the handler of each event, whether it has one or not, and may
    /// refuse it.
    ///
    /// Several run in the order in which they were added, the first one that refuses is the last. A client
    /// that waits for an acknowledgement receives [`Refused`]; the event has no further effect. The event
    /// cannot be changed.
    ///
    /// ```
    /// use socketio::{Event, Namespace, Refused, Socket};
    ///
    /// async fn only_teachers(socket: Socket, event: Event) -> Result<(), Refused> {
    ///     match (&*event.name(), socket.get::<&str>()) {
    ///         ("mute", Some("teacher")) => Ok(()),
    ///         ("mute", _) => Err(Refused::new("Only teachers mute")),
    ///         _ => Ok(()),
    ///     }
    /// }
    ///
    /// let classes = Namespace::new("/classes").before_event(only_teachers);
    /// # let _ = classes;
    /// ```
    #[must_use]
    pub fn before_event<F, Fut>(mut self, before: F) -> Self
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        self.listeners.add_before(before);
        self
    }

    /// Adds a function that is called with each event, before all else that runs for it, also if it is
    /// refused or has no handler. It must not block.
    #[must_use]
    pub fn on_any(mut self, any: impl Fn(&Socket, &Event) + Send + Sync + 'static) -> Self {
        self.listeners.add_any(any);
        self
    }

    /// Adds a function that is called for each event that is sent to a socket, with the name, and with
    /// the name and the arguments as a JSON array. It must not block.
    ///
    /// It is called before the event is queued, also for one that is then dropped because it is volatile.
    /// For an event that is sent to several sockets, it is called for each of them. Other nodes call
    /// theirs for their sockets, when they learn of the event: not for those that leave, or join, at that
    /// moment, and if the namespace has such a function on the node that sends as well. What a client
    /// receives when it is [recovered](crate::Builder::recovery) was seen before.
    #[must_use]
    pub fn on_any_outgoing(mut self, any: impl Fn(&Socket, &str, &str) + Send + Sync + 'static) -> Self {
        self.outgoing.push(Box::new(any));
        self
    }

    /// Sets a function that runs once for each socket that has left.
    #[must_use]
    pub fn on_disconnect<F, Fut>(mut self, on_disconnect: F) -> Self
    where
        F: Fn(Socket, Disconnect) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_disconnect = Some(Box::new(move |socket, why| Box::pin(on_disconnect(socket, why))));
        self
    }

    /// Sets a function that is called with the name of an event that was not handled, or not
    /// acknowledged, and the reason: [`InvalidData`], [`Refused`] or [`EmitError`]. It must not block.
    #[must_use]
    pub fn on_failure(
        mut self,
        report: impl Fn(&Socket, &str, &(dyn std::error::Error + 'static)) + Send + Sync + 'static,
    ) -> Self {
        self.on_failure = Some(Box::new(report));
        self
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    pub(super) async fn accepts(&self, socket: &Socket, auth: &Auth) -> Result<(), ConnectError> {
        for authorize in &self.authorize {
            authorize(socket.clone(), auth.clone()).await?;
        }
        Ok(())
    }

    pub(super) fn connected(&self, socket: Socket, auth: Auth) -> BoxFuture<()> {
        self.on_connect.as_ref().map_or_else(nothing, |on_connect| on_connect(socket, auth))
    }

    pub(super) fn disconnected(&self, socket: Socket, why: Disconnect) -> BoxFuture<()> {
        self.on_disconnect.as_ref().map_or_else(nothing, |on_disconnect| on_disconnect(socket, why))
    }

    pub(super) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    pub(super) fn outgoing(&self) -> &[Box<Outgoing>] {
        &self.outgoing
    }

    pub(super) fn server_listeners(&self) -> &ServerListeners {
        &self.server_listeners
    }

    pub(super) fn server_listeners_mut(&mut self) -> &mut ServerListeners {
        &mut self.server_listeners
    }

    /// Reports an event that was not handled, or not acknowledged.
    pub(super) fn failed(&self, socket: &Socket, event: &str, error: &HandlerError) {
        if let Some(metrics) = socket.shared().io().metrics() {
            metrics.failed_event(error.as_str());
        }
        let Some(on_failure) = &self.on_failure else { return };
        match error {
            HandlerError::Data(error) => on_failure(socket, event, error),
            HandlerError::Answer(error) => on_failure(socket, event, error),
            HandlerError::Refused(error) => on_failure(socket, event, error),
        }
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.name {
            Name::Exactly(name) => name,
            Name::Matching(_) => "(a function)",
        };
        f.debug_struct("Namespace")
            .field("name", &name)
            .field("events", &self.listeners.events().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Makes a handler of any type one of all events.
pub(super) fn erase<E, R, F, Fut>(handler: F) -> Arc<Handler>
where
    E: FromEvent + Send + 'static,
    R: Arguments + 'static,
    F: Fn(Socket, E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
{
    Arc::new(move |socket: Socket, mut event: Event| -> BoxFuture<()> {
        let arguments = match E::from_event(&mut event) {
            Ok(arguments) => arguments,
            Err(invalid) => {
                socket.its_namespace().failed(&socket, &event.name(), &invalid.into());
                return nothing();
            }
        };
        let handling = handler(socket.clone(), arguments);
        // Parsed already: nothing keeps the message.
        let Event { id, .. } = event;
        Box::pin(async move {
            let Some(id) = id else {
                handling.await;
                return;
            };
            let encoded = encode_ack(socket.namespace(), id, &handling.await);
            let sent = match encoded {
                Ok(encoded) => socket.send(encoded).await,
                Err(error) => Err(error.into()),
            };
            match sent {
                // A client that has left does not wait.
                Ok(()) | Err(EmitError::Disconnected) => {}
                Err(error) => socket.its_namespace().failed(&socket, "", &error.into()),
            }
        })
    })
}
