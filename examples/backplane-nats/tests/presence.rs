//! Presence: nodes that end, that are away, and that come back.

#[path = "../../../tests/support/backplane.rs"]
mod backplane;
mod support;

use std::time::Duration;

use backplane::{Engine, room, soon};
use fullduplex::hub::{Event, PresenceChange};
use support::{
    Server, builder, connected,
    proxy::{Mode, Proxy},
    restarted,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_node_that_has_ended_leave_once() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let ends = connected(&builder(&format!("nats://127.0.0.1:{}", proxy.port)).build().expect("valid")).await;
    let (mut two, mut three) = (server.node().await, server.node().await);
    let (watching, _also) = (two.joined("r").await, three.joined("r").await);
    soon("entering", watching.member.enter(&room("r"), "stays")).await.expect("entered");
    let mut seats = Vec::new();
    for number in 0..300 {
        let seat = ends.seat();
        soon("entering", seat.member.enter(&room("r"), number.to_string())).await.expect("entered");
        seats.push(seat);
    }
    assert_eq!(two.present("r").await.len(), 301);
    let mut ids: Vec<_> = seats.iter().map(|seat| seat.id()).collect();
    // No member leaves before the node has ended.
    proxy.set(Mode::Cut);
    drop((ends, seats));

    let mut left = Vec::new();
    while left.len() < 300 {
        left.push(
            two.event("a member has left", |event| match event {
                Event::Presence { change: PresenceChange::Left(present), .. } => Some(present.member),
                _ => None,
            })
            .await,
        );
    }
    left.sort();
    ids.sort();
    assert_eq!(left, ids);
    assert_eq!(two.present("r").await, [watching.id()]);
    for _ in 0..300 {
        let is_left =
            |event| matches!(event, Event::Presence { change: PresenceChange::Left(_), .. }).then_some(());
        three.event("a member has left", is_left).await;
    }
    // What follows the last of them.
    soon("entering", watching.member.enter(&room("r"), "still")).await.expect("entered");
    two.entered(watching.id()).await;
    three.entered(watching.id()).await;
    let is_left =
        |event: &Event<String>| matches!(event, Event::Presence { change: PresenceChange::Left(_), .. });
    assert_eq!((two.arrived(is_left), three.arrived(is_left)), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_node_that_was_away_for_long_leave_and_enter_again() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let mut away =
        connected(&builder(&format!("nats://127.0.0.1:{}", proxy.port)).build().expect("valid")).await;
    let mut other = server.node().await;
    let _watching = other.joined("r").await;
    let (stays, leaves) = (away.joined("r").await, away.joined("r").await);
    soon("entering", stays.member.enter(&room("r"), "stays")).await.expect("entered");
    soon("entering", leaves.member.enter(&room("r"), "leaves")).await.expect("entered");
    other.entered(stays.id()).await;
    proxy.set(Mode::Cut);
    away.available(false).await;
    let stays_id = stays.id();
    drop(leaves);
    other.left(stays_id).await;
    // It leaves before or after.
    while !other.present("r").await.is_empty() {
        tokio::task::yield_now().await;
    }
    proxy.set(Mode::Pass);
    assert_eq!(other.entered(stays_id).await.data, "stays");
    assert_eq!(other.present("r").await, [stays_id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_while_the_server_is_away_leaves_when_it_is_back() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let long = builder(&format!("nats://127.0.0.1:{}", proxy.port)).lease(Duration::from_secs(600));
    let mut away = connected(&long.build().expect("valid")).await;
    let mut other = server.node().await;
    let _watching = other.joined("r").await;
    let (stays, leaves) = (away.joined("r").await, away.joined("r").await);
    soon("entering", stays.member.enter(&room("r"), "stays")).await.expect("entered");
    soon("entering", leaves.member.enter(&room("r"), "leaves")).await.expect("entered");
    proxy.set(Mode::Cut);
    away.available(false).await;
    let id = leaves.id();
    drop(leaves);
    proxy.set(Mode::Pass);
    assert_eq!(other.left(id).await.data, "leaves");
    assert_eq!(other.present("r").await, [stays.id()]);
    away.available(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_stay_present_while_a_server_is_started_again() {
    let server = Server::start();
    let mut node = server.node().await;
    let seat = node.joined("r").await;
    soon("entering", seat.member.enter(&room("r"), "ann")).await.expect("entered");
    node.entered(seat.id()).await;
    let _server = restarted(server).await;
    node.available(false).await;
    node.available(true).await;
    assert_eq!(node.present("r").await, [seat.id()]);
    seat.member.leave(&room("r"));
    let _watching = node.joined("r").await;
    while !node.present("r").await.is_empty() {
        tokio::task::yield_now().await;
    }
}
