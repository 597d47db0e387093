//! tokio-tungstenite, with its `Stream` and `Sink`.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryFutureExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, accept_async, accept_async_with_config,
    tungstenite::{
        self, Message,
        protocol::{self, WebSocketConfig},
    },
};

use super::{Io, Manner, Peer, Role, Sending, ServeTls, Tally, Work, burst, each, spawn, spawn_opened};
use crate::{arrivals::Arrivals, memory_stream::Memory};

const READ: usize = 16 << 10;

#[derive(Debug)]
pub struct Tungstenite;

impl Peer for Tungstenite {
    fn name(&self) -> &'static str {
        "tokio-tungstenite"
    }

    fn notes(&self) -> &'static str {
        "no keep-alive, no vectored writes; UTF-8 checked; masks from a CSPRNG; a read buffer of 16 KiB in the best loop"
    }

    fn receive(&self, io: Memory, mut tally: Tally) -> Option<Work<Tally>> {
        Some(Box::pin(async move {
            let mut ws = WebSocketStream::from_raw_socket(io, protocol::Role::Server, None).await;
            while tally.wants() {
                match ws.next().await.context("the connection ended")?? {
                    Message::Text(text) => tally.note(text.as_bytes(), true)?,
                    Message::Binary(data) => tally.note(&data, false)?,
                    _ => {}
                }
            }
            Ok(tally)
        }))
    }

    fn send(&self, io: Memory, sending: Sending) -> Option<Work<()>> {
        let role = match sending.role {
            Role::Client => protocol::Role::Client,
            Role::Server => protocol::Role::Server,
        };
        let payload = sending.payload.clone();
        Some(Box::pin(async move {
            let ws = WebSocketStream::from_raw_socket(io, role, None).await;
            burst::send(ws, sending, || Message::Binary(payload.clone())).await
        }))
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
                let (sender, mut receiver) = accept_async(tcp).await?.split();
                spawn(async move {
                    while receiver.next().await.transpose()?.is_some() {}
                    Ok(())
                });
                senders.push(sender);
            }
            each(senders, arrivals, async |sender| Ok(sender.send(Message::Binary(message.clone())).await?))
                .await
        }))
    }
}

fn serve<S: Io>(io: S, manner: Manner) {
    let opening = accept_async_with_config(io, config(manner)).map_err(Into::into);
    spawn_opened(opening, move |ws| burst::echo(ws, manner, reply));
}

/// Returns the configuration. The library clears its read buffer before each read: with the default
/// of 128 KiB, this is most of the cost of an echo.
fn config(manner: Manner) -> Option<WebSocketConfig> {
    (manner == Manner::Best).then(|| WebSocketConfig::default().read_buffer_size(READ))
}

fn reply(item: Result<Message, tungstenite::Error>) -> Result<Option<Message>> {
    let message = item?;
    Ok((message.is_text() || message.is_binary()).then_some(message))
}
