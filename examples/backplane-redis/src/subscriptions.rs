//! The tasks that subscribe rooms, read what is missing, and look for what was not noticed.

use std::{collections::HashSet, future::pending, sync::Arc, time::Duration};

use fullduplex::hub::{BackplaneError, Inbox, RoomKey};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use redis::{Cmd, RedisError};
use tokio::time::sleep;

use crate::{
    history,
    link::{Link, is_away, is_being_moved},
    room::{Next, Room},
    rooms::Changes,
    shards::{OnChannel, Shards},
    shared::Shared,
};

/// The rooms that are subscribed or compared at a time.
const BATCH: usize = 128;

/// The rooms that are read at a time. Each has at most a page of messages in memory.
const READERS: usize = 4;

/// Subscribes and unsubscribes rooms. Returns the error that ends the link.
pub(crate) async fn subscribe<R: RoomKey + AsRef<str>>(shared: Arc<Shared<R>>, mut link: Link) -> RedisError {
    loop {
        let changes = shared.rooms.changes(BATCH).await;
        if let Err(error) = apply(&shared, &mut link, changes).await {
            return error;
        }
    }
}

/// Subscribes all rooms again, over a new connection.
pub(crate) async fn resubscribe<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &mut Link,
) -> Result<(), RedisError> {
    shared.rooms.interrupt();
    while let Some(changes) = shared.rooms.take_changes(BATCH) {
        apply(shared, link, changes).await?;
    }
    Ok(())
}

async fn apply<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &mut Link,
    changes: Changes<R>,
) -> Result<(), RedisError> {
    changes.retired.iter().for_each(|room| room.wait_until_silent());
    let rooms = match &link.shards {
        Some(shards) => apply_to_shards(shards, changes).await?,
        None => {
            let mut pipe = redis::pipe();
            for room in &changes.rooms {
                // One channel in each command, because the library expects one answer.
                pipe.cmd("SUBSCRIBE").arg(&room.keys.channel);
            }
            for channel in &changes.unsubscribed {
                pipe.cmd("UNSUBSCRIBE").arg(channel);
            }
            pipe.exec_async(&mut link.subscriptions).await?;
            changes.rooms
        }
    };
    // Read after the subscription is confirmed: what is published later is received.
    let (open, new): (Vec<_>, Vec<_>) = rooms.into_iter().partition(|room| room.cursor().is_some());
    compare(shared, link, &open).await?;
    let results = join_all(new.iter().map(|room| begin(shared, link, room))).await;
    results.into_iter().collect()
}

/// Subscribes and unsubscribes rooms in a cluster. Returns the rooms that are subscribed. Others are
/// among the next changes.
async fn apply_to_shards<R: RoomKey + AsRef<str>>(
    shards: &Arc<Shards>,
    changes: Changes<R>,
) -> Result<Vec<Arc<Room<R>>>, RedisError> {
    let on_channel = |name: &str, channel: String, is_redirected| {
        let mut command = Cmd::new();
        command.arg(name).arg(&channel);
        OnChannel { channel, command, is_redirected }
    };
    // Before: a subscription may end again as soon as it is confirmed.
    let suspensions: Vec<u64> = changes.rooms.iter().map(|room| room.suspensions()).collect();
    let subscribe =
        changes.rooms.iter().map(|room| on_channel("SSUBSCRIBE", room.keys.channel.clone(), true));
    let unsubscribe =
        changes.unsubscribed.into_iter().map(|channel| on_channel("SUNSUBSCRIBE", channel, false));
    let done: HashSet<String> =
        shards.run(subscribe.chain(unsubscribe).collect()).await?.into_iter().collect();
    let rooms = changes.rooms.into_iter().zip(suspensions);
    let subscribed = rooms.filter(|(room, _)| done.contains(&room.keys.channel));
    let resume = |(room, suspensions): (Arc<Room<R>>, u64)| {
        room.resume(suspensions);
        room
    };
    Ok(subscribed.map(resume).collect())
}

