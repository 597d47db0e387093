//! The table of sessions.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{head::Handshake, metrics::Metrics, polling::Polling, query::Transport, sid::Sid};

/// The sessions of a server: how many there are, and those that began with polling, by their ids.
///
/// A session that began with a WebSocket connection is not found by its id: no request names it.
#[derive(Debug)]
pub(super) struct Sessions {
    max: usize,
    metrics: Option<Metrics>,
    count: AtomicUsize,
    found: Mutex<HashMap<Sid, Found>>,
}

/// A session that is found by its id.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Polling(Arc<Polling>),
    /// It has a WebSocket connection now, and needs no other.
    Upgraded,
}

impl Sessions {
    pub(super) fn new(max: usize, metrics: Option<Metrics>) -> Arc<Self> {
        Arc::new(Self { max, metrics, count: AtomicUsize::new(0), found: Mutex::default() })
    }

    /// Takes a place for another session; `None` if there is none.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let more = |count: usize| (count < self.max).then_some(count + 1);
        self.count.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Place { sessions: self.clone(), sid: Sid::random(), handshake: None, is_open: false })
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Returns the session with this id.
    pub(super) fn find(&self, sid: Sid) -> Option<Found> {
        self.lock().get(&sid).cloned()
    }

    /// Records that a session does not poll any more, unless it has ended.
    pub(super) fn upgraded(&self, sid: Sid) {
        let mut found = self.lock();
        let polled = found.get_mut(&sid).map(|found| std::mem::replace(found, Found::Upgraded));
        if let Some(metrics) = self.metrics.as_ref().filter(|_| polled.is_some()) {
            // Before the session can end.
            metrics.upgraded();
        }
        drop(found);
        drop(polled);
    }

    /// Returns the counters of the server.
    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sid, Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a session, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    sessions: Arc<Sessions>,
    sid: Sid,
    /// The head of the request, until the session has it.
    handshake: Option<Handshake>,
    /// Whether its session has begun.
    is_open: bool,
}

impl Place {
    pub(super) fn sid(&self) -> Sid {
        self.sid
    }

    /// Adds the head of the request that begins the session.
    pub(super) fn with_handshake(mut self, handshake: Option<Handshake>) -> Self {
        self.handshake = handshake;
        self
    }

    pub(super) fn take_handshake(&mut self) -> Option<Handshake> {
        self.handshake.take()
    }

    /// Records that the session begins.
    pub(super) fn opened(&mut self) {
        self.is_open = true;
        if let Some(metrics) = &self.sessions.metrics {
            metrics.opened(self.transport(self.sessions.find(self.sid).as_ref()));
        }
    }

    /// Returns the transport of a session, by what requests find.
    fn transport(&self, found: Option<&Found>) -> Transport {
        match found {
            Some(Found::Polling(_)) => Transport::Polling,
            Some(Found::Upgraded) | None => Transport::WebSocket,
        }
    }

    /// Lets requests find the session.
    pub(super) fn publish(&self, polling: Arc<Polling>) {
        self.sessions.lock().insert(self.sid, Found::Polling(polling));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = self.sessions.lock().remove(&self.sid);
        if let Some(metrics) = self.sessions.metrics.as_ref().filter(|_| self.is_open) {
            metrics.closed(self.transport(removed.as_ref()));
        }
        drop(removed);
        self.sessions.count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_free_again() {
        let sessions = Sessions::new(2, None);
        let [first, second] = [(); 2].map(|()| sessions.place().expect("free"));
        assert!(sessions.place().is_none());
        second.publish(Polling::new(1, 1));
        assert!(sessions.find(first.sid()).is_none() && sessions.find(second.sid()).is_some());
        let sid = second.sid();
        sessions.upgraded(sid);
        assert!(matches!(sessions.find(sid), Some(Found::Upgraded)));
        drop(second);
        sessions.upgraded(sid);
        assert!(sessions.find(sid).is_none());
        assert_eq!(sessions.len(), 1);
        assert!(sessions.place().is_some());
    }
}
