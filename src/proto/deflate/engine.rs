//! What compresses a message.

use super::{
    compressor::{Compressor, End, Shape},
    short::ShortCompressor,
};

/// What compresses payload data.
pub(in crate::proto) enum Engine {
    /// A short message, by itself.
    Short(Box<ShortCompressor>, Shape),
    /// Any other message, or parts of one.
    Stream(Box<Compressor>),
}

impl Engine {
    /// Compresses the next data of a message, and appends the result to `out`.
    pub(super) fn compress(&mut self, data: &[u8], end: End, out: &mut Vec<u8>) {
        match self {
            Self::Short(short, shape) => {
                debug_assert_eq!(end, End::Message);
                short.compress(data, *shape, out);
            }
            Self::Stream(compressor) => compressor.compress(data, end, out),
        }
    }

    /// Returns whether it compresses a message in several steps.
    pub(super) fn can_divide(&self) -> bool {
        matches!(self, Self::Stream(_))
    }
}
