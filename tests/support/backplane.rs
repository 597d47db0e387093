//! What a backplane guarantees, as tests of any of them.
//!
//! Each test is a function of an [`Engine`]; the macro `contract_tests` makes tests of all of them.
//! Packages of other backplanes include this file by its path.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::{fmt::Debug, future::Future, time::Duration};

use fullduplex::{
    Config, Message, Sequence, WebSocket,
    hub::{
        Backplane, BackplaneError, Event, Hub, Joined, Member, MemberId, Position, PresenceChange, Present,
        Publication, Since, Slow,
    },
    testing,
};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::timeout,
};

/// How long a test waits for what has to happen. It is longer than on any machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// An engine that connects hubs.
pub trait Engine {
    /// Returns a backplane for another hub, connected.
    fn node(&self) -> impl Future<Output = Node>;
}

/// A hub, and what it tells the program.
pub struct Node {
    pub hub: Hub<String>,
    events: mpsc::UnboundedReceiver<Event<String>>,
}

/// A member, and the client at the other end of its connection.
pub struct Seat {
    pub member: Member<String>,
    client: WebSocket<DuplexStream>,
    receiving: AbortHandle,
}

/// Waits for what has to happen.
pub async fn soon<T>(what: impl Debug, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("it did not happen: {what:?}"))
}

pub fn room(name: &str) -> String {
    name.to_owned()
}

impl Node {
    /// Creates a hub whose members receive stored messages with their positions.
    pub fn new(backplane: impl Backplane<String>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let hub = Hub::builder()
            .backplane(backplane)
            .slow(Slow::Abort)
            .encode(|_room, position, message| with_position(position, &message).into())
            // The test may have ended.
            .on_event(move |_hub, event| drop(sender.send(event)))
            .build();
        Self { hub, events }
    }

    /// Adds a member.
    pub fn seat(&self) -> Seat {
        // A test may read nothing while many messages are published.
        let config = Config::new().max_write_buffer_size(64 << 20).ping_interval(None).write_timeout(None);
        let (client, server) = testing::pair(&config);
        let (mut receiver, sender) = server.split();
        let member = self.hub.add(sender);
        let receiving = tokio::spawn(async move { while let Ok(Some(_)) = receiver.recv().await {} });
        Seat { member, client, receiving: receiving.abort_handle() }
    }

    /// Adds a member to a room.
    pub async fn joined(&self, room: &str) -> Seat {
        let seat = self.seat();
        soon("joining", seat.member.join(&room.to_owned())).await.expect("joined");
        seat
    }

    pub async fn publish(&self, room: &str, publication: impl Into<Publication>) -> Position {
        soon("publishing", self.hub.publish(&room.to_owned(), publication)).await.expect("published").position
    }

    /// Waits for an event, and returns what a function finds in it. Others are dropped.
    pub async fn event<T>(&mut self, what: &str, find: impl Fn(Event<String>) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the hub exists");
                if let Some(found) = find(event) {
                    return found;
                }
            }
        };
        soon(what, found).await
    }

    pub async fn lost(&mut self, wanted: &str) {
        self.event("messages are lost", |event| match event {
            Event::Lost { room, .. } if room == wanted => Some(()),
            _ => None,
        })
        .await;
    }

    pub async fn available(&mut self, wanted: bool) {
        let event = if wanted { Event::BackplaneBack } else { Event::BackplaneAway };
        self.event("availability", |other| (other == event).then_some(())).await;
    }

    pub async fn entered(&mut self, member: MemberId) -> Present {
        self.event("a member has entered", |event| match event {
            Event::Presence { change: PresenceChange::Entered(present), .. } if present.member == member => {
                Some(present)
            }
            _ => None,
        })
        .await
    }

    pub async fn left(&mut self, member: MemberId) -> Present {
        self.event("a member has left", |event| match event {
            Event::Presence { change: PresenceChange::Left(present), .. } if present.member == member => {
                Some(present)
            }
            _ => None,
        })
        .await
    }

    /// Returns the events of a kind that have arrived by now.
    pub fn arrived(&mut self, is_wanted: impl Fn(&Event<String>) -> bool) -> Vec<Event<String>> {
        let mut arrived = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if is_wanted(&event) {
                arrived.push(event);
            }
        }
        arrived
    }

    /// Returns the members who are present, in order.
    pub async fn present(&self, room: &str) -> Vec<MemberId> {
        let present = soon("who is present", self.hub.present(&room.to_owned())).await.expect("reachable");
        let mut members: Vec<MemberId> = present.into_iter().map(|present| present.member).collect();
        members.sort();
        members
    }
}

