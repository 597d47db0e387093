//! The decisions of one room in the history of the hub: read, followed, and published.

use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use fullduplex::hub::{BackplaneError, Held, Hub};
use tokio::{
    sync::{MappedMutexGuard, MutexGuard, Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    DecisionError,
    entry::{Change, Entry},
    in_force::MOST,
    progress::{Progress, Tail},
};
use crate::{
    live::{
        control::{self, What},
        rooms::Rooms,
        wire::now,
    },
    store::RoomState,
    values::{Name, ParticipantId, RoomName},
};

/// The entries that are read at a time.
const PAGE: usize = 100;

/// The pause before a log is read again that could not be.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a call waits for an engine that was not reached yet.
const WAIT: Duration = Duration::from_secs(5);

/// How often the age of the last snapshot is checked.
const CHECK: Duration = Duration::from_secs(3600);

/// The log of a room, which is followed until this is dropped.
///
/// ```text
///   decide ──▶ publish ──▶ history ──▶ read ──▶ what is in force ──▶ connections of this node
///                             ▲          │
///                             │          └── by who asks, and by the task when an entry has arrived
///                             └── other nodes
/// ```
pub(super) struct Log {
    hub: Hub,
    rooms: Arc<Rooms>,
    room: RoomName,
    key: String,
    /// `None` until it was read. Locked while it is read, so that the entries are applied in order.
    progress: tokio::sync::Mutex<Option<Progress>>,
    /// What is called before an entry of this node is applied to connections, by its id.
    before_applied: Mutex<HashMap<String, BeforeApplied>>,
    /// Whether the hub passes what arrives.
    is_held: watch::Sender<bool>,
    task: OnceLock<AbortHandle>,
}

pub(super) type BeforeApplied = Box<dyn FnOnce() + Send>;

/// Returns the key of the room in the hub that has the decisions of a room. It is not the name of any:
/// names do not begin with a space.
pub(super) fn key(room: &RoomName) -> String {
    format!(" decisions of {room}")
}

/// Returns whether a key in the hub is that of decisions.
pub(in crate::live) fn is_key(key: &str) -> bool {
    key.starts_with(' ')
}

impl Log {
    /// Begins to follow the log of a room. `back` is notified when the engine can be reached again.
    pub(super) fn follow(hub: &Hub, rooms: &Arc<Rooms>, back: &Arc<Notify>, room: &RoomName) -> Arc<Self> {
        let log = Arc::new(Self {
            hub: hub.clone(),
            rooms: rooms.clone(),
            room: room.clone(),
            key: key(room),
            progress: tokio::sync::Mutex::new(None),
            before_applied: Mutex::default(),
            is_held: watch::Sender::new(false),
            task: OnceLock::new(),
        });
        let following = follow(Arc::downgrade(&log), hub.clone(), log.key.clone(), back.clone());
        log.task.get_or_init(|| tokio::spawn(following).abort_handle());
        log
    }

    /// Returns how a person finds the room, by all that was decided before this call.
    pub(super) async fn state(&self, id: &ParticipantId, name: &Name) -> Result<RoomState, DecisionError> {
        Ok(self.read().await?.in_force.state(id, name))
    }

    /// Publishes a decision, and applies it. The function is called before that.
    pub(super) async fn decide(&self, what: What, before: BeforeApplied) -> Result<(), DecisionError> {
        let entry = {
            let progress = self.read().await?;
            if progress.in_force.is_full_for(&what) {
                return Err(DecisionError::Full(MOST));
            }
            progress.next(Change::Decided(what), now())
        };
        self.lock_before_applied().insert(entry.id.clone(), before);
        let _forgotten = Forgotten(self, &entry.id);
        self.publish(&entry).await?;
        // It is decided, whether it can be read now or later.
        match self.read().await {
            Ok(_progress) => {}
            Err(error) => tracing::warn!(%error, room = %self.room, "a decision is applied later"),
        }
        Ok(())
    }

    /// Reads what is new, and publishes a snapshot if the last one is old.
    async fn refresh(&self) -> Result<(), DecisionError> {
        let renewed = {
            let progress = self.read().await?;
            progress.is_old(now()).then(|| progress.next(Change::Renewed, now()))
        };
        match renewed {
            Some(entry) => self.publish(&entry).await,
            None => Ok(()),
        }
    }

    /// Reads up to the end of the log as it is when this is called, or later.
    async fn read(&self) -> Result<MappedMutexGuard<'_, Progress>, DecisionError> {
        let asked = Instant::now();
        // A program that has just started may not have reached the engine yet.
        let mut is_held = self.is_held.subscribe();
        if !matches!(timeout(WAIT, is_held.wait_for(|held| *held)).await, Ok(Ok(_))) {
            return Err(BackplaneError::Away.into());
        }
        let mut progress = self.progress.lock().await;
        let Some(known) = &mut *progress else {
            let read = self.read_all().await?;
            return Ok(MutexGuard::map(progress, |progress| progress.insert(read)));
        };
        // Unless another call has begun to read since.
        if known.read_at <= asked {
            let began = Instant::now();
            match self.read_new(known).await {
                Err(DecisionError::Engine(BackplaneError::Lost)) => self.read_again(known).await?,
                read => read?,
            }
            known.read_at = began;
        }
        Ok(MutexGuard::map(progress, |progress| progress.as_mut().expect("it was read")))
    }

    /// Reads behind what was read, and applies it.
    async fn read_new(&self, progress: &mut Progress) -> Result<(), DecisionError> {
        loop {
            let page = self.hub.read_after(&self.key, progress.reached, PAGE).await?;
            for stored in &page.messages {
                let entry = Entry::of(stored).map_err(DecisionError::Unreadable)?;
                self.take(progress, stored.offset, &entry);
            }
            if page.is_last {
                return Ok(());
            }
            if page.messages.is_empty() {
                // It is being published.
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Reads the log from its end back to its last snapshot.
    async fn read_all(&self) -> Result<Progress, DecisionError> {
        let began = Instant::now();
        let (mut tail, mut before, mut epoch) = (Tail::default(), None, None);
        loop {
            let page = self.hub.read_before(&self.key, before, PAGE).await?;
            let epoch = *epoch.get_or_insert(page.epoch);
            let mut is_needed = true;
            for stored in page.messages.iter().rev() {
                is_needed = is_needed && tail.take(epoch, stored).map_err(DecisionError::Unreadable)?;
            }
            before = page.messages.first().map(|stored| stored.offset);
            if page.is_last || !is_needed || before.is_none() {
                return Ok(tail.end(epoch, began));
            }
        }
    }

    /// Reads the log from its end, because it does not continue behind what was read.
    async fn read_again(&self, progress: &mut Progress) -> Result<(), DecisionError> {
        let mut new = self.read_all().await?;
        let (old, at) = (&progress.in_force, progress.reached);
        let has_lost = new.reached.epoch != at.epoch || new.reached.offset < at.offset;
        let logged = new.in_force.clone();
        if has_lost {
            new.in_force.add(old);
        }
        let changes = old.changes_to(&new.in_force);
        if new.in_force != logged {
            tracing::error!(room = %self.room, "the engine has lost what was decided: it is published again");
            self.publish_in_task(new.next(Change::Restored(new.in_force.clone()), now()));
        }
        *progress = new;
        changes.iter().for_each(|what| control::apply(&self.rooms, &self.room, what));
        Ok(())
    }

    fn take(&self, progress: &mut Progress, offset: u64, entry: &Entry) {
        let changes = match &entry.change {
            Change::Decided(what) => vec![what.clone()],
            Change::Restored(other) => progress.in_force.changes_by(other),
            Change::Renewed => Vec::new(),
        };
        progress.take(offset, entry);
        if let Some(call) = self.lock_before_applied().remove(&entry.id) {
            call();
        }
        changes.iter().for_each(|what| control::apply(&self.rooms, &self.room, what));
    }

    async fn publish(&self, entry: &Entry) -> Result<(), DecisionError> {
        let publication = entry.publication().map_err(DecisionError::NotWritten)?;
        self.hub.publish(&self.key, publication).await?;
        Ok(())
    }

    fn publish_in_task(&self, entry: Entry) {
        let (hub, key) = (self.hub.clone(), self.key.clone());
        tokio::spawn(async move {
            let published = match entry.publication() {
                Ok(publication) => hub.publish(&key, publication).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = published {
                tracing::error!(error, key, "what the engine has lost is not published again");
            }
        });
    }

    fn lock_before_applied(&self) -> std::sync::MutexGuard<'_, HashMap<String, BeforeApplied>> {
        self.before_applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the log whenever something has arrived, until it is dropped.
async fn follow(log: Weak<Log>, hub: Hub, key: String, back: Arc<Notify>) {
    let mut held = hold(&hub, &key).await;
    loop {
        let mut is_back = pin!(back.notified());
        is_back.as_mut().enable();
        let Some(log) = log.upgrade() else { return };
        log.is_held.send_replace(true);
        let refreshed = log.refresh().await;
        drop(log);
        if let Err(error) = refreshed {
            // While the engine is away, which is logged by others, nothing can be read.
            if !matches!(error, DecisionError::Engine(BackplaneError::Away)) {
                tracing::error!(%error, key, "what is decided is not known");
            }
            sleep(PAUSE).await;
            continue;
        }
        tokio::select! {
            _position = held.arrived() => {}
            () = is_back => {}
            () = sleep(CHECK) => {}
        }
    }
}

async fn hold(hub: &Hub, key: &String) -> Held<String> {
    loop {
        match hub.hold(key).await {
            Ok(held) => return held,
            Err(error) => tracing::error!(%error, key, "what is decided is not followed"),
        }
        sleep(PAUSE).await;
    }
}

/// Removes what would be called, when a call has ended.
struct Forgotten<'a>(&'a Log, &'a str);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.0.lock_before_applied().remove(self.1);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("room", &self.room).finish_non_exhaustive()
    }
}
