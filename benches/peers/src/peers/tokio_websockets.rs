//! tokio-websockets, with its `Stream` and `Sink`.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Config, Error, Message, ServerBuilder};

use super::{Io, Manner, Peer, Role, Sending, ServeTls, Tally, Work, burst, each, spawn, spawn_opened};
use crate::{arrivals::Arrivals, memory_stream::Memory};

#[derive(Debug)]
pub struct TokioWebSockets;

impl Peer for TokioWebSockets {
    fn name(&self) -> &'static str {
        "tokio-websockets"
    }

    fn notes(&self) -> &'static str {
        "no keep-alive; UTF-8 checked; masks from a CSPRNG (its feature `rand`); a read flushes what was fed: the best \
         loop gathers a burst before it feeds it, with a queue of 256 KiB"
    }

    fn receive(&self, io: Memory, mut tally: Tally) -> Option<Work<Tally>> {
        Some(Box::pin(async move {
            let mut ws = ServerBuilder::new().serve(io);
            while tally.wants() {
                let message = ws.next().await.context("the connection ended")??;
                if message.is_text() || message.is_binary() {
                    tally.note(message.as_payload(), message.is_text())?;
                }
            }
            Ok(tally)
        }))
    }

    fn send(&self, io: Memory, sending: Sending) -> Option<Work<()>> {
        let ws = match sending.role {
            Role::Client => ClientBuilder::new().config(config(sending.manner)).take_over(io),
            Role::Server => ServerBuilder::new().config(config(sending.manner)).serve(io),
        };
        let payload = sending.payload.clone();
        Some(Box::pin(burst::send(ws, sending, move || Message::binary(payload.clone()))))
    }

    fn serve(&self, tcp: TcpStream, manner: Manner) -> Option<()> {
        serve(tcp, manner);
        Some(())
    }

    fn serve_tls(&self) -> Option<ServeTls> {
        Some(ServeTls::Rustls(Arc::new(serve)))
    }

    fn broadcast(&self, mut arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(Box::pin(async move {
            let mut senders = Vec::new();
            while let Some(tcp) = arrivals.next().await? {
                let (_request, ws) = ServerBuilder::new().accept(tcp).await?;
                let (sender, mut receiver) = ws.split();
                spawn(async move {
                    while receiver.next().await.transpose()?.is_some() {}
                    Ok(())
                });
                senders.push(sender);
            }
            each(senders, arrivals, async |sender| Ok(sender.send(Message::binary(message.clone())).await?))
                .await
        }))
    }
}

fn serve<S: Io>(io: S, manner: Manner) {
    let opening = async move {
        let (_request, ws) = ServerBuilder::new().config(config(manner)).accept(io).await?;
        Ok(ws)
    };
    spawn_opened(opening, move |ws| burst::echo_gathered(ws, manner, reply));
}

fn config(manner: Manner) -> Config {
    match manner {
        Manner::Best => Config::default().flush_threshold(burst::QUEUE),
        Manner::Plain => Config::default(),
    }
}

fn reply(item: Result<Message, Error>) -> Result<Option<Message>> {
    let message = item?;
    Ok((message.is_text() || message.is_binary()).then_some(message))
}
