//! The opening handshake.

use crate::proto::Utf8Bytes;

/// What the opening handshake agreed on: a subprotocol, and extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The subprotocol; `None` where none was chosen, which is no error.
    pub subprotocol: Option<Utf8Bytes>,
}

impl Negotiated {
    /// The subprotocol.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }
    /// The extensions.
    pub fn extensions(&self) -> &str {
        ""
    }
}
