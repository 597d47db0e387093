//! Measures the example package `socketio` beside socketioxide, both on axum.
//!
//! ```text
//! cargo run --release --manifest-path benches/socketio/Cargo.toml
//! ```
//!
//! Servers are child processes: this program again, with `serve`, on a core of their own.
#![deny(unsafe_code, missing_debug_implementations)]

mod broadcast;
mod client;
#[path = "../../peers/src/counting.rs"]
mod counting;
#[path = "../../peers/src/machine.rs"]
#[allow(dead_code, reason = "shared with the package peers")]
mod machine;
#[path = "../../peers/src/process.rs"]
#[allow(dead_code, reason = "shared with the package peers")]
mod process;
mod server;
mod table;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::{runtime, task::JoinSet, time::Instant};

use self::{
    client::Client,
    process::Child,
    server::{Library, start},
    table::Table,
};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// The sockets that send events, each of which waits for its acknowledgement.
const SENDERS: usize = 20;

/// Connections that are opened first, so that one-time allocations are not counted.
const FIRST: usize = 16;

/// The sockets in the room to which an event is sent.
const MEMBERS: usize = 5000;

/// The time after which a server is idle.
const REST: Duration = Duration::from_millis(300);

/// Measures two servers of Socket.IO, and prints a table.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// How often each cell is measured; the median is shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round, to see that everything runs; its figures are rough.
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The server of a measurement; this program starts it itself.
    #[command(hide = true)]
    Serve {
        #[arg(value_enum)]
        library: Library,
        /// Count allocated bytes.
        #[arg(long)]
        count: bool,
    },
}

/// How long, and how much, is measured.
#[derive(Debug, Clone, Copy)]
struct Settings {
    rounds: usize,
    time: Duration,
    idle: usize,
    /// The sockets that are in one room.
    members: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.command {
        Some(Command::Serve { library, count }) => server::run(library, count),
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("socketio-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    machine::pin_to(machine::cores() - 1)?;
    let files = machine::raise_file_limit()?;
    let settings = match options.quick {
        true => Settings { rounds: 1, time: Duration::from_millis(500), idle: 200, members: 500 },
        false => {
            Settings { rounds: options.rounds, time: Duration::from_secs(5), idle: 2000, members: MEMBERS }
        }
    };
    ensure!(files > settings.members + 100, "{files} open files are not enough");
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(&[
        "event with an acknowledgement: processor time of the server, µs",
        "session and namespace over WebSocket: processor time of the server, µs",
        "idle connection after an event: resident memory, bytes",
        "idle connection after an event: allocated memory, bytes",
        "event for the sockets of a room: processor time of the server for each of them, ns",
        "event for the sockets of a room: time until the last one has it, µs",
    ]);
    // In turn, so that what else the machine does concerns both.
    for _ in 0..settings.rounds {
        for library in Library::value_variants() {
            let values = runtime.block_on(async {
                let [resident, allocated] = idle(*library, settings).await?;
                let [cpu, last] = broadcast::measure(*library, settings).await?;
                anyhow::Ok([
                    events(*library, settings).await?,
                    sessions(*library, settings).await?,
                    resident,
                    allocated,
                    cpu,
                    last,
                ])
            });
            table.add(*library, values?);
        }
    }
    println!("{}", table.markdown(&machine::describe()));
    Ok(())
}

/// Returns the processor time of the server for an event and its acknowledgement, in microseconds.
async fn events(library: Library, settings: Settings) -> Result<f64> {
    let child = start(library, false)?;
    let mut clients = Vec::new();
    for _ in 0..SENDERS {
        clients.push(Client::open(child.address).await?);
    }
    for client in &mut clients {
        client.ask().await?;
    }
    let before = child.cpu_time()?;
    let end = Instant::now() + settings.time;
    let mut sending = JoinSet::new();
    for mut client in clients {
        sending.spawn(async move {
            let mut asked = 0_u64;
            while Instant::now() < end {
                client.ask().await?;
                asked += 1;
            }
            anyhow::Ok(asked)
        });
    }
    let mut asked = 0;
    while let Some(sent) = sending.join_next().await {
        asked += sent??;
    }
    Ok(micros(child.cpu_time()? - before, asked))
}

/// Returns the processor time of the server for a session that begins with WebSocket and connects to a
/// namespace, in microseconds.
async fn sessions(library: Library, settings: Settings) -> Result<f64> {
    let child = start(library, false)?;
    Client::open(child.address).await?;
    let before = child.cpu_time()?;
    let end = Instant::now() + settings.time;
    let mut opening = JoinSet::new();
    for _ in 0..SENDERS {
        let address = child.address;
        opening.spawn(async move {
            let mut opened = 0_u64;
            while Instant::now() < end {
                Client::open(address).await?.close().await;
                opened += 1;
            }
            anyhow::Ok(opened)
        });
    }
    let mut opened = 0;
    while let Some(count) = opening.join_next().await {
        opened += count??;
    }
    Ok(micros(child.cpu_time()? - before, opened))
}

/// Returns the resident and the allocated bytes of an idle connection after one event.
async fn idle(library: Library, settings: Settings) -> Result<[f64; 2]> {
    let mut child = start(library, true)?;
    let first = open_many(&child, FIRST).await?;
    tokio::time::sleep(REST).await;
    let before = (child.resident_bytes()?, child.allocated_bytes()?);
    let connections = open_many(&child, settings.idle).await?;
    tokio::time::sleep(REST).await;
    let after = (child.resident_bytes()?, child.allocated_bytes()?);
    drop((first, connections));
    let each = |bytes: f64| bytes / settings.idle as f64;
    Ok([each(after.0 as f64 - before.0 as f64), each((after.1 - before.1) as f64)])
}

/// Opens connections, each of which sends an event.
async fn open_many(child: &Child, count: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = Client::open(child.address).await?;
        client.ask().await?;
        clients.push(client);
    }
    Ok(clients)
}

fn micros(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}
