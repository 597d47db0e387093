//! Parts of the history, as one person sees it.

use fullduplex::hub::Position;
use serde::{Deserialize, Serialize};

use super::{backplane, wire::History};
use crate::{
    store::{self, MAX_PAGE, Resumed, Store, StoreError},
    values::{ParticipantId, RoomName},
};

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

/// Returns the history for a page that joins, and the position of the last message in the room, which
/// the page follows from.
pub(super) async fn joined(
    store: &Store,
    room: &RoomName,
    viewer: &ParticipantId,
    since: Option<Since>,
) -> Result<(Joined, Position), StoreError> {
    // An epoch, also for a room that has no messages yet.
    store.position(room.clone()).await?;
    let (direction, page) = match since {
        None => (Direction::Before, store.latest(room.clone(), viewer.clone(), MAX_PAGE).await?),
        Some(Since { epoch, offset }) => {
            let since = store::Since { epoch: epoch.clone(), offset };
            match store.resume(room.clone(), viewer.clone(), since, MAX_PAGE).await? {
                Resumed::Lost(page) if page.epoch != epoch || offset > page.last => {
                    (Direction::Before, store::Page { is_lossy: true, ..page })
                }
                Resumed::Following(page) if page.epoch != epoch => (Direction::Before, page),
                Resumed::Lost(page) | Resumed::Following(page) => (Direction::After, page),
            }
        }
    };
    let epoch = backplane::epoch(&page.epoch).map_err(|error| StoreError::Incompatible(error.to_string()))?;
    let position = Position { epoch, offset: page.last };
    Ok((Joined { direction, history: page.into() }, position))
}
