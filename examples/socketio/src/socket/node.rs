//! What a server has for its sockets as members of a hub, on one node or several.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use fullduplex::hub::{Backplane, Builder, Event, MemberId, Memory};

use super::{
    cluster::Cluster,
    handle::{Socket, WeakSocket},
    io::Inner,
    recovery,
    room::Hub,
};

/// The number of events of each namespace that are kept to be recovered, without another backplane.
const KEPT: usize = 1000;

/// How the servers of several nodes are connected, and what is recovered.
#[derive(Default)]
pub(super) struct Nodes {
    backplane: Option<Builder<String>>,
    recovery: Option<Duration>,
}

/// This node.
pub(super) struct Node {
    hub: Hub,
    cluster: Cluster,
    recovery: Option<Duration>,
    /// The sockets by the numbers of their members.
    sockets: Mutex<HashMap<u64, WeakSocket>>,
}

impl Nodes {
    pub(super) fn backplane(&mut self, backplane: impl Backplane<String>) {
        self.backplane = Some(Hub::builder().backplane(backplane));
    }

    pub(super) fn recovery(&mut self, time: Duration) {
        self.recovery = Some(time);
    }

    pub(super) fn build(self, io: Weak<Inner>) -> Node {
        let Self { backplane, recovery } = self;
        let cluster = Cluster::new(backplane.is_some());
        let mut builder = match (backplane, recovery) {
            (Some(builder), _) => builder,
            (None, Some(time)) => Hub::builder().backplane(Memory::history(KEPT, time)),
            (None, None) => Hub::builder(),
        };
        if recovery.is_some() {
            builder = builder.encode(|_, position, message| recovery::with_offset(position, &message));
        }
        let hub = builder.on_event(move |_, event| {
            if let (Event::Signal(message), Some(io)) = (event, io.upgrade()) {
                io.node().cluster.received(&io, &message);
            }
        });
        Node { hub: hub.build(), cluster, recovery, sockets: Mutex::default() }
    }
}

impl Node {
    fn sockets(&self) -> MutexGuard<'_, HashMap<u64, WeakSocket>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a socket that is accepted.
    pub(super) fn add(&self, member: MemberId, socket: &Socket) {
        self.sockets().insert(member.serial, socket.downgrade());
    }

    pub(super) fn remove(&self, member: MemberId) {
        self.sockets().remove(&member.serial);
    }
}

impl Inner {
    pub(super) fn hub(&self) -> &Hub {
        &self.node().hub
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.node().cluster
    }

    /// Returns the number of this node, if there may be others.
    pub(super) fn hub_node(&self) -> Option<u64> {
        self.cluster().node()
    }

    /// Returns how long a socket can be recovered, if it can.
    pub(super) fn recovery(&self) -> Option<Duration> {
        self.node().recovery
    }

    /// Returns a socket of this node.
    pub(super) fn socket(&self, member: MemberId) -> Option<Socket> {
        // A number is that of this node only if the socket has the whole id.
        let found = self.node().sockets().get(&member.serial).and_then(WeakSocket::upgrade);
        found.filter(|socket| socket.member().is_some_and(|own| own.id() == member))
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("recovery", &self.recovery).finish_non_exhaustive()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("hub", &self.hub).finish_non_exhaustive()
    }
}
