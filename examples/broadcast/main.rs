//! A chat: sends each line of text to all other members.
//!
//! ```text
//! cargo run --release --example broadcast -- --listen 127.0.0.1:9002
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
use fullduplex::{Config, Server};
use serve::Stopped;
use tokio::{net::TcpStream, sync::Semaphore};

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
    max_connections: u32,
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

/// The state that all connections share.
#[derive(Debug)]
struct Chat {
    server: Server,
    hall: Hall,
    seats: Arc<Semaphore>,
}

impl Chat {
    fn new(args: &Args) -> Self {
        let ping_interval = (args.ping_interval > 0).then(|| Duration::from_secs(args.ping_interval));
        let config = Config::new()
            .max_write_buffer_size(args.queue)
            .max_message_size(args.max_message_size)
            .ping_interval(ping_interval);
        Self {
            server: Server::new(args.compression.apply(config)),
            hall: Hall::default(),
            seats: Arc::new(Semaphore::new(args.max_connections as usize)),
        }
    }
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
    let chat = Arc::new(Chat::new(args));
    let max = (args.max_connections as usize).saturating_add(VISITORS);
    let connection = |tcp, peer, stopped| connection(chat.clone(), tcp, peer, stopped);
    // Without notices that every member has left.
    serve::serve(args.listen, "http", max, connection, || chat.hall.clear()).await
}

async fn connection(chat: Arc<Chat>, tcp: TcpStream, peer: SocketAddr, stopped: Stopped) {
    if let Err(error) = member::serve(&chat, tcp, stopped).await {
        eprintln!("{peer}: {error:#}");
    }
}
