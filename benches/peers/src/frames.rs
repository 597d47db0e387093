//! The frames that the load generator sends and expects, built without any WebSocket library.

use bytes::Bytes;

/// The bit set on the first frame of a compressed message (RFC 7692 section 6).
pub const RSV1: u8 = 0x40;

/// The kinds of payload data that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Binary,
    Ascii,
    Mixed,
}

impl Kind {
    pub fn is_text(self) -> bool {
        self != Self::Binary
    }

    fn opcode(self) -> u8 {
        if self.is_text() { 1 } else { 2 }
    }

    /// Returns payload data of this kind and of exactly this many bytes.
    pub fn payload(self, len: usize) -> Vec<u8> {
        match self {
            Self::Binary => (0..len).map(|_| rand::random()).collect(),
            Self::Ascii => text("a plain line of text. ", len),
            Self::Mixed => text("grüezi, ça va? 你好 ", len),
        }
    }
}

/// Returns the pattern, repeated up to this many bytes, with a whole code point at the end.
fn text(pattern: &str, len: usize) -> Vec<u8> {
    let mut text = pattern.repeat(len / pattern.len() + 1);
    while text.len() > len {
        text.pop();
    }
    while text.len() < len {
        text.push('x');
    }
    text.into_bytes()
}

/// Appends a frame as a client sends it, masked with a new random key.
pub fn put_masked(wire: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    let key: [u8; 4] = rand::random();
    put_header(wire, kind, payload.len(), 0x80);
    wire.extend_from_slice(&key);
    wire.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends a frame with compressed text, as a client sends it.
pub fn put_compressed(wire: &mut Vec<u8>, payload: &[u8]) {
    let begin = wire.len();
    put_masked(wire, Kind::Ascii, payload);
    wire[begin] |= RSV1;
}

/// Appends a frame as a server sends it.
pub fn put_unmasked(wire: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    put_header(wire, kind, payload.len(), 0);
    wire.extend_from_slice(payload);
}

fn put_header(wire: &mut Vec<u8>, kind: Kind, len: usize, mask_bit: u8) {
    wire.push(0x80 | kind.opcode());
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => wire.push(mask_bit | short),
        (_, Ok(long)) => {
            wire.push(mask_bit | 126);
            wire.extend_from_slice(&long.to_be_bytes());
        }
        _ => {
            wire.push(mask_bit | 127);
            wire.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// The messages that a client sends at once, and their echo.
#[derive(Debug, Clone)]
pub struct Window {
    pub request: Bytes,
    pub answer: Bytes,
    pub messages: usize,
}

impl Window {
    /// Creates a window of messages of this kind and length, each with payload data of its own.
    pub fn new(kind: Kind, len: usize, messages: usize) -> Self {
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        for _ in 0..messages {
            let payload = kind.payload(len);
            put_masked(&mut request, kind, &payload);
            put_unmasked(&mut answer, kind, &payload);
        }
        Self { request: request.into(), answer: answer.into(), messages }
    }
}

/// Returns about 256 KiB of masked frames with the same payload data, at least two: they fit into
/// the second-level cache.
pub fn wire_of(kind: Kind, payload: &[u8]) -> Bytes {
    let mut wire = Vec::new();
    for _ in 0..((256 << 10) / (payload.len() + 8)).max(2) {
        put_masked(&mut wire, kind, payload);
    }
    wire.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_the_fewest_bytes() {
        for (len, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut wire = Vec::new();
            put_unmasked(&mut wire, Kind::Binary, &vec![7; len]);
            assert_eq!(wire.len(), header + len);
        }
    }

    #[test]
    fn text_is_as_long_as_asked_and_valid() {
        for len in 0..100 {
            let payload = Kind::Mixed.payload(len);
            assert_eq!((payload.len(), std::str::from_utf8(&payload).is_ok()), (len, true));
        }
    }
}
