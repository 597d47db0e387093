//! What is compressed of what is sent.

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

/// What this end compresses, and what compresses it.
///
/// Messages are queued uncompressed, in [`CompressionQueue`]. When they are staged, the [`Deflater`] takes one after the other from
/// there. So nothing is compressed that is not sent, and in the order in which it is sent.
#[derive(Debug)]
pub(in crate::proto) struct Deflation {
    terms: Terms,
    /// Whether the message that is sent in parts is compressed.
    in_parts: bool,
    /// There while it has something to remember, and not handed out.
    deflater: Option<Box<Deflater>>,
}

impl Deflation {
    /// How this end compresses, as was agreed on; `None`: not at all.
    pub(in crate::proto) fn new(role: Role, settings: Deflate, params: DeflateParams) -> Option<Self> {
        Terms::new(role, settings, params).map(|terms| Self { terms, in_parts: false, deflater: None })
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

    /// Begins a message that is sent in parts, compressed or not.
    pub(in crate::proto) fn begin_parts(&mut self, compressed: bool) {
        self.in_parts = compressed;
    }

    /// Whether the message that is sent in parts is compressed.
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

    /// Hands out what compresses, with what it has to compress next; `None` if that is nothing, or the batch has no room for it.
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

    /// Takes back what was handed out.
    pub(in crate::proto) fn return_deflater(&mut self, deflater: Box<Deflater>) {
        self.deflater = (!deflater.is_idle()).then_some(deflater);
    }

    /// Forgets what was said: nothing more will be sent.
    pub(in crate::proto) fn forget(&mut self) {
        self.deflater = None;
    }
}
