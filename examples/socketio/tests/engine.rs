//! Engine.IO over real sockets: handshake, long polling, WebSocket, heartbeat, close.

mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use fullduplex::Message;
use serde_json::{Value, json};
use socketio::engine::{Connection, Ending, Engine, Origins, Received, Settings};
use support::{Poller, closed, connect_to, message, open_ws, request, serve, text};

const PATH: &str = "/engine.io/";

/// Sends everything back, and notes why sessions end.
#[derive(Debug, Clone, Default)]
struct Ends(Arc<Mutex<Vec<String>>>);

impl Ends {
    async fn echo(self, mut session: Connection) {
        let sender = session.sender();
        let ending: Ending = loop {
            let sent = match session.recv().await {
                Ok(Received::Text(text)) if &*text == "close" => {
                    sender.close();
                    continue;
                }
                Ok(Received::Text(text)) => sender.send_text(&text).await,
                Ok(Received::Binary(data)) => sender.send_binary(data).await,
                Err(ending) => break ending,
            };
            sent.expect("open");
        };
        self.0.lock().expect("no panic").push(ending.to_string());
    }

    async fn next(&self) -> String {
        support::eventually(|| self.0.lock().expect("no panic").pop()).await
    }
}

async fn start(settings: Settings) -> (SocketAddr, Engine, Ends) {
    let ends = Ends::default();
    let noted = ends.clone();
    let engine = Engine::new(settings, move |session| noted.clone().echo(session));
    let address = serve(engine.routes(PATH)).await;
    (address, engine, ends)
}

fn quick() -> Settings {
    Settings::new().ping_interval(Duration::from_millis(300)).ping_timeout(Duration::from_millis(200))
}

fn code(response: &support::Response) -> Value {
    serde_json::from_str::<Value>(&response.body).expect("JSON")["code"].take()
}

#[tokio::test]
async fn a_session_begins_with_its_parameters() {
    let (address, engine, _) = start(Settings::new()).await;
    let response = request(address, "GET", "/engine.io/?EIO=4&transport=polling", &[], "").await;
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("set-cookie"), None);
    let mut open: Value = serde_json::from_str(&response.body[1..]).expect("JSON");
    assert_eq!(open["sid"].take().as_str().map(str::len), Some(20));
    let expected = json!({
        "sid": null, "upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000
    });
    assert_eq!(open, expected);
    let (_ws, open) = open_ws(address, PATH).await;
    assert_eq!(open["upgrades"], json!([]));
    assert_eq!(engine.len(), 2);
}

#[tokio::test]
async fn requests_that_the_protocol_does_not_know_are_refused() {
    let (address, engine, _) = start(Settings::new()).await;
    let unknown = "EIO=4&transport=polling&sid=A1-_A1-_A1-_A1-_A1-_";
    for (method, query, expected) in [
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=abc", 0),
        ("GET", unknown, 1),
        ("POST", unknown, 1),
        ("GET", "EIO=4&transport=polling&sid=abc", 1),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=websocket", 3),
        ("GET", "transport=polling", 5),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "EIO=3&transport=websocket", 5),
    ] {
        let response = request(address, method, &format!("{PATH}?{query}"), &[], "").await;
        assert_eq!((response.status, code(&response)), (400, json!(expected)), "{method} {query}");
    }
    let session = Poller::open(address, PATH).await;
    let response = request(address, "PUT", &session.target(), &[], "").await;
    assert_eq!((response.status, code(&response)), (400, json!(3)));
    assert_eq!(engine.len(), 1);
}

#[tokio::test]
async fn version_3_is_refused_over_websocket_too() {
    let (address, ..) = start(Settings::new()).await;
    let url = format!("ws://{address}{PATH}?EIO=3&transport=websocket");
    let error = fullduplex::connect(&url).await.expect_err("refused");
    assert!(format!("{error:#}").contains("400"), "{error:#}");
}

#[tokio::test]
async fn packets_are_sent_and_received_by_polling() {
    let (address, ..) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    for payload in ["4hello", "4test1\u{1e}4test2\u{1e}4test3", "4hello\u{1e}bAQIDBA==", "4ü", "4\u{1e}b"] {
        session.send(payload).await;
        let packets = payload.split('\u{1e}').count();
        let mut received = Vec::new();
        while received.len() < packets {
            received.extend(session.poll().await.split('\u{1e}').map(str::to_owned));
        }
        assert_eq!(received.join("\u{1e}"), payload);
    }
}

#[tokio::test]
async fn a_poll_waits_for_a_packet() {
    let (address, ..) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let polling = session.clone();
    let polling = tokio::spawn(async move { polling.poll().await });
    session.send("4late").await;
    assert_eq!(polling.await.expect("no panic"), "4late");
}

