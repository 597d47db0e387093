//! The tasks that tell the server who is present, keep the lease, and remove members of nodes that
//! have ended.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use fullduplex::hub::{BackplaneError, Present, RoomKey};
use fullduplex_backplane_common::Change;
use futures_util::future::join_all;
use redis::RedisError;
use tokio::time::sleep;

use crate::{
    builder::millis,
    commands::Commands,
    keys::{RoomKeys, parse_seat, seat},
    link::{Link, is_away},
    shared::Shared,
};

/// The members that the server is told about at a time.
const BATCH: usize = 128;

/// The leases that are looked for at a time.
const ENDED: usize = 16;

/// The digits of a lease, at the beginning of each value in the hash of members.
const LEASE_LEN: usize = 16;

/// Tells the server who is present. Returns the error that ends the link.
pub(crate) async fn tell<R: RoomKey + AsRef<str>>(shared: Arc<Shared<R>>, mut link: Link) -> RedisError {
    loop {
        let changes = shared.members.changes(BATCH).await;
        match apply(&shared, &mut link, &changes).await {
            Ok(()) => {}
            Err(error) if is_away(&error) => return error,
            Err(error) => {
                shared.report(error);
                sleep(shared.settings.heartbeat).await;
            }
        }
    }
}

/// Applies changes. Those of an error that ends the link remain.
async fn apply<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &mut Link,
    changes: &[Change],
) -> Result<(), RedisError> {
    let lease = shared.members.lease();
    let (entering, leaving): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.data.is_some());
    // Before they enter, so that none is missing here whose node has ended.
    update_lease(shared, link, "SADD", &lease, &entering).await?;
    let results = join_all(changes.iter().map(|change| apply_one(shared, link, &lease, change))).await;
    let mut failed = None;
    for (change, result) in changes.iter().zip(results) {
        match result {
            Err(error) if is_away(&error) => return Err(error),
            Err(error) => {
                shared.members.settle(change, Err(BackplaneError::failed(error.clone())));
                failed = Some(error);
            }
            Ok(()) => shared.members.settle(change, Ok(())),
        }
    }
    update_lease(shared, link, "SREM", &lease, &leaving).await?;
    failed.map_or(Ok(()), Err)
}

/// Adds the seats of changes to the set of a lease, or removes them.
async fn update_lease<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &mut Link,
    command: &str,
    lease: &str,
    changes: &[&Change],
) -> Result<(), RedisError> {
    if changes.is_empty() {
        return Ok(());
    }
    let seats = changes.iter().map(|change| seat(change.seat.member, &change.seat.room));
    let seats: Vec<String> = seats.collect();
    redis::cmd(command).arg(shared.keys.lease(lease)).arg(seats).exec_async(&mut link.commands).await
}

async fn apply_one<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &Link,
    lease: &str,
    change: &Change,
) -> Result<(), RedisError> {
    let keys = shared.keys.room(&change.seat.room);
    let mut commands = link.commands.clone();
    let Some(data) = &change.data else {
        // Under any lease: no other node has members with this id.
        return exit(shared, &mut commands, &keys, &change.seat.member.to_string(), "").await;
    };
    shared
        .scripts
        .enter
        .key(&keys.members)
        .arg(change.seat.member.to_string())
        .arg(lease)
        .arg(&data[..])
        .arg(shared.server.publish())
        .arg(&keys.channel)
        .run(&mut commands)
        .await
}

async fn exit<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    commands: &mut Commands,
    keys: &RoomKeys,
    member: &str,
    lease: &str,
) -> Result<(), RedisError> {
    let exit = &shared.scripts.exit;
    exit.key(&keys.members)
        .arg(member)
        .arg(lease)
        .arg(shared.server.publish())
        .arg(&keys.channel)
        .run(commands)
        .await
}

/// Returns who is present in a room, without members of nodes that have ended.
pub(crate) async fn present<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &mut Link,
    keys: &RoomKeys,
) -> Result<Vec<Present>, RedisError> {
    let listed: Vec<(String, Vec<u8>)> =
        redis::cmd("HGETALL").arg(&keys.members).query_async(&mut link.commands).await?;
    let listed: Vec<(Present, String)> =
        listed.into_iter().map(|(member, value)| parse_member(&member, value)).collect::<Result<_, _>>()?;
    let mut leases: HashMap<&str, bool> = HashMap::new();
    for (_, lease) in &listed {
        leases.insert(lease, false);
    }
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = leases.keys().copied().collect();
    let alive = &shared.scripts.alive;
    let alive: Vec<u8> = alive.key(shared.keys.leases()).arg(&names[..]).run(&mut link.commands).await?;
    leases.extend(names.into_iter().zip(alive.into_iter().map(|alive| alive == 1)));
    let is_alive: Vec<bool> = listed.iter().map(|(_, lease)| leases[lease.as_str()]).collect();
    let present = listed.into_iter().zip(is_alive).filter(|(_, is_alive)| *is_alive);
    Ok(present.map(|((present, _), _)| present).collect())
}

