//! The hub of this crate: members without a task or a channel to send by.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use fullduplex::hub::{Hub, Memory, Sending};

use super::{Peer, ROOMS, Standing, Work, obey, spawn};
use crate::arrivals::Arrivals;

/// The history of a room: how many messages it keeps, and for how long.
const HISTORY: (usize, Duration) = (100, Duration::from_secs(3600));

#[derive(Debug, Clone, Copy)]
pub enum InHub {
    OneRoom,
    /// In one room, which has a history.
    Published,
    ManyRooms,
}

impl InHub {
    fn hub(self) -> Hub {
        match self {
            Self::OneRoom | Self::ManyRooms => Hub::new(),
            Self::Published => Hub::builder().backplane(Memory::history(HISTORY.0, HISTORY.1)).build(),
        }
    }

    fn rooms(self) -> Vec<String> {
        let count = if let Self::ManyRooms = self { ROOMS } else { 1 };
        (0..count).map(|room| format!("room {room}")).collect()
    }

    async fn send(self, hub: &Hub, rooms: &[String], message: &Bytes, members: usize) -> Result<()> {
        if let Self::Published = self {
            // The load generator detects a member that it does not reach.
            hub.publish(&rooms[0], message.clone()).await?;
            return Ok(());
        }
        let begun: Vec<Sending> = rooms.iter().map(|room| hub.to(room).send(message.clone())).collect();
        let mut reached = 0;
        for sending in begun {
            reached += sending.await.sent;
        }
        ensure!(reached == members as u64, "{reached} of {members} members were reached");
        Ok(())
    }
}

impl Peer for InHub {
    fn name(&self) -> &'static str {
        match self {
            Self::OneRoom => "hub",
            Self::ManyRooms => "hub, 1,000 rooms",
            Self::Published => "hub, published",
        }
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn standing(&self) -> Standing {
        Standing::Ours
    }

    fn notes(&self) -> &'static str {
        match self {
            Self::OneRoom => {
                "`fullduplex::hub`, all members in one room: `hub.to(&room).send(message).await`; a task for each \
                 member, which receives"
            }
            Self::ManyRooms => "the same, members spread over 1,000 rooms: sent to all rooms, then awaited",
            Self::Published => {
                "the same in one room whose last 100 messages are kept: `hub.publish(&room, message).await`"
            }
        }
    }

    fn broadcast(&self, mut arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        let way = *self;
        Some(Box::pin(async move {
            let (hub, rooms) = (way.hub(), way.rooms());
            let mut turns = rooms.iter().cycle();
            while let (Some(tcp), Some(room)) = (arrivals.next().await?, turns.next()) {
                let (mut receiver, sender) = fullduplex::accept(tcp).await?.split();
                let member = hub.add(sender);
                member.join(room).await?;
                spawn(async move {
                    while receiver.recv().await?.is_some() {}
                    drop(member);
                    Ok(())
                });
            }
            let members = rooms.iter().map(|room| hub.member_count(room)).sum();
            let orders = arrivals.complete(members)?;
            obey(orders, async || way.send(&hub, &rooms, &message, members).await).await
        }))
    }
}
