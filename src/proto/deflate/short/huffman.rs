//! Huffman codes of limited length.

/// The number of symbols of the largest alphabet, that of literals and lengths.
pub(super) const LARGEST: usize = 288;

/// The longest code of the format, in bits.
pub(super) const LONGEST_CODE: usize = 15;

/// Smaller frequencies are sorted by counting.
const COUNTED: usize = 48;

/// How often each of `N` symbols occurs, and a code for those that do. `N` is a multiple of 8.
pub(super) struct Alphabet<const N: usize> {
    frequencies: [u16; N],
    /// The symbols that have a code, in their order.
    used: [u16; N],
    count: usize,
    /// The lengths of codes, in bits; 0 for symbols that have none.
    lens: [u8; N],
    /// The codes, in the order in which their bits are written.
    codes: [u16; N],
}

/// A symbol and its frequency, the first criterion when they are sorted.
type Leaf = (u16, u16);

impl<const N: usize> Alphabet<N> {
    pub(super) fn new() -> Self {
        Self { frequencies: [0; N], used: [0; N], count: 0, lens: [0; N], codes: [0; N] }
    }

    /// Creates the code with these lengths.
    pub(super) fn with_lens(lens: [u8; N]) -> Self {
        let used = std::array::from_fn(|symbol| symbol as u16);
        let mut alphabet = Self { lens, used, count: N, ..Self::new() };
        let mut counts = [0; LONGEST_CODE + 1];
        lens.iter().for_each(|&len| counts[usize::from(len)] += 1);
        alphabet.assign(&counts);
        alphabet
    }

    /// Forgets what was counted.
    pub(super) fn clear(&mut self) {
        self.frequencies = [0; N];
    }

    /// Counts a symbol.
    #[inline(always)]
    pub(super) fn add(&mut self, symbol: usize) {
        self.frequencies[symbol] += 1;
    }

    /// Builds the best code for what was counted in which none has more than `limit` bits.
    pub(super) fn build(&mut self, limit: usize) {
        self.collect();
        let mut leaves = [Leaf::default(); LARGEST];
        let mut leaves = self.sort(&mut leaves);
        let counts = counts_by_len(leaves, limit);
        self.lens = [0; N];
        // The rarest symbols have the longest codes.
        for (len, &count) in counts.iter().enumerate().rev() {
            let (these, more_frequent) = leaves.split_at(count.into());
            these.iter().for_each(|&(_, symbol)| self.lens[usize::from(symbol)] = len as u8);
            leaves = more_frequent;
        }
        self.assign(&counts);
    }

    /// Collects the symbols that occur, and at least two: some decoders reject a code with fewer.
    fn collect(&mut self) {
        self.count = 0;
        for (nth, eight) in self.frequencies.as_chunks::<8>().0.iter().enumerate() {
            // Most symbols do not occur.
            if *eight != [0; 8] {
                for symbol in 8 * nth..8 * nth + 8 {
                    self.used[self.count] = symbol as u16;
                    self.count += usize::from(self.frequencies[symbol] > 0);
                }
            }
        }
        for symbol in 0..2 {
            if self.count < 2 && self.frequencies[usize::from(symbol)] == 0 {
                self.used[self.count] = symbol;
                self.count += 1;
                self.used[..self.count].sort_unstable();
            }
        }
    }

