//! What has happened to a connection, and which ends fit that.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use fullduplex::{CloseCode, Error, Timeout};

/// Something that happened on the way between two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Fact {
    /// Both directions were ended.
    Ended = 1,
    /// The connection was reset; what was under way is lost.
    Reset = 1 << 1,
    /// Nothing passes any more, and no end is told.
    Silent = 1 << 2,
    /// Nothing passed for some seconds.
    Stalled = 1 << 3,
    /// The server has closed its connections, to stop.
    Stopped = 1 << 4,
    /// The process of the server was killed.
    Killed = 1 << 5,
    /// The machine of the server has failed.
    Crashed = 1 << 6,
    /// Nothing listened at the address.
    NoServer = 1 << 7,
    /// The address did not answer.
    Unreachable = 1 << 8,
    /// A proxy refused the tunnel, for a time.
    Refused = 1 << 9,
    /// A proxy refused the tunnel for good.
    Forbidden = 1 << 10,
    /// The client has dropped the connection without a Close.
    Dropped = 1 << 11,
    /// The client did not read for some seconds.
    Paused = 1 << 12,
    /// The server closes connections whose write buffer is full.
    Slow = 1 << 13,
}

use Fact::{
    Crashed, Dropped, Ended, Forbidden, Killed, NoServer, Paused, Refused, Reset, Silent, Slow, Stalled,
    Stopped, Unreachable,
};

/// Facts after which an end may lose its peer: the fact itself, or the other end has given up.
const LOSES: &[Fact] = &[
    Ended,
    Reset,
    Silent,
    Stalled,
    Stopped,
    Killed,
    Crashed,
    Refused,
    Forbidden,
    Unreachable,
    NoServer,
    Dropped,
    Paused,
];

/// Facts that an end notices only by a deadline.
const DELAYS: &[Fact] = &[Silent, Stalled, Crashed, Unreachable, Paused];

/// The way between a client and a server, which a proxy may be on.
///
/// Clones are the same way.
#[derive(Debug, Clone, Default)]
pub struct Way {
    own: Arc<AtomicU32>,
    /// What has happened to the transport, if this is one of its streams.
    transport: Arc<AtomicU32>,
}

impl Way {
    /// Returns the way of a stream on the transport that takes this one.
    pub fn stream(&self) -> Self {
        Self { own: Arc::default(), transport: self.own.clone() }
    }

    pub fn add(&self, fact: Fact) {
        self.own.fetch_or(fact as u32, Relaxed);
    }

    pub fn has(&self, facts: &[Fact]) -> bool {
        facts.iter().any(|&fact| self.all() & fact as u32 != 0)
    }

    /// Returns whether something has happened that an end notices only by a deadline.
    pub fn is_delayed(&self) -> bool {
        self.has(DELAYS)
    }

    /// Returns whether nothing has happened that could end a connection.
    pub fn is_clean(&self) -> bool {
        self.all() == 0
    }

    fn all(&self) -> u32 {
        self.own.load(Relaxed) | self.transport.load(Relaxed)
    }

    /// Asserts that a connection, or an attempt to open one, may end with this error.
    #[track_caller]
    pub fn assert_fits(&self, error: &Error, whose: &str) {
        assert!(self.fits(error), "{whose} fails with {error:#} ({error:?}) after {self}");
    }

    fn fits(&self, error: &Error) -> bool {
        match error {
            Error::Timeout(Timeout::Shutdown) => self.has(&[Stopped]),
            Error::Timeout(_) => self.has(DELAYS),
            // A crashed server, as its proxy notices it.
            Error::Proxy(_) if error.proxy_response().is_some_and(|response| response.status() == 504) => {
                self.has(&[Unreachable])
            }
            Error::Proxy(_) if error.is_disconnect() => self.has(LOSES),
            Error::Proxy(_) => self.has(&[Refused, Forbidden, NoServer, Unreachable]),
            Error::Transport(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                self.has(&[NoServer])
            }
            Error::Transport(_) | Error::Protocol(_) => error.is_disconnect() && self.has(LOSES),
            Error::Closed => self.has(LOSES) || self.has(&[Slow]),
            _ => false,
        }
    }

    /// Asserts that the server may close with this code.
    #[track_caller]
    pub fn assert_closes(&self, code: CloseCode) {
        let fits = match code {
            CloseCode::GOING_AWAY | CloseCode::SERVICE_RESTART => self.has(&[Stopped]),
            CloseCode::TRY_AGAIN_LATER => self.has(&[Slow]),
            // The server fails the connection: of what it has not received, for example.
            CloseCode::INTERNAL_ERROR => self.has(DELAYS),
            _ => false,
        };
        assert!(fits, "the server closes with {code} after {self}");
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            Ended,
            Reset,
            Silent,
            Stalled,
            Stopped,
            Killed,
            Crashed,
            NoServer,
            Unreachable,
            Refused,
            Forbidden,
            Dropped,
            Paused,
            Slow,
        ];
        f.debug_list().entries(all.iter().filter(|fact| self.has(&[**fact]))).finish()
    }
}
