//! A terminal client: lines from standard input are sent, messages are printed.
//!
//! ```text
//! cargo run --release --example client -- ws://127.0.0.1:9001
//! ```

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use fullduplex::{Client, ClientStream, CloseCode, CloseFrame, Config, Error, Event, Message, WebSocket};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::mpsc,
};

/// A WebSocket client for the terminal: lines from standard input are sent, messages are printed.
///
/// At the end of input, and at Ctrl-C, it closes the connection in order.
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
}

fn parse_header(field: &str) -> Result<(String, String), String> {
    let (name, value) = field.split_once(':').ok_or("expected \"Name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let result = run(&args).await;
    // A read of standard input cannot be called off, so the runtime is not waited for.
    match result {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("client: {error}");
            std::process::exit(1)
        }
    }
}

async fn run(args: &Args) -> Result<(), Error> {
    let mut ws = connect(args).await?;
    let mut lines = read_lines();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut stdout = io::stdout().lock();
    let mut open = true;
    loop {
        tokio::select! {
            event = ws.recv_event() => match event? {
                Some(event) => show(&mut stdout, &event)?,
                None => return Ok(()),
            },
            line = lines.recv(), if open => match line {
                Some(line) => match ws.send(message(line?, args.binary)).await {
                    // The server closes: what it has to say comes with the next event.
                    Ok(()) | Err(Error::Closed) => {}
                    Err(error) => return Err(error),
                },
                None => {
                    open = false;
                    close(&mut ws, "")?;
                }
            },
            result = &mut interrupt, if open => {
                result?;
                open = false;
                close(&mut ws, "interrupted")?;
            }
        }
    }
}

async fn connect(args: &Args) -> Result<WebSocket<ClientStream>, Error> {
    let ping_interval = (args.ping_interval > 0).then(|| Duration::from_secs(args.ping_interval));
    let mut client = Client::new(Config::new().ping_interval(ping_interval));
    for (name, value) in &args.header {
        client = client.header(name.as_str(), value.as_str());
    }
    for subprotocol in &args.subprotocol {
        client = client.subprotocol(subprotocol);
    }
    let (ws, _response) = client.connect(args.url.as_str()).await?;
    match ws.subprotocol() {
        Some(subprotocol) => eprintln!("connected, subprotocol {subprotocol}"),
        None => eprintln!("connected"),
    }
    Ok(ws)
}

/// Lines of standard input, as they come.
fn read_lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(64);
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

fn show(stdout: &mut impl Write, event: &Event) -> io::Result<()> {
    match event {
        Event::Message(message) => {
            stdout.write_all(message.as_bytes())?;
            stdout.write_all(b"\n")?;
            stdout.flush()?;
        }
        Event::Close(Some(frame)) => eprintln!("closed: {frame}"),
        Event::Close(None) => eprintln!("closed without a code"),
        _ => {}
    }
    Ok(())
}
