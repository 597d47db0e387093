//! The history of rooms: publishing and reading.

use fullduplex::hub::{BackplaneError, Page, Position, Publication, Published, RoomKey, Stored};
use futures_util::future::try_join_all;
use redis::{FromRedisValue, RedisError};

use crate::{
    builder::{Settings, millis},
    commands::Commands,
    cursor::{Head, State},
    keys::RoomKeys,
    link::Link,
    scripts::Scripts,
    shared::Shared,
};

/// The most messages that one call reads, whatever was asked for.
const MAX_PAGE: usize = 1000;

/// The messages that are read at a time to pass them.
const STEP: usize = 64;

/// The end of a history, and entries of it.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) state: State,
    pub(crate) entries: Vec<Entry>,
}

/// A message as it is stored.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) head: Head,
    pub(crate) record: Vec<u8>,
}

/// An entry of a stream: its id, and the names and values of its fields.
type RawEntry = (String, Vec<(String, Vec<u8>)>);
type RawState = (Option<String>, Option<u64>, Option<u64>, Option<u64>);

/// Stores a message.
pub(crate) async fn publish<R: RoomKey + AsRef<str>>(
    link: &mut Link,
    shared: &Shared<R>,
    keys: &RoomKeys,
    publication: &Publication,
) -> Result<Published, RedisError> {
    let settings = &shared.settings;
    let publish = &shared.scripts.publish;
    let (epoch, offset, is_known): (String, u64, u8) = publish
        .key(&keys.state)
        .key(&keys.log)
        .key(&keys.ids)
        .arg(publication.to_bytes())
        .arg(u8::from(publication.get_id().is_some()))
        .arg(publication.get_id().unwrap_or_default())
        .arg(new_epoch())
        .arg(settings.max_messages)
        .arg(settings.max_ids())
        .arg(settings.max_age.map_or(0, millis))
        .arg(millis(settings.expire_after))
        .arg(shared.server.publish())
        .arg(&keys.channel)
        .run(&mut link.commands)
        .await?;
    let position = Position { epoch: parse_epoch(&epoch)?, offset };
    Ok(Published { position, duplicate: is_known == 1 })
}

/// Returns the end of a history, which begins if there is none.
pub(crate) async fn open(
    connection: &mut Commands,
    scripts: &Scripts,
    settings: &Settings,
    keys: &RoomKeys,
) -> Result<State, RedisError> {
    let (epoch, offset, stamp): (String, u64, Option<u64>) = scripts
        .open
        .key(&keys.state)
        .key(&keys.log)
        .key(&keys.ids)
        .arg(new_epoch())
        .arg(millis(settings.expire_after))
        .run(connection)
        .await?;
    // Where the epoch begins matters only to those who were there before.
    Ok(State { epoch: parse_epoch(&epoch)?, offset, stamp, base: 0 })
}

/// Gives a history a new epoch in the place of `epoch`.
pub(crate) async fn fork(
    connection: &mut Commands,
    scripts: &Scripts,
    keys: &RoomKeys,
    epoch: u64,
) -> Result<(), RedisError> {
    scripts.fork.key(&keys.state).arg(print_epoch(epoch)).arg(new_epoch()).run(connection).await
}

/// Returns the ends of histories.
pub(crate) async fn states(
    connection: &Commands,
    rooms: impl Iterator<Item = &RoomKeys>,
) -> Result<Vec<Option<State>>, RedisError> {
    // In a cluster, the rooms are on several servers.
    let states = try_join_all(rooms.map(|keys| {
        let mut connection = connection.clone();
        async move {
            let mut command = redis::cmd("HMGET");
            command.arg(&keys.state).arg(&["epoch", "offset", "stamp", "base"]);
            command.query_async(&mut connection).await
        }
    }));
    states.await?.into_iter().map(parse_state).collect()
}

/// Reads messages to pass, from an offset on.
pub(crate) async fn read_step(
    connection: &mut Commands,
    scripts: &Scripts,
    keys: &RoomKeys,
    from: u64,
) -> Result<Option<Read>, RedisError> {
    // One more, because the first one was passed already.
    read(connection, scripts, keys, "XRANGE", &from.to_string(), "+", STEP + 1).await
}

/// Reads messages behind a position.
pub(crate) async fn read_after(
    link: &mut Link,
    scripts: &Scripts,
    keys: &RoomKeys,
    position: Position,
    most: usize,
) -> Result<Page, ReadError> {
    let most = most.min(MAX_PAGE);
    let from = position.offset.saturating_add(1).to_string();
    let read = read(&mut link.commands, scripts, keys, "XRANGE", &from, "+", most.max(1)).await?;
    let Some(Read { state, entries }) = read else { return Err(ReadError::Lost) };
    let is_of_it = position.epoch == state.epoch && (state.base..=state.offset).contains(&position.offset);
    let is_trimmed = position.offset < state.offset
        && entries.first().is_none_or(|first| first.head.offset != position.offset + 1);
    if !is_of_it || is_trimmed {
        return Err(ReadError::Lost);
    }
    // Up to a hole, which an operator may have made.
    let contiguous =
        (position.offset + 1..).zip(&entries).take_while(|(next, entry)| entry.head.offset == *next);
    let count = contiguous.count().min(most);
    let is_last = position.offset + count as u64 == state.offset;
    Ok(Page { epoch: state.epoch, messages: stored(&entries[..count])?, is_last })
}

