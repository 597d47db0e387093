//! An echo server.
//!
//! ```text
//! cargo run --release --example echo -- --listen 127.0.0.1:9001
//! ```

#[path = "common/compression.rs"]
mod compression;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/server_tls.rs"]
mod server_tls;

use std::{future::Future, io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use compression::Compression;
use fullduplex::{CloseCode, Config, Error, MessageReader, Receiver, Sender, Server, WebSocket};
use futures_util::{FutureExt, TryFutureExt, future::Either};
use serve::Stopped;
use server_tls::Tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime,
};

/// The reason of the Close when the server stops.
const STOPS: &str = "the server stops";

/// An echo server for WebSocket: sends back every message.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Worker threads; 1 runs everything on the main thread.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds of silence before a keep-alive ping; 0 disables pings.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    ping_interval: u64,
    /// Largest message to receive, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    max_message_size: usize,
    /// Maximum number of open connections; further ones are refused.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max_connections: usize,
    /// Receive and send through the two halves of a split connection.
    #[arg(long)]
    split: bool,
    /// The same, with each message streamed in parts: a large one is never in memory as a whole.
    #[arg(long)]
    parts: bool,
    #[command(flatten)]
    compression: Compression,
    #[command(flatten)]
    tls: Tls,
}

/// How messages are sent back.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// Through the whole connection.
    Whole,
    /// Through its halves.
    Split,
    /// Through its halves, in parts, up to this many bytes for a message.
    Parts(u64),
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
        // The Autobahn test suite sends 4 MiB in fragments of 64 bytes, plus an empty one.
        .max_fragments(1 << 17);
    let server = Arc::new(Server::new(args.compression.apply(config)));
    let manner = match (args.parts, args.split) {
        (true, _) => Manner::Parts(args.max_message_size as u64),
        (false, true) => Manner::Split,
        (false, false) => Manner::Whole,
    };
    let report = |peer| {
        move |result| {
            if let Err(error) = result {
                eprintln!("{peer}: {error:#}");
            }
        }
    };
    #[cfg(feature = "tls")]
    if let Some(acceptor) = args.tls.acceptor()? {
        let connection = |tcp, peer, stopped| {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            let opening = async move { open(server, acceptor.accept(without_delay(tcp)?).await?).await };
            connection(opening, stopped, manner).map(report(peer))
        };
        return serve::serve(args.listen, "wss", args.max_connections, connection, || ()).await;
    }
    let connection = |tcp, peer, stopped| {
        let server = server.clone();
        let opening = async move { open(server, without_delay(tcp)?).await };
        connection(opening, stopped, manner).map(report(peer))
    };
    serve::serve(args.listen, "ws", args.max_connections, connection, || ()).await
}

fn without_delay(tcp: TcpStream) -> io::Result<TcpStream> {
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Serves one connection until it ends or the server stops.
///
/// Most of the memory of an idle connection is its task, so the task is kept small: the future of
/// the opening handshake is boxed and freed once the connection is open, and so are futures that
/// few connections need.
fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    opening: impl Future<Output = Result<WebSocket<S>, Error>> + Send + 'static,
    stopped: Stopped,
    manner: Manner,
) -> impl Future<Output = Result<(), Error>> {
    Box::pin(opening).and_then(move |ws| match manner {
        Manner::Whole => Either::Left(whole_connection(ws, stopped)),
        Manner::Split | Manner::Parts(_) => Either::Right(Box::pin(split_connection(ws, stopped, manner))),
    })
}

async fn open<S: AsyncRead + AsyncWrite + Unpin>(server: Arc<Server>, io: S) -> Result<WebSocket<S>, Error> {
    server.read_request(io).await?.accept().await
}

#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` would hold the connection twice: as its argument too"
)]
fn whole_connection<S: AsyncRead + AsyncWrite + Unpin>(
    mut ws: WebSocket<S>,
    stopped: Stopped,
) -> impl Future<Output = Result<(), Error>> {
    async move {
        // Boxed, because it would be the largest part of the task after the connection.
        let stops = Box::pin(stopped.cancelled_owned());
        tokio::select! {
            result = echo(&mut ws) => return result,
            () = stops => {}
        }
        Box::pin(ws.close(CloseCode::GOING_AWAY, STOPS)).await
    }
}

/// Answers a burst of messages with one write: `recv` writes what was fed before it waits.
// `while let` would reserve space for the message beside the future that sends it.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocket<S>) -> Result<(), Error> {
    loop {
        let Some(message) = ws.recv().await? else { return Ok(()) };
        match ws.feed(message).await {
            // After a Close, the peer no longer wants the reply.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Does the same through the two halves of a connection, which could be in two tasks.
async fn split_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    ws: WebSocket<S>,
    stopped: Stopped,
    manner: Manner,
) -> Result<(), Error> {
    let (mut receiver, sender) = ws.split();
    tokio::select! {
        result = split_echo(&mut receiver, &sender, manner) => return result,
        () = stopped.cancelled() => {}
    }
    // Concurrently, because the receiver completes the closing handshake and enforces its
    // deadlines.
    let (closed, received) = tokio::join!(sender.close(CloseCode::GOING_AWAY, STOPS), async {
        while receiver.recv().await?.is_some() {}
        Ok(())
    });
    match closed {
        // The peer closed first.
        Ok(()) | Err(Error::Closed) => received,
        Err(error) => Err(error),
    }
}

/// Does the same as [`echo`]. Nothing is received while `feed` waits for room; if the peer takes no
/// byte meanwhile, `write_timeout` ends the connection.
async fn split_echo<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    receiver: &mut Receiver<S>,
    sender: &Sender,
    manner: Manner,
) -> Result<(), Error> {
    if let Manner::Parts(limit) = manner {
        return parts_echo(receiver, sender, limit).await;
    }
    while let Some(message) = receiver.recv().await? {
        match sender.feed(message).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Does the same as [`split_echo`], and sends each part of a message as it arrives.
async fn parts_echo<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    receiver: &mut Receiver<S>,
    sender: &Sender,
    limit: u64,
) -> Result<(), Error> {
    while let Some(message) = receiver.reader(limit).await? {
        match echo_in_parts(message, sender).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn echo_in_parts<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut message: MessageReader<&mut Receiver<S>>,
    sender: &Sender,
) -> Result<(), Error> {
    let mut answer = sender.writer(message.kind()).await?;
    while let Some(part) = message.recv_part().await? {
        answer.feed_part(part).await?;
    }
    answer.finish().await
}
