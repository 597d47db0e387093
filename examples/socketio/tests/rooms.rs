//! Rooms, broadcasts, several nodes, and recovery, over real sockets.

mod support;

use std::{net::SocketAddr, time::Duration};

use fullduplex::hub::Memory;
use serde_json::{Value, json};
use socketio::{
    Ack, AckError, Args, Auth, Binary, Builder, ClusterError, ConnectError, Data, Io, Limits, Namespace,
    RemoteSocket, Socket, engine::Settings,
};
use support::{Client, Poller, eventually_async, message, open_ws, serve, text};

const PATH: &str = "/socket.io/";
const HOUR: Duration = Duration::from_secs(3600);

/// A namespace whose clients say what the server does.
fn namespace(name: &str) -> Namespace {
    Namespace::new(name)
        .on("join", |socket: Socket, Args(rooms): Args<Vec<String>>| async move {
            for room in rooms {
                socket.join(&room).await.expect("in memory");
            }
            let mut rooms = socket.rooms();
            rooms.sort();
            rooms
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| async move { socket.leave(&room) })
        .on("say", |socket: Socket, Args((room, text)): Args<(String, String)>| async move {
            socket.to(&room).emit("said", &text).await.expect("in memory");
        })
        .on("shout", |socket: Socket, Data(text): Data<String>| async move {
            socket.broadcast().emit("shouted", &text).await.expect("in memory");
        })
        .on("show", |socket: Socket, Args((room, data)): Args<(String, Binary)>| async move {
            socket.everyone().to(room).emit("shown", &Args((&data, "and", &data))).await.expect("in memory");
        })
        .on("who", |socket: Socket, (): ()| async move { socket.is_recovered() })
        .on("tell me", |socket: Socket, Data(text): Data<String>| async move {
            socket.emit("told", &text).await.expect("connected");
        })
}

async fn start(builder: Builder) -> (Io, SocketAddr) {
    let io = builder.build();
    let address = serve(io.routes()).await;
    (io, address)
}

async fn one() -> (Io, SocketAddr) {
    start(Io::builder().namespace(namespace("/")).namespace(namespace("/other"))).await
}

async fn two() -> [(Io, SocketAddr); 2] {
    let memory = Memory::history(1000, HOUR);
    let limits = Limits::new().ack_timeout(Duration::from_secs(20));
    let node = || Io::builder().limits(limits).namespace(namespace("/")).backplane(memory.clone());
    [start(node()).await, start(node()).await]
}

/// A client in a namespace.
struct Peer {
    ws: Client,
    namespace: &'static str,
    accepted: Value,
}

impl Peer {
    async fn open(address: SocketAddr, namespace: &'static str) -> Self {
        Self::open_with(address, namespace, "").await
    }

    /// Connects with an object of `auth`.
    async fn open_with(address: SocketAddr, namespace: &'static str, auth: &str) -> Self {
        let (mut ws, _) = open_ws(address, PATH).await;
        ws.send(format!("40{namespace}{auth}")).await.expect("open");
        let answer = text(&mut ws).await;
        let accepted = answer.strip_prefix(&format!("40{namespace}")).unwrap_or_else(|| panic!("{answer}"));
        Self { accepted: serde_json::from_str(accepted).expect("JSON"), ws, namespace }
    }

    async fn in_rooms(address: SocketAddr, rooms: &[&str]) -> Self {
        let mut peer = Self::open(address, "").await;
        assert_eq!(peer.ask("join", json!(rooms)).await, json!([rooms]));
        peer
    }

    fn id(&self) -> &str {
        self.accepted["sid"].as_str().expect("text")
    }

    async fn emit(&mut self, event: &str, arguments: Value) {
        let data = array(event, arguments);
        self.ws.send(format!("42{}{data}", self.namespace)).await.expect("open");
    }

    /// Emits an event, and returns the acknowledgement, which has to be the next packet.
    async fn ask(&mut self, event: &str, arguments: Value) -> Value {
        let data = array(event, arguments);
        self.ws.send(format!("42{}7{data}", self.namespace)).await.expect("open");
        let answer = text(&mut self.ws).await;
        let answer =
            answer.strip_prefix(&format!("43{}7", self.namespace)).unwrap_or_else(|| panic!("{answer}"));
        serde_json::from_str(answer).expect("JSON")
    }

    /// Returns the next event.
    async fn next(&mut self) -> Value {
        let packet = text(&mut self.ws).await;
        let data =
            packet.strip_prefix(&format!("42{}", self.namespace)).unwrap_or_else(|| panic!("{packet}"));
        serde_json::from_str(data).expect("JSON")
    }

    /// Asserts that nothing has arrived: an acknowledgement is the next packet.
    async fn has_nothing(&mut self) {
        self.ask("who", json!([])).await;
    }
}

fn array(event: &str, arguments: Value) -> Value {
    let Value::Array(mut array) = arguments else { panic!("an array") };
    array.insert(0, event.into());
    array.into()
}

#[tokio::test]
async fn an_event_for_a_room_reaches_its_sockets_but_not_the_one_that_sends_it() {
    let (_io, address) = one().await;
    let mut a = Peer::in_rooms(address, &["r"]).await;
    let mut b = Peer::in_rooms(address, &["r", "s"]).await;
    let mut c = Peer::in_rooms(address, &["s"]).await;
    a.emit("say", json!(["r", "hello"])).await;
    assert_eq!(b.next().await, json!(["said", "hello"]));
    a.emit("shout", json!(["all"])).await;
    assert_eq!(b.next().await, json!(["shouted", "all"]));
    assert_eq!(c.next().await, json!(["shouted", "all"]));
    assert_eq!(b.ask("leave", json!(["r"])).await, json!([true]));
    assert_eq!(b.ask("leave", json!(["r"])).await, json!([false]));
    c.emit("say", json!(["r", "again"])).await;
    assert_eq!(a.next().await, json!(["said", "again"]));
    for peer in [&mut a, &mut b, &mut c] {
        peer.has_nothing().await;
    }
}

#[tokio::test]
async fn rooms_are_those_of_one_namespace() {
    let (io, address) = one().await;
    let mut main = Peer::in_rooms(address, &["r"]).await;
    let mut other = Peer::open(address, "/other,").await;
    other.ask("join", json!(["r"])).await;
    io.of("/").to("r").emit("to main", &()).await.expect("in memory");
    io.of("/other").emit("to other", &()).await.expect("in memory");
    io.of("/").to(other.id()).emit("to nobody", &()).await.expect("in memory");
    io.of("/other").to(main.id()).to("none").emit("to nobody", &()).await.expect("in memory");
    assert_eq!(main.next().await, json!(["to main"]));
    assert_eq!(other.next().await, json!(["to other"]));
    main.has_nothing().await;
    other.has_nothing().await;
}

#[tokio::test]
async fn sockets_are_selected_by_rooms_and_ids_each_once() {
    let (io, address) = one().await;
    let mut peers = Vec::new();
    for rooms in [&["a"][..], &["a", "b"], &["b", "c"], &["c"], &[]] {
        peers.push(Peer::in_rooms(address, rooms).await);
    }
    let ids: Vec<String> = peers.iter().map(|peer| peer.id().to_owned()).collect();
    let io = || io.of("/");
    io().to("a").to("b").except("c").emit("1", &()).await.expect("in memory");
    io().to(&*ids[4]).emit("2", &()).await.expect("in memory");
    io().to(&*ids[4]).to("a").except(&*ids[0]).emit("3", &()).await.expect("in memory");
    io().except("a").except(&*ids[3]).local().emit("4", &()).await.expect("in memory");
    io().to("nowhere").volatile().emit("5", &()).await.expect("in memory");
    io().to("c").volatile().emit("6", &()).await.expect("in memory");
    let selected = [
        (io().to("a").to("b").except("c"), &[0, 1][..]),
        (io().to(&*ids[4]).to("a").except(&*ids[0]), &[1, 4]),
        (io().to("b").to(&*ids[1]).to("a"), &[0, 1, 2]),
        (io().except("a").except(&*ids[3]), &[2, 4]),
        (io().to("nowhere"), &[]),
    ];
    for (broadcast, expected) in selected {
        let found = broadcast.fetch_sockets().await.expect("one node");
        let mut found: Vec<&str> = found.iter().map(RemoteSocket::id).collect();
        found.sort_unstable();
        let mut expected: Vec<&str> = expected.iter().map(|number| &*ids[*number]).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    let expected = [&["1"][..], &["1", "3"], &["4", "6"], &["6"], &["2", "3", "4"]];
    for (peer, expected) in peers.iter_mut().zip(expected) {
        for event in expected {
            assert_eq!(peer.next().await, json!([event]));
        }
        peer.has_nothing().await;
    }
}

#[tokio::test]
async fn a_binary_event_is_broadcast_with_nothing_between_its_messages() {
    let (io, address) = one().await;
    let mut peers = vec![Peer::in_rooms(address, &["r"]).await, Peer::in_rooms(address, &["r"]).await];
    let poller = Poller::open(address, PATH).await;
    poller.send("40").await;
    poller.poll().await;
    poller.send(r#"42["join","r"]"#).await;
    eventually_async(async || {
        (io.of("/").to("r").fetch_sockets().await.expect("one node").len() == 3).then_some(())
    })
    .await;
    let noise = {
        let io = io.clone();
        tokio::spawn(async move {
            loop {
                io.of("/").emit("noise", &()).await.expect("in memory");
                tokio::task::yield_now().await;
            }
        })
    };
    for _ in 0..50 {
        io.of("/")
            .to("r")
            .emit("shown", &Args((Binary::from("x"), Binary::from("y"))))
            .await
            .expect("in memory");
        tokio::task::yield_now().await;
    }
    noise.abort();
    let head = r#"452-["shown",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    for peer in &mut peers {
        let mut shown = 0;
        while shown < 50 {
            let packet = text(&mut peer.ws).await;
            if packet == r#"42["noise"]"# {
                continue;
            }
            assert_eq!(packet, head);
            for data in ["x", "y"] {
                assert_eq!(message(&mut peer.ws).await.expect("open").as_bytes(), data.as_bytes());
            }
            shown += 1;
        }
    }
    let payload = poller.poll().await;
    assert!(payload.contains(&format!("{}\u{1e}beA==\u{1e}beQ==", head)), "{payload}");
}

#[tokio::test]
async fn sockets_are_asked_for_and_changed_by_the_server() {
    let (io, address) = one().await;
    let (a, mut b) = (Peer::in_rooms(address, &["r"]).await, Peer::in_rooms(address, &["s"]).await);
    let all = io.of("/").fetch_sockets().await.expect("one node");
    assert_eq!(all.len(), 2);
    let found = io.of("/").to("r").fetch_sockets().await.expect("one node");
    assert_eq!((found.len(), found[0].id(), found[0].rooms()), (1, a.id(), &["r".to_owned()][..]));
    io.of("/").to("r").sockets_join(["s", "t"]).await.expect("in memory");
    io.of("/").to("t").emit("to t", &()).await.expect("in memory");
    io.of("/").to("s").sockets_leave(["s"]).await.expect("in memory");
    io.of("/").to("s").emit("to nobody", &()).await.expect("in memory");
    let mut a = a;
    assert_eq!(a.next().await, json!(["to t"]));
    a.has_nothing().await;
    b.has_nothing().await;
    io.of("/").to(a.id()).disconnect_sockets().await.expect("in memory");
    assert_eq!(text(&mut a.ws).await, "41");
    assert_eq!(io.of("/").fetch_sockets().await.expect("one node").len(), 1);
    b.has_nothing().await;
}

#[tokio::test]
async fn a_socket_that_has_left_is_in_no_room() {
    let (io, address) = one().await;
    let mut a = Peer::in_rooms(address, &["r"]).await;
    a.ws.send("41").await.expect("open");
    eventually_async(async || io.of("/").fetch_sockets().await.expect("one node").is_empty().then_some(()))
        .await;
    io.of("/").emit("to nobody", &()).await.expect("in memory");
    a.ws.send("40").await.expect("open");
    let answer = text(&mut a.ws).await;
    assert!(answer.starts_with(r#"40{"sid":""#), "{answer}");
    assert_eq!(a.ask("join", json!([])).await, json!([[]]));
}

#[tokio::test]
async fn the_acknowledgements_of_several_sockets_are_gathered() {
    let (io, address) = one().await;
    let mut peers =
        [Peer::open(address, "").await, Peer::open(address, "").await, Peer::open(address, "").await];
    let ids = peers.each_ref().map(|peer| peer.id().to_owned());
    let asking = tokio::spawn(async move {
        let data = Args((1, Binary::from("?")));
        let ask = io.of("/").timeout(Duration::from_millis(1500));
        ask.emit_with_ack::<Data<Value>, _>("ask", &data).await.expect("serializes")
    });
    for (peer, answer) in peers.iter_mut().zip([Some(r#"{"a":1}"#), Some("2"), None]) {
        let packet = text(&mut peer.ws).await;
        let (head, _) = packet.split_once('[').expect("data");
        let id = head.strip_prefix("451-").expect("an event with an attachment");
        assert_eq!(message(&mut peer.ws).await.expect("open").as_bytes(), b"?");
        if let Some(answer) = answer {
            peer.ws.send(format!("43{id}[{answer}]")).await.expect("open");
        }
    }
    let mut answers = asking.await.expect("no panic");
    assert_eq!((answers.answers.len(), answers.missing_nodes), (3, 0));
    let mut take = |id: &str| {
        let index = answers.answers.iter().position(|(other, _)| other == id).expect("it was asked");
        answers.answers.remove(index).1
    };
    assert_eq!(take(&ids[0]).expect("answered").0, json!({"a": 1}));
    assert_eq!(take(&ids[1]).expect("answered").0, json!(2));
    assert!(matches!(take(&ids[2]), Err(AckError::Timeout)));
}

#[tokio::test]
async fn nodes_are_one() {
    let [(left, to_left), (right, to_right)] = two().await;
    let mut a = Peer::in_rooms(to_left, &["r"]).await;
    let mut b = Peer::in_rooms(to_right, &["r"]).await;
    let mut c = Peer::in_rooms(to_right, &["s"]).await;
    a.emit("say", json!(["r", "from a"])).await;
    assert_eq!(b.next().await, json!(["said", "from a"]));
    a.emit("say", json!([c.id(), "to c"])).await;
    assert_eq!(c.next().await, json!(["said", "to c"]));
    c.emit("show", json!(["r", "not binary"])).await;
    left.of("/").to("r").to("s").except(b.id()).emit("1", &()).await.expect("in memory");
    assert_eq!((a.next().await, c.next().await), (json!(["1"]), json!(["1"])));
    left.of("/").local().emit("2", &()).await.expect("in memory");
    assert_eq!(a.next().await, json!(["2"]));
    right.of("/").to("r").emit("3", &Binary::from("z")).await.expect("in memory");
    for peer in [&mut a, &mut b] {
        assert_eq!(text(&mut peer.ws).await, r#"451-["3",{"_placeholder":true,"num":0}]"#);
        assert_eq!(message(&mut peer.ws).await.expect("open").as_bytes(), b"z");
    }

    let mut found = left.of("/").fetch_sockets().await.expect("both answer");
    assert_eq!(found.len(), 3);
    found.retain(|socket| socket.id() == c.id());
    assert_eq!(found[0].rooms(), ["s"]);
    left.of("/").to(c.id()).sockets_join(["t"]).await.expect("in memory");
    eventually_async(async || {
        (right.of("/").to("t").fetch_sockets().await.expect("both").len() == 1).then_some(())
    })
    .await;
    left.of("/").to("t").disconnect_sockets().await.expect("in memory");
    assert_eq!(text(&mut c.ws).await, "41");
    a.has_nothing().await;
    b.has_nothing().await;
}

#[tokio::test]
async fn acknowledgements_come_from_all_nodes() {
    let [(left, to_left), (_right, to_right)] = two().await;
    let mut peers = [Peer::open(to_left, "").await, Peer::open(to_right, "").await];
    let mut asking = tokio::spawn(async move {
        left.of("/").emit_with_ack::<Data<Binary>, _>("ask", &1).await.expect("serializes")
    });
    for peer in &mut peers {
        let packet = text(&mut peer.ws).await;
        let id = packet.strip_prefix("42").and_then(|rest| rest.split_once('[')).expect("an event").0;
        peer.ws.send(format!(r#"461-{id}[{{"_placeholder":true,"num":0}}]"#)).await.expect("open");
        peer.ws.send(b"data".to_vec()).await.expect("open");
    }
    let answers = (&mut asking).await.expect("no panic");
    assert_eq!((answers.answers.len(), answers.missing_nodes), (2, 0));
    for (_, answer) in answers.answers {
        assert_eq!(answer.expect("answered").0, Binary::from("data"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_is_missed() {
    use fullduplex::hub::Hub;

    let memory = Memory::history(10, HOUR);
    let io = Io::builder().namespace(namespace("/")).backplane(memory.clone()).build();
    // It is present as a node is, and answers nothing.
    let silent: Hub = Hub::builder().backplane(memory).build();
    let (_client, server) = fullduplex::testing::pair(&fullduplex::Config::new());
    let (_receiver, sender) = server.split();
    let seat = silent.add(sender);
    seat.enter(",nodes", "").await.expect("in memory");
    let asked = io.of("/").fetch_sockets().await;
    assert!(matches!(asked, Err(ClusterError::Timeout { missing: 1 })), "{asked:?}");
    let answers = io.of("/").emit_with_ack::<(), _>("ask", &()).await.expect("reachable");
    assert_eq!((answers.answers.len(), answers.missing_nodes), (0, 1));
    // What is no question is ignored.
    silent.signal("{}").expect("reachable");
    silent.signal(vec![0xFF]).expect("reachable");
    assert_eq!(io.of("/").local().fetch_sockets().await.expect("one node"), []);
}

/// Returns a server with recovery, on a backplane.
fn recovering(memory: &Memory<String>) -> Builder {
    Io::builder().namespace(namespace("/")).backplane(memory.clone()).recovery(HOUR)
}

impl Peer {
    /// Returns the next event, and the offset that is its last argument.
    async fn stored(&mut self) -> (Value, String) {
        let Value::Array(mut event) = self.next().await else { panic!("an array") };
        let offset = event.pop().expect("an offset").as_str().expect("text").to_owned();
        (event.into(), offset)
    }

    /// Connects again as the client does that has this offset.
    async fn come_back(&self, address: SocketAddr, offset: &str) -> Self {
        let auth = json!({"pid": self.accepted["pid"], "offset": offset, "token": 1});
        Self::open_with(address, "", &auth.to_string()).await
    }
}

/// Waits until no socket is connected: the server has seen that the connection is lost.
async fn alone(io: &Io) {
    eventually_async(async || io.of("/").fetch_sockets().await.expect("all answer").is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_client_that_was_lost_goes_on_where_it_was_on_any_node() {
    let memory = Memory::history(1000, HOUR);
    let (left, to_left) = start(recovering(&memory)).await;
    let (right, to_right) = start(recovering(&memory)).await;
    let mut lost = Peer::in_rooms(to_left, &["a", "b"]).await;
    assert_eq!(lost.ask("who", json!([])).await, json!([false]));
    left.of("/").to("a").emit("seen", &1).await.expect("in memory");
    let (event, offset) = lost.stored().await;
    assert_eq!(event, json!(["seen", 1]));
    let id = lost.id().to_owned();
    drop(lost.ws.into_inner());
    alone(&left).await;

    right.of("/").to("a").to("b").emit("1", &()).await.expect("in memory");
    left.of("/").to("c").emit("not for it", &()).await.expect("in memory");
    left.of("/").to(&*id).emit("2", &Binary::from("x")).await.expect("in memory");
    left.of("/").except("a").emit("not for it", &()).await.expect("in memory");
    left.of("/").except(&*id).emit("not for it", &()).await.expect("in memory");
    left.of("/").volatile().emit("not stored", &()).await.expect("in memory");
    left.of("/").emit("3", &Args((1, 2))).await.expect("in memory");

    let lost = Peer { ws: open_ws(to_right, PATH).await.0, ..lost };
    let mut back = lost.come_back(to_right, &offset).await;
    assert_eq!((back.id(), &back.accepted["pid"]), (&*id, &lost.accepted["pid"]));
    assert_eq!(back.stored().await.0, json!(["1"]));
    let packet = text(&mut back.ws).await;
    assert!(packet.starts_with(r#"451-["2",{"_placeholder":true,"num":0},""#), "{packet}");
    assert_eq!(message(&mut back.ws).await.expect("open").as_bytes(), b"x");
    assert_eq!(back.stored().await.0, json!(["3", 1, 2]));
    assert_eq!(back.ask("who", json!([])).await, json!([true]));
    assert_eq!(back.ask("join", json!([])).await, json!([["a", "b"]]));

    // It is the socket that it was: for others, and for itself.
    left.of("/").to(&*id).emit("to its id", &()).await.expect("in memory");
    assert_eq!(back.stored().await.0, json!(["to its id"]));
    back.emit("tell me", json!(["x"])).await;
    assert_eq!(back.stored().await.0, json!(["told", "x"]));
    let found = left.of("/").to(&*id).fetch_sockets().await.expect("both answer");
    assert_eq!((found.len(), found[0].id()), (1, &*id));
}

#[tokio::test]
async fn a_client_does_not_receive_its_own_broadcasts_when_it_is_recovered() {
    let (io, address) = start(recovering(&Memory::history(1000, HOUR))).await;
    let mut lost = Peer::open(address, "").await;
    io.of("/").emit("seen", &()).await.expect("in memory");
    let (_, offset) = lost.stored().await;
    lost.emit("shout", json!(["own"])).await;
    lost.has_nothing().await;
    drop(lost.ws.into_inner());
    alone(&io).await;
    io.of("/").emit("missed", &()).await.expect("in memory");
    let lost = Peer { ws: open_ws(address, PATH).await.0, ..lost };
    let mut back = lost.come_back(address, &offset).await;
    assert_eq!(back.stored().await.0, json!(["missed"]));
    back.has_nothing().await;
}

#[tokio::test]
async fn a_socket_is_recovered_once_and_only_after_a_loss() {
    let memory = Memory::history(1000, HOUR);
    let (io, address) = start(recovering(&memory)).await;
    let mut early = Peer::open(address, "").await;
    io.of("/").emit("before", &()).await.expect("in memory");
    let (_, before) = early.stored().await;
    io.of("/").emit("before", &()).await.expect("in memory");
    early.stored().await;
    drop(early);
    let mut lost = Peer::in_rooms(address, &["a"]).await;
    io.of("/").emit("seen", &()).await.expect("in memory");
    let (_, offset) = lost.stored().await;
    // It is still connected.
    let other = lost.come_back(address, &offset).await;
    assert_ne!(other.id(), lost.id());
    drop(other);
    let id = lost.id().to_owned();
    drop(lost.ws.into_inner());
    alone(&io).await;
    let lost = Peer { ws: open_ws(address, PATH).await.0, ..lost };
    for (pid, offset) in [
        ("A1-_A1-_A1-_A1-_A1-_", &*offset),
        ("no pid", &offset),
        (lost.accepted["pid"].as_str().expect("text"), "no offset"),
        (lost.accepted["pid"].as_str().expect("text"), "0-ffff"),
        (lost.accepted["pid"].as_str().expect("text"), &before),
    ] {
        let auth = json!({"pid": pid, "offset": offset}).to_string();
        let mut new = Peer::open_with(address, "", &auth).await;
        assert_ne!(new.id(), id);
        assert_eq!(new.ask("who", json!([])).await, json!([false]));
    }
    let mut back = lost.come_back(address, &offset).await;
    assert_eq!(back.id(), id);
    assert_eq!(back.ask("who", json!([])).await, json!([true]));
    assert_ne!(lost.come_back(address, &offset).await.id(), id, "it was taken");
    // Its client leaves the namespace: it does not come back.
    back.ws.send("41").await.expect("open");
    drop(back.ws.into_inner());
    assert_ne!(lost.come_back(address, &offset).await.id(), id);
}

#[tokio::test]
async fn a_client_that_has_missed_too_much_is_a_new_one() {
    let (io, address) = start(recovering(&Memory::history(3, HOUR))).await;
    let mut lost = Peer::open(address, "").await;
    io.of("/").emit("seen", &()).await.expect("in memory");
    let (_, offset) = lost.stored().await;
    let id = lost.id().to_owned();
    drop(lost.ws.into_inner());
    alone(&io).await;
    for number in 0..4 {
        io.of("/").emit("missed", &number).await.expect("in memory");
    }
    let lost = Peer { ws: open_ws(address, PATH).await.0, ..lost };
    let mut new = lost.come_back(address, &offset).await;
    assert_ne!((new.id(), &new.accepted["pid"]), (&*id, &lost.accepted["pid"]));
    new.has_nothing().await;
}

#[tokio::test]
async fn without_recovery_nothing_is_stored_and_no_private_id_is_given() {
    let (io, address) = one().await;
    let mut peer = Peer::open(address, "").await;
    assert_eq!(peer.accepted.as_object().expect("an object").len(), 1);
    io.of("/").emit("a", &"b").await.expect("in memory");
    assert_eq!(peer.next().await, json!(["a", "b"]));
}

/// One whose write buffer is full is disconnected, except by what is volatile; the others are not kept
/// waiting.
#[tokio::test]
async fn a_slow_socket_does_not_keep_others_waiting() {
    let settings = Settings::new().max_write_buffer_size(64 << 10);
    let (io, address) = start(Io::builder().settings(settings).namespace(namespace("/"))).await;
    // It does not poll, so that nothing is written.
    let slow = Poller::open(address, PATH).await;
    slow.send("40").await;
    slow.poll().await;
    let mut fast = Peer::open(address, "").await;
    let data = "x".repeat(10_000);
    for number in 0..50 {
        io.of("/").volatile().emit("volatile", &Args((number, &data))).await.expect("in memory");
        assert_eq!(fast.next().await[1], json!(number));
    }
    assert_eq!(io.of("/").fetch_sockets().await.expect("one node").len(), 2);
    for number in 0..50 {
        io.of("/").emit("not volatile", &Args((number, &data))).await.expect("in memory");
        assert_eq!(fast.next().await[1], json!(number));
    }
    fast.has_nothing().await;
}

/// What a socket joins while it is authorized counts once it is accepted: nothing is sent to it before.
#[tokio::test]
async fn a_socket_that_is_not_accepted_receives_nothing_for_its_rooms() {
    let gate = Namespace::new("/").authorize(|socket: Socket, auth: Auth| async move {
        for room in ["early", "left"] {
            socket.join(room).await.expect("later");
        }
        assert!(socket.leave("left") && !socket.leave("left") && socket.rooms() == ["early"]);
        let everyone = socket.everyone();
        for to in [everyone.clone().to("early"), everyone.clone().to(socket.id().as_str()), everyone] {
            to.emit("secret", &()).await.expect("in memory");
        }
        if auth.as_json() == "{}" { Ok(()) } else { Err(ConnectError::new("no")) }
    });
    let gate = gate.on("leave", |socket: Socket, ack: Ack| async move {
        socket.disconnect().await;
        assert!(socket.join("late").await.is_err());
        assert!(socket.rooms().is_empty() && !socket.leave("early"));
        let _ = ack;
    });
    let (io, address) = start(Io::builder().namespace(gate)).await;
    let (mut refused, _) = open_ws(address, PATH).await;
    refused.send(r#"40{"token":1}"#).await.expect("open");
    assert_eq!(text(&mut refused).await, r#"44{"message":"no"}"#);
    let mut peer = Peer::open(address, "").await;
    eventually_async(async || {
        let found = io.of("/").to("early").fetch_sockets().await.expect("one node");
        (found.len() == 1).then_some(())
    })
    .await;
    io.of("/").to("early").to("left").emit("now", &()).await.expect("in memory");
    assert_eq!(peer.next().await, json!(["now"]));
    peer.emit("leave", json!([])).await;
    assert_eq!(text(&mut peer.ws).await, "41");
}
