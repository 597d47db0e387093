//! What outlives the process: messages, restrictions and settings, in one SQLite database.
//!
//! SQLite runs on a thread of its own. Jobs reach it by a bounded channel; all that wait are done in
//! one transaction, and answered once it is on the disk.

mod messages;
mod rooms;
mod schema;
mod worker;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use self::worker::{Job, Worker};
pub use self::{
    messages::{Appended, Audience, Message, NewMessage, Page, Resumed, Since},
    rooms::{Restriction, RoomState},
};
use crate::{
    auth::Secret,
    values::{Name, ParticipantId, RoomName},
};

/// The most messages of a page.
pub const MAX_PAGE: u32 = 100;

/// Jobs that wait for the thread; further ones wait for room.
const QUEUE: usize = 1024;

/// Where a store is, and how much it keeps.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file; `None` for a database in memory, which ends with the process.
    pub path: Option<PathBuf>,
    /// Messages that each room keeps, at least 1. Each message beyond that removes the oldest.
    pub keep: u32,
    /// How long to wait for another process that has locked the file.
    pub busy_timeout: Duration,
}

impl Settings {
    /// Creates settings for a file, with a timeout of 2 s.
    pub fn file(path: impl Into<PathBuf>, keep: u32) -> Self {
        Self { path: Some(path.into()), ..Self::memory(keep) }
    }

    /// Creates settings for a database in memory.
    pub fn memory(keep: u32) -> Self {
        Self { path: None, keep, busy_timeout: Duration::from_secs(2) }
    }
}

/// Why a job has failed. Nothing of it was stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// Another process has locked the database.
    #[error("the database is locked by another process")]
    Locked,
    /// The file is no database of this program, or one of a newer version.
    #[error("{0}")]
    Incompatible(String),
    /// The thread of the store has ended.
    #[error("the store has stopped")]
    Stopped,
    /// Another error of SQLite or of the file.
    #[error("{0}")]
    Other(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::NotADatabase) => Self::Incompatible("the file is no SQLite database".into()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// The database. Clones share it.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    keep: u32,
}

