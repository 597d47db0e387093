//! How far the log of a room was read, and what is in force there.

use fullduplex::hub::{Position, Stored};
use tokio::time::Instant;

use super::{
    entry::{Change, Entry, Snapshot},
    in_force::InForce,
};

/// After so many entries, one has a snapshot; after more, if the snapshot is larger than they are.
const ENTRIES: usize = 64;

/// After this time in milliseconds, a log that is in use gets a snapshot. Engines remove what is older
/// than 7 days.
const RENEW_AFTER: i64 = 24 * 3600 * 1000;

/// How far the log of a room was read, and what is in force there.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) in_force: InForce,
    /// The last entry that was read, or the place before the first one.
    pub(super) reached: Position,
    /// The entries since the last snapshot.
    entries: usize,
    /// When the entry with that snapshot was published, or the first one.
    since: Option<i64>,
    /// When the last reading began that has reached the end.
    pub(super) read_at: Instant,
}

impl Progress {
    fn new(in_force: InForce, reached: Position, read_at: Instant) -> Self {
        Self { in_force, reached, entries: 0, since: None, read_at }
    }

    /// Takes the next entry.
    pub(super) fn take(&mut self, offset: u64, entry: &Entry) {
        entry.change.apply_to(&mut self.in_force);
        self.reached.offset = offset;
        if entry.before.is_some() || self.since.is_none() {
            self.entries = 0;
            self.since = Some(entry.at);
        }
        self.entries += 1;
    }

    /// Returns the next entry to publish, with a snapshot if one is due.
    pub(super) fn next(&self, change: Change, now: i64) -> Entry {
        let is_due = self.entries >= ENTRIES.max(self.in_force.len()) || change == Change::Renewed;
        // An engine that has lost its log has no other entry with what is in force.
        let is_first = self.entries == 0 && self.in_force != InForce::default();
        let before = (is_due || is_first)
            .then(|| Snapshot { position: self.reached, in_force: self.in_force.clone() });
        Entry { id: format!("{:032x}", rand::random::<u128>()), at: now, change, before }
    }

    /// Returns whether the last snapshot is so old that the engine may soon remove it.
    pub(super) fn is_old(&self, now: i64) -> bool {
        self.since.is_some_and(|since| now - since > RENEW_AFTER) && self.in_force != InForce::default()
    }
}

/// The entries at the end of a log, which is read backward until there is a snapshot, and all entries
/// behind it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The newest one first.
    entries: Vec<(u64, Entry)>,
    snapshot: Option<Snapshot>,
}

impl Tail {
    /// Takes the entry before those that were taken. Returns whether it is needed: no entry before one
    /// that is not needed is.
    pub(super) fn take(&mut self, epoch: u64, stored: &Stored) -> Result<bool, serde_json::Error> {
        // The offsets of another history say nothing about this one. What it had is in the snapshot, and
        // taking entries again that are in it as well leads to the same.
        let covered = self.snapshot.as_ref().filter(|snapshot| snapshot.position.epoch == epoch);
        if covered.is_some_and(|snapshot| stored.offset <= snapshot.position.offset) {
            return Ok(false);
        }
        let entry = Entry::of(stored)?;
        if self.snapshot.is_none() {
            self.snapshot.clone_from(&entry.before);
        }
        self.entries.push((stored.offset, entry));
        Ok(true)
    }

    /// Returns the progress at the end of the log.
    pub(super) fn end(self, epoch: u64, read_at: Instant) -> Progress {
        let in_force = self.snapshot.map(|snapshot| snapshot.in_force).unwrap_or_default();
        let mut progress = Progress::new(in_force, Position { epoch, offset: 0 }, read_at);
        self.entries.iter().rev().for_each(|(offset, entry)| progress.take(*offset, entry));
        progress
    }
}

#[cfg(test)]
mod tests {
    use fullduplex::hub::Publication;

    use super::*;
    use crate::live::control::What;

    const EPOCH: u64 = 7;

    fn mute(number: usize) -> Change {
        let name = format!("student-{number}");
        Change::Decided(What::Mute { id: name.parse().expect("valid"), name: name.parse().expect("valid") })
    }

