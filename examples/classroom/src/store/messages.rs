//! The messages of rooms, by offset.

use rusqlite::{Connection, OptionalExtension, Result, Row, types::Type};

use super::rooms::{self, Room};
use crate::{
    auth::{Identity, Role},
    values::{ClientId, Name, ParticipantId, RoomName, Text},
};

/// The columns of a [`Message`], as [`message`] reads them.
const COLUMNS: &str =
    "offset, client_id, sender, sender_name, sender_role, kind, recipient, recipient_name, timestamp, body";

/// The messages that a person may see: of `?1` the room and `?2` the person; all if that is null.
const VISIBLE: &str =
    "room = ?1 AND (?2 IS NULL OR kind IN ('all', 'others') OR sender = ?2 OR recipient = ?2)";

/// For whom a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Everyone in the room.
    All,
    /// Everyone but the sender, whose page shows the message when it is acknowledged.
    Others,
    /// Only the sender.
    Me,
    /// One person, and the sender.
    One(ParticipantId, Name),
}

impl Audience {
    /// Returns the name of the kind: `all`, `others`, `me` or `one`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Others => "others",
            Self::Me => "me",
            Self::One(..) => "one",
        }
    }

    fn recipient(&self) -> Option<(&str, &str)> {
        match self {
            Self::One(id, name) => Some((id.as_str(), name.as_str())),
            _ => None,
        }
    }
}

/// A message to store.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The room.
    pub room: RoomName,
    /// The id that the page of the sender has given to it.
    pub client_id: ClientId,
    /// Who sends it.
    pub sender: Identity,
    /// For whom it is.
    pub audience: Audience,
    /// The text.
    pub text: Text,
    /// When it was sent, in milliseconds since 1970.
    pub timestamp: i64,
}

/// What was stored, or was stored before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The epoch of the room.
    pub epoch: String,
    /// The offset of the message.
    pub offset: u64,
    /// When the message was sent, or the first with this client id, in milliseconds since 1970.
    pub timestamp: i64,
    /// Whether a message with this client id was stored before.
    pub is_duplicate: bool,
}

/// A message as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The offset in its room, from 1. Later messages have larger ones.
    pub offset: u64,
    /// The id that the page of the sender has given to it.
    pub client_id: ClientId,
    /// The id of the sender.
    pub sender: ParticipantId,
    /// The name of the sender.
    pub sender_name: Name,
    /// The role of the sender.
    pub sender_role: Role,
    /// For whom it is.
    pub audience: Audience,
    /// When it was sent, in milliseconds since 1970.
    pub timestamp: i64,
    /// The text.
    pub text: Text,
}

/// Some messages of a room, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The epoch of the room; empty if nothing of the room is stored.
    pub epoch: String,
    /// The largest offset of the room, also of messages that this person may not see; 0 if there is
    /// none.
    pub last: u64,
    /// The messages, by ascending offset.
    pub messages: Vec<Message>,
    /// Whether there are more, in the direction of the query.
    pub has_more: bool,
    /// Whether messages in that direction were removed, so that the page is not complete.
    pub is_lossy: bool,
}

/// The last message that a page has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The epoch of the room.
    pub epoch: String,
    /// The offset of the message; 0 for none.
    pub offset: u64,
}

/// What a page has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// All that follows, or the first page of it.
    Following(Page),
    /// The history is another one, or the messages that follow were removed: these are the oldest
    /// that are left, or the latest if the history is another one.
    Lost(Page),
}

pub(super) fn append(db: &Connection, keep: u32, new: &NewMessage) -> Result<Appended> {
    let room = rooms::find_or_create(db, &new.room)?;
    if let Some((offset, timestamp)) = known(db, &room, new)? {
        return Ok(Appended { epoch: room.epoch, offset, timestamp, is_duplicate: true });
    }
    let offset = room.last + 1;
    let first = room.first.max((offset + 1).saturating_sub(u64::from(keep)));
    insert(db, &room, new, offset)?;
    db.prepare_cached("DELETE FROM messages WHERE room = ?1 AND offset < ?2")?.execute((room.id, first))?;
    db.prepare_cached("UPDATE rooms SET last_offset = ?2, first_offset = ?3 WHERE id = ?1")?
        .execute((room.id, offset, first))?;
    Ok(Appended { epoch: room.epoch, offset, timestamp: new.timestamp, is_duplicate: false })
}

