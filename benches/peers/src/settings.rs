//! The duration and the number of measurements.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub rounds: usize,
    /// The approximate duration of one sample in memory.
    pub in_memory: Duration,
    /// How long the load runs before and during a measurement.
    pub warm_up: Duration,
    pub measured: Duration,
    /// The number of connections in the memory section.
    pub idle_connections: usize,
    /// The number of idle connections with compression.
    pub idle_compressed: usize,
    /// The number of connections of a broadcast, and the number of broadcasts in a sample.
    pub broadcast_connections: usize,
    pub broadcasts: usize,
    /// For the fan-out section: the numbers of members, and how many messages they receive in a
    /// sample, all together.
    pub members: [usize; 2],
    pub fanned_out: usize,
    /// For the storms section: the number of connections beside broadcasts, for how many seconds they
    /// are measured, and the number of connections that come back.
    pub beside_broadcasts: usize,
    pub storm_seconds: u32,
    pub returning: usize,
    /// For the scale section: the maximum number of connections, how long they are kept alive, and
    /// the maximum number of connections in memory.
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
            members: [5_000, 18_000],
            fanned_out: 1_000_000,
            beside_broadcasts: 5_000,
            storm_seconds: 8,
            returning: 18_000,
            most_connections: usize::MAX,
            kept_alive: Duration::from_secs(45),
            largest_crowd: 1_000_000,
        }
    }

    /// Returns settings which only show that everything runs; the figures are rough.
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
            members: [1_000, 2_000],
            fanned_out: 20_000,
            beside_broadcasts: 1_000,
            storm_seconds: 2,
            returning: 2_000,
            most_connections: 1_000,
            // Longer than one interval between pings.
            kept_alive: Duration::from_secs(23),
            largest_crowd: 10_000,
        }
    }
}
