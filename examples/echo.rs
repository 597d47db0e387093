//! An echo server.
//!
//! ```text
//! cargo run --release --features serve --example echo -- --listen 127.0.0.1:9001
//! ```

#[path = "common/compression.rs"]
mod compression;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/server_tls.rs"]
mod server_tls;

use std::{future::Future, io, net::SocketAddr, process::ExitCode, time::Duration};

use clap::Parser;
use compression::Compression;
use fullduplex::{
    Config, Error, MessageReader, Receiver, Sender, Server,
    serve::{Guard, Serve, ServerStream, Session},
};
use futures_util::future::Either;
use server_tls::Tls;
use tokio::runtime;

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
    /// Require a header of the PROXY protocol, which a load balancer sends, from each connection.
    #[arg(long)]
    proxy_protocol: bool,
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
    let server = Server::new(args.compression.apply(config));
    let manner = match (args.parts, args.split) {
        (true, _) => Manner::Parts(args.max_message_size as u64),
        (false, true) => Manner::Split,
        (false, false) => Manner::Whole,
    };
    #[cfg(feature = "tls")]
    let acceptor = args.tls.acceptor()?;
    #[cfg(feature = "tls")]
    let scheme = if acceptor.is_some() { "wss" } else { "ws" };
    #[cfg(not(feature = "tls"))]
    let scheme = "ws";
    let configure = |serve: Serve| {
        #[cfg(feature = "tls")]
        let serve = serve.tls(acceptor);
        serve.server(server).proxy_protocol(args.proxy_protocol)
    };
    // Most of the memory of an idle connection is its task, so a future that few connections need is
    // boxed.
    let handler = move |session, _request| match manner {
        Manner::Whole => Either::Left(echo(session)),
        Manner::Split | Manner::Parts(_) => Either::Right(Box::pin(split_connection(session, manner))),
    };
    serve::serve(args.listen, scheme, args.max_connections, configure, handler, || ()).await
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

/// Does the same through the two halves of a connection, which could be in two tasks.
async fn split_connection(session: Session<ServerStream>, manner: Manner) -> Result<(), Error> {
    let (ws, mut guard) = session.into_parts();
    let (mut receiver, sender) = ws.split();
    if let Manner::Parts(limit) = manner {
        tokio::select! {
            result = parts_echo(&mut receiver, &sender, limit) => return result,
            () = guard.begun() => {}
        }
        // Completes the closing handshake.
        while guard.recv(&mut receiver).await?.is_some() {}
        return Ok(());
    }
    split_echo(&mut guard, &mut receiver, &sender).await
}

/// Does the same as [`echo`]. Nothing is received while `feed` waits for room; if the peer takes no
/// byte meanwhile, `write_timeout` ends the connection.
async fn split_echo(
    guard: &mut Guard,
    receiver: &mut Receiver<ServerStream>,
    sender: &Sender,
) -> Result<(), Error> {
    while let Some(message) = guard.recv(receiver).await? {
        match sender.feed(message).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Does the same as [`split_echo`], and sends each part of a message as it arrives.
async fn parts_echo(receiver: &mut Receiver<ServerStream>, sender: &Sender, limit: u64) -> Result<(), Error> {
    while let Some(message) = receiver.reader(limit).await? {
        match echo_in_parts(message, sender).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn echo_in_parts(
    mut message: MessageReader<&mut Receiver<ServerStream>>,
    sender: &Sender,
) -> Result<(), Error> {
    let mut answer = sender.writer(message.kind()).await?;
    while let Some(part) = message.recv_part().await? {
        answer.feed_part(part).await?;
    }
    answer.finish().await
}
