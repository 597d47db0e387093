//! Messages: what a node passes when connections, the server, or messages are lost.

#[path = "../../../tests/support/backplane.rs"]
mod backplane;
mod support;

use std::time::Duration;

use backplane::{Engine, Node, assert_increasing, publish_at_once, room, soon};
use fullduplex::hub::{BackplaneError, Event, Position, Publication, Since};
use support::{
    DURABLE, Server, builder, connected,
    proxy::{Mode, Proxy},
    restarted,
};
use tokio::time::{interval, sleep};

fn lost(node: &mut Node) -> usize {
    node.arrived(|event| matches!(event, Event::Lost { .. })).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_published_while_subscriptions_are_killed_arrive_once_in_order() {
    let server = Server::start();
    let (mut one, mut two) = (server.node().await, server.node().await);
    let (mut a, mut b) = (one.joined("r").await, two.joined("r").await);
    let hubs = [one.hub.clone(), two.hub.clone()];
    let publishing = tokio::spawn(async move { publish_at_once(&hubs.each_ref(), "r", 8, 100).await });
    let mut kills = interval(Duration::from_millis(50));
    let mut killed = 0;
    while !publishing.is_finished() {
        kills.tick().await;
        killed += server.command::<usize>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    let published = publishing.await.expect("no panic");
    let expected: Vec<_> = published.iter().map(|(position, text)| format!("{position}|{text}")).collect();
    assert_eq!(a.take(800).await, expected);
    assert_eq!(b.take(800).await, expected);
    assert!(killed > 0);
    assert_eq!((lost(&mut one), lost(&mut two)), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_on_the_way_are_not_taken_for_missing_ones() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let one = connected(&builder(&server.url()).max_messages(1).build().expect("valid")).await;
    let mut two = connected(&builder(&server.url_at(proxy.port)).build().expect("valid")).await;
    let mut b = two.joined("r").await;
    one.publish("r", "first").await;
    assert_eq!(b.stored().await.1, "first");
    proxy.set(Mode::HoldResponse(b"on the way".to_vec()));
    let mut expected = Vec::new();
    for text in std::iter::once("on the way".to_owned()).chain((0..50).map(|n| n.to_string())) {
        let position = one.publish("r", text.as_str()).await;
        expected.push(format!("{position}|{text}"));
    }
    // For some heartbeats, the history is ahead of what has arrived, and most of it no longer exists.
    sleep(Duration::from_secs(1)).await;
    proxy.set(Mode::Pass);
    assert_eq!(b.take(expected.len()).await, expected);
    assert_eq!(lost(&mut two), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_messages_survive_a_server_that_is_killed() {
    let server = Server::start_with(DURABLE);
    let (mut one, mut two) = (server.node().await, server.node().await);
    let (mut a, mut b) = (one.joined("r").await, two.joined("r").await);
    let hubs = [one.hub.clone(), two.hub.clone()];
    let publishing = tokio::spawn(async move { publish_at_once(&hubs.each_ref(), "r", 8, 100).await });
    // After some messages, at any point of the others.
    let mut received = a.take(100).await;
    let _server = restarted(server).await;
    let published = publishing.await.expect("no panic");
    assert_eq!(published.len(), 800);
    assert_increasing(published.iter().map(|(position, _)| *position));
    let expected: Vec<_> = published.iter().map(|(position, text)| format!("{position}|{text}")).collect();
    received.extend(a.take(700).await);
    assert_eq!(received, expected);
    assert_eq!(b.take(800).await, expected);
    assert_eq!((lost(&mut one), lost(&mut two)), (0, 0));
    one.publish("r", "end").await;
    assert_eq!((a.stored().await.1, b.stored().await.1), ("end".into(), "end".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_acknowledgement_was_lost_is_stored_once() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let mut one = connected(&builder(&server.url_at(proxy.port)).build().expect("valid")).await;
    let two = server.node().await;
    let mut b = two.joined("r").await;
    // The server knows the script from now on.
    one.publish("other", "first").await;
    proxy.set(Mode::LoseResponse(b"the message".to_vec()));
    let published = soon("publishing", one.hub.publish(&room("r"), "the message")).await.expect("published");
    assert!(published.duplicate, "it was stored by the first attempt");
    one.available(false).await;
    one.available(true).await;
    one.publish("r", "end").await;
    assert_eq!(b.stored().await, (published.position, "the message".into()));
    assert_eq!(b.stored().await.1, "end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_were_removed_while_a_node_was_away_are_reported_as_lost() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let short = |url: &str| builder(url).max_messages(20).build().expect("valid");
    let mut away = connected(&short(&server.url_at(proxy.port))).await;
    let other = connected(&short(&server.url())).await;
    let mut member = away.joined("r").await;
    let first = other.publish("r", "first").await;
    assert_eq!(member.stored().await.1, "first");
    proxy.set(Mode::Cut);
    away.available(false).await;
    let missed = publish_at_once(&[&other.hub], "r", 1, 100).await;
    proxy.set(Mode::Pass);
    away.lost("r").await;
    let (position, _) = member.stored().await;
    let index = missed.iter().position(|(missed, _)| *missed == position).expect("one of them");
    assert!((60..=80).contains(&index), "{index}: the last 20, and up to a block more");
    for expected in &missed[index + 1..] {
        assert_eq!(member.stored().await, *expected);
    }
    assert!(matches!(other.hub.read_after(&room("r"), first, 9).await, Err(BackplaneError::Lost)));
    let seat = other.seat();
    assert!(seat.join_since("r", Since::Position(first)).await.has_lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_was_deleted_is_lost_and_the_next_one_is_passed_from_its_beginning() {
    let server = Server::start();
    let (mut one, two) = (server.node().await, server.node().await);
    let mut member = one.joined("r").await;
    let before = two.publish("r", "before").await;
    assert_eq!(member.stored().await.1, "before");
    server.command::<()>(&["FLUSHALL"]);
    let after = publish_at_once(&[&two.hub], "r", 2, 20).await;
    one.lost("r").await;
    for expected in after {
        assert_ne!(expected.0.epoch, before.epoch);
        assert_eq!(member.stored().await, expected);
    }
}

/// The server is started again from a snapshot, and has lost what was acknowledged after it.
async fn loses_its_end(publish_before_the_node_is_back: bool) {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let mut one = connected(&builder(&server.url_at(proxy.port)).build().expect("valid")).await;
    let mut two = server.node().await;
    let mut member = one.joined("r").await;
    two.publish("r", "kept").await;
    server.command::<()>(&["SAVE"]);
    for text in ["lost 1", "lost 2", "lost 3"] {
        two.publish("r", text).await;
    }
    let before = member.take(4).await;
    proxy.set(Mode::Cut);
    one.available(false).await;
    let _server = restarted(server).await;
    two.available(false).await;
    two.available(true).await;
    let mut expected = Vec::new();
    if publish_before_the_node_is_back {
        // The offsets of what was lost, and more.
        for text in ["a", "b", "c", "d", "e"] {
            two.publish("r", text).await;
        }
    }
    proxy.set(Mode::Pass);
    one.lost("r").await;
    for text in ["after 1", "after 2"] {
        expected.push((two.publish("r", text).await, text.to_owned()));
    }
    let received = [member.stored().await, member.stored().await];
    assert_eq!(received[..], expected[..]);
    let last: Position =
        before[3].split_once('|').and_then(|(position, _)| position.parse().ok()).expect("stored");
    assert_ne!(received[0].0.epoch, last.epoch);
    assert!(matches!(two.hub.read_after(&room("r"), last, 9).await, Err(BackplaneError::Lost)));
    let page = two.hub.read_before(&room("r"), None, 99).await.expect("reachable");
    assert_eq!(page.messages[0].publication.message().as_text(), Some("kept"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_whose_end_the_server_has_lost_gets_another_epoch() {
    loses_its_end(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_whose_end_was_replaced_gets_another_epoch() {
    loses_its_end(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_notice_was_lost_is_found() {
    let server = Server::start();
    let node = server.node().await;
    let mut member = node.joined("r").await;
    let first = node.publish("r", "a").await;
    assert_eq!(member.stored().await.1, "a");
    // As the script does, without publishing.
    let record = Publication::new("b").to_bytes();
    let mut connection = redis::Client::open(server.url()).expect("valid").get_connection().expect("it runs");
    redis::pipe()
        .atomic()
        .cmd("HSET")
        .arg("fullduplex:{room:r}:state")
        .arg("offset")
        .arg(first.offset + 1)
        .arg("stamp")
        .arg(7)
        .cmd("XADD")
        .arg("fullduplex:{room:r}:log")
        .arg(format!("{}-0", first.offset + 1))
        .arg("t")
        .arg(7)
        .arg("r")
        .arg(record)
        .exec(&mut connection)
        .expect("it accepts the commands");
    assert_eq!(member.stored().await, (Position { offset: first.offset + 1, ..first }, "b".into()));
    node.publish("r", "c").await;
    assert_eq!(member.stored().await.1, "c");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_another_version_is_lost_and_nothing_else_is() {
    let server = Server::start();
    let mut node = server.node().await;
    let mut member = node.joined("r").await;
    let first = node.publish("r", "a").await;
    assert_eq!(member.stored().await.1, "a");
    let (epoch, offset) = (first.epoch, first.offset + 1);
    let mut connection = redis::Client::open(server.url()).expect("valid").get_connection().expect("it runs");
    redis::pipe()
        .atomic()
        .cmd("HSET")
        .arg("fullduplex:{room:r}:state")
        .arg("offset")
        .arg(offset)
        .arg("stamp")
        .arg(7)
        .cmd("XADD")
        .arg("fullduplex:{room:r}:log")
        .arg(format!("{offset}-0"))
        .arg("t")
        .arg(7)
        .arg("r")
        .arg("?")
        .cmd("PUBLISH")
        .arg("fullduplex/0:{room:r}")
        .arg(format!("m {epoch:016x} {offset} 7 ?"))
        .cmd("PUBLISH")
        .arg("fullduplex/0:{room:r}")
        .arg("anything")
        .exec(&mut connection)
        .expect("it accepts the commands");
    node.lost("r").await;
    let last = node.publish("r", "b").await;
    assert_eq!(member.stored().await, (last, "b".into()));
    let read = node.hub.read_after(&room("r"), first, 9).await;
    assert!(matches!(read, Err(BackplaneError::Failed(_))), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_too_old_are_removed() {
    let server = Server::start();
    let node =
        connected(&builder(&server.url()).max_age(Duration::from_millis(500)).build().expect("valid")).await;
    let first = node.publish("r", "old").await;
    sleep(Duration::from_millis(600)).await;
    let last = node.publish("r", "new").await;
    let page = node.hub.read_before(&room("r"), None, 9).await.expect("reachable");
    let offsets: Vec<u64> = page.messages.iter().map(|stored| stored.offset).collect();
    assert_eq!(offsets, [last.offset]);
    assert!(matches!(node.hub.read_after(&room("r"), first, 9).await, Ok(page) if page.messages.len() == 1));
    // Without another message.
    let empty = async {
        while !node.hub.read_before(&room("r"), None, 9).await.expect("reachable").messages.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon("all messages are removed", empty).await;
    assert_eq!(
        node.publish("r", "later").await,
        Position { offset: last.offset + 1, ..last },
        "the same history"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_without_messages_expires() {
    let server = Server::start();
    let node =
        connected(&builder(&server.url()).expire_after(Duration::from_millis(300)).build().expect("valid"))
            .await;
    let first =
        node.hub.publish(&room("r"), Publication::new("a").id("1")).await.expect("published").position;
    let expired = async {
        while server.command::<usize>(&[
            "EXISTS",
            "fullduplex:{room:r}:state",
            "fullduplex:{room:r}:log",
            "fullduplex:{room:r}:ids",
        ]) > 0
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the room expires", expired).await;
    assert!(matches!(node.hub.read_after(&room("r"), first, 9).await, Err(BackplaneError::Lost)));
    let again = node.hub.publish(&room("r"), Publication::new("a").id("1")).await.expect("published");
    assert!(!again.duplicate && again.position.epoch != first.epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_known_longer_than_short_histories() {
    let server = Server::start();
    let node = connected(&builder(&server.url()).max_messages(1).build().expect("valid")).await;
    let first = node.hub.publish(&room("r"), Publication::new("a").id("the first")).await.expect("published");
    publish_at_once(&[&node.hub], "r", 4, 150).await;
    let again = node.hub.publish(&room("r"), Publication::new("a").id("the first")).await.expect("published");
    assert_eq!((again.duplicate, again.position), (true, first.position));
    publish_at_once(&[&node.hub], "r", 4, 150).await;
    let again = node.hub.publish(&room("r"), Publication::new("a").id("the first")).await.expect("published");
    assert!(!again.duplicate);
    assert!(server.command::<usize>(&["ZCARD", "fullduplex:{room:r}:ids"]) <= 1000);
    assert!(server.command::<usize>(&["XLEN", "fullduplex:{room:r}:log"]) <= 12);
}
