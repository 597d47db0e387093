//! Payload data: masked, unmasked, validated as text, and whole as a message.
//!
//! This is the only module of the crate with `unsafe` in it, for four purposes: calls of the
//! masking functions compiled for instruction sets that are detected at run time ([`Backend`]),
//! copies written straight into uninitialized memory ([`MaskKey`]), the use of validated bytes as a
//! `str` ([`Utf8Bytes`]), and a buffer that is read into before it is initialized ([`PayloadMut`]).

mod buffer;
mod mask;
mod message;
mod text;

pub use buffer::PayloadMut;
pub(super) use buffer::{Payload, SizeHint, whole_message};
pub(super) use mask::append_start;
pub use mask::{Backend, MaskKey};
pub(crate) use message::debug_payload;
pub use message::{Message, MessageKind};
pub use text::Utf8Bytes;
