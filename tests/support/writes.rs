//! A stream that keeps those waiting who write.

use fullduplex::Config;

use super::script::Script;

/// No keep-alive; `feed` has to wait for a queue that is as good as empty.
pub fn narrow() -> Config {
    Config::new().ping_interval(None).max_write_buffer_size(16)
}

/// How the stream keeps those waiting who write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Writes {
    /// One byte for each poll.
    Drip,
    /// All at once, but every other call is pending first.
    Stutter,
    /// One byte for each call, and every other call is pending.
    DripAndStutter,
    /// All at once, one slice for each call.
    NotVectored,
    /// All at once; what was written is never flushed.
    FlushBlocked,
    /// Nothing.
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

    /// Before each poll.
    pub fn step(self, script: &Script) {
        if self == Self::Drip {
            script.allow_writes(1);
        }
    }

    pub fn unblock(script: &Script) {
        script.allow_writes(None);
        script.block_flush(false);
    }

    /// Whether what waits for it waits for ever.
    pub fn is_blocked(self) -> bool {
        matches!(self, Self::FlushBlocked | Self::Blocked)
    }
}
