//! What the types of the features show in their `Debug` output, and that it contains no keys, names or
//! payload data.
#![cfg(all(feature = "hub", feature = "serve", feature = "reconnect", feature = "calls"))]

mod support;

use std::time::Duration;

use fullduplex::{
    Client, Config,
    calls::Router,
    hub::{Hub, Memory},
    reconnect::Reconnecting,
    serve::{Serve, Shutdown},
    testing,
};
use support::hub::seat;
use tokio::net::TcpListener;

/// A name that no output may contain.
const SECRET: &str = "hunter2";

#[track_caller]
fn shows(shown: &str, expected: &str) {
    assert!(shown.starts_with(expected), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn a_hub_shows_numbers_and_no_rooms() {
    let memory = Memory::history(10, Duration::from_secs(60));
    shows(&format!("{memory:?}"), "Memory { messages: 10, age: 60s, .. }");
    let builder = Hub::<String>::builder().backplane(memory).max_waiting(7);
    shows(&format!("{builder:?}"), "Builder { slow: ");
    assert!(format!("{builder:?}").contains("max_waiting: 7"));
    let hub = builder.build();
    shows(&format!("{hub:?}"), "Hub { members: 0, .. }");
    let seat = seat(&hub);
    seat.member.join(SECRET).await.expect("in memory");
    shows(&format!("{hub:?}"), "Hub { members: 1, .. }");
    shows(&format!("{:?}", seat.member), "Member { id: MemberId");
    shows(&format!("{:?}", hub.to(SECRET)), "To { whom: Everyone, slow: ");
    let held = hub.hold(SECRET).await.expect("in memory");
    shows(&format!("{held:?}"), "Held { position: Position");
}

#[tokio::test]
async fn a_server_shows_its_settings_and_the_phase_of_its_shutdown() {
    let serve = Serve::bind("127.0.0.1:0").await.expect("a free port").max_connections(3);
    let shown = format!("{serve:?}");
    shows(&shown, "Serve { listener: ");
    assert!(shown.contains("max_connections: 3"), "{shown}");

    let shutdown = Shutdown::new();
    let (_client, ws) = testing::pair(&Config::new());
    let session = shutdown.guard().attach(ws);
    let shown = format!("{session:?}");
    shows(&shown, "Session { ws: ");
    let phase = |shown: &str| shown.rsplit_once("phase: ").expect("a phase").1.to_owned();
    let before = phase(&shown);
    shutdown.begin(fullduplex::CloseCode::GOING_AWAY, SECRET).expect("valid");
    let after = format!("{session:?}");
    shows(&after, "Session { ws: ");
    assert_ne!(phase(&after), before);
}

#[tokio::test]
async fn a_client_that_connects_again_shows_its_limits_and_a_router_the_events_that_run() {
    let builder = Reconnecting::builder(|_| async { Ok(testing::pair(&Config::new()).0) })
        .attempt_timeout(Duration::from_secs(3));
    let shown = format!("{builder:?}");
    shows(&shown, "Builder { backoff: ");
    assert!(shown.contains("attempt_timeout: Some(3s)"), "{shown}");

    let (client, server) = testing::pair(&Config::new());
    let attached = Router::<&str>::default().attach(server, SECRET);
    let shown = format!("{attached:?}");
    shows(&shown, "Attached { peer: Peer");
    assert!(shown.contains("running: 0"), "{shown}");
    drop(client);
}

#[tokio::test]
async fn transports_show_the_stream_that_they_are() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let target = format!("ws://{}/", listener.local_addr().expect("bound"));
    let client = Client::default();
    let (opened, _server) = tokio::join!(client.connect(target), async {
        fullduplex::accept(listener.accept().await.expect("a client").0).await.expect("a request")
    });
    shows(&format!("{:?}", opened.expect("connected").0.get_ref()), "ClientStream(");
}
