//! A chat: sends each line of text to all other members.
//!
//! ```text
//! cargo run --release --features serve --example broadcast -- --listen 127.0.0.1:9002
//! ```
//!
//! Open `http://127.0.0.1:9002` in two browser windows, or join with any WebSocket client:
//!
//! ```text
//! cargo run --release --example client -- 'ws://127.0.0.1:9002/?name=ann'
//! ```
//!
//! Each member has a queue of bounded size. A member that reads so slowly that the queue is full is
//! closed with 1013, and delays no other member.

#[path = "../common/compression.rs"]
mod compression;
mod hall;
mod member;
mod page;
#[path = "../common/serve.rs"]
mod serve;

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use compression::Compression;
use fullduplex::{Config, Server, serve::Serve};

use self::hall::Hall;

/// The maximum number of connections in addition to those of members: they receive the page, or 503
/// if there are too many members.
const VISITORS: usize = 64;

/// A chat over WebSocket: sends each line of text to all other members.
///
/// A line "/name NAME" sets the name, and so does ?name=NAME in the URL. Lines that begin with "* "
/// are notices of the server.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on, for WebSocket and for the page; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
    /// Maximum number of members; further ones are refused with 503.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_connections: usize,
    /// Size of a member's write buffer, in bytes; when it is full, the member is closed with 1013.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    queue: usize,
    /// Largest message to receive, in bytes; a larger one closes the connection with 1009.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 10)]
    max_message_size: usize,
    /// Seconds of silence before a keep-alive ping; 0 disables pings.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    ping_interval: u64,
    #[command(flatten)]
    compression: Compression,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broadcast: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &Args) -> io::Result<()> {
    let ping_interval = (args.ping_interval > 0).then(|| Duration::from_secs(args.ping_interval));
    let config = Config::new()
        .max_write_buffer_size(args.queue)
        .max_message_size(args.max_message_size)
        .ping_interval(ping_interval);
    let server = Server::new(args.compression.apply(config));
    let hall = Arc::new(Hall::default());
    let (seats, max) = (args.max_connections, args.max_connections.saturating_add(VISITORS));
    let configure = |serve: Serve| {
        serve
            .server(server)
            .on_http(|request| async move { page::answer(&request) })
            .decide(|request| async move { member::decide(request) })
            // All members have the same key.
            .max_connections_per(seats, |_| ())
    };
    let members = hall.clone();
    let handler = move |session, request| member::serve(members.clone(), session, request);
    // Without notices that every member has left.
    serve::serve(args.listen, "http", max, configure, handler, || hall.clear()).await
}
