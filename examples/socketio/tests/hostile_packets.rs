//! Packets of Socket.IO that are hostile, over real sockets. `HOSTILE.md` lists what is required.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fullduplex::Message;
use serde_json::Value;
use socketio::{
    AckError, Args, Auth, Binary, ConnectError, Data, Io, Limits, Namespace, Socket, engine::Settings,
};
use support::{
    Client, Notes, Poller, closed, open_ws, request, serve,
    socket::{PATH, connect, expect, start},
    text,
};
use tokio::{sync::Notify, time::timeout};

fn ask() -> Namespace {
    Namespace::new("/").on("ask", |_socket, arguments: Args<Vec<Value>>| async { arguments })
}

/// Sends messages, of which the last one has to end the connection.
async fn ends_with_1002(address: std::net::SocketAddr, messages: &[Message]) {
    let (mut ws, _) = connect(address, "40").await;
    for message in messages {
        // The server may have closed the connection already.
        let _ = ws.send(message.clone()).await;
    }
    assert_eq!(closed(&mut ws).await, Some(1002), "{messages:?}");
}

#[tokio::test]
async fn an_attachment_count_beyond_the_limit_ends_the_connection() {
    let address = start(Io::builder().namespace(ask())).await;
    for packet in [r#"4511-["ask"]"#, r#"4599999999["ask"]"#, r#"4599999999999999999999999-["ask"]"#] {
        ends_with_1002(address, &[packet.into()]).await;
    }
}

#[tokio::test]
async fn attachments_beyond_the_size_limit_end_the_connection() {
    let limits = Limits::new().max_event_size(100_000);
    let address = start(Io::builder().limits(limits).namespace(ask())).await;
    let head = r#"4510-["ask",{"_placeholder":true,"num":0}]"#;
    let part = Message::binary(vec![0; 30_000]);
    ends_with_1002(address, &[head.into(), part.clone(), part.clone(), part.clone(), part]).await;
}

