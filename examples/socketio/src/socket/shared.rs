//! What the sockets of a connection share: its sender, and which namespaces it is in.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Waker},
};

use fullduplex::{CloseCode, CloseFrame, Sender, Sequence};

use super::{data::Encoded, error::EmitError, handle::Socket, io::Inner};
use crate::engine::{Connection, Handshake};

/// What the sockets of a connection share.
pub(super) struct Shared {
    io: Arc<Inner>,
    sender: Sender,
    handshake: Option<Handshake>,
    places: Mutex<Vec<Place>>,
    /// The number of acknowledgements that are waited for.
    awaited: AtomicUsize,
    was_accepted: AtomicBool,
    /// Whether the task of the connection does not receive, and therefore does not write.
    is_paused: AtomicBool,
    paused: Mutex<Option<Waker>>,
}

/// A namespace that a connection is in, or was in.
struct Place {
    namespace: Arc<str>,
    state: PlaceState,
}

/// ```text
///   Connecting ── accepted ──▶ Open ── by the server ──▶ Left
///       │                       │                          │
///       └─ refused ─▶ (none) ◀──┴─ by the client           └─ connects again ─▶ Connecting
/// ```
enum PlaceState {
    Connecting,
    Open(Socket),
    /// The server has disconnected the socket. What the client has sent before it knew is ignored.
    Left,
}

/// What a packet for a namespace finds.
pub(super) enum Found {
    Open(Socket),
    Left,
    /// The client is not in the namespace.
    Nothing,
}

/// Why a client may not connect to another namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// It is in it.
    Taken,
    TooMany,
}

impl Shared {
    pub(super) fn new(io: Arc<Inner>, session: &Connection) -> Arc<Self> {
        Arc::new(Self {
            io,
            sender: session.sender().get_ref().clone(),
            handshake: session.handshake().cloned(),
            places: Mutex::default(),
            awaited: AtomicUsize::new(0),
            was_accepted: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            paused: Mutex::default(),
        })
    }

    pub(super) fn io(&self) -> &Arc<Inner> {
        &self.io
    }

    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(super) fn handshake(&self) -> Option<&Handshake> {
        self.handshake.as_ref()
    }

    /// Waits for room, and queues a packet. The messages of which it consists follow each other.
    ///
    /// If the future is dropped before it completes, nothing is queued.
    pub(super) async fn send(&self, packet: Encoded) -> Result<(), EmitError> {
        if packet.attachments.is_empty() {
            self.sender.feed(packet.text).await.map_err(disconnected)?;
        } else {
            // Boxed to keep other futures small.
            Box::pin(self.send_group(packet)).await?;
        }
        self.written();
        Ok(())
    }

    async fn send_group(&self, packet: Encoded) -> Result<(), EmitError> {
        if packet.size() > self.io.max_write_buffer_size() {
            return Err(EmitError::TooLarge);
        }
        self.sender.feed(Sequence::from(packet)).await.map_err(disconnected)
    }

