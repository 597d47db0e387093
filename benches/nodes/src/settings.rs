//! What is measured, and for how long.

use std::{fmt, time::Duration};

/// What is measured, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The number of connections that send. Each has one message in flight at the highest rate.
    pub senders: usize,
    /// The number of rooms, where there are many.
    pub rooms: usize,
    /// How long the load runs before the highest rate is measured.
    pub warm_up: Duration,
    /// The highest rate is the median of this many windows.
    pub windows: usize,
    pub window: Duration,
    /// How long latency is measured at each rate.
    pub paced: Duration,
    /// The modest rate, in messages per second.
    pub modest: f64,
}

impl Settings {
    pub fn full() -> Self {
        Self {
            senders: 128,
            rooms: 1_000,
            warm_up: Duration::from_secs(1),
            windows: 3,
            window: Duration::from_secs(2),
            paced: Duration::from_secs(5),
            modest: 1_000.0,
        }
    }

    /// For a check that everything runs; the figures are rough.
    pub fn quick() -> Self {
        Self {
            senders: 8,
            rooms: 20,
            warm_up: Duration::from_millis(50),
            windows: 1,
            window: Duration::from_millis(200),
            paced: Duration::from_millis(200),
            modest: 200.0,
        }
    }

    /// Returns all cases, in the order of the tables.
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for durability in [Durability::None, Durability::Always] {
            for rooms in [1, self.rooms] {
                for place in [Place::Other, Place::Same, Place::Both] {
                    cases.push(Case { durability, rooms, place });
                }
            }
        }
        cases
    }
}

/// One case: a server, two nodes, and a member of each room on one of them, or on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub durability: Durability,
    pub rooms: usize,
    pub place: Place,
}

/// What the server keeps on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing.
    None,
    /// Everything, before it is acknowledged.
    Always,
}

/// The node of the members, as the senders on node A see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Other,
    Same,
    /// Each room has a member on either node.
    Both,
}

impl Case {
    /// Returns the number of members of each room.
    pub fn copies(self) -> u64 {
        self.place.nodes().len() as u64
    }

    pub fn rooms_text(self) -> String {
        match self.rooms {
            1 => "1 room".to_owned(),
            rooms => format!("{} rooms", crate::report::whole(rooms as u64)),
        }
    }
}

impl Durability {
    /// Returns the options of the server, as they are written in its configuration.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Self::None => &["appendonly no"],
            Self::Always => &["appendonly yes", "appendfsync always"],
        }
    }
}

impl Place {
    /// Returns the numbers of the nodes that have members; senders are on node 0.
    pub fn nodes(self) -> &'static [usize] {
        match self {
            Self::Other => &[1],
            Self::Same => &[0],
            Self::Both => &[0, 1],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "other node",
            Self::Same => "same node",
            Self::Both => "both nodes",
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.durability.options().join(", "), self.rooms_text(), self.place)
    }
}
