//! Masking.

use std::mem::MaybeUninit;

/// The high bits of eight bytes, which are set in bytes beyond ASCII.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The four-byte masking key of a frame.
///
/// RFC 6455 section 5.3: a client uses a new key for each frame, from an unpredictable source. The
/// protocol core has no such source; its caller provides the key.
///
/// ```
/// use fullduplex::proto::MaskKey;
///
/// let key = MaskKey::from([0x37, 0xFA, 0x21, 0x3D]);
/// let mut data = *b"\x7f\x9f\x4d\x51\x58";
/// let was_ascii = key.apply(&mut data);
/// assert_eq!(&data, b"Hello");
/// assert!(was_ascii);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MaskKey([u8; 4]);

impl MaskKey {
    /// Masks or unmasks `data` in place; returns whether the result is all ASCII.
    #[inline]
    pub fn apply(self, data: &mut [u8]) -> bool {
        // Below this length, the XOR itself costs less than selecting a backend.
        if data.len() < 64 { xor_in_place(data, self.0) } else { Backend::best().apply(data, self) }
    }

    /// Appends a masked or unmasked copy of `data` to `to`; returns whether the result is all
    /// ASCII.
    #[inline(always)]
    #[allow(unsafe_code, reason = "the copy is written into uninitialized memory")]
    pub(in crate::proto) fn append(self, data: &[u8], to: &mut Vec<u8>) -> bool {
        to.reserve(data.len());
        let ascii = self.copy(data, &mut to.spare_capacity_mut()[..data.len()]);
        // SAFETY: `copy` has written each of the `data.len()` bytes behind the length.
        unsafe { to.set_len(to.len() + data.len()) };
        ascii
    }

    /// Writes a masked or unmasked copy of `data` into `room`, which has the same length; returns
    /// whether the result is all ASCII.
    // Always inlined: out of line, short data takes twice as many instructions.
    #[inline(always)]
    fn copy(self, data: &[u8], room: &mut [MaybeUninit<u8>]) -> bool {
        assert_eq!(data.len(), room.len());
        match data.len() {
            0..4 => xor_into(data, room, self.0),
            4..8 => blocks_into::<4>(data, room, self),
            8..16 => blocks_into::<8>(data, room, self),
            16..128 => blocks_into::<16>(data, room, self),
            _ => copy_long(data, room, self),
        }
    }

    /// Returns a masked or unmasked copy of `data`, and whether it is all ASCII.
    #[inline(always)]
    #[allow(unsafe_code, reason = "the copy is written into uninitialized memory")]
    pub(super) fn copied(self, data: &[u8]) -> (Box<[u8]>, bool) {
        let mut copy = Box::new_uninit_slice(data.len());
        let ascii = self.copy(data, &mut copy);
        // SAFETY: `copy` has written all of it.
        (unsafe { copy.assume_init() }, ascii)
    }

    /// Returns the key for the data that follows `len` bytes.
    #[inline]
    pub fn after(self, len: usize) -> Self {
        Self(u32::from_le_bytes(self.0).rotate_right(8 * (len as u32 % 4)).to_le_bytes())
    }

    /// Returns the bytes of the key, in the order of the header.
    #[inline]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0
    }
}

impl From<[u8; 4]> for MaskKey {
    #[inline]
    fn from(key: [u8; 4]) -> Self {
        Self(key)
    }
}

/// The instruction sets that masking is compiled for.
///
/// [`MaskKey::apply`] uses the best one that the machine supports; this type is for tests and
/// benchmarks that compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The baseline of the target: SSE2 on x86-64, NEON on AArch64.
    Portable,
    /// 256-bit registers of x86-64.
    Avx2,
    /// 512-bit registers of x86-64.
    Avx512,
}

impl Backend {
    /// All backends, the slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Returns the best backend that the machine supports.
    #[inline]
    pub fn best() -> Self {
        if Self::Avx512.is_available() {
            Self::Avx512
        } else if Self::Avx2.is_available() {
            Self::Avx2
        } else {
            Self::Portable
        }
    }

