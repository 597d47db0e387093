//! The connection: being away, coming back, and credentials.

#[path = "../../../tests/support/backplane.rs"]
mod backplane;
mod support;

use std::{error::Error, time::Duration};

use backplane::{Engine, Node, room, soon};
use fullduplex::hub::{BackplaneError, Hub};
use fullduplex_backplane_redis::Redis;
use support::{
    Server, builder, connected,
    proxy::{Mode, Proxy},
    started,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_at_once_while_the_server_is_away_and_go_on_when_it_is_back() {
    let server = Server::start();
    let mut node = server.node().await;
    let mut member = node.joined("r").await;
    server.kill();
    node.available(false).await;
    assert!(!node.hub.is_available());
    for _ in 0..1000 {
        assert!(matches!(node.hub.read_before(&room("r"), None, 9).await, Err(BackplaneError::Away)));
        assert!(matches!(node.hub.present(&room("r")).await, Err(BackplaneError::Away)));
        assert!(matches!(node.hub.signal("x"), Err(BackplaneError::Away)));
    }
    let waiting = {
        let hub = node.hub.clone();
        tokio::spawn(async move { hub.publish(&room("r"), "waits").await })
    };
    let _server = started(server).await;
    node.available(true).await;
    let published = soon("publishing", waiting).await.expect("no panic").expect("published");
    assert_eq!(member.stored().await, (published.position, "waits".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_away_after_the_timeout() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let redis =
        builder(&server.url_at(proxy.port)).timeout(Duration::from_millis(500)).build().expect("valid");
    let mut node = connected(&redis).await;
    let mut member = node.joined("r").await;
    proxy.set(Mode::Stall);
    // No call: the connection is checked all the same.
    node.available(false).await;
    assert!(!redis.is_connected());
    let error = redis.last_error().expect("the reason");
    assert!(error.is_io_error(), "{error}");
    let other = server.node().await;
    let position = other.publish("r", "missed").await;
    proxy.set(Mode::Pass);
    node.available(true).await;
    assert_eq!(member.stored().await, (position, "missed".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_can_be_created_before_the_server_runs() {
    let server = Server::start();
    server.kill();
    let redis = builder(&server.url()).build().expect("valid");
    let mut node = Node::new(redis.clone());
    let error = soon("an attempt", redis.connected()).await.expect_err("it does not run");
    assert!(error.is_connection_refusal(), "{error}");
    let joining = {
        let seat = node.seat();
        tokio::spawn(async move {
            seat.member.join(&room("r")).await.expect("joined");
            seat
        })
    };
    let _server = started(server).await;
    node.available(true).await;
    let mut seat = soon("joining", joining).await.expect("no panic");
    node.publish("r", "a").await;
    assert_eq!(seat.stored().await.1, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_has_forgotten_are_loaded_again() {
    let server = Server::start();
    let mut node = server.node().await;
    server.command::<()>(&["SCRIPT", "FLUSH"]);
    let mut member = node.joined("r").await;
    server.command::<()>(&["SCRIPT", "FLUSH"]);
    soon("entering", member.member.enter(&room("r"), "ann")).await.expect("entered");
    server.command::<()>(&["SCRIPT", "FLUSH"]);
    node.publish("r", "a").await;
    assert_eq!(member.stored().await.1, "a");
    node.entered(member.id()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_server_is_returned_and_the_connection_stays() {
    let server = Server::start();
    let node = server.node().await;
    server.command::<()>(&["SET", "fullduplex:{room:r}:state", "not a hash"]);
    let published = node.hub.publish(&room("r"), "a").await;
    let error = published.expect_err("it has another type");
    let source = error.source().or(Some(&error)).map(ToString::to_string).unwrap_or_default();
    assert!(format!("{error:?} {source}").contains("WRONGTYPE"), "{error:?}");
    assert!(node.seat().member.join(&room("r")).await.is_err());
    node.publish("s", "a").await;
    server.command::<()>(&["DEL", "fullduplex:{room:r}:state"]);
    let mut member = node.joined("r").await;
    node.publish("r", "b").await;
    assert_eq!(member.stored().await.1, "b");
    assert!(node.hub.is_available());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_reported_and_no_password_is_printed() {
    let server = Server::start_with(&["--requirepass", "hunter2"]);
    let node = server.node().await;
    node.publish("r", "a").await;

    let url = format!("redis://:swordfish@127.0.0.1:{}", server.port());
    let redis: Redis<String> = builder(&url).build().expect("valid");
    let node = Node::new(redis.clone());
    let error = soon("an attempt", redis.connected()).await.expect_err("the password is wrong");
    let failed = node.hub.read_before(&room("r"), None, 9).await.expect_err("it is away");
    let printed = format!("{error} {error:?} {:?} {redis:?} {failed} {failed:?}", redis.last_error());
    assert!(printed.contains("WRONGPASS"), "{printed}");
    assert!(!printed.contains("swordfish") && !printed.contains("hunter2"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_in_the_readme_suffice() {
    let server = Server::start();
    let readme = include_str!("../README.md");
    let rights = readme.lines().find_map(|line| line.strip_prefix("`~fullduplex")).expect("a line of rights");
    let rights = format!("~fullduplex{}", rights.trim_end_matches(['`', '.']));
    let user = ["ACL", "SETUSER", "node", "on", ">secret"].into_iter().chain(rights.split(' '));
    server.command::<()>(&user.collect::<Vec<_>>());
    let url = format!("redis://node:secret@127.0.0.1:{}", server.port());
    let redis = builder(&url).max_age(Duration::from_millis(1)).build().expect("valid");
    let mut node = connected(&redis).await;
    let mut member = node.joined("r").await;
    for text in ["a", "b"] {
        let position = node.publish("r", text).await;
        assert_eq!(member.stored().await, (position, text.into()));
    }
    soon("entering", member.member.enter(&room("r"), "ann")).await.expect("entered");
    node.entered(member.id()).await;
    assert_eq!(node.present("r").await, [member.id()]);
    node.hub.read_before(&room("r"), None, 9).await.expect("permitted");
    member.member.leave(&room("r"));
    while !node.present("r").await.is_empty() {
        tokio::task::yield_now().await;
    }
    node.hub.delete_history(&room("r")).await.expect("permitted");
    node.hub.signal("x").expect("permitted");
    // The server counts what it has denied.
    let log: Vec<redis::Value> = server.command(&["ACL", "LOG"]);
    assert_eq!((log, redis.last_error().map(|error| error.to_string())), (vec![], None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_and_prefixes_are_separate() {
    let server = Server::start();
    let in_database = |number: u8| builder(&format!("{}/{number}", server.url())).build().expect("valid");
    let one = connected(&in_database(1)).await;
    let two = connected(&in_database(2)).await;
    let three = connected(&builder(&server.url()).prefix("other").build().expect("valid")).await;
    let four = server.node().await;
    let mut seats = Vec::new();
    for node in [&one, &two, &three, &four] {
        seats.push(node.joined("r").await);
    }
    for (node, text) in [(&one, "1"), (&two, "2"), (&three, "3"), (&four, "4")] {
        node.hub.to_all().send(text).await;
        node.publish("r", text).await;
    }
    for (seat, text) in seats.iter_mut().zip(["1", "2", "3", "4"]) {
        assert_eq!((seat.next().await, seat.stored().await.1), (text.into(), text.into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_hub_and_the_handles_closes_the_connections() {
    let server = Server::start();
    let clients = || server.command::<String>(&["CLIENT", "LIST"]).lines().count();
    assert_eq!(clients(), 1, "that of this command");
    let redis = builder(&server.url()).build().expect("valid");
    let node = connected(&redis).await;
    assert_eq!(clients(), 3);
    drop((redis, node));
    let closed = async {
        while clients() > 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("the connections are closed", closed).await;
}

#[tokio::test]
#[should_panic(expected = "a hub is attached already")]
async fn a_second_hub_is_refused() {
    let redis: Redis<String> = builder("redis://127.0.0.1:1").build().expect("valid");
    let _first: Hub<String> = Hub::builder().backplane(redis.clone()).build();
    let _second: Hub<String> = Hub::builder().backplane(redis).build();
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_used_and_certificates_are_verified() {
    let tls = support::Tls::new(&["localhost"]);
    let tls_port = support::free_port();
    let server = tls.start(tls_port, Server::start_with);
    let url = format!("rediss://localhost:{tls_port}");
    let trusting = builder(&url).root_certificates(&*tls.certificate).build().expect("valid");
    let node = connected(&trusting).await;
    let mut member = node.joined("r").await;
    node.publish("r", "a").await;
    assert_eq!(member.stored().await.1, "a");
    let other = server.node().await;
    other.publish("r", "b").await;
    assert_eq!(member.stored().await.1, "b");

    let distrusting: Redis<String> = builder(&url).build().expect("valid");
    let _node = Node::new(distrusting.clone());
    let error = soon("an attempt", distrusting.connected()).await;
    assert!(error.is_err(), "its certificate is self-signed");
}
