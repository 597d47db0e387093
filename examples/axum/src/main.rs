//! A server on axum: a page, health, metrics, and WebSocket connections, on one port.
//!
//! ```text
//! cargo run --release -p fullduplex-example-axum -- --listen 127.0.0.1:9001
//! cargo run --release -p fullduplex-example-axum -- --listen 127.0.0.1:9443 --self-signed localhost
//! ```
//!
//! Over TLS, browsers select HTTP/2, and open WebSocket connections over it (RFC 8441).

#[path = "../../common/axum_tls.rs"]
mod axum_tls;
#[path = "../../common/compression.rs"]
mod compression;
mod counter;
mod journal;
mod pages;

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use axum::{
    Router,
    extract::{FromRef, State},
    http::Version,
    response::Response,
    routing::{any, get},
};
use axum_tls::TlsListener;
use clap::Parser;
use compression::Compression;
use counter::Counter;
use fullduplex::{
    CloseCode, Config, Error, TlsAcceptor,
    axum::{WebSocket, WebSocketUpgrade},
    serve::{Metrics, Shutdown},
};
use journal::Journal;
use pages::Upgrades;
use tokio::net::TcpListener;

/// The reason of the Close when the server stops.
const STOPS: &str = "the server stops";

/// A server on axum: a page, /health, /metrics, and WebSocket at /echo, /counter and /journal.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Certificate chain in PEM; enables TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Host name of a certificate that is made at the start; enables TLS, for tests.
    #[arg(long, value_name = "HOST", conflicts_with = "tls_cert")]
    self_signed: Option<String>,
    #[command(flatten)]
    compression: Compression,
    /// File that messages to /journal are appended to.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Seconds that connections have to close when the server stops.
    #[arg(long, value_name = "SECS", default_value_t = 10)]
    drain: u64,
    /// Close code when the server stops: 1001, or 1012 if it restarts.
    #[arg(long, value_name = "CODE", default_value_t = 1001)]
    close_code: u16,
}

/// What the handlers share.
#[derive(Debug, Clone, FromRef)]
struct App {
    config: Config,
    shutdown: Shutdown,
    metrics: Metrics,
    upgrades: Upgrades,
    counter: Counter,
    journal: Journal,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fullduplex-example-axum: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> io::Result<()> {
    let code = CloseCode::from(args.close_code);
    if !code.is_sendable() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "--close-code cannot be sent"));
    }
    let metrics = Metrics::new();
    let shutdown = Shutdown::new().with_metrics(&metrics);
    // The Autobahn test suite sends 4 MiB in fragments of 64 bytes, plus an empty one.
    let config = args.compression.apply(Config::new().max_fragments(1 << 17));
    let app = App {
        config,
        shutdown: shutdown.clone(),
        metrics,
        upgrades: Upgrades::default(),
        counter: Counter::new(),
        journal: Journal::open(args.journal.as_deref())?,
    };
    let router = Router::new()
        .route("/", get(pages::page))
        .route("/health", get(pages::health))
        .route("/metrics", get(pages::metrics))
        .route("/echo", any(echo_route))
        .route("/counter", any(counter::route))
        .route("/journal", any(journal::route))
        .with_state(app);
    let stopping = shutdown.clone();
    ctrlc::set_handler(move || {
        if let Err(error) = stopping.begin(code, STOPS) {
            eprintln!("fullduplex-example-axum: {error}");
        }
    })
    .map_err(io::Error::other)?;
    let listener = TcpListener::bind(args.listen).await?;
    let address = listener.local_addr()?;
    let begun = shutdown.clone();
    let begun = async move { begun.begun().await };
    match acceptor(args)? {
        Some(acceptor) => {
            println!("listening on wss://{address}");
            let listener = TlsListener::new(listener, acceptor);
            axum::serve(listener, router).with_graceful_shutdown(begun).await?;
        }
        None => {
            println!("listening on ws://{address}");
            axum::serve(listener, router).with_graceful_shutdown(begun).await?;
        }
    }
    // axum does not wait for WebSocket connections.
    let drained = shutdown.wait(Duration::from_secs(args.drain)).await;
    println!("stopped: {} connections closed, {} cut off", drained.closed, drained.cut_off);
    Ok(())
}

fn acceptor(args: &Args) -> io::Result<Option<TlsAcceptor>> {
    let acceptor = match (&args.tls_cert, &args.tls_key, &args.self_signed) {
        (Some(chain), Some(key), _) => TlsAcceptor::from_pem(read(chain)?, read(key)?),
        (_, _, Some(host)) => {
            let made = rcgen::generate_simple_self_signed([host.clone()]).map_err(io::Error::other)?;
            TlsAcceptor::from_pem(made.cert.pem(), made.signing_key.serialize_pem())
        }
        _ => return Ok(None),
    };
    Ok(Some(acceptor.map_err(io::Error::other)?.http2()))
}

fn read(path: &PathBuf) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Sends every message back.
async fn echo_route(
    State(config): State<Config>,
    State(shutdown): State<Shutdown>,
    State(upgrades): State<Upgrades>,
    version: Version,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrades.count(version);
    upgrade.config(config).on_upgrade(async move |ws| report(echo(ws, &shutdown).await))
}

async fn echo(ws: WebSocket, shutdown: &Shutdown) -> Result<(), Error> {
    let mut ws = shutdown.guard().attach(ws);
    while let Some(message) = ws.recv().await? {
        match ws.feed(message).await {
            // After a Close, the peer no longer wants the reply.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Prints the error that has ended a connection, unless the peer only vanished.
fn report(result: Result<(), Error>) {
    if let Err(error) = result
        && !error.is_disconnect()
    {
        eprintln!("{error:#}");
    }
}