/// Returns a member as the hash of a room contains it, and the lease.
fn parse_member(member: &str, mut value: Vec<u8>) -> Result<(Present, String), RedisError> {
    let invalid =
        || RedisError::from((redis::ErrorKind::UnexpectedReturnType, "a member is not one of this program"));
    let member = member.parse().map_err(|_| invalid())?;
    if value.get(LEASE_LEN) != Some(&b' ') {
        return Err(invalid());
    }
    let data = Bytes::from(value.split_off(LEASE_LEN + 1));
    value.truncate(LEASE_LEN);
    let lease = String::from_utf8(value).map_err(|_| invalid())?;
    Ok((Present { member, data }, lease))
}

/// Renews the lease of the node. If it has ended, begins another, under which all members enter
/// again.
pub(crate) async fn renew<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    commands: &mut Commands,
) -> Result<(), RedisError> {
    let lease = shared.members.lease();
    if !lease.is_empty() && renew_one(shared, commands, &lease, false).await? {
        return Ok(());
    }
    begin(shared, commands).await
}

/// Begins a lease, under which all members enter again. The one before ends when it is not renewed.
pub(crate) async fn begin<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    commands: &mut Commands,
) -> Result<(), RedisError> {
    let lease = format!("{:016x}", rand::random::<u64>());
    renew_one(shared, commands, &lease, true).await?;
    shared.members.set_lease(lease);
    Ok(())
}

async fn renew_one<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    commands: &mut Commands,
    lease: &str,
    begins: bool,
) -> Result<bool, RedisError> {
    let renew = &shared.scripts.renew;
    let time = millis(shared.settings.lease);
    renew.key(shared.keys.leases()).arg(lease).arg(time).arg(u8::from(begins)).run(commands).await
}

/// Renews the lease now and then. Returns the error that ends the link.
pub(crate) async fn keep_lease<R: RoomKey + AsRef<str>>(
    shared: Arc<Shared<R>>,
    mut link: Link,
) -> RedisError {
    loop {
        sleep(shared.settings.heartbeat).await;
        match renew(&shared, &mut link.commands).await {
            Ok(()) => {}
            Err(error) if is_away(&error) => return error,
            Err(error) => shared.report(error),
        }
    }
}

/// Removes the members of nodes that have ended, now and then. Returns the error that ends the link.
pub(crate) async fn sweep<R: RoomKey + AsRef<str>>(shared: Arc<Shared<R>>, mut link: Link) -> RedisError {
    loop {
        // At another time than other nodes, which then find nothing left to do.
        sleep(shared.settings.heartbeat.mul_f64(rand::random_range(0.5..1.0))).await;
        match sweep_all(&shared, &mut link.commands).await {
            Ok(()) => {}
            Err(error) if is_away(&error) => return error,
            Err(error) => shared.report(error),
        }
    }
}

async fn sweep_all<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    commands: &mut Commands,
) -> Result<(), RedisError> {
    let ended = &shared.scripts.ended;
    let leases: Vec<String> = ended.key(shared.keys.leases()).arg(ENDED).run(commands).await?;
    let own = shared.members.lease();
    for lease in leases.iter().filter(|lease| **lease != own) {
        sweep_lease(shared, commands, lease).await?;
    }
    Ok(())
}

/// Removes the members that have entered under a lease.
///
/// Several nodes may do so at once: the script removes each member once, and publishes that once.
/// The lease is removed last, so that another node completes what one has left undone.
async fn sweep_lease<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    commands: &mut Commands,
    lease: &str,
) -> Result<(), RedisError> {
    let set = shared.keys.lease(lease);
    loop {
        let seats: Vec<String> = redis::cmd("SRANDMEMBER").arg(&set).arg(BATCH).query_async(commands).await?;
        if seats.is_empty() {
            break;
        }
        let exits =
            seats.iter().filter_map(|seat| parse_seat(seat)).map(|(member, room)| {
                let mut commands = commands.clone();
                async move {
                    exit(shared, &mut commands, &shared.keys.room(room), &member.to_string(), lease).await
                }
            });
        join_all(exits).await.into_iter().collect::<Result<(), _>>()?;
        redis::cmd("SREM").arg(&set).arg(&seats).exec_async(commands).await?;
    }
    redis::cmd("ZREM").arg(shared.keys.leases()).arg(lease).exec_async(commands).await
}
