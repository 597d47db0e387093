//! Packets of a client that polls, as the frames that it would send over WebSocket.

use bytes::{BufMut, BytesMut};
use fullduplex::proto::{Header, MaskKey, Opcode};

/// Appends a frame of a client.
///
/// RFC 6455 section 5.3: a client masks. The key is zero, with which the data stays as it is: it has
/// passed through no network as a frame, where masking would have a purpose.
pub(super) fn put(frames: &mut BytesMut, opcode: Opcode, payload: &[u8]) {
    let mut header = Header::new(opcode, payload.len() as u64);
    header.mask = Some(MaskKey::default());
    frames.put_slice(&header.encode());
    frames.put_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_masked_with_zero() {
        let mut frames = BytesMut::new();
        put(&mut frames, Opcode::Text, b"4a");
        assert_eq!(frames[..], *b"\x81\x82\0\0\0\x004a");
    }
}