impl Seat {
    pub fn id(&self) -> MemberId {
        self.member.id()
    }

    /// Receives the next message.
    pub async fn next(&mut self) -> String {
        let message = soon("a message", self.client.recv()).await.expect("open").expect("open");
        message.as_text().expect("text").to_owned()
    }

    /// Receives messages.
    pub async fn take(&mut self, count: usize) -> Vec<String> {
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            messages.push(self.next().await);
        }
        messages
    }

    /// Receives a message that is stored.
    pub async fn stored(&mut self) -> (Position, String) {
        let message = self.next().await;
        let (position, text) = message.split_once('|').unwrap_or_else(|| panic!("not stored: {message}"));
        (position.parse().expect("a position"), text.to_owned())
    }

    pub async fn join_since(&self, room: &str, since: Since) -> Joined {
        soon("joining", self.member.join_since(&room.to_owned(), since)).await.expect("joined")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

fn with_position(position: Position, message: &Message) -> Message {
    Message::from(format!("{position}|{}", message.as_text().unwrap_or("not text")))
}

fn texts(page: &fullduplex::hub::Page) -> Vec<&str> {
    page.messages.iter().map(|stored| stored.publication.message().as_text().expect("text")).collect()
}

/// Asserts that positions increase, in one history.
#[track_caller]
pub fn assert_increasing(positions: impl IntoIterator<Item = Position>) {
    let positions: Vec<Position> = positions.into_iter().collect();
    for pair in positions.windows(2) {
        assert!(pair[0].epoch == pair[1].epoch && pair[0].offset < pair[1].offset, "{pair:?}");
    }
}

/// Publishes `each` messages with each of `tasks` tasks, to a room, through some hubs in turn.
/// Returns the positions with the texts.
pub async fn publish_at_once(
    hubs: &[&Hub<String>],
    room: &str,
    tasks: usize,
    each: usize,
) -> Vec<(Position, String)> {
    let mut publishing = JoinSet::new();
    for task in 0..tasks {
        let (hub, room) = (Hub::clone(hubs[task % hubs.len()]), room.to_owned());
        publishing.spawn(async move {
            let mut published = Vec::new();
            for number in 0..each {
                let text = format!("{task}.{number}");
                let position = hub.publish(&room, text.as_str()).await.expect("published").position;
                published.push((position, text));
            }
            published
        });
    }
    let mut published: Vec<_> =
        soon("publishing", publishing.join_all()).await.into_iter().flatten().collect();
    published.sort_by_key(|(position, _)| position.offset);
    published
}

pub async fn all_nodes_receive_the_messages_of_eight_publishers_once_in_one_order(engine: impl Engine) {
    let (one, two) = (engine.node().await, engine.node().await);
    let (mut a, mut b) = (one.joined("r").await, two.joined("r").await);
    let published = publish_at_once(&[&one.hub, &two.hub], "r", 8, 50).await;
    assert_increasing(published.iter().map(|(position, _)| *position));
    let expected: Vec<String> =
        published.iter().map(|(position, text)| format!("{position}|{text}")).collect();
    assert_eq!(a.take(400).await, expected);
    assert_eq!(b.take(400).await, expected);
    // Nothing follows but what is sent now.
    one.publish("r", "end").await;
    assert!(a.next().await.ends_with("|end") && b.next().await.ends_with("|end"));
}

pub async fn a_message_with_a_known_id_is_stored_once(engine: impl Engine) {
    let (one, two) = (engine.node().await, engine.node().await);
    let mut member = two.joined("r").await;
    let first = one.hub.publish(&room("r"), Publication::new("a").id("1")).await.expect("published");
    let again = two.hub.publish(&room("r"), Publication::new("other").id("1")).await.expect("published");
    let elsewhere = two.hub.publish(&room("s"), Publication::new("a").id("1")).await.expect("published");
    assert_eq!((first.duplicate, again.duplicate, elsewhere.duplicate), (false, true, false));
    assert_eq!(first.position, again.position);
    one.publish("r", "b").await;
    assert_eq!(member.stored().await, (first.position, "a".into()));
    assert_eq!(member.stored().await.1, "b");
    let page = two.hub.read_before(&room("r"), None, 9).await.expect("reachable");
    assert_eq!(texts(&page), ["a", "b"]);
    assert_eq!(page.messages[0].publication.get_id(), Some("1"));
}

pub async fn a_history_is_read_in_pages(engine: impl Engine) {
    let (one, two) = (engine.node().await, engine.node().await);
    let r = room("r");
    let _member = one.joined("r").await;
    let mut positions = Vec::new();
    for number in 0..10 {
        positions.push(one.publish("r", number.to_string().as_str()).await);
    }
    assert_increasing(positions.iter().copied());

    let page = two.hub.read_after(&r, positions[1], 3).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last, page.epoch), (vec!["2", "3", "4"], false, positions[0].epoch));
    assert_eq!(page.messages[0].offset, positions[2].offset);
    let page = two.hub.read_after(&r, positions[6], 3).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last), (vec!["7", "8", "9"], true));
    let page = two.hub.read_after(&r, positions[9], 3).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last), (vec![], true));
    let page = two.hub.read_after(&r, positions[9], 0).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last), (vec![], true));
    let page = two.hub.read_after(&r, positions[8], 0).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last), (vec![], false));

    let page = two.hub.read_before(&r, None, 3).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last, page.epoch), (vec!["7", "8", "9"], false, positions[0].epoch));
    let page = two.hub.read_before(&r, Some(positions[2].offset), 3).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last), (vec!["0", "1"], true));
    let page = two.hub.read_before(&r, Some(positions[3].offset), 3).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last), (vec!["0", "1", "2"], true));
    let page = two.hub.read_before(&r, Some(positions[0].offset), 3).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last), (vec![], true));
    let page = two.hub.read_before(&r, None, usize::MAX).await.expect("it exists");
    assert_eq!((page.messages.len(), page.is_last), (10, true));
    let page = two.hub.read_before(&room("empty"), None, 3).await.expect("it exists");
    assert_eq!((texts(&page), page.is_last), (vec![], true));
}

