//! Latency at a given rate, whatever has arrived.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fullduplex::Sender;
use tokio::task::spawn_blocking;

use crate::{
    crowd::{Crowd, room_of},
    message::Sent,
};

/// The time from the last preparation to the first message.
const LEAD: Duration = Duration::from_millis(20);

/// Latencies at one rate.
#[derive(Debug, Clone, Copy)]
pub struct Paced {
    /// Messages per second.
    pub rate: f64,
    /// From the time at which a message was to be sent to its arrival at a member.
    pub latency: Percentiles,
    /// From the time at which a message was to be sent to when it was.
    pub late: Percentiles,
}

#[derive(Debug, Clone, Copy)]
pub struct Percentiles {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

/// Sends messages at a rate, by all senders in turn, and measures when they arrive.
///
/// A message that is late does not delay those behind it, and is measured from the time at which it
/// was to be sent. So what waits for something slow is counted with all of its waiting.
pub async fn measure(crowd: &mut Crowd, rate: f64, duration: Duration) -> Result<Paced> {
    let count = (rate * duration.as_secs_f64()).ceil() as u64;
    ensure!(count > 0, "no message at {rate} a second");
    let senders = crowd.senders.len() as u64;
    let pace = Pace {
        begin: crowd.lanes.begin(),
        first: crowd.lanes.now() + LEAD,
        rate,
        count,
        senders: crowd.senders.clone(),
        numbers: (0..crowd.senders.len()).map(|sender| crowd.lanes.sent_by(sender)).collect(),
        rooms: crowd.rooms,
    };
    for sender in 0..senders {
        crowd.lanes.send(sender as usize, count / senders + u64::from(sender < count % senders));
    }
    crowd.lanes.record();
    let sent = spawn_blocking(move || pace.run());
    let late = crowd.watch(async { sent.await? }).await?;
    crowd.settle().await?;
    let latency = Percentiles::of(crowd.lanes.take_latencies())?;
    Ok(Paced { rate, latency, late: Percentiles::of(late)? })
}

/// What a thread sends. It has a thread of its own because the timers of the runtime have a
/// resolution of a millisecond.
struct Pace {
    begin: Instant,
    first: Duration,
    rate: f64,
    count: u64,
    senders: Vec<Sender>,
    /// The number of the last message of each sender.
    numbers: Vec<u64>,
    rooms: usize,
}

impl Pace {
    /// Sends all messages. Returns how late each was.
    fn run(mut self) -> Result<Vec<Duration>> {
        let mut late = Vec::new();
        for (sender, message) in (0..self.senders.len()).cycle().zip(0..self.count) {
            let due = self.first + Duration::from_secs_f64(message as f64 / self.rate);
            if let Some(time) = due.checked_sub(self.begin.elapsed()) {
                thread::sleep(time);
            }
            self.numbers[sender] += 1;
            let number = self.numbers[sender];
            let room = room_of(sender, number, self.senders.len(), self.rooms);
            let text = Sent { room: &room, sender, number, due }.to_text();
            let sent = self.senders[sender].try_send(text);
            sent.map_err(|error| error.into_owned()).context("node A does not read fast enough")?;
            late.push(self.begin.elapsed().saturating_sub(due));
        }
        Ok(late)
    }
}

impl Percentiles {
    fn of(mut times: Vec<Duration>) -> Result<Self> {
        times.sort_unstable();
        let max = *times.last().context("nothing was measured")?;
        // The smallest one that at least this share is not above.
        let at = |share: f64| times[((times.len() as f64 * share).ceil() as usize).saturating_sub(1)];
        Ok(Self { p50: at(0.5), p99: at(0.99), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let times = (1..=200).rev().map(Duration::from_micros).collect();
        let Percentiles { p50, p99, max } = Percentiles::of(times).expect("not empty");
        assert_eq!([p50, p99, max], [100, 198, 200].map(Duration::from_micros));
        assert!(Percentiles::of(Vec::new()).is_err());
    }
}
