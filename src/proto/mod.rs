//! The protocol core.
pub mod close;
pub mod config;
pub mod error;
pub mod mask;
pub mod message;
pub mod opcode;

pub use close::{CloseCode, CloseFrame};
pub use config::Config;
pub use error::{InvalidClose, ProtocolError, SendError};
pub use message::{Message, Outgoing, Utf8Bytes};
pub use opcode::Opcode;

/// Which end of the connection this is.
///
/// RFC 6455 section 5.1: a client masks, a server does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that asked for the connection.
    Client,
    /// The end that accepted it.
    Server,
}
