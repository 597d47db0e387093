//! A terminal client: sends lines from standard input and prints messages.
//!
//! ```text
//! cargo run --release --example client -- ws://127.0.0.1:9001
//! ```

#[path = "common/client_proxy.rs"]
mod client_proxy;
#[path = "common/client_tls.rs"]
mod client_tls;
#[path = "common/compression.rs"]
mod compression;

use std::{
    borrow::Cow,
    future::poll_fn,
    io::{self, IsTerminal, Write},
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use clap::Parser;
use client_proxy::Proxy;
use client_tls::Tls;
use compression::Compression;
use fullduplex::{Client, ClientStream, CloseCode, CloseFrame, Config, Error, Event, Message, WebSocket};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::{Notify, mpsc},
};

/// A WebSocket client for the terminal: sends lines from standard input and prints messages.
///
/// The end of input and Ctrl-C close the connection cleanly; a second Ctrl-C exits immediately with
/// status 130.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// URL to connect to: ws://HOST[:PORT][/PATH], or wss:// with the feature `tls`.
    url: String,
    /// Header field for the opening handshake, as "Name: value"; may be repeated.
    #[arg(long, value_name = "FIELD", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// Subprotocol to offer; may be repeated, in order of preference.
    #[arg(long)]
    subprotocol: Vec<String>,
    /// Seconds of silence before a keep-alive ping; 0 disables pings.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    ping_interval: u64,
    /// Send each line as a binary message.
    #[arg(long)]
    binary: bool,
    #[command(flatten)]
    compression: Compression,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    proxy: Proxy,
    /// Follow this many redirects.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    follow: u8,
}

fn parse_header(field: &str) -> Result<(String, String), String> {
    let (name, value) = field.split_once(':').ok_or("expected \"Name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

// One worker beside the main thread handles Ctrl-C while writing to standard output blocks.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let args = Args::parse();
    let result = run(&args).await;
    // A read of standard input cannot be cancelled, so the program exits without waiting for the
    // runtime.
    match result {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            report(&format!("client: {error:#}"));
            std::process::exit(1)
        }
    }
}

async fn run(args: &Args) -> Result<(), Error> {
    let mut ws = connect(args).await?;
    let mut lines = read_lines();
    let interrupted = watch_for_interrupts()?;
    let mut stdout = io::stdout().lock();
    let mut open = true;
    // A message that waits for room. No further line is read meanwhile.
    let mut next = None;
    let mut failed = None;
    loop {
        tokio::select! {
            turn = turn(&mut ws, next.as_ref().map(Message::len)) => match turn {
                Turn::Received(event) => match event? {
                    Some(event) => show(&mut stdout, &event)?,
                    None => return failed.map_or(Ok(()), Err),
                },
                Turn::Room => if let Some(message) = next.take() {
                    ws.start_send(message)?;
                },
                Turn::NeverRoom(error) => {
                    (open, next) = (false, None);
                    // Continues to receive: the server's last messages if it closes, or those
                    // before the failure.
                    failed = Some(error).filter(|error| !matches!(error, Error::Closed));
                }
            },
            line = lines.recv(), if open && next.is_none() => match line {
                Some(line) => next = Some(message(line?, args.binary)),
                None => {
                    open = false;
                    close(&mut ws, "")?;
                }
            },
            () = interrupted.notified() => {
                (open, next) = (false, None);
                close(&mut ws, "interrupted")?;
                eprintln!("closing; Ctrl-C again ends it at once");
            }
        }
    }
}

/// The next event of the connection.
enum Turn {
    Received(Result<Option<Event>, Error>),
    /// There is room for the waiting message.
    Room,
    /// There will never be room again.
    NeverRoom(Error),
}

/// Waits for an event or for room for a message of this length. Receiving also writes what is
/// queued.
async fn turn(ws: &mut WebSocket<ClientStream>, len: Option<usize>) -> Turn {
    poll_fn(|cx| {
        // First, so that a server that sends continuously does not delay what is sent.
        if let Some(len) = len
            && let Poll::Ready(room) = ws.poll_ready(cx, len)
        {
            return Poll::Ready(room.map_or_else(Turn::NeverRoom, |()| Turn::Room));
        }
        let event = ready!(ws.poll_recv_event(cx));
        Poll::Ready(Turn::Received(event))
    })
    .await
}

