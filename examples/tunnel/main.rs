//! A tunnel: TCP connections over WebSocket connections, for networks that only let HTTP pass.
//!
//! ```text
//! cargo run --release --example tunnel -- server --listen 127.0.0.1:9004 --to 127.0.0.1:22
//! cargo run --release --example tunnel -- client --listen 127.0.0.1:2222 --url ws://127.0.0.1:9004
//! ssh -p 2222 localhost
//! ```
//!
//! WebSocket has no half-close. When one TCP connection ends, everything it has sent arrives at the
//! other end, and then both directions end.

#[path = "../common/accept_loop.rs"]
mod accept_loop;
mod carry;
mod client;
#[path = "../common/client_proxy.rs"]
mod client_proxy;
#[path = "../common/client_tls.rs"]
mod client_tls;
mod server;
#[path = "../common/server_tls.rs"]
mod server_tls;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A tunnel: TCP connections over WebSocket connections.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    end: End,
}

/// The two ends of a tunnel.
#[derive(Debug, Subcommand)]
enum End {
    /// Accepts WebSocket connections, and opens a TCP connection for each.
    Server(server::Args),
    /// Accepts TCP connections, and opens a WebSocket connection for each.
    Client(client::Args),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match Args::parse().end {
        End::Server(args) => server::run(args).await,
        End::Client(args) => client::run(args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tunnel: {error}");
            ExitCode::FAILURE
        }
    }
}
