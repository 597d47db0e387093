//! The handlers of one socket, and the way of an event to its handler.

use std::{future::Future, sync::Arc};

use super::{
    BoxFuture,
    data::{Arguments, encode_ack},
    error::EmitError,
    event::{Event, FromEvent},
    handle::Socket,
    listeners::{Any, Before, Listeners, Refused, RefusedAnswer},
    namespace::{Handler, erase},
};

impl Socket {
    /// Sets the handler of an event for this socket alone. It precedes that of the namespace, and one
    /// that was set before.
    ///
    /// See [`Namespace::on`](crate::Namespace::on). Handlers of a namespace take no memory for each socket.
    pub fn on<E, R, F, Fut>(&self, event: &str, handler: F)
    where
        E: FromEvent + Send + 'static,
        R: Arguments + 'static,
        F: Fn(Socket, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        self.change(|own| own.insert(event, erase(handler), false));
    }

    /// Sets the handler of the next event of this name alone, as [`on`](Self::on) does. It is removed when
    /// it runs.
    pub fn once<E, R, F, Fut>(&self, event: &str, handler: F)
    where
        E: FromEvent + Send + 'static,
        R: Arguments + 'static,
        F: Fn(Socket, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        self.change(|own| own.insert(event, erase(handler), true));
    }

    /// Removes the handler of an event that this socket has by [`on`](Self::on) or [`once`](Self::once).
    /// Returns whether there was one.
    ///
    /// That of the namespace runs for later events. A handler that runs is not stopped.
    pub fn off(&self, event: &str) -> bool {
        self.own().as_mut().is_some_and(|own| own.remove(event))
    }

    /// Sets the handler of all events of this socket that have no other.
    ///
    /// See [`Namespace::fallback`](crate::Namespace::fallback), which this precedes.
    pub fn fallback<E, R, F, Fut>(&self, handler: F)
    where
        E: FromEvent + Send + 'static,
        R: Arguments + 'static,
        F: Fn(Socket, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        self.change(|own| own.set_fallback(erase(handler)));
    }

    /// Adds a function that runs before the handler of each event of this socket, and may refuse it.
    ///
    /// See [`Namespace::before_event`](crate::Namespace::before_event). Those of the namespace run first.
    pub fn before_event<F, Fut>(&self, before: F)
    where
        F: Fn(Socket, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        self.change(|own| own.add_before(before));
    }

    /// Adds a function that is called with each event of this socket.
    ///
    /// See [`Namespace::on_any`](crate::Namespace::on_any). Those of the namespace are called first.
    pub fn on_any(&self, any: impl Fn(&Socket, &Event) + Send + Sync + 'static) {
        self.change(|own| own.add_any(any));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Listeners) -> T) {
        change(self.own().get_or_insert_default());
    }

    /// Returns what an event starts; `None` if that is nothing.
    pub(super) fn handling(&self, event: Event) -> Option<BoxFuture<()>> {
        let has_own = self.own().is_some();
        let namespace = self.its_namespace().listeners();
        if !has_own && namespace.has_only_handlers() {
            // Nearly all events.
            let handler = namespace.handler(&event.name()).or_else(|| namespace.fallback())?;
            return Some(handler(self.clone(), event));
        }
        // Copied, because what runs may change them.
        let (any, before) = self.own_observers();
        for any in namespace.any().iter().chain(&any) {
            any(self, &event);
        }
        if namespace.before().is_empty() && before.is_empty() {
            let handler = self.handler(&event.name())?;
            return Some(handler(self.clone(), event));
        }
        let socket = self.clone();
        Some(Box::pin(async move {
            if let Err(refused) = socket.check(&before, &event).await {
                return socket.refuse(&event, &refused).await;
            }
            // Looked up now: a handler for one event is kept if the event is refused.
            let handler = socket.handler(&event.name());
            if let Some(handler) = handler {
                handler(socket, event).await;
            }
        }))
    }

    fn own_observers(&self) -> (Vec<Arc<Any>>, Vec<Arc<Before>>) {
        let own = self.own();
        own.as_ref().map(|own| (own.any().to_vec(), own.before().to_vec())).unwrap_or_default()
    }

    /// Runs what may refuse an event.
    async fn check(&self, own: &[Arc<Before>], event: &Event) -> Result<(), Refused> {
        for before in self.its_namespace().listeners().before().iter().chain(own) {
            before(self.clone(), event.view()).await?;
        }
        Ok(())
    }

    /// Reports an event that is refused, to the program and to a client that waits.
    async fn refuse(&self, event: &Event, refused: &Refused) {
        let namespace = self.its_namespace();
        namespace.failed(self, &event.name(), &refused.clone().into());
        let Some(id) = event.id else { return };
        let sent = match encode_ack(self.namespace(), id, &RefusedAnswer { error: refused }) {
            Ok(encoded) => self.send(encoded).await,
            Err(error) => Err(error.into()),
        };
        match sent {
            Ok(()) | Err(EmitError::Disconnected) => {}
            Err(error) => namespace.failed(self, &event.name(), &error.into()),
        }
    }

    /// Returns the handler of an event. One that is for one event is removed.
    fn handler(&self, event: &str) -> Option<Arc<Handler>> {
        let namespace = self.its_namespace().listeners();
        let mut own = self.own();
        let handler = own.as_mut().and_then(|own| own.take_handler(event));
        handler
            .or_else(|| namespace.handler(event))
            .or_else(|| own.as_ref().and_then(|own| own.fallback()))
            .or_else(|| namespace.fallback())
    }
}
