//! Echo by a server with threads on all cores, which it shares with the load generator.

use anyhow::Result;
use tokio::task::LocalSet;

use crate::{
    child::{Child, Job},
    echo::{self, Sample},
    frames::{Kind, Window},
    load::{self, OPENING},
    machine,
    peers::{self, Peer},
    report::{Better, Section, Target, interleave},
    settings::Settings,
};

/// Connections, messages in flight on each, and their size.
const CELLS: [(usize, usize, usize, &str); 4] = [
    (50, 1, 64, "50 x 1 x 64 B"),
    (1_000, 1, 64, "1,000 x 1 x 64 B"),
    (50, 32, 64, "50 x 32 x 64 B"),
    (20, 16, 1 << 10, "20 x 16 x 1 KiB"),
];

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    machine::unpin()?;
    let tables = measured(settings);
    machine::pin_to(machine::cores() - 1)?;
    tables
}

fn measured(settings: &Settings) -> Result<Vec<Section>> {
    let (runtime, peers) = (load::runtime()?, peers::ON_CORES);
    let about = "Connections x messages in flight on each x size; binary messages over loopback TCP, by the best loop. \
                 Server and load generator share all cores; neither is bound to one. Compare processor time: messages \
                 per second include the work of the load generator, which has one thread.";
    let table = |title: &str, unit| Section::new(title, unit, about, peers);
    let mut tables = [
        table("Echo on all cores: server CPU", "ns of server CPU per message"),
        table("Echo on all cores: messages per second", "messages per second"),
    ];
    for (.., label) in CELLS {
        tables[0].add_row(label, Better::Lower, Target::None, false);
        tables[1].add_row(label, Better::Higher, Target::None, false);
    }
    let windows = CELLS.map(|(_, in_flight, size, _)| Window::new(Kind::Binary, size, in_flight));
    interleave(settings.rounds, CELLS.len(), peers, |row, column| {
        let work = measure(settings, peers[column], CELLS[row].0, &windows[row]);
        match LocalSet::new().block_on(&runtime, work) {
            Ok(sample) => {
                tables[0].record(row, column, sample.cpu_nanoseconds);
                tables[1].record(row, column, sample.messages_per_second);
            }
            Err(error) => tables[0].fail(row, column, &error),
        }
    });
    Ok(tables.into())
}

async fn measure(settings: &Settings, peer: &dyn Peer, count: usize, window: &Window) -> Result<Sample> {
    let child = Child::start(peer, Job::Cores)?;
    let connections = load::open_many(child.address, count, OPENING).await?;
    echo::measure_over(settings, &child, connections, window).await
}
