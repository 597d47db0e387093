//! How many clients there are, what they do, and for how long.

use std::time::Duration;

use crate::rows::Rows;

/// How many clients there are, what they do, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub honest: usize,
    pub hostile: usize,
    pub rows: Rows,
    /// The time between two messages of an honest client.
    pub every: Duration,
    /// The least time from the beginning of a hostile connection to that of the next.
    pub pace: Duration,
    /// The deadline of opening handshakes, messages and writes; and how long a hostile peer stays that
    /// the server has no reason to drop.
    pub deadline: Duration,
    /// How long clients run before they are measured. Hostile ones reach their deadlines meanwhile.
    pub warm_up: Duration,
    pub hostile_warm_up: Duration,
    /// How long the honest clients are measured alone, before and after.
    pub quiet: Duration,
    /// How long they are measured beside hostile ones, which continue until each row has ended once.
    pub abuse: Duration,
    /// The time between two samples.
    pub sample: Duration,
}

impl Settings {
    pub fn full(rows: Rows) -> Self {
        Self {
            honest: 5_000,
            hostile: 5_000,
            rows,
            every: Duration::from_secs(1),
            pace: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
            warm_up: Duration::from_secs(3),
            hostile_warm_up: Duration::from_secs(25),
            quiet: Duration::from_secs(30),
            abuse: Duration::from_secs(60),
            sample: Duration::from_secs(1),
        }
    }

    /// An hour of abuse.
    pub fn soak(rows: Rows) -> Self {
        Self { abuse: Duration::from_secs(3_600), sample: Duration::from_secs(5), ..Self::full(rows) }
    }

    /// For a check that everything works; the figures are rough.
    pub fn quick(rows: Rows) -> Self {
        Self {
            honest: 200,
            hostile: 200,
            rows,
            every: Duration::from_millis(200),
            pace: Duration::from_millis(500),
            deadline: Duration::from_secs(3),
            warm_up: Duration::from_millis(200),
            hostile_warm_up: Duration::from_secs(1),
            quiet: Duration::from_secs(1),
            abuse: Duration::from_secs(4),
            sample: Duration::from_millis(500),
        }
    }
}
