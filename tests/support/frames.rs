//! Frames, built byte by byte and independently of the crate, so that invalid ones can be built
//! too.

/// A builder of a frame.
#[derive(Debug, Clone)]
pub struct Frame {
    first: u8,
    payload: Vec<u8>,
    key: Option<[u8; 4]>,
    /// The number of bits in which the length is encoded: 7, 16 or 64.
    length_bits: u8,
    /// The length that the header declares, if that is not the length of the payload data.
    declared: Option<u64>,
}

/// The key of [`Frame::masked`].
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Creates a final, unmasked frame with this opcode and its length in the shortest form.
pub fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    let payload = payload.as_ref().to_vec();
    let length_bits = match payload.len() {
        0..=125 => 7,
        126..=0xFFFF => 16,
        _ => 64,
    };
    Frame { first: 0x80 | opcode, payload, key: None, length_bits, declared: None }
}

pub fn continuation(payload: impl AsRef<[u8]>) -> Frame {
    frame(0x0, payload)
}

pub fn text(payload: impl AsRef<[u8]>) -> Frame {
    frame(0x1, payload)
}

pub fn binary(payload: impl AsRef<[u8]>) -> Frame {
    frame(0x2, payload)
}

pub fn ping(payload: impl AsRef<[u8]>) -> Frame {
    frame(0x9, payload)
}

pub fn pong(payload: impl AsRef<[u8]>) -> Frame {
    frame(0xA, payload)
}

/// Creates a Close with a code and a reason.
pub fn close(code: u16, reason: &str) -> Frame {
    frame(0x8, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Creates a Close without payload data.
pub fn close_empty() -> Frame {
    frame(0x8, b"")
}

impl Frame {
    /// Makes it a fragment that is not the last.
    pub fn more(mut self) -> Self {
        self.first &= 0x7F;
        self
    }

    /// Sets reserved bits: 4 is RSV1, 2 is RSV2, 1 is RSV3.
    pub fn rsv(mut self, bits: u8) -> Self {
        self.first |= bits << 4;
        self
    }

    /// Masks it with [`KEY`], as a client does.
    pub fn masked(self) -> Self {
        self.masked_with(KEY)
    }

    pub fn masked_with(mut self, key: [u8; 4]) -> Self {
        self.key = Some(key);
        self
    }

    /// Encodes the length in 7, 16 or 64 bits, even if that is not the shortest form.
    pub fn length_bits(mut self, bits: u8) -> Self {
        self.length_bits = bits;
        self
    }

    /// Declares this length (in 64 bits by default), independent of the payload data.
    pub fn declaring(mut self, len: u64) -> Self {
        self.declared = Some(len);
        self.length_bits = 64;
        self
    }

    /// Encodes the frame.
    pub fn build(&self) -> Vec<u8> {
        let mask_bit = if self.key.is_some() { 0x80 } else { 0 };
        let len = self.declared.unwrap_or(self.payload.len() as u64);
        let mut bytes = vec![self.first];
        match self.length_bits {
            7 => bytes.push(mask_bit | len as u8),
            16 => {
                bytes.push(mask_bit | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend(len.to_be_bytes());
            }
        }
        let key = self.key.unwrap_or([0; 4]);
        if self.key.is_some() {
            bytes.extend(key);
        }
        bytes.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
        bytes
    }
}

/// Returns the bytes of these frames in order.
pub fn wire(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::build).collect()
}

/// Parses written frames. Returns the first byte (FIN, reserved bits, opcode) and the unmasked
/// payload data of each.
pub fn parse(mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !wire.is_empty() {
        let (first, second) = (wire[0], wire[1]);
        let (len, mut at) = match second & 0x7F {
            126 => (u16::from_be_bytes([wire[2], wire[3]]) as usize, 4),
            127 => (u64::from_be_bytes(wire[2..10].try_into().expect("eight bytes")) as usize, 10),
            len => (len as usize, 2),
        };
        let mut key = [0; 4];
        if second & 0x80 != 0 {
            key.copy_from_slice(&wire[at..at + 4]);
            at += 4;
        }
        let payload = wire[at..at + len].iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        frames.push((first, payload));
        wire = &wire[at + len..];
    }
    frames
}
