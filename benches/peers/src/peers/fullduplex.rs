//! This crate: whole, split, and without keep-alive.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use fullduplex::{
    Config, Deflate, Message, PreparedMessage, Receiver, Sender, Server, WebSocket, handshake::Negotiated,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{
    Compresses, Io, LEVEL, Manner, Peer, Role, Sending, ServeTls, Standing, Takeover, Tally, Work, each,
    spawn, spawn_opened,
};
use crate::{arrivals::Arrivals, memory_stream::Memory};

#[derive(Debug)]
pub struct FullDuplex {
    name: &'static str,
    split: bool,
    keep_alive: bool,
}

pub static WHOLE: FullDuplex = FullDuplex { name: "fullduplex", split: false, keep_alive: true };
pub static SPLIT: FullDuplex = FullDuplex { name: "fullduplex, split", split: true, keep_alive: true };
pub static QUIET: FullDuplex =
    FullDuplex { name: "fullduplex, no keep-alive", split: false, keep_alive: false };

impl FullDuplex {
    fn config(&self) -> Config {
        if self.keep_alive { Config::new() } else { Config::new().ping_interval(None) }
    }

    fn over(&self, io: Memory, role: Role) -> WebSocket<Memory> {
        let role = match role {
            Role::Client => fullduplex::Role::Client,
            Role::Server => fullduplex::Role::Server,
        };
        WebSocket::from_raw(io, Bytes::new(), role, &self.config(), Negotiated::default())
    }
}

impl Peer for FullDuplex {
    fn name(&self) -> &'static str {
        self.name
    }

    fn package(&self) -> Option<&'static str> {
        (!self.split && self.keep_alive).then_some("fullduplex")
    }

    fn standing(&self) -> Standing {
        Standing::Ours
    }

    fn notes(&self) -> &'static str {
        match (self.split, self.keep_alive) {
            (false, true) => {
                "keep-alive pings every 20 s by default; UTF-8 checked; masks from a CSPRNG; compresses by zlib-rs, \
                 messages from 64 bytes on by default"
            }
            (true, _) => "its two halves, for an echo both in one task",
            (false, false) => "keep-alive switched off",
        }
    }

    fn is_idle_variant(&self) -> bool {
        !self.keep_alive
    }

    fn receive(&self, io: Memory, tally: Tally) -> Option<Work<Tally>> {
        let ws = self.over(io, Role::Server);
        if self.split {
            let (receiver, _sender) = ws.split();
            return Some(Box::pin(receive_split(receiver, tally)));
        }
        Some(Box::pin(receive(ws, tally)))
    }

    fn send(&self, io: Memory, sending: Sending) -> Option<Work<()>> {
        let ws = self.over(io, sending.role);
        if self.split {
            let (receiver, sender) = ws.split();
            return Some(Box::pin(send_split(receiver, sender, sending)));
        }
        Some(Box::pin(send(ws, sending)))
    }

    fn serve(&self, tcp: TcpStream, manner: Manner) -> Option<()> {
        serve(self.split, self.config(), tcp, manner);
        Some(())
    }

    fn serve_tls(&self) -> Option<ServeTls> {
        let (split, config) = (self.split, self.config());
        Some(ServeTls::Fullduplex(Arc::new(move |io, manner| serve(split, config.clone(), io, manner))))
    }

    fn compresses(&self, _: Takeover) -> Compresses {
        Compresses::AsAsked
    }

    fn serve_compressed(&self, tcp: TcpStream, manner: Manner, takeover: Takeover) -> Option<()> {
        let deflate = Deflate::new().level(LEVEL).server_no_context_takeover(takeover == Takeover::None);
        serve(self.split, self.config().deflate(deflate), tcp, manner);
        Some(())
    }

    fn broadcast(&self, mut arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        // Only a split connection can send while another task receives.
        self.split.then(|| {
            let message = PreparedMessage::new(message);
            let work: Work<()> = Box::pin(async move {
                let mut senders = Vec::new();
                while let Some(tcp) = arrivals.next().await? {
                    let (mut receiver, sender) = fullduplex::accept(tcp).await?.split();
                    spawn(async move {
                        while receiver.recv().await?.is_some() {}
                        Ok(())
                    });
                    senders.push(sender);
                }
                each(senders, arrivals, async |sender| Ok(sender.send(&message).await?)).await
            });
            work
        })
    }
}

fn serve<S: Io>(split: bool, config: Config, io: S, manner: Manner) {
    let opening = accept(Server::new(config), io);
    if split {
        spawn_opened(opening, move |ws| {
            let (receiver, sender) = ws.split();
            echo_split(receiver, sender, manner)
        });
    } else {
        spawn_opened(opening, move |ws| echo(ws, manner));
    }
}

async fn accept<S: Io>(server: Server, io: S) -> Result<WebSocket<S>> {
    Ok(server.read_request(io).await?.accept().await?)
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the connection twice")]
pub fn echo<S: Io>(mut ws: WebSocket<S>, manner: Manner) -> impl Future<Output = Result<()>> {
    async move {
        while let Some(message) = ws.recv().await? {
            match manner {
                Manner::Best => ws.feed(message).await?,
                Manner::Plain => ws.send(message).await?,
            }
        }
        Ok(())
    }
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the connection twice")]
fn echo_split<S: Io>(
    mut receiver: Receiver<S>,
    sender: Sender,
    manner: Manner,
) -> impl Future<Output = Result<()>> {
    async move {
        while let Some(message) = receiver.recv().await? {
            match manner {
                Manner::Best => sender.feed(message).await?,
                Manner::Plain => sender.send(message).await?,
            }
        }
        Ok(())
    }
}

fn note(tally: &mut Tally, message: Option<Message>) -> Result<()> {
    match message {
        Some(message) => tally.note(message.as_bytes(), message.is_text()),
        None => anyhow::bail!("the connection ended"),
    }
}

async fn receive<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>, mut tally: Tally) -> Result<Tally> {
    while tally.wants() {
        note(&mut tally, ws.recv().await?)?;
    }
    Ok(tally)
}

async fn receive_split(mut receiver: Receiver<Memory>, mut tally: Tally) -> Result<Tally> {
    while tally.wants() {
        note(&mut tally, receiver.recv().await?)?;
    }
    Ok(tally)
}

async fn send(mut ws: WebSocket<Memory>, sending: Sending) -> Result<()> {
    for _ in 0..sending.batches() {
        if sending.manner == Manner::Plain {
            ws.send(&sending.payload[..]).await?;
            continue;
        }
        for _ in 0..sending.batch() {
            ws.feed(sending.payload.clone()).await?;
        }
        ws.flush().await?;
    }
    Ok(())
}

/// Sends with the sender; the receiver is kept, because dropping it ends the connection.
async fn send_split(receiver: Receiver<Memory>, sender: Sender, sending: Sending) -> Result<()> {
    for _ in 0..sending.batches() {
        if sending.manner == Manner::Plain {
            sender.send(&sending.payload[..]).await?;
            continue;
        }
        for _ in 0..sending.batch() {
            sender.feed(sending.payload.clone()).await?;
        }
        sender.flush().await?;
    }
    drop(receiver);
    Ok(())
}
