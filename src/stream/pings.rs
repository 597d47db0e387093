//! The pings that the program has sent.

use std::collections::VecDeque;

use tokio::time::Instant;

/// The maximum number of the program's pings that are remembered.
const MAX_PINGS: usize = 32;

/// The program's pings that wait for their pongs, oldest first.
///
/// A peer that answers only the newest of several pings (RFC 6455 section 5.5.3) answers the
/// keep-alive ping by answering a later one of these. At most 32 are kept; beyond that, the oldest
/// is dropped.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "most connections have none, and each holds a place for them")]
pub(super) struct Pings(Option<Box<VecDeque<SentPing>>>);

/// The payload data of a ping, and when it was sent.
type SentPing = (Box<[u8]>, Instant);

impl Pings {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Records a ping that is sent now.
    pub(super) fn sent(&mut self, payload: &[u8]) {
        self.push(payload, Instant::now());
    }

    /// Records a ping that was sent at this time.
    pub(super) fn push(&mut self, payload: &[u8], sent: Instant) {
        self.append([(payload.into(), sent)]);
    }

    /// Adds pings that were sent later.
    pub(super) fn extend(&mut self, later: Self) {
        if let Some(later) = later.0 {
            self.append(*later);
        }
    }

    fn append(&mut self, later: impl IntoIterator<Item = SentPing>) {
        let pings = self.0.get_or_insert_default();
        pings.extend(later);
        pings.drain(..pings.len().saturating_sub(MAX_PINGS));
    }

    /// Removes the ping that this pong answers, and all before it, and returns when it was sent.
    ///
    /// RFC 6455 section 5.5.3: the peer may answer only the most recent ping, so those before it
    /// will not be answered any more.
    pub(super) fn answered(&mut self, payload: &[u8]) -> Option<Instant> {
        let pings = self.0.as_mut()?;
        // The newest of several with the same payload: a peer may have answered only that one.
        let at = pings.iter().rposition(|(ping, _)| **ping == *payload)?;
        let (_, sent) = pings.drain(..=at).next_back()?;
        if pings.is_empty() {
            self.0 = None;
        }
        Some(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_newest_32_pings_are_remembered_and_a_pong_answers_the_older_ones_too() {
        let mut pings = Pings::default();
        for nth in 0..40 {
            pings.sent(&[nth]);
        }
        assert_eq!(pings.answered(&[7]), None, "it has been dropped");
        assert_eq!(pings.answered(&[30]), Some(Instant::now()));
        assert_eq!(pings.answered(&[20]), None);
        assert!(!pings.is_empty());
        assert!(pings.answered(&[39]).is_some() && pings.is_empty());
    }
}
