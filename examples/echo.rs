//! An echo server.
//!
//! ```text
//! cargo run --release --example echo -- --listen 127.0.0.1:9001
//! ```

use std::{io, net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;
use fullduplex::{CloseCode, Config, Error, Server, WebSocket};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::watch,
    task::JoinSet,
    time::timeout,
};

/// How long the peers have to say goodbye once the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// An echo server for WebSocket: every message comes back as it was sent.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Worker threads; 1 is a runtime on the main thread alone.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds of silence before a keep-alive ping; 0 is off.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    ping_interval: u64,
    /// The largest message that is received, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    max_message_size: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match runtime(args.threads).and_then(|runtime| runtime.block_on(serve(&args))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime(threads: usize) -> io::Result<runtime::Runtime> {
    let mut builder = if threads <= 1 {
        runtime::Builder::new_current_thread()
    } else {
        runtime::Builder::new_multi_thread()
    };
    builder.worker_threads(threads.max(1)).enable_all().build()
}

async fn serve(args: &Args) -> io::Result<()> {
    let ping_interval = (args.ping_interval > 0).then(|| Duration::from_secs(args.ping_interval));
    let config = Config::new()
        .ping_interval(ping_interval)
        .max_message_size(args.max_message_size)
        // The Autobahn test suite sends 4 MiB in fragments of 64 bytes, and an empty one.
        .max_fragments(1 << 17);
    let server = Server::new(config);
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", args.listen)))?;
    println!("listening on ws://{}", listener.local_addr()?);

    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    let (server, stopped) = (server.clone(), stopped.clone());
                    connections.spawn(async move {
                        if let Err(error) = connection(&server, tcp, stopped).await {
                            eprintln!("{peer}: {error}");
                        }
                    });
                }
                // Such as too many open files: other connections go on, and some will end.
                Err(error) => {
                    eprintln!("accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            result = &mut interrupt => {
                result?;
                break;
            }
        }
    }
    drop(stop);
    if timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        eprintln!("{} connections cut off", connections.len());
    }
    Ok(())
}

/// Serves one connection, until it ends or the server does.
async fn connection(server: &Server, tcp: TcpStream, mut stopped: watch::Receiver<()>) -> Result<(), Error> {
    tcp.set_nodelay(true)?;
    let mut ws = server.receive(tcp).await?.accept().await?;
    tokio::select! {
        result = echo(&mut ws) => result,
        _ = stopped.changed() => ws.close(CloseCode::GOING_AWAY, "the server stops").await,
    }
}

/// Answers a burst of messages with one write: what is fed leaves when `recv` has to wait.
async fn echo(ws: &mut WebSocket<TcpStream>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        match ws.feed(message).await {
            // The peer closes, and no longer wants the answer.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
