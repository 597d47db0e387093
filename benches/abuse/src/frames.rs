//! Frames as bytes, built and parsed without a WebSocket library.

/// The bits of a first byte: the last fragment, a compressed message, and the opcodes.
pub const FIN: u8 = 0x80;
pub const RSV1: u8 = 0x40;
pub const CONTINUATION: u8 = 0;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A masking key; hostile peers need no secret ones.
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Appends a masked frame.
pub fn put(wire: &mut Vec<u8>, first: u8, payload: &[u8]) {
    wire.push(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => wire.push(0x80 | short),
        (_, Ok(long)) => {
            wire.push(0x80 | 126);
            wire.extend(long.to_be_bytes());
        }
        _ => {
            wire.push(0x80 | 127);
            wire.extend((payload.len() as u64).to_be_bytes());
        }
    }
    wire.extend(KEY);
    wire.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Returns a masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    put(&mut wire, first, payload);
    wire
}

/// A frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Returns the code of a Close.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk()?;
        (self.opcode == CLOSE).then_some(u16::from_be_bytes(*code))
    }
}

/// Takes the first frame out of what was read, if it is complete. The server sends none that is
/// longer than 65,535 bytes.
pub fn take(unread: &mut Vec<u8>) -> Option<Frame> {
    let (header, len) = match unread[..] {
        [_, len @ 0..=125, ..] => (2, usize::from(len)),
        [_, _, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    if unread.len() < header + len {
        return None;
    }
    let frame = Frame { opcode: unread[0] & 0x0F, payload: unread[header..header + len].to_vec() };
    unread.drain(..header + len);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_the_fewest_bytes() {
        for (len, header) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            assert_eq!(frame(FIN | BINARY, &vec![7; len]).len(), header + len);
        }
    }

    #[test]
    fn frames_are_taken_one_by_one() {
        let mut unread = [&[0x8A, 1, b'a', 0x88, 2, 0x03, 0xF1, 0x82, 126, 0, 200][..], &[9; 199]].concat();
        assert_eq!(take(&mut unread), Some(Frame { opcode: PONG, payload: vec![b'a'] }));
        assert_eq!(take(&mut unread).and_then(|frame| frame.close_code()), Some(1009));
        assert_eq!(take(&mut unread), None, "a byte is missing");
        unread.push(9);
        assert_eq!(take(&mut unread), Some(Frame { opcode: BINARY, payload: vec![9; 200] }));
        assert_eq!((take(&mut unread), unread), (None, Vec::new()));
    }
}
