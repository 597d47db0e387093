//! The highest rate: each sender sends its next message once the last one has arrived.

use std::{cell::Cell, rc::Rc};

use anyhow::Result;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    crowd::{Crowd, room_of},
    lanes::Lanes,
    message::Sent,
    meter::{Meter, Sample},
    settings::Settings,
};

/// Measures the highest rate. Returns the window with the median one.
///
/// A sender waits for the acknowledgement, and until all members of the room have received the
/// message. So the number of messages in flight is that of the senders, and no queue grows.
pub async fn measure(crowd: &mut Crowd, meter: &Meter, settings: &Settings) -> Result<Sample> {
    let stop = Rc::new(Cell::new(false));
    let mut loops = JoinSet::new();
    for number in 0..crowd.senders.len() {
        let (sender, lanes) = (crowd.senders[number].clone(), crowd.lanes.clone());
        let (stop, senders, rooms) = (stop.clone(), crowd.senders.len(), crowd.rooms);
        loops.spawn_local(async move {
            while !stop.get() {
                let text = next(&lanes, number, senders, rooms);
                sender.send(text).await?;
                lanes.settled(number).await;
            }
            Ok::<_, fullduplex::Error>(())
        });
    }
    let lanes = crowd.lanes.clone();
    let samples = crowd.watch(sample(&lanes, meter, settings)).await?;
    stop.set(true);
    crowd.settle().await?;
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    Ok(median(samples))
}

/// Returns the next message of a sender, which is to be sent now.
fn next(lanes: &Lanes, sender: usize, senders: usize, rooms: usize) -> String {
    lanes.send(sender, 1);
    let number = lanes.sent_by(sender);
    let room = room_of(sender, number, senders, rooms);
    Sent { room: &room, sender, number, due: lanes.now() }.to_text()
}

async fn sample(lanes: &Lanes, meter: &Meter, settings: &Settings) -> Result<Vec<Sample>> {
    sleep(settings.warm_up).await;
    let mut samples = Vec::new();
    for _ in 0..settings.windows {
        let before = meter.read(lanes.arrived())?;
        sleep(settings.window).await;
        samples.push(meter.read(lanes.arrived())?.since(&before));
    }
    Ok(samples)
}

fn median(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    samples.swap_remove(samples.len() / 2)
}
