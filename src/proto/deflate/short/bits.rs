//! Bits of DEFLATE data.

const WORD: usize = size_of::<u64>();

/// Writes bits from the least significant one of each byte on (RFC 1951 section 3.1.1).
pub(super) struct BitWriter<'a> {
    out: &'a mut [u8],
    /// The number of bytes that are complete.
    written: usize,
    bits: u64,
    /// The number of bits of the byte that is not complete.
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// The room that a buffer needs beyond what is written.
    pub(super) const SLACK: usize = WORD;

    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, written: 0, bits: 0, count: 0 }
    }

    /// Writes the lowest `count` bits, at most 56; the others are 0.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= 56 && bits >> count == 0);
        self.bits |= bits << self.count;
        self.count += count;
        // Without a branch: what is stored behind the complete bytes is replaced later.
        self.out[self.written..][..WORD].copy_from_slice(&self.bits.to_le_bytes());
        let complete = self.count / 8;
        self.written += complete as usize;
        self.bits >>= 8 * complete;
        self.count %= 8;
    }

    /// Fills the last byte with zeros; returns the number of bytes.
    pub(super) fn finish(mut self) -> usize {
        self.put(0, (8 - self.count) % 8);
        self.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951 section 3.1.1.
    #[test]
    fn bits_are_written_from_the_least_significant_one_on() {
        let mut out = [0xFF; 4 + 8 + WORD];
        let mut writer = BitWriter::new(&mut out);
        writer.put(0b1, 1);
        writer.put(0b0110, 4);
        writer.put(0b11_1111_1111, 10);
        writer.put(0x00AB_CDEF_0123_4567, 56);
        writer.put(0, 0);
        assert_eq!(writer.finish(), 9);
        assert_eq!(out[..2], [0b1110_1101, 0b1111_1111]);
        let rest = 0x00AB_CDEF_0123_4567_u64 << 7 | 0b111_1111;
        assert_eq!(out[1..9], rest.to_le_bytes());
    }
}
