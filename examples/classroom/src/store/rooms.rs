//! Rooms, who is restricted in them, and settings.

use rusqlite::{Connection, OptionalExtension, Result};

use crate::{
    auth::Secret,
    values::{Name, ParticipantId, RoomName},
};

const SECRET: &str = "secret";

/// What a student may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Restriction {
    /// Talk.
    Muted,
    /// Enter the room.
    Barred,
}

impl Restriction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Muted => "muted",
            Self::Barred => "barred",
        }
    }
}

/// What a person finds who enters a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoomState {
    /// Whether a teacher has closed the room.
    pub is_closed: bool,
    /// Whether the person may not talk.
    pub is_muted: bool,
    /// Whether the person may not enter.
    pub is_barred: bool,
}

/// A row of `rooms`.
pub(super) struct Room {
    pub(super) id: i64,
    pub(super) epoch: String,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Returns a room, if anything of it is stored.
pub(super) fn find(db: &Connection, name: &RoomName) -> Result<Option<Room>> {
    db.prepare_cached("SELECT id, epoch, first_offset, last_offset FROM rooms WHERE name = ?1")?
        .query_row([name.as_str()], |row| {
            Ok(Room { id: row.get(0)?, epoch: row.get(1)?, first: row.get(2)?, last: row.get(3)? })
        })
        .optional()
}

/// Returns a room, and creates it with a new epoch if it is not stored.
pub(super) fn find_or_create(db: &Connection, name: &RoomName) -> Result<Room> {
    if let Some(room) = find(db, name)? {
        return Ok(room);
    }
    let epoch = new_epoch();
    db.prepare_cached("INSERT INTO rooms (name, epoch) VALUES (?1, ?2)")?.execute((name.as_str(), &epoch))?;
    Ok(Room { id: db.last_insert_rowid(), epoch, first: 1, last: 0 })
}

pub(super) fn restrict(
    db: &Connection,
    room: &RoomName,
    id: &ParticipantId,
    name: &Name,
    restriction: Restriction,
) -> Result<()> {
    let room = find_or_create(db, room)?;
    db.prepare_cached(
        "INSERT INTO restrictions (room, participant, folded_name, kind) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET folded_name = excluded.folded_name",
    )?
    .execute((room.id, id.as_str(), name.folded(), restriction.as_str()))?;
    Ok(())
}

pub(super) fn release(
    db: &Connection,
    room: &RoomName,
    id: &ParticipantId,
    restriction: Restriction,
) -> Result<()> {
    let Some(room) = find(db, room)? else { return Ok(()) };
    // Also what was stored for the same name with an earlier id.
    db.prepare_cached(
        "DELETE FROM restrictions WHERE room = ?1 AND kind = ?3 AND (participant = ?2 OR folded_name IN \
         (SELECT folded_name FROM restrictions WHERE room = ?1 AND kind = ?3 AND participant = ?2))",
    )?
    .execute((room.id, id.as_str(), restriction.as_str()))?;
    Ok(())
}

pub(super) fn state(db: &Connection, room: &RoomName, id: &ParticipantId, name: &Name) -> Result<RoomState> {
    let Some(room) = find(db, room)? else { return Ok(RoomState::default()) };
    let is_closed = db
        .prepare_cached("SELECT closed FROM rooms WHERE id = ?1")?
        .query_row([room.id], |row| row.get(0))?;
    let mut query = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM restrictions WHERE room = ?1 AND kind = ?4 \
         AND (participant = ?2 OR folded_name = ?3))",
    )?;
    let folded = name.folded();
    let mut is_restricted = |restriction: Restriction| {
        query.query_row((room.id, id.as_str(), &folded, restriction.as_str()), |row| row.get(0))
    };
    Ok(RoomState {
        is_closed,
        is_muted: is_restricted(Restriction::Muted)?,
        is_barred: is_restricted(Restriction::Barred)?,
    })
}

pub(super) fn set_closed(db: &Connection, room: &RoomName, closed: bool) -> Result<()> {
    let room = find_or_create(db, room)?;
    db.prepare_cached("UPDATE rooms SET closed = ?2 WHERE id = ?1")?.execute((room.id, closed))?;
    Ok(())
}

/// Deletes the messages of a room, and gives it a new epoch.
pub(super) fn delete_messages(db: &Connection, name: &RoomName) -> Result<()> {
    let Some(room) = find(db, name)? else { return Ok(()) };
    db.prepare_cached("DELETE FROM messages WHERE room = ?1")?.execute([room.id])?;
    db.prepare_cached("UPDATE rooms SET epoch = ?2, first_offset = 1, last_offset = 0 WHERE id = ?1")?
        .execute((room.id, new_epoch()))?;
    Ok(())
}

fn new_epoch() -> String {
    format!("{:016x}", rand::random::<u64>())
}

pub(super) fn secret(db: &Connection) -> Result<Vec<u8>> {
    db.prepare_cached("INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute((SECRET, Secret::random().as_bytes()))?;
    db.prepare_cached("SELECT value FROM settings WHERE name = ?1")?.query_row([SECRET], |row| row.get(0))
}
