//! Members that are selected by their rooms, and messages that are sent as one unit, in hubs.
#![cfg(feature = "hub")]

mod support;

use std::time::Duration;

use fullduplex::{
    Message, Sequence,
    hub::{Delivered, Event, Hub, Memory, Position, Publication, Since, Slow, Transient},
};
use support::{
    finished,
    frames::{self, binary, text, wire},
    hub::{Seat, fill, quiet, seat, seat_with},
    settle,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Adds a member that is in these rooms, in this order.
async fn seat_in(hub: &Hub, rooms: &[&str]) -> Seat<String> {
    let seat = seat(hub);
    for room in rooms {
        seat.member.join(*room).await.expect("in memory");
    }
    seat
}

fn sequence() -> Sequence {
    Sequence::new("one follows", [Message::binary("it")])
}

fn frames_of_sequence() -> Vec<u8> {
    wire(&[text("one follows"), binary("it")])
}

#[tokio::test]
async fn a_member_of_several_selected_rooms_receives_a_message_once() {
    let hub = Hub::new();
    let seats = [
        seat_in(&hub, &["a"]).await,
        seat_in(&hub, &["a", "b"]).await,
        seat_in(&hub, &["b", "c"]).await,
        seat_in(&hub, &["c"]).await,
        seat_in(&hub, &[]).await,
    ];
    assert_eq!(hub.to_all().rooms(["a", "b"]).send("a, b").await.sent, 3);
    assert_eq!(hub.to_all().rooms(["a"]).rooms(["b"]).except_rooms(["c"]).send("a, b, not c").await.sent, 2);
    assert_eq!(hub.to("a").rooms(["b"]).send("a and b").await.sent, 1);
    assert_eq!(hub.to_all().except_rooms(["a", "b"]).send("not a, not b").await.sent, 2);
    assert_eq!(hub.to_all().rooms(["nowhere"]).except_rooms(["nobody"]).send("to nobody").await.sent, 0);
    assert_eq!(hub.to_all().rooms([""; 0]).send("to nobody").await.sent, 0);
    let [one, two, three, four, five] = seats.each_ref().map(Seat::texts);
    assert_eq!(one, ["a, b", "a, b, not c"]);
    assert_eq!(two, ["a, b", "a, b, not c", "a and b"]);
    assert_eq!(three, ["a, b"]);
    assert_eq!((four, five), (vec!["not a, not b".to_owned()], vec!["not a, not b".to_owned()]));
}

#[tokio::test]
async fn few_members_of_a_large_room_are_selected_or_excluded() {
    let hub = Hub::new();
    let mut seats = Vec::new();
    for number in 0..1000 {
        seats.push(seat_in(&hub, if number % 100 == 7 { &["all", "few"] } else { &["all"] }).await);
    }
    let ids = [7, 8, 107].map(|number: usize| seats[number].member.id());
    assert_eq!(hub.to("all").rooms(["few"]).members([ids[1]]).except(ids[2]).send("1").await.sent, 10);
    assert_eq!(hub.to_all().rooms(["few"]).send("2").await.sent, 10);
    assert_eq!(hub.to("all").except_rooms(["few"]).send("3").await.sent, 990);
    hub.publish("all", Publication::new("4").rooms(["few"])).await.expect("in memory");
    hub.to("all").send("5").await;
    for (number, seat) in seats.iter().enumerate() {
        let expected = match number {
            107 => &["2", "4", "5"][..],
            8 => &["1", "3", "5"],
            _ if number % 100 == 7 => &["1", "2", "4", "5"],
            _ => &["3", "5"],
        };
        assert_eq!(seat.texts(), expected, "{number}");
    }
}

#[tokio::test]
async fn several_members_are_selected_or_excluded() {
    let hub = Hub::new();
    let [a, b, c] = [seat_in(&hub, &["r"]).await, seat_in(&hub, &["r"]).await, seat_in(&hub, &["s"]).await];
    let ids = [&a, &b, &c].map(|seat| seat.member.id());
    hub.to_all().except(ids[0]).except(ids[1]).send("to c").await;
    hub.to_all().members([ids[0]]).members([ids[2]]).send("to a, c").await;
    hub.to_all().members([ids[0]]).rooms(["s"]).except(ids[2]).send("to a").await;
    hub.to("r").members([ids[1], ids[2]]).send("to b").await;
    hub.to_one(ids[0]).except_rooms(["r"]).send("to nobody").await;
    hub.to_one(ids[0]).rooms(["r"]).send("to a in r").await;
    assert_eq!(a.texts(), ["to a, c", "to a", "to a in r"]);
    assert_eq!(b.texts(), ["to b"]);
    assert_eq!(c.texts(), ["to c", "to a, c"]);
}

#[tokio::test]
async fn all_conditions_are_met() {
    let hub = Hub::new();
    let user = |name: &str| {
        let (receiver, sender, script) = support::script::split_server(quiet());
        Seat { member: hub.add_user(sender, name), script, receiver }
    };
    let seats = [user("ann"), user("bob"), user("eve"), user("ann")];
    for (seat, room) in seats.iter().zip(["a", "a", "a", "b"]) {
        seat.member.join(room).await.expect("in memory");
    }
    hub.to_all().rooms(["a"]).users(["ann"]).users(["bob"]).send("1").await;
    hub.to("a").except_user("ann").except_user("bob").send("2").await;
    hub.to_all().users(["ann"]).except(seats[0].member.id()).send("3").await;
    hub.to("a").users(["ann"]).except_user("ann").send("to nobody").await;
    let texts = seats.each_ref().map(Seat::texts);
    assert_eq!(texts, [vec!["1"], vec!["1"], vec!["2"], vec!["3"]]);

    let publication = Publication::new("x").rooms(["a"]).users(["ann"]).except_user("bob");
    assert!(
        publication.is_for_user("ann") && !publication.is_for_user("bob") && !publication.is_for_user("eve")
    );
    assert!(Publication::new("x").rooms(["a"]).is_for_user("anyone"));
}

#[tokio::test]
async fn members_of_other_hubs_are_selected_by_the_same_conditions() {
    let memory = Memory::history(10, HOUR);
    let [left, right] = [(); 2].map(|()| Hub::builder().backplane(memory.clone()).build());
    let near = seat_in(&left, &["a", "b"]).await;
    let far = [seat_in(&right, &["a"]).await, seat_in(&right, &["b", "c"]).await];
    let id = far[0].member.id();
    left.to_all().rooms(["a", "b"]).except_rooms(["c"]).send("a, b, not c").await;
    left.to_all().members([id]).send("to one").await;
    left.to("a").except(near.member.id()).except(id).send("to nobody").await;
    left.to_all().rooms(["a", "b"]).here().send("here").await;
    assert_eq!(near.texts(), ["a, b, not c", "here"]);
    assert_eq!(far.each_ref().map(Seat::texts), [vec!["a, b, not c", "to one"], vec![]]);
}

#[tokio::test]
async fn rooms_have_names_that_the_program_sets() {
    let hub: Hub<u32> = Hub::builder().room_named(|name| name.parse().ok()).build();
    let unnamed = Hub::<u32>::new();
    for (hub, sent) in [(&hub, 1), (&unnamed, 0)] {
        let seat = seat(hub);
        seat.member.join(&1).await.expect("in memory");
        assert_eq!(hub.to_all().rooms(["1", "x"]).send("to 1").await.sent, sent);
        assert_eq!(hub.to_all().except_rooms(["1"]).send("not to 1").await.sent, 1 - sent);
    }
}

/// The history of one room has the messages of several; a member that comes back joins those first.
#[tokio::test]
async fn a_member_that_comes_back_receives_what_was_for_its_rooms_by_one_position() {
    let memory = Memory::history(100, HOUR);
    let [left, right] = [(); 2].map(|()| Hub::builder().backplane(memory.clone()).build());
    let lasting = seat_in(&left, &["b", "c", "all"]).await;
    let gone = seat_in(&left, &["a", "b", "all"]).await;
    let id = gone.member.id();
    let seen = publish(&left, Publication::new("seen")).await;
    assert_eq!(gone.texts(), ["seen"]);
    drop(gone);

    publish(&right, Publication::new("a").rooms(["a"])).await;
    publish(&left, Publication::new("c").rooms(["c"])).await;
    publish(&left, Publication::new("a or b").rooms(["a", "b"])).await;
    publish(&left, Publication::new("b, not c").rooms(["b"]).except_rooms(["c"])).await;
    publish(&left, Publication::new("not a").except_rooms(["a"])).await;
    publish(&left, Publication::new("to the member").members([id])).await;
    publish(&left, Publication::new("to others").except(id).except(lasting.member.id())).await;
    publish(&left, Publication::new("all")).await;
    assert_eq!(lasting.texts(), ["seen", "c", "a or b", "not a", "all"]);

    let back = seat_in(&right, &["a", "b"]).await;
    let joined = back.member.join_since("all", Since::Position(seen)).await.expect("in memory");
    assert!(!joined.has_lost);
    assert_eq!(back.texts(), ["a", "a or b", "b, not c", "to others", "all"]);
    back.member.leave("b");
    publish(&left, Publication::new("b").rooms(["b"])).await;
    publish(&left, Publication::new("a again").rooms(["a"])).await;
    assert_eq!(back.texts(), ["a again"]);
}

async fn publish(hub: &Hub, publication: Publication) -> Position {
    hub.publish("all", publication).await.expect("in memory").position
}

#[tokio::test]
async fn a_sequence_reaches_members_as_one_unit_on_all_hubs() {
    let memory = Memory::history(10, HOUR);
    let encoding = || {
        Hub::builder().backplane(memory.clone()).encode(|_, position, message| {
            format!("{} {}", position.offset, message.as_text().expect("text")).into()
        })
    };
    let [left, right] = [(); 2].map(|()| encoding().build());
    let seats = [seat_in(&left, &["r"]).await, seat_in(&right, &["r"]).await];
    left.to("r").send(sequence()).await;
    left.to_one(seats[1].member.id()).send(sequence()).await;
    let stored = right.publish("r", sequence()).await.expect("in memory").position;
    let encoded = wire(&[text(format!("{} one follows", stored.offset)), binary("it")]);
    assert_eq!(seats[0].script.take_written(), [frames_of_sequence(), encoded.clone()].concat());
    assert_eq!(seats[1].script.take_written(), [frames_of_sequence().repeat(2), encoded.clone()].concat());

    let late = seat(&left);
    late.member.join_since("r", Since::Last(10)).await.expect("in memory");
    assert_eq!(late.script.take_written(), encoded);
    let page = left.read_before("r", None, 10).await.expect("in memory");
    assert_eq!(page.messages[0].publication.sequence(), &sequence());
    assert_eq!(page.messages[0].publication.message(), sequence().first());
}

#[tokio::test]
async fn a_signal_is_one_message() {
    let memory = Memory::history(10, HOUR);
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let on_event = move |_: &Hub, event| sender.send(event).expect("the test runs");
    let _told = Hub::builder().backplane(memory.clone()).on_event(on_event).build();
    let other: Hub = Hub::builder().backplane(memory).build();
    other.signal("signal").expect("in memory");
    assert_eq!(events.try_recv(), Ok(Event::Signal("signal".into())));
}

#[tokio::test]
async fn a_sequence_without_room_is_dropped_as_a_whole_or_waits_as_one() {
    let hub: Hub = Hub::new();
    let size = frames_of_sequence().len();
    let slow = || {
        let seat = seat_with(&hub, quiet().max_write_buffer_size(size + 3));
        seat.script.allow_writes(0);
        fill(seat.member.sender(), 2);
        seat
    };
    let seat = slow();
    let to = || hub.to_one(seat.member.id());
    let delivered = to().send(sequence()).await;
    assert_eq!(delivered, one(|to| to.dropped = 1));
    assert_eq!(seat.member.sender().queued_bytes(), 4, "no part of it is queued");
    let latest = || to().slow(Slow::KeepLatest("kind".into()));
    let older = Sequence::new("older and longer", [Message::binary("older")]);
    assert_eq!(latest().send(older).await, one(|to| to.waiting = 1));
    assert_eq!(latest().send(sequence()).await, one(|to| to.waiting = 1));
    seat.script.allow_writes(None);
    finished(seat.member.sender().flush()).expect("open");
    settle().await;
    assert_eq!(seat.script.take_written(), [text("xx").build(), frames_of_sequence()].concat());

    let seat = slow();
    assert_eq!(
        hub.to_one(seat.member.id()).slow(Slow::Close).send(sequence()).await,
        one(|to| to.closed = 1)
    );
    seat.script.allow_writes(None);
    finished(seat.member.sender().flush()).expect("open");
    let written = frames::parse(&seat.script.take_written());
    assert_eq!((written.len(), written[1].0), (2, 0x88), "the message before, and a Close");
}

fn one(change: impl FnOnce(&mut Delivered)) -> Delivered {
    let mut delivered = Delivered::default();
    change(&mut delivered);
    delivered
}

/// Those of hubs of the version before stay as they were, so that both can be on one backplane.
#[test]
fn records_that_need_nothing_new_have_the_form_that_they_had() {
    let publication = Publication::new("a").users(["ann"]).id("1");
    let names = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0, 0, 0, 0, 0, 0, 0, 4], b"ann"].concat();
    let id = [&[0, 0, 0, 0, 0, 0, 0, 2][..], b"1"].concat();
    assert_eq!(publication.to_bytes(), [&[1, 1, 2][..], &names, &id, b"a"].concat());
    // A sequence of one message, and a selection with a shorter form, have that alone.
    let one = [&[1, 2, 0][..], &[0; 8], &[1], &[0, 0, 0, 0, 0, 0, 0, 1], b"a"].concat();
    assert!(Publication::from_bytes(&one).is_err());
    let two = [&one[..], &[0], &[0, 0, 0, 0, 0, 0, 0, 1], b"b"].concat();
    let expected = Publication::new(Sequence::new("a", [Message::binary("b")]));
    assert_eq!(Publication::from_bytes(&two), Ok(expected));
    let everyone = [&[1, 1, 4, 0, 0][..], &[0; 24], &[0; 8], b"a"].concat();
    assert!(Publication::from_bytes(&everyone).is_err());
    assert!(Transient::from_bytes(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err(), "without a message");
}
