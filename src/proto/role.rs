//! The two ends of a connection.

/// The two ends of a connection.
///
/// RFC 6455 section 5.1: a client masks its frames, a server does not.
///
/// ```
/// use fullduplex::{Config, Role, proto::ReceivePath};
///
/// let path = ReceivePath::new(Role::Server, &Config::new());
/// # drop(path);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that requested the connection.
    Client,
    /// The end that accepted it.
    Server,
}

impl Role {
    /// Returns whether this end masks the frames that it sends.
    // RFC 6455 section 5.1: a client masks every frame, a server masks none.
    #[inline(always)]
    pub(super) const fn masks(self) -> bool {
        matches!(self, Self::Client)
    }

    /// Returns the other end.
    #[inline(always)]
    pub(super) const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
