//! yawc, with its `Stream` and `Sink`.

use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryFutureExt};
use hyper::{Request, body::Incoming};
use tokio::net::TcpStream;
use yawc::{CompressionLevel, DeflateOptions, DeflatePool, Frame, Options, WebSocket, frame::OpCode};

use super::{
    Compresses, Io, LEVEL, Manner, Peer, Role, Sending, ServeTls, Takeover, Tally, Work, burst, each,
    opening, spawn, spawn_opened,
};
use crate::{arrivals::Arrivals, memory_stream::Memory};

#[derive(Debug)]
pub struct Yawc;

/// Returns options with UTF-8 validation, which is disabled by default, and a limit that allows the
/// largest message.
fn options() -> Options {
    Options::default().with_utf8().with_limits(64 << 20, 128 << 20).without_compression()
}

/// The pool of all connections. Its size is the number of messages that are compressed at once;
/// there is one thread.
static POOL: LazyLock<DeflatePool> = LazyLock::new(|| DeflatePool::new(4));

fn options_of(manner: Manner) -> Options {
    match manner {
        Manner::Best => options().with_backpressure_boundary(burst::QUEUE),
        Manner::Plain => options(),
    }
}

fn server<S: Io>(io: S, manner: Manner) -> yawc::Result<WebSocket<S>> {
    WebSocket::from_stream(io, yawc::Role::Server, options_of(manner))
}

fn serve<S: Io>(io: S, manner: Manner) {
    let opening = async move { Ok(server(opening::answered(io).await?, manner)?) };
    spawn_opened(opening, move |ws| burst::echo(ws, manner, reply));
}

/// Opens a connection by hyper.
fn open<S: Io>(io: S) {
    spawn(opening::by_hyper(io, |mut request| {
        let (response, upgraded) = WebSocket::upgrade_with_options(&mut request, options())?;
        spawn_opened(upgraded.map_err(Into::into), |ws| burst::echo(ws, Manner::Plain, reply));
        Ok(response)
    }));
}

impl Peer for Yawc {
    fn name(&self) -> &'static str {
        "yawc"
    }

    fn notes(&self) -> &'static str {
        "no keep-alive, no vectored writes; UTF-8 check switched on; a queue of 256 KiB in the best loop; \
         masks from a CSPRNG; opens connections by hyper, except where its handshake is not what is measured; \
         compresses by zlib-rs (its feature `zlib`), messages of any length, and without context takeover by its \
         `DeflatePool`"
    }

    fn receive(&self, io: Memory, mut tally: Tally) -> Option<Work<Tally>> {
        Some(Box::pin(async move {
            let mut ws = server(io, Manner::Best)?;
            while tally.wants() {
                let frame = ws.next().await.context("the connection ended")?;
                if let Some(is_text) = data(&frame) {
                    tally.note(frame.payload(), is_text)?;
                }
            }
            Ok(tally)
        }))
    }

    fn send(&self, io: Memory, sending: Sending) -> Option<Work<()>> {
        let role = match sending.role {
            Role::Client => yawc::Role::Client,
            Role::Server => yawc::Role::Server,
        };
        let payload = sending.payload.clone();
        Some(Box::pin(async move {
            let ws = WebSocket::from_stream(io, role, options_of(sending.manner))?;
            burst::send(ws, sending, || Frame::binary(payload.clone())).await
        }))
    }

    fn serve(&self, tcp: TcpStream, manner: Manner) -> Option<()> {
        serve(tcp, manner);
        Some(())
    }

    fn serve_http2(&self, tcp: TcpStream) -> Option<()> {
        let upgrade = |mut request: Request<Incoming>| {
            let (response, upgraded) =
                WebSocket::upgrade_with_options(&mut request, options_of(Manner::Best))?;
            spawn_opened(upgraded.map_err(Into::into), |ws| burst::echo(ws, Manner::Best, reply));
            Ok(response)
        };
        spawn(opening::by_http2(tcp, upgrade));
        Some(())
    }

    fn serve_tls(&self) -> Option<ServeTls> {
        Some(ServeTls::Rustls(Arc::new(serve)))
    }

    fn open_tls(&self) -> Option<ServeTls> {
        Some(ServeTls::Rustls(Arc::new(|io, _| open(io))))
    }

    fn compresses(&self, _: Takeover) -> Compresses {
        Compresses::AsAsked
    }

    fn serve_compressed(&self, tcp: TcpStream, manner: Manner, takeover: Takeover) -> Option<()> {
        let deflate = DeflateOptions {
            level: CompressionLevel::new(LEVEL.into()),
            server_no_context_takeover: takeover == Takeover::None,
            client_no_context_takeover: true,
            pool: Some(POOL.clone()),
            ..DeflateOptions::default()
        };
        let options = Options { compression: Some(deflate), ..options_of(manner) };
        let opening = async move {
            let extension = Some(takeover.extension());
            let tcp = opening::answered_with(tcp, extension).await?;
            Ok(WebSocket::from_stream_with_extensions(tcp, yawc::Role::Server, extension, options)?)
        };
        spawn_opened(opening, move |ws| burst::echo(ws, manner, reply));
        Some(())
    }

    fn open(&self, tcp: TcpStream) -> Option<()> {
        open(tcp);
        Some(())
    }

    fn broadcast(&self, mut arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(Box::pin(async move {
            let mut senders = Vec::new();
            while let Some(tcp) = arrivals.next().await? {
                let (sender, mut receiver) = server(opening::answered(tcp).await?, Manner::Plain)?.split();
                spawn(async move {
                    while receiver.next().await.is_some() {}
                    Ok(())
                });
                senders.push(sender);
            }
            each(senders, arrivals, async |sender| Ok(sender.send(Frame::binary(message.clone())).await?))
                .await
        }))
    }
}

/// Returns whether a data frame is text; `None` for other frames.
fn data(frame: &Frame) -> Option<bool> {
    match frame.opcode() {
        OpCode::Text => Some(true),
        OpCode::Binary => Some(false),
        _ => None,
    }
}

fn reply(frame: Frame) -> Result<Option<Frame>> {
    Ok(data(&frame).is_some().then_some(frame))
}
