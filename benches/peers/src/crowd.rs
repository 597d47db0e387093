//! A million connections in one process, over streams in memory: the memory of each, and the time
//! of a message to all of them. Files and ports would not suffice for so many.
//!
//! This is a process of its own, so that its memory is that of the connections.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
    time::Instant,
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::Args;
use fullduplex::{Config, PreparedMessage, Role, Sender, WebSocket, handshake::Negotiated};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::yield_now,
};

use crate::{counting, load, machine, server::BROADCAST};

/// The shortest of this many broadcasts is reported, because other processes can only lengthen one.
const BROADCASTS: usize = 5;

/// The bytes written to all streams.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Args)]
pub struct CrowdArgs {
    /// How many connections.
    #[arg(long)]
    connections: usize,
}

/// A stream whose reads are always pending, and which counts the bytes written.
#[derive(Debug)]
struct Silent;

impl AsyncRead for Silent {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        WRITTEN.fetch_add(buf.len() as u64, Relaxed);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Prints the bytes that one connection takes, resident and allocated, and the nanoseconds of a
/// broadcast.
pub fn run(args: &CrowdArgs) -> Result<()> {
    counting::start();
    load::runtime()?.block_on(crowd(args.connections))
}

async fn crowd(connections: usize) -> Result<()> {
    let before = (resident()?, counting::allocated() as f64);
    let config = Config::new();
    let mut senders = Vec::with_capacity(connections);
    for _ in 0..connections {
        let ws = WebSocket::from_raw(Silent, Bytes::new(), Role::Server, &config, Negotiated::default());
        let (mut receiver, sender) = ws.split();
        tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
        senders.push(sender);
    }
    // Each task runs until it waits.
    for _ in 0..connections / 16 + 64 {
        yield_now().await;
    }
    let each = |now: f64, before: f64| (now - before) / connections as f64;
    let (resident, allocated) = (each(resident()?, before.0), each(counting::allocated() as f64, before.1));
    let broadcast = shortest_broadcast(&senders).await?;
    println!("{resident} {allocated} {broadcast}");
    Ok(())
}

fn resident() -> Result<f64> {
    Ok(machine::resident_bytes(std::process::id())? as f64)
}

async fn shortest_broadcast(senders: &[Sender]) -> Result<f64> {
    let message = PreparedMessage::new(Bytes::from_static(BROADCAST));
    // A message of this length has four bytes of header.
    let expected = senders.len() as u64 * (BROADCAST.len() as u64 + 4);
    let mut shortest = f64::INFINITY;
    for _ in 0..BROADCASTS {
        let (begin, written) = (Instant::now(), WRITTEN.load(Relaxed));
        for sender in senders {
            sender.send(&message).await?;
        }
        ensure!(WRITTEN.load(Relaxed) - written == expected, "the broadcast did not reach all");
        shortest = shortest.min(begin.elapsed().as_nanos() as f64);
    }
    Ok(shortest)
}
