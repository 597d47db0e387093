//! Uninhabited stand-ins for `deflate/` without the feature.

use super::{
    error::ProtocolError,
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
        _: &mut Codecs,
    ) -> Result<bool, ProtocolError> {
        match *self {}
    }

    pub(super) fn inflate_part<'a>(
        &mut self,
        _: &mut Compressed,
        _: &mut Payload,
        _: &'a mut Codecs,
    ) -> Result<Option<Part<'a>>, ProtocolError> {
        match *self {}
    }

    pub(super) fn forget(&mut self) {
        match *self {}
    }
}

/// Returns `len`: nothing is compressed.
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

    pub(super) fn is_ready(&self, _: usize, _: bool) -> bool {
        match *self {}
    }
}

#[derive(Debug, Default)]
pub(crate) struct Codecs;
