//! Control frames that are received in more than one part.

use std::fmt;

use crate::proto::{opcode::MAX_CONTROL_PAYLOAD, payload::MaskKey};

/// The payload data of a control frame that arrives in more than one part.
pub(super) struct Control {
    payload: [u8; MAX_CONTROL_PAYLOAD],
    len: usize,
}

/// Redacted: prints only the length.
impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Control {
    pub(super) fn new() -> Self {
        Self { payload: [0; MAX_CONTROL_PAYLOAD], len: 0 }
    }

    /// Appends a copy of a part, unmasked.
    pub(super) fn push(&mut self, part: &[u8], mask: Option<MaskKey>) {
        let end = self.len + part.len();
        let room = &mut self.payload[self.len..end];
        room.copy_from_slice(part);
        if let Some(key) = mask {
            key.apply(room);
        }
        self.len = end;
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload[..self.len]
    }
}
