//! Parts of the history, as one person sees it.

use fullduplex::hub::{BackplaneError, Hub, Page, Position, Stored};
use serde::{Deserialize, Serialize};

use super::{
    backplane,
    publications::{epoch_text, record},
    wire::{History, Message},
};
use crate::{
    store::{self, MAX_PAGE, Resumed, Store, StoreError},
    values::{ParticipantId, RoomName},
};

/// The messages of the hub that are read at a time.
const PAGE: usize = 100;

/// What has the history.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The store, which selects what a person may see.
    Store(Store),
    /// The engine that connects several machines. It does not know of persons, so all messages are
    /// read until there are enough that this person may see.
    Engine,
}

/// Why the history cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] BackplaneError),
}

/// The last message that a page has shown.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Since {
    epoch: String,
    offset: u64,
}

/// In which direction of a position the messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    Before,
    After,
}

/// The history that a page is given when it joins.
#[derive(Debug, Serialize)]
pub(super) struct Joined {
    direction: Direction,
    #[serde(flatten)]
    history: History,
}

/// The history of a room, for one person.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) source: &'a Source,
    pub(super) hub: &'a Hub,
    pub(super) room: &'a RoomName,
    pub(super) viewer: &'a ParticipantId,
}

impl View<'_> {
    /// Returns the history for a page that joins, and the position of the last message in the room,
    /// which the page follows from.
    pub(super) async fn joined(&self, since: Option<Since>) -> Result<(Joined, Position), Unreadable> {
        let (direction, history) = match self.source {
            Source::Store(store) => self.joined_in_store(store, since).await?,
            Source::Engine => self.joined_in_engine(since).await?,
        };
        let position = Position { epoch: backplane::epoch(&history.epoch)?, offset: history.offset };
        Ok((Joined { direction, history }, position))
    }

    /// Returns the last messages before an offset.
    pub(super) async fn before(&self, offset: u64, limit: u32) -> Result<History, Unreadable> {
        match self.source {
            Source::Store(store) => {
                let page = store.before(self.room.clone(), self.viewer.clone(), offset, limit).await?;
                Ok(page.into())
            }
            Source::Engine => self.engine_before(Some(offset), limit).await,
        }
    }

    /// Returns the first messages after an offset.
    pub(super) async fn after(&self, offset: u64, limit: u32) -> Result<History, Unreadable> {
        match self.source {
            Source::Store(store) => {
                let page = store.after(self.room.clone(), self.viewer.clone(), offset, limit).await?;
                Ok(page.into())
            }
            Source::Engine => {
                let last = self.last().await?;
                match self.engine_after(Position { offset, ..last }, limit).await {
                    // From the first that is kept.
                    Err(Unreadable::Engine(BackplaneError::Lost)) if offset <= last.offset => {
                        let first = Position { offset: self.first().await?.saturating_sub(1), ..last };
                        Ok(History { lost: true, ..self.engine_after(first, limit).await? })
                    }
                    history => history,
                }
            }
        }
    }

    async fn joined_in_store(
        &self,
        store: &Store,
        since: Option<Since>,
    ) -> Result<(Direction, History), Unreadable> {
        let (room, viewer) = (self.room.clone(), self.viewer.clone());
        // An epoch, also for a room that has no messages yet.
        store.position(room.clone()).await?;
        let Some(Since { epoch, offset }) = since else {
            return Ok((Direction::Before, store.latest(room, viewer, MAX_PAGE).await?.into()));
        };
        let since = store::Since { epoch: epoch.clone(), offset };
        let (direction, page) = match store.resume(room, viewer, since, MAX_PAGE).await? {
            Resumed::Lost(page) if page.epoch != epoch || offset > page.last => {
                (Direction::Before, store::Page { is_lossy: true, ..page })
            }
            Resumed::Following(page) if page.epoch != epoch => (Direction::Before, page),
            Resumed::Lost(page) | Resumed::Following(page) => (Direction::After, page),
        };
        Ok((direction, page.into()))
    }

    async fn joined_in_engine(&self, since: Option<Since>) -> Result<(Direction, History), Unreadable> {
        let Some(Since { epoch, offset }) = since else {
            return Ok((Direction::Before, self.engine_before(None, MAX_PAGE).await?));
        };
        let last = self.last().await?;
        if epoch == epoch_text(last.epoch) && offset <= last.offset {
            return Ok((Direction::After, self.after(offset, MAX_PAGE).await?));
        }
        // A page that has shown nothing of any history has lost nothing.
        let history = self.engine_before(None, MAX_PAGE).await?;
        let lost = history.lost || offset > 0;
        Ok((Direction::Before, History { lost, ..history }))
    }

    async fn engine_before(&self, offset: Option<u64>, limit: u32) -> Result<History, Unreadable> {
        let (mut cursor, mut messages, mut last) = (offset, Vec::new(), None);
        let more = loop {
            let Page { epoch, messages: read, is_last } = self.read_before(cursor, PAGE).await?;
            last.get_or_insert(Position { epoch, offset: read.last().map_or(0, |stored| stored.offset) });
            cursor = read.first().map(|stored| stored.offset);
            messages.extend(read.into_iter().rev().filter_map(|stored| self.visible(stored)));
            if messages.len() > limit as usize || is_last || cursor.is_none() {
                break messages.len() > limit as usize;
            }
        };
        messages.truncate(limit as usize);
        messages.reverse();
        let last = match (offset, last) {
            (None, Some(last)) => last,
            _ => self.last().await?,
        };
        let lost = !more && self.begins_later(last).await?;
        Ok(History { epoch: epoch_text(last.epoch), offset: last.offset, messages, more, lost })
    }

    async fn engine_after(&self, since: Position, limit: u32) -> Result<History, Unreadable> {
        let (mut cursor, mut messages) = (since, Vec::new());
        let more = loop {
            let page = self.hub.read_after(&self.room.to_string(), cursor, PAGE).await?;
            cursor.offset = page.messages.last().map_or(cursor.offset, |stored| stored.offset);
            messages.extend(page.messages.into_iter().filter_map(|stored| self.visible(stored)));
            if messages.len() > limit as usize || page.is_last {
                break messages.len() > limit as usize;
            }
        };
        messages.truncate(limit as usize);
        // All that was read is in the room; what follows is live, or is asked for.
        let offset = if more { self.last().await?.offset } else { cursor.offset };
        Ok(History { epoch: epoch_text(since.epoch), offset, messages, more, lost: false })
    }

    /// Returns the position of the last message.
    async fn last(&self) -> Result<Position, Unreadable> {
        let page = self.read_before(None, 1).await?;
        Ok(Position { epoch: page.epoch, offset: page.messages.last().map_or(0, |stored| stored.offset) })
    }

    /// Returns the offset of the first message that is kept.
    async fn first(&self) -> Result<u64, Unreadable> {
        let mut first = None;
        loop {
            let page = self.read_before(first, PAGE).await?;
            let Some(stored) = page.messages.first() else { return Ok(first.unwrap_or(1)) };
            first = Some(stored.offset);
            if page.is_last {
                return Ok(stored.offset);
            }
        }
    }

    /// Returns whether messages from the beginning of the history are no longer kept.
    async fn begins_later(&self, last: Position) -> Result<bool, Unreadable> {
        match self.hub.read_after(&self.room.to_string(), Position { offset: 0, ..last }, 1).await {
            Ok(_) => Ok(false),
            Err(BackplaneError::Lost) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn read_before(&self, offset: Option<u64>, most: usize) -> Result<Page, Unreadable> {
        Ok(self.hub.read_before(&self.room.to_string(), offset, most).await?)
    }

    /// Returns a message, if the person may see it.
    fn visible(&self, Stored { offset, publication }: Stored) -> Option<Message> {
        let record = record(publication.message())
            .inspect_err(|error| tracing::error!(%error, offset, "a message cannot be read"))
            .ok()?;
        // Who has sent a message sees it, also one for all others.
        let is_visible = publication.is_for_user(self.viewer.as_str()) || record.from.id == *self.viewer;
        is_visible.then_some(Message { offset, record })
    }
}
