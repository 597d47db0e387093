//! The tasks that tell the server who is present, keep the lease, and remove members of nodes that
//! have ended.

use std::{collections::HashSet, sync::Arc};

use async_nats::{
    HeaderMap,
    jetstream::{
        context::PublishErrorKind,
        message::PublishMessage,
        stream::{LastRawMessageErrorKind, Stream},
    },
};
use bytes::Bytes;
use fullduplex::hub::{BackplaneError, Present, RoomKey};
use fullduplex_backplane_common::Change;
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use tokio::{sync::Mutex, time::sleep};

use crate::{
    failure::Failure,
    link::Link,
    names::{parse_member, token},
    shared::Shared,
};

/// The members that the server is told about, or asked for, at a time.
const BATCH: usize = 64;

/// Marks the message that a member has left. It is removed after it was published.
const HEADER_LEFT: &str = "Fullduplex-Left";

/// Returns whether a message says that a member has left.
pub(crate) fn is_left(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(HEADER_LEFT).is_some())
}

/// The lease of a node, and the sequence with which it was renewed.
#[derive(Debug, Default)]
pub(crate) struct Lease(Mutex<u64>);

/// Tells the server who is present. Returns the failure that ends the link.
pub(crate) async fn tell<R: RoomKey + AsRef<str>>(shared: Arc<Shared<R>>, link: Arc<Link>) -> Failure {
    loop {
        let changes = shared.members.changes(BATCH).await;
        let lease = shared.members.lease();
        let results = join_all(changes.iter().map(|change| apply(&shared, &link, &lease, change))).await;
        let mut refused = None;
        for (change, result) in changes.iter().zip(results) {
            match result {
                Err(failure) if failure.is_away() => return failure,
                Err(failure) => {
                    shared.members.settle(change, Err(failure.clone().into()));
                    refused = Some(failure);
                }
                Ok(()) => shared.members.settle(change, Ok(())),
            }
        }
        if let Some(failure) = refused {
            shared.report(failure);
            sleep(shared.settings.heartbeat).await;
        }
    }
}

async fn apply<R>(shared: &Shared<R>, link: &Link, lease: &str, change: &Change) -> Result<(), Failure> {
    let member = change.seat.member.to_string();
    let subject = shared.names.member(lease, &token(&change.seat.room), &member);
    match &change.data {
        Some(data) => {
            let message = PublishMessage::build().payload(data.clone());
            link.limited(async { Ok(link.context.send_publish(subject, message).await?.await?) }).await?;
            Ok(())
        }
        None => link.limited(remove(link, &subject)).await,
    }
}

