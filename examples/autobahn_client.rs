//! The client under test for the Autobahn test suite: runs every case of a fuzzing server
//! (`wstest`), then requests the report.
//!
//! ```text
//! cargo run --release --example autobahn_client -- --url ws://127.0.0.1:9001 --agent fullduplex
//! ```

#[path = "common/client_tls.rs"]
mod client_tls;
#[path = "common/compression.rs"]
mod compression;

use std::process::ExitCode;

use clap::Parser;
use client_tls::Tls;
use compression::Compression;
use fullduplex::{Client, ClientStream, CloseCode, Config, Error, WebSocket};

/// Runs all cases of an Autobahn fuzzing server against this library's client.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// URL of the fuzzing server.
    #[arg(long, default_value = "ws://127.0.0.1:9001")]
    url: String,
    /// Name of the client in the report.
    #[arg(long, default_value = "fullduplex")]
    agent: String,
    #[command(flatten)]
    compression: Compression,
    #[command(flatten)]
    tls: Tls,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(cases) => {
            println!("{cases} cases run");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("autobahn_client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<u32, Box<dyn std::error::Error>> {
    // The suite sends 4 MiB in fragments of 64 bytes, plus an empty one.
    let config = Config::new().ping_interval(None).max_fragments(1 << 17);
    let client = args.tls.apply(Client::new(args.compression.apply(config)))?;
    let url = args.url.trim_end_matches('/');
    let mut ws = connect(&client, format!("{url}/getCaseCount")).await?;
    let count = ws.recv().await?.ok_or("the server closed before it sent the number of cases")?;
    let cases = count.as_text().ok_or("the number of cases is not text")?.parse()?;
    ws.close(CloseCode::NORMAL, "").await?;
    for case in 1..=cases {
        let ws = connect(&client, format!("{url}/runCase?case={case}&agent={}", args.agent)).await?;
        // Most cases provoke errors, which the report evaluates.
        if let Err(error) = echo(ws).await {
            println!("case {case} of {cases}: {error:#}");
        }
    }
    let ws = connect(&client, format!("{url}/updateReports?agent={}", args.agent)).await?;
    echo(ws).await?;
    Ok(cases)
}

async fn connect(client: &Client, url: String) -> Result<WebSocket<ClientStream>, Error> {
    Ok(client.connect(url).await?.0)
}

async fn echo(mut ws: WebSocket<ClientStream>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        match ws.feed(message).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
