//! How a server stops, and what it counts.

mod support;

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};

use fullduplex::{CloseCode, Message, serve::Shutdown};
use socketio::{
    Args, Data, Disconnect, Io, Namespace, Refused, Socket,
    engine::{Connection, Engine, Metrics, Received, Settings},
};
use support::{
    DEADLINE, Notes, Poller, begin_get, closed, message, open_ws, request, serve,
    socket::{PATH, connect, expect},
    text,
};
use tokio::{sync::Notify, task::yield_now};

/// Notes why each of its sockets has left.
fn noting(notes: &Notes) -> Namespace {
    let noted = notes.clone();
    Namespace::new("/").on("ask", |_socket, arguments: Args<Vec<u8>>| async { arguments }).on_disconnect(
        move |_, why| {
            let noted = noted.clone();
            async move {
                // The shutdown waits for this.
                for _ in 0..10 {
                    yield_now().await;
                }
                noted.add(format!("{why:?}"));
            }
        },
    )
}

#[tokio::test]
async fn clients_are_told_and_may_connect_again_elsewhere() {
    let notes = Notes::default();
    let io = Io::builder().namespace(noting(&notes)).build();
    let address = serve(io.routes()).await;
    let (mut ws, _) = connect(address, "40").await;
    let session = Poller::open(address, PATH).await;
    session.send("40").await;
    assert!(session.poll().await.starts_with("40{"));
    let polling = begin_get(&session).await;

    let stopping = io.clone();
    let stopping = tokio::spawn(async move { stopping.close(DEADLINE).await });
    // No packet `41`, after which a client would not connect again.
    assert_eq!(message(&mut ws).await, None);
    assert_eq!(ws.close_frame().map(|frame| frame.code()), Some(CloseCode::GOING_AWAY));
    let answer = polling.answer().await;
    assert!(answer.ends_with("\r\n\r\n1"), "{answer}");

    let drained = stopping.await.expect("no panic");
    assert_eq!((drained.closed, drained.lost, drained.cut_off), (2, 0, 0));
    let noted = [notes.try_next(), notes.try_next()];
    assert_eq!(noted, [(); 2].map(|()| Some(format!("{:?}", Disconnect::ServerStops))));
    support::eventually(|| io.engine().is_empty().then_some(())).await;

    for transport in ["polling", "websocket"] {
        let target = format!("{PATH}?EIO=4&transport={transport}");
        let fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let fields = if transport == "polling" { &[][..] } else { &fields };
        let refused = request(address, "GET", &target, fields, "").await;
        assert_eq!((refused.status, &*refused.body), (503, r#"{"code":4,"message":"The server stops"}"#));
    }
}

#[tokio::test]
async fn what_has_arrived_is_handled_before_a_server_stops() {
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let notes = Notes::default();
    let namespace = noting(&notes).on("slow", move |socket: Socket, (): ()| {
        let released = released.clone();
        async move {
            socket.emit("begun", &()).await.expect("connected");
            released.notified().await;
            // The answers of clients are still received.
            let Data(answer): Data<u8> = socket.emit_with_ack("well?", &()).await.expect("answered");
            answer
        }
    });
    let io = Io::builder().namespace(namespace).build();
    let address = serve(io.routes()).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"421["slow"]"#).await.expect("open");
    ws.send(r#"422["ask",1]"#).await.expect("open");
    expect(&mut ws, r#"42["begun"]"#).await;
    let stopping = io.clone();
    let stopping = tokio::spawn(async move { stopping.close(DEADLINE).await });
    support::eventually_async(async || {
        let refused = request(address, "GET", &format!("{PATH}?EIO=4&transport=polling"), &[], "").await;
        (refused.status == 503).then_some(())
    })
    .await;
    // This one is too late.
    ws.send(r#"423["ask",3]"#).await.expect("open");
    release.notify_one();
    expect(&mut ws, r#"420["well?"]"#).await;
    ws.send("430[9]").await.expect("open");
    expect(&mut ws, "431[9]").await;
    expect(&mut ws, "432[1]").await;
    // Nothing of the one that was too late.
    assert_eq!(message(&mut ws).await, None);
    assert_eq!(ws.close_frame().map(|frame| frame.code()), Some(CloseCode::GOING_AWAY));
    assert_eq!(stopping.await.expect("no panic").closed, 1);
}

#[tokio::test]
async fn a_handler_that_does_not_end_is_cut_off() {
    let notes = Notes::default();
    let namespace = noting(&notes).on("hang", |socket: Socket, (): ()| async move {
        socket.emit("begun", &()).await.expect("connected");
        pending::<()>().await;
    });
    let io = Io::builder().namespace(namespace).build();
    let address = serve(io.routes()).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"421["hang"]"#).await.expect("open");
    expect(&mut ws, r#"42["begun"]"#).await;
    let drained = io.close(Duration::from_millis(50)).await;
    assert_eq!((drained.closed, drained.cut_off), (0, 1));
    assert_eq!(notes.next().await, format!("{:?}", Disconnect::ServerStops));
    support::eventually(|| io.engine().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_server_of_axum_stops_when_its_sessions_have_ended() {
    let notes = Notes::default();
    let io = Io::builder().namespace(noting(&notes)).build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("known");
    let stop = Arc::new(Notify::new());
    let (stopping, stopped, app) = (io.clone(), stop.clone(), io.routes());
    let serving = tokio::spawn(async move {
        axum::serve(listener, app)
            .with_graceful_shutdown(async move {
                stopped.notified().await;
                stopping.close(DEADLINE).await;
            })
            .await
    });
    let session = Poller::open(address, PATH).await;
    session.send("40").await;
    assert!(session.poll().await.starts_with("40{"));
    // This request would keep the server for as long as the ping interval.
    let polling = begin_get(&session).await;
    stop.notify_one();
    assert!(polling.answer().await.ends_with("\r\n\r\n1"));
    assert_eq!(notes.next().await, format!("{:?}", Disconnect::ServerStops));
    let served = tokio::time::timeout(DEADLINE, serving).await.expect("in time");
    served.expect("no panic").expect("no error");
}

#[tokio::test]
async fn sessions_take_part_in_the_shutdown_of_a_program() {
    let shutdown = Shutdown::new();
    let echo = |mut session: Connection| async move {
        let sender = session.sender();
        while let Ok(Received::Text(text)) = session.recv().await {
            if sender.send_text(&text).await.is_err() {
                break;
            }
        }
        while session.recv().await.is_ok() {}
    };
    let engine = Engine::new(Settings::new().shutdown(&shutdown), echo);
    let address = serve(engine.routes("/engine.io/")).await;
    let (mut ws, _) = open_ws(address, "/engine.io/").await;
    ws.send("4hello").await.expect("open");
    assert_eq!(text(&mut ws).await, "4hello");
    shutdown.begin(CloseCode::SERVICE_RESTART, "again soon").expect("valid");
    assert_eq!(closed(&mut ws).await, Some(1012));
    assert_eq!(shutdown.wait(DEADLINE).await.closed, 1);
}

#[tokio::test]
async fn sessions_sockets_and_errors_are_counted() {
    let metrics = Metrics::new();
    let namespaces =
        [
            Namespace::new("/")
                .on("ask", |_socket, Data(number): Data<u8>| async move { number })
                .before_event(|_, event| async move {
                    if event.name() == "refused" { Err(Refused::new("no")) } else { Ok(()) }
                }),
            Namespace::matching(|name| name.starts_with("/class/")),
        ];
    let settings = Settings::new().metrics(&metrics);
    let builder = Io::builder().settings(settings);
    let io = namespaces.into_iter().fold(builder, |builder, namespace| builder.namespace(namespace)).build();
    let address = serve(io.routes()).await;

    let (mut ws, _) = connect(address, "40").await;
    ws.send("40/class/1b,").await.expect("open");
    text(&mut ws).await;
    for event in [r#"42["refused"]"#, r#"42["ask","x"]"#, r#"421["ask",7]"#] {
        ws.send(event).await.expect("open");
    }
    expect(&mut ws, "431[7]").await;
    let [upgraded, polling] = [Poller::open(address, PATH).await, Poller::open(address, PATH).await];
    let mut other = upgraded.probe().await;
    other.send("5").await.expect("open");
    other.send("40").await.expect("open");
    assert!(text(&mut other).await.starts_with("40{"));
    let mut failed = polling.probe().await;
    failed.send("4").await.expect("open");
    closed(&mut failed).await;
    let now = support::eventually(|| {
        let now = metrics.snapshot();
        (now.failed_upgrades == 1).then_some(now)
    })
    .await;
    assert_eq!((now.opened_polling, now.opened_websocket), (2, 1));
    assert_eq!((now.polling, now.websocket, now.upgrades), (1, 2, 1));
    assert_eq!(now.sockets, BTreeMap::from([("/".into(), 2), ("/class/1b".into(), 1)]));
    assert_eq!(now.failed_events, BTreeMap::from([("data", 1), ("refused", 1)]));

    request(address, "GET", &format!("{PATH}?EIO=3&transport=polling"), &[], "").await;
    request(address, "GET", &polling.target(), &[("Origin", "https://evil.example")], "").await;
    other.send("7").await.expect("open");
    closed(&mut other).await;
    ws.close(CloseCode::NORMAL, "").await.expect("open");
    polling.send("1").await;
    let now = support::eventually(|| {
        let now = metrics.snapshot();
        (now.polling + now.websocket == 0).then_some(now)
    })
    .await;
    assert_eq!(now.refused, BTreeMap::from([("unsupported_version", 1), ("forbidden", 1)]));
    assert_eq!(now.ended, BTreeMap::from([("closed", 2), ("invalid_packet", 1)]));
    assert!(now.sockets.is_empty());
    // Of `ws` 5, of `other` 2; "1" is posted as a Close, which is no packet.
    assert_eq!(now.packets_received, 7);
    // Of `ws` 4 with the open packet, which precedes the session, and of `other` 1.
    assert_eq!((now.packets_sent, now.bytes_received > 60, now.bytes_sent > 60), (5, true, true));
}

#[tokio::test]
async fn packets_are_counted_while_a_session_is_open() {
    let metrics = Metrics::new();
    let settings = Settings::new().metrics(&metrics).ping_interval(Duration::from_millis(20));
    let engine = Engine::new(settings.ping_timeout(DEADLINE), |mut session: Connection| async move {
        while session.recv().await.is_ok() {}
    });
    let address = serve(engine.routes("/engine.io/")).await;
    let (mut ws, _) = open_ws(address, "/engine.io/").await;
    ws.send(Message::binary(vec![0; 1000])).await.expect("open");
    assert_eq!(text(&mut ws).await, "2");
    ws.send("3").await.expect("open");
    let now = support::eventually(|| {
        let now = metrics.snapshot();
        (now.packets_received == 2).then_some(now)
    })
    .await;
    assert!(now.bytes_received >= 1000 && now.websocket == 1, "{now:?}");
}
