//! Members with a channel and a task each, as programs send to many without a hub.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::{Context, Result};
use axum::{Router, extract::ws, routing::any};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{broadcast, mpsc};
use tokio_tungstenite::{accept_async, tungstenite};

use super::{Peer, ROOMS, Work, axum::serve_routes, each, obey, spawn};
use crate::arrivals::Arrivals;

/// The number of messages that axum's example keeps for members that are behind.
const CAPACITY: usize = 100;

#[derive(Debug, Clone, Copy)]
pub enum WithChannels {
    /// One channel to all.
    Axum,
    /// A channel to each room.
    AxumByRooms,
    /// A channel to each.
    Tungstenite,
    /// The same, one room after the other.
    TungsteniteByRooms,
}

impl Peer for WithChannels {
    fn name(&self) -> &'static str {
        match self {
            Self::Axum => "axum, broadcast channel",
            Self::AxumByRooms => "axum, broadcast channels",
            Self::Tungstenite => "tokio-tungstenite, channels",
            Self::TungsteniteByRooms => "tokio-tungstenite, channels by rooms",
        }
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn notes(&self) -> &'static str {
        match self {
            Self::Axum => {
                "axum's own WebSocket and `tokio::sync::broadcast`, as in its example `chat`: each connection is split; \
                 one task sends what its receiver of the channel returns, another receives"
            }
            Self::AxumByRooms => {
                "the same with a channel for each of 1,000 rooms, over which the members are spread"
            }
            Self::Tungstenite => {
                "an unbounded `tokio::sync::mpsc` channel for each connection, as in its example `server`: each \
                 connection is split; one task sends what its channel returns, another receives"
            }
            Self::TungsteniteByRooms => {
                "the same in the order of 1,000 rooms, over which the members are spread"
            }
        }
    }

    fn broadcast(&self, arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(match self {
            Self::Axum => Box::pin(by_axum(arrivals, message, 1)),
            Self::AxumByRooms => Box::pin(by_axum(arrivals, message, ROOMS)),
            Self::Tungstenite => Box::pin(by_tungstenite(arrivals, message, 1)),
            Self::TungsteniteByRooms => Box::pin(by_tungstenite(arrivals, message, ROOMS)),
        })
    }
}

async fn by_axum(mut arrivals: Arrivals, message: Bytes, rooms: usize) -> Result<()> {
    let rooms: Arc<[_]> = (0..rooms).map(|_| broadcast::channel(CAPACITY).0).collect();
    let (joined, mut joins) = mpsc::unbounded_channel();
    let (all, next) = (rooms.clone(), Arc::<AtomicUsize>::default());
    let route = move |upgrade: ws::WebSocketUpgrade| {
        let (all, next, joined) = (all.clone(), next.clone(), joined.clone());
        ready(upgrade.on_upgrade(async move |ws| {
            let messages = all[next.fetch_add(1, Relaxed) % all.len()].subscribe();
            // The receiver exists until all have joined.
            let _complete = joined.send(());
            serve(ws, messages).await;
        }))
    };
    let routes = Router::new().route("/", any(route));
    let mut accepted = 0;
    while let Some(tcp) = arrivals.next().await? {
        serve_routes(tcp, routes.clone());
        accepted += 1;
    }
    for _ in 0..accepted {
        joins.recv().await.context("the route was dropped")?;
    }
    let orders = arrivals.complete(rooms.iter().map(broadcast::Sender::receiver_count).sum())?;
    obey(orders, async || {
        for room in &*rooms {
            room.send(message.clone())?;
        }
        Ok(())
    })
    .await
}

/// Serves a member until one of its tasks ends.
async fn serve(ws: ws::WebSocket, mut messages: broadcast::Receiver<Bytes>) {
    let (mut sink, mut stream) = ws.split();
    let mut sending = tokio::spawn(async move {
        while let Ok(message) = messages.recv().await {
            if sink.send(ws::Message::Binary(message)).await.is_err() {
                break;
            }
        }
    });
    let mut receiving = tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
    tokio::select! {
        _ = &mut sending => receiving.abort(),
        _ = &mut receiving => sending.abort(),
    }
}

async fn by_tungstenite(mut arrivals: Arrivals, message: Bytes, rooms: usize) -> Result<()> {
    let mut channels = Vec::new();
    while let Some(tcp) = arrivals.next().await? {
        let (mut sink, mut stream) = accept_async(tcp).await?.split();
        let (channel, mut messages) = mpsc::unbounded_channel();
        spawn(async move {
            while let Some(message) = messages.recv().await {
                sink.send(message).await?;
            }
            Ok(())
        });
        spawn(async move {
            while stream.next().await.transpose()?.is_some() {}
            Ok(())
        });
        channels.push((channels.len() % rooms, channel));
    }
    channels.sort_by_key(|(room, _)| *room);
    let message = tungstenite::Message::Binary(message);
    each(channels, arrivals, async |(_, channel)| Ok(channel.send(message.clone())?)).await
}
