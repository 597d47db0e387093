//! Storms: echoes beside broadcasts, many clients that come back at once, and clients that stop
//! reading.

mod connections;
mod paced;
mod probe;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    task::LocalSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use self::{connections::open_many, paced::Paced, probe::Probe};
use crate::{
    child::{Child, Job},
    frames::{Kind, Window},
    load::{self, OPENING, PATIENCE},
    machine,
    memory::OTHER_FILES,
    peers::{self, Peer},
    report::{Better, Section, Target, interleave, whole},
    server::STORM,
    settings::Settings,
};

/// Time between two messages of a connection.
const EVERY: Duration = Duration::from_secs(1);

/// How long connections run before they are measured, so that each has sent.
const WARM_UP: Duration = Duration::from_millis(1_500);

/// The connections that echo while others come back, and how often.
const CONNECTED: usize = 500;
const CONNECTED_EVERY: Duration = Duration::from_millis(50);

/// How many of those that come back are opening a connection at a time: fewer than the listener's
/// queue has room for.
const AT_ONCE: usize = 2_000;

/// One connection of this many stops reading.
const STALLED: usize = 10;

/// Broadcasts per second while connections do not read.
const PER_SECOND: u32 = 20;

/// The size of the receive buffer of those that stop reading, so that the server notices soon.
const SMALL: u32 = 4 << 10;

/// The time after which the memory of the server is measured again.
const AFTER: Duration = Duration::from_secs(2);

/// A table: its title, the labels of its rows, and how a column is measured.
struct Storm {
    title: &'static str,
    rows: &'static [&'static str],
    measure: fn(&Settings, &dyn Peer) -> Result<Vec<f64>>,
}

const STORMS: [Storm; 3] = [
    Storm {
        title: "Echoes beside a broadcast to all",
        rows: &["µs, p50", "µs, p99", "µs, p99.9", "ms of server CPU per second"],
        measure: |settings, peer| local(beside_broadcasts(settings, peer)),
    },
    Storm {
        title: "Clients that come back at once",
        rows: &["ms until the last is open", "µs for an echo of the others, p50", "µs, p99", "µs, p99.9"],
        measure: |settings, peer| local(coming_back(settings, peer)),
    },
    Storm {
        title: "Clients that stop reading",
        rows: &[
            "µs for an echo of the others, p50",
            "µs, p99",
            "µs, p99.9",
            "MB resident before",
            "MB resident at most",
            "MB resident 2 s after all have read again",
            "ms until the last has read all",
        ],
        measure: |settings, peer| local(stalled(settings, peer)),
    },
];

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let most = machine::raise_file_limit()?.saturating_sub(OTHER_FILES + CONNECTED);
    ensure!(settings.returning.max(settings.beside_broadcasts) <= most, "too few files may be open");
    let peers = peers::IN_STORM;
    let mut tables: Vec<Section> = STORMS
        .iter()
        .zip(abouts(settings))
        .map(|(storm, about)| {
            let mut section = Section::new(storm.title, "as the row says", &about, peers);
            for &row in storm.rows {
                section.add_row(row, Better::Lower, Target::None, false);
            }
            section
        })
        .collect();
    interleave(settings.rounds, STORMS.len(), peers, |storm, column| {
        match (STORMS[storm].measure)(settings, peers[column]) {
            Ok(values) => {
                for (row, value) in values.into_iter().enumerate() {
                    tables[storm].record(row, column, value);
                }
            }
            Err(error) => tables[storm].fail(0, column, &error),
        }
    });
    Ok(tables)
}

/// Returns what each table is about.
fn abouts(settings: &Settings) -> [String; 3] {
    let (count, message) = (whole(settings.beside_broadcasts), whole(STORM.len()));
    [
        format!(
            "{count} connections over loopback TCP send a message of 64 B per second each, at even distances, while a message of \
             {message} B goes to all of them each second. Latency from before the write to after the read; a share \
             of it is the load generator's own, which receives the broadcast too."
        ),
        format!(
            "{} clients lose their connections to a server and open new ones, {} at a time, as soon as the server has noticed; \
             {CONNECTED} others, in a thread of their own, send a message of 64 B each {} ms meanwhile.",
            whole(settings.returning),
            whole(AT_ONCE),
            CONNECTED_EVERY.as_millis()
        ),
        format!(
            "{count} connections, of which one of {STALLED} stops reading, while a message of {message} B goes to all of them \
             {PER_SECOND} times per second for {} s; the others send a message of 64 B per second each. The server's send buffers \
             have 32 KiB, so that the system does not take all of it. Then all read, and those \
             that had stopped send a message: they have read all once it is answered.",
            settings.storm_seconds
        ),
    ]
}

