//! A stream that delays writes.

use fullduplex::Config;

use super::script::Script;

/// Returns a configuration without keep-alive, whose `max_write_buffer_size` is so small that
/// `feed` waits for an almost empty queue.
pub fn narrow() -> Config {
    Config::new().ping_interval(None).max_write_buffer_size(16)
}

/// How the stream delays writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Writes {
    /// Accepts one byte per poll.
    Drip,
    /// Accepts everything at once, but every other call is pending.
    Stutter,
    /// Accepts one byte per call, and every other call is pending.
    DripAndStutter,
    /// Does not support vectored writes: accepts one slice per call.
    NotVectored,
    /// Accepts everything at once, but a flush never completes.
    FlushBlocked,
    /// Accepts nothing.
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
    /// Makes the stream delay writes.
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

    /// Allows the next write. It is called before each poll.
    pub fn step(self, script: &Script) {
        if self == Self::Drip {
            script.allow_writes(1);
        }
    }

    /// Makes the stream accept everything.
    pub fn unblock(script: &Script) {
        script.allow_writes(None);
        script.write_at_most(usize::MAX);
        script.block_flush(false);
    }

    /// Returns whether writing or flushing never completes.
    pub fn is_blocked(self) -> bool {
        matches!(self, Self::FlushBlocked | Self::Blocked)
    }
}
