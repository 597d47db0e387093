//! The store as its callers see it.

use std::path::Path;

use super::*;
use crate::{
    auth::{Identity, Scope},
    values::{ClientId, Text},
};

mod killed;

const KEEP: u32 = 1000;

fn room(name: &str) -> RoomName {
    name.parse().expect("valid")
}

fn id(id: &str) -> ParticipantId {
    id.parse().expect("valid")
}

fn name(name: &str) -> Name {
    name.parse().expect("valid")
}

fn person(who: &str) -> Identity {
    Identity { id: id(who), name: name(who), scope: Scope::Student(room("maths")) }
}

fn message(sender: &str, client_id: &str, text: &str) -> NewMessage {
    NewMessage {
        room: room("maths"),
        client_id: client_id.parse::<ClientId>().expect("valid"),
        sender: person(sender),
        audience: Audience::All,
        text: text.parse::<Text>().expect("valid"),
        timestamp: 1_700_000_000_000,
    }
}

fn to(audience: Audience, message: NewMessage) -> NewMessage {
    NewMessage { audience, ..message }
}

fn store(keep: u32) -> Store {
    Store::open(&Settings::memory(keep)).expect("opens")
}

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(&Settings { busy_timeout: Duration::from_millis(50), ..Settings::file(path, KEEP) })
}

async fn fill(store: &Store, count: u64) {
    for number in 1..=count {
        let stored = store.append(message("ann", &number.to_string(), &number.to_string())).await;
        assert_eq!(stored.expect("stored").offset, number);
    }
}

fn offsets(page: &Page) -> Vec<u64> {
    page.messages.iter().map(|message| message.offset).collect()
}

fn texts(page: &Page) -> Vec<&str> {
    page.messages.iter().map(|message| message.text.as_str()).collect()
}

#[tokio::test]
async fn a_message_is_returned_as_it_was_stored() {
    let store = store(KEEP);
    let new = to(Audience::One(id("bob"), name("Bob")), message("ann", "c1", "a\n<b>ü😀"));
    let stored = store.append(new).await.expect("stored");
    let page = store.latest(room("maths"), id("bob"), 10).await.expect("read");
    assert_eq!((page.epoch.as_str(), page.last), (stored.epoch.as_str(), 1));
    let [found] = &page.messages[..] else { panic!("{page:?}") };
    assert_eq!((found.offset, found.timestamp), (stored.offset, stored.timestamp));
    assert_eq!((found.sender.as_str(), found.sender_name.as_str()), ("ann", "ann"));
    assert_eq!((found.sender_role, found.client_id.as_str()), (crate::auth::Role::Student, "c1"));
    assert_eq!(found.audience, Audience::One(id("bob"), name("Bob")));
    assert_eq!(found.text.as_str(), "a\n<b>ü😀");
}

#[tokio::test]
async fn each_room_has_offsets_and_an_epoch_of_its_own() {
    let store = store(KEEP);
    let maths = store.append(message("ann", "1", "a")).await.expect("stored");
    let art = NewMessage { room: room("art"), ..message("ann", "1", "a") };
    let art = store.append(art).await.expect("stored");
    assert_eq!((maths.offset, art.offset), (1, 1));
    assert_ne!(maths.epoch, art.epoch);
    assert_eq!(store.latest(room("none"), id("ann"), 10).await.expect("read"), Page::default());
}

#[tokio::test]
async fn the_same_client_id_is_stored_once_for_each_sender() {
    let store = store(KEEP);
    let first = store.append(message("ann", "c", "first")).await.expect("stored");
    let again = store.append(message("ann", "c", "second")).await.expect("known");
    assert_eq!(again, Appended { is_duplicate: true, ..first.clone() });
    let other = store.append(message("bob", "c", "third")).await.expect("stored");
    assert_eq!((other.offset, other.is_duplicate), (2, false));
    let page = store.latest(room("maths"), id("ann"), 10).await.expect("read");
    assert_eq!(texts(&page), ["first", "third"]);
}

#[tokio::test]
async fn the_same_client_id_at_once_is_stored_once() {
    let store = store(KEEP);
    let all: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.append(message("ann", "c", "a")).await.expect("stored") })
        })
        .collect();
    let mut first = 0;
    for appended in all {
        let appended = appended.await.expect("no panic");
        assert_eq!(appended.offset, 1);
        first += u32::from(!appended.is_duplicate);
    }
    assert_eq!(first, 1);
}

