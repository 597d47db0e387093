//! An echo server with an accept loop for each core, which scales to many cores.
//!
//! ```text
//! cargo run --release --features serve --example per_core -- --listen 127.0.0.1:9001
//! ```
//!
//! Each core has a thread, a runtime and a listener of its own on the same port (`SO_REUSEPORT`), and
//! the kernel spreads new connections over the listeners. A connection stays on the core that accepts
//! it: its task is never moved, and no message touches memory that another core writes. On the other
//! hand, a core that has many busy connections by chance cannot pass them on. A runtime with several
//! threads, as in the example `echo`, shares the work of all connections.
//!
//! The port is not exclusive: another process of the same user can listen on it too. Only Linux
//! spreads connections evenly.

#[path = "common/signals.rs"]
mod signals;

use std::{
    future::Future,
    io,
    net::{self, SocketAddr},
    num::NonZeroUsize,
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Parser;
use fullduplex::{
    CloseCode, Error,
    serve::{Drained, Failure, Serve, ServerStream, Session, Shutdown},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    task::JoinSet,
};

/// The reason of the Close when the server stops.
const STOPS: &str = "the server stops";

/// How long peers have to complete the closing handshake once the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// The connections that may wait to be accepted, for each core.
const BACKLOG: u32 = 1024;

/// An echo server for WebSocket with an accept loop for each core.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Accept loops, each with a thread of its own; by default as many as the process may use cores.
    #[arg(long, value_name = "COUNT")]
    cores: Option<NonZeroUsize>,
    /// Maximum number of open connections for each core; further ones are refused.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max_connections: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("per_core: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let cores = args.cores.map_or_else(thread::available_parallelism, Ok)?.get();
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(cores).build()?.block_on(serve(args, cores))
}

/// Starts the threads of the cores, and stops them after Ctrl-C.
async fn serve(args: &Args, cores: usize) -> io::Result<()> {
    let listeners = listen(args.listen, cores)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", args.listen)))?;
    let asked_to_stop = signals::asked_to_stop()?;
    println!("listening on ws://{}", listeners[0].local_addr()?);

    let mut cores = JoinSet::new();
    let mut shutdowns = Vec::new();
    for listener in listeners {
        // One for all would be shared memory, which each core writes whenever a task waits.
        let (shutdown, max) = (Shutdown::new(), args.max_connections);
        shutdowns.push(shutdown.clone());
        cores.spawn_blocking(move || run_core(listener, &shutdown, max));
    }
    let failed = tokio::select! {
        () = asked_to_stop => None,
        // A core ends earlier only if it fails. The others then stop too.
        ended = cores.join_next() => ended,
    };
    for shutdown in &shutdowns {
        shutdown.begin(CloseCode::GOING_AWAY, STOPS).map_err(Error::from)?;
    }
    let mut results: Vec<_> = failed.into_iter().collect();
    while let Some(ended) = cores.join_next().await {
        results.push(ended);
    }
    let mut cut_off = 0;
    for result in results {
        cut_off += result??.cut_off;
    }
    if cut_off > 0 {
        eprintln!("{cut_off} connections cut off");
    }
    Ok(())
}

/// Listens on the same address as often as there are cores.
fn listen(address: SocketAddr, cores: usize) -> io::Result<Vec<net::TcpListener>> {
    let mut listeners = Vec::with_capacity(cores);
    let mut address = address;
    for _ in 0..cores {
        let listener = listener(address)?;
        // All use the port that the system has chosen for the first one.
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

#[cfg(unix)]
fn listener(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

#[cfg(not(unix))]
fn listener(_: SocketAddr) -> io::Result<net::TcpListener> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no SO_REUSEPORT"))
}

/// Accepts connections and runs their tasks, on this thread, until the shutdown is complete.
fn run_core(listener: net::TcpListener, shutdown: &Shutdown, max: usize) -> io::Result<Drained> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        Serve::new(TcpListener::from_std(listener)?)
            .max_connections(max)
            .shutdown(shutdown)
            .on_failure(move |failure| match failure {
                Failure::Refused { peer, .. } => eprintln!("{peer}: refused, {max} connections are open"),
                failure => eprintln!("{failure:#}"),
            })
            .run(|session, _request| echo(session))
            .await?;
        Ok(shutdown.wait(GRACE).await)
    })
}

/// Answers a burst of messages with one write: `recv` writes what was fed before it waits.
// `while let` would reserve space for the message beside the future that sends it.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the session twice: as its argument too")]
fn echo(mut session: Session<ServerStream>) -> impl Future<Output = Result<(), Error>> {
    async move {
        loop {
            let Some(message) = session.recv().await? else { return Ok(()) };
            match session.feed(message).await {
                // After a Close, the peer no longer wants the reply.
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
