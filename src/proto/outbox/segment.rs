//! Frames that are written together.

use bytes::Bytes;

use crate::proto::header::EncodedHeader;

/// The most bytes of short frames in one segment.
pub(in crate::proto) const RUN: usize = 64 << 10;

/// Whole frames: short ones, copied one after the other, and possibly a last one whose payload data
/// is not copied.
pub(in crate::proto) struct Segment {
    pub(in crate::proto) copied: Vec<u8>,
    pub(in crate::proto) header: EncodedHeader,
    pub(in crate::proto) uncopied: Bytes,
}

impl Segment {
    pub(in crate::proto) fn len(&self) -> usize {
        self.copied.len() + self.header.len() + self.uncopied.len()
    }

    /// Returns all bytes, in order.
    pub(in crate::proto) fn runs(&self) -> [&[u8]; 3] {
        [&self.copied, &self.header, &self.uncopied]
    }
}
