//! What was sent, acknowledged and delivered.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::message::Received;

/// What was sent, acknowledged and delivered since the begin of a case, by sender.
#[derive(Debug)]
pub struct Lanes {
    begin: Instant,
    /// How many members each message reaches.
    copies: u64,
    lanes: Vec<Lane>,
    delivered: Cell<u64>,
    /// From the time at which each message was to be sent to its arrival, while this is recorded.
    latencies: RefCell<Option<Vec<Duration>>>,
    /// Wakes whoever waits until all has arrived.
    changed: Notify,
}

/// The messages of one sender.
#[derive(Debug, Default)]
struct Lane {
    sent: Cell<u64>,
    acknowledged: Cell<u64>,
    delivered: Cell<u64>,
    changed: Notify,
}

impl Lanes {
    pub fn new(senders: usize, copies: u64) -> Self {
        Self {
            begin: Instant::now(),
            copies,
            lanes: (0..senders).map(|_| Lane::default()).collect(),
            delivered: Cell::new(0),
            latencies: RefCell::new(None),
            changed: Notify::new(),
        }
    }

    /// Returns the time since the begin of the case.
    pub fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Returns the time at which the case began.
    pub fn begin(&self) -> Instant {
        self.begin
    }

    /// Returns how many messages have arrived at all members of their rooms, about.
    pub fn arrived(&self) -> u64 {
        self.delivered.get() / self.copies
    }

    /// Returns how many messages were sent.
    pub fn sent(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.sent.get()).sum()
    }

    /// Returns how many messages a sender has sent.
    pub fn sent_by(&self, sender: usize) -> u64 {
        self.lanes[sender].sent.get()
    }

    /// Counts messages that a sender sends.
    pub fn send(&self, sender: usize, messages: u64) {
        let lane = &self.lanes[sender];
        lane.sent.set(lane.sent.get() + messages);
    }

    /// Counts an acknowledgement.
    pub fn acknowledge(&self, sender: usize) {
        let lane = &self.lanes[sender];
        lane.acknowledged.set(lane.acknowledged.get() + 1);
        self.notify(lane);
    }

    /// Counts a message that a member has received.
    pub fn deliver(&self, received: &Received<'_>) {
        let lane = &self.lanes[received.sent.sender];
        lane.delivered.set(lane.delivered.get() + 1);
        self.delivered.set(self.delivered.get() + 1);
        if let Some(latencies) = &mut *self.latencies.borrow_mut() {
            latencies.push(self.now().saturating_sub(received.sent.due));
        }
        self.notify(lane);
    }

    /// Waits until all messages of a sender are acknowledged and delivered.
    pub async fn settled(&self, sender: usize) {
        let lane = &self.lanes[sender];
        while !self.is_settled(lane) {
            lane.changed.notified().await;
        }
    }

    /// Waits until all messages of all senders are acknowledged and delivered.
    pub async fn all_settled(&self) {
        while !self.lanes.iter().all(|lane| self.is_settled(lane)) {
            self.changed.notified().await;
        }
    }

    /// Begins to record latencies.
    pub fn record(&self) {
        self.latencies.replace(Some(Vec::new()));
    }

    /// Returns what was recorded, and ends it.
    pub fn take_latencies(&self) -> Vec<Duration> {
        self.latencies.take().unwrap_or_default()
    }

    fn is_settled(&self, lane: &Lane) -> bool {
        let sent = lane.sent.get();
        lane.acknowledged.get() == sent && lane.delivered.get() == sent * self.copies
    }

    fn notify(&self, lane: &Lane) {
        if self.is_settled(lane) {
            lane.changed.notify_one();
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::message::Sent;

    fn received(sender: usize) -> Received<'static> {
        Received { offset: 1, sent: Sent { room: "r0", sender, number: 1, due: Duration::ZERO } }
    }

    #[test]
    fn a_sender_waits_for_the_acknowledgement_and_for_every_member() {
        let lanes = Lanes::new(2, 2);
        lanes.send(0, 1);
        lanes.acknowledge(0);
        lanes.deliver(&received(0));
        assert!(lanes.settled(0).now_or_never().is_none(), "one member has not received it");
        lanes.deliver(&received(0));
        assert!(lanes.settled(0).now_or_never().is_some());
        assert!(lanes.all_settled().now_or_never().is_some());
        lanes.send(1, 1);
        (0..2).for_each(|_| lanes.deliver(&received(1)));
        assert!(lanes.all_settled().now_or_never().is_none(), "it is not acknowledged");
        assert_eq!((lanes.sent(), lanes.arrived()), (2, 2));
    }

    #[test]
    fn more_messages_than_were_sent_are_not_settled() {
        let lanes = Lanes::new(1, 1);
        lanes.send(0, 1);
        lanes.acknowledge(0);
        (0..2).for_each(|_| lanes.deliver(&received(0)));
        assert!(lanes.settled(0).now_or_never().is_none());
    }

    #[test]
    fn latencies_are_recorded_on_demand() {
        let lanes = Lanes::new(1, 1);
        lanes.deliver(&received(0));
        lanes.record();
        lanes.deliver(&received(0));
        assert_eq!((lanes.take_latencies().len(), lanes.take_latencies().len()), (1, 0));
    }
}
