//! Connections with compression, and a compressor and an inflater that are independent of those of
//! the crate.

use bytes::Bytes;
use fullduplex::{
    Config, Deflate, Role, WebSocket,
    handshake::Negotiated,
    proto::{DeflateParams, ReceivePath},
};
use tokio::io::DuplexStream;
use zlib_rs::{DeflateConfig, DeflateFlush, Inflate, InflateFlush};

use super::{
    drive::{Outcome, drive_path},
    frames,
    script::{Script, Scripted, scripted},
};

/// The four bytes that are removed from the end of a message (RFC 7692 section 7.2.1).
pub const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Returns settings without context takeover and with it, in both directions.
pub fn takeovers() -> [Deflate; 2] {
    [false, true].map(|takeover| Deflate::new().context_takeover(takeover))
}

/// Returns a configuration without keep-alive.
pub fn quiet() -> Config {
    Config::new().ping_interval(None)
}

/// Returns the result of an opening handshake that agreed on these settings.
pub fn agreed(settings: Deflate) -> Negotiated {
    Negotiated::default().with_deflate(DeflateParams::from(settings))
}

/// Opens an end over a scripted stream whose peer has the same settings.
pub fn open(role: Role, config: &Config, settings: Deflate) -> (WebSocket<Scripted>, Script) {
    let (io, script) = scripted();
    let config = config.clone().deflate(settings);
    (WebSocket::from_raw(io, Bytes::new(), role, &config, agreed(settings)), script)
}

/// Connects a client and a server by a pipe with a buffer of this many bytes in each direction.
pub fn pair(
    config: &Config,
    settings: Deflate,
    room: usize,
) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    fullduplex::testing::pair_with_capacity(&config.clone().deflate(settings), room)
}

/// Returns what an end receives from this input, and asserts that it is the same whole, in parts,
/// and however the input is split into reads. The end of the stream is omitted.
#[track_caller]
pub fn received(role: Role, config: &Config, settings: Deflate, wire: &[u8]) -> Vec<Outcome> {
    // In parts, only the limit of a whole message applies.
    let ways: [(&[usize], &[bool]); 8] = [
        (&[usize::MAX], &[false]),
        (&[1, 2, 3, 5, 70_000], &[false]),
        (&[if wire.len() < 20_000 { 1 } else { 997 }], &[false]),
        (&[16_384], &[false]),
        (&[65_536], &[false]),
        (&[usize::MAX], &[true]),
        (&[if wire.len() < 300 { 1 } else { 9000 }], &[true]),
        (&[if wire.len() < 300 { 10 } else { 7000 }], &[true, false, false]),
    ];
    let drive = |(reads, parts)| {
        let path = ReceivePath::new(role, config).with_deflate(settings.into());
        drive_path(path, config.max_message_size as u64, wire, reads, parts)
    };
    let mut whole = drive(ways[0]);
    for way in &ways[1..] {
        assert!(drive(*way) == whole, "{way:?} does not yield {whole:?}");
    }
    whole.pop_if(|last| *last == Outcome::Error(fullduplex::proto::ProtocolError::EofWithoutClose));
    whole
}

/// Compresses messages.
pub struct Zip {
    zlib: zlib_rs::Deflate,
    takeover: bool,
}

impl Zip {
    pub fn new(takeover: bool) -> Self {
        Self::with_window(takeover, 15)
    }

    /// Creates a compressor with a window of this size.
    pub fn with_window(takeover: bool, bits: u8) -> Self {
        let config = DeflateConfig { window_bits: -i32::from(bits), ..DeflateConfig::best_speed() };
        Self { zlib: zlib_rs::Deflate::new_with_config(config), takeover }
    }

    /// Returns the payload data of a compressed message.
    pub fn message(&mut self, data: impl AsRef<[u8]>) -> Vec<u8> {
        let mut payload = self.part(data);
        if payload.is_empty() {
            return vec![0];
        }
        payload.truncate(payload.len() - TAIL.len());
        if !self.takeover {
            self.zlib.reset();
        }
        payload
    }

    /// Returns the payload data of a part that is not the last. All of the part can be inflated
    /// from it.
    pub fn part(&mut self, data: impl AsRef<[u8]>) -> Vec<u8> {
        let data = data.as_ref();
        if data.is_empty() {
            return Vec::new();
        }
        let begun = self.zlib.total_out();
        let mut out = vec![0; data.len() + data.len() / 8 + 1000];
        self.zlib.compress(data, &mut out, DeflateFlush::SyncFlush).expect("there is room");
        out.truncate((self.zlib.total_out() - begun) as usize);
        assert!(out.ends_with(&TAIL));
        out
    }
}

