//! Rooms under several calls at once, dropped futures, panics, floods and errors.
#![cfg(feature = "hub")]

mod support;

use std::{
    hash::{Hash, Hasher},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use fullduplex::{
    Error, Message,
    hub::{Backplane, Hub, HubError, Member, Memory, Position, Publication, Since, Slow},
};
use support::{
    finished,
    hub::{Flaky, Seat, fill, quiet, seat, seat_with},
    pending, poll_once, settle,
};

const HOUR: Duration = Duration::from_secs(3600);

fn numbering(memory: impl Backplane<String>) -> Hub {
    Hub::builder()
        .backplane(memory)
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

async fn joined(hub: &Hub) -> Seat<String> {
    let seat = seat(hub);
    seat.member.join(&room()).await.expect("in memory");
    seat
}

/// Returns a hub with a member, whose room has many messages.
async fn with_history(backplane: impl Backplane<String>) -> (Hub, Seat<String>) {
    let hub = numbering(backplane);
    let keeper = joined(&hub).await;
    for _ in 0..3000 {
        publish(&hub, "x").await;
    }
    (hub, keeper)
}

/// Adds a member with a small write buffer, over a stream that accepts nothing.
fn blocked(hub: &Hub) -> Seat<String> {
    let seat = seat_with(hub, quiet().max_write_buffer_size(20));
    seat.script.allow_writes(0);
    seat
}

// Catching up.

#[tokio::test]
async fn row_97_a_join_that_is_dropped_while_it_flushes_leaves_no_member() {
    let hub = numbering(Memory::history(10, HOUR));
    let keeper = joined(&hub).await;
    publish(&hub, "x").await;
    let slow = seat(&hub);
    slow.script.allow_writes(0);
    let room = room();
    let mut joining = Box::pin(slow.member.join_since(&room, Since::Last(1)));
    pending(joining.as_mut(), "the stream accepts nothing");
    drop(joining);
    assert_eq!(hub.members(&room), [keeper.member.id()]);
}

#[tokio::test]
async fn row_97_a_join_that_fails_while_it_flushes_leaves_no_member() {
    let hub = numbering(Memory::history(10, HOUR));
    let keeper = joined(&hub).await;
    publish(&hub, "x").await;
    let slow = seat(&hub);
    slow.script.allow_writes(0);
    let room = room();
    let mut joining = Box::pin(slow.member.join_since(&room, Since::Last(1)));
    pending(joining.as_mut(), "the stream accepts nothing");
    slow.member.sender().abort();
    assert!(matches!(joining.await, Err(HubError::Gone)));
    assert_eq!(hub.members(&room), [keeper.member.id()]);
}

#[tokio::test]
async fn a_dropped_join_does_not_end_a_later_membership() {
    let (hub, keeper) = with_history(Memory::history(100, HOUR)).await;
    let slow = blocked(&hub);
    let room = room();
    let mut joining = Box::pin(slow.member.join_since(&room, Since::Last(20)));
    pending(joining.as_mut(), "the stream accepts nothing");
    assert!(slow.member.leave(&room));
    slow.member.join(&room).await.expect("in memory");
    drop(joining);
    assert_eq!(hub.members(&room), [keeper.member.id(), slow.member.id()]);
    assert_eq!(slow.member.rooms(), [room], "the second join has returned Ok");
}

#[tokio::test]
async fn a_join_whose_room_is_left_meanwhile_does_not_say_that_it_has_joined() {
    let (hub, keeper) = with_history(Memory::history(100, HOUR)).await;
    let slow = blocked(&hub);
    let room = room();
    let mut joining = Box::pin(slow.member.join_since(&room, Since::Last(20)));
    pending(joining.as_mut(), "the stream accepts nothing");
    assert!(slow.member.leave(&room));
    slow.script.allow_writes(None);
    let joined = joining.await;
    assert!(joined.is_err(), "{joined:?}, member of {:?}", slow.member.rooms());
    assert_eq!(hub.members(&room), [keeper.member.id()], "a membership ends once");
}

/// The old membership is in the list that a broadcast keeps; the new one reads the message from the
/// history.
#[tokio::test]
async fn a_member_that_comes_back_during_a_broadcast_receives_the_message_once() {
    let hub = numbering(Memory::history(100, HOUR));
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(joined(&hub).await);
    }
    let back = joined(&hub).await;
    let before = publish(&hub, "before").await;
    settle().await;
    assert_eq!(back.texts(), ["1 before"]);
    publish(&hub, "x").await;
    back.member.leave(&room());
    back.member.join_since(&room(), Since::Position(before)).await.expect("in memory");
    settle().await;
    assert_eq!(back.texts(), ["2 x"]);
}

#[tokio::test]
async fn a_member_that_has_left_receives_nothing_more() {
    let hub = numbering(Memory::history(100, HOUR));
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(joined(&hub).await);
    }
    let gone = joined(&hub).await;
    hub.to(&room()).send("x");
    gone.member.leave(&room());
    settle().await;
    assert_eq!(gone.texts(), [""; 0]);
}