fn local<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    LocalSet::new().block_on(&load::runtime()?, work)
}

async fn beside_broadcasts(settings: &Settings, peer: &dyn Peer) -> Result<Vec<f64>> {
    let mut child = Child::start(peer, Job::Storm)?;
    let paced = Paced::new(EVERY);
    paced.start(child.address, settings.beside_broadcasts).await?;
    sleep(WARM_UP).await;
    let (begin, cpu) = (Instant::now(), child.cpu_time()?);
    broadcast(&mut child, 1, settings.storm_seconds, |_| Ok(())).await?;
    let (end, cpu) = (Instant::now(), child.cpu_time()?.saturating_sub(cpu));
    paced.check()?;
    let expected = settings.beside_broadcasts * settings.storm_seconds as usize;
    let received = paced.received();
    ensure!(received == expected, "{received} messages of broadcasts came instead of {expected}");
    let mut values = paced.latencies().percentiles(begin..end)?.to_vec();
    values.push(cpu.as_secs_f64() * 1e3 / end.duration_since(begin).as_secs_f64());
    Ok(values)
}

/// Orders broadcasts at this rate, and waits until the last one had its time.
async fn broadcast(
    child: &mut Child,
    per_second: u32,
    seconds: u32,
    mut each: impl FnMut(&Child) -> Result<()>,
) -> Result<()> {
    let mut ticks = interval(EVERY / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..per_second * seconds {
        ticks.tick().await;
        // The answers are read later, because reading them blocks this thread.
        child.order("send")?;
        each(child)?;
    }
    sleep(EVERY / per_second).await;
    for _ in 0..per_second * seconds {
        child.answer()?;
    }
    Ok(())
}

async fn coming_back(settings: &Settings, peer: &dyn Peer) -> Result<Vec<f64>> {
    let child = Child::start(peer, Job::Storm)?;
    let before = child.open_files()?;
    let probe = Probe::start(child.address, CONNECTED, CONNECTED_EVERY)?;
    let mut crowd = open_many(child.address, settings.returning, OPENING, None).await?;
    load::warm_up(&mut crowd, &Window::new(Kind::Binary, 64, 1)).await?;
    drop(crowd);
    let noticed = async {
        while child.open_files()? > before + CONNECTED {
            sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, noticed).await.context("the server keeps connections that are lost")??;
    let begin = Instant::now();
    let crowd = open_many(child.address, settings.returning, AT_ONCE, None).await?;
    let end = Instant::now();
    drop(crowd);
    let latencies = probe.stop()?.percentiles(begin..end)?;
    let opened = end.duration_since(begin).as_secs_f64() * 1e3;
    Ok([[opened].as_slice(), &latencies].concat())
}

async fn stalled(settings: &Settings, peer: &dyn Peer) -> Result<Vec<f64>> {
    let mut child = Child::start(peer, Job::Storm)?;
    let count = settings.beside_broadcasts / STALLED;
    let address = child.address;
    let stalled = open_many(address, count, OPENING, Some(SMALL)).await?;
    let paced = Paced::new(EVERY);
    paced.start(address, settings.beside_broadcasts - count).await?;
    sleep(WARM_UP).await;
    let resident = |child: &Child| Ok::<_, anyhow::Error>(child.resident_bytes()? as f64 / 1e6);
    let (before, mut most) = (resident(&child)?, 0_f64);
    let begin = Instant::now();
    broadcast(&mut child, PER_SECOND, settings.storm_seconds, |child| {
        most = most.max(resident(child)?);
        Ok(())
    })
    .await?;
    let end = Instant::now();
    most = most.max(resident(&child)?);
    paced.check()?;
    let all = stream::iter(stalled)
        .map(|connection| paced.catch_up(connection.into_inner()))
        .buffer_unordered(count);
    timeout(PATIENCE, all.try_collect::<()>()).await.context("those that read again have no answer")??;
    let caught_up = end.elapsed().as_secs_f64() * 1e3;
    sleep(AFTER).await;
    let after = resident(&child)?;
    let latencies = paced.latencies().percentiles(begin..end)?;
    Ok([latencies.as_slice(), &[before, most, after, caught_up]].concat())
}