/// Publishes that a member has left, unless another node does, and removes it.
async fn remove(link: &Link, subject: &str) -> Result<(), Failure> {
    let Some((sequence, headers, data)) = get(&link.members, subject).await? else { return Ok(()) };
    if !is_left(Some(&headers)) {
        let message = PublishMessage::build()
            .payload(data)
            .header(HEADER_LEFT, "1")
            .expected_last_subject_sequence(sequence);
        match link.context.send_publish(subject.to_owned(), message).await?.await {
            Ok(_stored) => {}
            // Another node was first, and removes it.
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    link.members.purge().filter(subject).await?;
    Ok(())
}

async fn get(stream: &Stream<()>, subject: &str) -> Result<Option<(u64, HeaderMap, Bytes)>, Failure> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some((message.sequence, message.headers, message.payload))),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the subjects of a stream that match a pattern.
async fn subjects(stream: &Stream<()>, pattern: String) -> Result<Vec<String>, Failure> {
    let subjects = stream.info_with_subjects(pattern).await?;
    Ok(subjects.map_ok(|(subject, _count)| subject).try_collect().await?)
}

/// Returns who is present in a room, without members of nodes that have ended.
pub(crate) async fn present<R>(shared: &Shared<R>, link: &Link, room: &str) -> Result<Vec<Present>, Failure> {
    let pattern = shared.names.member("*", &token(room), "*");
    let (listed, alive) = tokio::try_join!(subjects(&link.members, pattern), alive(shared, link))?;
    let is_alive = |subject: &String| parse_member(subject).is_some_and(|(lease, _)| alive.contains(lease));
    let read = listed.into_iter().filter(is_alive).map(|subject| present_one(link, subject));
    let present: Vec<Option<Present>> = stream::iter(read).buffered(BATCH).try_collect().await?;
    Ok(present.into_iter().flatten().collect())
}

async fn present_one(link: &Link, subject: String) -> Result<Option<Present>, Failure> {
    let found = get(&link.members, &subject).await?.filter(|(_, headers, _)| !is_left(Some(headers)));
    let member = parse_member(&subject).map(|(_, member)| member);
    Ok(member.zip(found).map(|(member, (_, _, data))| Present { member, data }))
}

/// Returns the leases that have not ended.
async fn alive<R>(shared: &Shared<R>, link: &Link) -> Result<HashSet<String>, Failure> {
    let subjects = subjects(&link.leases, shared.names.lease("*")).await?;
    Ok(subjects.into_iter().filter_map(last_token).collect())
}

fn last_token(subject: String) -> Option<String> {
    subject.rsplit_once('.').map(|(_, last)| last.to_owned())
}

/// Renews the lease of the node. If it has ended, begins another, under which all members enter
/// again.
pub(crate) async fn renew<R>(shared: &Shared<R>, link: &Link) -> Result<(), Failure> {
    let mut sequence = shared.lease.0.lock().await;
    let lease = shared.members.lease();
    if !lease.is_empty()
        && let Some(renewed) = renew_one(shared, link, &lease, *sequence).await?
    {
        *sequence = renewed;
        return Ok(());
    }
    let lease = format!("{:016x}", rand::random::<u64>());
    let begun = renew_one(shared, link, &lease, 0).await?;
    // Before members enter under it, so that other nodes find them when it has ended.
    let message = PublishMessage::build();
    link.limited(async { Ok(link.context.send_publish(shared.names.begun(&lease), message).await?.await?) })
        .await?;
    *sequence = begun.unwrap_or(0);
    shared.members.set_lease(lease);
    Ok(())
}

/// Returns `None` if the lease has ended.
async fn renew_one<R>(
    shared: &Shared<R>,
    link: &Link,
    lease: &str,
    last: u64,
) -> Result<Option<u64>, Failure> {
    let message = PublishMessage::build().expected_last_subject_sequence(last);
    let renew = async {
        match link.context.send_publish(shared.names.lease(lease), message).await?.await {
            Ok(ack) => Ok(Some(ack.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    link.limited(renew).await
}

/// Renews the lease now and then. Returns the failure that ends the link.
pub(crate) async fn keep_lease<R: RoomKey>(shared: Arc<Shared<R>>, link: Arc<Link>) -> Failure {
    loop {
        sleep(shared.settings.heartbeat).await;
        match renew(&shared, &link).await {
            Ok(()) => {}
            Err(failure) if failure.is_away() => return failure,
            Err(failure) => shared.report(failure),
        }
    }
}

/// Removes the members of nodes that have ended, now and then. Returns the failure that ends the link.
pub(crate) async fn sweep<R: RoomKey>(shared: Arc<Shared<R>>, link: Arc<Link>) -> Failure {
    loop {
        // At another time than other nodes, which then find nothing left to do.
        sleep(shared.settings.heartbeat.mul_f64(rand::random_range(0.5..1.0))).await;
        match sweep_all(&shared, &link).await {
            Ok(()) => {}
            Err(failure) if failure.is_away() => return failure,
            Err(failure) => shared.report(failure),
        }
    }
}

async fn sweep_all<R>(shared: &Shared<R>, link: &Link) -> Result<(), Failure> {
    // In this order: a lease is begun before it is listed as such.
    let begun = link.limited(subjects(&link.members, shared.names.begun("*"))).await?;
    let alive = link.limited(alive(shared, link)).await?;
    let own = shared.members.lease();
    let ended =
        begun.into_iter().filter_map(last_token).filter(|lease| !alive.contains(lease) && *lease != own);
    for lease in ended {
        sweep_lease(shared, link, &lease).await?;
    }
    Ok(())
}

/// Removes the members that have entered under a lease.
///
/// Several nodes may do so at once: for each member, one of them publishes that it has left. That the
/// lease was begun is removed last, so that another node completes what one has left undone.
async fn sweep_lease<R>(shared: &Shared<R>, link: &Link, lease: &str) -> Result<(), Failure> {
    let pattern = shared.names.member(lease, "*", "*");
    let members = link.limited(subjects(&link.members, pattern)).await?;
    for batch in members.chunks(BATCH) {
        let removed = join_all(batch.iter().map(|subject| link.limited(remove(link, subject)))).await;
        removed.into_iter().collect::<Result<(), Failure>>()?;
    }
    link.limited(async { Ok(link.members.purge().filter(shared.names.begun(lease)).await?) }).await?;
    Ok(())
}

/// Returns the error of a call that needs a hub.
pub(crate) fn no_hub() -> BackplaneError {
    BackplaneError::failed("no hub is attached")
}
