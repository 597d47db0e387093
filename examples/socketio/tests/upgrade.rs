//! Sessions that begin with long polling and continue over WebSocket.

mod support;

use std::{net::SocketAddr, time::Duration};

use socketio::engine::{Connection, Engine, Received, Settings};
use support::{Client, Poller, connect_to, message, serve, text};

const PATH: &str = "/engine.io/";

/// Sends everything back; `burst` is answered by a thousand messages.
async fn echo(mut session: Connection) {
    let sender = session.sender();
    while let Ok(received) = session.recv().await {
        let sent = match received {
            Received::Text(text) if &*text == "burst" => {
                for number in 0..1000 {
                    sender.send_text(&number.to_string()).await.expect("open");
                }
                Ok(())
            }
            Received::Text(text) => sender.send_text(&text).await,
            Received::Binary(data) => sender.send_binary(data).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn start(settings: Settings) -> (SocketAddr, Engine) {
    let engine = Engine::new(settings, echo);
    (serve(engine.routes(PATH)).await, engine)
}

async fn is_echoed(ws: &mut Client) {
    ws.send("4hello").await.expect("open");
    assert_eq!(text(ws).await, "4hello");
}

#[tokio::test]
async fn a_session_is_upgraded() {
    let (address, engine) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    // A poll meanwhile ends soon, with nothing.
    assert_eq!(session.poll().await, "6");
    ws.send("5").await.expect("open");
    is_echoed(&mut ws).await;
    assert_eq!(engine.len(), 1);
}

#[tokio::test]
async fn a_poll_that_waits_ends_with_the_probe() {
    let (address, _) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let polling = support::begin_get(&session).await;
    let _ws = session.probe().await;
    let answer = polling.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n6"), "{answer}");
}

#[tokio::test]
async fn after_an_upgrade_other_requests_change_nothing() {
    let (address, _) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    ws.send("5").await.expect("open");
    is_echoed(&mut ws).await;
    assert_eq!(session.get().await.status, 400);
    assert_eq!(session.post("4a").await.status, 400);
    let mut second = connect_to(address, PATH, Some(&session.sid)).await;
    assert_eq!(support::closed(&mut second).await, Some(1008));
    is_echoed(&mut ws).await;
}

#[tokio::test]
async fn what_was_not_polled_arrives_first_and_in_order() {
    let (address, _) = start(Settings::new()).await;
    for _ in 0..20 {
        let session = Poller::open(address, PATH).await;
        let mut ws = session.probe().await;
        session.send("4burst\u{1e}4end\u{1e}bAQID").await;
        // Behind the packet that completes the upgrade, in the same write.
        ws.feed("5").await.expect("open");
        ws.feed("4after").await.expect("open");
        ws.flush().await.expect("open");
        for number in 0..1000 {
            assert_eq!(text(&mut ws).await, format!("4{number}"));
        }
        assert_eq!(text(&mut ws).await, "4end");
        assert_eq!(message(&mut ws).await, Some(fullduplex::Message::binary(vec![1, 2, 3])));
        assert_eq!(text(&mut ws).await, "4after");
    }
}

#[tokio::test]
async fn what_was_not_polled_is_written_although_nothing_follows() {
    let (address, _) = start(Settings::new().ping_interval(10 * support::DEADLINE)).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    session.send("4waits for a poll").await;
    // It is in the outbox by then. If not, this tests less.
    tokio::time::sleep(Duration::from_millis(50)).await;
    ws.send("5").await.expect("open");
    assert_eq!(text(&mut ws).await, "4waits for a poll");
}

#[tokio::test]
async fn a_poll_takes_a_part_and_the_upgrade_the_rest() {
    let (address, _) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    session.send("4burst").await;
    let polled = session.poll().await;
    let polled: Vec<String> = polled.split('\u{1e}').map(str::to_owned).collect();
    ws.send("5").await.expect("open");
    let mut expected = (0..1000).map(|number| format!("4{number}"));
    if polled != ["6"] {
        assert!(polled.iter().all(|packet| Some(packet) == expected.next().as_ref()), "{polled:?}");
    }
    for packet in expected {
        assert_eq!(text(&mut ws).await, packet);
    }
}

#[tokio::test]
async fn an_attempt_that_fails_leaves_the_session_polling() {
    let (address, engine) = start(Settings::new().upgrade_timeout(Duration::from_millis(50))).await;
    let session = Poller::open(address, PATH).await;
    for first in ["4hello", "2", "5", "2prob"] {
        let mut ws = connect_to(address, PATH, Some(&session.sid)).await;
        ws.send(first).await.expect("open");
        support::closed(&mut ws).await;
    }
    let mut ws = session.probe().await;
    ws.send("4hello").await.expect("open");
    support::closed(&mut ws).await;
    // This one completes nothing in time.
    support::closed(&mut session.probe().await).await;
    session.send("4still here").await;
    assert_eq!(session.poll().await, "4still here");
    let mut ws = session.probe().await;
    ws.send("5").await.expect("open");
    is_echoed(&mut ws).await;
    assert_eq!(engine.len(), 1);
}

#[tokio::test]
async fn one_upgrade_is_attempted_at_a_time() {
    let (address, _) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    let mut second = connect_to(address, PATH, Some(&session.sid)).await;
    assert_eq!(support::closed(&mut second).await, Some(1008));
    ws.send("5").await.expect("open");
    is_echoed(&mut ws).await;
}

#[tokio::test]
async fn a_program_disables_upgrades() {
    let (address, _) = start(Settings::new().upgrades(false)).await;
    let session = Poller::open(address, PATH).await;
    let url = format!("ws://{address}{PATH}?EIO=4&transport=websocket&sid={}", session.sid);
    assert!(fullduplex::connect(&url).await.is_err());
}

#[tokio::test]
async fn the_heartbeat_continues_after_an_upgrade() {
    let settings = Settings::new().ping_interval(Duration::from_millis(200)).ping_timeout(support::DEADLINE);
    let (address, _) = start(settings).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    ws.send("5").await.expect("open");
    for _ in 0..3 {
        assert_eq!(text(&mut ws).await, "2");
        ws.send("3").await.expect("open");
    }
    is_echoed(&mut ws).await;
}