#[tokio::test]
async fn packets_out_of_order_end_the_connection() {
    let address = start(Io::builder().namespace(ask())).await;
    let one = Message::from(r#"451-["ask",{"_placeholder":true,"num":0}]"#);
    let binary = Message::binary(vec![1]);
    for messages in [
        &[binary.clone()][..],
        &[one.clone(), r#"42["ask"]"#.into()],
        &[one.clone(), one.clone()],
        &[one.clone(), "41".into()],
        &[one.clone(), r#"4{"_placeholder":true}"#.into()],
        &[one, binary.clone(), binary],
    ] {
        ends_with_1002(address, messages).await;
    }
}

#[tokio::test]
async fn a_ping_between_attachments_changes_nothing() {
    let settings = Settings::new().ping_interval(Duration::from_millis(20)).ping_timeout(support::DEADLINE);
    let address = start(Io::builder().settings(settings).namespace(ask())).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"452-1["ask",{"_placeholder":true,"num":1}]"#).await.expect("open");
    ws.send(vec![1]).await.expect("open");
    expect(&mut ws, "2").await;
    ws.send("3").await.expect("open");
    ws.send(vec![2]).await.expect("open");
    let mut answer = text(&mut ws).await;
    while answer == "2" {
        answer = text(&mut ws).await;
    }
    // The handler has taken the placeholder as the object that it is in JSON.
    assert_eq!(answer, r#"431[{"_placeholder":true,"num":1}]"#);
}

#[tokio::test]
async fn placeholders_without_an_attachment_end_the_connection() {
    let address = start(Io::builder().namespace(ask())).await;
    for num in ["1", "-1", "0.5", "1e3", "18446744073709551616", r#""0""#, "null", "[0]"] {
        let packet = format!(r#"451-["ask",{{"_placeholder":true,"num":{num}}}]"#);
        ends_with_1002(address, &[packet.into()]).await;
    }
}

#[tokio::test]
async fn an_attachment_that_is_named_often_is_not_multiplied() {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = Namespace::new("/")
        .on("copy", |_socket, arguments: Args<Vec<Binary>>| async { arguments })
        .on_failure(move |_, _, error| noted.add(error.to_string()));
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    let many = vec![r#"{"_placeholder":true,"num":0}"#; 10_000].join(",");
    ws.send(format!(r#"451-1["copy",{many}]"#)).await.expect("open");
    ws.send(vec![0; 500_000]).await.expect("open");
    // Five gigabytes would be sent back.
    assert!(notes.next().await.contains("do not fit"));
    ws.send(r#"451-2["copy",{"_placeholder":true,"num":0}]"#).await.expect("open");
    ws.send(vec![7]).await.expect("open");
    expect(&mut ws, r#"461-2[{"_placeholder":true,"num":0}]"#).await;
}

#[tokio::test]
async fn ids_that_no_client_can_have_end_the_connection() {
    let address = start(Io::builder().namespace(ask())).await;
    for packet in [
        r#"429007199254740992["ask"]"#,
        r#"4218446744073709551616["ask"]"#,
        r#"42007["ask"]"#,
        "4318446744073709551616[]",
        "43[]",
        r#"42-1["ask"]"#,
    ] {
        ends_with_1002(address, &[packet.into()]).await;
    }
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"429007199254740991["ask"]"#).await.expect("open");
    expect(&mut ws, "439007199254740991[]").await;
}

#[tokio::test]
async fn answers_that_nobody_waits_for_are_ignored() {
    let namespace = ask().on("begin", |socket: Socket, (): ()| async move {
        let first = socket.emit_with_ack::<Data<u8>, _>("first", &()).await;
        assert!(matches!(&first, Ok(Data(1))), "{first:?}");
        let second = socket.emit_with_ack::<Data<u8>, _>("second", &()).await;
        assert!(matches!(&second, Ok(Data(2))), "{second:?}");
    });
    let other = Namespace::new("/other");
    let address = start(Io::builder().namespace(namespace).namespace(other)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send("40/other,").await.expect("open");
    text(&mut ws).await;
    // Before anything is asked.
    for id in 0..2000 {
        ws.feed(format!("43{id}[7]")).await.expect("open");
    }
    ws.send(r#"421["begin"]"#).await.expect("open");
    expect(&mut ws, r#"420["first"]"#).await;
    // Of another namespace, twice, and of an event that is not sent yet.
    for answer in ["43/other,0[9]", "431[8]", "430[1]", "430[3]"] {
        ws.send(answer).await.expect("open");
    }
    expect(&mut ws, r#"421["second"]"#).await;
    ws.send("431[2]").await.expect("open");
    expect(&mut ws, "431[]").await;
}

#[tokio::test]
async fn answers_that_never_come_are_limited() {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = ask().on("begin", move |socket: Socket, (): ()| {
        let noted = noted.clone();
        async move {
            for _ in 0..3 {
                let socket = socket.clone();
                let noted = noted.clone();
                tokio::spawn(async move {
                    match socket.emit_with_ack::<(), _>("well?", &()).await {
                        Err(AckError::TooMany) => noted.add("too many"),
                        Err(AckError::Timeout) => noted.add("too late"),
                        other => panic!("{other:?}"),
                    }
                });
            }
        }
    });
    let limits = Limits::new().max_acks(2).ack_timeout(Duration::from_millis(100));
    let address = start(Io::builder().limits(limits).namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"421["begin"]"#).await.expect("open");
    for note in ["too many", "too late", "too late"] {
        assert_eq!(notes.next().await, note);
    }
    // Those are forgotten: there is room for others.
    ws.send(r#"422["begin"]"#).await.expect("open");
    for note in ["too many", "too late", "too late"] {
        assert_eq!(notes.next().await, note);
    }
}

#[tokio::test]
async fn reserved_names_reach_no_handler() {
    let address = start(Io::builder().namespace(ask().fallback(|_, (): ()| async {}))).await;
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        ends_with_1002(address, &[format!(r#"421["{name}"]"#).into()]).await;
    }
    // The same name in another form.
    ends_with_1002(address, &[r#"421["\u0063onnect"]"#.into()]).await;
}

#[tokio::test]
async fn what_a_client_connects_with_may_nest_deeply() {
    let namespace = ask().authorize(|_, auth: Auth| async move {
        auth.parse::<Value>().map_err(|_| ConnectError::new("Not an object")).map(drop)
    });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = open_ws(address, PATH).await;
    let deep = format!(r#"40{{"a":{}{}}}"#, "[".repeat(400_000), "]".repeat(400_000));
    ws.send(deep).await.expect("open");
    expect(&mut ws, r#"44{"message":"Not an object"}"#).await;
    ws.send("40").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40{"));
}

#[tokio::test]
async fn thousands_of_namespaces_are_refused() {
    let connected = Arc::new(AtomicUsize::new(0));
    let counted = connected.clone();
    let all = Namespace::matching(|name| name.starts_with("/n")).on_connect(move |_, _| {
        counted.fetch_add(1, SeqCst);
        async {}
    });
    let address = start(Io::builder().namespace(all)).await;
    let (mut ws, _) = open_ws(address, PATH).await;
    for number in 0..3000 {
        // Every second one does not exist, and takes no place.
        let name = if number % 2 == 0 { "n" } else { "x" };
        ws.feed(format!("40/{name}{number},")).await.expect("open");
    }
    ws.flush().await.expect("open");
    let [mut accepted, mut too_many, mut unknown] = [0; 3];
    for _ in 0..3000 {
        let answer = text(&mut ws).await;
        match () {
            () if answer.starts_with("40/n") => accepted += 1,
            () if answer.ends_with(r#"{"message":"Too many namespaces"}"#) => too_many += 1,
            () if answer.ends_with(r#"{"message":"Invalid namespace"}"#) => unknown += 1,
            () => panic!("{answer}"),
        }
    }
    assert_eq!((accepted, connected.load(SeqCst)), (16, 16));
    // Once there are 16, it does not matter whether a namespace exists.
    assert_eq!((too_many + unknown, unknown), (2984, 15));
}

#[tokio::test]
async fn connecting_twice_ends_the_connection() {
    let address = start(Io::builder().namespace(ask())).await;
    ends_with_1002(address, &["40".into()]).await;
    let (mut ws, _) = open_ws(address, PATH).await;
    // The second one arrives while the first is under way.
    ws.feed("40").await.expect("open");
    ws.feed("40").await.expect("open");
    ws.flush().await.expect("open");
    assert_eq!(closed(&mut ws).await, Some(1002));
}

#[tokio::test]
async fn the_name_of_a_namespace_is_limited() {
    let address = start(Io::builder().namespace(ask()).namespace(Namespace::matching(|_| true))).await;
    ends_with_1002(address, &[format!("40/{},", "n".repeat(256)).into()]).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(format!("40/{},", "n".repeat(255))).await.expect("open");
    assert!(text(&mut ws).await.starts_with("40/nnn"));
}

#[tokio::test]
async fn text_that_is_not_utf8_ends_the_connection() {
    let address = start(Io::builder().namespace(ask())).await;
    let session = Poller { address, path: PATH, sid: String::new() };
    let head = format!(
        "GET {PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut raw = support::begin(&session, &head).await;
    raw.send(b"\x81\x84\0\0\0\x0042\xC3\x28").await;
    let answer = raw.all().await;
    // A Close with the code 1007 is the last frame.
    let close = answer.windows(4).position(|window| window[0] == 0x88 && window[2..] == [0x03, 0xEF]);
    assert!(close.is_some(), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn ids_of_sockets_and_of_websocket_sessions_open_nothing() {
    let io = Io::builder().namespace(ask()).build();
    let address = serve(io.routes()).await;
    let (mut ws, open) = open_ws(address, PATH).await;
    ws.send("40").await.expect("open");
    let answer: Value = serde_json::from_str(&text(&mut ws).await[2..]).expect("JSON");
    for sid in [answer["sid"].as_str(), open["sid"].as_str()] {
        let session = Poller { address, path: PATH, sid: sid.expect("an id").to_owned() };
        assert_eq!(session.get().await.status, 400);
        assert_eq!(session.post(r#"42["ask"]"#).await.status, 400);
        let url = format!("ws://{address}{PATH}?EIO=4&transport=websocket&sid={}", session.sid);
        assert!(fullduplex::connect(&url).await.is_err());
    }
    ws.send(r#"421["ask"]"#).await.expect("open");
    expect(&mut ws, "431[]").await;
}

#[tokio::test]
async fn a_payload_of_too_many_packets_ends_the_session() {
    let io = Io::builder().settings(Settings::new().max_packets(100)).namespace(ask()).build();
    let address = serve(io.routes()).await;
    let session = Poller::open(address, PATH).await;
    session.send(&["6"; 100].join("\u{1e}")).await;
    assert_eq!(session.post(&["6"; 101].join("\u{1e}")).await.status, 400);
    support::eventually(|| io.engine().is_empty().then_some(())).await;
}

#[tokio::test]
async fn long_queries_and_long_heads_open_no_session() {
    let io = Io::builder().settings(Settings::new().keep_handshake(1000)).namespace(ask()).build();
    let address = serve(io.routes()).await;
    let long = "x".repeat(100_000);
    let target = |more: &str| format!("{PATH}?EIO=4&transport=polling{more}");
    assert_eq!(request(address, "GET", &target(""), &[], "").await.status, 200);
    // hyper refuses a target that is longer than 65,534 bytes.
    let query = format!("&t={}", &long[..60_000]);
    assert_eq!(request(address, "GET", &target(&query), &[], "").await.status, 431);
    assert_eq!(request(address, "GET", &target(""), &[("Cookie", &long[..1000])], "").await.status, 431);
    let session = Poller { address, path: PATH, sid: long };
    let head = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", session.target());
    let answer = support::begin(&session, &head).await.answer().await;
    assert!(answer.starts_with("HTTP/1.1 414"), "{answer}");
    assert_eq!(io.engine().len(), 1);
}

/// Sends as much as a client takes, and notes when the socket has left.
fn flood(notes: &Notes) -> Namespace {
    let noted = notes.clone();
    let flood = |socket: Socket, (): ()| async move {
        let data = Binary::from(vec![0; 100_000]);
        tokio::spawn(async move { while socket.emit("data", &data).await.is_ok() {} });
    };
    Namespace::new("/").on("flood", flood).on_disconnect(move |_, why| {
        noted.add(format!("{why:?}"));
        async {}
    })
}

#[tokio::test]
async fn a_client_that_takes_a_little_at_a_time_is_disconnected() {
    let notes = Notes::default();
    // More is queued than the buffers of the system accept in one step.
    let settings = Settings::new()
        .max_write_buffer_size(16 << 20)
        .write_timeout(Duration::from_secs(1))
        .min_write_rate(1_000_000_000);
    let address = start(Io::builder().settings(settings).namespace(flood(&notes))).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"42["flood"]"#).await.expect("open");
    let reading = tokio::spawn(async move {
        // It takes something in each period, and never as much as it has to.
        while let Ok(Some(_)) = ws.recv().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert_eq!(notes.next().await, "Lost");
    // What is left in the buffers of the system would take it long.
    reading.abort();
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected() {
    let notes = Notes::default();
    let settings = Settings::new().max_write_buffer_size(300_000).write_timeout(Duration::from_millis(200));
    let address = start(Io::builder().settings(settings).namespace(flood(&notes))).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"42["flood"]"#).await.expect("open");
    assert_eq!(notes.next().await, "Lost");
}

#[tokio::test]
async fn a_client_that_floods_is_not_read() {
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let namespace = ask().on("wait", move |_, (): ()| {
        let released = released.clone();
        async move { released.notified().await }
    });
    let limits = Limits::new().max_waiting_bytes(100_000);
    let address = start(Io::builder().limits(limits).namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"42["wait"]"#).await.expect("open");
    let event = format!(r#"42["no handler","{}"]"#, "x".repeat(10_000));
    let mut sent = 0;
    // It stops once the buffers of both ends are full.
    while timeout(Duration::from_secs(1), ws.send(&*event)).await.is_ok() {
        sent += 1;
        assert!(sent < 6_000, "60 MB were read while nothing was handled");
    }
    release.notify_one();
    ws.send(r#"421["ask"]"#).await.expect("open");
    expect(&mut ws, "431[]").await;
}

#[tokio::test]
async fn a_connection_that_is_lost_after_the_probe_leaves_the_session_polling() {
    let address = start(Io::builder().namespace(ask())).await;
    let session = Poller::open(address, PATH).await;
    session.send("40").await;
    assert!(session.poll().await.starts_with("40{"));
    for _ in 0..3 {
        let ws: Client = session.probe().await;
        session.send(r#"421["ask"]"#).await;
        drop(ws);
        let mut polled = session.poll().await;
        while polled == "6" {
            polled = session.poll().await;
        }
        assert_eq!(polled, "431[]");
    }
}

#[tokio::test]
async fn a_session_that_has_ended_is_found_by_nobody() {
    let io = Io::builder().namespace(ask()).build();
    let address = serve(io.routes()).await;
    let session = Poller::open(address, PATH).await;
    session.send("40").await;
    session.send("1").await;
    support::eventually(|| io.engine().is_empty().then_some(())).await;
    assert_eq!(session.get().await.status, 400);
    assert_eq!(session.post("40").await.status, 400);
    let url = format!("ws://{address}{PATH}?EIO=4&transport=websocket&sid={}", session.sid);
    assert!(fullduplex::connect(&url).await.is_err());
}
