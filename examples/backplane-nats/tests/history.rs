//! Messages: what a node passes when connections, the server, or messages are lost.

#[path = "../../../tests/support/backplane.rs"]
mod backplane;
mod support;

use std::time::Duration;

use backplane::{Engine, Node, assert_increasing, publish_at_once, room, soon};
use fullduplex::hub::{BackplaneError, Event, Position, Publication, Since};
use support::{
    Server, builder, changed, connected,
    proxy::{Mode, Proxy},
    restarted,
};
use tokio::time::sleep;

fn lost(node: &mut Node) -> usize {
    node.arrived(|event| matches!(event, Event::Lost { .. })).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_published_while_a_node_is_cut_off_again_and_again_arrive_once_in_order() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let mut one =
        connected(&builder(&format!("nats://127.0.0.1:{}", proxy.port)).build().expect("valid")).await;
    let two = server.node().await;
    let mut a = one.joined("r").await;
    let hubs = [one.hub.clone(), two.hub.clone()];
    let publishing = tokio::spawn(async move { publish_at_once(&hubs.each_ref(), "r", 4, 200).await });
    let mut received = a.take(50).await;
    for _ in 0..3 {
        proxy.set(Mode::Cut);
        one.available(false).await;
        proxy.set(Mode::Pass);
        one.available(true).await;
        received.extend(a.take(50).await);
    }
    let published = publishing.await.expect("no panic");
    let expected: Vec<_> = published.iter().map(|(position, text)| format!("{position}|{text}")).collect();
    received.extend(a.take(600).await);
    assert_eq!(received, expected);
    assert_eq!(lost(&mut one), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_messages_survive_a_server_that_is_killed() {
    let server = Server::start();
    let (mut one, mut two) = (server.node().await, server.node().await);
    let (mut a, mut b) = (one.joined("r").await, two.joined("r").await);
    let hubs = [one.hub.clone(), two.hub.clone()];
    let publishing = tokio::spawn(async move { publish_at_once(&hubs.each_ref(), "r", 8, 50).await });
    // After some messages, at any point of the others.
    let mut received = a.take(100).await;
    let _server = restarted(server).await;
    let published = publishing.await.expect("no panic");
    assert_eq!(published.len(), 400);
    assert_increasing(published.iter().map(|(position, _)| *position));
    let expected: Vec<_> = published.iter().map(|(position, text)| format!("{position}|{text}")).collect();
    received.extend(a.take(300).await);
    assert_eq!(received, expected);
    assert_eq!(b.take(400).await, expected);
    assert_eq!((lost(&mut one), lost(&mut two)), (0, 0));
    one.publish("r", "end").await;
    assert_eq!((a.stored().await.1, b.stored().await.1), ("end".into(), "end".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_acknowledgement_was_lost_is_stored_once() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let mut one =
        connected(&builder(&format!("nats://127.0.0.1:{}", proxy.port)).build().expect("valid")).await;
    let two = server.node().await;
    let mut b = two.joined("r").await;
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
    let mut away = connected(&short(&format!("nats://127.0.0.1:{}", proxy.port))).await;
    let other = connected(&short(&server.url())).await;
    let mut member = away.joined("r").await;
    let first = other.publish("r", "first").await;
    assert_eq!(member.stored().await.1, "first");
    proxy.set(Mode::Cut);
    away.available(false).await;
    let missed = publish_at_once(&[&other.hub], "r", 1, 100).await;
    proxy.set(Mode::Pass);
    away.lost("r").await;
    for expected in &missed[80..] {
        assert_eq!(member.stored().await, *expected);
    }
    assert!(matches!(other.hub.read_after(&room("r"), first, 9).await, Err(BackplaneError::Lost)));
    let seat = other.seat();
    assert!(seat.join_since("r", Since::Position(first)).await.has_lost);
    let page = other.hub.read_before(&room("r"), None, 99).await.expect("reachable");
    assert_eq!((page.messages.len(), page.is_last), (20, true));
    let page = other.hub.read_before(&room("r"), None, 20).await.expect("reachable");
    assert_eq!((page.messages.len(), page.is_last), (20, true));
    let page = other.hub.read_before(&room("r"), None, 19).await.expect("reachable");
    assert_eq!((page.messages.len(), page.is_last), (19, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_is_read_backwards() {
    let server = Server::start();
    let node = server.node().await;
    let published = publish_at_once(&[&node.hub], "r", 1, 150).await;
    // Other rooms have messages in between.
    publish_at_once(&[&node.hub], "other", 1, 10).await;
    let mut before = None;
    let mut read = Vec::new();
    loop {
        let page = node.hub.read_before(&room("r"), before, 40).await.expect("reachable");
        before = page.messages.first().map(|stored| stored.offset);
        read.splice(0..0, page.messages.iter().map(|stored| stored.offset));
        if page.is_last {
            break;
        }
    }
    let offsets: Vec<u64> = published.iter().map(|(position, _)| position.offset).collect();
    assert_eq!(read, offsets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_deleted_is_lost_and_the_next_one_is_passed_from_its_beginning() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let mut one =
        connected(&builder(&format!("nats://127.0.0.1:{}", proxy.port)).build().expect("valid")).await;
    let mut member = one.joined("r").await;
    let before = one.publish("r", "before").await;
    assert_eq!(member.stored().await.1, "before");
    proxy.set(Mode::Cut);
    one.available(false).await;
    let client = async_nats::connect(server.url()).await.expect("it runs");
    async_nats::jetstream::new(client).delete_stream("fullduplex_rooms").await.expect("it exists");
    // It creates the stream.
    let two = server.node().await;
    let after = publish_at_once(&[&two.hub], "r", 2, 20).await;
    proxy.set(Mode::Pass);
    one.lost("r").await;
    for expected in after {
        assert_ne!(expected.0.epoch, before.epoch);
        assert_eq!(member.stored().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_replaced_lost_ones_are_not_taken_for_them() {
    let server = Server::start();
    let (one, mut two) = (server.node().await, server.node().await);
    let kept = two.publish("r", "kept").await;
    // A copy of the data, without what follows.
    let server = changed(server, |server| server.kill()).await;
    let saved = server.save();
    let server = changed(server, |server| server.run()).await;
    two.available(false).await;
    two.available(true).await;
    let mut one = one;
    one.available(false).await;
    one.available(true).await;
    let mut member = one.joined("r").await;
    for text in ["lost 1", "lost 2", "lost 3"] {
        two.publish("r", text).await;
    }
    assert_eq!(member.take(3).await.len(), 3);
    let _server = changed(server, move |server| {
        server.kill();
        server.restore(&saved);
        server.run();
    })
    .await;
    two.available(false).await;
    two.available(true).await;
    for text in ["a", "b", "c", "d", "e"] {
        two.publish("r", text).await;
    }
    one.lost("r").await;
    let last = two.publish("r", "last").await;
    while member.stored().await != (last, "last".into()) {}
    let page = two.hub.read_after(&room("r"), kept, 99).await.expect("they exist");
    assert_eq!(page.messages.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_notice_was_lost_is_found() {
    let server = Server::start_configured(
        r#"
        authorization { users: [
            { user: deaf, password: x, permissions: { subscribe: { deny: "fullduplex.live.>" } } }
            { user: other, password: x }
        ] }
        "#,
    );
    let url = |user: &str| format!("nats://{user}:x@127.0.0.1:{}", server.port());
    let deaf = connected(&builder(&url("deaf")).build().expect("valid")).await;
    let other = connected(&builder(&url("other")).build().expect("valid")).await;
    let mut member = deaf.joined("r").await;
    for text in ["a", "b"] {
        let position = other.publish("r", text).await;
        assert_eq!(member.stored().await, (position, text.into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_another_program_is_lost_and_nothing_else_is() {
    let server = Server::start();
    let mut node = server.node().await;
    let mut member = node.joined("r").await;
    let first = node.publish("r", "a").await;
    assert_eq!(member.stored().await.1, "a");
    let client = async_nats::connect(server.url()).await.expect("it runs");
    let context = async_nats::jetstream::new(client);
    context.publish("fullduplex.room.rr", "?".into()).await.expect("sent").await.expect("stored");
    node.lost("r").await;
    let read = node.hub.read_after(&room("r"), first, 9).await;
    assert!(matches!(read, Err(BackplaneError::Failed(_))), "{read:?}");
    let published = node.hub.publish(&room("r"), "b").await;
    assert!(published.is_err(), "it would follow a message that is not one of this program");
    server.stream().await.purge().filter("fullduplex.room.rr").await.expect("permitted");
    let last = node.publish("r", "c").await;
    assert_eq!(member.stored().await, (last, "c".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_too_old_are_removed() {
    let server = Server::start();
    let age = Duration::from_millis(1000);
    let aging = builder(&server.url()).max_age(age).duplicate_window(age).build().expect("valid");
    let node = connected(&aging).await;
    let first = node.publish("r", "old").await;
    let empty = async {
        while !node.hub.read_before(&room("r"), None, 9).await.expect("reachable").messages.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon("all messages are removed", empty).await;
    let last = node.publish("r", "new").await;
    assert_eq!(last, Position { offset: last.offset, ..first }, "the same epoch");
    let read = node.hub.read_after(&room("r"), first, 9).await;
    assert!(matches!(read, Err(BackplaneError::Lost)), "nobody knows what was removed: {read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_is_refused_and_the_connection_stays() {
    let server = Server::start();
    let node = server.node().await;
    let large = "x".repeat(2 << 20);
    let published = node.hub.publish(&room("r"), Publication::new(large.as_str())).await;
    assert!(published.is_err(), "the limit of the server is 1 MiB");
    node.publish("r", "small").await;
    assert!(node.hub.is_available());
}
