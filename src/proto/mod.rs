//! The protocol core: RFC 6455 as a state machine.
//!
//! It has no I/O, no clock, no source of randomness and no global state. Each connection has a
//! [`ReceivePath`] and a [`SendPath`], which are independent of each other. Their driver passes
//! what was [`Received`] to [`SendPath::answer`], and an error to [`SendPath::fail`].
//! [`WebSocket`](crate::WebSocket) is a driver on tokio; the example `blocking_echo` is one with
//! blocking sockets.
//!
//! ```
//! use bytes::Buf;
//! use fullduplex::{Config, Message, Role};
//! use fullduplex::proto::{Batch, Buffers, MaskKey, ReceivePath, Received, SendPath};
//!
//! let (config, mut buffers, mut batch) = (Config::new(), Buffers::new(), Batch::new());
//!
//! // A client sends a message.
//! let mut client = SendPath::new(Role::Client, &config);
//! client.send("Hello".into(), MaskKey::from([0x37, 0xFA, 0x21, 0x3D]), &mut buffers)?;
//! client.stage(&mut batch, &mut buffers);
//! let mut wire = batch.chunk().to_vec();
//! assert_eq!(wire, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
//!
//! // A server receives it.
//! let mut server = ReceivePath::new(Role::Server, &config);
//! let step = server.receive(&mut wire)?;
//! assert_eq!((step.consumed, step.received), (11, Some(Received::Message(Message::from("Hello")))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod assembler;
mod buffers;
mod close;
mod close_code;
mod closing;
mod config;
mod decoder;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
mod encoded;
mod error;
mod header;
#[cfg(feature = "serde")]
mod json;
mod opcode;
mod outbox;
mod outgoing;
mod payload;
mod prepared;
mod receive;
mod received;
mod role;
mod send;
mod sequence;
mod utf8;

pub use buffers::Buffers;
pub use close::CloseFrame;
#[cfg(feature = "calls")]
pub(crate) use close::Escaped;
pub use close_code::{CloseCode, MAX_CLOSE_REASON};
pub use closing::Closing;
pub use config::Config;
#[cfg(feature = "deflate")]
pub use deflate::{Deflate, DeflateParams};
pub use error::{InvalidClose, ProtocolError, SendError};
pub use header::{EncodedHeader, Header, MAX_HEADER};
#[cfg(feature = "serde")]
pub use json::{JsonError, JsonErrorKind};
pub use opcode::{MAX_CONTROL_PAYLOAD, Opcode};
pub use outbox::Batch;
#[allow(unused_imports, reason = "used by the upper floor, which is optional")]
pub(crate) use outbox::DirectHead;
pub use outgoing::Outgoing;
#[allow(unused_imports, reason = "used by the upper floor, which is optional")]
pub(crate) use payload::debug_payload;
pub use payload::{Backend, MaskKey, Message, MessageKind, PayloadMut, Utf8Bytes};
pub use prepared::PreparedMessage;
pub use receive::{ReceivePath, Want};
pub use received::{Part, Received, Step};
pub use role::Role;
pub use send::SendPath;
pub use sequence::Sequence;
pub use utf8::{InvalidUtf8, Utf8Validator};

#[cfg(feature = "deflate")]
pub(crate) use deflate::{
    CLIENT_MAX_WINDOW_BITS, CLIENT_NO_CONTEXT_TAKEOVER, MAX_WINDOW_BITS, NAME as DEFLATE,
    SERVER_MAX_WINDOW_BITS, SERVER_NO_CONTEXT_TAKEOVER,
};
