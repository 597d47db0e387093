//! Recovery of a socket whose connection was lost: its id, its rooms, and what it has missed.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fullduplex::{
    Message, PreparedMessage,
    hub::{Position, Publication},
};
use serde::{Deserialize, Serialize};

use super::{auth::Auth, io::Inner, room::Hub};
use crate::engine::Sid;

/// What a client names to be recovered, beside its own `auth`.
#[derive(Deserialize)]
struct Asked {
    pid: String,
    offset: String,
}

/// A socket whose connection was lost, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    sid: String,
    rooms: Vec<String>,
    /// The position at which it connected first: what precedes it was never for the client.
    from: String,
    /// Until when it may be recovered, in milliseconds since 1970.
    until: u64,
    /// The id of what is stored behind it by the one who recovers it.
    claim: String,
}

/// A socket that is recovered.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) sid: Sid,
    pub(super) pid: Sid,
    pub(super) rooms: Vec<String>,
    /// The last event that the client has received.
    pub(super) position: Position,
    /// The position at which it connected first.
    pub(super) from: Position,
}

/// What a socket needs to be recovered later.
#[derive(Debug)]
pub(super) struct Private {
    /// The id that only the client and the server know.
    pub(super) pid: Sid,
    pub(super) is_recovered: bool,
    /// The position at which it connected first, once it has.
    pub(super) from: OnceLock<Position>,
}

/// Adds the position of a stored event as its last argument, for the client to name.
pub(super) fn with_offset(position: Position, message: &Message) -> PreparedMessage {
    let event = message.as_text().and_then(|text| text.strip_suffix(']'));
    // Only events are stored for members: each ends its array.
    event.map_or_else(|| message.clone().into(), |event| format!("{event},\"{position}\"]").into())
}

/// Returns the key of the room whose history has a lost socket. No namespace has such a name.
fn key(namespace: &str, pid: Sid) -> String {
    format!(",lost,{namespace},{pid}")
}

/// Stores a socket whose connection was lost.
///
/// It is best effort: if the backplane fails, the client connects as a new one.
pub(super) async fn store(io: &Inner, namespace: &str, sid: Sid, private: &Private, rooms: Vec<String>) {
    let (Some(time), Some(from)) = (io.recovery(), private.from.get()) else { return };
    let until = now().saturating_add(milliseconds(time));
    let (sid, from, claim) = (sid.to_string(), from.to_string(), Sid::random().to_string());
    if let Ok(json) = serde_json::to_string(&Stored { sid, rooms, from, until, claim }) {
        let _ = io.hub().publish(&key(namespace, private.pid), json).await;
    }
}

/// Finds the lost socket that a client names, and takes it: it is recovered once. Returns `None` if the
/// client names none, if it is too late, or if events that it has missed no longer exist.
pub(super) async fn restore(io: &Inner, namespace: &str, auth: &Auth) -> Option<Restored> {
    io.recovery()?;
    let asked: Asked = auth.parse().ok()?;
    let (pid, position): (_, Position) = (Sid::parse(&asked.pid)?, asked.offset.parse().ok()?);
    let (hub, key): (&Hub, _) = (io.hub(), key(namespace, pid));
    let page = hub.read_before(&key, None, 1).await.ok()?;
    let last = page.messages.last()?.publication.message().as_text()?;
    // Behind one that was taken is no JSON.
    let stored: Stored = serde_json::from_str(last).ok()?;
    let (sid, from): (_, Position) = (Sid::parse(&stored.sid)?, stored.from.parse().ok()?);
    if stored.until < now() || position.epoch != from.epoch || position.offset < from.offset {
        return None;
    }
    hub.read_after(namespace, position, 1).await.ok()?;
    // The same id is stored once, whoever asks on which node.
    let claim = Publication::new("taken").id(stored.claim);
    let claimed = hub.publish(&key, claim).await.ok()?;
    (!claimed.duplicate).then_some(Restored { sid, pid, rooms: stored.rooms, position, from })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_the_last_argument() {
        let position = Position { epoch: 0xAB, offset: 17 };
        for (event, expected) in
            [(r#"42["a"]"#, r#"42["a","ab-11"]"#), (r#"451-/c,["a",[1]]"#, r#"451-/c,["a",[1],"ab-11"]"#)]
        {
            assert_eq!(with_offset(position, &event.into()), PreparedMessage::new(expected));
        }
    }
}
