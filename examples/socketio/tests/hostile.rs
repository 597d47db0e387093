//! What hostile clients send, and races that no client should cause.

mod support;

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use socketio::{
    Args, Io, Namespace,
    engine::{Connection, Engine, Received, Settings},
};
use support::{Poller, begin, begin_get, begin_post, closed, connect_to, request, serve, text};

const PATH: &str = "/engine.io/";

/// Sends everything back.
async fn echo(mut session: Connection) {
    let sender = session.sender();
    while let Ok(received) = session.recv().await {
        let sent = match received {
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

async fn has_ended(engine: &Engine) {
    support::eventually(|| engine.is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_body_that_never_ends_ends_the_session() {
    let (address, engine) = start(Settings::new().post_timeout(Duration::from_millis(50))).await;
    let session = Poller::open(address, PATH).await;
    let answer = begin_post(&session, 100, "4a").await.answer().await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    has_ended(&engine).await;
}

#[tokio::test]
async fn a_body_without_a_length_is_limited_too() {
    let (address, engine) = start(Settings::new().max_payload(100)).await;
    let session = Poller::open(address, PATH).await;
    let head = format!("POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", session.target());
    let mut post = begin(&session, &head).await;
    post.send(b"32\r\n").await;
    post.send(&[b'4'; 50]).await;
    post.send(b"\r\n40\r\n").await;
    post.send(&[b'4'; 64]).await;
    let answer = post.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    has_ended(&engine).await;
}

#[tokio::test]
async fn a_body_that_is_no_text_ends_the_session() {
    let (address, engine) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let mut post = begin_post(&session, 3, "4").await;
    post.send(&[0xC3, 0x28]).await;
    let answer = post.answer().await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    has_ended(&engine).await;
}

#[tokio::test]
async fn parameters_that_are_repeated_are_refused() {
    let (address, engine) = start(Settings::new()).await;
    for query in ["EIO=4&EIO=4&transport=polling", "EIO=4&transport=polling&transport=websocket"] {
        let response = request(address, "GET", &format!("{PATH}?{query}"), &[], "").await;
        assert_eq!(response.status, 400, "{query}");
    }
    assert!(engine.is_empty());
}

#[tokio::test]
async fn of_two_upgrades_at_once_one_is_attempted() {
    let (address, engine) = start(Settings::new()).await;
    for _ in 0..20 {
        let session = Poller::open(address, PATH).await;
        let open = || connect_to(address, PATH, Some(&session.sid));
        let (mut first, mut second) = tokio::join!(open(), open());
        let mut upgraded = 0;
        for ws in [&mut first, &mut second] {
            // The one that is closed may not take it.
            let _ = ws.send("2probe").await;
            let _ = ws.send("5").await;
            let _ = ws.send("4hello").await;
            match ws.recv().await {
                Ok(Some(probed)) => {
                    assert_eq!(probed.as_text(), Some("3probe"));
                    assert_eq!(text(ws).await, "4hello");
                    upgraded += 1;
                }
                Ok(None) => assert_eq!(ws.close_frame().map(|frame| frame.code().into()), Some(1008_u16)),
                Err(error) => panic!("{error:#}"),
            }
        }
        assert_eq!(upgraded, 1);
    }
    has_ended(&engine).await;
}

#[tokio::test]
async fn a_poll_that_waits_while_the_upgrade_completes_takes_nothing() {
    let (address, _) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    let polling = begin_get(&session).await;
    ws.send("5").await.expect("open");
    ws.send("4hello").await.expect("open");
    assert_eq!(text(&mut ws).await, "4hello");
    let answer = polling.answer().await;
    assert!(answer.ends_with("\r\n\r\n6"), "{answer}");
}

#[tokio::test]
async fn a_post_that_is_not_complete_when_the_upgrade_is_changes_nothing() {
    let (address, engine) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    let mut post = begin_post(&session, 5, "4po").await;
    ws.send("5").await.expect("open");
    ws.send("4hello").await.expect("open");
    assert_eq!(text(&mut ws).await, "4hello");
    post.send(b"st").await;
    let answer = post.answer().await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    ws.send("4again").await.expect("open");
    assert_eq!(text(&mut ws).await, "4again");
    assert_eq!(engine.len(), 1);
}

#[tokio::test]
async fn a_session_that_ends_during_the_probe_ends_the_attempt() {
    let (address, engine) = start(Settings::new()).await;
    let session = Poller::open(address, PATH).await;
    let mut ws = session.probe().await;
    session.send("1").await;
    has_ended(&engine).await;
    ws.send("5").await.expect("open");
    closed(&mut ws).await;
    assert!(engine.is_empty());
}

#[tokio::test]
async fn announced_attachments_reserve_no_memory_and_end_with_the_connection() {
    let io = Io::builder().namespace(Namespace::new("/")).build();
    let address = serve(io.routes()).await;
    let (mut ws, _) = support::open_ws(address, "/socket.io/").await;
    ws.send("40").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40{"));
    ws.send(r#"4510-["x",{"_placeholder":true,"num":9}]"#).await.expect("open");
    drop(ws);
    support::eventually(|| io.engine().is_empty().then_some(())).await;
}

#[tokio::test]
async fn data_that_nests_deeply_reaches_no_handler_and_harms_nobody() {
    let echo = Namespace::new("/")
        .on("typed", |_socket, arguments: Args<Vec<serde_json::Value>>| async { arguments });
    let address = serve(Io::builder().namespace(echo).build().routes()).await;
    let (mut ws, _) = support::open_ws(address, "/socket.io/").await;
    ws.send("40").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40{"));
    let deep = format!(r#"421["typed",{}{}]"#, "[".repeat(400_000), "]".repeat(400_000));
    ws.send(deep).await.expect("open");
    ws.send(r#"422["typed",1]"#).await.expect("open");
    // The first one is not acknowledged.
    assert_eq!(text(&mut ws).await, "432[1]");
}

#[tokio::test]
async fn many_sessions_that_begin_and_vanish_leave_nothing() {
    let settings =
        Settings::new().ping_interval(Duration::from_millis(20)).ping_timeout(Duration::from_millis(20));
    let (address, engine) = start(settings).await;
    for _ in 0..100 {
        Poller::open(address, PATH).await;
    }
    has_ended(&engine).await;
    let response = request(address, "GET", &format!("{PATH}?EIO=4&transport=polling&sid=x"), &[], "").await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&response.body).expect("JSON")["code"], json!(1));
}
