//! Socket.IO over real sockets: namespaces, events, acknowledgements, binary data.

mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use fullduplex::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use socketio::{
    Ack, AckError, Args, Auth, Binary, Builder, ConnectError, Data, Disconnect, Io, Limits, Namespace,
    Socket, engine::Settings,
};
use support::{Client, Poller, closed, message, open_ws, serve, text};

const PATH: &str = "/socket.io/";

#[derive(Debug, Serialize, Deserialize)]
struct Post {
    text: String,
    picture: Option<Binary>,
}

/// Notes what happens.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().expect("no panic").push(note.into());
    }

    async fn next(&self) -> String {
        support::eventually(|| {
            let mut notes = self.0.lock().expect("no panic");
            (!notes.is_empty()).then(|| notes.remove(0))
        })
        .await
    }
}

async fn start(builder: Builder) -> SocketAddr {
    serve(builder.build().routes()).await
}

/// Opens a session, and connects to a namespace. Returns the id of the socket.
async fn connect(address: SocketAddr, packet: &str) -> (Client, String) {
    let (mut ws, _) = open_ws(address, PATH).await;
    ws.send(packet).await.expect("open");
    let answer = text(&mut ws).await;
    let (_, sid) = answer.split_once(r#"{"sid":""#).unwrap_or_else(|| panic!("{answer}"));
    (ws, sid.trim_end_matches(r#""}"#).to_owned())
}

async fn expect(ws: &mut Client, expected: &str) {
    assert_eq!(text(ws).await, expected);
}

fn echo() -> Namespace {
    Namespace::new("/")
        .on("echo", |socket: Socket, arguments: Args<Vec<Value>>| async move {
            socket.emit("echoed", &arguments).await.expect("connected");
        })
        .on("ask", |_socket, arguments: Args<Vec<Value>>| async { arguments })
}

#[tokio::test]
async fn a_client_connects_and_events_are_acknowledged() {
    let address = start(Io::builder().namespace(echo())).await;
    let (mut ws, sid) = connect(address, "40").await;
    assert_eq!(sid.len(), 20);
    ws.send(r#"42["echo",1,"2",{"3":[true]}]"#).await.expect("open");
    expect(&mut ws, r#"42["echoed",1,"2",{"3":[true]}]"#).await;
    ws.send(r#"42456["ask",1,"2",{"3":[false]}]"#).await.expect("open");
    expect(&mut ws, r#"43456[1,"2",{"3":[false]}]"#).await;
    ws.send(r#"42["ask","not acknowledged"]"#).await.expect("open");
    ws.send(r#"42["no handler"]"#).await.expect("open");
    ws.send(r#"420["ask"]"#).await.expect("open");
    expect(&mut ws, "430[]").await;
}

#[tokio::test]
async fn a_client_that_polls_is_served_in_the_same_way() {
    let address = start(Io::builder().namespace(echo())).await;
    let session = Poller::open(address, PATH).await;
    session.send("40").await;
    assert!(session.poll().await.starts_with(r#"40{"sid":""#));
    session.send("427[\"ask\",1]\u{1e}42[\"echo\",2]").await;
    let mut payload = session.poll().await;
    if !payload.contains('\u{1e}') {
        payload = format!("{payload}\u{1e}{}", session.poll().await);
    }
    assert_eq!(payload, "437[1]\u{1e}42[\"echoed\",2]");
}

#[tokio::test]
async fn the_first_packet_connects() {
    let address = start(Io::builder().namespace(echo())).await;
    for packet in [r#"42["echo"]"#, "41", "430[]", "44", "4abc", "4"] {
        let (mut ws, _) = open_ws(address, PATH).await;
        ws.send(packet).await.expect("open");
        assert_eq!(closed(&mut ws).await, Some(1002), "{packet}");
    }
    let (mut ws, _) = open_ws(address, PATH).await;
    ws.send(vec![1, 2]).await.expect("open");
    assert_eq!(closed(&mut ws).await, Some(1002));
}

#[tokio::test]
async fn packets_that_are_not_valid_end_the_connection() {
    let address = start(Io::builder().namespace(echo())).await;
    for packet in [
        "40",
        "42{}",
        "42[]",
        r#"42abc["ask"]"#,
        r#"42["connect"]"#,
        r#"42/other,["echo"]"#,
        "41/other,",
        "43/other,1[]",
        "44",
        r#"4599-["echo"]"#,
        r#"451-["echo",{"_placeholder":true,"num":1}]"#,
        "4",
        "48",
    ] {
        let (mut ws, _) = connect(address, "40").await;
        ws.send(packet).await.expect("open");
        ws.send(r#"42["echo","too late"]"#).await.ok();
        assert_eq!(closed(&mut ws).await, Some(1002), "{packet}");
    }
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await.expect("open");
    ws.send(r#"42["echo"]"#).await.expect("open");
    assert_eq!(closed(&mut ws).await, Some(1002));
}

#[tokio::test]
async fn a_connection_without_a_namespace_is_closed() {
    let limits = Limits::new().connect_timeout(Duration::from_millis(100));
    let address = start(Io::builder().limits(limits).namespace(echo())).await;
    let (mut ws, _) = open_ws(address, PATH).await;
    assert_eq!(closed(&mut ws).await, Some(1000));
    let (mut refused, _) = open_ws(address, PATH).await;
    refused.send("40/none,").await.expect("open");
    assert_eq!(text(&mut refused).await, r#"44/none,{"message":"Invalid namespace"}"#);
    assert_eq!(closed(&mut refused).await, Some(1000));
    let (mut ws, _) = connect(address, "40").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    ws.send(r#"420["ask"]"#).await.expect("open");
    expect(&mut ws, "430[]").await;
}

#[tokio::test]
async fn clients_are_accepted_by_what_they_connect_with() {
    #[derive(Deserialize)]
    struct Ticket {
        token: String,
    }
    let namespace = Namespace::new("/admin")
        .authorize(|socket: Socket, auth: Auth| async move {
            assert!(!socket.is_connected());
            let ticket: Ticket = auth.parse().map_err(|_| ConnectError::new("No ticket"))?;
            socket.insert(ticket.token.clone());
            match &*ticket.token {
                "secret" => Ok(()),
                _ => Err(ConnectError::new("Not authorized").data(json!({"retry": false}))),
            }
        })
        .on_connect(|socket: Socket, auth: Auth| async move {
            let auth: Value = auth.parse().expect("an object");
            socket.emit("auth", &auth).await.expect("connected");
        })
        .on("token", |socket: Socket, (): ()| async move { socket.get::<String>() });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = open_ws(address, PATH).await;
    for (packet, answer) in [
        ("40/admin,", r#"44/admin,{"message":"No ticket"}"#),
        (r#"40/admin,{"token":"x"}"#, r#"44/admin,{"message":"Not authorized","data":{"retry":false}}"#),
        ("40/random", r#"44/random,{"message":"Invalid namespace"}"#),
        ("40", r#"44{"message":"Invalid namespace"}"#),
    ] {
        ws.send(packet).await.expect("open");
        expect(&mut ws, answer).await;
    }
    ws.send(r#"40/admin,{"token":"secret"}"#).await.expect("open");
    assert!(text(&mut ws).await.starts_with(r#"40/admin,{"sid":""#));
    expect(&mut ws, r#"42/admin,["auth",{"token":"secret"}]"#).await;
    ws.send(r#"42/admin,1["token"]"#).await.expect("open");
    expect(&mut ws, r#"43/admin,1["secret"]"#).await;
}

#[tokio::test]
async fn namespaces_share_a_connection_and_match_by_pattern() {
    let notes = Notes::default();
    let noted = notes.clone();
    let classes = Namespace::matching(|name| name.starts_with("/class/"))
        .on("where", |socket: Socket, (): ()| async move { socket.namespace().to_owned() })
        .on_disconnect(move |socket: Socket, why| {
            noted.add(format!("{} {why:?}", socket.namespace()));
            async {}
        });
    let address = start(Io::builder().namespace(echo()).namespace(classes)).await;
    let (mut ws, main) = connect(address, "40").await;
    ws.send("40/class/1b").await.expect("open");
    let answer = text(&mut ws).await;
    assert!(answer.starts_with(r#"40/class/1b,{"sid":""#) && !answer.contains(&main), "{answer}");
    ws.send(r#"42/class/1b,3["where"]"#).await.expect("open");
    expect(&mut ws, r#"43/class/1b,3["/class/1b"]"#).await;
    ws.send("41/class/1b").await.expect("open");
    assert_eq!(notes.next().await, format!("/class/1b {:?}", Disconnect::ByClient));
    ws.send(r#"423["ask",1]"#).await.expect("open");
    expect(&mut ws, "433[1]").await;
    // It may connect again, as another socket.
    ws.send("40/class/1b,").await.expect("open");
    assert_ne!(text(&mut ws).await, answer);
    drop(ws);
    assert_eq!(notes.next().await, format!("/class/1b {:?}", Disconnect::Lost));
}

#[tokio::test]
async fn the_number_of_namespaces_of_a_client_is_limited() {
    let limits = Limits::new().max_namespaces(2);
    let all = Namespace::matching(|_| true)
        .on("leave", |socket: Socket, (): ()| async move { socket.disconnect().await });
    let address = start(Io::builder().limits(limits).namespace(all)).await;
    let (mut ws, _) = connect(address, "40/1").await;
    ws.send("40/2").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40/2,{"));
    ws.send("40/3").await.expect("open");
    expect(&mut ws, r#"44/3,{"message":"Too many namespaces"}"#).await;
    ws.send("41/1,").await.expect("open");
    ws.send("40/3").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40/3,{"));
    // A place from which the server has disconnected the client is free too.
    ws.send(r#"42/3,["leave"]"#).await.expect("open");
    expect(&mut ws, "41/3,").await;
    ws.send("40/4").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40/4,{"));
}

#[tokio::test]
async fn binary_data_is_typed_in_both_directions() {
    let namespace = Namespace::new("/chat")
        .on("post", |socket: Socket, Data(mut post): Data<Post>| async move {
            let Some(picture) = &mut post.picture else { return "no picture".to_owned() };
            picture.0 = [&picture.0[..], b"!"].concat().into();
            socket.emit("posted", &Args((&post, Binary::from("second")))).await.expect("connected");
            post.text
        })
        .on("copy", |_socket, Data(data): Data<Binary>| async { data });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40/chat").await;
    ws.send(r#"451-/chat,7["post",{"text":"a","picture":{"_placeholder":true,"num":0}}]"#)
        .await
        .expect("open");
    ws.send(vec![1, 2, 3]).await.expect("open");
    expect(
        &mut ws,
        r#"452-/chat,["posted",{"text":"a","picture":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]"#,
    )
    .await;
    assert_eq!(message(&mut ws).await, Some(Message::binary(vec![1, 2, 3, b'!'])));
    assert_eq!(message(&mut ws).await, Some(Message::binary("second".as_bytes().to_vec())));
    expect(&mut ws, r#"43/chat,7["a"]"#).await;
    ws.send(r#"451-/chat,8["copy",{"_placeholder":true,"num":0}]"#).await.expect("open");
    ws.send(vec![0; 70_000]).await.expect("open");
    expect(&mut ws, r#"461-/chat,8[{"_placeholder":true,"num":0}]"#).await;
    assert_eq!(message(&mut ws).await.map(|message| message.len()), Some(70_000));
}

#[tokio::test]
async fn binary_events_from_many_tasks_are_not_torn() {
    let namespace = Namespace::new("/").on("flood", |socket: Socket, (): ()| async move {
        for task in 0..8_u8 {
            let socket = socket.clone();
            tokio::spawn(async move {
                for number in 0..50_usize {
                    let size = number * 2000;
                    let [first, second] = [(); 2].map(|()| Binary::from(vec![task; size]));
                    socket.emit("binary", &Args((task, first, second))).await.expect("connected");
                    socket.emit("text", &task).await.expect("connected");
                }
            });
        }
    });
    let settings = Settings::new().max_write_buffer_size(300_000);
    let address = start(Io::builder().settings(settings).namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"42["flood"]"#).await.expect("open");
    let (mut binary, mut texts) = (0, 0);
    while binary < 400 || texts < 400 {
        let head = text(&mut ws).await;
        let Some(rest) = head.strip_prefix(r#"452-["binary","#) else {
            assert!(head.starts_with(r#"42["text","#), "{head}");
            texts += 1;
            continue;
        };
        let (task, _) = rest.split_once(',').expect("arguments");
        let task: u8 = task.parse().expect("a number");
        for _ in 0..2 {
            let Some(Message::Binary(data)) = message(&mut ws).await else { panic!("no attachment") };
            assert!(data.iter().all(|byte| *byte == task));
        }
        binary += 1;
    }
}

#[tokio::test]
async fn an_event_that_does_not_fit_is_not_sent() {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = Namespace::new("/").on("large", move |socket: Socket, (): ()| {
        let noted = noted.clone();
        async move {
            let data = Binary::from(vec![0; 20_000]);
            noted.add(socket.emit("large", &data).await.expect_err("too large").to_string());
        }
    });
    let settings = Settings::new().max_write_buffer_size(10_000);
    let address = start(Io::builder().settings(settings).namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"420["large"]"#).await.expect("open");
    expect(&mut ws, "430[]").await;
    assert!(notes.next().await.contains("do not fit"));
}

#[tokio::test]
async fn a_server_waits_for_acknowledgements() {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = Namespace::new("/").on_connect(move |socket: Socket, _| {
        let noted = noted.clone();
        async move {
            let Data(name): Data<String> = socket.emit_with_ack("name?", &()).await.expect("answered");
            noted.add(name);
            let Args((a, b)): Args<(u8, u8)> = socket.emit_with_ack("pair?", &1).await.expect("answered");
            noted.add(format!("{a} {b}"));
            let Data(data): Data<Binary> = socket.emit_with_ack("binary?", &()).await.expect("answered");
            noted.add(format!("{:?}", data.0));
            let wrong = socket.emit_with_ack::<Data<u8>, _>("number?", &()).await;
            assert!(matches!(wrong, Err(AckError::Data(_))), "{wrong:?}");
            let time = Duration::from_millis(20);
            let late = socket.emit_with_ack_in::<(), _>(time, "late?", &()).await;
            assert!(matches!(late, Err(AckError::Timeout)), "{late:?}");
            noted.add("late");
            let lost = socket.emit_with_ack::<(), _>("lost?", &()).await;
            assert!(matches!(lost, Err(AckError::Disconnected)), "{lost:?}");
            noted.add("lost");
        }
    });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    for (question, answers) in [
        (r#"420["name?"]"#, vec![Message::from(r#"430["ann"]"#), r#"430["ignored"]"#.into()]),
        (r#"421["pair?",1]"#, vec![r#"431[1,2,"more"]"#.into()]),
        (
            r#"422["binary?"]"#,
            vec![r#"461-2[{"_placeholder":true,"num":0}]"#.into(), Message::binary(vec![b'x'])],
        ),
        (r#"423["number?"]"#, vec![r#"433["x"]"#.into()]),
        (r#"424["late?"]"#, vec![]),
        (r#"425["lost?"]"#, vec!["434[]".into(), "4399[]".into()]),
    ] {
        expect(&mut ws, question).await;
        for answer in answers {
            ws.send(answer).await.expect("open");
        }
    }
    drop(ws);
    for note in ["ann", "1 2", "b\"x\"", "late", "lost"] {
        assert_eq!(notes.next().await, note);
    }
}

#[tokio::test]
async fn events_wait_for_the_function_that_connects() {
    let namespace = Namespace::new("/").on_connect(|socket: Socket, _| async move {
        let Data(room): Data<String> = socket.emit_with_ack("room?", &()).await.expect("answered");
        socket.on("room", move |_socket, (): ()| {
            let room = room.clone();
            async move { room }
        });
    });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"420["room"]"#).await.expect("open");
    expect(&mut ws, r#"420["room?"]"#).await;
    ws.send(r#"430["1b"]"#).await.expect("open");
    expect(&mut ws, r#"430["1b"]"#).await;
}

#[tokio::test]
async fn a_handler_acknowledges_later() {
    let namespace =
        Namespace::new("/").on("later", |_socket, (Data(text), ack): (Data<String>, Ack)| async move {
            assert!(ack.is_wanted());
            tokio::spawn(async move { ack.send(&text.len()).await });
        });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"429["later","abc"]"#).await.expect("open");
    expect(&mut ws, "439[3]").await;
}

#[tokio::test]
async fn a_server_disconnects_a_socket() {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = echo()
        .on("leave", |socket: Socket, (): ()| async move {
            socket.disconnect().await;
            assert!(!socket.is_connected() && socket.emit("no", &()).await.is_err());
        })
        .on_disconnect(move |_, why| {
            noted.add(format!("{why:?}"));
            async {}
        });
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    for packet in [r#"421["leave"]"#, r#"422["ask"]"#, "437[]", "41"] {
        // The client sends the last three before it knows.
        ws.send(packet).await.expect("open");
    }
    expect(&mut ws, "41").await;
    assert_eq!(notes.next().await, format!("{:?}", Disconnect::ByServer));
    ws.send("40").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40{"));
    ws.send(r#"423["ask"]"#).await.expect("open");
    expect(&mut ws, "433[]").await;
}

#[tokio::test]
async fn data_of_another_type_is_reported() {
    let notes = Notes::default();
    let noted = notes.clone();
    let namespace = Namespace::new("/")
        .on("post", |_socket, Data(post): Data<Post>| async { post.text })
        .on_failure(move |_, event, error| noted.add(format!("{event}: {error}")));
    let address = start(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"421["post",7]"#).await.expect("open");
    ws.send(r#"422["post",{"text":"a","picture":{"_placeholder":true,"num":0}}]"#).await.expect("open");
    ws.send(r#"423["post",{"text":"a"}]"#).await.expect("open");
    expect(&mut ws, r#"433["a"]"#).await;
    assert!(notes.next().await.starts_with("post: data of another type"));
    assert!(notes.next().await.contains("missing"));
}

#[tokio::test]
async fn a_client_that_sends_too_much_waits_and_loses_nothing() {
    let release = Arc::new(tokio::sync::Notify::new());
    let released = release.clone();
    let namespace = Namespace::new("/").on("wait", move |socket: Socket, Data(number): Data<u32>| {
        let released = released.clone();
        async move {
            if number == 0 {
                socket.emit("begun", &()).await.expect("connected");
                released.notified().await;
            }
            number
        }
    });
    let limits = Limits::new().max_waiting(4);
    let address = start(Io::builder().limits(limits).namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    for number in 0..1000 {
        ws.feed(format!(r#"42{number}["wait",{number}]"#)).await.expect("open");
    }
    ws.flush().await.expect("open");
    // What a handler sends is written although nothing is received.
    expect(&mut ws, r#"42["begun"]"#).await;
    release.notify_one();
    for number in 0..1000 {
        expect(&mut ws, &format!("43{number}[{number}]")).await;
    }
}
