//! Counts the messages that a direction has shown its reader.

use std::collections::VecDeque;

/// Reads frames as far as that takes.
#[derive(Debug, Default)]
pub struct Frames {
    header: Vec<u8>,
    /// What is left of the payload data.
    rest: usize,
    is_message: bool,
    messages: usize,
}

impl Frames {
    /// Takes in what is there from this place on.
    pub fn take(&mut self, bytes: &VecDeque<u8>, mut at: usize) {
        while at < bytes.len() {
            if self.rest == 0 {
                self.header.push(bytes[at]);
                at += 1;
                let Some(len) = payload_len(&self.header) else { continue };
                self.is_message = self.header[0] & 0xF < 8;
                self.header.clear();
                self.rest = len;
            }
            let part = self.rest.min(bytes.len() - at);
            self.rest -= part;
            at += part;
            // A header that ends the bytes, and has payload data to come, ends no message.
            self.messages += usize::from(self.rest == 0 && self.is_message);
        }
    }

    pub fn messages(&self) -> usize {
        self.messages
    }
}

/// Once the header is whole.
fn payload_len(header: &[u8]) -> Option<usize> {
    let second = usize::from(*header.get(1)?);
    let extended = match second & 127 {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let masking_key = if second & 128 == 0 { 0 } else { 4 };
    if header.len() < 2 + extended + masking_key {
        return None;
    }
    let len = header[2..2 + extended].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    Some(if extended == 0 { second & 127 } else { len })
}