#[tokio::test]
async fn what_is_published_right_after_catching_up_is_not_dropped() {
    let hub = numbering(Memory::history(100, HOUR));
    let _keeper = joined(&hub).await;
    publish(&hub, "x".repeat(96)).await;
    let slow = seat_with(&hub, quiet().max_write_buffer_size(100));
    slow.script.allow_writes(0);
    let room = room();
    let mut joining = Box::pin(slow.member.join_since(&room, Since::Last(10)));
    pending(joining.as_mut(), "the stream accepts nothing");
    publish(&hub, "next").await;
    slow.script.allow_writes(None);
    assert!(!joining.await.expect("in memory").has_lost);
    slow.member.sender().flush().await.expect("open");
    let texts = slow.texts();
    assert_eq!(texts.last().expect("history"), "2 next", "{} messages", texts.len());
}

/// The history takes only a part of the write buffer.
#[tokio::test]
async fn catching_up_in_one_room_does_not_close_the_member_of_another() {
    let hub: Hub = Hub::builder().backplane(Memory::history(1000, HOUR)).slow(Slow::Close).build();
    let keeper = joined(&hub).await;
    for _ in 0..200 {
        publish(&hub, "x".repeat(1000)).await;
    }
    keeper.script.take_written();
    let back = seat_with(&hub, quiet().max_write_buffer_size(64 << 10));
    let other = "other".to_owned();
    back.member.join(&other).await.expect("in memory");
    // The peer takes 16 KiB in each round trip.
    back.script.allow_writes(16 << 10);
    let room = room();
    let mut joining = Box::pin(back.member.join_since(&room, Since::Last(200)));
    for _ in 0..100 {
        pending(joining.as_mut(), "the next round trip");
    }
    hub.publish(&other, "live").await.expect("in memory");
    assert!(!back.member.sender().is_closed(), "not closed as slow");
}

#[tokio::test]
async fn nothing_is_lost_if_the_history_was_deleted_and_the_last_messages_are_asked_for() {
    let hub = numbering(Memory::history(10, HOUR));
    let _keeper = joined(&hub).await;
    publish(&hub, "x").await;
    hub.delete_history(&room()).await.expect("in memory");
    let newcomer = seat(&hub);
    let joined = newcomer.member.join_since(&room(), Since::Last(10)).await.expect("in memory");
    assert!(!joined.has_lost, "it has asked for no position");
    let next = publish(&hub, "next").await;
    assert_eq!(joined.position.epoch, next.epoch, "`next` follows the position that was returned");
}

// Several calls of one member.

#[tokio::test]
async fn two_joins_of_one_member_receive_a_message_once() {
    let hub = numbering(Flaky::new());
    let (seat, room) = (seat(&hub), room());
    let mut plain = Box::pin(seat.member.join(&room));
    let mut since = Box::pin(seat.member.join_since(&room, Since::Last(10)));
    pending(plain.as_mut(), "it yields");
    pending(since.as_mut(), "the other subscribes");
    assert!(poll_once(plain.as_mut()).is_ready());
    publish(&hub, "x").await;
    since.await.expect("in memory");
    assert_eq!(seat.texts(), ["1 x"]);
}