/// Reads messages before an offset.
pub(crate) async fn read_before(
    link: &mut Link,
    scripts: &Scripts,
    keys: &RoomKeys,
    offset: Option<u64>,
    most: usize,
) -> Result<Page, ReadError> {
    let most = most.min(MAX_PAGE);
    let end = offset.map_or_else(|| "+".into(), |offset| offset.saturating_sub(1).to_string());
    // One more, to learn whether there is one.
    let read = read(&mut link.commands, scripts, keys, "XREVRANGE", &end, "-", most + 1).await?;
    let Some(Read { state, mut entries }) = read else {
        return Ok(Page { epoch: 0, messages: Vec::new(), is_last: true });
    };
    let is_last = entries.len() <= most;
    entries.truncate(most);
    entries.reverse();
    Ok(Page { epoch: state.epoch, messages: stored(&entries)?, is_last })
}

/// Deletes a history.
pub(crate) async fn delete(link: &mut Link, keys: &RoomKeys) -> Result<(), RedisError> {
    redis::cmd("DEL").arg(&keys.state).arg(&keys.log).arg(&keys.ids).exec_async(&mut link.commands).await
}

/// Why a page cannot be returned.
#[derive(Debug)]
pub(crate) enum ReadError {
    Lost,
    Server(RedisError),
}

impl From<RedisError> for ReadError {
    fn from(error: RedisError) -> Self {
        Self::Server(error)
    }
}

impl ReadError {
    pub(crate) fn of(self, link: &Link) -> BackplaneError {
        match self {
            Self::Lost => BackplaneError::Lost,
            Self::Server(error) => link.failed(error),
        }
    }
}

/// Reads the end of a history and entries of it, at one time.
async fn read(
    connection: &mut Commands,
    scripts: &Scripts,
    keys: &RoomKeys,
    command: &str,
    from: &str,
    to: &str,
    count: usize,
) -> Result<Option<Read>, RedisError> {
    let call = scripts.read.key(&keys.state).key(&keys.log).arg(command).arg(from).arg(to).arg(count);
    let (state, entries): (RawState, Vec<RawEntry>) = call.run(connection).await?;
    let Some(state) = parse_state(state)? else { return Ok(None) };
    let entries =
        entries.into_iter().map(|entry| parse_entry(state.epoch, entry)).collect::<Result<_, _>>()?;
    Ok(Some(Read { state, entries }))
}

fn parse_state(raw: RawState) -> Result<Option<State>, RedisError> {
    let (Some(epoch), offset, stamp, base) = raw else { return Ok(None) };
    let (offset, base) = (offset.unwrap_or(0), base.unwrap_or(0));
    Ok(Some(State { epoch: parse_epoch(&epoch)?, offset, stamp, base }))
}

fn parse_entry(epoch: u64, (id, fields): RawEntry) -> Result<Entry, RedisError> {
    let offset = id.split_once('-').and_then(|(offset, _)| offset.parse().ok());
    let (mut stamp, mut record) = (None, None);
    for (name, value) in fields {
        match &*name {
            "t" => stamp = u64::from_redis_value(redis::Value::BulkString(value)).ok(),
            "r" => record = Some(value),
            _ => {}
        }
    }
    match (offset, stamp, record) {
        (Some(offset), Some(stamp), Some(record)) => {
            Ok(Entry { head: Head { epoch, offset, stamp }, record })
        }
        _ => Err(invalid("an entry of a log is not one of this program")),
    }
}

fn stored(entries: &[Entry]) -> Result<Vec<Stored>, RedisError> {
    let decode = |entry: &Entry| {
        let publication = Publication::from_bytes(&entry.record)
            .map_err(|_| invalid("an entry of a log has another version"))?;
        Ok(Stored { offset: entry.head.offset, publication })
    };
    entries.iter().map(decode).collect()
}

fn invalid(what: &'static str) -> RedisError {
    (redis::ErrorKind::UnexpectedReturnType, what).into()
}

/// Returns a random epoch, which is not 0.
fn new_epoch() -> String {
    print_epoch(rand::random_range(1..=u64::MAX))
}

/// In scripts, epochs are text: they do not fit in the numbers of Lua.
fn print_epoch(epoch: u64) -> String {
    format!("{epoch:016x}")
}

fn parse_epoch(text: &str) -> Result<u64, RedisError> {
    u64::from_str_radix(text, 16).map_err(|_| invalid("the epoch of a room is not a number"))
}