pub async fn a_position_of_another_history_is_lost(engine: impl Engine) {
    let one = engine.node().await;
    let r = room("r");
    let _member = one.joined("r").await;
    let last = one.publish("r", "a").await;
    for position in [
        Position { epoch: last.epoch ^ 1, offset: last.offset },
        Position { epoch: last.epoch, offset: last.offset + 1 },
        Position { epoch: last.epoch, offset: u64::MAX },
    ] {
        let read = one.hub.read_after(&r, position, 9).await;
        assert!(matches!(read, Err(BackplaneError::Lost)), "{position}: {read:?}");
    }
    one.hub.delete_history(&r).await.expect("reachable");
    let next = one.publish("r", "b").await;
    assert_ne!(next, last);
    assert!(matches!(one.hub.read_after(&r, last, 9).await, Err(BackplaneError::Lost)));
    let page = one.hub.read_before(&r, None, 9).await.expect("reachable");
    assert_eq!((texts(&page), page.is_last, page.epoch), (vec!["b"], true, next.epoch));
}

pub async fn a_member_that_comes_back_receives_what_it_has_missed_and_what_is_published_meanwhile(
    engine: impl Engine,
) {
    let (one, two) = (engine.node().await, engine.node().await);
    let _stays = one.joined("r").await;
    let first = one.publish("r", "first").await;
    let publishing = {
        let hubs = [one.hub.clone(), two.hub.clone()];
        tokio::spawn(async move { publish_at_once(&hubs.each_ref(), "r", 4, 50).await })
    };
    let mut seat = two.seat();
    let joined = seat.join_since("r", Since::Position(first)).await;
    assert!(!joined.has_lost);
    let expected = publishing.await.expect("no panic");
    for expected in expected {
        assert_eq!(seat.stored().await, expected);
    }
}

