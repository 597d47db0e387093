//! soketto, over `futures` streams. It writes header and payload data separately: it is used with a
//! buffered stream, and a burst is answered with one write only if that stream gathers writes.

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
#[cfg(feature = "soketto-deflate")]
use soketto::extension::deflate::Deflate;
use soketto::{
    Data,
    connection::{Builder, Mode, Receiver, Sender},
    handshake::{Server, server::Response},
};
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt;

#[cfg(feature = "soketto-deflate")]
use super::{Compresses, Takeover};
use super::{Manner, Peer, Role, Sending, Tally, Work, each, spawn, spawn_opened};
use crate::{
    arrivals::Arrivals,
    memory_stream::{Cork, Memory},
};

/// The size of a read, as with the other libraries.
const READ: usize = 256 << 10;

#[derive(Debug)]
pub struct Soketto;

impl Peer for Soketto {
    fn name(&self) -> &'static str {
        "soketto"
    }

    fn notes(&self) -> &'static str {
        "no keep-alive, no vectored writes, no feed: buffers around its stream, the best loop on one that gathers writes \
         until it is read from; UTF-8 not checked: the loop does it, by simdutf8; masks from a CSPRNG; \
         its compression is at level 1 always, with a compressor and a decompressor made for each message, and would turn \
         sockudo-ws and yawc from zlib-rs to C zlib: it is measured only by a build with `--features soketto-deflate`"
    }

    fn receive(&self, io: Memory, mut tally: Tally) -> Option<Work<Tally>> {
        Some(Box::pin(async move {
            let io = BufReader::with_capacity(READ, io.compat());
            let (_sender, mut receiver) = Builder::new(io, Mode::Server).finish();
            let mut message = Vec::new();
            while tally.wants() {
                message.clear();
                let is_text = received(&mut receiver, &mut message).await?;
                // The messages of the other libraries are owned by the program.
                tally.note(&std::mem::take(&mut message), is_text)?;
            }
            Ok(tally)
        }))
    }

    fn send(&self, io: Memory, sending: Sending) -> Option<Work<()>> {
        Some(match sending.manner {
            Manner::Best => Box::pin(send(Cork::new(io).compat(), sending)),
            Manner::Plain => Box::pin(send(io.compat(), sending)),
        })
    }

    fn serve(&self, tcp: TcpStream, manner: Manner) -> Option<()> {
        match manner {
            Manner::Best => {
                let io = BufReader::with_capacity(READ, Cork::new(tcp).compat());
                spawn_opened(accept(io), |(sender, receiver)| echo(sender, receiver, false));
            }
            Manner::Plain => {
                let io = BufReader::new(BufWriter::new(tcp.compat()));
                spawn_opened(accept(io), |(sender, receiver)| echo(sender, receiver, true));
            }
        }
        Some(())
    }

    #[cfg(feature = "soketto-deflate")]
    fn compresses(&self, takeover: Takeover) -> Compresses {
        match takeover {
            Takeover::None => Compresses::AtItsOwnLevel,
            Takeover::Server => Compresses::No,
        }
    }

    #[cfg(feature = "soketto-deflate")]
    fn serve_compressed(&self, tcp: TcpStream, manner: Manner, _: Takeover) -> Option<()> {
        match manner {
            Manner::Best => {
                let io = BufReader::with_capacity(READ, Cork::new(tcp).compat());
                spawn_opened(accept_compressed(io), |(sender, receiver)| echo(sender, receiver, false));
            }
            Manner::Plain => {
                let io = BufReader::new(BufWriter::new(tcp.compat()));
                spawn_opened(accept_compressed(io), |(sender, receiver)| echo(sender, receiver, true));
            }
        }
        Some(())
    }

    fn broadcast(&self, mut arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(Box::pin(async move {
            let mut senders = Vec::new();
            while let Some(tcp) = arrivals.next().await? {
                let (sender, mut receiver) = accept(BufReader::new(BufWriter::new(tcp.compat()))).await?;
                spawn(async move {
                    loop {
                        receiver.receive_data(&mut Vec::new()).await?;
                    }
                });
                senders.push(sender);
            }
            each(senders, arrivals, async |sender| {
                sender.send_binary(&message).await?;
                Ok(sender.flush().await?)
            })
            .await
        }))
    }
}

async fn accept<S: AsyncRead + AsyncWrite + Unpin + Send>(io: S) -> Result<(Sender<S>, Receiver<S>)> {
    answer(Server::new(io)).await
}

#[cfg(feature = "soketto-deflate")]
async fn accept_compressed<S>(io: S) -> Result<(Sender<S>, Receiver<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut server = Server::new(io);
    server.add_extension(Box::new(Deflate::new(Mode::Server)));
    answer(server).await
}

async fn answer<S>(mut server: Server<'_, S>) -> Result<(Sender<S>, Receiver<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let key = server.receive_request().await?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await?;
    Ok(server.into_builder().finish())
}

/// Receives one message, and validates it if it is text. Returns whether it is text.
async fn received<S: AsyncRead + AsyncWrite + Unpin>(
    receiver: &mut Receiver<S>,
    message: &mut Vec<u8>,
) -> Result<bool> {
    match receiver.receive_data(message).await? {
        Data::Binary(_) => Ok(false),
        Data::Text(_) => {
            ensure!(simdutf8::basic::from_utf8(message).is_ok(), "not UTF-8");
            Ok(true)
        }
    }
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the connection twice")]
fn echo<S>(mut sender: Sender<S>, mut receiver: Receiver<S>, flush: bool) -> impl Future<Output = Result<()>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    async move {
        loop {
            // A new buffer for each message, so that an idle connection holds none.
            let mut message = Vec::new();
            if received(&mut receiver, &mut message).await? {
                sender.send_text(std::str::from_utf8(&message)?).await?;
            } else {
                sender.send_binary(&message).await?;
            }
            if flush {
                sender.flush().await?;
            }
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(io: S, sending: Sending) -> Result<()> {
    let mode = match sending.role {
        Role::Client => Mode::Client,
        Role::Server => Mode::Server,
    };
    let (mut sender, _receiver) = Builder::new(io, mode).finish();
    for _ in 0..sending.batches() {
        for _ in 0..sending.batch() {
            sender.send_binary(&sending.payload).await?;
        }
        sender.flush().await?;
    }
    Ok(())
}
