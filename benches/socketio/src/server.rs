//! The servers: both acknowledge each event `ask` with its data. In the namespace `/room`, all sockets are
//! in one room.
//!
//! A server prints its port. It reads orders from standard input: `stat` returns the allocated bytes,
//! `send` sends an event to the room, and returns when that is done. It exits at the end of standard input.

use std::{
    env,
    io::{self, BufRead, Write},
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow, bail};
use axum::{Router, serve::ListenerExt};
use clap::ValueEnum;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    runtime,
    sync::{mpsc, oneshot},
};

use crate::{counting, machine, process::Child};

/// The room that all sockets of the namespace `/room` are in.
const ROOM: &str = "all";

/// Orders to send an event to the room; each is answered when it is done.
type Orders = mpsc::Receiver<oneshot::Sender<()>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Library {
    /// The example package of this repository.
    Socketio,
    Socketioxide,
}

/// Starts a server as a child process, which counts allocated bytes if asked to.
pub fn start(library: Library, count: bool) -> Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    let name = library.to_possible_value().context("a name")?;
    command.args(["serve", name.get_name()]);
    if count {
        command.arg("--count");
    }
    Child::run(command)
}

pub fn run(library: Library, count: bool) -> Result<()> {
    machine::pin_to(machine::SERVER_CORE)?;
    machine::raise_file_limit()?;
    if count {
        counting::start();
    }
    let (give, orders) = mpsc::channel(1);
    thread::spawn(move || {
        // Without orders, there is nothing left to do.
        let ended = take_orders(&give);
        std::process::exit(i32::from(ended.is_err()));
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        // As servers of small messages do: a write does not wait until the one before is acknowledged.
        let listener = listener.tap_io(|tcp| {
            if let Err(error) = tcp.set_nodelay(true) {
                eprintln!("TCP_NODELAY: {error}");
            }
        });
        let (routes, server) = routes(library);
        tokio::spawn(async move {
            if let Err(error) = send_news(&server, orders).await {
                eprintln!("{error:#}");
                std::process::exit(1);
            }
        });
        Ok(axum::serve(listener, routes).await?)
    })
}

/// What sends events to rooms.
enum Server {
    Socketio(socketio::Io),
    Socketioxide(socketioxide::SocketIo),
}

/// Sends an event to the room for each order.
async fn send_news(server: &Server, mut orders: Orders) -> Result<()> {
    let news = json!({
        "id": 12345, "text": "the quick brown fox jumps over the lazy dog", "tags": ["a", "b"],
    });
    while let Some(done) = orders.recv().await {
        match server {
            Server::Socketio(io) => io.of("/room").to(ROOM).emit("news", &news).await?,
            Server::Socketioxide(io) => {
                let room = io.of("/room").context("no namespace")?.to(ROOM);
                // This error is not `Sync`.
                room.emit("news", &news).await.map_err(|error| anyhow!("{error}"))?;
            }
        }
        // It fails only if this process ends.
        let _ = done.send(());
    }
    Ok(())
}

fn routes(library: Library) -> (Router, Server) {
    match library {
        Library::Socketio => {
            use socketio::{Data, Io, Namespace, Socket};

            let namespace = Namespace::new("/").on("ask", |_socket, Data(data): Data<Value>| async { data });
            let room = Namespace::new("/room").on_connect(|socket: Socket, _auth| async move {
                socket.join(ROOM).await.expect("in memory");
                // It fails only if the client has left.
                let _ = socket.emit("joined", &()).await;
            });
            let io = Io::builder().namespace(namespace).namespace(room).build();
            (io.routes(), Server::Socketio(io))
        }
        Library::Socketioxide => {
            use socketioxide::{
                SocketIo,
                extract::{AckSender, Data, SocketRef},
            };

            let (layer, io) = SocketIo::new_layer();
            io.ns("/", async |socket: SocketRef| {
                socket.on("ask", async |Data(data): Data<Value>, ack: AckSender| {
                    // It fails only if the client has left.
                    let _ = ack.send(&data);
                });
            });
            io.ns("/room", async |socket: SocketRef| {
                socket.join(ROOM);
                // It fails only if the client has left.
                let _ = socket.emit("joined", &());
            });
            (Router::new().layer(layer), Server::Socketioxide(io))
        }
    }
}

fn take_orders(give: &mpsc::Sender<oneshot::Sender<()>>) -> Result<()> {
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        match line?.as_str() {
            "stat" => writeln!(out, "{}", counting::allocated())?,
            "send" => {
                let (done, waits) = oneshot::channel();
                give.blocking_send(done)?;
                waits.blocking_recv()?;
                writeln!(out, "sent")?;
            }
            other => bail!("no such order: {other}"),
        }
    }
    Ok(())
}
