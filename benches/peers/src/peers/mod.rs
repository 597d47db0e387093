//! The libraries behind a common trait. Another peer requires a file and a line in [`ALL`].

mod axum;
mod bare;
mod burst;
mod channels;
mod fastwebsockets;
mod fullduplex;
mod hub;
mod opening;
mod sockudo;
mod soketto;
mod storm;
mod threads;
mod tokio_websockets;
mod tungstenite;
mod uwebsockets;
mod web_socket;
mod yawc;

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use ::fullduplex::TlsStream;
use anyhow::Result;
use bytes::Bytes;
use futures_util::{FutureExt, TryFutureExt};
pub use opening::{ACCEPT, KEY};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
pub use uwebsockets::compile as compile_uwebsockets;

use crate::{
    arrivals::{Arrivals, Orders},
    memory_stream::Memory,
    tls::ServerStream,
};

/// A future, boxed once for many messages.
pub type Work<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// The kind of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Ours,
    Peer,
    /// No library: the cost without one.
    Baseline,
    /// A library in another language, or without the same settings: shown, but never the best peer.
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

/// Whether the server's messages may refer to earlier ones (RFC 7692 section 7.1.1). Those of the
/// load generator never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Takeover {
    /// Each message is compressed by itself, in both directions.
    None,
    /// The server compresses with context takeover.
    Server,
}

impl Takeover {
    /// Returns the offer of the load generator, and the expected answer.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            Self::Server => "permessage-deflate; client_no_context_takeover",
        }
    }
}

/// The compression level of all libraries that can set it.
pub const LEVEL: u8 = 6;

/// Whether a library compresses with the requested settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compresses {
    No,
    AsAsked,
    /// At a level that cannot be set.
    AtItsOwnLevel,
}

/// Counts received messages; compares the first one byte for byte, and the others by length.
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

    /// Returns whether more messages are wanted.
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

/// The messages to send in memory.
#[derive(Debug, Clone)]
pub struct Sending {
    pub role: Role,
    pub payload: Bytes,
    pub messages: u64,
    pub manner: Manner,
}

impl Sending {
    /// The number of messages that are fed before a flush.
    pub const BATCH: u64 = 32;

    /// Returns the number of batches, each of which ends with a flush.
    pub fn batches(&self) -> u64 {
        self.messages / self.batch()
    }

    pub fn batch(&self) -> u64 {
        if self.manner == Manner::Best { Self::BATCH } else { 1 }
    }
}

/// What serves a connection after the TLS handshake, in a task of its own.
#[derive(Clone)]
pub enum ServeTls {
    /// With the stream of tokio-rustls.
    Rustls(Arc<dyn Fn(ServerStream, Manner) + Send + Sync>),
    /// With the stream of fullduplex, which uses tokio-rustls.
    Fullduplex(Arc<dyn Fn(TlsStream<TcpStream>, Manner) + Send + Sync>),
}

/// A stream that a task can own.
trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for S {}

/// One library, or one way to use it.
///
/// A method returns `None` if the library does not support it.
pub trait Peer: Sync {
    fn name(&self) -> &'static str;

    /// Returns the package whose version is shown.
    fn package(&self) -> Option<&'static str> {
        Some(self.name())
    }

    /// Returns the version of what is not a package.
    fn version(&self) -> Option<&'static str> {
        None
    }

    fn standing(&self) -> Standing {
        Standing::Peer
    }

    /// Returns whether it can be measured.
    fn is_present(&self) -> bool {
        true
    }

    /// Returns the program that serves, if it is not this one.
    fn program(&self) -> Option<&'static Path> {
        None
    }

    /// Returns notes for the readers of a table.
    fn notes(&self) -> &'static str {
        ""
    }

    /// Receives messages in the server role.
    fn receive(&self, _io: Memory, _tally: Tally) -> Option<Work<Tally>> {
        None
    }

    /// Sends messages.
    fn send(&self, _io: Memory, _sending: Sending) -> Option<Work<()>> {
        None
    }

    /// Accepts a connection in a task of its own, and echoes messages. An error ends the task,
    /// which the load generator detects.
    fn serve(&self, _tcp: TcpStream, _manner: Manner) -> Option<()> {
        None
    }

    /// Does the same as [`serve`](Self::serve), with the library's own opening handshake.
    fn open(&self, tcp: TcpStream) -> Option<()> {
        self.serve(tcp, Manner::Plain)
    }

    /// Returns what does the same as [`serve`](Self::serve) over TLS.
    fn serve_tls(&self) -> Option<ServeTls> {
        None
    }

    /// Returns what does the same as [`open`](Self::open) over TLS; the manner is ignored.
    fn open_tls(&self) -> Option<ServeTls> {
        Some(match self.serve_tls()? {
            ServeTls::Rustls(serve) => ServeTls::Rustls(Arc::new(move |io, _| serve(io, Manner::Plain))),
            ServeTls::Fullduplex(serve) => {
                ServeTls::Fullduplex(Arc::new(move |io, _| serve(io, Manner::Plain)))
            }
        })
    }

    /// Serves a transport of HTTP/2, whose streams echo by the best loop.
    fn serve_http2(&self, _tcp: TcpStream) -> Option<()> {
        None
    }

    /// Returns whether the library compresses with these settings.
    fn compresses(&self, _takeover: Takeover) -> Compresses {
        Compresses::No
    }

    /// Does the same as [`serve`](Self::serve), with permessage-deflate.
    fn serve_compressed(&self, _tcp: TcpStream, _manner: Manner, _takeover: Takeover) -> Option<()> {
        None
    }

    /// Accepts all these connections, and sends the message to all of them once for each order,
    /// while each connection also receives.
    fn broadcast(&self, _arrivals: Arrivals, _message: Bytes) -> Option<Work<()>> {
        None
    }

    /// Accepts connections, echoes what they send, and sends the message to all that are open once for
    /// each order, without waiting for those that do not read.
    fn storm(&self, _listener: TcpListener, _orders: Orders, _message: Bytes) -> Option<Work<()>> {
        None
    }

    /// Echoes with threads on all cores, until it fails.
    fn serve_on_cores(&self) -> Option<Result<()>> {
        None
    }

    /// Returns whether it differs from another column only while it is idle.
    fn is_idle_variant(&self) -> bool {
        false
    }
}

