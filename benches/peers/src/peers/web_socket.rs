//! web-socket. It has no buffers: it reads from a `BufReader`, and a burst is answered with one
//! write only if its stream gathers writes. It has no opening handshake.

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader},
    net::TcpStream,
};
use web_socket::{DataType, Event, MessageType, WebSocket};

use super::{Manner, Peer, Role, Sending, Tally, Work, each, opening, spawn, spawn_opened};
use crate::{
    arrivals::Arrivals,
    memory_stream::{Cork, Memory},
};

/// The size of a read, as with the other libraries.
const READ: usize = 256 << 10;

#[derive(Debug)]
pub struct WebSocketCrate;

impl Peer for WebSocketCrate {
    fn name(&self) -> &'static str {
        "web-socket"
    }

    fn notes(&self) -> &'static str {
        "no keep-alive, no opening handshake, no joining of fragments, no answer to pings, no buffers: read through a \
         `BufReader`, and the best loop stands on a stream that gathers writes until it is read from; UTF-8 not checked: \
         the loop does it, by simdutf8; masks from a CSPRNG"
    }

    fn receive(&self, io: Memory, mut tally: Tally) -> Option<Work<Tally>> {
        Some(Box::pin(async move {
            let mut ws = WebSocket::server(BufReader::with_capacity(READ, io));
            while tally.wants() {
                if let Some((is_text, data)) = received(ws.recv().await?)? {
                    tally.note(&data, is_text)?;
                }
            }
            Ok(tally)
        }))
    }

    fn send(&self, io: Memory, sending: Sending) -> Option<Work<()>> {
        Some(match sending.manner {
            Manner::Best => Box::pin(send(Cork::new(io), sending)),
            Manner::Plain => Box::pin(send(io, sending)),
        })
    }

    fn serve(&self, tcp: TcpStream, manner: Manner) -> Option<()> {
        let opening = opening::answered(tcp);
        match manner {
            Manner::Best => {
                spawn_opened(opening, |tcp| echo(BufReader::with_capacity(READ, Cork::new(tcp))));
            }
            Manner::Plain => spawn_opened(opening, |tcp| echo(BufReader::new(tcp))),
        }
        Some(())
    }

    fn open(&self, _tcp: TcpStream) -> Option<()> {
        None
    }

    fn broadcast(&self, mut arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(Box::pin(async move {
            let mut senders = Vec::new();
            while let Some(tcp) = arrivals.next().await? {
                let (reader, writer) = opening::answered(tcp).await?.into_split();
                spawn(async move {
                    let mut ws = WebSocket::server(BufReader::new(reader));
                    loop {
                        ws.recv().await?;
                    }
                });
                senders.push(WebSocket::server(writer));
            }
            each(senders, arrivals, async |sender| Ok(sender.send(&message[..]).await?)).await
        }))
    }
}

/// Returns a whole message, validated if it is text.
fn received(event: Event) -> Result<Option<(bool, Box<[u8]>)>> {
    match event {
        Event::Data { ty: DataType::Complete(MessageType::Text), data } => {
            ensure!(simdutf8::basic::from_utf8(&data).is_ok(), "not UTF-8");
            Ok(Some((true, data)))
        }
        Event::Data { ty: DataType::Complete(MessageType::Binary), data } => Ok(Some((false, data))),
        Event::Data { .. } => anyhow::bail!("a fragment"),
        Event::Error(error) => anyhow::bail!(error),
        Event::Close { .. } => anyhow::bail!("closed"),
        Event::Ping(_) | Event::Pong(_) => Ok(None),
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> Result<()> {
    let mut ws = WebSocket::server(io);
    loop {
        match received(ws.recv().await?)? {
            Some((true, data)) => ws.send(std::str::from_utf8(&data)?).await?,
            Some((false, data)) => ws.send(&data[..]).await?,
            None => {}
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(io: S, sending: Sending) -> Result<()> {
    let mut ws = match sending.role {
        Role::Client => WebSocket::client(io),
        Role::Server => WebSocket::server(io),
    };
    for _ in 0..sending.batches() {
        for _ in 0..sending.batch() {
            ws.send(&sending.payload[..]).await?;
        }
        ws.flash().await?;
    }
    Ok(())
}
