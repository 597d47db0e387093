//! Frames that are written together.

use bytes::Bytes;

use crate::proto::header::EncodedHeader;

/// The most bytes of small frames in one segment.
pub(in crate::proto) const RUN: usize = 64 << 10;

/// Whole frames: small ones, copied one behind the other, and perhaps a last one whose payload data goes out from where
/// it is.
pub(in crate::proto) struct Segment {
    pub(in crate::proto) copied: Vec<u8>,
    pub(in crate::proto) header: EncodedHeader,
    pub(in crate::proto) uncopied: Bytes,
}

impl Segment {
    pub(in crate::proto) fn len(&self) -> usize {
        self.copied.len() + self.header.len() + self.uncopied.len()
    }

    /// All of it, in order.
    pub(in crate::proto) fn runs(&self) -> [&[u8]; 3] {
        [&self.copied, &self.header, &self.uncopied]
    }
}
