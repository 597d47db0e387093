//! Parses the frames of a direction, as far as they were shown to its reader.

use std::collections::VecDeque;

use super::content::NAME;

/// A message that has begun.
#[derive(Debug, Default, Clone)]
pub struct Begun {
    /// Its first bytes, which identify it.
    pub name: Vec<u8>,
    pub len: usize,
    pub whole: bool,
}

/// A parser of frames.
#[derive(Debug, Default)]
pub struct Frames {
    header: Vec<u8>,
    /// The length of the remaining payload data.
    rest: usize,
    is_message: bool,
    fin: bool,
    /// Inflates the message that has begun, if it is compressed.
    compressed: bool,
    /// The inflater of compressed messages.
    #[cfg(feature = "deflate")]
    pub unzip: Option<super::deflate::Unzip>,
    key: [u8; 4],
    /// The number of payload bytes that were parsed before.
    at: usize,
    begun: Vec<Begun>,
    /// The number of complete messages.
    messages: usize,
}

impl Frames {
    /// Parses input from this position on.
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
            // A header at the end of the input whose payload data is missing ends no message.
            if self.rest == 0 && self.is_message && self.fin {
                self.end_message();
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
        let rsv1 = first & 0x40 != 0;
        assert!(!inside || !rsv1, "RSV1 is set on a fragment that is not the first");
        if !inside {
            self.begun.push(Begun::default());
            self.compressed = rsv1;
        }
    }

    fn take_payload(&mut self, bytes: &VecDeque<u8>, at: usize, part: usize) {
        let payload: Vec<u8> = (0..part).map(|i| bytes[at + i] ^ self.key[(self.at + i) % 4]).collect();
        self.at += part;
        self.take_part(payload);
    }

    fn take_part(&mut self, part: Vec<u8>) {
        #[cfg(feature = "deflate")]
        let part = match &mut self.unzip {
            Some(unzip) if self.compressed => unzip.part(&part),
            _ => part,
        };
        let begun = self.begun.last_mut().expect("a message that has begun");
        let unnamed = NAME.saturating_sub(begun.name.len()).min(part.len());
        begun.name.extend_from_slice(&part[..unnamed]);
        begun.len += part.len();
    }

    fn end_message(&mut self) {
        #[cfg(feature = "deflate")]
        if let (true, Some(unzip)) = (self.compressed, &mut self.unzip) {
            unzip.end();
        }
        self.begun.last_mut().expect("a message that has begun").whole = true;
    }

    pub fn messages(&self) -> usize {
        self.messages
    }

    pub fn begun(&self) -> &[Begun] {
        &self.begun
    }
}

/// Returns the length of the payload data and the masking key once the header is complete.
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
