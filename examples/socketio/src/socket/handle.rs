//! A client in a namespace.

use std::{
    fmt,
    future::{Future, ready},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::http::Extensions;
use tokio::time::timeout;

use super::{
    ack::Acks,
    assembly::Whole,
    auth::Auth,
    broadcast::publish,
    data::{Arguments, Arrived, Encoded, FromAnswer, encode_event},
    error::{AckError, Disconnect, EmitError},
    listeners::Listeners,
    namespace::Namespace,
    packet::{Kind, put_head},
    recovery::{self, Private, Restored},
    room::{Member, id_of},
    shared::Shared,
};
use crate::engine::{Handshake, Sid};

/// A client in a namespace.
///
/// Clones are handles of the same socket, for any task. A client that is in several namespaces has a
/// socket in each, over the same connection.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: Sid,
    name: Arc<str>,
    namespace: Arc<Namespace>,
    shared: Arc<Shared>,
    seat: Mutex<Seat>,
    /// In a box, because most servers recover nothing.
    private: Option<Box<Private>>,
    state: AtomicU8,
    acks: Acks,
    /// What it has for its events. Most sockets have nothing of their own.
    own: Mutex<Option<Box<Listeners>>>,
    data: Mutex<Extensions>,
}

/// The socket as a member of the hub.
struct Seat {
    /// `None` once the socket has left.
    member: Option<Arc<Member>>,
    /// The rooms that it joins once it is accepted. Until then it receives nothing.
    early: Vec<String>,
}

/// The values of `state`: a socket is connected once, and leaves once.
const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
const GONE: u8 = 2;

impl Socket {
    /// Creates a socket that is connecting, or one that is recovered.
    pub(super) fn new(
        name: Arc<str>,
        namespace: Arc<Namespace>,
        shared: Arc<Shared>,
        restored: Option<&Restored>,
    ) -> Self {
        let member = shared.io().hub().add(shared.sender().clone());
        let private = shared.io().recovery().map(|_| {
            let pid = restored.map_or_else(Sid::random, |restored| restored.pid);
            Box::new(Private { pid, is_recovered: restored.is_some(), from: OnceLock::new() })
        });
        Self(Arc::new(Inner {
            id: restored.map_or_else(|| id_of(member.id()), |restored| restored.sid),
            name,
            namespace,
            shared,
            seat: Mutex::new(Seat { member: Some(Arc::new(member)), early: Vec::new() }),
            private,
            state: AtomicU8::new(CONNECTING),
            acks: Acks::default(),
            own: Mutex::default(),
            data: Mutex::default(),
        }))
    }

    /// Returns the id of the socket, which its client knows too.
    ///
    /// It is not the id of the session of Engine.IO, which is a secret.
    pub fn id(&self) -> Sid {
        self.0.id
    }

