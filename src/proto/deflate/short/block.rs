//! A block of DEFLATE data (RFC 1951).

use super::{
    bits::BitWriter,
    huffman::{Alphabet, LARGEST, LONGEST_CODE},
    lens::LenSequence,
    matches::{LONGEST_MATCH, Match},
};

/// The symbols for distances; the last two do not exist.
const DISTANCES: usize = 32;

/// The symbol that ends a block, and the one for the longest match.
const END: usize = 256;
const LONGEST_LENGTH: usize = 285;

/// The bits that begin a block (RFC 1951 section 3.2.3). None is marked as final.
const STORED: u64 = 0b000;
const FIXED: u64 = 0b010;
const DYNAMIC: u64 = 0b100;
const TYPE_BITS: u32 = 3;

/// What precedes the data of a stored block: its type, its length, and the complement of that.
const STORED_HEADER: usize = 5;

/// The symbols of a block.
struct Symbols {
    literals: Alphabet<LARGEST>,
    distances: Alphabet<DISTANCES>,
    /// The bits behind the symbols that were counted.
    extra_bits: usize,
}

/// Writes messages as blocks.
pub(super) struct BlockWriter {
    /// The codes of blocks that do not contain their own (RFC 1951 section 3.2.6).
    fixed: Symbols,
    symbols: Symbols,
    lens: LenSequence,
}

impl BlockWriter {
    pub(super) fn new() -> Self {
        let lens = std::array::from_fn(|symbol| match symbol {
            144..END => 9,
            END..280 => 7,
            _ => 8,
        });
        Self {
            fixed: Symbols {
                literals: Alphabet::with_lens(lens),
                distances: Alphabet::with_lens([5; DISTANCES]),
                extra_bits: 0,
            },
            symbols: Symbols { literals: Alphabet::new(), distances: Alphabet::new(), extra_bits: 0 },
            lens: LenSequence::new(),
        }
    }

    /// Appends a message as the shortest kind of block, and the beginning of an empty stored block.
    pub(super) fn write(&mut self, message: &[u8], matches: &[Match], out: &mut Vec<u8>) {
        self.symbols.count(message, matches);
        self.symbols.literals.build(LONGEST_CODE);
        self.symbols.distances.build(LONGEST_CODE);
        self.lens.set(&self.symbols.literals, &self.symbols.distances);
        let fixed = self.symbols.cost_by(&self.fixed);
        let dynamic = self.symbols.cost_by(&self.symbols) + self.lens.cost();
        // With the types of both blocks.
        let len = (fixed.min(dynamic) + 2 * TYPE_BITS as usize).div_ceil(8);
        if len > STORED_HEADER + message.len() {
            return store(message, out);
        }
        let begin = out.len();
        out.resize(begin + len + BitWriter::SLACK, 0);
        let mut writer = BitWriter::new(&mut out[begin..]);
        if fixed <= dynamic {
            writer.put(FIXED, TYPE_BITS);
            self.fixed.write(message, matches, &mut writer);
        } else {
            writer.put(DYNAMIC, TYPE_BITS);
            self.lens.write(&mut writer);
            self.symbols.write(message, matches, &mut writer);
        }
        writer.put(STORED, TYPE_BITS);
        let written = writer.finish();
        debug_assert_eq!(written, len);
        out.truncate(begin + len);
    }
}

/// Appends a message uncompressed, and the beginning of an empty stored block.
fn store(message: &[u8], out: &mut Vec<u8>) {
    let [low, high] = (message.len() as u16).to_le_bytes();
    out.extend_from_slice(&[STORED as u8, low, high, !low, !high]);
    out.extend_from_slice(message);
    out.push(STORED as u8);
}

impl Symbols {
    /// Counts the symbols of a message.
    fn count(&mut self, message: &[u8], matches: &[Match]) {
        self.literals.clear();
        self.distances.clear();
        self.extra_bits = 0;
        let mut rest = message;
        for found in matches {
            let (run, after) = rest.split_at(found.literals.into());
            run.iter().for_each(|&literal| self.literals.add(literal.into()));
            rest = &after[usize::from(found.len)..];
            let (length, distance) = found.slots();
            self.literals.add(length.symbol);
            self.distances.add(distance.symbol);
            self.extra_bits += (length.extra_bits + distance.extra_bits) as usize;
        }
        rest.iter().for_each(|&literal| self.literals.add(literal.into()));
        self.literals.add(END);
    }

