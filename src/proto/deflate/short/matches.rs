//! Repetitions in a message.

/// The longest message, in bytes.
pub(in crate::proto) const LONGEST: usize = 4096;

/// The longest match of the format.
pub(super) const LONGEST_MATCH: usize = 258;

/// In messages of at most this length, matches of three bytes are searched for. In longer ones, the
/// codes of literals are so short that such a match rarely makes the message shorter.
const THREES: usize = 512;

/// Of the entries for hashes, between `2^LEAST_BITS` and `2^MOST_BITS` are used.
const LEAST_BITS: u32 = 6;
const MOST_BITS: u32 = LONGEST.ilog2();

/// The bytes that are compared at once.
const WORD: usize = size_of::<u64>();

/// Literals, and bytes behind them that repeat earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// The number of literals.
    pub(super) literals: u16,
    pub(super) len: u16,
    pub(super) distance: u16,
}

/// How thoroughly repetitions are searched for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Effort {
    /// The most earlier positions that are compared with one position.
    pub(super) depth: u32,
    /// The length of a match from which on no longer one is searched for at its position.
    pub(super) enough: usize,
    /// The length of a match up to which a better one is searched for at the next position.
    pub(super) lazy: usize,
}

/// Finds repetitions, by chains of the positions that have the same hash.
pub(super) struct Matcher {
    /// A copy of the message, with room behind it, so that a word can be read at each position.
    text: Box<[u8; LONGEST + WORD]>,
    len: usize,
    /// The last position with each hash, counted from 1; 0 if there is none.
    heads: Box<[u16; 1 << MOST_BITS]>,
    /// For each position, the last one before it with the same hash, likewise.
    chain: Box<[u16; LONGEST]>,
    /// The number of bytes that are hashed: no match is shorter.
    least: usize,
    /// The number of bits of a hash that are not used.
    unused: u32,
    window: usize,
    effort: Effort,
    /// The number of comparisons.
    #[cfg(test)]
    steps: usize,
}

/// A match at some position; its distance is 0 if there is none.
#[derive(Clone, Copy)]
struct Candidate {
    len: usize,
    distance: usize,
}

