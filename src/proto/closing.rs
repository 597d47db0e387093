//! Where the closing handshake stands.

use super::{receive::ReceivePath, role::Role, send::SendPath};

/// Where the closing handshake stands: derived from what was sent and received, and stored nowhere.
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
/// Without a Close from the peer, an error or the end of the transport leads to `Failed` from anywhere.
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
    /// Messages flow in both directions.
    Open,
    /// Our Close is queued or sent, the peer's has not come: messages may still come.
    CloseSent,
    /// The peer's Close has come, and ours is not queued.
    CloseReceived,
    /// Both Closes are on their way or there: what is left is the end of the transport.
    Complete,
    /// The peer broke the protocol, or the transport ended without a Close: nothing more will be received.
    Failed,
}

impl Closing {
    /// Where the connection with these two paths stands.
    pub fn of(send: &SendPath, receive: &ReceivePath) -> Self {
        match (send.is_close_sent(), receive.is_close_received()) {
            (true, true) => Self::Complete,
            (false, true) => Self::CloseReceived,
            (_, false) if receive.is_done() => Self::Failed,
            (true, false) => Self::CloseSent,
            (false, false) => Self::Open,
        }
    }

    /// Whether this end is the first to end the transport, now that all it has to say is out: a server is, so that the
    /// client's side need not wait (RFC 6455 section 7.1.1); and who fails the connection is (section 7.1.7).
    pub fn shuts_down_first(self, role: Role) -> bool {
        match self {
            Self::Complete => role == Role::Server,
            Self::Failed => true,
            Self::Open | Self::CloseSent | Self::CloseReceived => false,
        }
    }
}
