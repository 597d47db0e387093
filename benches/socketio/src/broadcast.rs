//! One event for all sockets of a room, as fast as the server sends it.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, timeout};

use crate::{
    Settings,
    client::Client,
    process::Child,
    server::{Library, start},
};

/// How long an event may take to arrive before the measurement fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the processor time of the server for each socket that receives an event, in nanoseconds, and
/// the time until the last one has it, in microseconds.
pub async fn measure(library: Library, settings: Settings) -> Result<[f64; 2]> {
    let mut child = start(library, false)?;
    let mut clients = Vec::with_capacity(settings.members);
    for _ in 0..settings.members {
        clients.push(Client::open_in_room(child.address).await?);
    }
    // The first one sets up what is kept.
    receive_one(&mut child, &mut clients).await?;
    let (cpu, begin) = (child.cpu_time()?, Instant::now());
    let (mut elapsed, mut turns) = (Duration::ZERO, 0);
    while begin.elapsed() < settings.time {
        elapsed += receive_one(&mut child, &mut clients).await?;
        turns += 1;
    }
    let cpu = child.cpu_time()? - cpu;
    let turns = f64::from(turns);
    Ok([cpu.as_nanos() as f64 / turns / settings.members as f64, elapsed.as_nanos() as f64 / 1000.0 / turns])
}

/// Orders one event, and receives it on all connections. Returns how long this took.
async fn receive_one(child: &mut Child, clients: &mut [Client]) -> Result<Duration> {
    let begin = Instant::now();
    child.order("send")?;
    let all = async {
        for client in clients {
            client.receive_news().await?;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, all).await.context("the event has not arrived")??;
    let elapsed = begin.elapsed();
    child.answer()?;
    Ok(elapsed)
}
