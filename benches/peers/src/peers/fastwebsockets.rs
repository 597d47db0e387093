//! fastwebsockets, with its `FragmentCollector`. It writes each frame immediately: a burst is
//! answered with one write only if its stream gathers writes.

use anyhow::Result;
use bytes::Bytes;
use fastwebsockets::{
    FragmentCollector, Frame, OpCode, Payload, Role as TheirRole, WebSocket, WebSocketError, upgrade,
};
use futures_util::TryFutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Manner, Peer, Role, Sending, Tally, Work, each, opening, spawn, spawn_opened};
use crate::{
    arrivals::Arrivals,
    memory_stream::{Cork, Memory},
};

#[derive(Debug)]
pub struct FastWebSockets;

impl Peer for FastWebSockets {
    fn name(&self) -> &'static str {
        "fastwebsockets"
    }

    fn notes(&self) -> &'static str {
        "no keep-alive, no feed: the best loop stands on a stream that gathers writes until it is read from; UTF-8 \
         checked; masks from a CSPRNG; opens connections by hyper, except where its handshake is not what is measured"
    }

    fn receive(&self, io: Memory, mut tally: Tally) -> Option<Work<Tally>> {
        Some(Box::pin(async move {
            let mut ws = FragmentCollector::new(WebSocket::after_handshake(io, TheirRole::Server));
            while tally.wants() {
                let frame = ws.read_frame().await?;
                if matches!(frame.opcode, OpCode::Text | OpCode::Binary) {
                    tally.note(&frame.payload, frame.opcode == OpCode::Text)?;
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
            Manner::Best => spawn_opened(opening, |tcp| echo(Cork::new(tcp))),
            Manner::Plain => spawn_opened(opening, echo),
        }
        Some(())
    }

    fn open(&self, tcp: TcpStream) -> Option<()> {
        spawn(opening::by_hyper(tcp, |mut request| {
            let (response, upgraded) = upgrade::upgrade(&mut request)?;
            spawn_opened(upgraded.map_err(Into::into), |ws| echo(ws.into_inner()));
            Ok(response)
        }));
        Some(())
    }

    fn broadcast(&self, mut arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(Box::pin(async move {
            let mut senders = Vec::new();
            while let Some(tcp) = arrivals.next().await? {
                let ws = WebSocket::after_handshake(opening::answered(tcp).await?, TheirRole::Server);
                let (mut receiver, sender) = ws.split(TcpStream::into_split);
                spawn(async move {
                    let mut never = |_frame: Frame<'_>| std::future::ready(Ok::<(), WebSocketError>(()));
                    loop {
                        receiver.read_frame(&mut never).await?;
                    }
                });
                senders.push(sender);
            }
            each(senders, arrivals, async |sender| {
                // Owned frames, because the type of its sender contains the lifetime of what it
                // sends.
                let payload = Payload::Owned(message.to_vec());
                Ok(sender.write_frame(Frame::binary(payload)).await?)
            })
            .await
        }))
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> Result<()> {
    let mut ws = FragmentCollector::new(WebSocket::after_handshake(io, TheirRole::Server));
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                ws.write_frame(Frame::new(true, frame.opcode, None, frame.payload)).await?;
            }
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(io: S, sending: Sending) -> Result<()> {
    let role = match sending.role {
        Role::Client => TheirRole::Client,
        Role::Server => TheirRole::Server,
    };
    let mut ws = WebSocket::after_handshake(io, role);
    for _ in 0..sending.batches() {
        for _ in 0..sending.batch() {
            ws.write_frame(Frame::binary(Payload::Borrowed(&sending.payload))).await?;
        }
        ws.flush().await?;
    }
    Ok(())
}