    fn sort<'a>(&self, leaves: &'a mut [Leaf; LARGEST]) -> &'a [Leaf] {
        let mut ends = [0; COUNTED + 1];
        let bucket = |(frequency, _): Leaf| usize::from(frequency).min(COUNTED);
        let unsorted = self.used().map(|symbol| (self.frequencies[symbol], symbol as u16));
        unsorted.clone().for_each(|leaf| ends[bucket(leaf)] += 1);
        let mut end = 0;
        ends.iter_mut().for_each(|count| (*count, end) = (end, end + *count));
        let counted = ends[COUNTED];
        for leaf in unsorted {
            let end = &mut ends[bucket(leaf)];
            leaves[*end] = leaf;
            *end += 1;
        }
        leaves[counted..self.count].sort_unstable();
        &leaves[..self.count]
    }

    /// Assigns the codes by their lengths (RFC 1951 section 3.2.2).
    fn assign(&mut self, counts: &[u16; LONGEST_CODE + 1]) {
        let mut next = [0_u16; LONGEST_CODE + 1];
        (1..LONGEST_CODE).for_each(|len| next[len + 1] = (next[len] + counts[len]) << 1);
        for symbol in self.used[..self.count].iter().map(|&symbol| usize::from(symbol)) {
            let len = usize::from(self.lens[symbol]);
            // RFC 1951 section 3.1.1: codes begin with their most significant bit.
            self.codes[symbol] = next[len].reverse_bits() >> (16 - len);
            next[len] += 1;
        }
    }

    /// Returns the symbols that have a code, in their order.
    pub(super) fn used(&self) -> impl Iterator<Item = usize> + Clone {
        self.used[..self.count].iter().map(|&symbol| symbol.into())
    }

    /// Returns the code of a symbol, and its length.
    #[inline(always)]
    pub(super) fn code(&self, symbol: usize) -> (u64, u32) {
        (self.codes[symbol].into(), self.lens[symbol].into())
    }

    /// Returns the length of the code of a symbol.
    pub(super) fn len(&self, symbol: usize) -> u8 {
        self.lens[symbol]
    }

    /// Returns how often a symbol occurs.
    pub(super) fn frequency(&self, symbol: usize) -> usize {
        self.frequencies[symbol].into()
    }

    /// Returns how many bits everything that was counted takes by the code of `other`.
    pub(super) fn cost_by(&self, other: &Self) -> usize {
        self.used().map(|symbol| self.frequency(symbol) * usize::from(other.lens[symbol])).sum()
    }
}

/// Returns how many codes of each length there are in the best code for sorted leaves, at least two.
fn counts_by_len(leaves: &[Leaf], limit: usize) -> [u16; LONGEST_CODE + 1] {
    let parents = merge(leaves);
    let mut depths = [0_u8; LARGEST];
    // How many inner nodes there are at each depth; those at `limit` and below it are too deep.
    let mut inner = [0; LONGEST_CODE + 1];
    inner[0] = 1;
    for node in (0..leaves.len() - 2).rev() {
        let depth = depths[usize::from(parents[node])] + 1;
        depths[node] = depth;
        inner[limit.min(depth.into())] += 1;
    }
    let too_deep = std::mem::take(&mut inner[limit]);
    let mut counts = [0; LONGEST_CODE + 1];
    (1..=limit).for_each(|len| counts[len] = 2 * inner[len - 1] - inner[len]);
    // Each node that is left out leaves one leaf without a place. The longest code that is shorter
    // than the limit is divided in two for it.
    for _ in 0..too_deep {
        if let Some(len) = counts[..limit].iter().rposition(|&count| count > 0) {
            counts[len] -= 1;
            counts[len + 1] += 2;
        }
    }
    counts
}

