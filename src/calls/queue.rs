//! The events that wait for their handlers.

use std::collections::VecDeque;

use super::limits::Limits;

/// What an event takes in memory beside its payload data, about.
const OVERHEAD: usize = 128;

/// The events that wait for their handlers, in the order of their arrival.
#[derive(Debug)]
pub(super) struct Queue<T> {
    events: VecDeque<(usize, T)>,
    bytes: usize,
    limits: Limits,
}

impl<T> Queue<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { events: VecDeque::new(), bytes: 0, limits }
    }

    /// Queues an event with this much payload data.
    pub(super) fn push(&mut self, len: usize, event: T) {
        let cost = len + OVERHEAD;
        self.bytes += cost;
        self.events.push_back((cost, event));
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let (cost, event) = self.events.pop_front()?;
        self.bytes -= cost;
        if self.events.is_empty() {
            // A connection that waits keeps no memory for a burst.
            self.events = VecDeque::new();
        }
        Some(event)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns whether another message may be received.
    ///
    /// With `answer_expected`, only the bytes count: the answer may be behind any number of events.
    pub(super) fn has_room(&self, answer_expected: bool) -> bool {
        let few = answer_expected || self.events.len() < self.limits.max_waiting;
        few && self.bytes < self.limits.max_waiting_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_an_expected_answer_lifts_the_first() {
        let mut queue = Queue::new(Limits::new().max_waiting(2).max_waiting_bytes(1000));
        queue.push(10, 'a');
        assert!(queue.has_room(false));
        queue.push(10, 'b');
        assert!(!queue.has_room(false) && queue.has_room(true));
        queue.push(700, 'c');
        assert!(!queue.has_room(true));
        assert_eq!((queue.pop(), queue.pop()), (Some('a'), Some('b')));
        assert!(queue.has_room(false));
        assert_eq!((queue.pop(), queue.pop()), (Some('c'), None));
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn one_event_of_any_length_is_accepted() {
        let mut queue = Queue::new(Limits::new().max_waiting_bytes(10));
        assert!(queue.has_room(false));
        queue.push(1 << 20, ());
        assert!(!queue.has_room(false) && !queue.has_room(true));
        queue.clear();
        assert!(queue.has_room(false) && queue.is_empty());
    }
}
