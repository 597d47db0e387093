//! Payload data, unmasked.
mod utf8_bytes;
pub use utf8_bytes::Utf8Bytes;
