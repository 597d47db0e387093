//! What the log of a room has: decisions, each once, and now and then all that was in force before.

use fullduplex::{
    JsonError, Message,
    hub::{Position, Publication, Stored},
};
use serde::{Deserialize, Serialize};

use super::{super::control::What, in_force::InForce};

/// An entry of the log of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Identifies it: an entry that is published twice is stored once.
    pub(super) id: String,
    /// When it was published, in milliseconds since 1970.
    pub(super) at: i64,
    pub(super) change: Change,
    /// What was in force before: entries up to its position are not needed any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Snapshot>,
}

/// What an entry changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// A teacher or an administrator has decided something.
    Decided(What),
    /// The engine has lost a part of the log that a node still knew: this is in force as well.
    Restored(InForce),
    /// Nothing. The entry has a snapshot, because the last one is old.
    Renewed,
}

/// All that was in force at a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    #[serde(with = "position")]
    pub(super) position: Position,
    pub(super) in_force: InForce,
}

impl Entry {
    /// Returns the publication of the entry.
    pub(super) fn publication(&self) -> Result<Publication, JsonError> {
        Ok(Publication::new(Message::json(self)?).id(&*self.id))
    }

    /// Returns a stored entry.
    pub(super) fn of(stored: &Stored) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(stored.publication.message().as_bytes())
    }
}

impl Change {
    /// Applies the change.
    pub(super) fn apply_to(&self, in_force: &mut InForce) {
        match self {
            Self::Decided(what) => in_force.apply(what),
            Self::Restored(other) => in_force.add(other),
            Self::Renewed => {}
        }
    }
}

/// A position as text.
mod position {
    use std::borrow::Cow;

    use fullduplex::hub::{InvalidId, Position};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(position: &Position, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(position)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Position, D::Error> {
        let text: Cow<'de, str> = Cow::deserialize(from)?;
        text.parse().map_err(|invalid: InvalidId| D::Error::custom(invalid))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_stored_as_json_that_can_be_read_again() {
        let value = json!({
            "id": "7", "at": 5,
            "change": {"decided": {"remove": {"id": "bob", "name": "Bob", "by": "Tess"}}},
            "before": {"position": "ab-11", "in_force": {
                "closed_by": null,
                "restricted": [{"id": "eve", "name": "Eve", "removed_by": null}],
            }},
        });
        let entry: Entry = serde_json::from_value(value.clone()).expect("valid");
        assert_eq!(entry.before.as_ref().expect("there").position, Position { epoch: 0xAB, offset: 0x11 });
        let publication = entry.publication().expect("strings");
        assert_eq!(publication.get_id(), Some("7"));
        let stored = Stored { offset: 1, publication };
        assert_eq!(Entry::of(&stored).expect("valid"), entry);
        assert_eq!(serde_json::to_value(&entry).expect("strings"), value);
    }

    #[test]
    fn what_another_version_has_written_is_an_error() {
        for text in [r#"{"id": "7", "at": 5, "change": {"decided": {"dance": {}}}}"#, "no entry"] {
            let stored = Stored { offset: 1, publication: Publication::new(text) };
            Entry::of(&stored).expect_err(text);
        }
    }
}