pub async fn a_member_that_leaves_and_joins_again_receives_each_message_once(engine: impl Engine) {
    let (one, two) = (engine.node().await, engine.node().await);
    let publishing = {
        let hubs = [one.hub.clone()];
        tokio::spawn(async move { publish_at_once(&hubs.each_ref(), "r", 2, 150).await })
    };
    let mut seat = two.seat();
    let mut received = Vec::new();
    while received.len() < 300 {
        let since = match received.last() {
            Some((position, _)) => Since::Position(*position),
            None => Since::Last(usize::MAX),
        };
        let joined = seat.join_since("r", since).await;
        assert!(!joined.has_lost, "{joined:?}");
        // It is sent what is published by the time it leaves, and maybe more.
        let mut message = seat.stored().await;
        assert!(seat.member.leave(&room("r")));
        two.hub.to_one(seat.id()).send("0-0|left").await;
        while message.1 != "left" {
            let last = received.last().map_or(0, |(position, _): &(Position, String)| position.offset);
            if message.0.offset > last {
                received.push(message);
            }
            message = seat.stored().await;
        }
    }
    assert_eq!(received, publishing.await.expect("no panic"));
}

pub async fn messages_that_are_not_stored_reach_those_they_are_for(engine: impl Engine) {
    let (mut one, mut two) = (engine.node().await, engine.node().await);
    let (mut a, mut b, mut c) = (one.joined("r").await, two.joined("r").await, two.joined("s").await);
    one.hub.to(&room("r")).except(b.id()).send("except b").await;
    one.hub.to(&room("r")).send("to r").await;
    assert_eq!((a.take(2).await, b.next().await), (vec!["except b".into(), "to r".into()], "to r".into()));
    one.hub.to_one(c.id()).send("to c").await;
    assert_eq!(c.next().await, "to c");
    two.hub.to_one(a.id()).send("to a").await;
    assert_eq!(a.next().await, "to a");
    two.hub.to_all().send("to all").await;
    assert_eq!([a.next().await, b.next().await, c.next().await], ["to all"; 3]);
    one.hub.signal("to the hubs").expect("reachable");
    two.event("a signal", |event| (event == Event::Signal("to the hubs".into())).then_some(())).await;
    assert_eq!(one.arrived(|event| matches!(event, Event::Signal(_))), [], "not to itself");
    let page = one.hub.read_before(&room("r"), None, 9).await.expect("reachable");
    assert_eq!(texts(&page), [""; 0]);
}

