//! What runs before, beside and instead of handlers, and what handlers know of their client.

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::Extension;
use fullduplex::Client as WsClient;
use serde_json::{Value, json};
use socketio::{
    Args, Auth, Data, Disconnect, EmitError, Event, Io, Namespace, Refused, Socket,
    engine::{Secure, Settings, Transport},
};
use support::{
    Notes, Poller, closed, open_ws, serve, serve_with_addresses, socket::connect, socket::expect,
    socket::start, text,
};

const PATH: &str = "/socket.io/";

fn ask() -> Namespace {
    Namespace::new("/").on("ask", |_socket, arguments: Args<Vec<Value>>| async { arguments })
}

#[tokio::test]
async fn what_runs_before_an_event_refuses_it() {
    let notes = Notes::default();
    let (noted, handled) = (notes.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = handled.clone();
    let namespace = Namespace::new("/")
        .on("say", move |_socket, Data(text): Data<String>| {
            counted.fetch_add(1, SeqCst);
            async move { text }
        })
        .before_event(|_socket, event: Event| async move {
            let Data(text): Data<String> = event.parse().map_err(|_| Refused::new("Not text"))?;
            match &*text {
                "rude" => Err(Refused::new("Be polite").data(json!({"event": event.name()}))),
                _ => Ok(()),
            }
        })
        .before_event(|socket: Socket, event: Event| async move {
            // It runs only if the first has accepted the event.
            assert_ne!(event.as_json(), r#"["say","rude"]"#);
            match socket.get::<usize>() {
                Some(2) => Err(Refused::new("Twice is enough")),
                said => {
                    socket.insert(said.unwrap_or_default() + 1);
                    Ok(())
                }
            }
        })
        .on_failure(move |_, event, error| {
            assert!(error.downcast_ref::<Refused>().is_some());
            noted.add(format!("{event}: {error}"));
        });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    for (event, answer) in [
        (r#"421["say","a"]"#, r#"431["a"]"#),
        (r#"422["say","rude"]"#, r#"432[{"error":{"message":"Be polite","data":{"event":"say"}}}]"#),
        (r#"423["say",5]"#, r#"433[{"error":{"message":"Not text"}}]"#),
        (r#"424["say","b"]"#, r#"434["b"]"#),
        (r#"425["say","c"]"#, r#"435[{"error":{"message":"Twice is enough"}}]"#),
        // It has no handler, and is refused all the same.
        (r#"426["unknown","rude"]"#, r#"436[{"error":{"message":"Be polite","data":{"event":"unknown"}}}]"#),
    ] {
        ws.send(event).await.expect("open");
        expect(&mut ws, answer).await;
    }
    // Nobody waits for this one.
    ws.send(r#"42["say","rude"]"#).await.expect("open");
    for note in ["say: refused: Be polite", "say: refused: Not text", "say: refused: Twice is enough"] {
        assert_eq!(notes.next().await, note);
    }
    assert_eq!(notes.next().await, "unknown: refused: Be polite");
    assert_eq!(notes.next().await, "say: refused: Be polite");
    assert_eq!(handled.load(SeqCst), 2);
}

#[tokio::test]
async fn what_runs_before_the_events_of_one_socket_concerns_no_other() {
    let namespace = ask().on_connect(|socket: Socket, auth: Auth| async move {
        if auth.as_json() != "{}" {
            socket.before_event(|_, _| async { Err(Refused::new("Muted")) });
        }
    });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut muted, _) = connect(address, r#"40{"mute":1}"#).await;
    let (mut other, _) = connect(address, "40").await;
    for (ws, answer) in [(&mut muted, r#"431[{"error":{"message":"Muted"}}]"#), (&mut other, "431[]")] {
        ws.send(r#"421["ask"]"#).await.expect("open");
        expect(ws, answer).await;
    }
}

#[tokio::test]
async fn a_check_takes_its_time_and_later_events_wait() {
    let namespace = ask().before_event(|socket: Socket, event: Event| async move {
        if event.as_json().contains("slow") {
            let Data(allowed) = socket.emit_with_ack::<Data<bool>, _>("allow?", &()).await.expect("answered");
            return if allowed { Ok(()) } else { Err(Refused::new("no")) };
        }
        Ok(())
    });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"421["ask","slow"]"#).await.expect("open");
    ws.send(r#"422["ask","fast"]"#).await.expect("open");
    expect(&mut ws, r#"420["allow?"]"#).await;
    ws.send("430[true]").await.expect("open");
    expect(&mut ws, r#"431["slow"]"#).await;
    expect(&mut ws, r#"432["fast"]"#).await;
    ws.send(r#"423["ask","slow"]"#).await.expect("open");
    expect(&mut ws, r#"421["allow?"]"#).await;
    ws.send("431[false]").await.expect("open");
    expect(&mut ws, r#"433[{"error":{"message":"no"}}]"#).await;
}

#[tokio::test]
async fn all_events_are_seen_in_both_directions() {
    let notes = Notes::default();
    let [incoming, own, outgoing] = [(); 3].map(|()| notes.clone());
    let namespace = Namespace::new("/chat")
        .on_any(move |_, event: &Event| incoming.add(format!("in {} {}", event.as_json(), event.wants_ack())))
        .on_any_outgoing(move |_, event, json| outgoing.add(format!("out {event} {json}")))
        .before_event(|_, event: Event| async move {
            if event.name() == "refused" { Err(Refused::new("no")) } else { Ok(()) }
        })
        .on_connect(move |socket: Socket, _| {
            let own = own.clone();
            async move { socket.on_any(move |_, event| own.add(format!("own {}", event.name()))) }
        })
        .on("tell", |socket: Socket, (): ()| async move {
            socket.emit("told", &Args((1, socketio::Binary::from("x")))).await.expect("connected");
            let answered = socket.emit_with_ack::<(), _>("well?", "a[b").await;
            assert!(matches!(answered, Err(socketio::AckError::Disconnected)), "{answered:?}");
            // It is not sent, and not seen.
            assert!(matches!(socket.emit("late", &()).await, Err(EmitError::Disconnected)));
        });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40/chat,").await;
    for event in [r#"42/chat,["unknown",1]"#, r#"42/chat,7["refused"]"#, r#"42/chat,8["tell"]"#] {
        ws.send(event).await.expect("open");
    }
    for note in [
        r#"in ["unknown",1] false"#,
        "own unknown",
        r#"in ["refused"] true"#,
        "own refused",
        r#"in ["tell"] true"#,
        "own tell",
        r#"out told ["told",1,{"_placeholder":true,"num":0}]"#,
        r#"out well? ["well?","a[b"]"#,
    ] {
        assert_eq!(notes.next().await, note);
    }
    ws.send("41/chat,").await.expect("open");
    expect(&mut ws, r#"43/chat,7[{"error":{"message":"no"}}]"#).await;
    drop(ws);
    assert!(notes.is_empty());
}

#[tokio::test]
async fn an_event_without_a_handler_reaches_the_fallback() {
    let namespace = ask().fallback(|_socket, event: Event| async move { format!("no {}", event.name()) }).on(
        "own",
        |socket: Socket, (): ()| async move {
            socket.fallback(|_socket, Data(first): Data<u8>| async move { first });
        },
    );
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    for (event, answer) in [
        (r#"421["ask",7]"#, "431[7]"),
        (r#"422["x",7]"#, r#"432["no x"]"#),
        (r#"423["own"]"#, "433[]"),
        (r#"424["x",7]"#, "434[7]"),
        (r#"425["ask"]"#, "435[]"),
    ] {
        ws.send(event).await.expect("open");
        expect(&mut ws, answer).await;
    }
}

#[tokio::test]
async fn handlers_are_set_for_one_event_and_removed() {
    let namespace = ask()
        .on_connect(|socket: Socket, _| async move {
            socket.once("ask", |_socket, (): ()| async { "once" });
        })
        .on("change", |socket: Socket, Data(what): Data<String>| async move {
            match &*what {
                "on" => socket.on("ask", |_socket, (): ()| async { "own" }),
                _ => return socket.off("ask"),
            }
            true
        })
        .before_event(|_socket, event: Event| async move {
            if event.as_json().contains("refuse") { Err(Refused::new("no")) } else { Ok(()) }
        });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    for (event, answer) in [
        // An event that is refused does not use it up.
        (r#"420["ask","refuse"]"#, r#"430[{"error":{"message":"no"}}]"#),
        (r#"421["ask"]"#, r#"431["once"]"#),
        (r#"422["ask"]"#, "432[]"),
        (r#"423["change","on"]"#, "433[true]"),
        (r#"424["ask"]"#, r#"434["own"]"#),
        (r#"425["ask"]"#, r#"435["own"]"#),
        (r#"426["change","off"]"#, "436[true]"),
        (r#"427["change","off"]"#, "437[false]"),
        (r#"428["ask",8]"#, "438[8]"),
    ] {
        ws.send(event).await.expect("open");
        expect(&mut ws, answer).await;
    }
}

/// Answers with what it knows of the request that began the session.
fn describe() -> Namespace {
    Namespace::new("/").on("describe", |socket: Socket, (): ()| async move {
        let handshake = socket.handshake()?;
        let transport = match handshake.transport() {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        };
        let auth: Value = socket.auth()?.parse().ok()?;
        let age = handshake.time().elapsed().ok()?;
        Some(json!({
            "cookie": handshake.header("cookie"),
            "class": handshake.query("class"),
            "path": handshake.target().split('?').next(),
            "is local": handshake.address().map(|address| address.ip().is_loopback()),
            "is secure": handshake.is_secure(),
            "is recent": age < support::DEADLINE,
            "transport": transport,
            "auth": auth,
        }))
    })
}

#[tokio::test]
async fn handlers_know_the_request_that_began_the_session() {
    let settings = Settings::new().keep_handshake(2000);
    let io = Io::builder().settings(settings).namespace(describe()).build();
    let address = serve_with_addresses(io.routes().layer(Extension(Secure))).await;
    let client = WsClient::new(fullduplex::Config::new().ping_interval(None)).header("Cookie", "a=b");
    let url = format!("ws://{address}{PATH}?EIO=4&transport=websocket&class=1%20b");
    let (mut ws, _) = client.connect(&*url).await.expect("connects");
    assert!(text(&mut ws).await.starts_with("0{"));
    ws.send(r#"40{"token":"x"}"#).await.expect("open");
    assert!(text(&mut ws).await.starts_with("40{"));
    ws.send(r#"421["describe"]"#).await.expect("open");
    let answer = text(&mut ws).await;
    let mut expected = json!([{
        "cookie": "a=b", "class": "1 b", "path": PATH, "is local": true, "is secure": true, "is recent": true,
        "transport": "websocket", "auth": {"token": "x"},
    }]);
    assert_eq!(serde_json::from_str::<Value>(&answer[3..]).expect("JSON"), expected);

    // The one that polls, and has no cookie and no class.
    let session = Poller::open(address, PATH).await;
    session.send("40\u{1e}421[\"describe\"]").await;
    let mut payload = session.poll().await;
    if !payload.contains('\u{1e}') {
        payload = format!("{payload}\u{1e}{}", session.poll().await);
    }
    let (_, answer) = payload.split_once("\u{1e}431").expect("an answer");
    for (key, value) in [("cookie", Value::Null), ("class", Value::Null), ("transport", json!("polling"))] {
        expected[0][key] = value;
    }
    expected[0]["auth"] = json!({});
    assert_eq!(serde_json::from_str::<Value>(answer).expect("JSON"), expected);
}

#[tokio::test]
async fn no_request_is_kept_unless_the_program_wants_it() {
    let address = start(Io::builder().namespace(describe())).await;
    let (mut ws, _) = connect(address, r#"40{"token":"x"}"#).await;
    ws.send(r#"421["describe"]"#).await.expect("open");
    expect(&mut ws, "431[null]").await;
}

#[tokio::test]
async fn a_server_closes_the_connection_of_a_socket() {
    let notes = Notes::default();
    let [main, other] = [(); 2].map(|()| notes.clone());
    let main = Namespace::new("/")
        .on("close", |socket: Socket, (): ()| async move {
            socket.close().await;
            assert!(!socket.is_connected());
        })
        .on_disconnect(move |_, why| {
            main.add(format!("main {why:?}"));
            async {}
        });
    let other = Namespace::new("/other").on_disconnect(move |_, why| {
        other.add(format!("other {why:?}"));
        async {}
    });
    let io = Io::builder().namespace(main).namespace(other).build();
    let address: SocketAddr = serve(io.routes()).await;
    let (mut ws, _) = open_ws(address, PATH).await;
    for namespace in ["40", "40/other,"] {
        ws.send(namespace).await.expect("open");
        text(&mut ws).await;
    }
    ws.send(r#"421["close"]"#).await.expect("open");
    // Both are told, before the connection is closed.
    expect(&mut ws, "41").await;
    expect(&mut ws, "41/other,").await;
    assert_eq!(closed(&mut ws).await, Some(1000));
    for namespace in ["main", "other"] {
        assert_eq!(notes.next().await, format!("{namespace} {:?}", Disconnect::ByServer));
    }
    support::eventually(|| io.engine().is_empty().then_some(())).await;
}

#[tokio::test]
async fn values_are_stored_with_a_socket_and_removed() {
    let namespace = Namespace::new("/").on("count", |socket: Socket, (): ()| async move {
        let before: Option<u32> = socket.remove();
        assert_eq!(socket.get::<u32>(), None);
        assert_eq!(socket.insert(before.unwrap_or_default() + 1), None);
        before
    });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    for (event, answer) in [(r#"421["count"]"#, "431[null]"), (r#"422["count"]"#, "432[1]")] {
        ws.send(event).await.expect("open");
        expect(&mut ws, answer).await;
    }
}
