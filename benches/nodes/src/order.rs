//! Whether a member receives the messages of its room once, and in order.

use anyhow::{Result, ensure};

use crate::message::Received;

/// What a member has received so far.
///
/// Offsets of a room are contiguous with this backplane. So what arrives with the next offset each
/// time is all of the room, once, and in its order. The numbers of each sender increase, because it
/// waits for the acknowledgement of a message before its node stores the next one.
#[derive(Debug)]
pub struct Order {
    room: String,
    offset: u64,
    numbers: Vec<u64>,
}

impl Order {
    /// Creates the order of a member that has joined behind an offset.
    pub fn new(room: String, offset: u64, senders: usize) -> Self {
        Self { room, offset, numbers: vec![0; senders] }
    }

    /// Checks the next message.
    ///
    /// # Errors
    /// Fails if it is not the next one of the room, or not a later one of its sender.
    pub fn check(&mut self, next: &Received<'_>) -> Result<()> {
        let Received { offset, sent } = next;
        ensure!(sent.room == self.room, "{} received a message of {}", self.room, sent.room);
        ensure!(*offset == self.offset + 1, "{}: {offset} follows {}", self.room, self.offset);
        let last = self.numbers.get_mut(sent.sender);
        let last = last.ok_or_else(|| anyhow::anyhow!("there is no sender {}", sent.sender))?;
        ensure!(sent.number > *last, "{}: number {} of a sender follows {last}", self.room, sent.number);
        (self.offset, *last) = (*offset, sent.number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::message::Sent;

    fn next(offset: u64, sender: usize, number: u64) -> Received<'static> {
        Received { offset, sent: Sent { room: "r0", sender, number, due: Duration::ZERO } }
    }

    fn order() -> Order {
        let mut order = Order::new("r0".to_owned(), 4, 2);
        order.check(&next(5, 0, 1)).expect("the first one");
        order.check(&next(6, 1, 3)).expect("the first one of another sender");
        order
    }

    #[test]
    fn contiguous_offsets_are_in_order() {
        assert!(order().check(&next(7, 0, 2)).is_ok());
    }

    #[test]
    fn a_gap_a_duplicate_and_an_earlier_message_are_errors() {
        for offset in [8, 6, 5] {
            assert!(order().check(&next(offset, 0, 2)).is_err(), "{offset}");
        }
    }

    #[test]
    fn a_message_that_was_stored_twice_or_in_another_order_is_an_error() {
        for number in [3, 2] {
            assert!(order().check(&next(7, 1, number)).is_err(), "{number}");
        }
    }

    #[test]
    fn a_message_of_another_room_or_sender_is_an_error() {
        let mut other = next(7, 0, 2);
        other.sent.room = "r1";
        assert!(order().check(&other).is_err());
        assert!(order().check(&next(7, 2, 1)).is_err());
    }
}
