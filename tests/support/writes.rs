//! A stream that delays writes.

use fullduplex::Config;

use super::script::Script;

/// No keep-alive; `max_write_buffer_size` is so small that `feed` waits for an almost empty queue.
pub fn narrow() -> Config {
    Config::new().ping_interval(None).max_write_buffer_size(16)
}

/// How the stream delays writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Writes {
    /// Takes one byte per poll.
    Drip,
    /// Takes everything at once, but every other call is pending.
    Stutter,
    /// Takes one byte per call, and every other call is pending.
    DripAndStutter,
    /// Takes one slice per call.
    NotVectored,
    /// Takes everything at once, but a flush never completes.
    FlushBlocked,
    /// Takes nothing.
    Blocked,
}

pub const WRITES: [Writes; 6] = [
    Writes::Drip,
    Writes::Stutter,
    Writes::DripAndStutter,
    Writes::NotVectored,
    Writes::FlushBlocked,
    Writes::Blocked,
];

impl Writes {
    pub fn set_up(self, script: &Script) {
        match self {
            Self::Drip | Self::Blocked => script.allow_writes(0),
            Self::Stutter => script.stutter(),
            Self::DripAndStutter => {
                script.write_at_most(1);
                script.stutter();
            }
            Self::NotVectored => script.no_vectored_writes(),
            Self::FlushBlocked => script.block_flush(true),
        }
    }

    /// Is called before each poll.
    pub fn step(self, script: &Script) {
        if self == Self::Drip {
            script.allow_writes(1);
        }
    }

    pub fn unblock(script: &Script) {
        script.allow_writes(None);
        script.block_flush(false);
    }

    /// Returns whether waiting for the stream never ends.
    pub fn is_blocked(self) -> bool {
        matches!(self, Self::FlushBlocked | Self::Blocked)
    }
}
