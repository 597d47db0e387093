//! The clients: senders on node A, and a member of each room on one node or both.

use std::{convert::Infallible, rc::Rc, time::Duration};

use anyhow::{Context, Result, bail};
use fullduplex::{ClientStream, Receiver, Sender, WebSocket, connect};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    lanes::Lanes,
    message::{Received, room},
    node::Node,
    order::Order,
    settings::{Case, Settings},
};

/// The handshakes that are in progress at a time.
const OPENING: usize = 32;

/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The clients of a case, and the tasks that receive for them.
#[derive(Debug)]
pub struct Crowd {
    pub lanes: Rc<Lanes>,
    pub senders: Vec<Sender>,
    pub rooms: usize,
    tasks: JoinSet<Result<Infallible>>,
}

impl Crowd {
    /// Connects all clients. Senders are connected to the first node.
    pub async fn open(case: Case, nodes: &[Node], settings: &Settings) -> Result<Self> {
        let lanes = Rc::new(Lanes::new(settings.senders, case.copies()));
        let mut tasks = JoinSet::new();
        let places = case.place.nodes().iter().flat_map(|node| (0..case.rooms).map(|room| (*node, room)));
        let members: Vec<_> = stream::iter(places)
            .map(async |(node, number)| join(&nodes[node], room(number), settings.senders).await)
            .buffer_unordered(OPENING)
            .try_collect()
            .await?;
        for (ws, order) in members {
            tasks.spawn_local(follow(ws, order, lanes.clone()));
        }
        let mut senders = Vec::new();
        for number in 0..settings.senders {
            let (ws, _) = connect(nodes[0].sender_url()).await.context("cannot connect a sender")?;
            let (receiver, sender) = ws.split();
            tasks.spawn_local(acknowledge(receiver, number, lanes.clone()));
            senders.push(sender);
        }
        Ok(Self { lanes, senders, rooms: case.rooms, tasks })
    }

    /// Runs some work, unless a client fails meanwhile.
    ///
    /// # Errors
    /// Returns the error of the client or of the work.
    pub async fn watch<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            Some(ended) = self.tasks.join_next() => match ended? {
                Ok(never) => match never {},
                Err(error) => Err(error),
            },
        }
    }

    /// Waits until all messages are acknowledged and have arrived at all members of their rooms.
    pub async fn settle(&mut self) -> Result<()> {
        let lanes = self.lanes.clone();
        let work = async {
            let settled = timeout(PATIENCE, lanes.all_settled()).await;
            settled.with_context(|| format!("of {} messages, {} have arrived", lanes.sent(), lanes.arrived()))
        };
        self.watch(work).await
    }
}

/// Returns the room of a message: each sender has all rooms in turn, as far as they divide so.
pub fn room_of(sender: usize, number: u64, senders: usize, rooms: usize) -> String {
    let turn = usize::try_from(number % rooms as u64).unwrap_or(0);
    room((sender + turn * senders) % rooms)
}

/// Connects a member. Returns it once it has joined its room.
async fn join(node: &Node, room: String, senders: usize) -> Result<(WebSocket<ClientStream>, Order)> {
    let (mut ws, _) = connect(node.member_url(&room)).await.context("cannot connect a member")?;
    let joined = ws.recv().await?.context("a member cannot join")?;
    let offset = joined.as_text().and_then(|text| text.parse().ok()).context("a position is a number")?;
    Ok((ws, Order::new(room, offset, senders)))
}

/// Receives the messages of a room.
async fn follow(mut ws: WebSocket<ClientStream>, mut order: Order, lanes: Rc<Lanes>) -> Result<Infallible> {
    while let Some(message) = ws.recv().await? {
        let received = Received::parse(message.as_text().context("a message is text")?)?;
        order.check(&received)?;
        lanes.deliver(&received);
    }
    bail!("a node has closed the connection of a member");
}

/// Receives the acknowledgements of a sender.
async fn acknowledge(
    mut receiver: Receiver<ClientStream>,
    sender: usize,
    lanes: Rc<Lanes>,
) -> Result<Infallible> {
    while let Some(message) = receiver.recv().await? {
        let offset = message.as_text().context("an acknowledgement is text")?;
        let _stored: u64 = offset.parse().context("an acknowledgement is an offset")?;
        lanes.acknowledge(sender);
    }
    bail!("a node has closed the connection of a sender");
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn all_rooms_get_as_many_messages() {
        for (senders, rooms) in [(128, 1000), (8, 20), (3, 1), (128, 7)] {
            let mut counts = HashMap::new();
            for sender in 0..senders {
                for number in 0..rooms as u64 {
                    *counts.entry(room_of(sender, number, senders, rooms)).or_insert(0) += 1;
                }
            }
            assert_eq!(counts.len(), rooms);
            assert!(counts.values().all(|count| *count == senders), "{senders} senders: {counts:?}");
        }
    }
}
