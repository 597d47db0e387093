//! The errors of sending, and why a socket leaves.

use fullduplex::hub::HubError;

use super::data::InvalidData;
use crate::engine::Ending;

/// Why an event was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is not in its namespace: it is not accepted yet, or has left.
    #[error("the socket is not connected")]
    Disconnected,
    /// The arguments cannot be serialized.
    #[error(transparent)]
    Serialize(#[from] serde_json::Error),
    /// An event with attachments is larger than the write buffer
    /// ([`max_write_buffer_size`](crate::engine::Settings::max_write_buffer_size)).
    #[error("the event and its attachments do not fit into the write buffer")]
    TooLarge,
    /// The backplane, which connects several nodes and stores what is recovered, failed or cannot be
    /// reached.
    #[error(transparent)]
    Hub(HubError),
}

impl From<HubError> for EmitError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Gone | HubError::Left => Self::Disconnected,
            error => Self::Hub(error),
        }
    }
}

/// Why what other nodes know is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// So many nodes have not answered in time.
    #[error("{missing} other nodes have not answered in time")]
    Timeout {
        /// The number of these nodes.
        missing: usize,
    },
    /// The question was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// Why an acknowledgement has not arrived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The client has not answered in time.
    #[error("no acknowledgement in time")]
    Timeout,
    /// The socket has left its namespace. Whether the client has handled the event is unknown.
    #[error("the socket has left")]
    Disconnected,
    /// The socket waits for [too many](crate::Limits::max_acks) acknowledgements. The event was not sent.
    #[error("too many acknowledgements are waited for")]
    TooMany,
    /// The answer has another type.
    #[error(transparent)]
    Data(#[from] InvalidData),
}

/// Why a socket has left its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnect {
    /// The client has left the namespace.
    ByClient,
    /// The server has disconnected the socket.
    ByServer,
    /// The server stops.
    ServerStops,
    /// The connection was closed.
    Closed,
    /// The client has not answered a ping in time.
    PingTimeout,
    /// The connection was lost.
    Lost,
    /// The client has violated the protocol.
    InvalidPacket,
}

impl Disconnect {
    /// Returns whether the client may come back and be recovered: neither end has ended the socket itself.
    pub(crate) fn is_loss(self) -> bool {
        match self {
            Self::ServerStops | Self::Closed | Self::PingTimeout | Self::Lost => true,
            Self::ByClient | Self::ByServer | Self::InvalidPacket => false,
        }
    }
}

impl From<&Ending> for Disconnect {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Closed => Self::Closed,
            Ending::Stopped => Self::ServerStops,
            Ending::ClosedHere => Self::ByServer,
            Ending::PingTimeout => Self::PingTimeout,
            Ending::InvalidPacket => Self::InvalidPacket,
            Ending::Transport(_) => Self::Lost,
        }
    }
}
