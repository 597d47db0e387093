//! Measures an echo server with honest clients, alone and beside hostile ones.
//!
//! ```text
//! cargo run --release -p abuse -- --markdown benches/abuse.md
//! ```
//!
//! This process has the honest clients. The server and the hostile clients are child processes: this
//! program again, with `server` and `hostile`.
#![deny(unsafe_code, missing_debug_implementations)]

mod child;
mod frames;
mod histogram;
mod honest;
mod hostile;
mod limits;
mod machine;
mod measure;
mod plot;
mod report;
mod rows;
mod server;
mod settings;
mod verdict;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use tokio::{runtime, task::LocalSet};

use self::{rows::Rows, settings::Settings};

/// Files that each process has open besides connections.
const OTHER_FILES: usize = 100;

/// Measures an echo server with honest clients, alone and beside hostile ones.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Number of honest clients.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    honest: Option<u32>,
    /// Number of hostile connections, which are shared equally by the rows.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(9..))]
    hostile: Option<u32>,
    /// Numbers of the rows that they do, separated by commas; all nine by default.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    rows: Vec<u8>,
    /// Seconds for which honest clients are measured beside hostile ones.
    #[arg(long)]
    seconds: Option<u64>,
    /// Least time from the beginning of a hostile connection to that of the next, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS")]
    pace: Option<u64>,
    /// Measure for an hour, unless `--seconds` says otherwise.
    #[arg(long)]
    soak: bool,
    /// Measure for a moment with few clients, to see that everything works; the figures are rough.
    #[arg(long, conflicts_with = "soak")]
    quick: bool,
    /// Write the tables as Markdown.
    #[arg(long, value_name = "PATH")]
    markdown: Option<PathBuf>,
    /// Write a plot of memory and latency over time as SVG.
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    /// Write the samples of memory and latency as CSV.
    #[arg(long, value_name = "PATH")]
    csv: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The server; this program starts it itself.
    #[command(hide = true)]
    Server(server::ServerArgs),
    /// The hostile clients; this program starts them itself.
    #[command(hide = true)]
    Hostile(hostile::HostileArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Some(Command::Server(server)) => block_on(server::run(server)),
        Some(Command::Hostile(hostile)) => block_on(hostile::run(hostile)),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("abuse: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    let settings = settings(args)?;
    let files = machine::raise_file_limit()?;
    let needed = limits::max_connections(settings.honest + settings.hostile) + OTHER_FILES;
    ensure!(needed <= files, "{needed} files are needed, and {files} may be open");
    machine::pin_to(machine::cores() - 1);
    let results = block_on(measure::run(settings))?;
    let plot = args.svg.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    let document = report::markdown(&results, &settings, &command(args), plot.as_deref())?;
    print!("{document}");
    if let Some(path) = &args.markdown {
        fs::write(path, &document).context("cannot write the Markdown")?;
    }
    if let Some(path) = &args.svg {
        fs::write(path, plot::svg(&results)).context("cannot write the plot")?;
    }
    if let Some(path) = &args.csv {
        fs::write(path, report::csv(&results.samples)).context("cannot write the samples")?;
    }
    let faults = verdict::faults(&results, &settings);
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    Ok(())
}

fn settings(args: &Args) -> Result<Settings> {
    let rows = Rows::of(&args.rows)?;
    let mut settings = match (args.quick, args.soak) {
        (true, _) => Settings::quick(rows),
        (_, true) => Settings::soak(rows),
        _ => Settings::full(rows),
    };
    settings.honest = args.honest.map_or(settings.honest, |count| count as usize);
    settings.hostile = args.hostile.map_or(settings.hostile, |count| count as usize);
    settings.abuse = args.seconds.map_or(settings.abuse, Duration::from_secs);
    settings.pace = args.pace.map_or(settings.pace, Duration::from_millis);
    Ok(settings)
}

/// Each process has one thread.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    LocalSet::new().block_on(&runtime::Builder::new_current_thread().enable_all().build()?, work)
}

/// Returns the command that creates the same tables, without the paths of this machine.
fn command(args: &Args) -> String {
    let mut options = Vec::new();
    for (given, option) in [(args.quick, "--quick"), (args.soak, "--soak")] {
        options.extend(given.then(|| option.to_owned()));
    }
    options.extend(args.honest.map(|count| format!("--honest {count}")));
    options.extend(args.hostile.map(|count| format!("--hostile {count}")));
    let rows: Vec<String> = args.rows.iter().map(u8::to_string).collect();
    options.extend((!rows.is_empty()).then(|| format!("--rows {}", rows.join(","))));
    options.extend(args.seconds.map(|seconds| format!("--seconds {seconds}")));
    options.extend(args.pace.map(|pace| format!("--pace {pace}")));
    let mut command = "cargo run --release -p abuse".to_owned();
    if !options.is_empty() {
        command += &format!(" -- {}", options.join(" "));
    }
    command
}
