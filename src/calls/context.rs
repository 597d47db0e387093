//! What handlers and middleware receive beside the data.

use std::{fmt, sync::Arc};

use super::peer::Peer;

/// The context of an event: the state of its connection, the peer, and the event itself.
///
/// It can be cloned, which is cheap, and kept.
///
/// ```
/// use std::sync::Arc;
/// use fullduplex::calls::{CallError, Context};
///
/// struct Member {
///     name: String,
/// }
///
/// async fn greet(context: Context<Member>, _data: ()) -> Result<String, CallError> {
///     context.peer().emit("hello", &context.state().name).await?;
///     Ok(format!("handled {}", context.event()))
/// }
/// ```
pub struct Context<S> {
    connection: Arc<Connected<S>>,
    event: Arc<str>,
    id: Option<u64>,
}

/// What all events of a connection share.
pub(super) struct Connected<S> {
    pub(super) state: S,
    pub(super) peer: Peer,
}

impl<S> Context<S> {
    pub(super) fn new(connection: Arc<Connected<S>>, event: Arc<str>, id: Option<u64>) -> Self {
        Self { connection, event, id }
    }

    /// Returns the state of the connection.
    pub fn state(&self) -> &S {
        &self.connection.state
    }

    /// Returns the peer, to emit to it or to call it.
    pub fn peer(&self) -> &Peer {
        &self.connection.peer
    }

    /// Returns the name of the event.
    ///
    /// It is empty at connect, and for a message that is not a valid event.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Returns the id of the call; `None` for an event that is not acknowledged.
    pub fn id(&self) -> Option<u64> {
        self.id
    }
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self { connection: self.connection.clone(), event: self.event.clone(), id: self.id }
    }
}

/// Without the state, which may contain anything.
impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("event", &self.event).field("id", &self.id).finish_non_exhaustive()
    }
}
