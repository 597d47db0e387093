//! The packets that wait for their handlers.

use std::collections::VecDeque;

use super::{assembly::Whole, limits::Limits};

/// What a packet takes in memory beside its data, about.
const OVERHEAD: usize = 160;

/// The packets of a connection that wait for their handlers, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    packets: VecDeque<(usize, Whole)>,
    bytes: usize,
}

impl Queue {
    pub(super) fn push(&mut self, whole: Whole) {
        let data = whole.attachments.iter().map(|data| data.len() + size_of_val(data));
        let size = whole.packet.data().len() + OVERHEAD + data.sum::<usize>();
        self.bytes += size;
        self.packets.push_back((size, whole));
    }

    pub(super) fn pop(&mut self) -> Option<Whole> {
        let (size, whole) = self.packets.pop_front()?;
        self.bytes -= size;
        if self.packets.is_empty() {
            // A connection that waits keeps no memory for a burst.
            self.packets = VecDeque::new();
        }
        Some(whole)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns whether another message may be received. An answer that is waited for may be behind
    /// any number of events.
    pub(super) fn has_room(&self, limits: &Limits, answer_expected: bool) -> bool {
        let few = answer_expected || self.packets.len() < limits.max_waiting;
        few && self.bytes < limits.max_waiting_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    fn whole(len: usize) -> Whole {
        let text = format!("2{}", "x".repeat(len));
        let packet = Packet::parse(text.into(), 0, &Limits::new()).expect("an event");
        Whole { packet, attachments: Vec::new() }
    }

    #[test]
    fn packets_are_limited_in_number_and_size() {
        let limits = Limits::new().max_waiting(2).max_waiting_bytes(1000);
        let mut queue = Queue::default();
        queue.push(whole(1));
        assert!(queue.has_room(&limits, false));
        queue.push(whole(2));
        assert!(!queue.has_room(&limits, false) && queue.has_room(&limits, true));
        queue.push(whole(900));
        assert!(!queue.has_room(&limits, true));
        let lens = std::iter::from_fn(|| queue.pop()).map(|whole| whole.packet.data().len());
        assert_eq!(lens.collect::<Vec<_>>(), [1, 2, 900]);
        assert!(queue.is_empty() && queue.has_room(&limits, false));
    }
}
