//! Uninhabited stand-ins for `compression/` without the feature `deflate`.

use bytes::Bytes;

use super::batch::Batch;
use crate::proto::{deflate::Codecs, header::Header, outgoing::Outgoing, payload::MaskKey};

#[derive(Debug)]
pub(in crate::proto) enum Deflation {}

impl Deflation {
    pub(in crate::proto) fn push_message(
        &self,
        _: &mut Outgoing<'_>,
        _: Option<MaskKey>,
        _: &mut CompressionQueue,
    ) -> bool {
        match *self {}
    }

    pub(in crate::proto) fn begin_parts(&mut self, _: bool) {
        match *self {}
    }

    pub(in crate::proto) fn is_in_parts(&self) -> bool {
        match *self {}
    }

    pub(in crate::proto) fn push_part(&self, _: Header, _: Bytes, _: &mut CompressionQueue) {
        match *self {}
    }

    pub(in crate::proto) fn take_deflater(
        &mut self,
        _: &mut CompressionQueue,
        _: &Batch,
    ) -> Option<Box<Deflater>> {
        match *self {}
    }

    pub(in crate::proto) fn return_deflater(&mut self, _: Box<Deflater>) {
        match *self {}
    }

    pub(in crate::proto) fn forget(&mut self) {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Deflater {}

impl Deflater {
    pub(crate) fn compress(&mut self, _: &mut Batch, _: &mut usize, _: &mut Codecs) -> usize {
        match *self {}
    }
}

/// Always empty.
#[derive(Default)]
pub(in crate::proto) struct CompressionQueue;

impl CompressionQueue {
    pub(in crate::proto) fn push_behind(&mut self, _: Header, payload: Bytes) -> Option<Bytes> {
        Some(payload)
    }

    pub(in crate::proto) fn push_plain(&mut self, _: &mut Outgoing<'_>, _: Option<MaskKey>) {}

    pub(in crate::proto) fn staged(&mut self, _: usize) {}

    pub(in crate::proto) fn clear(&mut self) {}

    pub(in crate::proto) fn drop_buffers(&mut self) {}

    pub(in crate::proto) fn len(&self) -> usize {
        0
    }
}
