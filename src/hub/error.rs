//! Why a call of a hub failed.

use super::backplane::BackplaneError;

/// Why a call of a hub failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The backplane cannot be reached, and too many calls wait for it already.
    #[error("the backplane cannot be reached, and no more calls may wait for it")]
    Away,
    /// The backplane failed.
    #[error(transparent)]
    Backplane(BackplaneError),
    /// The connection of the member has ended. The [`Receiver`](crate::Receiver) returns why.
    #[error("the connection of the member has ended")]
    Gone,
    /// Another call has let the member leave the room meanwhile.
    #[error("the member has left the room meanwhile")]
    Left,
}

impl From<BackplaneError> for HubError {
    fn from(error: BackplaneError) -> Self {
        match error {
            BackplaneError::Away => Self::Away,
            error => Self::Backplane(error),
        }
    }
}
