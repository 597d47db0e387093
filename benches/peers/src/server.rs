//! The server: a process of its own, on a core of its own, so that its processor time and memory
//! can be measured.
//!
//! All peers use the same runtime and accept loop. It prints its port to standard output and, before
//! broadcasts, the number of connections once all of them are open. It reads orders from standard
//! input: `stat` returns the allocated bytes, `send` sends one broadcast. It exits at the end of
//! standard input.

use std::{
    io::{self, BufRead, Write},
    thread,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    sync::{mpsc, oneshot},
};

use crate::{
    arrivals::{Arrivals, Orders, accept},
    counting, machine,
    peers::{self, Manner, Peer, ServeTls, Takeover},
    tls::Identity,
};

/// The message of a broadcast.
pub const BROADCAST: &[u8] = &[0x42; 128];

/// The message of a broadcast beside echoes.
pub const STORM: &[u8] = &[0x42; 1 << 10];

/// The connections that may wait to be accepted by a server that also broadcasts, and the size of its
/// send buffers in bytes. By default, each may hold megabytes over loopback, and a client that does
/// not read would be noticed late.
const BACKLOG: u32 = 4096;
const SEND_BUFFER: u32 = 32 << 10;

#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Which column of the tables.
    #[arg(long)]
    peer: String,
    /// How it echoes.
    #[arg(long, value_enum, default_value = "best")]
    manner: Manner,
    /// Echo compressed messages.
    #[arg(long, value_enum, value_name = "TAKEOVER")]
    compressed: Option<Takeover>,
    /// Open connections in the library's usual way.
    #[arg(long)]
    open: bool,
    /// Accept connections over TLS.
    #[arg(long)]
    tls: bool,
    /// Accept transports of HTTP/2.
    #[arg(long)]
    http2: bool,
    /// Broadcast to this many connections.
    #[arg(long, value_name = "CONNECTIONS")]
    broadcast: Option<usize>,
    /// Echo, and broadcast to all open connections.
    #[arg(long)]
    storm: bool,
    /// Echo with threads on all cores.
    #[arg(long)]
    cores: bool,
    /// Count allocated bytes.
    #[arg(long)]
    count: bool,
}

pub fn run(args: &ServeArgs) -> Result<()> {
    if args.cores {
        machine::unpin()?;
    } else {
        machine::pin_to(machine::SERVER_CORE)?;
    }
    machine::raise_file_limit()?;
    if args.count {
        counting::start();
    }
    let peer = peers::by_name(&args.peer)?;
    let (give, orders) = mpsc::channel(1);
    thread::spawn(move || {
        // Without orders, there is nothing left to do.
        let ended = take_orders(&give);
        std::process::exit(i32::from(ended.is_err()));
    });
    if args.cores {
        return peer.serve_on_cores().context("it does not serve on all cores")?;
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args, peer, orders))
}

async fn serve(args: &ServeArgs, peer: &'static dyn Peer, orders: Orders) -> Result<()> {
    let listener = if args.storm { listen_for_many()? } else { TcpListener::bind("127.0.0.1:0").await? };
    println!("{}", listener.local_addr()?.port());
    if let Some(connections) = args.broadcast {
        let arrivals = Arrivals::new(listener, connections, orders);
        let work = peer.broadcast(arrivals, BROADCAST.into());
        return work.context("it does not broadcast")?.await;
    }
    if args.storm {
        let work = peer.storm(listener, orders, STORM.into());
        return work.context("it does not broadcast beside echoes")?.await;
    }
    if args.tls {
        return serve_tls(args, peer, &listener).await;
    }
    loop {
        let tcp = accept(&listener).await?;
        if args.http2 {
            peer.serve_http2(tcp).context("it does not serve over HTTP/2")?;
        } else if let Some(takeover) = args.compressed {
            peer.serve_compressed(tcp, args.manner, takeover).context("it does not compress")?;
        } else if args.open {
            peer.open(tcp).context("it has no opening handshake")?;
        } else {
            peer.serve(tcp, args.manner).context("it does not echo")?;
        }
    }
}

/// Listens with room for thousands of connections that are not accepted yet.
fn listen_for_many() -> Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Accepted sockets have the same size.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    Ok(socket.listen(BACKLOG)?)
}

/// Performs the TLS handshake of each connection in a task, which then ends. The load generator
/// detects that it has failed.
async fn serve_tls(args: &ServeArgs, peer: &dyn Peer, listener: &TcpListener) -> Result<()> {
    let config = Identity::passed()?.server()?;
    let serve = if args.open { peer.open_tls() } else { peer.serve_tls() };
    let (serve, manner) = (serve.context("it does not serve over TLS")?, args.manner);
    loop {
        let (tcp, config) = (accept(listener).await?, config.clone());
        match serve.clone() {
            ServeTls::Rustls(serve) => {
                let accepting = tokio_rustls::TlsAcceptor::from(config).accept(tcp);
                tokio::spawn(async move { accepting.await.map(|io| serve(io, manner)) });
            }
            ServeTls::Fullduplex(serve) => {
                let acceptor = fullduplex::TlsAcceptor::from_config(config);
                tokio::spawn(async move { acceptor.accept(tcp).await.map(|io| serve(io, manner)) });
            }
        }
    }
}

fn take_orders(give: &mpsc::Sender<oneshot::Sender<()>>) -> Result<()> {
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "stat" => writeln!(out, "{}", counting::allocated())?,
            "send" => {
                let (done, is_done) = oneshot::channel();
                give.blocking_send(done)?;
                is_done.blocking_recv()?;
                writeln!(out, "sent")?;
            }
            other => bail!("no such order: {other}"),
        }
    }
    Ok(())
}
