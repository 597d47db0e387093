//! Rooms of connections: who receives what, in which order, and what happens to slow members.
#![cfg(feature = "hub")]

mod support;

use std::{
    collections::BTreeSet,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use fullduplex::{
    Config, PreparedMessage, Role, WebSocket,
    handshake::Negotiated,
    hub::{Delivered, Hub, MemberId, Publication, Slow},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{
    finished,
    frames::{self, close},
    hub::{Seat, fill, quiet, seat, seat_with},
    pending, poll_once, settle,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

fn delivered(change: impl FnOnce(&mut Delivered)) -> Delivered {
    let mut delivered = Delivered::default();
    change(&mut delivered);
    delivered
}

/// A member whose write buffer takes one message of 100 bytes, over a stream that accepts nothing.
fn slow_seat(hub: &Hub<u32>) -> Seat<u32> {
    let seat = seat_with(hub, quiet().max_write_buffer_size(103));
    seat.script.allow_writes(0);
    seat
}

async fn joined(hub: &Hub<u32>, room: u32) -> Seat<u32> {
    let seat = seat(hub);
    seat.member.join(&room).await.expect("in memory");
    seat
}

/// The list of members is in chunks of 128.
#[tokio::test]
async fn a_large_room_has_the_members_that_joined_and_did_not_leave() {
    let hub = Hub::<u32>::new();
    let seats: Vec<_> = (0..500).map(|_| seat(&hub)).collect();
    let mut random = StdRng::seed_from_u64(1);
    let mut members = BTreeSet::new();
    for steps in [400, 400, 2000, 2000] {
        for _ in 0..steps {
            let seat = &seats[random.random_range(0..seats.len())].member;
            if members.remove(&seat.id()) {
                seat.leave(&1);
            } else {
                seat.join(&1).await.expect("in memory");
                members.insert(seat.id());
            }
        }
        check_members(&hub, &members).await;
    }
    for seat in &seats {
        seat.member.leave(&1);
        members.remove(&seat.member.id());
        if members.len() % 100 == 0 {
            check_members(&hub, &members).await;
        }
    }
    assert!(members.is_empty());
}

async fn check_members(hub: &Hub<u32>, members: &BTreeSet<MemberId>) {
    assert_eq!(&hub.members(&1).into_iter().collect::<BTreeSet<_>>(), members);
    assert_eq!(hub.member_count(&1), members.len());
    assert_eq!(hub.to(&1).send("to all").await, delivered(|to| to.sent = members.len() as u64));
}

#[tokio::test]
async fn a_message_reaches_the_members_of_its_room() {
    let hub = Hub::<u32>::new();
    let (a, b, c) = (joined(&hub, 1).await, joined(&hub, 1).await, joined(&hub, 2).await);
    assert_eq!(hub.to(&1).send("to 1").await, delivered(|to| to.sent = 2));
    assert_eq!(hub.to(&1).except(a.member.id()).send("except a").await, delivered(|to| to.sent = 1));
    assert_eq!(hub.to_all().except(b.member.id()).send("all but b").await, delivered(|to| to.sent = 2));
    assert_eq!(hub.to_one(c.member.id()).send("to c").await, delivered(|to| to.sent = 1));
    assert_eq!(hub.to(&3).send("to nobody").await, Delivered::default());
    assert_eq!(a.texts(), ["to 1", "all but b"]);
    assert_eq!(b.texts(), ["to 1", "except a"]);
    assert_eq!(c.texts(), ["all but b", "to c"]);
    assert_eq!(hub.delivered(), delivered(|to| to.sent = 6));
}

#[tokio::test]
async fn a_message_can_be_for_users_who_may_have_several_connections() {
    let hub = Hub::<u32>::new();
    let user = |name: &str| {
        let (receiver, sender, script) = support::script::split_server(quiet());
        Seat { member: hub.add_user(sender, name), script, receiver }
    };
    let seats = [user("ann"), user("ann"), user("bob"), seat(&hub)];
    for seat in &seats {
        seat.member.join(&1).await.expect("in memory");
    }
    assert_eq!((seats[2].member.user(), seats[3].member.user()), (Some("bob"), None));
    assert_eq!(hub.to(&1).users(["ann"]).send("to ann").await.sent, 2);
    assert_eq!(hub.to_all().users(["ann", "bob", "eve"]).send("to both").await.sent, 3);
    assert_eq!(hub.to(&1).except_user("ann").send("not to ann").await.sent, 2);
    hub.publish(&1, Publication::new("published to bob").users(["bob"])).await.expect("in memory");
    hub.publish(&1, Publication::new("published").except_user("bob")).await.expect("in memory");
    assert_eq!(seats[0].texts(), ["to ann", "to both", "published"]);
    assert_eq!(seats[1].texts(), ["to ann", "to both", "published"]);
    assert_eq!(seats[2].texts(), ["to both", "not to ann", "published to bob"]);
    assert_eq!(seats[3].texts(), ["not to ann", "published"]);
}

#[tokio::test]
async fn rooms_and_members_are_counted() {
    let hub = Hub::<u32>::new();
    let (a, b) = (joined(&hub, 1).await, joined(&hub, 1).await);
    a.member.join(&2).await.expect("in memory");
    a.member.join(&2).await.expect("it is in it already");
    assert_eq!(a.member.rooms(), [1, 2]);
    assert_eq!((hub.member_count(&1), hub.member_count(&2), hub.member_count(&3)), (2, 1, 0));
    assert_eq!(hub.members(&1), [a.member.id(), b.member.id()]);
    let mut rooms = hub.rooms();
    rooms.sort_unstable();
    assert_eq!(rooms, [(1, 2), (2, 1)]);
    assert!(a.member.leave(&1) && !a.member.leave(&1));
    assert_eq!((hub.members(&1), a.member.rooms()), (vec![b.member.id()], vec![2]));
    assert_eq!(hub.len(), 2);
}

#[tokio::test]
async fn a_member_that_is_dropped_leaves_all_rooms_and_its_connection_stays_open() {
    let hub = Hub::<u32>::new();
    let Seat { member, script, receiver: _receiver } = joined(&hub, 1).await;
    member.join(&2).await.expect("in memory");
    let (id, sender) = (member.id(), member.sender().clone());
    assert!(hub.sender(id).is_some());
    drop(member);
    assert_eq!((hub.len(), hub.rooms()), (0, vec![]));
    assert!(hub.is_empty() && hub.sender(id).is_none());
    assert_eq!(hub.to_one(id).send("late").await, Delivered::default());
    sender.send("still open").await.expect("open");
    assert_eq!(support::hub::texts(&script), ["still open"]);
}

#[tokio::test]
async fn any_members_can_leave_a_large_room_in_any_order() {
    let hub = Hub::<u32>::new();
    let mut seats = Vec::new();
    for _ in 0..1000 {
        seats.push(joined(&hub, 1).await);
    }
    let mut random = 1_u64;
    while !seats.is_empty() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seats.swap_remove((random >> 33) as usize % seats.len());
        assert_eq!(hub.member_count(&1), seats.len());
        if seats.len() % 97 == 0 {
            assert_eq!(hub.to(&1).send("?").await.sent, seats.len() as u64);
            assert!(seats.iter().all(|seat| seat.texts() == ["?"]));
        }
    }
    assert_eq!(hub.rooms(), []);
}

#[tokio::test]
async fn row_95_a_broadcast_to_many_leaves_other_tasks_their_turns() {
    let hub = Hub::<u32>::new();
    let mut seats = Vec::new();
    for _ in 0..5000 {
        seats.push(joined(&hub, 1).await);
    }
    let turns = tokio::spawn(async {
        let mut turns = 0;
        loop {
            tokio::task::yield_now().await;
            turns += 1;
            if turns == 30 {
                return turns;
            }
        }
    });
    let mut sending = pin!(hub.to(&1).send("to many"));
    assert!(poll_once(sending.as_mut()).is_pending(), "it is not sent in one go");
    let joined_meanwhile = joined(&hub, 1).await;
    assert!(seats.iter().any(|seat| seat.script.writes() == 0), "joining did not wait for the broadcast");
    assert_eq!(sending.await.sent, 5000);
    assert_eq!(turns.await.expect("no panic"), 30);
    assert!(seats.iter().all(|seat| seat.texts() == ["to many"]));
    assert_eq!(joined_meanwhile.texts(), [""; 0], "it joined after the message was sent");
}

#[tokio::test]
async fn a_dropped_sending_is_sent_all_the_same() {
    let hub = Hub::<u32>::new();
    let mut seats = Vec::new();
    for _ in 0..300 {
        seats.push(joined(&hub, 1).await);
    }
    hub.to(&1).send("a");
    hub.to(&1).send("b");
    hub.to_all().send("c");
    settle().await;
    for seat in &seats {
        let mut texts = seat.texts();
        assert!(texts.iter().position(|text| text == "a") < texts.iter().position(|text| text == "b"));
        texts.sort_unstable();
        assert_eq!(texts, ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn row_95_at_most_1024_messages_are_queued_for_a_room() {
    let hub = Hub::<u32>::new();
    let mut seats = Vec::new();
    for _ in 0..200 {
        seats.push(joined(&hub, 1).await);
    }
    let sendings: Vec<_> = (0..2000).map(|nth| hub.to(&1).send(nth.to_string())).collect();
    let mut queued = 0;
    for sending in sendings {
        let delivered = sending.await;
        assert_eq!(delivered.sent + delivered.dropped, 200);
        queued += delivered.sent / 200;
    }
    assert_eq!(queued, 1025, "the first one is being sent");
    assert!(seats.iter().all(|seat| seat.texts().len() == 1025));

    // Those who publish wait instead.
    let publishing: Vec<_> = (0..2000)
        .map(|nth| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.publish(&1, nth.to_string()).await.map(drop) })
        })
        .collect();
    for published in publishing {
        published.await.expect("no panic").expect("in memory");
    }
    settle().await;
    hub.to(&1).send("end").await;
    assert!(seats.iter().all(|seat| seat.texts().len() == 2001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_members_receive_the_messages_of_many_tasks_in_the_same_order() {
    for members in [3, 400] {
        let hub = Hub::<u32>::new();
        let mut seats = Vec::new();
        for _ in 0..members {
            seats.push(joined(&hub, 1).await);
        }
        let mut tasks = Vec::new();
        for task in 0..4 {
            let hub = hub.clone();
            tasks.push(tokio::spawn(async move {
                for nth in 0..50 {
                    assert_eq!(hub.to(&1).send(format!("{task} {nth}")).await.sent, members);
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        let texts = seats[0].texts();
        assert_eq!(texts.len(), 200);
        assert!(seats[1..].iter().all(|seat| seat.texts() == texts));
        for task in 0..4 {
            let own = texts.iter().filter(|text| text.starts_with(&format!("{task} ")));
            assert!(own.eq((0..50).map(|nth| format!("{task} {nth}")).collect::<Vec<_>>().iter()));
        }
    }
}

#[tokio::test]
async fn row_94_slow_members_lose_the_newest_message_by_default() {
    let hub = Hub::<u32>::new();
    let (slow, quick) = (slow_seat(&hub), seat(&hub));
    slow.member.join(&1).await.expect("in memory");
    quick.member.join(&1).await.expect("in memory");
    fill(slow.member.sender(), 100);
    let fate = hub.to(&1).send("dropped for one").await;
    assert_eq!(fate, delivered(|to| (to.sent, to.dropped) = (1, 1)));
    assert_eq!((fate.members(), quick.texts()), (2, vec!["dropped for one".to_owned()]));
    slow.script.allow_writes(None);
    slow.member.sender().flush().await.expect("open");
    assert_eq!(slow.texts(), ["x".repeat(100)]);
}

#[tokio::test]
async fn the_latest_message_of_each_kind_waits_for_a_slow_member() {
    let hub = Hub::<u32>::new();
    let slow = slow_seat(&hub);
    slow.member.join(&1).await.expect("in memory");
    fill(slow.member.sender(), 100);
    let latest = |kind: &'static str, text: String| hub.to(&1).slow(Slow::KeepLatest(kind.into())).send(text);
    for nth in 0..5 {
        assert_eq!(latest("cursor", format!("cursor {nth}")).await, delivered(|to| to.waiting = 1));
        assert_eq!(latest("presence", format!("presence {nth}")).await, delivered(|to| to.waiting = 1));
    }
    settle().await;
    // Longer than what its room is reserved for.
    assert_eq!(latest("cursor", format!("cursor {}", "5".repeat(30))).await.waiting, 1);
    assert_eq!(slow.texts(), [""; 0]);
    slow.script.allow_writes(None);
    slow.member.sender().flush().await.expect("open");
    settle().await;
    slow.member.sender().flush().await.expect("open");
    let texts = slow.texts();
    assert_eq!(texts[0], "x".repeat(100));
    assert_eq!(texts[1..], [format!("cursor {}", "5".repeat(30)), "presence 4".to_owned()]);
    assert_eq!(latest("cursor", "cursor 6".into()).await.sent, 1, "nothing waits any more");
    assert_eq!(slow.texts(), ["cursor 6"]);
}

#[tokio::test]
async fn row_94_at_most_16_kinds_wait_for_a_member() {
    let hub = Hub::<u32>::new();
    let slow = slow_seat(&hub);
    slow.member.join(&1).await.expect("in memory");
    fill(slow.member.sender(), 100);
    for kind in 0..16 {
        let sending = hub.to(&1).slow(Slow::KeepLatest(kind.to_string().into())).send("waits");
        assert_eq!(sending.await.waiting, 1);
    }
    assert_eq!(hub.to(&1).slow(Slow::KeepLatest("16".into())).send("dropped").await.dropped, 1);
    assert_eq!(hub.to(&1).slow(Slow::KeepLatest("3".into())).send("replaces").await.waiting, 1);
}

#[tokio::test]
async fn what_waits_is_dropped_with_the_connection() {
    let hub = Hub::<u32>::new();
    let slow = slow_seat(&hub);
    slow.member.join(&1).await.expect("in memory");
    fill(slow.member.sender(), 100);
    assert_eq!(hub.to(&1).slow(Slow::KeepLatest("kind".into())).send("waits").await.waiting, 1);
    slow.member.sender().abort();
    settle().await;
    assert_eq!(hub.to(&1).slow(Slow::KeepLatest("kind".into())).send("too late").await.gone, 1);
}

#[tokio::test]
async fn row_94_slow_members_can_be_closed_with_1013() {
    let hub = Hub::<u32>::new();
    let slow = slow_seat(&hub);
    slow.member.join(&1).await.expect("in memory");
    fill(slow.member.sender(), 100);
    assert_eq!(hub.to(&1).slow(Slow::Close).send("closes").await, delivered(|to| to.closed = 1));
    assert_eq!(hub.to(&1).slow(Slow::Close).send("later").await, delivered(|to| to.gone = 1));
    slow.script.allow_writes(None);
    slow.member.sender().flush().await.expect("the Close is not lost");
    assert!(slow.script.written().ends_with(&close(1013, "too slow").build()));
}

#[tokio::test]
async fn row_94_slow_members_can_be_aborted() {
    let hub = Hub::<u32>::new();
    let slow = slow_seat(&hub);
    slow.member.join(&1).await.expect("in memory");
    fill(slow.member.sender(), 100);
    assert_eq!(hub.to(&1).slow(Slow::Abort).send("ends it").await, delivered(|to| to.aborted = 1));
    assert!(slow.script.is_dropped());
    assert_eq!(hub.to(&1).send("later").await, delivered(|to| to.gone = 1));
}

#[tokio::test]
async fn a_message_is_written_at_once_while_the_receiver_waits() {
    let hub = Hub::<u32>::new();
    let mut seat = joined(&hub, 1).await;
    pending(pin!(seat.receiver.recv()), "nothing was received");
    assert_eq!(hub.to(&1).send("at once").await.sent, 1);
    assert_eq!(seat.texts(), ["at once"]);
}

#[tokio::test]
async fn what_a_stream_does_not_accept_is_written_by_the_receiver() {
    let hub = Hub::<u32>::new();
    let mut seat = joined(&hub, 1).await;
    seat.script.allow_writes(3);
    assert_eq!(hub.to(&1).send("in two parts").await.sent, 1);
    seat.script.allow_writes(None);
    pending(pin!(seat.receiver.recv()), "nothing was received");
    assert_eq!(seat.texts(), ["in two parts"]);
}

/// A stream whose writes panic.
struct Panics;

impl AsyncRead for Panics {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Panics {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        panic!("a stream that panics")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn row_97_a_connection_whose_stream_panics_is_ended_and_the_others_receive_the_message() {
    let hub = Hub::<u32>::new();
    let role = Role::Server;
    let ws = WebSocket::from_raw(Panics, bytes::Bytes::new(), role, &Config::new(), Negotiated::default());
    let (_receiver, sender) = ws.split();
    let member = hub.add(sender);
    member.join(&1).await.expect("in memory");
    let seat = joined(&hub, 1).await;
    let sent = hub.to(&1).send("panics for one").await;
    assert_eq!(sent, delivered(|to| (to.sent, to.aborted) = (1, 1)));
    assert!(member.sender().is_closed());
    assert_eq!(hub.to(&1).send("next").await, delivered(|to| (to.sent, to.gone) = (1, 1)));
    assert_eq!(seat.texts(), ["panics for one", "next"]);
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn a_message_is_compressed_once_for_all_members_with_the_same_parameters() {
    use fullduplex::Deflate;

    let hub = Hub::<u32>::new();
    let (mut scripts, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (ws, script) = support::deflate::open(Role::Server, &quiet(), Deflate::new());
        let (receiver, sender) = ws.split();
        let member = hub.add(sender);
        member.join(&1).await.expect("in memory");
        kept.push((receiver, member));
        scripts.push(script);
    }
    let plain = seat(&hub);
    plain.member.join(&1).await.expect("in memory");
    assert_eq!(hub.to(&1).send("compress me ".repeat(100)).await.sent, 4);
    let wire = scripts[0].written();
    assert_eq!(wire[0], 0xC1, "RSV1 is set");
    assert!(wire.len() < 100 && scripts.iter().all(|script| script.written() == wire));
    assert_eq!(plain.texts(), ["compress me ".repeat(100)]);
}

#[test]
fn a_hub_is_used_outside_of_a_runtime() {
    let hub = Hub::<Arc<str>>::new();
    let seat = seat(&hub);
    let room: Arc<str> = "room".into();
    finished(seat.member.join(&room)).expect("in memory");
    assert_eq!(finished(hub.to(&room).send("hello")).sent, 1);
    assert_eq!(seat.texts(), ["hello"]);
    assert_eq!(frames::text("hello").build().len(), PreparedMessage::new("hello").len() + 2);
}
