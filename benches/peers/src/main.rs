//! Measures fullduplex and its peers in one run.
//!
//! ```text
//! cargo run --release -- --markdown peers.md --svg peers.svg
//! ```
//!
//! Each section is a file, each peer is a file. Servers are child processes: this program again,
//! with `serve`.
#![deny(unsafe_code, missing_debug_implementations)]

mod arrivals;
mod axum;
mod broadcast;
mod child;
mod cores;
mod counting;
mod crowd;
mod curves;
mod deflate;
mod document;
mod echo;
mod fanout;
mod frames;
mod handshakes;
mod http2;
mod latency;
mod load;
mod machine;
mod memory;
mod memory_stream;
mod peers;
mod plot;
mod process;
mod receive;
mod report;
mod scale;
mod send;
mod server;
mod settings;
mod storms;
mod tls;
mod wss;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

use self::{report::Section, scale::Curve, settings::Settings};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Measures fullduplex beside its peers, and prints the tables.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Only these sections, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How often each cell is measured; the median is shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round, to see that everything runs; its figures are rough.
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Measure uWebSockets too: a checkout of its source, with its submodule uSockets. It is compiled here.
    #[arg(long, value_name = "DIR")]
    uwebsockets: Option<PathBuf>,
    /// Write the tables as Markdown.
    #[arg(long, value_name = "PATH")]
    markdown: Option<PathBuf>,
    /// Write a plot as SVG: bars, or, of the scale section alone, curves.
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The server of a measurement; this program starts it itself.
    #[command(hide = true)]
    Serve(server::ServeArgs),
    /// A million connections in memory; this program starts it itself.
    #[command(hide = true)]
    Crowd(crowd::CrowdArgs),
}

/// The sections, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Receive,
    Send,
    Echo,
    Broadcast,
    Handshakes,
    Memory,
    Latency,
    Deflate,
    Wss,
    Axum,
    Http2,
    /// Runs only if it is selected, because it takes long.
    Fanout,
    /// Runs only if it is selected, because it takes long.
    Storms,
    /// Runs only if it is selected, because its servers have threads on all cores.
    Cores,
    /// Runs only if it is selected, because it takes long.
    Scale,
}

impl Part {
    /// Returns whether it runs if no section is selected.
    fn is_default(self) -> bool {
        !matches!(self, Self::Fanout | Self::Storms | Self::Cores | Self::Scale)
    }
}

/// The measured sections and curves.
#[derive(Debug, Default)]
struct Results {
    sections: Vec<Section>,
    curves: Vec<Curve>,
}

impl Results {
    fn measure(&mut self, part: Part, settings: &Settings) -> Result<()> {
        let sections = match part {
            Part::Receive => receive::run(settings),
            Part::Send => send::run(settings),
            Part::Echo => echo::run(settings),
            Part::Broadcast => broadcast::run(settings),
            Part::Handshakes => handshakes::run(settings),
            Part::Memory => memory::run(settings),
            Part::Latency => latency::run(settings),
            Part::Deflate => deflate::run(settings),
            Part::Wss => wss::run(settings),
            Part::Axum => axum::run(settings),
            Part::Http2 => http2::run(settings),
            Part::Fanout => fanout::run(settings),
            Part::Storms => storms::run(settings),
            Part::Cores => cores::run(settings),
            Part::Scale => {
                let (sections, curves) = scale::run(settings)?;
                self.curves = curves;
                Ok(sections)
            }
        };
        self.sections.extend(sections?);
        Ok(())
    }

    fn all(&self) -> Vec<&Section> {
        self.sections.iter().chain(self.curves.iter().map(|curve| &curve.section)).collect()
    }

    /// Returns the bars or, if only curves were measured, the curves.
    fn svg(&self, subtitle: &str) -> String {
        if self.sections.iter().any(Section::is_plotted) {
            plot::svg(&self.sections, subtitle)
        } else {
            curves::svg(&self.curves, subtitle)
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Some(Command::Serve(serve)) => server::run(serve),
        Some(Command::Crowd(crowd)) => crowd::run(crowd),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<()> {
    machine::pin_to(machine::cores() - 1)?;
    machine::raise_file_limit()?;
    if let Some(directory) = &args.uwebsockets
        && !peers::compile_uwebsockets(directory)?
    {
        eprintln!("there is no C++ compiler: uWebSockets is not measured");
    }
    let settings = if args.quick { Settings::quick() } else { Settings::full(args.rounds) };
    let mut results = Results::default();
    for part in Part::value_variants() {
        if args.only.contains(part) || (args.only.is_empty() && part.is_default()) {
            eprintln!("{part:?}");
            results.measure(*part, &settings)?;
        }
    }
    let tables = document::markdown(&results.all(), &command(args), &settings);
    print!("{tables}");
    if let Some(path) = &args.markdown {
        fs::write(path, &tables).context("cannot write the Markdown")?;
    }
    if let Some(path) = &args.svg {
        fs::write(path, results.svg(&document::subtitle(&settings))).context("cannot write the plot")?;
    }
    anyhow::ensure!(results.all().iter().all(|section| section.failures.is_empty()), "some cells failed");
    Ok(())
}

/// Returns the command that creates the same tables, without the paths of this machine.
fn command(args: &Args) -> String {
    let mut command = "cargo run --release".to_owned();
    let only: Vec<String> = args.only.iter().map(|part| format!("{part:?}").to_lowercase()).collect();
    let mut options = Vec::new();
    if !only.is_empty() {
        options.push(format!("--only {}", only.join(",")));
    }
    if args.quick {
        options.push("--quick".to_owned());
    } else if args.rounds != 5 {
        options.push(format!("--rounds {}", args.rounds));
    }
    if args.uwebsockets.is_some() {
        options.push("--uwebsockets DIR".to_owned());
    }
    if !options.is_empty() {
        command += &format!(" -- {}", options.join(" "));
    }
    command
}