#[tokio::test]
async fn a_dropped_join_since_does_not_undo_a_join() {
    let (hub, keeper) = with_history(Flaky::new()).await;
    drop(keeper);
    let (seat, room) = (blocked(&hub), room());
    let mut plain = Box::pin(seat.member.join(&room));
    let mut since = Box::pin(seat.member.join_since(&room, Since::Last(10)));
    pending(plain.as_mut(), "it yields");
    pending(since.as_mut(), "the other subscribes");
    assert!(poll_once(plain.as_mut()).is_ready());
    assert!(poll_once(since.as_mut()).is_ready(), "the member is in the room already");
    drop(since);
    assert_eq!(seat.member.rooms(), std::slice::from_ref(&room), "`join` has returned Ok");
}

/// A key whose comparison takes a little time.
#[derive(Clone, Debug)]
struct Key(u32);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        std::thread::sleep(Duration::from_micros(20));
        self.0 == other.0
    }
}

impl Eq for Key {}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_tasks_that_join_one_room_at_once_receive_a_message_once() {
    let hub = Hub::<Key>::new();
    let _keeper = seat(&hub);
    _keeper.member.join(&Key(1)).await.expect("in memory");
    let is_over = Arc::new(AtomicBool::new(false));
    let (publisher, over) = (hub.clone(), is_over.clone());
    let publishing = tokio::spawn(async move {
        let mut count = 0;
        while !over.load(Relaxed) {
            count += 1;
            publisher.publish(&Key(1), format!("{count}")).await.expect("in memory");
            tokio::task::yield_now().await;
        }
    });
    let mut twice = Vec::new();
    for _ in 0..1000 {
        let Seat { member, script, receiver: _receiver } = seat(&hub);
        let member = Arc::new(member);
        let both = [member.clone(), member.clone()].map(|member: Arc<Member<Key>>| {
            tokio::spawn(async move { member.join(&Key(1)).await.expect("in memory") })
        });
        for join in both {
            join.await.expect("no panic");
        }
        member.leave(&Key(1));
        let texts = support::hub::texts(&script);
        twice.extend(texts.windows(2).find(|pair| pair[0] == pair[1]).map(<[String]>::to_vec));
    }
    is_over.store(true, Relaxed);
    publishing.await.expect("no panic");
    assert!(twice.is_empty(), "{} of 1000, such as {:?}", twice.len(), twice[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_position_of_a_join_is_before_the_first_message() {
    let hub: Hub<Key> =
        Hub::builder().encode(|_, position, _| Message::from(position.offset.to_string()).into()).build();
    let keeper = seat(&hub);
    keeper.member.join(&Key(1)).await.expect("in memory");
    let is_over = Arc::new(AtomicBool::new(false));
    let (publisher, over) = (hub.clone(), is_over.clone());
    let publishing = tokio::spawn(async move {
        while !over.load(Relaxed) {
            publisher.publish(&Key(1), "x").await.expect("in memory");
            tokio::task::yield_now().await;
        }
    });
    let mut wrong = Vec::new();
    for _ in 0..1000 {
        let seat = seat(&hub);
        seat.member.join(&Key(2)).await.expect("in memory");
        let position = seat.member.join(&Key(1)).await.expect("in memory");
        hub.to(&Key(1)).send("0").await;
        let first = seat.texts()[0].parse::<u64>().expect("an offset");
        if (1..=position.offset).contains(&first) {
            wrong.push((position.offset, first));
        }
    }
    is_over.store(true, Relaxed);
    publishing.await.expect("no panic");
    assert!(wrong.is_empty(), "{} of 1000: the position {} and then {}", wrong.len(), wrong[0].0, wrong[0].1);
}

#[tokio::test]
async fn a_member_that_leaves_while_it_enters_is_not_present() {
    let flaky = Flaky::new();
    let hub = numbering(flaky.clone());
    let seat = joined(&hub).await;
    flaky.is_away.store(true, Relaxed);
    flaky.inbox.get().expect("attached").set_available(false);
    let room = room();
    let mut entering = Box::pin(seat.member.enter(&room, "ann"));
    pending(entering.as_mut(), "away");
    assert!(seat.member.leave(&room));
    flaky.is_away.store(false, Relaxed);
    flaky.inbox.get().expect("attached").set_available(true);
    let _entered = entering.await;
    drop(seat);
    assert_eq!(hub.members(&room), []);
    assert_eq!(hub.present(&room).await.expect("in memory"), [], "nobody is here");
}

/// A call fails before the backplane says that it is away.
#[test]
fn row_98_a_backplane_that_is_away_and_has_not_said_so_does_not_occupy_the_thread() {
    let flaky = Flaky::new();
    let hub = numbering(flaky.clone());
    flaky.is_away.store(true, Relaxed);
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let publishing = tokio::spawn(async move { publish(&hub, "x").await });
            tokio::time::sleep(Duration::from_millis(50)).await;
            publishing.abort();
        });
        done.send(()).expect("the test waits");
    });
    is_done.recv_timeout(Duration::from_secs(10)).expect("the thread is left at times");
    let calls = flaky.calls().len();
    assert!(calls < 100, "{calls} calls in 50 ms");
}

