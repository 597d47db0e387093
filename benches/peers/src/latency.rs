//! Latency of an echo with one message in flight on each connection: the median and the tail.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{
    task::{LocalSet, spawn_local},
    time::sleep,
};

use crate::{
    child::{Child, Job},
    frames::{Kind, Window},
    load::{self, Connection, OPENING, PATIENCE},
    peers::{self, Manner, Peer},
    report::{Better, Section, Target, interleave},
    settings::Settings,
};

const CONNECTIONS: [usize; 2] = [1, 50];
const PERCENTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

/// The minimum number of answers: with fewer, the tail is not meaningful.
const FEWEST: usize = 2_000;

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    let peers = peers::over_tcp();
    let about = "64 B echo over loopback TCP, one message in flight on each connection, from before the write to after the \
                 read. A share of it is the load generator's own.";
    let mut section = Section::new("Latency", "µs", about, &peers);
    section.all_columns = true;
    for connections in CONNECTIONS {
        for (_, name) in PERCENTILES {
            let plotted = connections == 1 && name != "p99";
            let plural = if connections == 1 { "" } else { "s" };
            let label = format!("{connections} connection{plural}, {name}");
            section.add_row(label, Better::Lower, Target::None, plotted);
        }
    }
    interleave(settings.rounds, CONNECTIONS.len(), &peers, |case, column| {
        let first = case * PERCENTILES.len();
        match LocalSet::new().block_on(&runtime, measure(settings, peers[column], CONNECTIONS[case])) {
            Ok(values) => {
                for (at, value) in values.into_iter().enumerate() {
                    section.record(first + at, column, value);
                }
            }
            Err(error) => section.fail(first, column, &error),
        }
    });
    Ok(vec![section])
}

async fn measure(settings: &Settings, peer: &dyn Peer, count: usize) -> Result<[f64; 3]> {
    let child = Child::start(peer, Job::Echo(Manner::Best))?;
    let window = Window::new(Kind::Binary, 64, 1);
    let mut connections = load::open_many(child.address, count, OPENING).await?;
    load::warm_up(&mut connections, &window).await?;
    let times = Rc::new(RefCell::new(Vec::new()));
    for connection in connections {
        spawn_local(repeat(connection, window.clone(), times.clone()));
    }
    sleep(settings.warm_up).await;
    times.borrow_mut().clear();
    let begin = Instant::now();
    while begin.elapsed() < settings.measured || (times.borrow().len() < FEWEST && begin.elapsed() < PATIENCE)
    {
        sleep(settings.measured / 8).await;
    }
    percentiles(times.take(), FEWEST)
}

/// Returns the median and the tail in microseconds.
pub fn percentiles(mut times: Vec<Duration>, fewest: usize) -> Result<[f64; 3]> {
    ensure!(times.len() >= fewest, "only {} answers", times.len());
    times.sort_unstable();
    Ok(PERCENTILES.map(|(share, _)| {
        let at = (times.len() as f64 * share) as usize;
        times[at.min(times.len() - 1)].as_nanos() as f64 / 1000.0
    }))
}

async fn repeat(mut connection: Connection, window: Window, times: Rc<RefCell<Vec<Duration>>>) {
    loop {
        let begin = Instant::now();
        if connection.exchange(&window, false).await.is_err() {
            // The missing answers cause an error.
            return;
        }
        times.borrow_mut().push(begin.elapsed());
    }
}
