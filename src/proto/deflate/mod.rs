//! permessage-deflate (RFC 7692): per-message compression.
//!
//! The payload data of a compressed message is a sequence of DEFLATE blocks (RFC 1951) that ends
//! inside an empty stored block: the sender removes its last four bytes, and the receiver appends
//! them again (RFC 7692 section 7.2).

mod codecs;
mod compressor;
mod decompressor;
mod encodings;
mod engine;
mod inflation;
mod params;
mod settings;
mod short;
mod work;

pub(crate) use codecs::Codecs;
pub(super) use codecs::KEPT_BUFFER;
pub(super) use compressor::{Compressor, End, Shape};
#[cfg(test)]
pub(super) use decompressor::Decompressor;
pub(super) use encodings::Encodings;
pub(super) use engine::Engine;
pub(super) use inflation::{Compressed, Inflation, most_compressed};
pub use params::DeflateParams;
pub(crate) use params::{
    CLIENT_MAX_WINDOW_BITS, CLIENT_NO_CONTEXT_TAKEOVER, MAX_WINDOW_BITS, NAME, SERVER_MAX_WINDOW_BITS,
    SERVER_NO_CONTEXT_TAKEOVER,
};
pub use settings::Deflate;
pub(super) use short::LONGEST as LONGEST_SHORT;
pub(super) use work::{LEAST_STRIDE, Work};

/// The beginning of an empty stored block, without the tail: an empty message, or the empty last
/// part of one.
///
/// RFC 7692 section 7.2.3.6.
const EMPTY: u8 = 0x00;

/// The end of an empty stored block, which is not sent: its length, 0, and the complement of that.
///
/// RFC 7692 section 7.2.1.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
