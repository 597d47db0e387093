//! Where a node is in the history of a room, as pure functions.
//!
//! Offsets of a room are contiguous, so a node sees that it has missed messages. A server that has
//! lost the end of a history, in a crash or a failover, assigns the same offsets again. Therefore
//! each message also has the time at which the server stored it: two messages with the same offset
//! have different times.

/// The place and the time of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    /// Microseconds, by the clock of the server.
    pub(crate) stamp: u64,
}

/// The last message that a node has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    /// `None` if the node has only skipped it.
    pub(crate) stamp: Option<u64>,
}

/// The end of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    /// `None` if the history is new.
    pub(crate) stamp: Option<u64>,
    /// The offset behind which the epoch begins.
    pub(crate) base: u64,
}

/// What to do with a message that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Next,
    /// It was passed before.
    Known,
    /// Messages are missing before it, or the history is another one.
    Gap,
}

/// What to do with what was read behind a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The end of the history is not what was passed: it needs another epoch.
    Fork,
    /// Messages are lost: continue behind this.
    Lost(Cursor),
    /// Pass as many of the entries, after skipping some; then there may be more.
    Pass { skip: usize, count: usize },
    /// Nothing is missing.
    Level,
}

impl Cursor {
    /// Compares a message that was published.
    pub(crate) fn judge(&self, head: &Head) -> Verdict {
        if head.epoch != self.epoch || head.offset > self.offset + 1 {
            Verdict::Gap
        } else if head.offset == self.offset + 1 {
            Verdict::Next
        } else if self.stamp.is_some_and(|stamp| head.stamp > stamp) {
            // Stored after what was passed, with an offset before it.
            Verdict::Gap
        } else {
            Verdict::Known
        }
    }

    /// Plans what to do with the end of a history, and the heads of entries that were read from the
    /// offset of the cursor on.
    pub(crate) fn plan(&self, state: &State, entries: &[Head]) -> Plan {
        if state.epoch != self.epoch {
            return Plan::Lost(Cursor { epoch: state.epoch, offset: state.base, stamp: None });
        }
        let is_same = |stamp| self.stamp.is_none_or(|known| stamp == known);
        if state.offset < self.offset {
            return Plan::Fork;
        }
        if state.offset == self.offset {
            return if state.stamp.is_none_or(is_same) { Plan::Level } else { Plan::Fork };
        }
        let skip = usize::from(entries.first().is_some_and(|first| first.offset == self.offset));
        if skip == 1 && !is_same(entries[0].stamp) {
            return Plan::Fork;
        }
        let behind = &entries[skip..];
        match behind.first() {
            // All of them were removed.
            None => Plan::Lost(Cursor { epoch: self.epoch, offset: state.offset, stamp: state.stamp }),
            Some(first) if first.offset == self.offset + 1 => {
                let contiguous = (first.offset..).zip(behind).take_while(|(next, head)| head.offset == *next);
                Plan::Pass { skip, count: contiguous.count() }
            }
            Some(first) => Plan::Lost(Cursor { epoch: self.epoch, offset: first.offset - 1, stamp: None }),
        }
    }
}

impl From<Head> for Cursor {
    fn from(head: Head) -> Self {
        Self { epoch: head.epoch, offset: head.offset, stamp: Some(head.stamp) }
    }
}

impl From<State> for Cursor {
    fn from(state: State) -> Self {
        Self { epoch: state.epoch, offset: state.offset, stamp: state.stamp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURSOR: Cursor = Cursor { epoch: 1, offset: 10, stamp: Some(1010) };

    /// A message of the first history: its time follows from its offset.
    fn head(offset: u64) -> Head {
        Head { epoch: 1, offset, stamp: 1000 + offset }
    }

    fn heads(offsets: std::ops::RangeInclusive<u64>) -> Vec<Head> {
        offsets.map(head).collect()
    }

    fn state(offset: u64) -> State {
        State { epoch: 1, offset, stamp: Some(1000 + offset), base: 0 }
    }

    #[test]
    fn the_next_message_is_passed_and_known_ones_are_not() {
        assert_eq!(CURSOR.judge(&head(11)), Verdict::Next);
        assert_eq!(CURSOR.judge(&head(10)), Verdict::Known);
        assert_eq!(CURSOR.judge(&head(3)), Verdict::Known);
    }

    #[test]
    fn a_later_offset_another_epoch_and_a_newer_message_in_an_old_place_are_gaps() {
        assert_eq!(CURSOR.judge(&head(12)), Verdict::Gap);
        assert_eq!(CURSOR.judge(&Head { epoch: 2, ..head(11) }), Verdict::Gap);
        assert_eq!(CURSOR.judge(&Head { stamp: 2000, ..head(9) }), Verdict::Gap);
    }

    #[test]
    fn nothing_is_missing_at_the_end_of_the_history() {
        assert_eq!(CURSOR.plan(&state(10), &heads(10..=10)), Plan::Level);
        assert_eq!(CURSOR.plan(&state(10), &[]), Plan::Level, "all messages were removed");
        let new = Cursor { epoch: 1, offset: 0, stamp: None };
        assert_eq!(new.plan(&State { stamp: None, ..state(0) }, &[]), Plan::Level);
    }

    #[test]
    fn messages_behind_the_cursor_are_passed() {
        assert_eq!(CURSOR.plan(&state(13), &heads(10..=13)), Plan::Pass { skip: 1, count: 3 });
        assert_eq!(
            CURSOR.plan(&state(13), &heads(11..=13)),
            Plan::Pass { skip: 0, count: 3 },
            "10 was removed"
        );
        assert_eq!(CURSOR.plan(&state(99), &heads(10..=12)), Plan::Pass { skip: 1, count: 2 }, "a page");
    }

    #[test]
    fn a_page_is_passed_up_to_a_hole() {
        let entries = [head(10), head(11), head(13)];
        assert_eq!(CURSOR.plan(&state(13), &entries), Plan::Pass { skip: 1, count: 1 });
    }

    #[test]
    fn removed_messages_are_lost() {
        let behind = |offset| Cursor { epoch: 1, offset, stamp: None };
        assert_eq!(CURSOR.plan(&state(20), &heads(15..=20)), Plan::Lost(behind(14)));
        assert_eq!(CURSOR.plan(&state(20), &heads(10..=10)), Plan::Lost(state(20).into()));
        assert_eq!(CURSOR.plan(&state(20), &[]), Plan::Lost(state(20).into()));
    }

    #[test]
    fn another_epoch_is_followed_from_its_beginning() {
        let other = State { epoch: 2, offset: 5, stamp: Some(1), base: 3 };
        assert_eq!(
            CURSOR.plan(&other, &heads(10..=13)),
            Plan::Lost(Cursor { epoch: 2, offset: 3, stamp: None })
        );
    }

    #[test]
    fn a_history_whose_end_was_lost_is_forked() {
        let replaced = Head { stamp: 2000, ..head(10) };
        assert_eq!(CURSOR.plan(&state(9), &[]), Plan::Fork, "the end is missing");
        assert_eq!(CURSOR.plan(&State { stamp: Some(2000), ..state(10) }, &[replaced]), Plan::Fork);
        assert_eq!(CURSOR.plan(&state(12), &[replaced, head(11), head(12)]), Plan::Fork);
    }
}