impl Store {
    /// Opens the database, or creates it, and starts its thread.
    ///
    /// This blocks. Only the owner of a new file can read it, because it may contain the secret.
    ///
    /// # Errors
    /// Fails if the file cannot be opened, or is not a database of this program.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let connection = match &settings.path {
            Some(path) => open_file(path)?,
            None => Connection::open_in_memory()?,
        };
        connection.busy_timeout(settings.busy_timeout)?;
        Self::start(schema::prepare(connection)?, settings.keep)
    }

    fn start(connection: Connection, keep: u32) -> Result<Self, StoreError> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || Worker::new(connection).run(waiting))
            .map_err(|error| StoreError::Other(error.to_string()))?;
        Ok(Self { jobs, keep: keep.max(1) })
    }

    /// Returns whether the thread runs.
    pub fn is_running(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Stores a message. It is on the disk once this returns.
    ///
    /// A message with the client id of an earlier one of the same sender and room is not stored
    /// again: the offset and the time are those of the first.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// If the future is dropped, the message may have been stored. Storing it again with the same
    /// client id is safe.
    pub async fn append(&self, message: NewMessage) -> Result<Appended, StoreError> {
        self.append_then(message, |_| {}).await
    }

    /// Stores a message as [`append`](Self::append) does, and calls a function once it is on the disk.
    ///
    /// It is called on the thread of the store, in the order of the offsets, and must not wait.
    ///
    /// # Errors
    /// Fails if the database does. The function is not called then.
    ///
    /// # Cancel safety
    /// As that of `append`. If the message is stored, the function is called.
    pub async fn append_then<F>(&self, message: NewMessage, then: F) -> Result<Appended, StoreError>
    where
        F: FnOnce(&Appended) + Send + 'static,
    {
        let keep = self.keep;
        self.run_then(move |db| messages::append(db, keep, &message), then).await
    }

    /// Returns the epoch of a room and its largest offset. Creates a room that is not stored.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room may have been created.
    pub async fn position(&self, room: RoomName) -> Result<(String, u64), StoreError> {
        let find = move |db: &Connection| rooms::find_or_create(db, &room);
        self.run(find).await.map(|room| (room.epoch, room.last))
    }

    /// Deletes the messages of a room. The next one begins a new history.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// If the future is dropped, the messages may have been deleted.
    pub async fn delete(&self, room: RoomName) -> Result<(), StoreError> {
        self.run(move |db| rooms::delete_messages(db, &room)).await
    }

    /// Returns the last messages of a room that a person may see, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn latest(
        &self,
        room: RoomName,
        viewer: ParticipantId,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.before(room, viewer, u64::MAX, limit).await
    }

    /// Returns the last messages before an offset, at most [`MAX_PAGE`]: those that a person may see,
    /// or all.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn before(
        &self,
        room: RoomName,
        viewer: impl Into<Option<ParticipantId>>,
        offset: u64,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let (viewer, limit) = (viewer.into(), limit.clamp(1, MAX_PAGE));
        self.run(move |db| messages::before(db, &room, viewer.as_ref(), offset, limit)).await
    }

    /// Returns the first messages after an offset, at most [`MAX_PAGE`]: those that a person may see,
    /// or all.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn after(
        &self,
        room: RoomName,
        viewer: impl Into<Option<ParticipantId>>,
        offset: u64,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let (viewer, limit) = (viewer.into(), limit.clamp(1, MAX_PAGE));
        self.run(move |db| messages::after(db, &room, viewer.as_ref(), offset, limit)).await
    }

    /// Returns what a page has missed since the last message that it has shown.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn resume(
        &self,
        room: RoomName,
        viewer: ParticipantId,
        since: Since,
        limit: u32,
    ) -> Result<Resumed, StoreError> {
        self.run(move |db| messages::resume(db, &room, Some(&viewer), &since, limit.clamp(1, MAX_PAGE))).await
    }

    /// Restricts a person in a room.
    ///
    /// The restriction applies to the id and to names that look like this one, so that a student
    /// who was removed does not come back with a new ticket and the same name.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// If the future is dropped, the restriction may have been stored.
    pub async fn restrict(
        &self,
        room: RoomName,
        id: ParticipantId,
        name: Name,
        restriction: Restriction,
    ) -> Result<(), StoreError> {
        self.run(move |db| rooms::restrict(db, &room, &id, &name, restriction)).await
    }

    /// Ends a restriction of a person.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// If the future is dropped, the restriction may have ended.
    pub async fn release(
        &self,
        room: RoomName,
        id: ParticipantId,
        restriction: Restriction,
    ) -> Result<(), StoreError> {
        self.run(move |db| rooms::release(db, &room, &id, restriction)).await
    }

    /// Returns whether a room is closed, and how a person is restricted in it.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn room_state(
        &self,
        room: RoomName,
        id: ParticipantId,
        name: Name,
    ) -> Result<RoomState, StoreError> {
        self.run(move |db| rooms::state(db, &room, &id, &name)).await
    }

    /// Closes a room, or opens it again.
    ///
    /// # Errors
    /// Fails if the database does.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room may have been closed or opened.
    pub async fn set_closed(&self, room: RoomName, closed: bool) -> Result<(), StoreError> {
        self.run(move |db| rooms::set_closed(db, &room, closed)).await
    }

    /// Returns the secret that is kept in the database, and creates it if there is none.
    ///
    /// # Errors
    /// Fails if the database does, or if the secret in it is too short.
    ///
    /// # Cancel safety
    /// If the future is dropped, the secret may have been created.
    pub async fn secret(&self) -> Result<Secret, StoreError> {
        let bytes = self.run(rooms::secret).await?;
        Secret::from_bytes(&bytes).map_err(|error| StoreError::Other(error.to_string()))
    }

    /// Runs a job on the thread, and returns its result once it is on the disk.
    async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run_then(work, |_| {}).await
    }

    /// Runs a job, and a function once its result is on the disk, in the order of the jobs.
    async fn run_then<T, F, A>(&self, work: F, then: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = worker::job(work, move |result| {
            _ = result.as_ref().map(then);
            // The caller may have been dropped, which changes nothing.
            let _ = answer.send(result);
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("is_running", &self.is_running()).finish_non_exhaustive()
    }
}

fn open_file(path: &Path) -> Result<Connection, StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| StoreError::Other(error.to_string()))?;
    Ok(Connection::open(path)?)
}

#[cfg(test)]
mod tests;
