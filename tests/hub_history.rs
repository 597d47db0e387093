//! The history of rooms: positions, what a member has missed, several hubs, and a backplane that
//! cannot be reached.
#![cfg(feature = "hub")]

mod support;

use std::{
    pin::pin,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use fullduplex::{
    Error, Message,
    hub::{
        Backplane, BackplaneError, Delivered, Event, Hub, HubError, Memory, Page, Position, PresenceChange,
        Present, Publication, Published, Since,
    },
};
use support::{
    finished,
    hub::{Flaky, Seat, fill, quiet, seat, seat_with},
    pending, polled,
};
use tokio::{task::JoinSet, time::advance};

const HOUR: Duration = Duration::from_secs(3600);

/// A hub that keeps messages, and numbers those that it sends.
fn numbering(memory: &Memory<String>) -> Hub {
    Hub::builder()
        .backplane(memory.clone())
        .encode(|_, position, message| {
            let text = message.as_text().expect("text");
            Message::from(format!("{} {text}", position.offset)).into()
        })
        .build()
}

fn room() -> String {
    "room".to_owned()
}

async fn publish(hub: &Hub, text: impl Into<String>) -> Position {
    hub.publish(&room(), Publication::new(text.into())).await.expect("in memory").position
}

#[tokio::test]
async fn a_position_of_a_room_without_messages_is_one_to_continue_from() {
    let hub = numbering(&Memory::history(100, HOUR));
    // Nobody is in the room, so that nothing of it is stored.
    let page = hub.read_before(&room(), None, 1).await.expect("in memory");
    let start = Position { epoch: page.epoch, offset: 0 };
    let member = seat(&hub);
    let joined = member.member.join_since(&room(), Since::Position(start)).await.expect("in memory");
    assert_eq!((joined.position, joined.has_lost), (start, false));
    let last = publish(&hub, "a").await;
    hub.delete_history(&room()).await.expect("in memory");
    let page = hub.read_before(&room(), None, 1).await.expect("in memory");
    assert_ne!(page.epoch, last.epoch, "a history that ends takes its epoch with it");
}

#[tokio::test]
async fn a_room_that_is_held_is_followed_without_members() {
    let (seen, memory) = (Arc::new(Mutex::new(Vec::new())), Memory::history(100, HOUR));
    let told = seen.clone();
    let on_event = move |_: &Hub, event| told.lock().expect("no panic").push(event);
    let hub = Hub::builder().backplane(memory.clone()).on_event(on_event).build();
    let other = numbering(&memory);
    let held = hub.hold(&room()).await.expect("in memory");
    let start = held.position();
    let last = publish(&other, "a").await;
    assert_eq!((held.position(), start), (last, Position { offset: last.offset - 1, ..last }));
    let stranger = seat(&other);
    stranger.member.enter(&room(), "data").await.expect("in memory");
    assert_eq!(seen.lock().expect("no panic").len(), 1);
    drop(held);
    drop(stranger);
    assert_eq!(seen.lock().expect("no panic").len(), 1, "the room is not followed any more");
    assert_eq!(hub.rooms(), []);
}

#[tokio::test]
async fn a_program_waits_for_messages_of_a_room_that_it_holds() {
    let memory = Memory::history(100, HOUR);
    let (hub, other) = (numbering(&memory), numbering(&memory));
    publish(&other, "before").await;
    let mut held = hub.hold(&room()).await.expect("in memory");
    pending(pin!(held.arrived()), "nothing has arrived since");
    let first = {
        let mut arrived = pin!(held.arrived());
        pending(arrived.as_mut(), "nothing has arrived since");
        let first = publish(&other, "a").await;
        assert_eq!(arrived.await, first);
        first
    };
    pending(pin!(held.arrived()), "that one was returned");
    publish(&hub, "b").await;
    let last = publish(&other, "c").await;
    assert_eq!((held.arrived().await, last.offset), (last, first.offset + 2));
    pending(pin!(held.arrived()), "both have arrived before");
}

#[tokio::test]
async fn a_member_that_comes_back_receives_what_it_has_missed() {
    let hub = numbering(&Memory::history(100, HOUR));
    let (first, witness) = (seat(&hub), seat(&hub));
    let start = first.member.join(&room()).await.expect("in memory");
    witness.member.join(&room()).await.expect("in memory");
    let seen = publish(&hub, "a").await;
    assert_eq!((seen.epoch, seen.offset), (start.epoch, start.offset + 1));
    assert_eq!(first.texts(), ["1 a"]);
    drop(first);

    publish(&hub, "b").await;
    let last = publish(&hub, "c").await;
    let back = seat(&hub);
    let joined = back.member.join_since(&room(), Since::Position(seen)).await.expect("in memory");
    assert_eq!((joined.position, joined.has_lost), (last, false));
    publish(&hub, "d").await;
    assert_eq!(back.texts(), ["2 b", "3 c", "4 d"]);
    assert_eq!(witness.texts(), ["1 a", "2 b", "3 c", "4 d"]);
}

#[tokio::test]
async fn a_member_may_begin_with_the_last_messages() {
    let hub = numbering(&Memory::history(100, HOUR));
    let keeper = seat(&hub);
    keeper.member.join(&room()).await.expect("in memory");
    for (most, expected) in [(0, 0..0), (2, 0..0), (3, 2..5), (100, 0..5)] {
        let before = if expected.is_empty() { 0 } else { 5 };
        while publish_count(&hub).await < before {
            publish(&hub, "x").await;
        }
        let newcomer = seat(&hub);
        let joined = newcomer.member.join_since(&room(), Since::Last(most)).await.expect("in memory");
        assert_eq!((joined.position.offset, joined.has_lost), (before as u64, false));
        let expected: Vec<_> = expected.map(|nth: usize| format!("{} x", nth + 1)).collect();
        assert_eq!(newcomer.texts(), expected, "{most}");
    }
}

#[tokio::test]
async fn a_message_that_is_published_while_the_last_ones_are_read_is_not_skipped() {
    for (already, most) in [(0, 0), (0, 3), (1, 0), (1, 3)] {
        let flaky = Flaky::new();
        let hub = Hub::builder().backplane(flaky.clone()).build();
        let newcomer = seat(&hub);
        for _ in 0..already {
            publish(&hub, "before").await;
        }
        *flaky.meanwhile.lock().expect("no panic") = vec!["meanwhile".into()];
        let joined = newcomer.member.join_since(&room(), Since::Last(most)).await.expect("in memory");
        assert_eq!((joined.position.offset, joined.has_lost), (already + 1, false));
        publish(&hub, "after").await;
        let before = vec!["before"; most.min(already as usize)];
        assert_eq!(newcomer.texts(), [before, vec!["meanwhile", "after"]].concat(), "{already}, {most}");
    }
}

#[tokio::test]
async fn a_member_is_told_that_messages_are_lost_behind_the_last_ones() {
    for (kept, has_lost, texts) in
        [(1, true, vec!["a", "d"]), (2, false, vec!["a", "b", "c", "d"]), (0, false, vec!["d"])]
    {
        let flaky = Flaky::history(kept);
        let hub = Hub::builder().backplane(flaky.clone()).build();
        let (keeper, newcomer) = (seat(&hub), seat(&hub));
        keeper.member.join(&room()).await.expect("in memory");
        publish(&hub, "a").await;
        *flaky.meanwhile.lock().expect("no panic") = vec!["b".into(), "c".into()];
        let joined = newcomer.member.join_since(&room(), Since::Last(1)).await.expect("in memory");
        assert_eq!((joined.position.offset, joined.has_lost), (3, has_lost), "{kept}");
        publish(&hub, "d").await;
        assert_eq!(newcomer.texts(), texts, "{kept}");
    }
}

async fn publish_count(hub: &Hub) -> usize {
    hub.read_before(&room(), None, usize::MAX).await.expect("in memory").messages.len()
}

#[tokio::test]
async fn row_96_what_no_longer_exists_is_said_to_be_lost() {
    for (behind, has_lost, texts) in [
        (0, true, vec![]),
        (1, true, vec![]),
        (2, false, vec!["3 x", "4 x", "5 x"]),
        (5, false, vec![]),
        (6, true, vec![]),
        (u64::MAX, true, vec![]),
    ] {
        let hub = numbering(&Memory::history(3, HOUR));
        let keeper = seat(&hub);
        let start = keeper.member.join(&room()).await.expect("in memory");
        for _ in 0..5 {
            publish(&hub, "x").await;
        }
        let last = Position { offset: 5, ..start };
        let (back, since) = (seat(&hub), Since::Position(Position { offset: behind, ..start }));
        let joined = back.member.join_since(&room(), since).await.expect("in memory");
        assert_eq!((joined.position, joined.has_lost), (last, has_lost), "{behind}");
        assert_eq!(back.texts(), texts, "{behind}");
        publish(&hub, "next").await;
        assert_eq!(back.texts(), ["6 next"], "it follows from now on");

        let (stranger, since) = (seat(&hub), Since::Position(Position { epoch: !start.epoch, ..last }));
        let joined = stranger.member.join_since(&room(), since).await.expect("in memory");
        assert!(joined.has_lost, "an offset of another history");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_removed_by_their_age() {
    let hub = numbering(&Memory::history(100, Duration::from_secs(60)));
    let keeper = seat(&hub);
    let start = keeper.member.join(&room()).await.expect("in memory");
    publish(&hub, "old").await;
    advance(Duration::from_secs(61)).await;
    publish(&hub, "new").await;
    let page = hub.read_before(&room(), None, 10).await.expect("in memory");
    assert_eq!(page.messages.len(), 1);
    assert!(matches!(hub.read_after(&room(), start, 10).await, Err(BackplaneError::Lost)));
    advance(Duration::from_secs(61)).await;
    assert_eq!(publish_count(&hub).await, 0);
}

#[tokio::test]
async fn a_history_is_read_in_pages_in_both_directions() {
    let hub = numbering(&Memory::history(100, HOUR));
    let keeper = seat(&hub);
    let start = keeper.member.join(&room()).await.expect("in memory");
    for nth in 0..25 {
        publish(&hub, nth.to_string()).await;
    }
    let offsets = |page: &Page| page.messages.iter().map(|stored| stored.offset).collect::<Vec<_>>();
    let (mut forward, mut position) = (Vec::new(), start);
    loop {
        let page = hub.read_after(&room(), position, 10).await.expect("in memory");
        forward.extend(offsets(&page));
        position.offset = *forward.last().expect("messages");
        if page.is_last {
            break;
        }
    }
    let (mut backward, mut before) = (Vec::new(), None);
    loop {
        let page = hub.read_before(&room(), before, 10).await.expect("in memory");
        backward.splice(0..0, offsets(&page));
        before = backward.first().copied();
        if page.is_last {
            break;
        }
    }
    assert_eq!(forward, (1..=25).collect::<Vec<_>>());
    assert_eq!(backward, forward);
}

#[tokio::test]
async fn row_96_a_message_with_a_known_id_is_stored_once() {
    let hub = numbering(&Memory::history(2, HOUR));
    let seat = seat(&hub);
    seat.member.join(&room()).await.expect("in memory");
    let send = async |id: &str| hub.publish(&room(), Publication::new(id).id(id)).await.expect("in memory");
    let first = send("a").await;
    assert!(!first.duplicate);
    assert_eq!(send("a").await, Published { duplicate: true, ..first });
    send("b").await;
    assert_eq!(send("a").await, Published { duplicate: true, ..first });
    send("c").await;
    assert!(!send("a").await.duplicate, "its message is no longer in the history");
    assert_eq!(seat.texts(), ["1 a", "2 b", "3 c", "4 a"]);
}

#[tokio::test]
async fn a_deleted_history_begins_anew_for_the_members() {
    let hub = numbering(&Memory::history(10, HOUR));
    let seat = seat(&hub);
    let start = seat.member.join(&room()).await.expect("in memory");
    publish(&hub, "a").await;
    publish(&hub, "b").await;
    hub.delete_history(&room()).await.expect("in memory");
    let next = publish(&hub, "c").await;
    assert!(next.epoch != start.epoch && next.offset == 1);
    assert_eq!(seat.texts(), ["1 a", "2 b", "1 c"]);
}

#[tokio::test]
async fn a_message_is_not_sent_to_whom_it_excludes_neither_now_nor_later() {
    let hub = numbering(&Memory::history(10, HOUR));
    let (a, b) = (seat(&hub), seat(&hub));
    a.member.join(&room()).await.expect("in memory");
    let publication = Publication::new("not to a").except(a.member.id());
    hub.publish(&room(), publication.clone()).await.expect("in memory");
    b.member.join_since(&room(), Since::Last(10)).await.expect("in memory");
    assert_eq!((a.texts(), b.texts()), (vec![], vec!["1 not to a".to_owned()]));
    a.member.leave(&room());
    a.member.join_since(&room(), Since::Last(10)).await.expect("in memory");
    assert_eq!(a.texts(), [""; 0]);
}

/// While others publish, members join behind any message, at any time, on two hubs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_that_joins_meanwhile_receives_each_message_once_and_in_order() {
    const MESSAGES: usize = 2000;
    let memory = Memory::history(MESSAGES, HOUR);
    let hubs = [numbering(&memory), numbering(&memory)];
    let keeper = seat(&hubs[0]);
    let start = keeper.member.join(&room()).await.expect("in memory");
    let mut publishing = JoinSet::new();
    for publisher in 0..4 {
        let hub = hubs[publisher % 2].clone();
        publishing.spawn(async move {
            for _ in 0..MESSAGES / 4 {
                publish(&hub, "x").await;
                tokio::task::yield_now().await;
            }
        });
    }
    let mut joining = JoinSet::new();
    for nth in 0..40 {
        let hub = hubs[nth % 2].clone();
        joining.spawn(async move {
            for _ in 0..nth * 5 {
                tokio::task::yield_now().await;
            }
            let seat = seat(&hub);
            let behind = (nth as u64 * 3).min(
                hub.read_before(&room(), None, 1)
                    .await
                    .expect("in memory")
                    .messages
                    .first()
                    .map_or(0, |last| last.offset),
            );
            let since = Since::Position(Position { offset: behind, ..start });
            let joined = seat.member.join_since(&room(), since).await.expect("in memory");
            assert!(!joined.has_lost);
            (behind, seat)
        });
    }
    let seats: Vec<(u64, Seat<String>)> = joining.join_all().await;
    publishing.join_all().await;
    for hub in &hubs {
        // Behind all that is queued.
        hub.to(&room()).here().send("end").await;
    }
    for (behind, seat) in seats {
        seat.member.sender().flush().await.expect("open");
        let messages = (behind + 1..=MESSAGES as u64).map(|offset| format!("{offset} x"));
        let expected: Vec<_> = messages.chain(["end".to_owned()]).collect();
        let texts = seat.texts();
        let differs = texts.iter().zip(&expected).position(|(text, expected)| text != expected);
        assert!(texts == expected, "behind {behind}: {} of {}, {differs:?}", texts.len(), expected.len());
    }
}

#[tokio::test]
async fn row_94_catching_up_waits_for_a_slow_peer_and_loses_nothing() {
    let hub = numbering(&Memory::history(1000, HOUR));
    let keeper = seat(&hub);
    let start = keeper.member.join(&room()).await.expect("in memory");
    for _ in 0..300 {
        publish(&hub, "x").await;
    }
    let slow = seat_with(&hub, quiet().max_write_buffer_size(100));
    slow.script.allow_writes(0);
    let since = Since::Position(start);
    let room = room();
    let mut joining = Box::pin(slow.member.join_since(&room, since));
    pending(joining.as_mut(), "the stream accepts nothing");
    publish(&hub, "meanwhile").await;
    slow.script.allow_writes(None);
    joining.await.expect("in memory");
    let texts = slow.texts();
    assert_eq!(texts.len(), 301);
    assert!(texts.iter().enumerate().all(|(nth, text)| text.starts_with(&format!("{} ", nth + 1))));
}

#[tokio::test]
async fn row_97_a_join_that_is_dropped_at_any_await_leaves_no_member_behind() {
    let hub = numbering(&Memory::history(1000, HOUR));
    let keeper = seat(&hub);
    let start = keeper.member.join(&room()).await.expect("in memory");
    for _ in 0..50 {
        publish(&hub, "x").await;
    }
    for polls in 0..40 {
        let seat = seat_with(&hub, quiet().max_write_buffer_size(20));
        seat.script.allow_writes(0);
        let room = room();
        let joining = seat.member.join_since(&room, Since::Position(start));
        let done = polled(joining, polls, || seat.script.allow_writes(40));
        assert_eq!(hub.member_count(&room), 1 + usize::from(done.is_some()), "{polls}");
        assert_eq!(seat.member.rooms().len(), usize::from(done.is_some()));
    }
    assert_eq!(hub.rooms(), [(room(), 1)]);
}

#[tokio::test]
async fn row_97_a_connection_that_ends_while_it_catches_up_has_not_joined() {
    let hub = numbering(&Memory::history(10, HOUR));
    let keeper = seat(&hub);
    keeper.member.join(&room()).await.expect("in memory");
    publish(&hub, "x").await;
    let seat = seat(&hub);
    seat.member.sender().abort();
    let joined = seat.member.join_since(&room(), Since::Last(1)).await;
    assert!(matches!(joined, Err(HubError::Gone)));
    assert_eq!(hub.member_count(&room()), 1);
}

#[tokio::test]
async fn row_94_published_messages_close_slow_members() {
    let hub: Hub = Hub::builder().backplane(Memory::history(10, HOUR)).build();
    let slow = seat_with(&hub, quiet().max_write_buffer_size(103));
    slow.script.allow_writes(0);
    slow.member.join(&room()).await.expect("in memory");
    fill(slow.member.sender(), 100);
    publish(&hub, "x").await;
    assert!(slow.member.sender().is_closed());
    assert_eq!(hub.delivered().closed, 1);
}

type Events = Arc<Mutex<Vec<Event<String>>>>;

/// Returns a hub, and what it tells the program.
fn observed(backplane: impl Backplane<String>) -> (Hub, Events) {
    let events = Events::default();
    let told = events.clone();
    let tell = move |_: &Hub, event| told.lock().expect("no panic").push(event);
    (Hub::builder().backplane(backplane).max_waiting(2).on_event(tell).build(), events)
}

fn take(events: &Events) -> Vec<Event<String>> {
    std::mem::take(&mut events.lock().expect("no panic"))
}

#[tokio::test]
async fn hubs_on_one_backplane_are_one() {
    let memory = Memory::history(10, HOUR);
    let ((left, left_events), (right, right_events)) = (observed(memory.clone()), observed(memory));
    let (a, b) = (seat(&left), seat(&right));
    a.member.join(&room()).await.expect("in memory");
    b.member.join(&room()).await.expect("in memory");
    left.publish(&room(), "published").await.expect("in memory");
    assert_eq!(right.to(&room()).except(a.member.id()).send("to the room but a").await.sent, 1);
    assert_eq!(left.to_all().send("to all").await.sent, 1);
    assert_eq!(left.to_one(b.member.id()).send("to b").await.sent, 0, "on this hub");
    assert_eq!(right.to(&room()).here().send("here").await.sent, 1);
    left.signal("signal").expect("in memory");
    assert_eq!(a.texts(), ["published", "to all"]);
    assert_eq!(b.texts(), ["published", "to the room but a", "to all", "to b", "here"]);
    assert_eq!(take(&left_events), []);
    assert_eq!(take(&right_events), [Event::Signal("signal".into())]);
}

#[tokio::test]
async fn a_room_is_named_by_a_borrowed_key() {
    let memory = Memory::history(10, HOUR);
    let (left, right) = (numbering(&memory), numbering(&memory));
    let a = seat(&left);
    let name = "the room".to_owned();
    let name: &str = &name[4..];
    a.member.enter(name, "ann").await.expect("in memory");
    assert_eq!(
        a.member.join(name).await.expect("it is in it already"),
        a.member.join(&room()).await.expect("so")
    );
    assert_eq!((left.member_count(name), left.members(name)), (1, vec![a.member.id()]));
    // A hub without the room makes a key for the others.
    assert_eq!(right.to(name).send("from the right").await.sent, 0);
    assert_eq!(left.to(name).send("from the left").await.sent, 1);
    right.publish(name, "published").await.expect("in memory");
    assert_eq!(a.texts(), ["from the right", "from the left", "1 published"]);
    for hub in [&left, &right] {
        let page = hub.read_before(name, None, 9).await.expect("in memory");
        let start = Position { epoch: page.epoch, offset: 0 };
        assert_eq!(hub.read_after(name, start, 9).await.expect("in memory").messages.len(), 1);
        assert_eq!(hub.present(name).await.expect("in memory").len(), 1);
        assert_eq!(hub.hold(name).await.expect("in memory").position().offset, 1);
    }
    let b = seat(&right);
    b.member.join_since(name, Since::Last(1)).await.expect("in memory");
    assert_eq!(b.texts(), ["1 published"]);
    right.delete_history(name).await.expect("in memory");
    assert_eq!(left.read_before(name, None, 9).await.expect("in memory").messages.len(), 0);
    assert!(a.member.leave(name) && !a.member.leave(name));
}

#[tokio::test]
async fn a_room_that_begins_or_ends_before_a_message_is_sent_is_found_again() {
    let hub = numbering(&Memory::default());
    let before = hub.to("room");
    let first = seat(&hub);
    first.member.join("room").await.expect("in memory");
    assert_eq!(before.send("to the first").await.sent, 1);
    let between = hub.to("room");
    drop(first);
    let second = seat(&hub);
    second.member.join("room").await.expect("in memory");
    assert_eq!(between.send("to the second").await.sent, 1);
    assert_eq!(second.texts(), ["to the second"]);
}

#[tokio::test]
async fn all_hubs_are_told_who_is_present() {
    let memory = Memory::default();
    let ((left, left_events), (right, right_events)) = (observed(memory.clone()), observed(memory));
    let (a, b) = (seat(&left), seat(&right));
    a.member.enter(&room(), "ann").await.expect("in memory");
    b.member.enter(&room(), "bob").await.expect("in memory");
    let ann = Present { member: a.member.id(), data: Bytes::from("ann") };
    let bob = Present { member: b.member.id(), data: Bytes::from("bob") };
    assert_eq!(left.present(&room()).await.expect("in memory"), [ann.clone(), bob.clone()]);
    let told = |change| Event::Presence { room: room(), change };
    let (ann_came, bob_came) =
        (told(PresenceChange::Entered(ann.clone())), told(PresenceChange::Entered(bob.clone())));
    assert_eq!(take(&left_events), [ann_came, bob_came.clone()]);
    assert_eq!(take(&right_events), [bob_came]);
    drop(a);
    let ann_left = told(PresenceChange::Left(ann));
    assert_eq!((take(&right_events), take(&left_events)), (vec![ann_left.clone()], vec![ann_left]));
    b.member.enter(&room(), "Bob").await.expect("in memory");
    let renamed = Present { data: Bytes::from("Bob"), ..bob };
    assert_eq!(right.present(&room()).await.expect("in memory"), std::slice::from_ref(&renamed));
    assert_eq!(take(&right_events), [told(PresenceChange::Entered(renamed))]);
}

#[tokio::test]
async fn row_98_what_is_published_while_the_backplane_is_away_waits_within_a_bound() {
    let flaky = Flaky::new();
    let (hub, events) = observed(flaky.clone());
    let seat = seat(&hub);
    seat.member.join(&room()).await.expect("in memory");
    flaky.set_away(true);
    assert!(!hub.is_available());
    let room = room();
    let (mut a, mut b) = (Box::pin(hub.publish(&room, "a")), Box::pin(hub.publish(&room, "b")));
    pending(a.as_mut(), "away");
    pending(b.as_mut(), "away");
    assert!(matches!(hub.publish(&room, "c").await, Err(HubError::Away)), "two wait already");
    assert_eq!(hub.to(&room).send("transient").await.sent, 1, "members here are reached");
    assert_eq!(hub.delivered().unreached, 1);
    flaky.set_away(false);
    a.await.expect("back");
    b.await.expect("back");
    assert_eq!(seat.texts(), ["transient", "a", "b"]);
    assert_eq!(take(&events), [Event::BackplaneAway, Event::BackplaneBack]);
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_stored_once() {
    let flaky = Flaky::new();
    let (hub, _events) = observed(flaky.clone());
    let seat = seat(&hub);
    seat.member.join(&room()).await.expect("in memory");
    flaky.lost_answers.store(1, Relaxed);
    flaky.calls();
    let room = room();
    let mut publishing = Box::pin(hub.publish(&room, "once"));
    pending(publishing.as_mut(), "the answer was lost");
    flaky.set_away(false);
    let published = publishing.await.expect("back");
    assert!(published.duplicate);
    assert_eq!(seat.texts(), ["once"]);
    let calls = flaky.calls();
    assert!(calls.len() == 2 && calls[0] == calls[1], "{calls:?}: the same id");
}

#[tokio::test]
async fn joining_waits_for_the_backplane_and_a_room_is_subscribed_once() {
    let flaky = Flaky::new();
    let (hub, _events) = observed(flaky.clone());
    let (a, b) = (seat(&hub), seat(&hub));
    flaky.set_away(true);
    let room = room();
    let (mut first, mut second) = (Box::pin(a.member.join(&room)), Box::pin(b.member.join(&room)));
    pending(first.as_mut(), "away");
    pending(second.as_mut(), "away");
    drop(first);
    flaky.set_away(false);
    second.await.expect("back");
    assert_eq!(hub.members(&room), [b.member.id()]);
    publish(&hub, "x").await;
    assert_eq!(b.texts(), ["x"]);
    drop(b);
    assert_eq!(hub.rooms(), []);
    let calls = flaky.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("subscribe")).count(), 2, "{calls:?}");
    assert_eq!(calls.last().expect("calls"), "unsubscribe room");
}

#[tokio::test]
async fn a_room_that_is_left_before_it_is_subscribed_is_unsubscribed() {
    let flaky = Flaky::new();
    let (hub, _events) = observed(flaky.clone());
    let seat = seat(&hub);
    let room = room();
    let mut joining = Box::pin(seat.member.join(&room));
    pending(joining.as_mut(), "it yields");
    drop(joining);
    assert_eq!(flaky.calls(), ["subscribe room", "unsubscribe room"]);
    assert_eq!(hub.rooms(), []);
    seat.member.join(&room).await.expect("in memory");
    publish(&hub, "x").await;
    assert_eq!(seat.texts(), ["x"]);
}

#[tokio::test]
async fn a_backplane_can_say_that_messages_are_lost() {
    let flaky = Flaky::new();
    let (hub, events) = observed(flaky.clone());
    let seat = seat(&hub);
    seat.member.join(&room()).await.expect("in memory");
    let position = Position { epoch: 1, offset: 2 };
    flaky.inbox.get().expect("attached").lost(&room(), position);
    assert_eq!(take(&events), [Event::Lost { room: room(), position }]);
}

#[tokio::test]
async fn the_program_may_send_when_it_is_told_something() {
    let tell = |hub: &Hub, event| {
        if let Event::Presence { room, change: PresenceChange::Entered(present) } = event {
            let name = String::from_utf8(present.data.to_vec()).expect("text");
            hub.to(&room).here().send(format!("{name} is here"));
        }
    };
    let hub: Hub = Hub::builder().on_event(tell).build();
    let seat = seat(&hub);
    seat.member.enter(&room(), "ann").await.expect("in memory");
    assert_eq!(seat.texts(), ["ann is here"]);
}

#[test]
fn after_a_hub_is_dropped_its_backplane_does_nothing() {
    let memory = Memory::history(10, HOUR);
    let (left, right) = (numbering(&memory), numbering(&memory));
    let seat = seat(&left);
    finished(seat.member.join(&room())).expect("in memory");
    let Seat { member, receiver, .. } = seat;
    drop((member, receiver, left));
    finished(publish(&right, "x"));
    assert_eq!(finished(right.to_all().send("x")), Delivered::default());
}

#[test]
fn errors_say_who_erred() {
    let error: Error = Error::Closed;
    let failed = HubError::from(BackplaneError::failed(error));
    assert_eq!(failed.to_string(), "the backplane failed");
    assert!(std::error::Error::source(&failed).is_some());
}
