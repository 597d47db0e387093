//! Measures two nodes that share their rooms over Redis.
//!
//! ```text
//! cargo run --release -p nodes -- --markdown benches/nodes.md
//! ```
//!
//! This process is the load: senders on node A, and members on either node. The nodes are child
//! processes: this program again, with `node`. `redis-server` is a child process, too.
#![deny(unsafe_code, missing_debug_implementations)]

mod case;
mod crowd;
mod growth;
mod highest;
mod lanes;
mod machine;
mod message;
mod meter;
mod node;
mod order;
mod paced;
mod redis_server;
mod report;
mod settings;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::task::LocalSet;

use self::settings::Settings;

/// Measures two nodes that share their rooms over Redis, and prints the tables.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Measure for a moment with few rooms, to see that everything runs; the figures are rough.
    #[arg(long)]
    quick: bool,
    /// Number of senders, each of which has one message in flight.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=4096))]
    senders: Option<u16>,
    /// Measure only the cases whose names contain this text, such as "1 room, other node".
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the tables as Markdown.
    #[arg(long, value_name = "PATH")]
    markdown: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A node; this program starts it itself.
    #[command(hide = true)]
    Node(node::NodeArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Some(Command::Node(node)) => runtime().and_then(|runtime| runtime.block_on(node::run(node))),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nodes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    machine::raise_file_limit()?;
    let mut settings = if args.quick { Settings::quick() } else { Settings::full() };
    if let Some(senders) = args.senders {
        settings.senders = senders.into();
    }
    let runtime = runtime()?;
    let mut all = Vec::new();
    for case in settings.cases() {
        if !args.only.as_ref().is_none_or(|text| case.to_string().contains(text)) {
            continue;
        }
        eprintln!("{case}");
        let figures = LocalSet::new().block_on(&runtime, case::measure(case, &settings));
        all.push(figures.with_context(|| case.to_string())?);
    }
    anyhow::ensure!(!all.is_empty(), "no case has such a name");
    let document = report::markdown(&all, &command(args), &settings)?;
    print!("{document}");
    if let Some(path) = &args.markdown {
        fs::write(path, &document).context("cannot write the Markdown")?;
    }
    Ok(())
}

/// Each process has one thread: what a core bears can be read from its processor time.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Returns the command that creates the same tables, without the paths of this machine.
fn command(args: &Args) -> String {
    let mut options = Vec::new();
    if args.quick {
        options.push("--quick".to_owned());
    }
    options.extend(args.senders.map(|senders| format!("--senders {senders}")));
    options.extend(args.only.as_ref().map(|text| format!("--only {text:?}")));
    let mut command = "cargo run --release -p nodes".to_owned();
    if !options.is_empty() {
        command += &format!(" -- {}", options.join(" "));
    }
    command
}