    /// Returns how many bits everything that was counted takes by the codes of `other`.
    fn cost_by(&self, other: &Self) -> usize {
        self.literals.cost_by(&other.literals) + self.distances.cost_by(&other.distances) + self.extra_bits
    }

    /// Writes a message, up to the end of its block.
    fn write(&self, message: &[u8], matches: &[Match], writer: &mut BitWriter<'_>) {
        let mut rest = message;
        for found in matches {
            let (run, after) = rest.split_at(found.literals.into());
            self.write_literals(run, writer);
            rest = &after[usize::from(found.len)..];
            let (length, distance) = found.slots();
            // At most 15 + 5 + 15 + 13 bits.
            let (low, low_bits) = length.append_to(self.literals.code(length.symbol));
            let (high, high_bits) = distance.append_to(self.distances.code(distance.symbol));
            writer.put(low | high << low_bits, low_bits + high_bits);
        }
        self.write_literals(rest, writer);
        let (code, bits) = self.literals.code(END);
        writer.put(code, bits);
    }

    fn write_literals(&self, run: &[u8], writer: &mut BitWriter<'_>) {
        let (threes, last) = run.as_chunks::<3>();
        for three in threes {
            let [(a, a_bits), (b, b_bits), (c, c_bits)] =
                three.map(|literal| self.literals.code(literal.into()));
            writer.put(a | b << a_bits | c << (a_bits + b_bits), a_bits + b_bits + c_bits);
        }
        for literal in last {
            let (code, bits) = self.literals.code((*literal).into());
            writer.put(code, bits);
        }
    }
}

/// The symbol of a length or a distance, and the bits behind it (RFC 1951 section 3.2.5).
#[derive(Debug, PartialEq, Eq)]
struct Slot {
    symbol: usize,
    extra: u64,
    extra_bits: u32,
}

impl Match {
    /// Returns the slots of its length and its distance.
    #[inline(always)]
    fn slots(&self) -> (Slot, Slot) {
        let length = if usize::from(self.len) == LONGEST_MATCH {
            Slot { symbol: LONGEST_LENGTH, extra: 0, extra_bits: 0 }
        } else {
            Slot::new(u32::from(self.len) - 3, 2, END + 1)
        };
        (length, Slot::new(u32::from(self.distance) - 1, 1, 0))
    }
}

impl Slot {
    /// Divides a number: the symbol, counted from `first`, is its highest bit with the next `bits`.
    #[inline(always)]
    fn new(number: u32, bits: u32, first: usize) -> Self {
        let extra_bits = (number | 1).ilog2().saturating_sub(bits);
        Self {
            symbol: first + ((extra_bits << bits) + (number >> extra_bits)) as usize,
            extra: u64::from(number & ((1 << extra_bits) - 1)),
            extra_bits,
        }
    }

    #[inline(always)]
    fn append_to(&self, (code, bits): (u64, u32)) -> (u64, u32) {
        (code | self.extra << bits, bits + self.extra_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951 section 3.2.5.
    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_format() {
        let slots = |len, distance| Match { literals: 0, len, distance }.slots();
        let slot = |symbol, extra, extra_bits| Slot { symbol, extra, extra_bits };
        for (len, expected) in [
            (3, slot(257, 0, 0)),
            (10, slot(264, 0, 0)),
            (11, slot(265, 0, 1)),
            (12, slot(265, 1, 1)),
            (18, slot(268, 1, 1)),
            (19, slot(269, 0, 2)),
            (34, slot(272, 3, 2)),
            (114, slot(279, 15, 4)),
            (115, slot(280, 0, 4)),
            (257, slot(284, 30, 5)),
            (258, slot(285, 0, 0)),
        ] {
            assert_eq!(slots(len, 1).0, expected, "length {len}");
        }
        for (distance, expected) in [
            (1, slot(0, 0, 0)),
            (4, slot(3, 0, 0)),
            (5, slot(4, 0, 1)),
            (6, slot(4, 1, 1)),
            (7, slot(5, 0, 1)),
            (24, slot(8, 7, 3)),
            (25, slot(9, 0, 3)),
            (257, slot(16, 0, 7)),
            (2048, slot(21, 511, 9)),
            (4096, slot(23, 1023, 10)),
        ] {
            assert_eq!(slots(3, distance).1, expected, "distance {distance}");
        }
    }
}