    /// Returns whether the machine supports it.
    #[inline]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Masks or unmasks `data` in place; returns whether the result is all ASCII. If the backend is
    /// not available, the portable one is used.
    #[inline]
    #[allow(unsafe_code, reason = "calls of functions for instruction sets that are detected at run time")]
    pub fn apply(self, data: &mut [u8], key: MaskKey) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            // SAFETY: the machine has AVX-512 F and BW.
            Self::Avx512 if self.is_available() => return unsafe { xor_avx512(data, key.0) },
            // SAFETY: the machine has AVX2.
            Self::Avx2 if self.is_available() => return unsafe { xor_avx2(data, key.0) },
            _ => {}
        }
        xor_portable(data, key.0)
    }

    /// Writes the masked or unmasked bytes of `from` into `to`, which has the same length; returns
    /// whether the result is all ASCII.
    #[inline]
    #[allow(unsafe_code, reason = "calls of functions for instruction sets that are detected at run time")]
    fn copy(self, from: &[u8], to: &mut [MaybeUninit<u8>], key: MaskKey) -> bool {
        #[cfg(target_arch = "x86_64")]
        match self {
            // SAFETY: the machine has AVX-512 F and BW.
            Self::Avx512 if self.is_available() => return unsafe { xor_into_avx512(from, to, key.0) },
            // SAFETY: the machine has AVX2.
            Self::Avx2 if self.is_available() => return unsafe { xor_into_avx2(from, to, key.0) },
            _ => {}
        }
        xor_into(from, to, key.0)
    }
}

/// Appends the first `len` of these bytes. All sixteen are stored, which needs neither a loop nor a
/// call.
#[inline(always)]
#[allow(unsafe_code, reason = "the bytes are written into uninitialized memory")]
pub(in crate::proto) fn append_start(bytes: [u8; 16], len: usize, to: &mut Vec<u8>) {
    assert!(len <= 16);
    to.reserve(16);
    if let Some(room) = to.spare_capacity_mut().first_chunk_mut() {
        *room = bytes.map(MaybeUninit::new);
        // SAFETY: sixteen bytes behind the length have been written, and `len` is no more than
        // that.
        unsafe { to.set_len(to.len() + len) };
    }
}

/// Calls [`Backend::copy`] of the best backend. Not inlined into the callers.
#[inline(never)]
fn copy_long(from: &[u8], to: &mut [MaybeUninit<u8>], key: MaskKey) -> bool {
    Backend::best().copy(from, to, key)
}

/// Compiles [`xor_in_place`] for the baseline of the target. Not inlined into the callers.
#[inline(never)]
fn xor_portable(data: &mut [u8], key: [u8; 4]) -> bool {
    xor_in_place(data, key)
}

/// Compiles [`xor_in_place`] for 256-bit registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_avx2(data: &mut [u8], key: [u8; 4]) -> bool {
    xor_in_place(data, key)
}

/// Compiles [`xor_in_place`] for 512-bit registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor_avx512(data: &mut [u8], key: [u8; 4]) -> bool {
    xor_in_place(data, key)
}

/// Masks `data` by XOR with the repeated key; returns whether the result is all ASCII, which the OR
/// of all bytes shows. A plain loop, which the compiler vectorizes.
#[inline(always)]
fn xor_in_place(data: &mut [u8], key: [u8; 4]) -> bool {
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut seen = 0;
    let (words, rest) = data.as_chunks_mut::<8>();
    for bytes in words {
        let unmasked = u64::from_ne_bytes(*bytes) ^ word;
        seen |= unmasked;
        *bytes = unmasked.to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
        seen |= u64::from(*byte);
    }
    seen & HIGH_BITS == 0
}