#[tokio::test]
async fn pages_are_bounded_in_both_directions() {
    let store = store(KEEP);
    fill(&store, 250).await;
    let page = |offset| store.before(room("maths"), id("ann"), offset, 1000);
    let latest = store.latest(room("maths"), id("ann"), 1000).await.expect("read");
    assert_eq!((offsets(&latest), latest.has_more), ((151..=250).collect(), true));
    let older = page(151).await.expect("read");
    assert_eq!((offsets(&older), older.has_more), ((51..=150).collect(), true));
    let oldest = page(51).await.expect("read");
    assert_eq!((offsets(&oldest), oldest.has_more, oldest.is_lossy), ((1..=50).collect(), false, false));
    let after = store.after(room("maths"), id("ann"), 240, 5).await.expect("read");
    assert_eq!((offsets(&after), after.has_more, after.last), ((241..=245).collect(), true, 250));
    let rest = store.after(room("maths"), id("ann"), 245, 5).await.expect("read");
    assert_eq!((offsets(&rest), rest.has_more), ((246..=250).collect(), false));
    assert!(offsets(&page(0).await.expect("read")).is_empty());
    let none = store.after(room("maths"), id("ann"), u64::MAX, 5).await.expect("read");
    assert!(offsets(&none).is_empty());
}

#[tokio::test]
async fn messages_are_seen_by_their_audience_alone() {
    let store = store(KEEP);
    for (number, audience) in
        [Audience::All, Audience::Others, Audience::Me, Audience::One(id("bob"), name("Bob"))]
            .into_iter()
            .enumerate()
    {
        let text = audience.kind().to_owned();
        let new = to(audience, message("ann", &number.to_string(), &text));
        store.append(new).await.expect("stored");
    }
    for (viewer, seen) in [
        ("ann", &["all", "others", "me", "one"][..]),
        ("bob", &["all", "others", "one"]),
        ("eve", &["all", "others"]),
    ] {
        let page = store.latest(room("maths"), id(viewer), 10).await.expect("read");
        assert_eq!((texts(&page), page.last), (seen.to_vec(), 4), "{viewer}");
        let page = store.after(room("maths"), id(viewer), 0, 10).await.expect("read");
        assert_eq!(texts(&page), seen, "{viewer}");
    }
}

#[tokio::test]
async fn what_is_no_longer_kept_is_said_to_be_lost() {
    let store = store(3);
    fill(&store, 10).await;
    let latest = store.latest(room("maths"), id("ann"), 10).await.expect("read");
    assert_eq!((offsets(&latest), latest.has_more, latest.is_lossy), (vec![8, 9, 10], false, true));
    for (offset, is_lossy) in [(6, true), (7, false), (10, false)] {
        let page = store.after(room("maths"), id("ann"), offset, 10).await.expect("read");
        assert_eq!(page.is_lossy, is_lossy, "{offset}");
    }
}