#[tokio::test]
async fn packets_are_sent_and_received_over_websocket() {
    let (address, ..) = start(Settings::new()).await;
    let (mut ws, _) = open_ws(address, PATH).await;
    for sent in [Message::from("4hello"), Message::from("4"), Message::binary(vec![1, 2, 3, 4])] {
        ws.send(sent.clone()).await.expect("open");
        assert_eq!(message(&mut ws).await, Some(sent));
    }
}

#[tokio::test]
async fn an_invalid_payload_ends_the_session() {
    let (address, engine, _) = start(Settings::new()).await;
    for payload in ["abc", "", "4a\u{1e}", "b!", "1x"] {
        let session = Poller::open(address, PATH).await;
        let response = session.post(payload).await;
        assert_eq!((response.status, code(&response)), (400, json!(3)), "{payload:?}");
        assert_eq!(session.get().await.status, 400);
    }
    support::eventually(|| engine.is_empty().then_some(())).await;
}

#[tokio::test]
async fn packets_that_only_servers_send_end_the_session() {
    let (address, _, ends) = start(Settings::new()).await;
    for packet in ["0{}", "2", "2probe", "3probe", "5", "7", "", "abc"] {
        let (mut ws, _) = open_ws(address, PATH).await;
        ws.send(packet).await.expect("open");
        assert_eq!(closed(&mut ws).await, Some(1002), "{packet:?}");
        assert_eq!(ends.next().await, Ending::InvalidPacket.to_string());
    }
    let session = Poller::open(address, PATH).await;
    session.send("2").await;
    assert_eq!(session.poll().await, "1");
    assert_eq!(session.get().await.status, 400);
}

