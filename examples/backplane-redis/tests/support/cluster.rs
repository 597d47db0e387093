//! A cluster of Redis on loopback.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use fullduplex_backplane_redis::{Builder, Redis};
use redis::cluster_routing::Slot;

use super::{DEADLINE, DURABLE, Server, connected, free_port, short};
use crate::backplane::{Engine, Node};

const SLOTS: usize = 16384;

/// Makes the others soon notice that a server has failed. Without it, they wait for longer than a busy
/// machine may stop one.
pub const SOON: [&str; 2] = ["--cluster-node-timeout", "1000"];

/// Servers that form a cluster, and are killed when this is dropped.
pub struct Cluster {
    pub primaries: Vec<Server>,
    /// The replica of each primary, or none.
    pub replicas: Vec<Server>,
}

/// A cluster that tests share. Each has keys of its own.
pub struct Shared {
    cluster: Arc<Cluster>,
    prefix: String,
}

impl Cluster {
    /// Starts primaries, each with as many slots as the others.
    pub fn start(primaries: usize) -> Self {
        Self::start_with(primaries, &[])
    }

    /// Starts primaries with options.
    pub fn start_with(primaries: usize, options: &[&str]) -> Self {
        Self::of((0..primaries).map(|_| Self::server(options)).collect())
    }

    /// Makes a cluster of servers that are part of none.
    pub fn of(primaries: Vec<Server>) -> Self {
        let cluster = Self { primaries, replicas: Vec::new() };
        cluster.form();
        cluster
    }

    /// Starts primaries with a replica each, which soon replaces a primary that has failed.
    pub fn with_replicas(primaries: usize) -> Self {
        let mut cluster = Self::start_with(primaries, &SOON);
        cluster.replicas = (0..primaries).map(|_| Self::server(&SOON)).collect();
        for (primary, replica) in cluster.primaries.iter().zip(&cluster.replicas) {
            cluster.meet(replica);
            let id = id(primary);
            until("the replica knows its primary", || {
                replica.command::<String>(&["CLUSTER", "NODES"]).contains(&id)
            });
            replica.command::<()>(&["CLUSTER", "REPLICATE", &id]);
        }
        for replica in &cluster.replicas {
            until("the replica is synchronized", || {
                replica.command::<String>(&["INFO", "replication"]).contains("master_link_status:up")
            });
        }
        cluster.wait_until_formed();
        cluster
    }

    /// Starts a server that is part of no cluster.
    pub fn server(options: &[&str]) -> Server {
        let bus = free_port().to_string();
        let own = [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "30000",
            "--cluster-replica-validity-factor",
            "0",
            "--repl-diskless-sync-delay",
            "0",
        ];
        let options: Vec<&str> = DURABLE.iter().chain(&own).chain(options).copied().collect();
        Server::start_with(&options)
    }