    /// Writes what was queued, if the task of the connection does not.
    fn written(&self) {
        if self.is_paused.load(SeqCst) {
            // A write is attempted by the first poll.
            let mut flush = pin!(self.sender.flush());
            let _ = flush.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Records that the task of the connection does not receive, and writes what is queued until then.
    pub(super) fn pause(&self, waker: &Waker) {
        let before = lock(&self.paused).replace(waker.clone());
        drop(before);
        self.is_paused.store(true, SeqCst);
        self.written();
    }

    /// Records that the task of the connection runs.
    pub(super) fn resume(&self) {
        self.is_paused.store(false, SeqCst);
    }

    /// Records that an acknowledgement is waited for, which the connection has to receive.
    pub(super) fn begin_to_wait(&self) {
        self.awaited.fetch_add(1, SeqCst);
        if self.is_paused.load(SeqCst)
            && let Some(waker) = lock(&self.paused).take()
        {
            waker.wake();
        }
    }

    pub(super) fn end_to_wait(&self) {
        self.awaited.fetch_sub(1, SeqCst);
    }

    /// Returns whether an acknowledgement is waited for.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(SeqCst) > 0
    }

    /// Takes a place for a client that connects to a namespace.
    pub(super) fn connecting(&self, namespace: &str) -> Result<(), NoPlace> {
        let mut places = lock(&self.places);
        if let Some(place) = places.iter_mut().find(|place| *place.namespace == *namespace) {
            return match place.state {
                PlaceState::Left => {
                    place.state = PlaceState::Connecting;
                    Ok(())
                }
                PlaceState::Connecting | PlaceState::Open(_) => Err(NoPlace::Taken),
            };
        }
        let max = self.io.limits().max_namespaces;
        if places.len() >= max {
            places.retain(|place| !matches!(place.state, PlaceState::Left));
        }
        if places.len() >= max {
            return Err(NoPlace::TooMany);
        }
        if places.is_empty() {
            // Most connections are in one namespace.
            places.reserve_exact(1);
        }
        places.push(Place { namespace: namespace.into(), state: PlaceState::Connecting });
        Ok(())
    }

    /// Puts a socket that was accepted into its place.
    pub(super) fn open(&self, socket: &Socket) {
        self.was_accepted.store(true, SeqCst);
        self.change(socket.namespace(), |state| *state = PlaceState::Open(socket.clone()));
    }

    /// Marks the place of a socket that the server has disconnected.
    pub(super) fn leave(&self, namespace: &str) {
        self.change(namespace, |state| *state = PlaceState::Left);
    }

    fn change(&self, namespace: &str, change: impl FnOnce(&mut PlaceState)) {
        let mut places = lock(&self.places);
        if let Some(place) = places.iter_mut().find(|place| *place.namespace == *namespace) {
            change(&mut place.state);
        }
    }

    /// Removes the place of a client that was refused, or has left.
    pub(super) fn remove(&self, namespace: &str) {
        lock(&self.places).retain(|place| *place.namespace != *namespace);
    }

    /// Returns what a packet for a namespace finds.
    pub(super) fn find(&self, namespace: &str) -> Found {
        let places = lock(&self.places);
        match places.iter().find(|place| *place.namespace == *namespace).map(|place| &place.state) {
            Some(PlaceState::Open(socket)) => Found::Open(socket.clone()),
            Some(PlaceState::Left) => Found::Left,
            Some(PlaceState::Connecting) | None => Found::Nothing,
        }
    }

    /// Returns whether a socket of the client was ever accepted.
    pub(super) fn was_accepted(&self) -> bool {
        self.was_accepted.load(SeqCst)
    }

    /// Fails all that waits for an answer: the connection has ended.
    pub(super) fn end_acks(&self) {
        for place in &*lock(&self.places) {
            if let PlaceState::Open(socket) = &place.state {
                socket.end_acks();
            }
        }
    }

    /// Returns the sockets of all namespaces that the client is in.
    pub(super) fn sockets(&self) -> Vec<Socket> {
        let places = lock(&self.places);
        let sockets = places.iter().filter_map(|place| match &place.state {
            PlaceState::Open(socket) => Some(socket.clone()),
            PlaceState::Connecting | PlaceState::Left => None,
        });
        sockets.collect()
    }

    /// Closes the connection, behind what is queued.
    pub(super) fn close(&self) {
        // It fails only if the connection has ended already.
        let _ = self.sender.start_close(CloseFrame::new(CloseCode::NORMAL, "").ok());
        self.written();
    }

    /// Takes all sockets: the connection has ended.
    pub(super) fn take_all(&self) -> Vec<Socket> {
        let places = std::mem::take(&mut *lock(&self.places));
        let sockets = places.into_iter().filter_map(|place| match place.state {
            PlaceState::Open(socket) => Some(socket),
            PlaceState::Connecting | PlaceState::Left => None,
        });
        sockets.collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection has ended: why, is returned by the task that receives.
fn disconnected(_: fullduplex::Error) -> EmitError {
    EmitError::Disconnected
}