// Queues.

#[tokio::test]
async fn row_95_what_is_published_is_bounded() {
    const LEN: usize = 10_000;
    let hub: Hub = Hub::builder().backplane(Memory::history(10, HOUR)).build();
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(seat_with(&hub, quiet().max_write_buffer_size(LEN * 2)));
        crowd.last().expect("a seat").member.join(&room()).await.expect("in memory");
        crowd.last().expect("a seat").script.allow_writes(0);
    }
    let held = allocation_counter::measure(|| {
        for _ in 0..10_000 {
            // Those who publish wait; the messages that wait are theirs.
            let room = room();
            let mut publishing = pin!(hub.publish(&room, "x".repeat(LEN)));
            let _waits = poll_once(publishing.as_mut());
        }
    });
    let mib = held.bytes_current >> 20;
    assert!(mib < 50, "{mib} MiB");
}

#[tokio::test]
async fn row_95_what_is_sent_is_bounded() {
    const LEN: usize = 10_000;
    let hub = Hub::<String>::new();
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(seat_with(&hub, quiet().max_write_buffer_size(LEN * 2)));
        crowd.last().expect("a seat").member.join(&room()).await.expect("in memory");
        crowd.last().expect("a seat").script.allow_writes(0);
    }
    let held = allocation_counter::measure(|| {
        for _ in 0..10_000 {
            hub.to(&room()).send("x".repeat(LEN));
        }
    });
    let mib = held.bytes_current >> 20;
    assert!(mib < 50, "{mib} MiB");
}

#[tokio::test]
async fn what_is_queued_behind_a_panic_is_sent() {
    let own = Arc::new(Mutex::new(None::<Hub>));
    let inner = own.clone();
    let queued = Arc::new(Mutex::new(None));
    let queue = queued.clone();
    let hub: Hub = Hub::builder()
        .encode(move |_, _, message| {
            if message.as_text() == Some("panics") {
                // As another task does meanwhile.
                *queue.lock().expect("no panic") = {
                    let hub = inner.lock().expect("no panic").clone().expect("set");
                    Some(hub.to(&room()).send("queued"))
                };
                panic!("an encoder that panics");
            }
            message.into()
        })
        .build();
    *own.lock().expect("no panic") = Some(hub.clone());
    let seat = joined(&hub).await;
    let publisher = hub.clone();
    assert!(tokio::spawn(async move { publish(&publisher, "panics").await }).await.is_err());
    settle().await;
    assert_eq!(seat.texts(), ["queued"]);
    // The encoder holds the hub, which holds the encoder.
    *own.lock().expect("no panic") = None;
}

// Outside of a runtime.

#[test]
fn threads_without_a_runtime_send_to_a_small_room() {
    let hub = Hub::<String>::new();
    let seat = seat(&hub);
    finished(seat.member.join(&room())).expect("in memory");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let hub = hub.clone();
            std::thread::spawn(move || {
                for _ in 0..5000 {
                    hub.to(&room()).send("x");
                }
            })
        })
        .collect();
    let panics = threads.into_iter().map(|thread| thread.join()).filter(Result::is_err).count();
    let delivered = hub.delivered();
    assert_eq!((panics, seat.texts().len() as u64), (0, delivered.sent));
    assert_eq!(delivered.sent + delivered.dropped, 40_000, "those beyond the bound are dropped");
}