impl Matcher {
    pub(super) fn new() -> Self {
        Self {
            text: Box::new([0; LONGEST + WORD]),
            len: 0,
            heads: Box::new([0; 1 << MOST_BITS]),
            chain: Box::new([0; LONGEST]),
            least: 0,
            unused: 0,
            window: 0,
            effort: Effort::default(),
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Replaces `found` by the matches of a message, which has at most [`LONGEST`] bytes. They reach
    /// back over at most `window` bytes.
    pub(super) fn find_all(&mut self, message: &[u8], window: usize, effort: Effort, found: &mut Vec<Match>) {
        // About as many entries as positions, so that few are cleared for a short message.
        let bits = (message.len() | 1).ilog2().clamp(LEAST_BITS - 1, MOST_BITS - 1) + 1;
        self.heads[..1 << bits].fill(0);
        self.text[..message.len()].copy_from_slice(message);
        self.least = if message.len() <= THREES { 3 } else { 4 };
        (self.len, self.unused, self.window, self.effort) = (message.len(), u64::BITS - bits, window, effort);
        found.clear();
        self.search(found);
    }

    /// Finds all matches: of those that begin at two successive positions, the better one.
    fn search(&mut self, found: &mut Vec<Match>) {
        // At the last positions, no match is long enough.
        let last = (self.len + 1).saturating_sub(self.least);
        let none = Candidate { len: self.least - 1, distance: 0 };
        // The best match at the position before this one.
        let mut best = none;
        let (mut at, mut literals) = (0, 0);
        while at < last || best.distance > 0 {
            let mut inserted = at;
            if at < last && (best.distance == 0 || best.len <= self.effort.lazy) {
                let next = self.find(at, best);
                inserted += 1;
                if next.is_better_than(best) {
                    best = next;
                    at += 1;
                    continue;
                }
            }
            if best.distance == 0 {
                at += 1;
                continue;
            }
            let (len, distance) = (best.len as u16, best.distance as u16);
            found.push(Match { literals: (at - 1 - literals) as u16, len, distance });
            at += best.len - 1;
            for skipped in inserted..at.min(last) {
                self.insert(skipped, self.word(skipped));
            }
            literals = at;
            best = none;
        }
    }

    /// Inserts a position, and returns the longest match there, the nearest one of several, that may
    /// be better than the best one at the position before.
    #[inline(always)]
    fn find(&mut self, at: usize, before: Candidate) -> Candidate {
        let here = self.word(at);
        let mut next = usize::from(self.insert(at, here));
        let mut best = Candidate { len: before.len - usize::from(before.distance > 0), distance: 0 };
        // A long match is hardly ever surpassed.
        let mut left = if before.len < WORD { self.effort.depth } else { self.effort.depth / 4 };
        let most = LONGEST_MATCH.min(self.len - at);
        let enough = self.effort.enough.min(most);
        let end = at.saturating_sub(self.window);
        let mut wanted = self.pair(at + best.len - 1);
        while next > end && left > 0 {
            let from = next - 1;
            #[cfg(test)]
            (self.steps += 1);
            // The last bytes of what would be longer differ most often.
            if self.pair(from + best.len - 1) == wanted {
                let len = self.common(from, at, here, most);
                if len > best.len {
                    best = Candidate { len, distance: at - from };
                    if len >= enough {
                        break;
                    }
                    wanted = self.pair(at + len - 1);
                }
            }
            next = self.chain[from % LONGEST].into();
            left -= 1;
        }
        best
    }

    /// Inserts a position; returns the last one with the same hash, counted from 1.
    #[inline(always)]
    fn insert(&mut self, at: usize, word: u64) -> u16 {
        let hashed = word << (u64::BITS - 8 * self.least as u32);
        let hash = (hashed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.unused) as usize;
        let head = std::mem::replace(&mut self.heads[hash % (1 << MOST_BITS)], at as u16 + 1);
        self.chain[at % LONGEST] = head;
        head
    }

    /// Returns how many bytes are the same, at most `most`.
    #[inline(always)]
    fn common(&mut self, from: usize, at: usize, here: u64, most: usize) -> usize {
        let (mut differ, mut len) = (here ^ self.word(from), 0);
        while differ == 0 && len + WORD < most {
            #[cfg(test)]
            (self.steps += 1);
            len += WORD;
            differ = self.word(at + len) ^ self.word(from + len);
        }
        most.min(len + differ.trailing_zeros() as usize / 8)
    }

    /// Returns the bytes from a position on.
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        self.text[at % LONGEST..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    #[inline(always)]
    fn pair(&self, at: usize) -> u16 {
        self.text[at % LONGEST..].first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }
}

impl Candidate {
    /// Returns whether it is better than a match at the position before, though it costs a literal.
    #[inline(always)]
    fn is_better_than(self, before: Self) -> bool {
        if self.distance == 0 || before.distance == 0 {
            return self.distance > 0;
        }
        // A byte more is worth four bits, and a distance takes about its logarithm.
        4 * self.len + before.distance.ilog2() as usize > 4 * before.len + self.distance.ilog2() as usize + 2
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THOROUGH: Effort = Effort { depth: 256, enough: 258, lazy: 258 };

    /// Returns the matches of a message, all of which are verified.
    #[track_caller]
    fn matches(message: &[u8], window: usize, effort: Effort) -> Vec<Match> {
        let mut found = Vec::new();
        Matcher::new().find_all(message, window, effort, &mut found);
        let mut restored = Vec::new();
        for found in &found {
            restored.extend_from_slice(&message[restored.len()..][..found.literals.into()]);
            let distance = usize::from(found.distance);
            assert!((1..=window.min(restored.len())).contains(&distance), "{found:?}");
            assert!((3..=LONGEST_MATCH).contains(&found.len.into()), "{found:?}");
            for _ in 0..found.len {
                restored.push(restored[restored.len() - distance]);
            }
        }
        assert_eq!(restored, message[..restored.len()]);
        found
    }

    #[test]
    fn a_repetition_is_found_at_once() {
        let found = matches(b"abcdefg-abcdefg", 256, THOROUGH);
        assert_eq!(found, [Match { literals: 8, len: 7, distance: 8 }]);
    }

    #[test]
    fn a_longer_match_at_the_next_position_is_preferred() {
        let message = b"xabc, abcdefgh, xabcdefgh";
        let lazily = matches(message, 256, THOROUGH);
        assert_eq!(lazily.last(), Some(&Match { literals: 8, len: 8, distance: 11 }));
        let at_once = matches(message, 256, Effort { lazy: 0, ..THOROUGH });
        assert_eq!(at_once.iter().map(|found| found.len).collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn a_match_may_end_with_the_message_and_overlap_itself() {
        assert_eq!(matches(b"aaaaaaaaaa", 256, THOROUGH), [Match { literals: 1, len: 9, distance: 1 }]);
        assert_eq!(matches(b"abcabc", 256, THOROUGH), [Match { literals: 3, len: 3, distance: 3 }]);
        assert_eq!(matches(&[7; 600], 256, THOROUGH).len(), 3);
    }

    #[test]
    fn no_match_reaches_back_further_than_the_window() {
        for (between, expected) in [(252, 1), (253, 0)] {
            let message =
                [&b"\xF0\xF1\xF2\xF3"[..], &(0..between).rev().collect::<Vec<u8>>(), b"\xF0\xF1\xF2\xF3"];
            let far = |found: &&Match| usize::from(found.distance) > 200;
            let found = matches(&message.concat(), 256, THOROUGH);
            assert_eq!(found.iter().filter(far).count(), expected, "{between}");
        }
    }

    /// Returns messages in which many positions have the same hash, or nearly the same matches.
    fn adversarial() -> Vec<Vec<u8>> {
        let fill = |piece: &dyn Fn(usize) -> Vec<u8>| {
            let mut message: Vec<u8> = (0..LONGEST).flat_map(piece).take(LONGEST).collect();
            message.truncate(LONGEST);
            message
        };
        vec![
            fill(&|_| vec![0]),
            fill(&|nth| vec![(nth % 2) as u8]),
            fill(&|nth| [&[0; 7][..], &[nth as u8]].concat()),
            fill(&|nth| [&[0; 9][..], &(nth as u16).to_be_bytes()].concat()),
            fill(&|nth| [&[1; 31][..], &[nth as u8, nth as u8]].concat()),
            fill(&|nth| [&[1; 100][..], &[nth as u8, (nth / 3) as u8]].concat()),
            // Matches that become longer by one from position to position.
            fill(&|nth| (0..nth % 64).map(|byte| byte as u8).rev().collect()),
            fill(&|nth| vec![b'a'; nth % 200].into_iter().chain([b'b']).collect()),
        ]
    }

    #[test]
    fn the_number_of_steps_is_linear_in_the_length() {
        for level in 1..=9 {
            let effort = super::super::effort(level);
            for (nth, message) in adversarial().into_iter().enumerate() {
                let mut matcher = Matcher::new();
                matcher.find_all(&message, 1 << 15, effort, &mut Vec::new());
                let most = message.len() * (effort.depth as usize + 1);
                assert!(matcher.steps <= most, "{} of {most} in {nth} at level {level}", matcher.steps);
            }
        }
    }

    #[test]
    fn a_long_message_has_as_many_hashes_as_positions() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(LONGEST)
        .collect();
        let mut matcher = Matcher::new();
        matcher.find_all(&noise, LONGEST, THOROUGH, &mut Vec::new());
        // By chance, half as many positions have the hash of this one and are before it.
        assert!((LONGEST / 4..3 * LONGEST / 4).contains(&matcher.steps), "{}", matcher.steps);
    }

    proptest! {
        #[test]
        fn matches_are_valid_within_any_window(
            pieces in proptest::collection::vec("[abc]{1,30}|[a-z]{1,8}", 0..200),
            window_bits in 8..=15_u8,
            level in 1..=9_u8,
        ) {
            let mut message = pieces.concat().into_bytes();
            message.truncate(LONGEST);
            matches(&message, 1 << window_bits, super::super::effort(level));
        }
    }
}
