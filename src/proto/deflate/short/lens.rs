//! The lengths of codes, as a block contains them (RFC 1951 section 3.2.7).

use super::{bits::BitWriter, huffman::Alphabet};

/// The symbols for lengths and for runs of lengths; the last ones do not exist.
const SYMBOLS: usize = 24;

/// The longest code of such a symbol, in bits.
const LONGEST: usize = 7;

/// The order in which the lengths of their codes are written, at least four.
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The bits behind each symbol.
const EXTRA_BITS: [u32; SYMBOLS] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7, 0, 0, 0, 0, 0];

/// The symbols for runs, and the shortest and longest run of each.
const REPEATED: &[(u8, usize, usize)] = &[(16, 3, 6)];
const ZEROS: &[(u8, usize, usize)] = &[(18, 11, 138), (17, 3, 10)];

/// The lengths of the codes of two alphabets.
pub(super) struct LenSequence {
    /// Symbols, and the bits behind each.
    items: Vec<(u8, u8)>,
    alphabet: Alphabet<SYMBOLS>,
    /// How many lengths there are of codes for literals, for distances, and for symbols.
    numbers: [usize; 3],
}

impl LenSequence {
    pub(super) fn new() -> Self {
        Self { items: Vec::new(), alphabet: Alphabet::new(), numbers: [0; 3] }
    }

    pub(super) fn set<const L: usize, const D: usize>(
        &mut self,
        literals: &Alphabet<L>,
        distances: &Alphabet<D>,
    ) {
        self.items.clear();
        self.alphabet.clear();
        let (literals, distances) = (self.push_all(literals), self.push_all(distances));
        self.alphabet.build(LONGEST);
        let is_used = |&symbol: &u8| self.alphabet.len(symbol.into()) > 0;
        let ordered = ORDER.iter().rposition(is_used).map_or(0, |last| last + 1).max(4);
        self.numbers = [literals, distances, ordered];
    }

    /// Appends all lengths up to the last one that is not 0; returns their number.
    fn push_all<const N: usize>(&mut self, alphabet: &Alphabet<N>) -> usize {
        let (mut end, mut len, mut run) = (0, 0, 0);
        for symbol in alphabet.used() {
            if symbol > end || alphabet.len(symbol) != len {
                self.push_run(len, run);
                self.push_run(0, symbol - end);
                (len, run) = (alphabet.len(symbol), 0);
            }
            run += 1;
            end = symbol + 1;
        }
        self.push_run(len, run);
        end
    }

    fn push_run(&mut self, len: u8, mut run: usize) {
        if len > 0 && run > 0 {
            self.push(len, 0);
            run -= 1;
        }
        for &(symbol, least, most) in if len > 0 { REPEATED } else { ZEROS } {
            while run >= least {
                let now = run.min(most);
                self.push(symbol, (now - least) as u8);
                run -= now;
            }
        }
        (0..run).for_each(|_| self.push(len, 0));
    }

    fn push(&mut self, symbol: u8, extra: u8) {
        self.items.push((symbol, extra));
        self.alphabet.add(symbol.into());
    }

    /// Returns how many bits are written.
    pub(super) fn cost(&self) -> usize {
        let runs = (16..=18).map(|run| self.alphabet.frequency(run) * EXTRA_BITS[run] as usize);
        5 + 5 + 4 + 3 * self.numbers[2] + self.alphabet.cost_by(&self.alphabet) + runs.sum::<usize>()
    }

    pub(super) fn write(&self, writer: &mut BitWriter<'_>) {
        let [literals, distances, ordered] = self.numbers;
        writer.put((literals - 257 + ((distances - 1) << 5) + ((ordered - 4) << 10)) as u64, 5 + 5 + 4);
        for symbol in &ORDER[..ordered] {
            writer.put(self.alphabet.len((*symbol).into()).into(), 3);
        }
        for &(symbol, extra) in &self.items {
            let (code, bits) = self.alphabet.code(symbol.into());
            writer.put(code | u64::from(extra) << bits, bits + EXTRA_BITS[usize::from(symbol)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the code for symbols that occur equally often.
    fn equal<const N: usize>(symbols: impl IntoIterator<Item = usize>) -> Alphabet<N> {
        let mut alphabet = Alphabet::new();
        symbols.into_iter().for_each(|symbol| alphabet.add(symbol));
        alphabet.build(15);
        alphabet
    }

    /// RFC 1951 section 3.2.7.
    #[test]
    fn equal_lengths_and_zeros_are_written_as_runs() {
        let literals = equal::<288>((20..35).chain([256]));
        let mut lens = LenSequence::new();
        lens.set(&literals, &equal::<32>([3, 4]));
        let zeros = |run: u8| if run > 10 { (18, run - 11) } else { (17, run - 3) };
        let expected = [
            &[zeros(20), (4, 0), (16, 3), (16, 3), (4, 0), (4, 0)][..],
            &[zeros(138), zeros(83), (4, 0)],
            &[zeros(3), (1, 0), (1, 0)],
        ];
        assert_eq!(lens.items, expected.concat());
        assert_eq!(lens.numbers[..2], [257, 5]);
    }
}
