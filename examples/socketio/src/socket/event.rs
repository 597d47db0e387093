//! Events, and what handlers take from them.

use std::{borrow::Cow, fmt};

use bytes::Bytes;

use super::{
    assembly::Whole,
    check::event_name,
    data::{Arguments, Arrived, FromAnswer, InvalidData, encode_ack, sealed::FromArrived},
    error::EmitError,
    handle::Socket,
};

/// An event that a client has sent.
pub struct Event {
    socket: Socket,
    whole: Whole,
    /// The id with which it is to be acknowledged, until something takes that over.
    pub(crate) id: Option<u64>,
}

impl Event {
    pub(crate) fn new(socket: Socket, whole: Whole) -> Self {
        Self { socket, id: whole.packet.id(), whole }
    }

    /// Returns the same event for whoever does not acknowledge it. The data is shared.
    pub(crate) fn view(&self) -> Self {
        Self { socket: self.socket.clone(), whole: self.whole.clone(), id: None }
    }

    /// Returns the name.
    pub fn name(&self) -> Cow<'_, str> {
        event_name(self.whole.packet.data())
    }

    /// Returns whether the client waits for an acknowledgement.
    pub fn wants_ack(&self) -> bool {
        self.whole.packet.id().is_some()
    }

    /// Parses the arguments, as [`Data`](crate::Data) or [`Args`](crate::Args).
    ///
    /// # Errors
    /// Fails if they have another type.
    pub fn parse<T: FromAnswer>(&self) -> Result<T, InvalidData> {
        T::from_arrived(self.arrived())
    }

    /// Returns the binary data, in the order of its placeholders.
    pub fn attachments(&self) -> &[Bytes] {
        &self.whole.attachments
    }

    /// Returns the name and the arguments as a JSON array, with placeholders for binary data.
    pub fn as_json(&self) -> &str {
        self.whole.packet.data()
    }

    fn arrived(&self) -> Arrived<'_> {
        Arrived { json: self.whole.packet.data(), has_name: true, attachments: &self.whole.attachments }
    }
}

/// Redacted: prints neither the arguments nor the name, which is of the client.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// What a handler takes from an event.
///
/// Implemented for [`Data`](crate::Data), [`Args`](crate::Args), [`Ack`], [`Event`], `()`, and for tuples of
/// these.
pub trait FromEvent: Sized {
    /// Takes the value from an event.
    ///
    /// # Errors
    /// Fails if the arguments have another type.
    fn from_event(event: &mut Event) -> Result<Self, InvalidData>;
}

impl<T: FromArrived> FromEvent for T {
    fn from_event(event: &mut Event) -> Result<Self, InvalidData> {
        T::from_arrived(event.arrived())
    }
}

/// Takes the whole event, whose acknowledgement is what the handler returns.
impl FromEvent for Event {
    fn from_event(event: &mut Event) -> Result<Self, InvalidData> {
        Ok(event.view())
    }
}

impl<A: FromEvent, B: FromEvent> FromEvent for (A, B) {
    fn from_event(event: &mut Event) -> Result<Self, InvalidData> {
        Ok((A::from_event(event)?, B::from_event(event)?))
    }
}

/// Acknowledges an event later, or not at all, instead of with what the handler returns.
///
/// ```
/// use socketio::{Ack, Data, Namespace, Socket};
///
/// async fn store(_socket: Socket, (Data(text), ack): (Data<String>, Ack)) {
///     tokio::spawn(async move {
///         // Once it is stored.
///         let _ = ack.send(&text.len()).await;
///     });
/// }
///
/// let namespace = Namespace::new("/").on("store", store);
/// # let _ = namespace;
/// ```
#[derive(Debug)]
pub struct Ack {
    socket: Socket,
    id: Option<u64>,
}

impl FromEvent for Ack {
    fn from_event(event: &mut Event) -> Result<Self, InvalidData> {
        Ok(Self { socket: event.socket.clone(), id: event.id.take() })
    }
}

impl Ack {
    /// Returns whether the client waits for it.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }

    /// Sends the acknowledgement. If the client does not wait for one, this does nothing.
    ///
    /// # Errors
    /// Returns the same errors as [`Socket::emit`].
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, nothing is sent.
    pub async fn send(self, arguments: &(impl Arguments + Sync + ?Sized)) -> Result<(), EmitError> {
        let Some(id) = self.id else { return Ok(()) };
        let encoded = encode_ack(self.socket.namespace(), id, arguments)?;
        self.socket.send(encoded).await
    }
}
