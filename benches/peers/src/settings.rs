//! How long and how often everything is measured.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub rounds: usize,
    /// About how long one sample in memory takes.
    pub in_memory: Duration,
    /// How long the load runs before it is measured, and while.
    pub warm_up: Duration,
    pub measured: Duration,
    /// How many connections the memory section has.
    pub idle_connections: usize,
    /// How many idle connections with compression there are.
    pub idle_compressed: usize,
    /// How many connections a broadcast goes to, and how many broadcasts a sample is made of.
    pub broadcast_connections: usize,
    pub broadcasts: usize,
    /// How many connections the scale section has at most, for how long they are kept alive, and how many in memory.
    pub most_connections: usize,
    pub kept_alive: Duration,
    pub largest_crowd: usize,
}

impl Settings {
    pub fn full(rounds: usize) -> Self {
        Self {
            rounds,
            in_memory: Duration::from_millis(60),
            warm_up: Duration::from_millis(200),
            measured: Duration::from_millis(800),
            idle_connections: 10_000,
            idle_compressed: 1_000,
            broadcast_connections: 1_000,
            broadcasts: 50,
            most_connections: usize::MAX,
            kept_alive: Duration::from_secs(45),
            largest_crowd: 1_000_000,
        }
    }

    /// To see that everything runs; its figures are rough.
    pub fn quick() -> Self {
        Self {
            rounds: 1,
            in_memory: Duration::from_millis(5),
            warm_up: Duration::from_millis(20),
            measured: Duration::from_millis(80),
            idle_connections: 1_000,
            idle_compressed: 200,
            broadcast_connections: 1_000,
            broadcasts: 5,
            most_connections: 1_000,
            // Longer than one interval between pings.
            kept_alive: Duration::from_secs(23),
            largest_crowd: 10_000,
        }
    }
}
