//! A terminal client: lines from standard input are sent, messages are printed.
//!
//! ```text
//! cargo run --release --example client -- ws://127.0.0.1:9001
//! ```

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
use compression::Compression;
use fullduplex::{Client, ClientStream, CloseCode, CloseFrame, Config, Error, Event, Message, WebSocket};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::{Notify, mpsc},
};

/// A WebSocket client for the terminal: lines from standard input are sent, messages are printed.
///
/// At the end of input, and at Ctrl-C, it closes the connection in order; a second Ctrl-C ends it at once, with 130.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to connect to: ws://HOST[:PORT][/PATH]
    url: String,
    /// A header field for the opening handshake, as "Name: value"; may be given more than once.
    #[arg(long, value_name = "FIELD", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// A subprotocol to offer; may be given more than once, best first.
    #[arg(long)]
    subprotocol: Vec<String>,
    /// Seconds of silence before a keep-alive ping; 0 is off.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    ping_interval: u64,
    /// Send each line as a binary message.
    #[arg(long)]
    binary: bool,
    #[command(flatten)]
    compression: Compression,
}

fn parse_header(field: &str) -> Result<(String, String), String> {
    let (name, value) = field.split_once(':').ok_or("expected \"Name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

// A thread beside the main one: Ctrl-C is heard even where standard output takes nothing.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let args = Args::parse();
    let result = run(&args).await;
    // A read of standard input cannot be called off, so the runtime is not waited for.
    match result {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            tell(&format!("client: {error:#}"));
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
    // What waits for room, and meanwhile no further line is read.
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
                    // Where the server closes, what it has to say is still to be received; where sending failed, what
                    // came before.
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

/// What happens next on the connection.
enum Turn {
    Received(Result<Option<Event>, Error>),
    /// There is room for the message that waits for it.
    Room,
    /// There never will be.
    NeverRoom(Error),
}

/// Receives, which writes what is queued as well, until there is something or there is room for a message of this length.
async fn turn(ws: &mut WebSocket<ClientStream>, len: Option<usize>) -> Turn {
    poll_fn(|cx| {
        // First, for what is sent is not to wait for a server that sends without a pause.
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
    let (ws, _response) = client.connect(args.url.as_str()).await?;
    let agreed = [("subprotocol", ws.subprotocol().unwrap_or_default()), ("extensions", ws.extensions())];
    let agreed = agreed.iter().filter(|(_, value)| !value.is_empty());
    eprintln!("connected{}", agreed.map(|(name, value)| format!(", {name} {value}")).collect::<String>());
    Ok(ws)
}

/// Lines of standard input, read a few ahead of those that are taken.
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

/// Tells of the first Ctrl-C, and ends the program at the second.
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

/// Text where it can be, unless binary is asked for.
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
        Event::Close(Some(frame)) => tell(&format!("closed: {frame}")),
        Event::Close(None) => tell("closed without a code"),
        _ => {}
    }
    Ok(())
}

/// Tells the user what may have words of the server in it.
fn tell(what: &str) {
    let what = printable(what.as_bytes(), io::stderr().is_terminal());
    eprintln!("{}", String::from_utf8_lossy(&what));
}

/// For a terminal: control characters could make it do anything, so they are escaped. Elsewhere bytes stay as they are.
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