/// Returns the payload data of a compressed message that refers to no other.
pub fn zip(data: impl AsRef<[u8]>) -> Vec<u8> {
    Zip::new(false).message(data)
}

/// Does the same in stored blocks of at most this length.
pub fn stored(data: &[u8], block: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    for block in data.chunks(block.into()) {
        let len = block.len() as u16;
        payload.push(0);
        payload.extend(len.to_le_bytes());
        payload.extend((!len).to_le_bytes());
        payload.extend_from_slice(block);
    }
    payload.push(0);
    payload
}

/// Does the same in one block with the fixed code and without back-references.
pub fn literal(data: &[u8]) -> Vec<u8> {
    let (mut payload, mut len) = (Vec::new(), 0);
    let mut bit = |bit: bool| {
        if len % 8 == 0 {
            payload.push(0);
        }
        *payload.last_mut().expect("pushed") |= u8::from(bit) << (len % 8);
        len += 1;
    };
    [false, true, false].into_iter().for_each(&mut bit);
    for byte in data {
        let (code, bits) = match byte {
            0..144 => (0x30 + u16::from(*byte), 8),
            _ => (0x190 + u16::from(byte - 144), 9),
        };
        (0..bits).rev().for_each(|at| bit(code >> at & 1 == 1));
    }
    // The end of the block, and the beginning of an empty stored block.
    (0..7 + 3).for_each(|_| bit(false));
    payload
}

/// Inflates messages.
pub struct Unzip {
    zlib: Inflate,
    takeover: bool,
}

impl Unzip {
    pub fn new(takeover: bool) -> Self {
        Self::with_window(takeover, 15)
    }

    /// Creates an inflater with a window of this size. The library does not enforce it: a reference
    /// that goes back further, up to 32 KiB, is inflated too.
    pub fn with_window(takeover: bool, bits: u8) -> Self {
        Self { zlib: Inflate::new(false, bits), takeover }
    }

    /// Inflates a message.
    pub fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut message = self.part(payload);
        message.extend(self.part(&TAIL));
        if !self.takeover {
            self.zlib.reset(false);
        }
        message
    }

    /// Inflates as much as possible from this part.
    pub fn part(&mut self, mut payload: &[u8]) -> Vec<u8> {
        let (mut message, mut room) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let (taken, put) = (self.zlib.total_in(), self.zlib.total_out());
            self.zlib.decompress(payload, &mut room, InflateFlush::NoFlush).expect("valid DEFLATE data");
            payload = &payload[(self.zlib.total_in() - taken) as usize..];
            let put = (self.zlib.total_out() - put) as usize;
            message.extend_from_slice(&room[..put]);
            if payload.is_empty() && put < room.len() {
                return message;
            }
        }
    }
}

/// Returns the messages in these frames, and for each whether it was compressed.
pub fn sent(wire: &[u8], unzip: &mut Unzip) -> Vec<(bool, Vec<u8>)> {
    let (mut messages, mut open) = (Vec::new(), None::<(bool, Vec<u8>)>);
    for (first, payload) in frames::parse(wire) {
        if first & 0x08 != 0 {
            continue;
        }
        let rsv1 = first & 0x40 != 0;
        assert!(open.is_none() || (first & 0x0F == 0 && !rsv1), "RSV1 is set on the first frame only");
        let (compressed, gathered) = open.get_or_insert((rsv1, Vec::new()));
        gathered.extend(payload);
        if first & 0x80 != 0 {
            let message = if *compressed { unzip.message(gathered) } else { std::mem::take(gathered) };
            messages.push((*compressed, message));
            open = None;
        }
    }
    messages
}

/// Returns `len` random bytes.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    });
    noise.take(len).collect()
}

/// Returns `len` bytes of JSON, or one or two more.
pub fn json(len: usize) -> String {
    let mut text = String::with_capacity(len + 60);
    for n in 0_u32.. {
        if text.len() >= len {
            break;
        }
        let price = n.wrapping_mul(2_654_435_769);
        text.push_str(&format!("{{\"s\":\"\u{20ac}BC\",\"p\":\"{price}\"}},"));
    }
    let end = (0..=len).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}

/// Returns a compressed binary message, unmasked, in fragments that end at these positions of its
/// compressed payload data.
pub fn compressed_frames(payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let zipped = zip(payload);
    let ends: Vec<usize> = cuts.iter().copied().chain([zipped.len()]).collect();
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let last = ends.len() - 1;
    let fragments = starts.zip(ends).enumerate().map(|(nth, (start, end))| {
        let part = &zipped[start..end];
        let frame =
            if nth == 0 { super::frames::binary(part).rsv(4) } else { super::frames::continuation(part) };
        if nth == last { frame } else { frame.more() }.build()
    });
    fragments.collect()
}