/// Masks like [`xor_into`] in blocks of `N` bytes. The last block may overlap the one before it,
/// which avoids a loop for the rest. `from` has at least `N` bytes, and `N` is a multiple of four.
#[inline(always)]
fn blocks_into<const N: usize>(from: &[u8], to: &mut [MaybeUninit<u8>], key: MaskKey) -> bool {
    let mut seen = 0;
    for (from, to) in from.as_chunks::<N>().0.iter().zip(to.as_chunks_mut::<N>().0) {
        seen |= block_into(from, to, key);
    }
    if let (Some(last), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
        seen |= block_into(last, to, key.after(from.len() - N));
    }
    seen & HIGH_BITS as u32 == 0
}

#[inline(always)]
fn block_into<const N: usize>(from: &[u8; N], to: &mut [MaybeUninit<u8>; N], key: MaskKey) -> u32 {
    let key = u32::from_ne_bytes(key.0);
    let mut seen = 0;
    for (from, to) in from.as_chunks::<4>().0.iter().zip(to.as_chunks_mut::<4>().0) {
        let unmasked = u32::from_ne_bytes(*from) ^ key;
        seen |= unmasked;
        *to = unmasked.to_ne_bytes().map(MaybeUninit::new);
    }
    seen
}

/// Compiles [`xor_into`] for 256-bit registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_into_avx2(from: &[u8], to: &mut [MaybeUninit<u8>], key: [u8; 4]) -> bool {
    xor_into(from, to, key)
}

/// Compiles [`xor_into`] for 512-bit registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor_into_avx512(from: &[u8], to: &mut [MaybeUninit<u8>], key: [u8; 4]) -> bool {
    xor_into(from, to, key)
}

