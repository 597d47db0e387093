//! Messages that are not stored: publishing, and receiving those for all members and for the node.

use std::sync::Arc;

use async_nats::Subscriber;
use fullduplex::hub::{Inbox, MemberId, RoomKey, Target, Transient};
use fullduplex_backplane_common::Item;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::{failure::Failure, link::Link, shared::Shared};

/// Returns a message as it is published to members of other nodes.
pub(crate) fn from_node(node: u64, transient: &Transient) -> Vec<u8> {
    [&node.to_be_bytes()[..], &transient.to_bytes()].concat()
}

/// Returns a message as it is published to the node of a member.
pub(crate) fn to_member(member: MemberId, transient: &Transient) -> Vec<u8> {
    [&member.serial.to_be_bytes()[..], &transient.to_bytes()].concat()
}

/// Passes a message of another node.
pub(crate) fn receive<R: RoomKey>(inbox: &Inbox<R>, to: Target<'_, R>, payload: &[u8]) {
    if let Some((node, transient)) = parse(payload)
        && node != inbox.node()
    {
        inbox.transient(to, transient);
    }
}

fn receive_private<R: RoomKey>(inbox: &Inbox<R>, payload: &[u8]) {
    if let Some((serial, transient)) = parse(payload) {
        inbox.transient(Target::Member(MemberId { node: inbox.node(), serial }), transient);
    }
}

/// Returns `None` for what other programs, or other versions, have published.
fn parse(payload: &[u8]) -> Option<(u64, Transient)> {
    let (number, record) = payload.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), Transient::from_bytes(record).ok()?))
}

/// The subscriptions of a node.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    to_node: Subscriber,
    to_all: Subscriber,
    to_hubs: Subscriber,
}

impl Subscriptions {
    pub(crate) async fn open<R>(shared: &Shared<R>, link: &Link, node: u64) -> Result<Self, Failure> {
        let subscribe = async |subject| link.client.subscribe(subject).await.map_err(Failure::away);
        Ok(Self {
            to_node: subscribe(shared.names.to_node(node)).await?,
            to_all: subscribe(shared.names.to_all()).await?,
            to_hubs: subscribe(shared.names.to_hubs()).await?,
        })
    }
}

/// Passes what is published to this node and to all. Returns why it cannot.
pub(crate) async fn receive_all<R: RoomKey>(shared: Arc<Shared<R>>, subscriptions: Subscriptions) -> Failure {
    let Subscriptions { mut to_node, mut to_all, mut to_hubs } = subscriptions;
    let Some(inbox) = shared.inbox.get() else { return Failure::away("no hub is attached") };
    loop {
        tokio::select! {
            Some(message) = to_node.next() => receive_private(inbox, &message.payload),
            Some(message) = to_all.next() => receive(inbox, Target::All, &message.payload),
            Some(message) = to_hubs.next() => receive(inbox, Target::Hubs, &message.payload),
            else => return Failure::away("the subscriptions of the node have ended"),
        }
    }
}

/// Publishes what is queued. Returns the failure that ends the link.
pub(crate) async fn write(link: Arc<Link>, mut queue: mpsc::Receiver<Item>) -> Failure {
    while let Some(item) = queue.recv().await {
        if let Err(error) = link.client.publish(item.channel, item.notice.into()).await {
            return Failure::away(error);
        }
    }
    // The link holds a sender.
    std::future::pending().await
}
