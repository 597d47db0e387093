//! Scale: as many connections as one process can have, kept alive; a million in memory; and the
//! cost of an echo by the number of connections and by the size of messages.

use std::{cell::Cell, env, process::Command, rc::Rc};

use anyhow::{Context, Result, ensure};
use tokio::{
    task::{LocalSet, spawn_local},
    time::sleep,
};

use crate::{
    child::{Child, Job},
    echo,
    frames::{Kind, Window},
    load::{self, OPENING},
    machine,
    peers::{self, Manner, Peer, Standing},
    report::{Better, Column, Section, Target, interleave, whole},
    settings::Settings,
};

/// Files that are not connections.
const OTHER_FILES: usize = 100;

const SIZES: [usize; 9] = [16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const CONNECTIONS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const CROWDS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// A plotted table: the positions of its rows on the horizontal axis, and the name of that axis.
#[derive(Debug)]
pub struct Curve {
    pub section: Section,
    pub across: Vec<f64>,
    pub axis: &'static str,
}

/// Returns the tables and the curves.
pub fn run(settings: &Settings) -> Result<(Vec<Section>, Vec<Curve>)> {
    let alive = keep_alive(settings)?;
    let crowds = crowds(settings)?;
    let curves = vec![by_connections(settings)?, by_size(settings)?];
    Ok((vec![alive, crowds], curves))
}

/// Creates a table whose columns are figures, not libraries.
fn table(title: &str, about: &str, columns: &[&str]) -> Section {
    let mut section = Section::new(title, "as the column says", about, &[]);
    let column = |name: &&str| Column { name: (*name).to_owned(), standing: Standing::Ours };
    section.columns = columns.iter().map(column).collect();
    section
}

fn keep_alive(settings: &Settings) -> Result<Section> {
    let runtime = load::runtime()?;
    let count = settings.most_connections.min(machine::raise_file_limit()?.saturating_sub(OTHER_FILES));
    let about = format!(
        "{} connections over loopback TCP to one process, kept alive by its pings, every 20 s, for {} s; at the end \
         each echoes a message.",
        whole(count),
        settings.kept_alive.as_secs()
    );
    let columns = ["resident bytes each", "pings", "server CPU, µs a ping", "server CPU, % of a core"];
    let mut section = table("Scale: connections kept alive", &about, &columns);
    for peer in peers::active().into_iter().filter(|peer| peer.standing() == Standing::Ours) {
        section.add_row(peer.name(), Better::Lower, Target::None, false);
        let row = section.rows.len() - 1;
        match LocalSet::new().block_on(&runtime, keep(settings, peer, count)) {
            Ok(values) => record_all(&mut section, row, &values),
            Err(error) => section.fail(row, 0, &error),
        }
    }
    Ok(section)
}

fn record_all(section: &mut Section, row: usize, values: &[f64]) {
    for (column, value) in values.iter().enumerate() {
        section.record(row, column, *value);
    }
}

async fn keep(settings: &Settings, peer: &dyn Peer, count: usize) -> Result<[f64; 4]> {
    let child = Child::start(peer, Job::Echo(Manner::Best))?;
    let window = Window::new(Kind::Binary, 64, 1);
    let mut first = load::open_many(child.address, 1, 1).await?;
    load::warm_up(&mut first, &window).await?;
    drop(first);
    let resident = child.resident_bytes()? as f64;
    let mut connections = load::open_many(child.address, count, OPENING).await?;
    load::warm_up(&mut connections, &window).await?;
    let each = (child.resident_bytes()? as f64 - resident) / count as f64;
    let (pings, stop) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(false)));
    let mut tasks = Vec::with_capacity(count);
    for connection in connections {
        tasks.push(spawn_local(connection.answer_pings(window.clone(), pings.clone(), stop.clone())));
    }
    let cpu = child.cpu_time()?;
    sleep(settings.kept_alive).await;
    let cpu = child.cpu_time()?.saturating_sub(cpu);
    let counted = pings.get();
    stop.set(true);
    for task in tasks {
        task.await.context("a connection's task failed")?.context("a connection did not stay alive")?;
    }
    ensure!(counted >= count as u64, "only {counted} pings came");
    Ok([
        each,
        counted as f64,
        cpu.as_micros() as f64 / counted as f64,
        100.0 * cpu.as_secs_f64() / settings.kept_alive.as_secs_f64(),
    ])
}

fn crowds(settings: &Settings) -> Result<Section> {
    let about = "Split connections of fullduplex in one process, over streams in memory, each with a task that receives \
                 and with keep-alive; a message of 128 bytes, encoded once, sent to all by one task.";
    let columns =
        ["resident bytes each", "allocated bytes each", "ns per connection", "ms for a broadcast to all"];
    let mut section = table("Scale: connections in memory", about, &columns);
    for (row, count) in CROWDS.into_iter().filter(|&count| count <= settings.largest_crowd).enumerate() {
        section.add_row(whole(count), Better::Lower, Target::None, false);
        for _ in 0..settings.rounds {
            match crowd(count) {
                Ok(values) => record_all(&mut section, row, &values),
                Err(error) => section.fail(row, 0, &error),
            }
        }
    }
    Ok(section)
}

fn crowd(count: usize) -> Result<[f64; 4]> {
    let output =
        Command::new(env::current_exe()?).args(["crowd", "--connections", &count.to_string()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout)?;
    let values: Vec<f64> = output.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [resident, allocated, broadcast] = values.try_into().ok().context("not three figures")?;
    Ok([resident, allocated, broadcast / count as f64, broadcast / 1e6])
}

fn by_connections(settings: &Settings) -> Result<Curve> {
    let most = settings.most_connections.min(machine::raise_file_limit()?.saturating_sub(OTHER_FILES));
    let counts: Vec<usize> = CONNECTIONS.into_iter().filter(|&count| count <= most).collect();
    let window = Window::new(Kind::Binary, 64, 1);
    let cells: Vec<_> = counts.iter().map(|&count| (whole(count), count, window.clone())).collect();
    let about = "64 B echo over loopback TCP, one message in flight on each connection, by the best loop.";
    let section = echoes(settings, "Scale: echo by connections", about, &cells)?;
    Ok(Curve { section, across: counts.iter().map(|&count| count as f64).collect(), axis: "connections" })
}

fn by_size(settings: &Settings) -> Result<Curve> {
    let cell = |&size: &usize| (format!("{} B", whole(size)), 10, Window::new(Kind::Binary, size, 1));
    let cells: Vec<_> = SIZES.iter().map(cell).collect();
    let about = "Echo over loopback TCP, 10 connections, one message in flight on each, by the best loop.";
    let section = echoes(settings, "Scale: echo by size", about, &cells)?;
    Ok(Curve { section, across: SIZES.iter().map(|&size| size as f64).collect(), axis: "bytes in a message" })
}

fn echoes(
    settings: &Settings,
    title: &str,
    about: &str,
    cells: &[(String, usize, Window)],
) -> Result<Section> {
    let runtime = load::runtime()?;
    let peers = peers::over_tcp();
    let mut section = Section::new(title, "ns of server CPU per message", about, &peers);
    for (label, ..) in cells {
        section.add_row(label.as_str(), Better::Lower, Target::None, false);
    }
    interleave(settings.rounds, cells.len(), &peers, |row, column| {
        let (_, connections, window) = &cells[row];
        let work = echo::measure(settings, peers[column], Manner::Best, *connections, window);
        match LocalSet::new().block_on(&runtime, work) {
            Ok(sample) => section.record(row, column, sample.cpu_nanoseconds),
            Err(error) => section.fail(row, column, &error),
        }
    });
    Ok(section)
}
