//! The libraries, each behind the same trait. A further peer is one more file, and one more line in [`ALL`].

mod bare;
mod burst;
mod fastwebsockets;
mod fullduplex;
mod opening;
mod sockudo;
mod soketto;
mod tokio_websockets;
mod tungstenite;
mod web_socket;
mod yawc;

use std::{future::Future, pin::Pin};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{FutureExt, TryFutureExt};
pub use opening::{ACCEPT, KEY};
use tokio::{net::TcpStream, sync::mpsc};

use crate::memory_stream::Memory;

/// Something to wait for; boxed once for many messages.
pub type Work<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// What a column stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Ours,
    Peer,
    /// No library: what it would cost without one.
    Baseline,
    /// A library that cannot be asked for the same: shown, and not compared with.
    Apart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// How a program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Manner {
    /// The best loop that the API allows: a burst is answered with one write.
    Best,
    /// Each message sent and flushed by itself.
    Plain,
}

/// Whose messages may refer to those before them (RFC 7692 section 7.1.1): the load generator's never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Takeover {
    /// Each message is compressed by itself, both ways.
    None,
    /// The server compresses with context takeover.
    Server,
}

impl Takeover {
    /// What the load generator offers, and what is to be answered.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            Self::Server => "permessage-deflate; client_no_context_takeover",
        }
    }
}

/// The level that is asked of all who compress.
pub const LEVEL: u8 = 6;

/// Whether a library compresses, as it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compresses {
    No,
    AsAsked,
    /// At a level that cannot be set.
    AtItsOwnLevel,
}

/// Counts what was received; checks the first message byte for byte, and of the others the length.
#[derive(Debug, Clone)]
pub struct Tally {
    expected: Bytes,
    pub messages: u64,
    wanted: u64,
    is_text: bool,
}

impl Tally {
    pub fn new(expected: Bytes, wanted: u64, is_text: bool) -> Self {
        Self { expected, messages: 0, wanted, is_text }
    }

    /// Whether more messages are wanted.
    #[inline]
    pub fn wants(&self) -> bool {
        self.messages < self.wanted
    }

    #[inline]
    pub fn note(&mut self, payload: &[u8], is_text: bool) -> Result<()> {
        let same = if self.messages == 0 {
            payload == self.expected && is_text == self.is_text
        } else {
            std::hint::black_box(payload).len() == self.expected.len()
        };
        anyhow::ensure!(same, "message {} is not what was sent", self.messages);
        self.messages += 1;
        Ok(())
    }
}

/// What is sent in memory.
#[derive(Debug, Clone)]
pub struct Sending {
    pub role: Role,
    pub payload: Bytes,
    pub messages: u64,
    pub manner: Manner,
}

impl Sending {
    /// How many messages are fed before a flush.
    pub const BATCH: u64 = 32;

    /// How often this many messages, and then a flush.
    pub fn batches(&self) -> u64 {
        self.messages / self.batch()
    }

    pub fn batch(&self) -> u64 {
        if self.manner == Manner::Best { Self::BATCH } else { 1 }
    }
}

/// How many times to send to all; each is answered when it is done.
pub type Orders = mpsc::Receiver<tokio::sync::oneshot::Sender<()>>;

/// One library, or one way to use it.
///
/// `None`: it has no such thing.
pub trait Peer: Sync {
    fn name(&self) -> &'static str;

    /// The package whose version is told.
    fn package(&self) -> Option<&'static str> {
        Some(self.name())
    }

    fn standing(&self) -> Standing {
        Standing::Peer
    }

    /// What the reader of a table must know of it.
    fn notes(&self) -> &'static str {
        ""
    }

    /// Receives messages in the server role.
    fn receive(&self, io: Memory, tally: Tally) -> Option<Work<Tally>>;

    /// Sends messages.
    fn send(&self, io: Memory, sending: Sending) -> Option<Work<()>>;

    /// Accepts a connection in a task of its own, and echoes what comes. Errors end the task: the load generator sees
    /// what is missing.
    fn serve(&self, tcp: TcpStream, manner: Manner);

    /// As [`serve`](Self::serve), with the library's own opening handshake in its usual form.
    fn open(&self, tcp: TcpStream) -> Option<()> {
        self.serve(tcp, Manner::Plain);
        Some(())
    }

    /// Whether it compresses so.
    fn compresses(&self, _takeover: Takeover) -> Compresses {
        Compresses::No
    }

    /// As [`serve`](Self::serve), with permessage-deflate.
    fn serve_compressed(&self, _tcp: TcpStream, _manner: Manner, _takeover: Takeover) -> Option<()> {
        None
    }

    /// Accepts all these connections, and sends the message to all of them once for each order. Each connection is also
    /// received from.
    fn broadcast(&self, connections: Vec<TcpStream>, message: Bytes, orders: Orders) -> Option<Work<()>>;

    /// Whether it differs from another column only while it is idle.
    fn is_idle_variant(&self) -> bool {
        false
    }
}

/// All columns, in their order.
pub static ALL: &[&dyn Peer] = &[
    &bare::Bare,
    &fullduplex::WHOLE,
    &fullduplex::SPLIT,
    &fullduplex::QUIET,
    &tungstenite::Tungstenite,
    &fastwebsockets::FastWebSockets,
    &tokio_websockets::TokioWebSockets,
    &sockudo::Sockudo,
    &yawc::Yawc,
    &web_socket::WebSocketCrate,
    &soketto::Soketto,
];

/// The columns of most tables: all but those that differ only while idle.
pub fn active() -> Vec<&'static dyn Peer> {
    ALL.iter().copied().filter(|peer| !peer.is_idle_variant()).collect()
}

pub fn by_name(name: &str) -> Result<&'static dyn Peer> {
    let found = ALL.iter().copied().find(|peer| peer.name() == name);
    found.ok_or_else(|| anyhow::anyhow!("no peer is called {name}"))
}

/// Runs a connection; that it ends with an error is how the load generator ends it.
fn spawn(connection: impl Future<Output = Result<()>> + Send + 'static) {
    tokio::spawn(connection.map(drop));
}

/// Opens a connection, then runs it.
///
/// The opening is boxed, and nothing of it stays in the task; nor does the task hold the connection twice, as it would
/// with an `async` block around an `async fn` that takes it. So an idle connection's memory is the library's.
fn spawn_opened<W, R>(
    opening: impl Future<Output = Result<W>> + Send + 'static,
    run: impl FnOnce(W) -> R + Send + 'static,
) where
    W: Send + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
{
    spawn(Box::pin(opening).and_then(run));
}

/// Sends to all, one after the other, for each order.
async fn each<S>(
    mut all: Vec<S>,
    mut orders: Orders,
    send: impl AsyncFn(&mut S) -> Result<()>,
) -> Result<()> {
    while let Some(done) = orders.recv().await {
        for one in &mut all {
            send(one).await?;
        }
        // Whoever gave the order may have gone away.
        let _gone = done.send(());
    }
    Ok(())
}
