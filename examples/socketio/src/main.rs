//! A server that sends back what clients of Socket.IO send, to try clients with.
//!
//! ```text
//! cargo run --release -p socketio -- --listen 127.0.0.1:3000
//! cargo run --release -p socketio -- --listen 127.0.0.1:3443 --self-signed server.pem
//! ```
//!
//! Over TLS, browsers select HTTP/2, for polling as well as for WebSocket connections.

#[cfg(feature = "tls")]
#[path = "../../common/axum_tls.rs"]
mod axum_tls;
#[path = "../../common/server_tls.rs"]
mod server_tls;
#[path = "../../common/signals.rs"]
mod signals;

use std::{collections::BTreeMap, error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use axum::{Router, routing::get};
use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use server_tls::Tls;
use socketio::{
    AckError, Args, Auth, Binary, Data, Io, Limits, Namespace, Socket,
    engine::{Connection, Engine, Origins, Received, Settings},
};
use tokio::net::TcpListener;

/// How long sessions may take to end when the server stops.
const STOPPING: Duration = Duration::from_secs(10);

/// An echo server for clients of Socket.IO at /socket.io/, and of Engine.IO at /engine.io/.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Milliseconds between a pong and the next ping.
    #[arg(long, value_name = "MS", default_value_t = 25_000)]
    ping_interval: u64,
    /// Milliseconds that a client has for a pong.
    #[arg(long, value_name = "MS", default_value_t = 20_000)]
    ping_timeout: u64,
    /// Milliseconds that a client has for its first namespace.
    #[arg(long, value_name = "MS", default_value_t = 45_000)]
    connect_timeout: u64,
    /// Milliseconds for which a client that was lost can be recovered; by default never.
    #[arg(long, value_name = "MS")]
    recovery: Option<u64>,
    /// A page elsewhere that may connect, such as https://school.example; can be repeated.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    #[command(flatten)]
    tls: Tls,
}

impl Options {
    fn settings(&self) -> Settings {
        Settings::new()
            .ping_interval(Duration::from_millis(self.ping_interval))
            .ping_timeout(Duration::from_millis(self.ping_timeout))
            .origins(Origins::list(&self.allow_origin))
    }
}

/// Any data, with binary data in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Binary(Binary),
    Object(BTreeMap<String, Any>),
    Array(Vec<Any>),
    Other(Value),
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("socketio: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let limits = Limits::new().connect_timeout(Duration::from_millis(options.connect_timeout));
    let mut io = Io::builder()
        .settings(options.settings())
        .limits(limits)
        .namespace(echo("/"))
        .namespace(echo("/custom"))
        .namespace(rooms("/rooms"));
    if let Some(milliseconds) = options.recovery {
        io = io.recovery(Duration::from_millis(milliseconds));
    }
    let io = io.build();
    let engine = Engine::new(options.settings(), echo_session);
    let health = Router::new().route("/healthz", get(|| async { "ok\n" }));
    let app = health.merge(io.routes()).merge(engine.routes("/engine.io/"));
    let listener =
        TcpListener::bind(options.listen).await.map_err(|error| format!("{}: {error}", options.listen))?;
    let address = listener.local_addr()?;
    let asked_to_stop = signals::asked_to_stop()?;
    let stopped = async move {
        asked_to_stop.await;
        let drained = io.close(STOPPING).await;
        engine.close(STOPPING).await;
        eprintln!("{} closed, {} lost, {} cut off", drained.closed, drained.lost, drained.cut_off);
    };
    #[cfg(feature = "tls")]
    if let Some(acceptor) = options.tls.acceptor()? {
        println!("listening on https://{address}");
        let listener = axum_tls::TlsListener::new(listener, acceptor.http2());
        return Ok(axum::serve(listener, app).with_graceful_shutdown(stopped).await?);
    }
    println!("listening on http://{address}");
    Ok(axum::serve(listener, app).with_graceful_shutdown(stopped).await?)
}

/// Sends each event `message` back as `message-back`, and acknowledges each `message-with-ack` with its
/// own arguments. Those of `ask-me` are sent as `question`, and its acknowledgement as `answer`.
fn echo(name: &str) -> Namespace {
    Namespace::new(name)
        .on_connect(|socket: Socket, auth: Auth| async move {
            let auth: Value = auth.parse().unwrap_or_default();
            report(socket.emit("auth", &auth).await);
        })
        .on("message", |socket: Socket, arguments: Args<Vec<Any>>| async move {
            report(socket.emit("message-back", &arguments).await);
        })
        .on("message-with-ack", |_socket, arguments: Args<Vec<Any>>| async { arguments })
        .on("ask-me", |socket: Socket, arguments: Args<Vec<Any>>| async move {
            match socket.emit_with_ack::<Args<Vec<Any>>, _>("question", &arguments).await {
                Ok(answer) => report(socket.emit("answer", &answer).await),
                Err(AckError::Disconnected) => {}
                Err(error) => eprintln!("{}: {error}", socket.id()),
            }
        })
        .on_failure(|socket, event, error| eprintln!("{}: {event}: {error}", socket.id()))
}

/// Lets clients join rooms, and sends what they say to others: `say` with a room, an event and its
/// arguments, `say-to-all` without a room, and `ask`, which gathers the acknowledgements of a room.
fn rooms(name: &str) -> Namespace {
    Namespace::new(name)
        .on("join", |socket: Socket, Args(rooms): Args<Vec<String>>| async move {
            for room in &rooms {
                report(socket.join(room).await);
            }
            socket.rooms()
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| async move { socket.leave(&room) })
        .on("say", |socket: Socket, Args((room, event, data)): Args<(String, String, Any)>| async move {
            report(socket.to(&room).emit(&event, &data).await);
        })
        .on("say-to-all", |socket: Socket, Args((event, data)): Args<(String, Any)>| async move {
            report(socket.everyone().emit(&event, &data).await);
        })
        .on("ask", |socket: Socket, Args((room, event, data)): Args<(String, String, Any)>| async move {
            let ask = socket.to(&room).timeout(Duration::from_secs(20));
            let answers = ask.emit_with_ack::<Data<Any>, _>(&event, &data).await;
            let answers = answers.map(|answers| answers.answers).unwrap_or_default();
            let answers = answers.into_iter().filter_map(|(_, answer)| Some(answer.ok()?.0));
            answers.collect::<Vec<Any>>()
        })
        .on_failure(|socket, event, error| eprintln!("{}: {event}: {error}", socket.id()))
}

/// Prints an error, except that a client has left.
fn report(emitted: Result<(), socketio::EmitError>) {
    match emitted {
        Ok(()) | Err(socketio::EmitError::Disconnected) => {}
        Err(error) => eprintln!("{error}"),
    }
}

/// Sends each message of Engine.IO back.
async fn echo_session(mut session: Connection) {
    let sender = session.sender();
    while let Ok(received) = session.recv().await {
        let sent = match received {
            Received::Text(text) => sender.send_text(&text).await,
            Received::Binary(data) => sender.send_binary(data).await,
        };
        if sent.is_err() {
            return;
        }
    }
}