async fn connect(args: &Args) -> Result<WebSocket<ClientStream>, Error> {
    let ping_interval = (args.ping_interval > 0).then(|| Duration::from_secs(args.ping_interval));
    let mut client = Client::new(args.compression.apply(Config::new().ping_interval(ping_interval)));
    for (name, value) in &args.header {
        client = client.header(name.as_str(), value.as_str());
    }
    for subprotocol in &args.subprotocol {
        client = client.subprotocol(subprotocol);
    }
    let client = args.proxy.apply(args.tls.apply(client)?).max_redirects(args.follow);
    let (ws, _response) = client.connect(args.url.as_str()).await?;
    let agreed = [("subprotocol", ws.subprotocol().unwrap_or_default()), ("extensions", ws.extensions())];
    let agreed = agreed.iter().filter(|(_, value)| !value.is_empty());
    eprintln!("connected{}", agreed.map(|(name, value)| format!(", {name} {value}")).collect::<String>());
    Ok(ws)
}

/// Reads lines from standard input, a few ahead.
fn read_lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).split(b'\n');
        while let Some(line) = lines.next_segment().await.transpose() {
            let line = line.map(|mut line| {
                line.pop_if(|last| *last == b'\r');
                line
            });
            if sender.send(line).await.is_err() {
                break;
            }
        }
    });
    receiver
}

/// Notifies of the first Ctrl-C and exits at the second.
fn watch_for_interrupts() -> io::Result<Arc<Notify>> {
    #[cfg(unix)]
    let mut interrupts = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    #[cfg(windows)]
    let mut interrupts = tokio::signal::windows::ctrl_c()?;
    let interrupted = Arc::new(Notify::new());
    let first = interrupted.clone();
    tokio::spawn(async move {
        interrupts.recv().await;
        first.notify_one();
        interrupts.recv().await;
        std::process::exit(130)
    });
    Ok(interrupted)
}

/// Converts a line to a message; invalid UTF-8 in text is replaced.
fn message(line: Vec<u8>, binary: bool) -> Message {
    if binary {
        return Message::binary(line);
    }
    match String::from_utf8(line) {
        Ok(line) => Message::text(line),
        Err(error) => Message::text(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

fn close(ws: &mut WebSocket<ClientStream>, reason: &str) -> Result<(), Error> {
    match ws.start_close(Some(CloseFrame::new(CloseCode::NORMAL, reason)?)) {
        Ok(()) | Err(Error::Closed) => Ok(()),
        Err(error) => Err(error),
    }
}

fn show(stdout: &mut io::StdoutLock<'_>, event: &Event) -> io::Result<()> {
    match event {
        Event::Message(message) => {
            stdout.write_all(&printable(message.as_bytes(), stdout.is_terminal()))?;
            stdout.write_all(b"\n")?;
            stdout.flush()?;
        }
        Event::Close(Some(frame)) => report(&format!("closed: {frame}")),
        Event::Close(None) => report("closed without a code"),
        _ => {}
    }
    Ok(())
}

/// Prints to standard error a text that may contain input from the server.
fn report(what: &str) {
    let what = printable(what.as_bytes(), io::stderr().is_terminal());
    eprintln!("{}", String::from_utf8_lossy(&what));
}

/// Escapes control characters for a terminal, which could interpret them. Other outputs receive the
/// bytes unchanged.
fn printable(bytes: &[u8], for_terminal: bool) -> Cow<'_, [u8]> {
    if !for_terminal {
        return Cow::Borrowed(bytes);
    }
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\n' | '\t' => shown.push(char),
                char if char.is_control() => shown.extend(char.escape_default()),
                char => shown.push(char),
            }
        }
        shown.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    Cow::Owned(shown.into_bytes())
}