    /// Returns the name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.0.name
    }

    /// Returns whether the socket is in its namespace.
    pub fn is_connected(&self) -> bool {
        self.0.state.load(SeqCst) == CONNECTED
    }

    /// Returns whether the client goes on where it was when its connection was lost: with the id, the
    /// rooms, and the events that it has missed. See [`Builder::recovery`](crate::Builder::recovery).
    pub fn is_recovered(&self) -> bool {
        self.0.private.as_ref().is_some_and(|private| private.is_recovered)
    }

    /// Returns the request that began the session, if
    /// [`Settings::keep_handshake`](crate::engine::Settings::keep_handshake) is set.
    pub fn handshake(&self) -> Option<&Handshake> {
        self.0.shared.handshake()
    }

    /// Returns what the client has connected with, if the [handshake](Self::handshake) is kept.
    pub fn auth(&self) -> Option<Auth> {
        self.get()
    }

    /// Stores a value with the socket, in place of another of its type, which is returned.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        lock(&self.0.data).insert(value)
    }

    /// Removes the value of a type that was stored with the socket, and returns it.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        lock(&self.0.data).remove()
    }

    /// Returns a copy of the value of a type that was stored with the socket.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        lock(&self.0.data).get().cloned()
    }

    /// Waits for room, and queues an event for the client.
    ///
    /// ```
    /// use socketio::{Args, EmitError, Socket};
    ///
    /// async fn greet(socket: &Socket) -> Result<(), EmitError> {
    ///     socket.emit("message", "Good morning").await?;
    ///     socket.emit("moved", &Args((1, 2))).await
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns [`EmitError::Disconnected`] if the socket is not in its namespace, and
    /// [`EmitError::Serialize`] or [`EmitError::TooLarge`] for what cannot be sent.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, nothing is queued. Once it has returned, the event
    /// is, with its attachments.
    pub fn emit<'a, A: Arguments + ?Sized>(
        &'a self,
        event: &str,
        arguments: &A,
    ) -> impl Future<Output = Result<(), EmitError>> + Send + use<'a, A> {
        let encoded = encode_event(self.namespace(), None, event, arguments);
        if let Ok(encoded) = &encoded {
            self.emitting(None, encoded);
        }
        async move {
            let encoded = encoded?;
            let io = self.0.shared.io();
            if io.recovery().is_some() && self.is_connected() {
                return publish(io, &self.alone(), encoded).await;
            }
            self.send(encoded).await
        }
    }

    /// Queues an event if there is room for it, and otherwise drops it. Returns whether it was queued.
    ///
    /// # Errors
    /// Returns the same errors as [`emit`](Self::emit).
    pub fn emit_volatile(
        &self,
        event: &str,
        arguments: &(impl Arguments + ?Sized),
    ) -> Result<bool, EmitError> {
        let encoded = encode_event(self.namespace(), None, event, arguments)?;
        self.emitting(None, &encoded);
        let emitting = pin!(self.send(encoded));
        match emitting.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(emitted) => emitted.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    /// Sends an event, and waits for its acknowledgement, for as long as
    /// [`Limits::ack_timeout`](crate::Limits::ack_timeout).
    ///
    /// ```
    /// use socketio::{AckError, Data, Socket};
    ///
    /// async fn ask(socket: &Socket) -> Result<String, AckError> {
    ///     let Data(name) = socket.emit_with_ack("what is your name?", &()).await?;
    ///     Ok(name)
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns why there is no answer, or that it has another type.
    ///
    /// # Cancel safety
    /// If the future is dropped, the event may have been sent. Its answer is ignored.
    pub fn emit_with_ack<'a, R: FromAnswer, A: Arguments + ?Sized>(
        &'a self,
        event: &str,
        arguments: &A,
    ) -> impl Future<Output = Result<R, AckError>> + Send + use<'a, R, A> {
        self.emit_with_ack_in(self.0.shared.io().limits().ack_timeout, event, arguments)
    }

    /// Sends an event, and waits for its acknowledgement, for at most this long.
    ///
    /// The time begins before the event is queued.
    ///
    /// # Errors
    /// Returns the same errors as [`emit_with_ack`](Self::emit_with_ack).
    ///
    /// # Cancel safety
    /// If the future is dropped, the event may have been sent. Its answer is ignored.
    pub fn emit_with_ack_in<'a, R: FromAnswer, A: Arguments + ?Sized>(
        &'a self,
        time: Duration,
        event: &str,
        arguments: &A,
    ) -> impl Future<Output = Result<R, AckError>> + Send + use<'a, R, A> {
        let begun = self.begin_ack(|id| encode_event(self.namespace(), Some(id), event, arguments));
        if let Ok((ticket, encoded)) = &begun {
            self.emitting(Some(ticket.id), encoded);
        }
        async move {
            let whole = self.answer(begun?, time).await?;
            let (json, attachments) = (whole.packet.data(), &whole.attachments[..]);
            Ok(R::from_arrived(Arrived { json, has_name: false, attachments })?)
        }
    }

    /// Sends an event that is encoded with an id, and waits for its acknowledgement.
    pub(super) async fn ask(
        &self,
        encode: impl FnOnce(u64) -> Encoded,
        time: Duration,
    ) -> Result<Whole, AckError> {
        let begun = self.begin_ack(|id| Ok(encode(id)))?;
        self.emitting(Some(begun.0.id), &begun.1);
        self.answer(begun, time).await
    }

    async fn answer(&self, begun: (Ticket, Encoded), time: Duration) -> Result<Whole, AckError> {
        let (mut ticket, encoded) = begun;
        let answering = async {
            self.send(encoded).await?;
            (&mut ticket.answer).await.map_err(|_| AckError::Disconnected)
        };
        timeout(time, answering).await.map_err(|_| AckError::Timeout)?
    }

    fn begin_ack(
        &self,
        encode: impl FnOnce(u64) -> Result<Encoded, serde_json::Error>,
    ) -> Result<(Ticket, Encoded), AckError> {
        let (id, answer) = self.0.acks.register(self.0.shared.io().limits().max_acks)?;
        self.0.shared.begin_to_wait();
        let ticket = Ticket { socket: self.clone(), id, answer };
        let encoded = encode(id).map_err(EmitError::from)?;
        Ok((ticket, encoded))
    }

    /// Disconnects the socket from its namespace, and runs the handler of the namespace for that. The
    /// connection stays open; [`close`](Self::close) closes it.
    ///
    /// # Cancel safety
    /// The socket is disconnected before the first await. If the future is dropped, its client may not
    /// learn it, and the handler may not complete.
    pub async fn disconnect(&self) {
        if !self.end() {
            return;
        }
        self.0.shared.leave(self.namespace());
        let mut packet = Vec::new();
        put_head(&mut packet, Kind::Disconnect, 0, self.namespace(), None);
        let text = String::from_utf8(packet).expect("text");
        // It fails only if the connection has ended.
        let _ = self.0.shared.send(Encoded { text, attachments: Vec::new() }).await;
        self.0.namespace.disconnected(self.clone(), Disconnect::ByServer).await;
    }

    /// Waits for room, and queues a packet.
    pub(super) fn send(&self, packet: Encoded) -> impl Future<Output = Result<(), EmitError>> + Send + '_ {
        let connected = self.is_connected();
        async move { if connected { self.0.shared.send(packet).await } else { Err(EmitError::Disconnected) } }
    }

    pub(super) fn connect(&self) {
        if let Some(metrics) = self.0.shared.io().metrics() {
            metrics.socket_connected(&self.0.name);
        }
        self.0.state.store(CONNECTED, SeqCst);
    }

    /// Ends the socket. Returns `false` if it was not connected.
    fn end(&self) -> bool {
        let was_connected = self.0.state.swap(GONE, SeqCst) == CONNECTED;
        self.0.acks.end();
        // Others that use it, such as a call that joins a room, drop it last.
        let member = lock(&self.0.seat).member.take();
        if let Some(member) = &member {
            self.0.shared.io().node().remove(member.id());
        }
        if let Some(metrics) = self.0.shared.io().metrics().filter(|_| was_connected) {
            metrics.socket_left(self.namespace());
        }
        was_connected
    }

    pub(super) fn downgrade(&self) -> WeakSocket {
        WeakSocket(Arc::downgrade(&self.0))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Returns the member of the hub, unless the socket has left.
    pub(super) fn member(&self) -> Option<Arc<Member>> {
        lock(&self.0.seat).member.clone()
    }

    /// Calls a function with the rooms that the socket joins once it is accepted, unless it is.
    pub(super) fn with_early<T>(&self, call: impl FnOnce(&mut Vec<String>) -> T) -> Option<T> {
        let mut seat = lock(&self.0.seat);
        let is_connecting = self.0.state.load(SeqCst) == CONNECTING;
        is_connecting.then(|| call(&mut seat.early))
    }

    /// Takes those rooms, after the socket was accepted.
    pub(super) fn take_early(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.seat).early)
    }

    /// Returns what recovers the socket, if anything does.
    pub(super) fn private(&self) -> Option<&Private> {
        self.0.private.as_deref()
    }

    /// Fails all that waits for an answer: the connection has ended.
    pub(super) fn end_acks(&self) {
        self.0.acks.end();
    }

    /// Ends the socket, and runs the handler of its namespace for that.
    pub(super) fn left(self, why: Disconnect) -> impl Future<Output = ()> + Send {
        let rooms = self.0.private.as_ref().filter(|_| why.is_loss()).map(|_| self.rooms());
        let leaving = self.end().then(|| self.0.namespace.disconnected(self.clone(), why));
        async move {
            let Some(leaving) = leaving else { return };
            if let (Some(rooms), Some(private)) = (rooms, &self.0.private) {
                let io = self.0.shared.io();
                // Boxed to keep the tasks of connections small.
                Box::pin(recovery::store(io, self.namespace(), self.id(), private, rooms)).await;
            }
            leaving.await;
        }
    }

    /// Passes on an answer.
    pub(super) fn answered(&self, id: u64, whole: Whole) {
        self.0.acks.resolve(id, whole);
    }

    pub(super) fn its_namespace(&self) -> &Arc<Namespace> {
        &self.0.namespace
    }

    /// Returns what this socket has for its events.
    pub(super) fn own(&self) -> MutexGuard<'_, Option<Box<Listeners>>> {
        lock(&self.0.own)
    }
}

/// The task of the connection may be dropped before the socket has left.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(member) = lock(&self.seat).member.take() {
            self.shared.io().node().remove(member.id());
        }
    }
}

/// Redacted: prints neither data nor handlers.
impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id)
            .field("namespace", &self.0.name)
            .finish_non_exhaustive()
    }
}

/// A socket, as long as it exists.
#[derive(Clone)]
pub(super) struct WeakSocket(Weak<Inner>);

impl WeakSocket {
    pub(super) fn upgrade(&self) -> Option<Socket> {
        self.0.upgrade().map(Socket)
    }
}

/// An answer that is waited for. Dropping it forgets it.
struct Ticket {
    socket: Socket,
    id: u64,
    answer: tokio::sync::oneshot::Receiver<Whole>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.socket.0.acks.forget(self.id);
        self.socket.0.shared.end_to_wait();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A future that is ready, in a box.
pub(super) fn nothing() -> super::BoxFuture<()> {
    Box::pin(ready(()))
}