/// Opens a room that is subscribed. Returns an error that ends the link.
async fn begin<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &Link,
    room: &Arc<Room<R>>,
) -> Result<(), RedisError> {
    let mut commands = link.commands.clone();
    match history::open(&mut commands, &shared.scripts, &shared.settings, &room.keys).await {
        Ok(state) => {
            if room.open(Ok(state)) {
                shared.rooms.read(room.clone());
            }
            Ok(())
        }
        Err(error) if is_away(&error) => {
            room.open(Err(BackplaneError::Away));
            shared.rooms.abandon(room);
            Err(error)
        }
        // The hub calls again.
        Err(error) if is_being_moved(&error) => {
            room.open(Err(BackplaneError::Away));
            shared.rooms.abandon(room);
            Ok(())
        }
        Err(error) => {
            room.open(Err(BackplaneError::failed(error)));
            shared.rooms.abandon(room);
            Ok(())
        }
    }
}

/// Compares all rooms with their histories now and then, because published messages may be lost on
/// the way. Returns the error that ends the link.
pub(crate) async fn compare_all<R: RoomKey + AsRef<str>>(
    shared: Arc<Shared<R>>,
    mut link: Link,
    interval: Duration,
) -> RedisError {
    loop {
        sleep(interval).await;
        for rooms in shared.rooms.all().chunks(BATCH) {
            if let Err(error) = compare(&shared, &mut link, rooms).await {
                return error;
            }
        }
    }
}

async fn compare<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &mut Link,
    rooms: &[Arc<Room<R>>],
) -> Result<(), RedisError> {
    let rooms: Vec<_> = rooms.iter().filter_map(|room| Some((room, room.cursor()?))).collect();
    if rooms.is_empty() {
        return Ok(());
    }
    let states = history::states(&link.commands, rooms.iter().map(|(room, _)| &room.keys)).await?;
    // Without this, messages that are on the way would be taken for missing ones.
    link.pass_published().await?;
    for ((room, before), state) in rooms.into_iter().zip(states) {
        if room.compare(before, state) {
            shared.rooms.read(room.clone());
        }
    }
    Ok(())
}

/// Reads rooms that are behind, a step of each in turn. Returns the error that ends the link.
pub(crate) async fn read<R: RoomKey + AsRef<str>>(shared: Arc<Shared<R>>, link: Link) -> RedisError {
    let Some(inbox) = shared.inbox.get() else { return pending().await };
    // The hub may have to send first what was passed before.
    let mut waiting = FuturesUnordered::new();
    let mut reading = FuturesUnordered::new();
    loop {
        tokio::select! {
            room = shared.rooms.next_behind() => {
                if room.start_reading() {
                    waiting.push(keep_up(inbox, room));
                }
            }
            Some(room) = waiting.next(), if reading.len() < READERS => {
                reading.push(read_room(&shared, link.clone(), inbox, room));
            }
            Some(read) = reading.next() => match read {
                Ok(Some(room)) => waiting.push(keep_up(inbox, room)),
                Ok(None) => {}
                Err(error) => return error,
            }
        }
    }
}

async fn keep_up<R: RoomKey>(inbox: &Inbox<R>, room: Arc<Room<R>>) -> Arc<Room<R>> {
    inbox.keep_up(&room.key).await;
    room
}

/// Reads a step of a room. Returns the room if there is more to read, or an error that ends the link.
async fn read_room<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    mut link: Link,
    inbox: &Inbox<R>,
    room: Arc<Room<R>>,
) -> Result<Option<Arc<Room<R>>>, RedisError> {
    match read_step(shared, &mut link, inbox, &room).await {
        Ok(true) => Ok(Some(room)),
        Ok(false) => Ok(None),
        Err(error) if is_away(&error) => Err(error),
        Err(error) => {
            room.stop_reading();
            shared.report(error);
            Ok(None)
        }
    }
}

/// Returns whether there is more to read.
async fn read_step<R: RoomKey + AsRef<str>>(
    shared: &Shared<R>,
    link: &mut Link,
    inbox: &Inbox<R>,
    room: &Room<R>,
) -> Result<bool, RedisError> {
    let Some(from) = room.begin_to_read() else { return Ok(false) };
    let read = history::read_step(&mut link.commands, &shared.scripts, &room.keys, from.offset).await?;
    match room.end_to_read(inbox, from, read) {
        Next::Read => Ok(true),
        Next::Done => Ok(false),
        Next::Fork(epoch) => {
            history::fork(&mut link.commands, &shared.scripts, &room.keys, epoch).await?;
            Ok(true)
        }
    }
}