    /// Adds a server to the cluster.
    pub fn meet(&self, server: &Server) {
        let bus: Vec<String> = server.command(&["CONFIG", "GET", "cluster-port"]);
        let port = server.port().to_string();
        self.primaries[0].command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus[1]]);
    }

    fn form(&self) {
        let count = self.primaries.len();
        for (index, primary) in self.primaries.iter().enumerate() {
            let (first, end) = (index * SLOTS / count, (index + 1) * SLOTS / count);
            let range = [first.to_string(), (end - 1).to_string()];
            primary.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
            primary.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
            if index > 0 {
                self.meet(primary);
            }
        }
        self.wait_until_formed();
    }

    /// Waits until all servers know each other, and all slots are served.
    pub fn wait_until_formed(&self) {
        let count = format!("cluster_known_nodes:{}\r", self.primaries.len() + self.replicas.len());
        for server in self.primaries.iter().chain(&self.replicas) {
            until("the cluster is formed", || {
                let info: String = server.command(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains(&count)
            });
        }
    }

    /// Waits until a replica has all that its primary has stored.
    pub fn wait_until_replicated(&self, index: usize) {
        let (primary, replica) = (&self.primaries[index], &self.replicas[index]);
        until("it is replicated", || primary.replication_offset() == replica.replication_offset());
    }

    /// Makes a replica take over from its primary, with its consent.
    pub fn hand_over(&self, index: usize) {
        let replica = &self.replicas[index];
        until("the replica is the primary", || {
            // The others may not vote in time.
            replica.command::<()>(&["CLUSTER", "FAILOVER"]);
            let start = Instant::now();
            while !replica.is_primary() && start.elapsed() < Duration::from_secs(6) {
                sleep(Duration::from_millis(10));
            }
            replica.is_primary()
        });
    }

    /// Returns the URLs of the primaries.
    pub fn urls(&self) -> Vec<String> {
        self.primaries.iter().map(Server::url).collect()
    }

    pub fn builder(&self) -> Builder<String> {
        short(Redis::cluster(self.urls()))
    }

    /// Returns the index of the primary that owned the slot of a room in the beginning.
    pub fn owner(&self, room: &str) -> usize {
        let slot = slot(room);
        (0..self.primaries.len())
            .find(|index| slot < (index + 1) * SLOTS / self.primaries.len())
            .expect("a slot")
    }

    /// Moves the slot of a room, as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, room: &str, from: &Server, to: &Server) {
        self.begin_to_move(room, from, to)();
    }

    /// Begins to move the slot of a room, and moves the keys. Returns what completes it.
    pub fn begin_to_move<'a>(&'a self, room: &str, from: &'a Server, to: &'a Server) -> impl FnOnce() + 'a {
        let slot = slot(room).to_string();
        let (from_id, to_id) = (id(from), id(to));
        to.command::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        from.command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        move || {
            let port = to.port().to_string();
            loop {
                // One at a time: the keys of a room are on both servers meanwhile.
                let keys: Vec<String> = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]);
                let Some(key) = keys.first() else { break };
                from.command::<()>(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
                sleep(Duration::from_millis(20));
            }
            // The one that the slot is moved to comes first.
            let others = self.primaries.iter().filter(|other| other.port() != to.port());
            for server in std::iter::once(to).chain(others) {
                server.command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
            }
        }
    }
}

impl Engine for Cluster {
    async fn node(&self) -> Node {
        connected(&self.builder().build().expect("valid")).await
    }
}

impl Shared {
    /// Returns the cluster of another test that runs now, or starts one.
    pub fn start() -> Self {
        static RUNNING: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        static TESTS: AtomicU32 = AtomicU32::new(0);
        let mut running = RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let cluster = running.upgrade().unwrap_or_else(|| Arc::new(Cluster::start(3)));
        *running = Arc::downgrade(&cluster);
        Self { cluster, prefix: format!("test{}", TESTS.fetch_add(1, Relaxed)) }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn builder(&self) -> Builder<String> {
        self.builder_of(self.cluster.urls())
    }

    pub fn builder_of(&self, urls: impl IntoIterator<Item = String>) -> Builder<String> {
        short(Redis::cluster(urls)).prefix(&*self.prefix)
    }
}

impl Engine for Shared {
    async fn node(&self) -> Node {
        connected(&self.builder().build().expect("valid")).await
    }
}

impl Server {
    fn replication_offset(&self) -> String {
        let info: String = self.command(&["INFO", "replication"]);
        let line = info.lines().find(|line| line.starts_with("master_repl_offset:"));
        line.expect("an offset").to_owned()
    }

    /// Returns whether a server of a cluster is a primary.
    pub fn is_primary(&self) -> bool {
        self.command::<String>(&["INFO", "replication"]).contains("role:master")
    }
}

/// Returns the slot of a room.
pub fn slot(room: &str) -> usize {
    let slot = Slot::for_key(format!("{{room:{room}}}"));
    (0..SLOTS).find(|number| Slot::new(*number as u16) == Some(slot)).expect("a slot")
}

/// Returns the id of a server in its cluster.
pub fn id(server: &Server) -> String {
    server.command(&["CLUSTER", "MYID"])
}

/// Waits until a condition is true.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "it did not happen: {what}");
        sleep(Duration::from_millis(10));
    }
}
