//! Echo over loopback TCP: the server's processor time for a message, and messages per second.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    task::{JoinHandle, LocalSet, spawn_local},
    time::sleep,
};

use crate::{
    child::{Child, Job},
    frames::{Kind, Window},
    load::{self, Connection, Io, OPENING, PATIENCE},
    peers::{self, Manner, Peer},
    report::{Better, Section, Target, interleave},
    settings::Settings,
};

/// The minimum average number of windows per connection in a sample, so that windows which are cut
/// off by its beginning and end hardly matter.
const FEWEST: u64 = 10;

struct Load {
    connections: usize,
    in_flight: usize,
    size: usize,
    label: &'static str,
    target: Target,
}

const CELLS: [Load; 5] = [
    Load {
        connections: 50,
        in_flight: 1,
        size: 64,
        label: "50 x 1 x 64 B",
        target: Target::TimesBareOrBest(1.04),
    },
    Load {
        connections: 50,
        in_flight: 32,
        size: 64,
        label: "50 x 32 x 64 B",
        target: Target::TimesBestAndApart(0.7),
    },
    Load {
        connections: 20,
        in_flight: 16,
        size: 1 << 10,
        label: "20 x 16 x 1 KiB",
        target: Target::TimesBestAndApart(0.7),
    },
    Load {
        connections: 20,
        in_flight: 16,
        size: 16 << 10,
        label: "20 x 16 x 16 KiB",
        target: Target::TimesBest(0.8),
    },
    Load {
        connections: 4,
        in_flight: 1,
        size: 1_000_000,
        label: "4 x 1 x 1 MB",
        target: Target::TimesBest(1.0),
    },
];

/// The result of one sample.
#[derive(Debug)]
pub struct Sample {
    pub cpu_nanoseconds: f64,
    pub messages_per_second: f64,
}

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    let peers = peers::over_tcp();
    let mut tables = tables(&peers);
    let windows: Vec<Window> =
        CELLS.iter().map(|cell| Window::new(Kind::Binary, cell.size, cell.in_flight)).collect();
    interleave(settings.rounds, CELLS.len(), &peers, |row, column| {
        for (table, manner) in [(0, Manner::Best), (2, Manner::Plain)] {
            if manner == Manner::Plain && peers[column].standing() == peers::Standing::Baseline {
                continue;
            }
            let work = measure(settings, peers[column], manner, CELLS[row].connections, &windows[row]);
            match LocalSet::new().block_on(&runtime, work) {
                Ok(sample) => {
                    tables[table].record(row, column, sample.cpu_nanoseconds);
                    tables[table + 1].record(row, column, sample.messages_per_second);
                }
                Err(error) => tables[table].fail(row, column, &error),
            }
        }
    });
    Ok(tables.into())
}

fn tables(peers: &[&dyn Peer]) -> [Section; 4] {
    const LOAD: &str = "Connections x messages in flight on each x size; binary messages over loopback TCP.";
    let best = "Each by the best loop that its API allows: a burst is answered with one write.";
    let plain = "Each by its plain loop: every message sent and flushed by itself.";
    let table = |title: &str, unit, loop_is: &str| {
        let mut section = Section::new(title, unit, &format!("{LOAD} {loop_is}"), peers);
        section.all_columns = true;
        section
    };
    let cpu = "ns of server CPU per message";
    let rate = "messages per second";
    let mut tables = [
        table("Echo, best loop: server CPU", cpu, best),
        table("Echo, best loop: messages per second", rate, best),
        table("Echo, plain loop: server CPU", cpu, plain),
        table("Echo, plain loop: messages per second", rate, plain),
    ];
    for cell in &CELLS {
        tables[0].add_row(cell.label, Better::Lower, cell.target, true);
        tables[1].add_row(cell.label, Better::Higher, Target::None, false);
        tables[2].add_row(cell.label, Better::Lower, Target::None, false);
        tables[3].add_row(cell.label, Better::Higher, Target::None, false);
    }
    tables
}

/// Runs a load, and measures the server.
pub async fn measure(
    settings: &Settings,
    peer: &dyn Peer,
    manner: Manner,
    count: usize,
    window: &Window,
) -> Result<Sample> {
    let child = Child::start(peer, Job::Echo(manner))?;
    let connections = load::open_many(child.address, count, OPENING).await?;
    measure_over(settings, &child, connections, window).await
}

/// Does the same over open connections.
pub async fn measure_over<S: Io + 'static>(
    settings: &Settings,
    child: &Child,
    mut connections: Vec<Connection<S>>,
    window: &Window,
) -> Result<Sample> {
    load::warm_up(&mut connections, window).await?;
    let windows = Rc::new(Cell::new(0_u64));
    let mut tasks = Vec::new();
    for connection in connections {
        tasks.push(spawn_local(repeat(connection, window.clone(), windows.clone())));
    }
    observe(settings, child, tasks, &windows, window.messages).await
}

/// Measures the server while these tasks count their windows, each of this many messages; then
/// aborts the tasks.
pub async fn observe(
    settings: &Settings,
    child: &Child,
    tasks: Vec<JoinHandle<Result<()>>>,
    windows: &Cell<u64>,
    messages: usize,
) -> Result<Sample> {
    sleep(settings.warm_up).await;
    let (begin, cpu, done) = (Instant::now(), child.cpu_time()?, windows.get());
    let enough = FEWEST * tasks.len() as u64;
    while begin.elapsed() < settings.measured || (windows.get() - done < enough && begin.elapsed() < PATIENCE)
    {
        sleep(settings.measured / 8).await;
    }
    let (elapsed, cpu) = (begin.elapsed(), child.cpu_time()?.saturating_sub(cpu));
    let messages = (windows.get() - done) * messages as u64;
    for task in tasks {
        // A task that has ended has failed.
        if task.is_finished() {
            task.await.context("a connection's task failed")??;
        } else {
            task.abort();
        }
    }
    sample(messages, cpu, elapsed)
}

fn sample(messages: u64, cpu: Duration, elapsed: Duration) -> Result<Sample> {
    anyhow::ensure!(messages > 0, "no message came back while it was measured");
    Ok(Sample {
        cpu_nanoseconds: cpu.as_nanos() as f64 / messages as f64,
        messages_per_second: messages as f64 / elapsed.as_secs_f64(),
    })
}

/// Exchanges and counts one window after the other until it is aborted.
async fn repeat<S: Io>(mut connection: Connection<S>, window: Window, windows: Rc<Cell<u64>>) -> Result<()> {
    loop {
        connection.exchange(&window, false).await?;
        windows.set(windows.get() + 1);
    }
}