/// Masks like [`xor_in_place`], from `from` to `to`, which has the same length. It writes each byte
/// of `to`.
#[inline(always)]
fn xor_into(from: &[u8], to: &mut [MaybeUninit<u8>], key: [u8; 4]) -> bool {
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut seen = 0;
    let (words, rest) = from.as_chunks::<8>();
    let (to_words, to_rest) = to.as_chunks_mut::<8>();
    for (bytes, to) in words.iter().zip(to_words) {
        let unmasked = u64::from_ne_bytes(*bytes) ^ word;
        seen |= unmasked;
        *to = unmasked.to_ne_bytes().map(MaybeUninit::new);
    }
    for ((byte, key), to) in rest.iter().zip(word.to_ne_bytes()).zip(to_rest) {
        let unmasked = byte ^ key;
        seen |= u64::from(unmasked);
        to.write(unmasked);
    }
    seen & HIGH_BITS == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Masks data as RFC 6455 section 5.3 describes it.
    fn oracle(data: &[u8], key: [u8; 4]) -> Vec<u8> {
        data.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect()
    }

    /// Asserts that a backend masks as the oracle does.
    fn agrees(backend: Backend, data: &[u8], offset: usize, key: [u8; 4]) {
        let expected = oracle(&data[offset..], key);
        let mut data = data.to_vec();
        let ascii = backend.apply(&mut data[offset..], MaskKey(key));
        assert_eq!(data[offset..], expected, "{backend:?} at {offset}, {} bytes", expected.len());
        assert_eq!(ascii, expected.is_ascii(), "{backend:?} at {offset}, {} bytes", expected.len());
    }

    #[test]
    fn every_backend_agrees_with_the_rfc_at_every_length_and_alignment() {
        let data: Vec<u8> = (0..512 + 64).map(|i: usize| (i.wrapping_mul(31) >> 3) as u8 & 0x7F).collect();
        for backend in Backend::ALL {
            for len in 0..=512 {
                for offset in [0, 1, 2, 3, 5, 7, 8, 15, 31, 63] {
                    agrees(backend, &data[..offset + len], offset, [0x01, 0x7F, 0x33, 0x00]);
                }
            }
        }
    }

    #[test]
    fn a_backend_is_available_where_its_instructions_are() {
        assert!(Backend::Portable.is_available());
        #[cfg(target_arch = "x86_64")]
        let [avx2, avx512] = [
            is_x86_feature_detected!("avx2"),
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let [avx2, avx512] = [false; 2];
        assert_eq!([Backend::Avx2, Backend::Avx512].map(Backend::is_available), [avx2, avx512]);
    }

    /// Returns a masked copy made by the backend, for any length.
    fn copied(backend: Backend, data: &[u8], key: [u8; 4]) -> (Vec<u8>, bool) {
        let mut copy = vec![MaybeUninit::new(0xAA); data.len()];
        let ascii = backend.copy(data, &mut copy, MaskKey(key));
        let written = copy.iter().map(|byte| {
            #[allow(unsafe_code, reason = "initialized above")]
            // SAFETY: all bytes were initialized by `MaybeUninit::new`.
            unsafe {
                byte.assume_init()
            }
        });
        (written.collect(), ascii)
    }

    /// Returns a masked copy that was appended to a buffer.
    fn appended(data: &[u8], key: [u8; 4]) -> (Vec<u8>, bool) {
        let mut to = b"before".to_vec();
        let ascii = MaskKey(key).append(data, &mut to);
        assert!(to.starts_with(b"before"));
        (to.split_off(6), ascii)
    }

    #[test]
    fn a_copy_agrees_with_the_rfc_at_every_length_and_alignment() {
        let data: Vec<u8> = (0..600 + 64).map(|i: usize| (i.wrapping_mul(31) >> 3) as u8 & 0x7F).collect();
        for (key, beyond_ascii) in [([0x01, 0x7F, 0x33, 0x00], false), ([0x01, 0x80, 0x33, 0x00], true)] {
            for len in 0..=600 {
                for offset in [0, 1, 2, 3, 5, 7, 8, 15, 31, 63] {
                    let data = &data[offset..offset + len];
                    let expected = oracle(data, key);
                    let ascii = expected.is_ascii();
                    assert_eq!(ascii, !beyond_ascii || len < 2);
                    assert_eq!(appended(data, key), (expected.clone(), ascii), "{len} bytes");
                    assert_eq!(MaskKey(key).copied(data), (expected.clone().into(), ascii), "{len} bytes");
                    for backend in Backend::ALL {
                        assert_eq!(
                            copied(backend, data, key),
                            (expected.clone(), ascii),
                            "{backend:?}, {len}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn one_byte_beyond_ascii_is_detected_in_a_copy_at_any_position() {
        for len in 1..=200 {
            for at in 0..len {
                let mut data = vec![b'a'; len];
                data[at] = 0x80;
                assert!(!appended(&data, [0; 4]).1, "{at} of {len}");
                assert!(
                    Backend::ALL.iter().all(|backend| !copied(*backend, &data, [0; 4]).1),
                    "{at} of {len}"
                );
            }
        }
    }

    #[test]
    fn one_byte_beyond_ascii_is_detected_at_any_position() {
        for backend in Backend::ALL {
            for len in 1..=200 {
                for at in 0..len {
                    let mut data = vec![b'a'; len];
                    data[at] = 0x80;
                    assert!(!backend.apply(&mut data, MaskKey::default()), "{backend:?} {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn the_key_continues_after_each_part() {
        let data: Vec<u8> = (0..100).collect();
        let key = MaskKey::from([9, 8, 7, 6]);
        for cut in 0..data.len() {
            let mut parts = data.clone();
            let (first, second) = parts.split_at_mut(cut);
            key.apply(first);
            key.after(cut).apply(second);
            assert_eq!(parts, oracle(&data, key.0));
        }
    }

    proptest! {
        #[test]
        fn every_backend_agrees_with_the_rfc(
            data in proptest::collection::vec(any::<u8>(), 0..2048),
            offset in 0_usize..64,
            key in any::<[u8; 4]>(),
        ) {
            for backend in Backend::ALL {
                agrees(backend, &data, offset.min(data.len()), key);
                prop_assert_eq!(copied(backend, &data, key).0, oracle(&data, key));
            }
            prop_assert_eq!(appended(&data, key).0, oracle(&data, key));
        }
    }
}
