//! sockudo-ws, with its `Stream` and `Sink`, and with its halves.

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use sockudo_ws::{
    CompressedWebSocketStream, Config, DeflateConfig, Error, Http1, Http2, Message, Role as TheirRole,
    WebSocketStream, server::WebSocketServer,
};
use tokio::net::TcpStream;

use super::{
    Compresses, LEVEL, Manner, Peer, Role, Sending, Takeover, Tally, Work, burst, each, opening, spawn,
    spawn_opened,
};
use crate::{arrivals::Arrivals, memory_stream::Memory};

#[derive(Debug)]
pub struct Sockudo;

impl Peer for Sockudo {
    fn name(&self) -> &'static str {
        "sockudo-ws"
    }

    fn notes(&self) -> &'static str {
        "keep-alive pings every 30 s by default; UTF-8 checked; masks from a CSPRNG (its feature `rand_rng`); \
         compresses by zlib-rs, messages from 32 bytes on by default, each connection with a compressor and a decompressor \
         of its own, and has no opening handshake for it: the load generator's is answered by hand"
    }

    fn receive(&self, io: Memory, mut tally: Tally) -> Option<Work<Tally>> {
        Some(Box::pin(async move {
            let mut ws = WebSocketStream::server(io, Config::default());
            while tally.wants() {
                match ws.next().await.context("the connection ended")?? {
                    Message::Text(text) => tally.note(&text, true)?,
                    Message::Binary(data) => tally.note(&data, false)?,
                    _ => {}
                }
            }
            Ok(tally)
        }))
    }

    fn send(&self, io: Memory, sending: Sending) -> Option<Work<()>> {
        let role = match sending.role {
            Role::Client => TheirRole::Client,
            Role::Server => TheirRole::Server,
        };
        let payload = sending.payload.clone();
        Some(Box::pin(async move {
            let ws = WebSocketStream::from_raw(io, role, Config::default());
            burst::send(ws, sending, || Message::Binary(payload.clone())).await
        }))
    }

    fn serve(&self, tcp: TcpStream, manner: Manner) -> Option<()> {
        spawn_opened(accept(tcp), move |ws| burst::echo_fed(ws, manner, reply));
        Some(())
    }

    fn serve_http2(&self, tcp: TcpStream) -> Option<()> {
        spawn(async move {
            let server = WebSocketServer::<Http2>::new(Config::default());
            let echo = async |ws, _| _ = burst::echo_fed(ws, Manner::Best, reply).await;
            Ok(server.serve(tcp, echo).await?)
        });
        Some(())
    }

    fn compresses(&self, _: Takeover) -> Compresses {
        Compresses::AsAsked
    }

    fn serve_compressed(&self, tcp: TcpStream, manner: Manner, takeover: Takeover) -> Option<()> {
        let deflate = DeflateConfig {
            server_no_context_takeover: takeover == Takeover::None,
            client_no_context_takeover: true,
            compression_level: LEVEL.into(),
            ..DeflateConfig::default()
        };
        let opening = async move {
            let tcp = opening::answered_with(tcp, Some(takeover.extension())).await?;
            Ok(CompressedWebSocketStream::server(tcp, Config::default(), deflate))
        };
        spawn_opened(opening, move |ws| burst::echo_fed(ws, manner, reply));
        Some(())
    }

    fn broadcast(&self, mut arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(Box::pin(async move {
            let mut senders = Vec::new();
            while let Some(tcp) = arrivals.next().await? {
                let (mut receiver, sender) = accept(tcp).await?.split();
                spawn(async move {
                    while receiver.next().await.transpose()?.is_some() {}
                    Ok(())
                });
                senders.push(sender);
            }
            each(senders, arrivals, async |sender| Ok(sender.send_binary(message.clone()).await?)).await
        }))
    }
}

/// Accepts a connection without its type-erased stream, which costs more.
pub async fn accept(tcp: TcpStream) -> Result<WebSocketStream<TcpStream>> {
    let server = WebSocketServer::<Http1>::new(Config::default());
    Ok(server.accept_raw(tcp).await?.0)
}

fn reply(item: Result<Message, Error>) -> Result<Option<Message>> {
    let message = item?;
    Ok(matches!(message, Message::Text(_) | Message::Binary(_)).then_some(message))
}
