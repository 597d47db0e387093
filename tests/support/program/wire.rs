//! Reads the frames of a direction as far as its reader was shown them.

use std::collections::VecDeque;

use super::content::NAME;

/// A message that has begun.
#[derive(Debug, Default, Clone)]
pub struct Begun {
    /// Its first bytes, which name it.
    pub name: Vec<u8>,
    pub len: usize,
    pub whole: bool,
}

/// Reads frames as far as that takes.
#[derive(Debug, Default)]
pub struct Frames {
    header: Vec<u8>,
    /// What is left of the payload data.
    rest: usize,
    is_message: bool,
    fin: bool,
    key: [u8; 4],
    /// How many bytes of the payload data came before.
    at: usize,
    begun: Vec<Begun>,
    /// How many of them are whole.
    messages: usize,
}

impl Frames {
    /// Takes in what is there from this place on.
    pub fn take(&mut self, bytes: &VecDeque<u8>, mut at: usize) {
        while at < bytes.len() {
            if self.rest == 0 {
                self.header.push(bytes[at]);
                at += 1;
                let Some((len, key)) = payload(&self.header) else { continue };
                self.begin_frame(self.header[0], len, key);
                self.header.clear();
            }
            let part = self.rest.min(bytes.len() - at);
            if self.is_message {
                self.take_payload(bytes, at, part);
            }
            self.rest -= part;
            at += part;
            // A header that ends the bytes, and has payload data to come, ends no message.
            if self.rest == 0 && self.is_message && self.fin {
                self.begun.last_mut().expect("it has begun").whole = true;
                self.messages += 1;
            }
        }
    }

    fn begin_frame(&mut self, first: u8, len: usize, key: [u8; 4]) {
        let opcode = first & 0xF;
        self.is_message = opcode < 8;
        self.fin = first & 0x80 != 0;
        (self.rest, self.key, self.at) = (len, key, 0);
        if !self.is_message {
            return;
        }
        let inside = self.begun.last().is_some_and(|begun| !begun.whole);
        assert_eq!(inside, opcode == 0, "frames of two messages are interleaved");
        if !inside {
            self.begun.push(Begun::default());
        }
    }

    fn take_payload(&mut self, bytes: &VecDeque<u8>, at: usize, part: usize) {
        let begun = self.begun.last_mut().expect("it has begun");
        let unnamed = NAME.saturating_sub(begun.name.len()).min(part);
        begun.name.extend((0..unnamed).map(|i| bytes[at + i] ^ self.key[(self.at + i) % 4]));
        begun.len += part;
        self.at += part;
    }

    pub fn messages(&self) -> usize {
        self.messages
    }

    pub fn begun(&self) -> &[Begun] {
        &self.begun
    }
}

/// The length of the payload data and the masking key, once the header is whole.
fn payload(header: &[u8]) -> Option<(usize, [u8; 4])> {
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
    let key = header[2 + extended..].try_into().unwrap_or_default();
    Some((if extended == 0 { second & 127 } else { len }, key))
}
