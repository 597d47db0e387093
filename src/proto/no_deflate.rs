//! In place of `deflate/`, where the feature is off: types that no value has, so that what is there for them comes to nothing.

use bytes::Bytes;

use super::{
    batch::Batch,
    error::ProtocolError,
    header::Header,
    lent::Lent,
    outgoing::Outgoing,
    payload::{MaskKey, Payload},
    received::Part,
};

#[derive(Debug)]
pub(super) enum Inflation {}

impl Inflation {
    pub(super) fn begin(&self) -> Compressed {
        match *self {}
    }

    pub(super) fn inflate(
        &mut self,
        _: &mut Compressed,
        _: &mut Payload,
        _: usize,
        _: &mut Pool,
    ) -> Result<bool, ProtocolError> {
        match *self {}
    }

    pub(super) fn inflate_part<'a>(
        &mut self,
        _: &mut Compressed,
        _: &mut Payload,
        _: &'a mut Pool,
    ) -> Result<Option<Part<'a>>, ProtocolError> {
        match *self {}
    }

    pub(super) fn forget(&mut self) {
        match *self {}
    }
}

/// Of no message, as it is.
pub(super) fn most_compressed(len: usize) -> usize {
    len
}

#[derive(Debug)]
pub(super) enum Compressed {}

impl Compressed {
    pub(super) fn gather(&mut self, _: &[u8], _: Option<MaskKey>) {
        match *self {}
    }

    pub(super) fn end(&mut self) {
        match *self {}
    }

    pub(super) fn is_ended(&self) -> bool {
        match *self {}
    }

    pub(super) fn gatherable(&self, _: usize, _: bool) -> usize {
        match *self {}
    }

    pub(super) fn is_waiting(&self, _: usize, _: bool) -> bool {
        match *self {}
    }
}

#[derive(Debug)]
pub(super) enum Deflation {}

impl Deflation {
    pub(super) fn push_message(&self, _: &mut Outgoing<'_>, _: Option<MaskKey>, _: &mut Waiting) -> bool {
        match *self {}
    }

    pub(super) fn begin_parts(&mut self, _: bool) {
        match *self {}
    }

    pub(super) fn is_in_parts(&self) -> bool {
        match *self {}
    }

    pub(super) fn push_part(&self, _: Header, _: Bytes, _: &mut Waiting) {
        match *self {}
    }

    pub(super) fn begin_stage(&mut self, _: &mut Waiting, _: &Batch) -> Option<Box<Deflater>> {
        match *self {}
    }

    pub(super) fn end_stage(&mut self, _: Box<Deflater>) {
        match *self {}
    }

    pub(super) fn forget(&mut self) {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Deflater {}

impl Deflater {
    pub(crate) fn compress(&mut self, _: &mut Batch, _: &mut usize, _: &mut Lent) -> usize {
        match *self {}
    }
}

/// Nothing waits.
#[derive(Default)]
pub(super) struct Waiting;

impl Waiting {
    pub(super) fn push_behind(&mut self, _: Header, payload: Bytes) -> Option<Bytes> {
        Some(payload)
    }

    pub(super) fn push_plain(&mut self, _: &mut Outgoing<'_>, _: Option<MaskKey>) {}

    pub(super) fn staged(&mut self, _: usize) {}

    pub(super) fn clear(&mut self) {}

    pub(super) fn drop_buffers(&mut self) {}

    pub(super) fn len(&self) -> usize {
        0
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool;
