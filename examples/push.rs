//! A push server: sends ticks to subscribers and receives commands on the same connection.
//!
//! ```text
//! cargo run --release --features serve --example push -- --listen 127.0.0.1:9003
//! cargo run --release --example client -- ws://127.0.0.1:9003
//! ```
//!
//! Commands are text: `subscribe NAME`, `unsubscribe NAME`, `list`. All replies are JSON:
//!
//! ```text
//! {"tick":"NAME","n":1}
//! {"subscribed":"NAME"}
//! {"unsubscribed":"NAME"}
//! {"subscriptions":["NAME"]}
//! {"error":"unknown command; there are: subscribe NAME, unsubscribe NAME, list"}
//! ```
//!
//! If the write buffer is full because the reader is slow, a tick is skipped; `n` counts it, so the
//! gap is visible. Receiving and sending need neither a second task nor a split, because `recv`
//! loses nothing when `select!` drops its future.

#[path = "common/serve.rs"]
mod serve;

use std::{
    collections::BTreeMap, fmt, future::poll_fn, io, net::SocketAddr, process::ExitCode, task::Poll,
    time::Duration,
};

use clap::Parser;
use fullduplex::{
    Config, Error, Message, Server, WebSocket,
    serve::{ServerStream, Session},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// The maximum length of a command, in bytes.
const MAX_COMMAND: usize = 1 << 10;

/// The size of the write buffer, in bytes. It is small, because old ticks are of no use.
const QUEUE: usize = 4 << 10;

/// The maximum number of subscriptions of one connection.
const MAX_SUBSCRIPTIONS: usize = 32;

/// The maximum length of a name, in bytes.
const MAX_NAME: usize = 32;

/// A WebSocket server that sends ticks to subscribers and receives commands.
///
/// Commands: "subscribe NAME", "unsubscribe NAME", "list".
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9003")]
    listen: SocketAddr,
    /// Milliseconds between two ticks.
    #[arg(long, value_name = "MILLIS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    interval: u32,
    /// Maximum number of open connections; further ones are refused.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max_connections: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("push: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &Args) -> io::Result<()> {
    let server = Server::new(Config::new().max_message_size(MAX_COMMAND).max_write_buffer_size(QUEUE));
    let period = Duration::from_millis(args.interval.into());
    let handler = move |session, _request| push(session, period);
    serve::serve(args.listen, "ws", args.max_connections, |serve| serve.server(server), handler, || ()).await
}

/// Answers commands and sends ticks until the connection ends or the server stops. `recv` writes
/// what is queued before it waits.
async fn push(mut session: Session<ServerStream>, period: Duration) -> Result<(), Error> {
    let mut subscriptions = Subscriptions::default();
    let mut ticks = ticks(period);
    loop {
        tokio::select! {
            received = session.recv() => {
                let Some(message) = received? else { return Ok(()) };
                match session.feed(subscriptions.answer(&message)).await {
                    // After a Close, the peer no longer wants the reply.
                    Ok(()) | Err(Error::Closed) => {}
                    Err(error) => return Err(error),
                }
            }
            _ = ticks.tick() => for tick in subscriptions.tick() {
                offer(&mut session, tick).await?;
            },
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Queues a message if there is room for it, and discards it otherwise.
async fn offer(ws: &mut WebSocket<ServerStream>, message: String) -> Result<(), Error> {
    match poll_fn(|cx| Poll::Ready(ws.poll_ready(cx, message.len()))).await {
        Poll::Ready(Ok(())) => ws.start_send(message),
        // After a Close, `recv` returns how the connection ended.
        Poll::Ready(Err(Error::Closed)) | Poll::Pending => Ok(()),
        Poll::Ready(Err(error)) => Err(error),
    }
}

/// The subscriptions of a connection, each with its number of ticks.
#[derive(Debug, Default)]
struct Subscriptions(BTreeMap<Name, u64>);

impl Subscriptions {
    /// Executes a command and returns the reply.
    fn answer(&mut self, message: &Message) -> String {
        message
            .as_text()
            .ok_or("a command is a text message")
            .and_then(|command| self.execute(command))
            .unwrap_or_else(|error| format!(r#"{{"error":"{error}"}}"#))
    }

    fn execute(&mut self, command: &str) -> Result<String, &'static str> {
        let words: Vec<&str> = command.split_whitespace().take(3).collect();
        match words[..] {
            ["subscribe", name] => self.subscribe(Name::parse(name)?),
            ["unsubscribe", name] => self.unsubscribe(&Name::parse(name)?),
            ["list"] => Ok(self.list()),
            _ => Err("unknown command; there are: subscribe NAME, unsubscribe NAME, list"),
        }
    }

    /// Adds a subscription, unless it exists.
    fn subscribe(&mut self, name: Name) -> Result<String, &'static str> {
        if self.0.len() >= MAX_SUBSCRIPTIONS && !self.0.contains_key(&name) {
            return Err("too many subscriptions");
        }
        let answer = format!(r#"{{"subscribed":"{name}"}}"#);
        self.0.entry(name).or_default();
        Ok(answer)
    }

    fn unsubscribe(&mut self, name: &Name) -> Result<String, &'static str> {
        self.0.remove(name).ok_or("not subscribed")?;
        Ok(format!(r#"{{"unsubscribed":"{name}"}}"#))
    }

    fn list(&self) -> String {
        let names: Vec<String> = self.0.keys().map(|name| format!(r#""{name}""#)).collect();
        format!(r#"{{"subscriptions":[{}]}}"#, names.join(","))
    }

    /// Returns the next tick of each subscription.
    fn tick(&mut self) -> impl Iterator<Item = String> {
        self.0.iter_mut().map(|(name, n)| {
            *n += 1;
            format!(r#"{{"tick":"{name}","n":{n}}}"#)
        })
    }
}

/// A name that needs no escaping in JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

impl Name {
    fn parse(name: &str) -> Result<Self, &'static str> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.len() <= MAX_NAME && name.bytes().all(allowed) {
            Ok(Self(name.to_owned()))
        } else {
            Err("a name has at most 32 letters, digits, '-', '_' or '.' of ASCII")
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
