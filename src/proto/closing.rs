//! The state of the closing handshake.

use super::{receive::ReceivePath, role::Role, send::SendPath};

/// The state of the closing handshake, derived from both paths and not stored.
///
/// RFC 6455 section 7.1.
///
/// ```text
///           our Close queued
///   Open ──────────────────────▶ CloseSent
///    │                               │ Close received
///    │ Close received                ▼
///    └─────────────────────────▶ Complete
///            (answered)
/// ```
///
/// Without a Close from the peer, an error or the end of the transport leads to `Failed` from any
/// state.
///
/// ```
/// use fullduplex::{Config, Role};
/// use fullduplex::proto::{Closing, Buffers, MaskKey, ReceivePath, SendPath};
///
/// let (mut receive, mut buffers) = (ReceivePath::new(Role::Client, &Config::new()), Buffers::new());
/// let mut send = SendPath::new(Role::Client, &Config::new());
/// assert_eq!(Closing::of(&send, &receive), Closing::Open);
/// send.close(None, MaskKey::from([1, 2, 3, 4]), &mut buffers)?;
/// assert_eq!(Closing::of(&send, &receive), Closing::CloseSent);
/// receive.receive(&mut *b"\x88\x00".to_vec()).expect("a Close");
/// assert_eq!(Closing::of(&send, &receive), Closing::Complete);
/// # Ok::<(), fullduplex::proto::SendError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closing {
    /// Both ends may send messages.
    Open,
    /// Our Close is queued or sent; the Close of the peer has not been received. Messages may still
    /// arrive.
    CloseSent,
    /// The Close of the peer has been received; ours is not queued.
    CloseReceived,
    /// Our Close is queued or sent, and the Close of the peer has been received. What is left is
    /// the end of the transport.
    Complete,
    /// The peer violated the protocol, or the transport ended without a Close. Nothing more is
    /// received.
    Failed,
}

impl Closing {
    /// Returns the state of a connection with these two paths.
    pub fn of(send: &SendPath, receive: &ReceivePath) -> Self {
        match (send.is_close_sent(), receive.is_close_received()) {
            // RFC 6455 section 7.1.3: the closing handshake is started once a Close is sent or
            // received; section 5.5.1: after both, the transport is closed.
            (true, true) => Self::Complete,
            (false, true) => Self::CloseReceived,
            // RFC 6455 section 7.1.7: after an error nothing more of the peer is processed.
            (_, false) if receive.is_done() => Self::Failed,
            (true, false) => Self::CloseSent,
            (false, false) => Self::Open,
        }
    }

    /// Returns whether this end closes the transport first, once everything is written.
    ///
    /// A server does, so that the client does not have to wait (RFC 6455 section 7.1.1), and so
    /// does an end that fails the connection (section 7.1.7).
    pub fn shuts_down_first(self, role: Role) -> bool {
        match self {
            Self::Complete => role == Role::Server,
            Self::Failed => true,
            Self::Open | Self::CloseSent | Self::CloseReceived => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 sections 7.1.1 and 7.1.7.
    #[test]
    fn a_server_and_an_end_that_fails_the_connection_shut_down_first() {
        for (closing, server, client) in [
            (Closing::Open, false, false),
            (Closing::CloseSent, false, false),
            (Closing::CloseReceived, false, false),
            (Closing::Complete, true, false),
            (Closing::Failed, true, true),
        ] {
            let first = [Role::Server, Role::Client].map(|role| closing.shuts_down_first(role));
            assert_eq!(first, [server, client], "{closing:?}");
        }
    }
}
