//! A terminal client: sends lines from standard input and prints messages.
//!
//! ```text
//! cargo run --release --example client -- ws://127.0.0.1:9001
//! ```

#[cfg(feature = "reconnect")]
mod again;
mod args;
#[path = "../common/client_proxy.rs"]
mod client_proxy;
#[path = "../common/client_tls.rs"]
mod client_tls;
#[path = "../common/compression.rs"]
mod compression;
mod failure;
mod input;
mod once;
mod output;

use args::Args;
use clap::Parser;
use failure::Failure;
use output::Output;

// One worker beside the main thread handles Ctrl-C while writing to standard output blocks.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let args = Args::parse();
    let output = Output::new(&args);
    let result = run(&args, output).await;
    // A read of standard input cannot be cancelled, so the program exits without waiting for the
    // runtime.
    match result {
        Ok(()) => std::process::exit(0),
        Err(failure) => {
            output.note(&format!("client: {failure}"));
            std::process::exit(failure.exit_status())
        }
    }
}

async fn run(args: &Args, output: Output) -> Result<(), Failure> {
    #[cfg(feature = "reconnect")]
    if args.reconnect {
        return again::run(args, output).await;
    }
    once::run(args, output).await
}