/// Merges sorted leaves into a Huffman tree, and returns the parent of each inner node: they are
/// numbered by their weights, and the last one is the root.
fn merge(leaves: &[Leaf]) -> [u16; LARGEST] {
    // A node that does not exist yet is heavier than all others.
    let (mut weights, mut parents) = ([u16::MAX; LARGEST], [0; LARGEST]);
    let (mut leaf, mut child) = (0, 0);
    for node in 0..leaves.len() - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            // Without branches, because whether a leaf or a node is lighter cannot be predicted.
            let lightest = leaves.get(leaf).map_or(u16::MAX, |&(frequency, _)| frequency);
            let is_leaf = lightest <= weights[child];
            weight += lightest.min(weights[child]);
            parents[child] = node as u16; // final once it is taken
            leaf += usize::from(is_leaf);
            child += usize::from(!is_leaf);
        }
        weights[node] = weight;
    }
    parents
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn built<const N: usize>(frequencies: &[u16], limit: usize) -> Alphabet<N> {
        let mut alphabet = Alphabet::new();
        alphabet.frequencies[..frequencies.len()].copy_from_slice(frequencies);
        alphabet.build(limit);
        alphabet
    }

    /// Returns the length of all symbols with the best code, built by the textbook.
    fn best_cost(frequencies: &[u16]) -> usize {
        let mut weights: Vec<usize> =
            frequencies.iter().map(|&count| count.into()).filter(|&count| count > 0).collect();
        let mut cost = 0;
        while weights.len() > 1 {
            weights.sort_unstable_by(|a, b| b.cmp(a));
            let merged = weights.pop().into_iter().chain(weights.pop()).sum();
            cost += merged;
            weights.push(merged);
        }
        cost
    }

    /// Asserts that no code begins with another one, and that all bits have a meaning.
    #[track_caller]
    fn is_complete<const N: usize>(alphabet: &Alphabet<N>, limit: usize) {
        let mut total = 0;
        for symbol in alphabet.used() {
            let (code, len) = alphabet.code(symbol);
            assert!((1..=limit as u32).contains(&len), "{len}");
            total += 1 << (limit as u32 - len);
            for other in alphabet.used() {
                let (other_code, other_len) = alphabet.code(other);
                let prefix = other_len >= len && other_code & ((1 << len) - 1) == code;
                assert_eq!(prefix, other == symbol, "{other} begins with {symbol}");
            }
        }
        assert_eq!(total, 1 << limit);
        assert_eq!(alphabet.lens.iter().filter(|&&len| len > 0).count(), alphabet.count);
    }

    /// RFC 1951 section 3.2.2.
    #[test]
    fn codes_of_one_length_are_consecutive() {
        let alphabet = Alphabet::<8>::with_lens([3, 3, 3, 3, 3, 2, 4, 4]);
        let written = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111];
        for (symbol, bits) in written.into_iter().enumerate() {
            let (code, len) = alphabet.code(symbol);
            assert_eq!(code, u64::from(u16::reverse_bits(bits) >> (16 - len)), "{symbol}");
        }
    }

    #[test]
    fn at_least_two_symbols_have_codes() {
        for (frequencies, used) in
            [(&[0_u16; 3][..], [0, 1]), (&[5, 0, 0], [0, 1]), (&[0, 5, 0], [0, 1]), (&[0, 0, 5], [0, 2])]
        {
            let alphabet = built::<8>(frequencies, 7);
            assert_eq!(alphabet.used().collect::<Vec<_>>(), used);
            is_complete(&alphabet, 7);
        }
    }

    #[test]
    fn frequencies_like_fibonacci_numbers_are_limited() {
        let fibonacci: Vec<u16> = std::iter::successors(Some((1, 1)), |&(a, b)| Some((b, a + b)))
            .map(|(a, _)| a)
            .take(16)
            .collect();
        for limit in [5, 7, 8, 15] {
            is_complete(&built::<24>(&fibonacci, limit), limit);
        }
        let alphabet = built::<24>(&fibonacci, 15);
        assert_eq!(alphabet.cost_by(&alphabet), best_cost(&fibonacci), "15 bits are enough");
    }

    proptest! {
        #[test]
        fn a_code_is_complete_and_the_best(
            frequencies in proptest::collection::vec(prop_oneof![Just(0), 0..4_u16, 0..60_u16], 0..=LARGEST),
        ) {
            let alphabet = built::<LARGEST>(&frequencies, LONGEST_CODE);
            is_complete(&alphabet, LONGEST_CODE);
            let used = frequencies.iter().filter(|&&count| count > 0).count();
            let expected = if used < 2 { frequencies.iter().sum::<u16>().into() } else { best_cost(&frequencies) };
            prop_assert_eq!(alphabet.cost_by(&alphabet), expected);
        }

        #[test]
        fn a_limited_code_is_complete(
            frequencies in proptest::collection::vec(prop_oneof![Just(0), 0..3_u16, 0..2_000_u16], 0..=19),
        ) {
            is_complete(&built::<24>(&frequencies, 7), 7);
        }
    }
}