/// Returns the offset and the time of the message with this client id.
fn known(db: &Connection, room: &Room, new: &NewMessage) -> Result<Option<(u64, i64)>> {
    db.prepare_cached(
        "SELECT offset, timestamp FROM messages WHERE room = ?1 AND sender = ?2 AND client_id = ?3",
    )?
    .query_row((room.id, new.sender.id.as_str(), new.client_id.as_str()), |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
    .optional()
}

fn insert(db: &Connection, room: &Room, new: &NewMessage, offset: u64) -> Result<()> {
    let recipient = new.audience.recipient();
    db.prepare_cached(&format!(
        "INSERT INTO messages (room, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    ))?
    .execute((
        room.id,
        offset,
        new.client_id.as_str(),
        new.sender.id.as_str(),
        new.sender.name.as_str(),
        new.sender.scope.role().as_str(),
        new.audience.kind(),
        recipient.map(|(id, _)| id),
        recipient.map(|(_, name)| name),
        new.timestamp,
        new.text.as_str(),
    ))?;
    Ok(())
}

pub(super) fn before(
    db: &Connection,
    room: &RoomName,
    viewer: Option<&ParticipantId>,
    offset: u64,
    limit: u32,
) -> Result<Page> {
    let Some(room) = rooms::find(db, room)? else { return Ok(Page::default()) };
    // SQLite has signed integers.
    let offset = offset.min(i64::MAX as u64);
    let sql = format!(
        "SELECT {COLUMNS} FROM messages WHERE {VISIBLE} AND offset < ?3 ORDER BY offset DESC LIMIT ?4"
    );
    let (mut messages, has_more) = select(db, &sql, &room, viewer, offset, limit)?;
    messages.reverse();
    let is_lossy = !has_more && room.first > 1;
    Ok(Page { epoch: room.epoch, last: room.last, messages, has_more, is_lossy })
}

pub(super) fn after(
    db: &Connection,
    room: &RoomName,
    viewer: Option<&ParticipantId>,
    offset: u64,
    limit: u32,
) -> Result<Page> {
    let Some(room) = rooms::find(db, room)? else { return Ok(Page::default()) };
    let is_lossy = offset.saturating_add(1) < room.first;
    let offset = offset.min(i64::MAX as u64);
    let sql =
        format!("SELECT {COLUMNS} FROM messages WHERE {VISIBLE} AND offset > ?3 ORDER BY offset LIMIT ?4");
    let (messages, has_more) = select(db, &sql, &room, viewer, offset, limit)?;
    Ok(Page { epoch: room.epoch, last: room.last, messages, has_more, is_lossy })
}

pub(super) fn resume(
    db: &Connection,
    room: &RoomName,
    viewer: Option<&ParticipantId>,
    since: &Since,
    limit: u32,
) -> Result<Resumed> {
    let found = rooms::find(db, room)?;
    let is_same = found.is_some_and(|room| room.epoch == since.epoch && since.offset <= room.last);
    if !is_same {
        // A page that has shown nothing of any history has lost nothing.
        let latest = before(db, room, viewer, u64::MAX, limit)?;
        let had_none = since.offset == 0 && since.epoch.is_empty();
        return Ok(if had_none { Resumed::Following(latest) } else { Resumed::Lost(latest) });
    }
    let page = after(db, room, viewer, since.offset, limit)?;
    Ok(if page.is_lossy { Resumed::Lost(page) } else { Resumed::Following(page) })
}

/// Returns the first `limit` rows, and whether there are more.
fn select(
    db: &Connection,
    sql: &str,
    room: &Room,
    viewer: Option<&ParticipantId>,
    offset: u64,
    limit: u32,
) -> Result<(Vec<Message>, bool)> {
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map((room.id, viewer.map(ParticipantId::as_str), offset, limit + 1), message)?;
    let mut messages = rows.collect::<Result<Vec<_>>>()?;
    let has_more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    Ok((messages, has_more))
}

fn message(row: &Row<'_>) -> Result<Message> {
    Ok(Message {
        offset: row.get(0)?,
        client_id: value(row, 1)?,
        sender: value(row, 2)?,
        sender_name: value(row, 3)?,
        sender_role: role(row, 4)?,
        audience: audience(row)?,
        timestamp: row.get(8)?,
        text: value(row, 9)?,
    })
}

/// Reads a value, which was valid when it was written.
fn value<T>(row: &Row<'_>, column: usize) -> Result<T>
where
    T: std::str::FromStr<Err = crate::values::Invalid>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(column, error))
}

fn role(row: &Row<'_>, column: usize) -> Result<Role> {
    match &*row.get::<_, String>(column)? {
        "teacher" => Ok(Role::Teacher),
        "student" => Ok(Role::Student),
        "admin" => Ok(Role::Admin),
        _ => Err(unreadable(column, UnknownWord)),
    }
}

fn audience(row: &Row<'_>) -> Result<Audience> {
    match &*row.get::<_, String>(5)? {
        "all" => Ok(Audience::All),
        "others" => Ok(Audience::Others),
        "me" => Ok(Audience::Me),
        "one" => Ok(Audience::One(value(row, 6)?, value(row, 7)?)),
        _ => Err(unreadable(5, UnknownWord)),
    }
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// The error of a word that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("an unknown word")]
struct UnknownWord;
