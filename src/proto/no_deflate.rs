//! In place of `deflate/`, where the feature is off: types that no value has, so that what is there for them comes to nothing.

use bytes::Bytes;

use super::{
    error::ProtocolError,
    mask::{MaskKey, Payload},
    message::Outgoing,
    receive::Part,
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

#[derive(Debug, Clone, Copy)]
pub(super) enum How {}

impl How {
    pub(super) fn outgoing_alone(&self, _: Outgoing, _: &mut Pool) -> Outgoing {
        match *self {}
    }
}

impl Deflation {
    pub(super) fn outgoing(&mut self, _: Outgoing, _: &mut Pool) -> Outgoing {
        match *self {}
    }

    pub(super) fn begin_parts(&mut self, _: bool) {
        match *self {}
    }

    pub(super) fn part(&mut self, _: &[u8], _: bool, _: &mut Pool) -> Option<Bytes> {
        match *self {}
    }

    pub(super) fn abandon(&mut self, _: &mut Pool) {
        match *self {}
    }

    pub(super) fn forget(&mut self) {
        match *self {}
    }

    pub(super) fn alone(&self) -> Option<How> {
        match *self {}
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool;
