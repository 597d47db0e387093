//! Events that nodes send to each other, which no client receives.

use std::{collections::HashMap, fmt, future::Future, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    BoxFuture,
    broadcast::Broadcast,
    cluster::{Answer, Question},
    data::{Arguments, FromAnswer, InvalidData, sealed::FromArrived},
    error::EmitError,
    io::Inner,
    namespace::Namespace,
    payload::Payload,
};

type Handler =
    dyn Fn(&ServerEvent) -> Result<BoxFuture<Result<Payload, serde_json::Error>>, InvalidData> + Send + Sync;

/// What runs in a namespace for the events of other nodes.
#[derive(Default)]
pub(super) struct ServerListeners(HashMap<Box<str>, Box<Handler>>);

/// An event as it is sent to other nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ServerSide {
    namespace: String,
    event: String,
    arguments: Payload,
}

/// What a node answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Answer(Payload),
    /// It has no handler for the event and its data.
    Unhandled,
}

/// An event that another node has sent.
pub struct ServerEvent {
    io: Arc<Inner>,
    sent: ServerSide,
}

/// What other nodes have answered to an event, returned by
/// [`Broadcast::server_side_emit_with_ack`].
#[derive(Debug)]
#[non_exhaustive]
pub struct NodeAnswers<R> {
    /// What each node that has answered returned, or that it has another type.
    pub answers: Vec<Result<R, InvalidData>>,
    /// How many nodes have no handler for the event, or for data of this type.
    pub unhandled: usize,
    /// How many nodes have not answered in time.
    pub missing: usize,
}

impl ServerEvent {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.sent.event
    }

    /// Parses the arguments, as [`Data`](crate::Data) or [`Args`](crate::Args).
    ///
    /// # Errors
    /// Fails if they have another type.
    pub fn parse<T: FromAnswer>(&self) -> Result<T, InvalidData> {
        self.sent.arguments.parse()
    }

    /// Selects all sockets of the namespace, on all nodes.
    pub fn sockets(&self) -> Broadcast {
        Broadcast::new(self.io.clone(), &self.sent.namespace)
    }
}

/// Redacted: prints neither data nor rooms.
impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvent").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// What a handler takes from an event of another node.
///
/// Implemented for [`Data`](crate::Data), [`Args`](crate::Args), `()`, [`Broadcast`], which are all sockets
/// of the namespace, and for pairs of these.
pub trait FromServerEvent: Sized {
    /// Takes the value from an event.
    ///
    /// # Errors
    /// Fails if the arguments have another type.
    fn from_server_event(event: &ServerEvent) -> Result<Self, InvalidData>;
}

impl<T: FromArrived> FromServerEvent for T {
    fn from_server_event(event: &ServerEvent) -> Result<Self, InvalidData> {
        event.parse()
    }
}

impl FromServerEvent for Broadcast {
    fn from_server_event(event: &ServerEvent) -> Result<Self, InvalidData> {
        Ok(event.sockets())
    }
}

impl<A: FromServerEvent, B: FromServerEvent> FromServerEvent for (A, B) {
    fn from_server_event(event: &ServerEvent) -> Result<Self, InvalidData> {
        Ok((A::from_server_event(event)?, B::from_server_event(event)?))
    }
}

impl ServerListeners {
    /// Sets the handler of an event. Returns whether there was one.
    fn insert(&mut self, event: &str, handler: Box<Handler>) -> bool {
        self.0.insert(event.into(), handler).is_some()
    }
}

impl Namespace {
    /// Adds the handler of an event that other nodes send by
    /// [`Broadcast::server_side_emit`]. No client can send it.
    ///
    /// It receives what it takes from the event: see [`FromServerEvent`]. What it returns is the answer, if
    /// the other node waits for one. Each event is handled in a task of its own, at once with others. One
    /// without a handler is ignored; so is one whose data has another type, which
    /// [`Metrics`](crate::engine::Metrics) count among the failed events, as `data`.
    ///
    /// ```
    /// use socketio::{Broadcast, Data, Namespace};
    ///
    /// let chat = Namespace::new("/chat")
    ///     .on_server_side("muted", |Data(user): Data<String>| async move { println!("{user} is muted") })
    ///     .on_server_side("how many sockets?", |sockets: Broadcast| async move {
    ///         sockets.local().fetch_sockets().await.map_or(0, |sockets| sockets.len())
    ///     });
    /// # let _ = chat;
    /// ```
    ///
    /// # Panics
    /// Panics if the event has such a handler already.
    #[must_use]
    #[track_caller]
    pub fn on_server_side<E, R, F, Fut>(mut self, event: &str, handler: F) -> Self
    where
        E: FromServerEvent + Send + 'static,
        R: Arguments + 'static,
        F: Fn(E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        let erased = move |event: &ServerEvent| -> Result<BoxFuture<_>, InvalidData> {
            let handling = handler(E::from_server_event(event)?);
            Ok(Box::pin(async move { Payload::encode(&handling.await) }))
        };
        let had_one = self.server_listeners_mut().insert(event, Box::new(erased));
        assert!(!had_one, "event {event:?} of other nodes has a handler already");
        self
    }
}