#[test]
fn a_kind_of_message_is_sent_again_after_a_call_outside_of_a_runtime() {
    let hub = Hub::<String>::new();
    let seat = seat_with(&hub, quiet().max_write_buffer_size(103));
    finished(seat.member.join(&room())).expect("in memory");
    seat.script.allow_writes(0);
    fill(seat.member.sender(), 100);
    let other = hub.clone();
    let send = move |text: &str| {
        other.to(&room()).slow(Slow::KeepLatest("kind".into())).send(text);
    };
    let outside = send.clone();
    let _panic = std::thread::spawn(move || outside("a")).join();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        seat.script.allow_writes(None);
        seat.member.sender().flush().await.expect("open");
        send("b");
        settle().await;
        seat.member.sender().flush().await.expect("open");
    });
    assert_eq!(seat.texts().last().map(String::as_str), Some("b"));
}

// Recipients.

#[tokio::test]
async fn the_receiver_returns_why_the_connection_has_ended() {
    for waits in [false, true] {
        let hub = Hub::<String>::new();
        let mut seat = seat_with(&hub, quiet().max_write_buffer_size(103));
        seat.member.join(&room()).await.expect("in memory");
        seat.script.allow_writes(0);
        fill(seat.member.sender(), 100);
        if waits {
            hub.to(&room()).slow(Slow::KeepLatest("kind".into())).send("waits");
            settle().await;
        }
        // The program is busy, and receives later.
        seat.script.fail_writes(std::io::ErrorKind::BrokenPipe);
        assert_eq!(hub.to(&room()).send("fails").await.gone, 1);
        settle().await;
        seat.script.end();
        let received = seat.receiver.recv().await;
        assert!(matches!(received, Err(Error::Transport(_))), "waits: {waits}, {received:?}");
    }
}

#[tokio::test]
async fn the_receiver_returns_why_a_member_has_gone() {
    let (hub, _keeper) = with_history(Memory::history(100, HOUR)).await;
    let mut slow = seat_with(&hub, quiet().max_write_buffer_size(20));
    slow.script.fail_writes(std::io::ErrorKind::BrokenPipe);
    let joined = slow.member.join_since(&room(), Since::Last(20)).await;
    assert!(matches!(joined, Err(HubError::Gone)));
    slow.script.end();
    let received = slow.receiver.recv().await;
    assert!(matches!(received, Err(Error::Transport(_))), "{received:?}");
}

/// More writes than the budget of one poll permits, 128.
#[tokio::test]
async fn messages_are_written_at_once_to_all_members_of_a_small_room() {
    use std::io::{ErrorKind, Read};

    let hub = Hub::<String>::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (mut clients, mut members) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let client = std::net::TcpStream::connect(address).expect("loopback");
        client.set_nonblocking(true).expect("a socket");
        clients.push(client);
        let (stream, _) = listener.accept().await.expect("loopback");
        let ws = fullduplex::WebSocket::from_raw(
            stream,
            Bytes::new(),
            fullduplex::Role::Server,
            &quiet(),
            fullduplex::handshake::Negotiated::default(),
        );
        let (mut receiver, sender) = ws.split();
        let member = hub.add(sender);
        member.join(&room()).await.expect("in memory");
        tokio::spawn(async move { receiver.recv().await });
        members.push(member);
    }
    settle().await;
    tokio::task::yield_now().await;
    for _ in 0..5 {
        assert_eq!(hub.to(&room()).send("x").await.sent, 100);
    }
    let mut received = 0;
    for client in &mut clients {
        let mut buffer = [0; 100];
        match client.read(&mut buffer) {
            Ok(len) => received += len / 3,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(received, 500, "messages that were written before the caller yielded");
}

/// While a room is emptied and joined at once by many, whoever is in it receives what is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_room_that_is_left_and_joined_at_once_is_subscribed() {
    let hub = numbering(Flaky::new());
    let mut tasks = Vec::new();
    for task in 0..6 {
        let hub = hub.clone();
        tasks.push(tokio::spawn(async move {
            for nth in 0..2000 {
                let seat = seat(&hub);
                if nth % 7 == 0 {
                    let room = room();
                    let mut joining = pin!(seat.member.join(&room));
                    let _maybe = poll_once(joining.as_mut());
                    continue;
                }
                seat.member.join(&room()).await.expect("in memory");
                let text = format!("{task} {nth}");
                publish(&hub, text.clone()).await;
                // Behind it in the queue.
                hub.to(&room()).here().send("end").await;
                let texts = seat.texts();
                assert!(texts.iter().any(|other| other.ends_with(&format!(" {text}"))), "{texts:?}");
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(hub.rooms(), []);
    assert!(hub.is_empty());
}
