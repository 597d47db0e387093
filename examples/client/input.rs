//! What the client reads: lines, files, and Ctrl-C.

use std::{io, sync::Arc};

use fullduplex::Message;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::{Notify, mpsc},
};

use crate::args::Args;

/// Reads the messages to send, a few ahead: files, then lines from standard input.
pub(crate) fn read_messages(args: &Args) -> mpsc::Receiver<io::Result<Message>> {
    let (sender, receiver) = mpsc::channel(8);
    let (files, binary) = (args.binary_file.clone(), args.binary);
    tokio::spawn(async move {
        for file in files {
            let content = tokio::fs::read(&file).await;
            let content = content
                .map(Message::binary)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())));
            if sender.send(content).await.is_err() {
                return;
            }
        }
        let mut lines = BufReader::new(tokio::io::stdin()).split(b'\n');
        while let Some(line) = lines.next_segment().await.transpose() {
            if sender.send(line.map(|line| message(line, binary))).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Converts a line to a message; invalid UTF-8 in text is replaced.
fn message(mut line: Vec<u8>, binary: bool) -> Message {
    line.pop_if(|last| *last == b'\r');
    if binary {
        return Message::binary(line);
    }
    match String::from_utf8(line) {
        Ok(line) => Message::text(line),
        Err(error) => Message::text(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

/// Notifies of the first Ctrl-C and exits at the second.
pub(crate) fn watch_for_interrupts() -> io::Result<Arc<Notify>> {
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