#[tokio::test]
async fn a_page_resumes_where_it_was_or_learns_that_it_cannot() {
    let store = store(5);
    fill(&store, 8).await;
    let epoch = store.latest(room("maths"), id("ann"), 1).await.expect("read").epoch;
    let resume = async |epoch: &str, offset| {
        let since = Since { epoch: epoch.to_owned(), offset };
        store.resume(room("maths"), id("ann"), since, 10).await.expect("read")
    };
    for (offset, following) in [(3, vec![4, 5, 6, 7, 8]), (7, vec![8]), (8, vec![])] {
        let Resumed::Following(page) = resume(&epoch, offset).await else { panic!("{offset}") };
        assert_eq!(offsets(&page), following);
    }
    // Removed; of a later time than this history; of another history.
    for (epoch, offset) in [(epoch.as_str(), 2), (&epoch, 9), ("another", 7), ("another", 0)] {
        let Resumed::Lost(page) = resume(epoch, offset).await else { panic!("{epoch} {offset}") };
        assert_eq!(offsets(&page), [4, 5, 6, 7, 8]);
    }
    let Resumed::Following(page) = resume("", 0).await else { panic!("nothing was lost") };
    assert_eq!(offsets(&page), [4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn restrictions_apply_to_the_id_and_to_the_name() {
    let store = store(KEEP);
    let state = async |who: &str, called: &str| {
        store.room_state(room("maths"), id(who), name(called)).await.expect("read")
    };
    assert_eq!(state("1", "Bob").await, RoomState::default());
    let restrict = async |who, called, restriction| {
        store.restrict(room("maths"), id(who), name(called), restriction).await.expect("stored");
    };
    restrict("1", "Bob", Restriction::Muted).await;
    restrict("1", "Bob", Restriction::Barred).await;
    restrict("1", "Bob", Restriction::Barred).await;
    for (who, called, expected) in
        [("1", "Bob", true), ("1", "Rob", true), ("2", "BOB", true), ("2", "Rob", false)]
    {
        let state = state(who, called).await;
        assert_eq!((state.is_barred, state.is_muted), (expected, expected), "{who} {called}");
    }
    let other = store.room_state(room("art"), id("1"), name("Bob")).await.expect("read");
    assert_eq!(other, RoomState::default());
    store.release(room("maths"), id("1"), Restriction::Muted).await.expect("stored");
    let state = state("1", "Bob").await;
    assert_eq!((state.is_barred, state.is_muted), (true, false));
}

#[tokio::test]
async fn a_closed_room_can_be_opened_again() {
    let store = store(KEEP);
    let is_closed =
        async || store.room_state(room("maths"), id("1"), name("Bob")).await.expect("read").is_closed;
    for closed in [true, true, false] {
        store.set_closed(room("maths"), closed).await.expect("stored");
        assert_eq!(is_closed().await, closed);
    }
}

#[tokio::test]
async fn all_outlives_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.sqlite");
    let (secret, epoch) = {
        let store = open(&path).expect("created");
        fill(&store, 3).await;
        store.set_closed(room("maths"), true).await.expect("stored");
        let epoch = store.latest(room("maths"), id("ann"), 1).await.expect("read").epoch;
        (store.secret().await.expect("created"), epoch)
    };
    let store = open(&path).expect("opened");
    assert_eq!(store.secret().await.expect("kept").as_bytes(), secret.as_bytes());
    let page = store.latest(room("maths"), id("ann"), 10).await.expect("read");
    assert_eq!((offsets(&page), page.epoch), (vec![1, 2, 3], epoch));
    assert!(store.append(message("ann", "2", "again")).await.expect("known").is_duplicate);
    assert!(store.room_state(room("maths"), id("1"), name("Bob")).await.expect("read").is_closed);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.sqlite");
    let store = open(&path).expect("created");
    fill(&store, 1).await;
    for entry in std::fs::read_dir(directory.path()).expect("readable") {
        let entry = entry.expect("readable");
        let mode = entry.metadata().expect("readable").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{entry:?}");
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_what_is_stored_can_be_read() {
    let connection = schema::prepare(Connection::open_in_memory().expect("open")).expect("prepared");
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("a number");
    // SQLite answers beyond this as it does when a write finds no room.
    connection.pragma_update(None, "max_page_count", pages + 4).expect("set");
    let store = Store::start(connection, KEEP).expect("started");
    let long = "a".repeat(1000);
    let mut stored = 0;
    let error = loop {
        match store.append(message("ann", &stored.to_string(), &long)).await {
            Ok(appended) => {
                stored += 1;
                assert_eq!(appended.offset, stored);
            }
            Err(error) => break error,
        }
        assert!(stored < 100, "never full");
    };
    assert!(matches!(error, StoreError::Full), "{error}");
    assert!(stored > 0);
    let page = store.latest(room("maths"), id("ann"), 100).await.expect("read");
    assert_eq!(page.messages.len() as u64, stored);
    assert!(store.is_running());
}

#[tokio::test]
async fn a_batch_that_finds_no_room_fails_alone() {
    let connection = schema::prepare(Connection::open_in_memory().expect("open")).expect("prepared");
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("a number");
    connection.pragma_update(None, "max_page_count", pages + 4).expect("set");
    let store = Store::start(connection, KEEP).expect("started");
    let long = "a".repeat(1000);
    let all: Vec<_> = (0..60)
        .map(|number| {
            let (store, new) = (store.clone(), message("ann", &number.to_string(), &long));
            tokio::spawn(async move { store.append(new).await })
        })
        .collect();
    let (mut stored, mut refused) = (Vec::new(), 0);
    for appended in all {
        match appended.await.expect("no panic") {
            Ok(appended) => stored.push(appended.offset),
            Err(StoreError::Full) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    stored.sort_unstable();
    let page = store.latest(room("maths"), id("ann"), 100).await.expect("read");
    assert_eq!(offsets(&page), stored, "exactly what was acknowledged is stored");
    assert!(refused > 0);
}

#[tokio::test]
async fn a_locked_database_is_an_error_until_it_is_free() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.sqlite");
    let store = open(&path).expect("created");
    fill(&store, 1).await;
    let other = Connection::open(&path).expect("open");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let error = store.append(message("ann", "2", "a")).await.expect_err("locked");
    assert!(matches!(error, StoreError::Locked), "{error}");
    other.execute_batch("COMMIT").expect("free");
    assert_eq!(store.append(message("ann", "2", "a")).await.expect("stored").offset, 2);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notes.txt");
    let text = "not a database, and long enough to have a header\n".repeat(100);
    std::fs::write(&path, &text).expect("written");
    let error = open(&path).expect_err("refused");
    assert!(matches!(error, StoreError::Incompatible(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("text"), text);
    let missing = open(&directory.path().join("no/such/directory")).expect_err("refused");
    assert!(matches!(missing, StoreError::Other(_)), "{missing}");
}

#[tokio::test]
async fn a_store_whose_thread_has_panicked_says_that_it_has_stopped() {
    let store = store(KEEP);
    let result = store.run(|_| -> rusqlite::Result<()> { panic!("on purpose") }).await;
    assert!(matches!(result, Err(StoreError::Stopped)), "{result:?}");
    let result = store.append(message("ann", "1", "a")).await;
    assert!(matches!(result, Err(StoreError::Stopped)), "{result:?}");
    assert!(!store.is_running());
}