pub async fn selections_and_sequences_are_the_same_on_all_nodes(engine: impl Engine) {
    let (one, two) = (engine.node().await, engine.node().await);
    let (mut a, mut b) = (one.joined("r").await, two.joined("r").await);
    soon("joining", b.member.join(&room("s"))).await.expect("joined");
    let sequence = || Sequence::new("first", [Message::from("second")]);
    one.hub.to_all().rooms(["s"]).send(sequence()).await;
    one.hub.to(&room("r")).except_rooms(["s"]).send("not to s").await;
    one.hub.to_all().members([b.id()]).send("to b").await;
    assert_eq!(
        (a.next().await, b.take(3).await),
        ("not to s".into(), ["first", "second", "to b"].map(String::from).into())
    );
    let start = one.publish("r", "start").await;
    one.publish("r", Publication::new(sequence()).rooms(["s"])).await;
    one.publish("r", Publication::new("not to s").except_rooms(["s"])).await;
    assert_eq!(a.take(2).await.last().map(|last| last.ends_with("|not to s")), Some(true));
    assert_eq!(b.stored().await.1, "start");
    assert_eq!((b.stored().await.1, b.next().await), ("first".into(), "second".into()));
    let mut back = one.joined("s").await;
    back.join_since("r", Since::Position(start)).await;
    assert_eq!((back.stored().await.1, back.next().await), ("first".into(), "second".into()));
}

pub async fn all_nodes_learn_who_enters_and_leaves(engine: impl Engine) {
    let (mut one, mut two) = (engine.node().await, engine.node().await);
    let (a, b) = (one.joined("r").await, two.joined("r").await);
    let r = room("r");
    soon("entering", a.member.enter(&r, "ann")).await.expect("entered");
    assert_eq!(one.entered(a.id()).await.data, "ann");
    assert_eq!(two.entered(a.id()).await.data, "ann");
    soon("entering", b.member.enter(&r, "ben")).await.expect("entered");
    one.entered(b.id()).await;
    let mut both = [a.id(), b.id()];
    both.sort();
    assert_eq!(two.present("r").await, both);

    soon("entering", a.member.enter(&r, "anna")).await.expect("entered");
    assert_eq!(two.entered(a.id()).await.data, "anna", "new data");
    assert_eq!(one.present("r").await, both);
    assert_eq!(one.present("s").await, []);

    a.member.leave(&r);
    assert_eq!(two.left(a.id()).await.data, "anna");
    assert_eq!(two.present("r").await, [b.id()]);
    let (_watching, id) = (one.joined("r").await, b.id());
    drop(b);
    assert_eq!(one.left(id).await.data, "ben");
    assert_eq!(one.present("r").await, []);
}

pub async fn a_thousand_rooms_are_independent(engine: impl Engine) {
    const ROOMS: usize = 1000;
    let (one, two) = (engine.node().await, engine.node().await);
    let mut joining = JoinSet::new();
    for number in 0..ROOMS {
        let seat = two.seat();
        joining.spawn(async move {
            seat.member.join(&format!("room {number}")).await.expect("joined");
            (number, seat)
        });
    }
    let mut seats = soon("joining", joining.join_all()).await;
    let mut publishing = JoinSet::new();
    for number in 0..ROOMS {
        let hub = one.hub.clone();
        publishing.spawn(async move {
            for text in ["a", "b", "c"] {
                let message = format!("{text} of {number}");
                hub.publish(&format!("room {number}"), message.as_str()).await.expect("published");
            }
        });
    }
    soon("publishing", publishing.join_all()).await;
    for (number, seat) in &mut seats {
        for text in ["a", "b", "c"] {
            assert_eq!(seat.stored().await.1, format!("{text} of {number}"));
        }
    }
}

/// Makes a test of each of these, with an expression that starts an engine.
#[macro_export]
macro_rules! contract_tests {
    ($start:expr) => {
        $crate::contract_tests! { $start =>
            all_nodes_receive_the_messages_of_eight_publishers_once_in_one_order
            a_message_with_a_known_id_is_stored_once
            a_history_is_read_in_pages
            a_position_of_another_history_is_lost
            a_member_that_comes_back_receives_what_it_has_missed_and_what_is_published_meanwhile
            a_member_that_leaves_and_joins_again_receives_each_message_once
            messages_that_are_not_stored_reach_those_they_are_for
            selections_and_sequences_are_the_same_on_all_nodes
            all_nodes_learn_who_enters_and_leaves
            a_thousand_rooms_are_independent
        }
    };
    ($start:expr => $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                backplane::$name($start).await;
            }
        )*
    };
}
