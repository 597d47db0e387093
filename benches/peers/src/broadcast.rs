//! One message to a thousand connections over loopback TCP, each of which also receives.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::timeout;

use crate::{
    child::{Child, Job},
    frames::{Kind, put_unmasked},
    load::{self, Connection, OPENING, PATIENCE},
    peers::{self, Peer},
    report::{Better, Section, Target, interleave, whole},
    server::BROADCAST,
    settings::Settings,
};

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    // With a whole connection, one task cannot send while another one receives.
    let peers: Vec<_> = peers::over_tcp().into_iter().filter(|peer| peer.name() != "fullduplex").collect();
    let about = format!(
        "A binary message of {} bytes to {} connections over loopback TCP, one after the other by one task, while a task \
         for each connection receives.",
        BROADCAST.len(),
        whole(settings.broadcast_connections)
    );
    let mut section = Section::new("Broadcast", "as the row says", &about, &peers);
    section.all_columns = true;
    section.add_row("ns of server CPU per connection", Better::Lower, Target::None, true);
    section.add_row("µs until the last connection has it", Better::Lower, Target::None, false);
    interleave(settings.rounds, 1, &peers, |_, column| {
        match runtime.block_on(measure(settings, peers[column])) {
            Ok((cpu, latency)) => {
                section.record(0, column, cpu);
                section.record(1, column, latency);
            }
            Err(error) => section.fail(0, column, &error),
        }
    });
    Ok(vec![section])
}

async fn measure(settings: &Settings, peer: &dyn Peer) -> Result<(f64, f64)> {
    let count = settings.broadcast_connections;
    let mut child = Child::start(peer, Job::Broadcast(count))?;
    let mut connections = load::open_many(child.address, count, OPENING).await?;
    child.answer()?;
    let frame = frame();
    receive_one(&mut child, &mut connections, &frame, true).await?;
    let (cpu, mut elapsed) = (child.cpu_time()?, Duration::ZERO);
    for _ in 0..settings.broadcasts {
        elapsed += receive_one(&mut child, &mut connections, &frame, false).await?;
    }
    let (cpu, turns) = (child.cpu_time()?.saturating_sub(cpu), settings.broadcasts as f64);
    Ok((cpu.as_nanos() as f64 / turns / count as f64, elapsed.as_micros() as f64 / turns))
}

/// Returns the message as the load generator receives it.
pub fn frame() -> Vec<u8> {
    let mut frame = Vec::new();
    put_unmasked(&mut frame, Kind::Binary, BROADCAST);
    frame
}

/// Orders one broadcast and receives it on all connections; with `check`, compares it byte for byte.
/// Returns how long this took.
pub async fn receive_one(
    child: &mut Child,
    connections: &mut [Connection],
    frame: &[u8],
    check: bool,
) -> Result<Duration> {
    let begin = Instant::now();
    child.order("send")?;
    let all = async {
        for connection in connections {
            connection.expect(frame, check).await?;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, all).await.context("the broadcast did not come")??;
    let elapsed = begin.elapsed();
    child.answer()?;
    Ok(elapsed)
}
