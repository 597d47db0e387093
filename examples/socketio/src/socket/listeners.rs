//! What runs for the events of a namespace, or of one socket.

use std::{collections::HashMap, future::Future, sync::Arc};

use serde::Serialize;
use serde_json::Value;

use super::{BoxFuture, event::Event, handle::Socket, namespace::Handler};

pub(super) type Before = dyn Fn(Socket, Event) -> BoxFuture<Result<(), Refused>> + Send + Sync;
pub(super) type Any = dyn Fn(&Socket, &Event) + Send + Sync;

/// Why an event is refused before its handler runs.
///
/// If the client waits for an acknowledgement, it is one object, `{"error":{"message":...,"data":...}}`.
/// [`Namespace::on_failure`](crate::Namespace::on_failure) is called with it as well.
///
/// ```
/// use socketio::Refused;
///
/// let refused = Refused::new("Too many messages").data(serde_json::json!({ "wait": 10 }));
/// assert_eq!(refused.to_string(), "refused: Too many messages");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("refused: {message}")]
pub struct Refused {
    message: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    data: Value,
}

impl Refused {
    /// Creates an error with a text for the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: Value::Null }
    }

    /// Sets more data for the client.
    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

/// The acknowledgement of an event that is refused.
#[derive(Debug, Serialize)]
pub(super) struct RefusedAnswer<'a> {
    pub(super) error: &'a Refused,
}

/// What runs for the events of a namespace, or of one socket.
#[derive(Default)]
pub(super) struct Listeners {
    handlers: HashMap<Box<str>, Listener>,
    /// Runs for events without a handler.
    fallback: Option<Arc<Handler>>,
    before: Vec<Arc<Before>>,
    any: Vec<Arc<Any>>,
}

struct Listener {
    handler: Arc<Handler>,
    /// Whether it is removed by the first event.
    is_once: bool,
}

impl Listeners {
    /// Sets the handler of an event. Returns whether there was one.
    pub(super) fn insert(&mut self, event: &str, handler: Arc<Handler>, is_once: bool) -> bool {
        self.handlers.insert(event.into(), Listener { handler, is_once }).is_some()
    }

    /// Removes the handler of an event. Returns whether there was one.
    pub(super) fn remove(&mut self, event: &str) -> bool {
        self.handlers.remove(event).is_some()
    }

    pub(super) fn set_fallback(&mut self, handler: Arc<Handler>) {
        self.fallback = Some(handler);
    }

    pub(super) fn add_before<F, Fut>(&mut self, before: F)
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        self.before.push(Arc::new(move |socket, event| Box::pin(before(socket, event))));
    }

    pub(super) fn add_any(&mut self, any: impl Fn(&Socket, &Event) + Send + Sync + 'static) {
        self.any.push(Arc::new(any));
    }

    /// Returns whether nothing but handlers runs.
    pub(super) fn has_only_handlers(&self) -> bool {
        self.before.is_empty() && self.any.is_empty()
    }

    pub(super) fn before(&self) -> &[Arc<Before>] {
        &self.before
    }

    pub(super) fn any(&self) -> &[Arc<Any>] {
        &self.any
    }

    /// Returns the handler of an event.
    pub(super) fn handler(&self, event: &str) -> Option<Arc<Handler>> {
        self.handlers.get(event).map(|listener| listener.handler.clone())
    }

    /// Returns the handler of an event, and removes it if it is for one event.
    pub(super) fn take_handler(&mut self, event: &str) -> Option<Arc<Handler>> {
        if self.handlers.get(event)?.is_once {
            return self.handlers.remove(event).map(|listener| listener.handler);
        }
        self.handler(event)
    }

    pub(super) fn fallback(&self) -> Option<Arc<Handler>> {
        self.fallback.clone()
    }

    /// Returns the names of the events that have a handler.
    pub(super) fn events(&self) -> impl Iterator<Item = &str> {
        self.handlers.keys().map(|event| &**event)
    }
}