/// Events for other nodes. Which sockets are selected makes no difference.
impl Broadcast {
    /// Sends an event to all other nodes, which handle it by
    /// [`Namespace::on_server_side`](crate::Namespace::on_server_side). No client receives it.
    ///
    /// It is attempted once. It may be as large as a message that the
    /// [backplane](crate::Builder::backplane) transmits. Without one there are no other nodes.
    ///
    /// ```
    /// use socketio::{EmitError, Io};
    ///
    /// fn mute(io: &Io, user: &str) -> Result<(), EmitError> {
    ///     io.of("/chat").server_side_emit("muted", user)
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns [`EmitError::Serialize`] for what cannot be sent, and [`EmitError::Hub`] if the backplane
    /// cannot be reached.
    pub fn server_side_emit(
        &self,
        event: &str,
        arguments: &(impl Arguments + ?Sized),
    ) -> Result<(), EmitError> {
        let sent = self.to_nodes(event, arguments)?;
        self.io().cluster().tell_event(self.io(), sent)
    }

    /// Sends an event to all other nodes, and waits for their answers, for as long as
    /// [`timeout`](Broadcast::timeout).
    ///
    /// The others are those that have had a socket, or have [announced](crate::Io::announce) themselves.
    ///
    /// ```
    /// use socketio::{Data, EmitError, Io};
    ///
    /// async fn sockets_elsewhere(io: &Io) -> Result<usize, EmitError> {
    ///     let nodes = io.of("/chat").server_side_emit_with_ack::<Data<usize>, _>("how many sockets?", &()).await?;
    ///     println!("{} have answered, {} have not", nodes.answers.len(), nodes.missing);
    ///     Ok(nodes.answers.iter().flatten().map(|Data(sockets)| sockets).sum())
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns the same errors as [`server_side_emit`](Self::server_side_emit). What becomes of each node is
    /// in the [`NodeAnswers`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the event may have been sent. Its answers are ignored.
    pub fn server_side_emit_with_ack<'a, R: FromAnswer, A: Arguments + ?Sized>(
        &'a self,
        event: &str,
        arguments: &A,
    ) -> impl Future<Output = Result<NodeAnswers<R>, EmitError>> + Send + use<'a, R, A> {
        let sent = self.to_nodes(event, arguments);
        async move {
            let (io, question) = (self.io(), Question::Event(sent?));
            let (replies, missing) = io.cluster().ask(io, question, self.ack_timeout()).await?;
            let mut answers =
                NodeAnswers { answers: Vec::with_capacity(replies.len()), unhandled: 0, missing };
            for reply in replies {
                match reply {
                    Answer::Event(Reply::Answer(payload)) => answers.answers.push(payload.parse()),
                    Answer::Event(Reply::Unhandled) | Answer::Sockets(_) | Answer::Acks(_) => {
                        answers.unhandled += 1;
                    }
                }
            }
            Ok(answers)
        }
    }

    fn to_nodes(
        &self,
        event: &str,
        arguments: &(impl Arguments + ?Sized),
    ) -> Result<ServerSide, serde_json::Error> {
        let (namespace, event) = (self.namespace().to_owned(), event.to_owned());
        Ok(ServerSide { namespace, event, arguments: Payload::encode(arguments)? })
    }
}

/// Handles an event of another node. Returns what this one answers.
pub(super) async fn handle(io: Arc<Inner>, sent: ServerSide) -> Reply {
    let Some((namespace, _)) = io.find(&sent.namespace) else { return Reply::Unhandled };
    let Some(handler) = namespace.server_listeners().0.get(&*sent.event) else { return Reply::Unhandled };
    let event = ServerEvent { io: io.clone(), sent };
    let handling = match handler(&event) {
        Ok(handling) => handling,
        Err(_) => return failed(&io, "data"),
    };
    // Parsed already: nothing keeps the data.
    drop(event);
    match handling.await {
        Ok(payload) => Reply::Answer(payload),
        Err(_) => failed(&io, "answer"),
    }
}

/// Counts an event that was not handled, or whose answer cannot be sent.
fn failed(io: &Inner, reason: &'static str) -> Reply {
    if let Some(metrics) = io.metrics() {
        metrics.failed_event(reason);
    }
    Reply::Unhandled
}
