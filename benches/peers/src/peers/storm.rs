//! Servers that echo, and that send to all connections on an order, as programs with each library
//! do it: connections may come, go and stop reading at any time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use bytes::Bytes;
use fullduplex::{
    Config, Error, Server,
    hub::Hub,
    serve::{Serve, ServerStream, Session},
};
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, Receiver, Sender},
};
use tokio_tungstenite::{accept_async, tungstenite};

use super::{Peer, Standing, Work, obey, sockudo, spawn};
use crate::arrivals::{Orders, accept};

/// What may be unsent for one connection: the size of a write buffer in bytes, and the number of
/// messages in a channel. The messages of a broadcast have 1 KiB.
const BUFFER: usize = 64 << 10;
const CAPACITY: usize = 64;

/// The limit on connections, and on opening handshakes under way, of the server that has such limits.
const MOST: usize = 100_000;

const ROOM: &str = "everyone";

#[derive(Debug, Clone, Copy)]
pub enum InStorm {
    Hub,
    Tungstenite,
    Sockudo,
}

impl Peer for InStorm {
    fn name(&self) -> &'static str {
        match self {
            Self::Hub => "fullduplex, hub",
            Self::Tungstenite => "tokio-tungstenite, bounded channels",
            Self::Sockudo => "sockudo-ws, bounded channels",
        }
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn standing(&self) -> Standing {
        if let Self::Hub = self { Standing::Ours } else { Standing::Peer }
    }

    fn notes(&self) -> &'static str {
        match self {
            Self::Hub => {
                "`fullduplex::serve` and `fullduplex::hub`: a task for each connection, which feeds the echoes; a write \
                 buffer of 64 KiB; a message of a broadcast that does not fit into it is dropped (the default)"
            }
            Self::Tungstenite => {
                "each connection is split, and has a channel for 64 messages (`tokio::sync::mpsc`): one task receives, and \
                 sends what comes out of the channel; an echo waits for room in it, a message of a broadcast is dropped \
                 if there is none (`try_send`); a read buffer of 128 KiB (the default), which is cleared before each read"
            }
            Self::Sockudo => "the same with the halves of sockudo-ws",
        }
    }

    fn storm(&self, listener: TcpListener, orders: Orders, message: Bytes) -> Option<Work<()>> {
        Some(match self {
            Self::Hub => Box::pin(by_hub(listener, orders, message)),
            Self::Tungstenite => Box::pin(by_channels(listener, orders, message, |tcp, members| {
                spawn(by_tungstenite(tcp, members));
            })),
            Self::Sockudo => Box::pin(by_channels(listener, orders, message, |tcp, members| {
                spawn(by_sockudo(tcp, members));
            })),
        })
    }
}

async fn by_hub(listener: TcpListener, orders: Orders, message: Bytes) -> Result<()> {
    let hub = Hub::new();
    let members = hub.clone();
    let serve = Serve::new(listener)
        .server(Server::new(Config::new().max_write_buffer_size(BUFFER)))
        .max_connections(MOST)
        .max_handshakes(MOST)
        .run(move |session, _request| be_member(session, members.clone()));
    let broadcasts = obey(orders, async || {
        hub.to(ROOM).send(message.clone()).await;
        Ok(())
    });
    tokio::select! {
        served = serve => Ok(served?),
        obeyed = broadcasts => obeyed,
    }
}

async fn be_member(session: Session<ServerStream>, hub: Hub) -> Result<(), Error> {
    let (ws, _guard) = session.into_parts();
    let (mut receiver, sender) = ws.split();
    let member = hub.add(sender.clone());
    member.join(ROOM).await.map_err(std::io::Error::other)?;
    while let Some(message) = receiver.recv().await? {
        sender.feed(message).await?;
    }
    Ok(())
}

/// The channels of all connections, by number.
type Channels = HashMap<u64, Sender<Bytes>>;

#[derive(Debug, Clone, Default)]
struct Members(Arc<Mutex<(u64, Channels)>>);

/// A connection among the members, until it is dropped.
struct Member {
    members: Members,
    number: u64,
    channel: Sender<Bytes>,
}

impl Members {
    /// Adds a connection. Returns it with what is to be sent to it.
    fn add(self) -> (Member, Receiver<Bytes>) {
        let (channel, messages) = mpsc::channel(CAPACITY);
        let mut all = self.lock();
        all.0 += 1;
        let number = all.0;
        all.1.insert(number, channel.clone());
        drop(all);
        (Member { members: self, number, channel }, messages)
    }

    fn send_to_all(&self, message: &Bytes) {
        for channel in self.lock().1.values() {
            // Dropped for a member that is slow.
            let _full = channel.try_send(message.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Channels)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.members.lock().1.remove(&self.number);
    }
}

async fn by_channels(
    listener: TcpListener,
    orders: Orders,
    message: Bytes,
    serve: impl Fn(TcpStream, Members),
) -> Result<()> {
    let members = Members::default();
    let accepting = async {
        loop {
            serve(accept(&listener).await?, members.clone());
        }
    };
    let broadcasts = obey(orders, async || {
        members.send_to_all(&message);
        Ok(())
    });
    tokio::select! {
        accepted = accepting => accepted,
        obeyed = broadcasts => obeyed,
    }
}

async fn by_tungstenite(tcp: TcpStream, members: Members) -> Result<()> {
    let (mut sink, mut stream) = accept_async(tcp).await?.split();
    let (member, mut messages) = members.add();
    let receiving = async {
        while let Some(message) = stream.next().await.transpose()? {
            if let tungstenite::Message::Binary(data) = message {
                member.channel.send(data).await?;
            }
        }
        Ok(())
    };
    let sending = async {
        while let Some(data) = messages.recv().await {
            sink.send(tungstenite::Message::Binary(data)).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = receiving => ended,
        ended = sending => ended,
    }
}

async fn by_sockudo(tcp: TcpStream, members: Members) -> Result<()> {
    let (mut receiver, mut sender) = sockudo::accept(tcp).await?.split();
    let (member, mut messages) = members.add();
    let receiving = async {
        while let Some(message) = receiver.next().await.transpose()? {
            if let Message::Binary(data) = message {
                member.channel.send(data).await?;
            }
        }
        Ok(())
    };
    let sending = async {
        while let Some(data) = messages.recv().await {
            sender.send_binary(data).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = receiving => ended,
        ended = sending => ended,
    }
}
