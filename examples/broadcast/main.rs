//! A chat: every line of text goes to everybody else.
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
//! Each member has a queue of bounded size. Who reads so slowly that it fills up is closed with 1013, and nobody waits
//! for that.

mod hall;
mod member;
mod page;

use std::{future::Future, io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use fullduplex::{Config, Server};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time::timeout,
};

use self::hall::Hall;

/// How long the members have to say goodbye once the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// How many connections may be open beside those of members: they get the page, or learn that there is no seat.
const VISITORS: usize = 64;

/// A chat over WebSocket: every line of text goes to everybody else.
///
/// A line "/name NAME" chooses a name, and so does ?name=NAME in the address. Lines that begin with "* " are notices of
/// the server.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on, for WebSocket and for the page; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
    /// How many members there may be; further ones are refused with 503.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_connections: u32,
    /// How many bytes may wait for a member to read them; who lets more pile up is closed with 1013.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    queue: usize,
    /// The largest message that is received, in bytes; larger ones are closed with 1009.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 10)]
    max_message_size: usize,
    /// Seconds of silence before a keep-alive ping; 0 is off.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    ping_interval: u64,
}

/// What all connections share.
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
            .max_write_buffer(args.queue)
            .max_message_size(args.max_message_size)
            .ping_interval(ping_interval);
        Self {
            server: Server::new(config),
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
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", args.listen)))?;
    let mut asked_to_stop = std::pin::pin!(asked_to_stop()?);
    println!("listening on http://{}", listener.local_addr()?);

    let chat = Arc::new(Chat::new(args));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((_, peer)) if is_full(&mut connections, args) => {
                    eprintln!("{peer}: dropped, {} connections are open", connections.len());
                }
                Ok((tcp, peer)) => {
                    connections.spawn(connection(chat.clone(), tcp, peer, stopped.clone()));
                }
                // Such as too many open files: other connections go on, and some will end.
                Err(error) => {
                    eprintln!("accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
            () = &mut asked_to_stop => break,
        }
    }
    // Nobody is told that everybody leaves.
    chat.hall.clear();
    drop(stop);
    finish(connections).await;
    Ok(())
}

async fn connection(chat: Arc<Chat>, tcp: TcpStream, peer: SocketAddr, stopped: watch::Receiver<()>) {
    if let Err(error) = member::serve(&chat, tcp, stopped).await {
        eprintln!("{peer}: {error}");
    }
}

/// Waits a moment for the connections to end.
async fn finish(mut connections: JoinSet<()>) {
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(GRACE, all_ended).await.is_err() {
        eprintln!("{} connections cut off", connections.len());
    }
}

/// Whether there are as many connections as there may be; those that have ended are no longer counted.
fn is_full(connections: &mut JoinSet<()>, args: &Args) -> bool {
    while let Some(ended) = connections.try_join_next() {
        report(ended);
    }
    connections.len() >= (args.max_connections as usize).saturating_add(VISITORS)
}

/// A connection's errors are told by itself, unless it panicked.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        eprintln!("a connection ended, for a bug: {error}");
    }
}

/// Ready at Ctrl-C, and at SIGTERM, which service managers send.
#[cfg(unix)]
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ready at Ctrl-C.
#[cfg(not(unix))]
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("Ctrl-C ends the server without a Close: {error}");
            std::future::pending::<()>().await;
        }
    })
}