#[tokio::test]
async fn a_second_poll_ends_the_session() {
    let (address, engine, _) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    // Whichever of the two arrives later is refused.
    let (first, second) = tokio::join!(session.get(), session.get());
    let mut statuses = [first, second];
    statuses.sort_by_key(|response| response.status);
    assert_eq!((statuses[0].status, statuses[0].body.as_str()), (200, "1"));
    assert_eq!((statuses[1].status, code(&statuses[1])), (400, json!(3)));
    assert_eq!(session.get().await.status, 400);
    support::eventually(|| engine.is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_second_post_ends_the_session() {
    let (address, engine, _) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let slow = support::begin_post(&session, 100, "4slow").await;
    // The first has begun once its head has arrived.
    let second = support::eventually_async(async || {
        let second = session.post("4fast").await;
        (second.status != 200).then_some(second)
    })
    .await;
    assert_eq!(code(&second), json!(3));
    support::eventually(|| engine.is_empty().then_some(())).await;
    drop(slow);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let (address, engine, _) = start(Settings::new().max_payload(100)).await;
    let session = Poller::open(address, PATH).await;
    session.send(&format!("4{}", "x".repeat(99))).await;
    let response = session.post(&"4".repeat(101)).await;
    assert_eq!(response.status, 413);
    support::eventually(|| engine.is_empty().then_some(())).await;

    // Nothing but the head is sent: the answer does not wait for the gigabyte.
    let session = Poller::open(address, PATH).await;
    let answer = support::begin_post(&session, 1 << 30, "4").await.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let (mut ws, _) = open_ws(address, PATH).await;
    ws.send("4".repeat(101)).await.expect("open");
    assert_eq!(closed(&mut ws).await, Some(1009));
}

#[tokio::test]
async fn binary_bodies_of_older_versions_are_refused() {
    let (address, ..) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let fields = [("Content-Type", "application/octet-stream")];
    let response = request(address, "POST", &session.target(), &fields, "4a").await;
    assert_eq!(response.status, 400);
    assert_eq!(session.get().await.status, 400);
}

#[tokio::test]
async fn pings_are_answered_with_either_transport() {
    let (address, engine, _) = start(quick().ping_timeout(support::DEADLINE)).await;
    let session = Poller::open(address, PATH).await;
    let (mut ws, _) = open_ws(address, PATH).await;
    for _ in 0..3 {
        assert_eq!(session.poll().await, "2");
        session.send("3").await;
        assert_eq!(text(&mut ws).await, "2");
        ws.send("3").await.expect("open");
    }
    assert_eq!(engine.len(), 2);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_disconnected() {
    let (address, engine, ends) = start(quick()).await;
    let session = Poller::open(address, PATH).await;
    assert_eq!(ends.next().await, Ending::PingTimeout.to_string());
    assert_eq!(session.get().await.status, 400);
    let (mut ws, _) = open_ws(address, PATH).await;
    assert_eq!(text(&mut ws).await, "2");
    closed(&mut ws).await;
    assert_eq!(ends.next().await, Ending::PingTimeout.to_string());
    assert!(engine.is_empty());
}

#[tokio::test]
async fn a_client_closes_its_session() {
    let (address, engine, ends) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let polling = session.clone();
    let polling = tokio::spawn(async move { polling.get().await });
    session.send("1").await;
    // Whether it had arrived before or not.
    let polled = polling.await.expect("no panic");
    assert!((polled.status, polled.body.as_str()) == (200, "6") || polled.status == 400, "{polled:?}");
    assert_eq!(session.get().await.status, 400);
    assert_eq!(ends.next().await, Ending::Closed.to_string());

    let (mut ws, _) = open_ws(address, PATH).await;
    ws.send("1").await.expect("open");
    assert_eq!(closed(&mut ws).await, Some(1000));
    assert_eq!(ends.next().await, Ending::Closed.to_string());
    support::eventually(|| engine.is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_server_closes_a_session_behind_what_it_has_sent() {
    let (address, engine, _) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    session.send("4last\u{1e}4close").await;
    let mut payload = session.poll().await;
    if payload == "4last" {
        payload = format!("{payload}\u{1e}{}", session.poll().await);
    }
    assert_eq!(payload, "4last\u{1e}1");
    assert_eq!(session.get().await.status, 400);
    let (mut ws, _) = open_ws(address, PATH).await;
    ws.send("4close").await.expect("open");
    assert_eq!(closed(&mut ws).await, Some(1000));
    support::eventually(|| engine.is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_poll_that_its_client_leaves_ends_the_session() {
    let (address, _, ends) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let polling = support::begin_get(&session).await;
    drop(polling);
    ends.next().await;
    assert_eq!(session.get().await.status, 400);
}

#[tokio::test]
async fn the_number_of_sessions_is_limited() {
    let (address, engine, _) = start(Settings::new().max_sessions(2)).await;
    let first = Poller::open(address, PATH).await;
    let (_second, _) = open_ws(address, PATH).await;
    let refused = request(address, "GET", "/engine.io/?EIO=4&transport=polling", &[], "").await;
    assert_eq!(refused.status, 503);
    first.send("1").await;
    support::eventually(|| (engine.len() == 1).then_some(())).await;
    Poller::open(address, PATH).await;
}

#[tokio::test]
async fn pages_of_other_origins_need_permission() {
    let origins = Origins::list(["https://app.example"]);
    let (address, ..) = start(Settings::new().origins(origins).credentials(true)).await;
    let target = "/engine.io/?EIO=4&transport=polling";
    let evil = request(address, "GET", target, &[("Origin", "https://evil.example")], "").await;
    assert_eq!((evil.status, code(&evil)), (403, json!(4)));
    let own = format!("http://{address}");
    let own = request(address, "GET", target, &[("Origin", &own)], "").await;
    assert_eq!((own.status, own.header("access-control-allow-origin")), (200, None));
    let fields = [("Origin", "https://app.example"), ("Access-Control-Request-Headers", "x-a")];
    for method in ["GET", "OPTIONS"] {
        let listed = request(address, method, target, &fields, "").await;
        assert!(listed.status < 300, "{listed:?}");
        assert_eq!(listed.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(listed.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(listed.header("vary"), Some("Origin"));
    }
    let client = fullduplex::Client::default().header("Origin", "https://evil.example");
    let url = format!("ws://{address}{PATH}?EIO=4&transport=websocket");
    let error = client.connect(&url).await.expect_err("refused");
    assert!(format!("{error:#}").contains("403"), "{error:#}");
}

#[tokio::test]
async fn a_cookie_is_set_if_the_program_wants_one() {
    let (address, ..) = start(Settings::new().cookie("io")).await;
    let response = request(address, "GET", "/engine.io/?EIO=4&transport=polling", &[], "").await;
    let cookie = response.header("set-cookie").expect("a cookie");
    let open: Value = serde_json::from_str(&response.body[1..]).expect("JSON");
    let expected = format!("io={}; Path=/; HttpOnly; SameSite=Lax", open["sid"].as_str().expect("an id"));
    assert_eq!(cookie, expected);
}

#[tokio::test]
async fn a_program_refuses_requests() {
    let settings = Settings::new().allow_request(|head| head.headers.contains_key("x-ticket"));
    let (address, engine, _) = start(settings).await;
    let target = "/engine.io/?EIO=4&transport=polling";
    assert_eq!(request(address, "GET", target, &[], "").await.status, 403);
    assert_eq!(request(address, "GET", target, &[("X-Ticket", "1")], "").await.status, 200);
    assert_eq!(engine.len(), 1);
}

#[tokio::test]
async fn a_websocket_connection_for_no_session_is_refused() {
    let (address, ..) = start(Settings::new()).await;
    let url = format!("ws://{address}{PATH}?EIO=4&transport=websocket&sid=A1-_A1-_A1-_A1-_A1-_");
    assert!(fullduplex::connect(&url).await.is_err());
    // One that polls is found.
    let session = Poller::open(address, PATH).await;
    connect_to(address, PATH, Some(&session.sid)).await;
}