    fn empty() -> Progress {
        Tail::default().end(EPOCH, Instant::now())
    }

    /// Publishes an entry as the next one of a log.
    fn publish(log: &mut Vec<Stored>, entry: &Entry) -> u64 {
        let offset = log.last().map_or(1, |last| last.offset + 1);
        log.push(Stored { offset, publication: entry.publication().expect("strings") });
        offset
    }

    /// Reads a log from its end. Returns the progress, and how many entries were read.
    fn read(epoch: u64, log: &[Stored]) -> (Progress, usize) {
        let mut tail = Tail::default();
        let read = log.iter().rev().take_while(|stored| tail.take(epoch, stored).expect("entries")).count();
        (tail.end(epoch, Instant::now()), read)
    }

    #[test]
    fn a_log_is_read_back_to_its_last_snapshot() {
        let (mut log, mut progress) = (Vec::new(), empty());
        for number in 0..1000 {
            let entry = progress.next(mute(number % 200), 5);
            progress.take(publish(&mut log, &entry), &entry);
            let (again, read) = read(EPOCH, &log);
            assert_eq!((&again.in_force, again.reached), (&progress.in_force, progress.reached));
            assert!(read <= ENTRIES.max(progress.in_force.len()) + 1, "{read} of {}", log.len());
        }
        let snapshots = log.iter().filter(|stored| Entry::of(stored).expect("valid").before.is_some());
        assert!(snapshots.count() < 10);
    }

    #[test]
    fn what_others_have_published_beside_a_snapshot_counts() {
        let (mut log, mut progress) = (Vec::new(), empty());
        for number in 0..ENTRIES {
            let entry = progress.next(mute(number), 5);
            progress.take(publish(&mut log, &entry), &entry);
        }
        let of_two = [progress.next(mute(100), 5), progress.next(mute(101), 5)];
        assert!(of_two.iter().all(|entry| entry.before.is_some()));
        for entry in &of_two {
            progress.take(publish(&mut log, entry), entry);
        }
        let (again, read) = read(EPOCH, &log);
        assert_eq!((&again.in_force, read), (&progress.in_force, 2));
    }

    #[test]
    fn after_a_loss_the_first_entry_has_all_that_a_node_knew() {
        let mut progress = empty();
        let entry = progress.next(mute(1), 5);
        progress.take(1000, &entry);
        // The engine begins anew, and this node with it.
        let mut lost = read(EPOCH + 1, &[]).0;
        lost.in_force = progress.in_force.clone();
        let restored = lost.next(Change::Restored(progress.in_force.clone()), 5);
        let mut log = Vec::new();
        publish(&mut log, &restored);
        assert_eq!(read(EPOCH + 1, &log).0.in_force, progress.in_force);
        // A node that did not notice has the offset of the old log in its snapshot.
        let unaware = Entry {
            before: Some(Snapshot { position: progress.reached, in_force: progress.in_force }),
            ..restored
        };
        log.clear();
        publish(&mut log, &progress_entry(mute(2)));
        publish(&mut log, &unaware);
        assert_eq!(read(EPOCH + 1, &log).0.in_force.len(), 2);
    }

    fn progress_entry(change: Change) -> Entry {
        empty().next(change, 5)
    }

    #[test]
    fn an_old_snapshot_is_renewed() {
        let mut progress = empty();
        assert!(!progress.is_old(i64::MAX), "nothing is in force");
        let entry = progress.next(mute(1), 5);
        progress.take(1, &entry);
        assert!(!progress.is_old(5 + RENEW_AFTER) && progress.is_old(6 + RENEW_AFTER));
        let renewed = progress.next(Change::Renewed, 6 + RENEW_AFTER);
        assert!(renewed.before.is_some());
        progress.take(2, &renewed);
        assert!(!progress.is_old(7 + RENEW_AFTER));
    }

    #[test]
    fn an_entry_of_another_version_is_an_error() {
        let stored = Stored { offset: 1, publication: Publication::new("no entry") };
        Tail::default().take(EPOCH, &stored).expect_err("another version");
    }
}
