//! Which messages are compressed.

use bytes::Bytes;

use super::{
    super::batch::Batch,
    deflater::Deflater,
    queue::{CompressionQueue, Form},
    terms::Terms,
};
use crate::proto::{
    deflate::{Deflate, DeflateParams},
    header::Header,
    outgoing::Outgoing,
    payload::MaskKey,
    role::Role,
};

/// The compressing part of the send path.
///
/// Messages are queued uncompressed, in [`CompressionQueue`]. The [`Deflater`] compresses them in
/// order when they are staged, so that only messages that are sent are compressed, in the order in
/// which they are sent.
#[derive(Debug)]
pub(in crate::proto) struct Deflation {
    terms: Terms,
    /// Whether the message that is sent in parts is compressed.
    in_parts: bool,
    /// `None` while it is taken, or has no state to keep.
    deflater: Option<Box<Deflater>>,
}

impl Deflation {
    /// Creates it from what was negotiated.
    pub(in crate::proto) fn new(role: Role, settings: Deflate, params: DeflateParams) -> Self {
        Self { terms: Terms::new(role, settings, params), in_parts: false, deflater: None }
    }

    /// Queues a message, if it is to be compressed; returns whether it was queued.
    pub(in crate::proto) fn push_message(
        &self,
        outgoing: &mut Outgoing<'_>,
        mask: Option<MaskKey>,
        uncompressed: &mut CompressionQueue,
    ) -> bool {
        let wanted = self.terms.wants(outgoing);
        if wanted {
            uncompressed.push_message(outgoing, mask);
        }
        wanted
    }

    /// Begins a message that is sent in parts, compressed if that is possible, or not.
    pub(in crate::proto) fn begin_parts(&mut self, compressed: bool) {
        self.in_parts = compressed && self.terms.wants_parts();
    }

    /// Returns whether the message that is sent in parts is compressed.
    pub(in crate::proto) fn is_in_parts(&self) -> bool {
        self.in_parts
    }

    /// Queues a part of a message that is sent in parts and compressed.
    pub(in crate::proto) fn push_part(
        &self,
        header: Header,
        part: Bytes,
        uncompressed: &mut CompressionQueue,
    ) {
        uncompressed.push(Form::Part, header, part);
    }

    /// Takes the compressor, loaded with the next message; `None` if there is none, or the batch
    /// has no room for it.
    pub(in crate::proto) fn take_deflater(
        &mut self,
        uncompressed: &mut CompressionQueue,
        batch: &Batch,
    ) -> Option<Box<Deflater>> {
        if uncompressed.len() == 0 {
            return None;
        }
        let mut deflater = self.deflater.take().unwrap_or_else(|| Box::new(Deflater::new(self.terms)));
        if deflater.load(|| uncompressed.next()).is_some_and(|len| batch.has_room(len)) {
            return Some(deflater);
        }
        self.return_deflater(deflater);
        None
    }

    /// Returns the compressor.
    pub(in crate::proto) fn return_deflater(&mut self, deflater: Box<Deflater>) {
        self.deflater = (!deflater.is_idle()).then_some(deflater);
    }

    /// Drops the window: nothing more will be sent.
    pub(in crate::proto) fn forget(&mut self) {
        self.deflater = None;
    }
}