/// All columns, in order.
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

/// The columns that are programs of their own.
pub static APART: &[&dyn Peer] = &[&uwebsockets::UWebSockets];

/// The number of rooms over which members are spread.
const ROOMS: usize = 1_000;

/// The columns of the table about members in one room.
pub static IN_ONE_ROOM: &[&dyn Peer] = &[
    &bare::Bare,
    &hub::InHub::OneRoom,
    &hub::InHub::Published,
    &channels::WithChannels::Axum,
    &channels::WithChannels::Tungstenite,
];

/// The columns of the table about members in many rooms.
pub static IN_ROOMS: &[&dyn Peer] = &[
    &bare::ByRooms,
    &hub::InHub::ManyRooms,
    &channels::WithChannels::AxumByRooms,
    &channels::WithChannels::TungsteniteByRooms,
];

/// The columns of the tables about broadcasts beside echoes.
pub static IN_STORM: &[&dyn Peer] =
    &[&storm::InStorm::Hub, &storm::InStorm::Tungstenite, &storm::InStorm::Sockudo];

/// The columns of the table about many cores.
pub static ON_CORES: &[&dyn Peer] =
    &[&threads::Threads::One, &threads::Threads::Shared, &threads::Threads::Apart];

/// Returns the columns of most tables: all except those that differ only while idle.
pub fn active() -> Vec<&'static dyn Peer> {
    ALL.iter().copied().filter(|peer| !peer.is_idle_variant()).collect()
}

/// Returns the columns of tables about servers over TCP: also those that are programs of their own.
pub fn over_tcp() -> Vec<&'static dyn Peer> {
    active().into_iter().chain(APART.iter().copied()).collect()
}

/// Returns each column once.
pub fn all() -> impl Iterator<Item = &'static dyn Peer> {
    let others =
        APART.iter().chain(axum::ALL).chain(IN_ONE_ROOM).chain(IN_ROOMS).chain(IN_STORM).chain(ON_CORES);
    let others = others.filter(|peer| ALL.iter().all(|other| other.name() != peer.name()));
    ALL.iter().chain(others).copied()
}

/// Returns the columns of the table about axum.
pub fn on_axum() -> &'static [&'static dyn Peer] {
    axum::ALL
}

/// Returns the columns of the table about HTTP/2.
pub fn over_http2() -> &'static [&'static dyn Peer] {
    &[&axum::OnAxum::FullDuplex, &yawc::Yawc, &sockudo::Sockudo]
}

pub fn by_name(name: &str) -> Result<&'static dyn Peer> {
    all().find(|peer| peer.name() == name).ok_or_else(|| anyhow::anyhow!("no peer is called {name}"))
}

/// Runs a connection. It ends with an error when the load generator disconnects.
fn spawn(connection: impl Future<Output = Result<()>> + Send + 'static) {
    tokio::spawn(connection.map(drop));
}

/// Opens a connection, then runs it.
///
/// The opening handshake is boxed, so that the task does not keep its state. The task also does not
/// hold the connection twice, as an `async` block around an `async fn` would. The memory of an idle
/// connection is therefore that of the library.
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
    arrivals: Arrivals,
    send: impl AsyncFn(&mut S) -> Result<()>,
) -> Result<()> {
    let orders = arrivals.complete(all.len())?;
    obey(orders, async || {
        for one in &mut all {
            send(one).await?;
        }
        Ok(())
    })
    .await
}

/// Sends to all, in any way, for each order.
async fn obey(mut orders: Orders, mut send: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    while let Some(done) = orders.recv().await {
        send().await?;
        // The sender of the order may have been dropped.
        let _gone = done.send(());
    }
    Ok(())
}
