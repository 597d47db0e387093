//! The processor time of all processes, while messages arrive.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::machine::{cpu_time, idle_time};

/// The processes of a case.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    pub redis: u32,
    pub nodes: [u32; 2],
}

/// What the meter shows at a time.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at: Instant,
    messages: u64,
    used: Cores<Duration>,
}

/// What was measured between two readings.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Messages per second.
    pub rate: f64,
    /// Seconds of processor time per second.
    pub used: Cores<f64>,
}

/// Processor time, by process.
#[derive(Debug, Clone, Copy)]
pub struct Cores<T> {
    pub redis: T,
    pub node_a: T,
    pub node_b: T,
    pub load: T,
    /// What no process of the machine has used.
    pub idle: T,
}

impl<T: Copy> Cores<T> {
    /// Returns the times of the processes of the case, by name.
    pub fn named(&self) -> [(&'static str, T); 4] {
        [("Redis", self.redis), ("node A", self.node_a), ("node B", self.node_b), ("load", self.load)]
    }

    fn zip_with<U>(self, other: Self, f: impl Fn(T, T) -> U) -> Cores<U> {
        Cores {
            redis: f(self.redis, other.redis),
            node_a: f(self.node_a, other.node_a),
            node_b: f(self.node_b, other.node_b),
            load: f(self.load, other.load),
            idle: f(self.idle, other.idle),
        }
    }
}

impl Meter {
    /// Reads all times. `messages` is how many have arrived.
    pub fn read(&self, messages: u64) -> Result<Reading> {
        let used = Cores {
            redis: cpu_time(self.redis)?,
            node_a: cpu_time(self.nodes[0])?,
            node_b: cpu_time(self.nodes[1])?,
            load: cpu_time(std::process::id())?,
            idle: idle_time()?,
        };
        Ok(Reading { at: Instant::now(), messages, used })
    }
}

impl Reading {
    /// Returns what was measured since an earlier reading.
    pub fn since(&self, before: &Self) -> Sample {
        let seconds = (self.at - before.at).as_secs_f64();
        let share = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() / seconds;
        Sample {
            rate: (self.messages - before.messages) as f64 / seconds,
            used: self.used.zip_with(before.used, share),
        }
    }
}

impl Sample {
    /// Returns microseconds of processor time per message.
    pub fn micros(&self, used: f64) -> f64 {
        used / self.rate * 1e6
    }
}
