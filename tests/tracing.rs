//! Spans and events for `tracing`, recorded by a subscriber of the test.

#![cfg(feature = "tracing")]

mod support;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use fullduplex::{Client, CloseCode, Config, Error, Message, Role, Server, WebSocket, handshake::Negotiated};
use http::{Response, StatusCode};
use support::{
    frames::{close, frame, text, wire},
    script, settle, without_deadlines,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tracing::{
    Event, Id, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
    subscriber::DefaultGuard,
};

/// Everything that was recorded: spans, and events with the span that they belong to.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Recorded>>, Option<Level>);

#[derive(Default)]
struct Recorded {
    spans: Vec<Recording>,
    events: Vec<Recording>,
    entered: usize,
}

#[derive(Clone, Default)]
struct Recording {
    name: String,
    level: Option<Level>,
    /// The number of the span that an event belongs to.
    span: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    closed: bool,
}

impl Visit for Recording {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "fullduplex" && self.1.is_none_or(|most| *metadata.level() <= most)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut recording = Recording { name: span.metadata().name().into(), ..Recording::default() };
        recording.level = Some(*span.metadata().level());
        span.record(&mut recording);
        let mut recorded = self.0.lock().expect("no panic");
        recorded.spans.push(recording);
        Id::from_u64(recorded.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut recorded = self.0.lock().expect("no panic");
        values.record(&mut recorded.spans[span.into_u64() as usize - 1]);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut recording = Recording { level: Some(*event.metadata().level()), ..Recording::default() };
        event.record(&mut recording);
        recording.name = recording.fields.remove("message").unwrap_or_default();
        recording.span = event.parent().map(Id::into_u64);
        self.0.lock().expect("no panic").events.push(recording);
    }

    fn enter(&self, _: &Id) {
        self.0.lock().expect("no panic").entered += 1;
    }

    fn exit(&self, _: &Id) {}

    fn try_close(&self, span: Id) -> bool {
        self.0.lock().expect("no panic").spans[span.into_u64() as usize - 1].closed = true;
        true
    }
}

impl Recorder {
    /// Records everything on this thread, until the guard is dropped.
    fn start() -> (Self, DefaultGuard) {
        let recorder = Self::default();
        (recorder.clone(), tracing::subscriber::set_default(recorder))
    }

    /// Returns the events as text: level, name and fields.
    fn events(&self) -> Vec<String> {
        self.0.lock().expect("no panic").events.iter().map(Recording::show).collect()
    }

    /// Returns the spans with this name as text.
    fn spans(&self, name: &str) -> Vec<String> {
        let recorded = self.0.lock().expect("no panic");
        recorded.spans.iter().filter(|span| span.name == name).map(Recording::show).collect()
    }

    /// Returns everything as text.
    fn all(&self) -> String {
        let recorded = self.0.lock().expect("no panic");
        recorded.spans.iter().chain(&recorded.events).map(Recording::show).collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn assert_within(&self, event: &str, span: &str) {
        let recorded = self.0.lock().expect("no panic");
        let event = recorded.events.iter().find(|recorded| recorded.name == event).expect("the event");
        let parent = &recorded.spans[event.span.expect("a span") as usize - 1];
        assert_eq!(parent.name, span);
    }
}

impl Recording {
    fn show(&self) -> String {
        let fields: String = self.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{} {}{fields}", self.level.expect("a level"), self.name)
    }
}

const SECRET: &str = "hunter2";

/// Opens a connection in which every place that may hold a secret holds one.
async fn open(config: &Config) -> (WebSocket<tokio::io::DuplexStream>, WebSocket<tokio::io::DuplexStream>) {
    let (near, far) = duplex(1 << 16);
    let client = Client::new(config.clone())
        .header("Authorization", format!("Bearer {SECRET}"))
        .header("Cookie", format!("id={SECRET}"))
        .header("X-Other", SECRET)
        .subprotocol("chat.v1")
        .bearer_token("bearer.", SECRET);
    let server = Server::new(config.clone()).subprotocols(["chat.v1"]).bearer_prefix("bearer.");
    let serve = async {
        let request = server.read_request(far).await?;
        let own = Response::builder().header("Set-Cookie", format!("id={SECRET}")).body(()).expect("valid");
        request.accept_with(own).await
    };
    let target = format!("ws://user:{SECRET}@example.com/room?token={SECRET}");
    let (client, server) = tokio::join!(client.handshake(target, near), serve);
    (client.expect("accepted").0, server.expect("valid"))
}

#[tokio::test]
async fn a_clean_connection_has_two_spans_at_each_end_and_shows_no_secret() {
    let (recorder, _guard) = Recorder::start();
    let (mut client, mut server) = open(&Config::new()).await;
    assert_eq!(
        recorder.spans("handshake"),
        [
            "INFO handshake host=example.com path=/room port=80 role=client",
            "INFO handshake path=/room role=server"
        ]
    );
    let spans = recorder.spans("connection");
    assert_eq!(spans.len(), 2);
    for role in ["client", "server"] {
        assert!(
            spans.contains(&format!("INFO connection path=/room role={role} subprotocol=chat.v1")),
            "{spans:?}"
        );
    }
    let opened = recorder.events();
    assert_eq!(opened, ["DEBUG connection opened", "DEBUG connection opened"]);
    // Messages and pings emit nothing, and enter nothing.
    for _ in 0..10 {
        client.send(SECRET).await.expect("open");
        client.ping(SECRET).await.expect("open");
        assert_eq!(server.recv().await.expect("valid"), Some(Message::from(SECRET)));
    }
    assert_eq!(recorder.events(), opened);
    assert_eq!(recorder.0.lock().expect("no panic").entered, 0);

    let (closed, received) = tokio::join!(client.close(CloseCode::NORMAL, "so\nlong"), server.recv());
    closed.expect("closed cleanly");
    assert_eq!(received.expect("closed cleanly"), None);
    let mut events = recorder.events().split_off(2);
    events.sort();
    assert_eq!(
        events,
        [
            "DEBUG closing by=peer close=1000 (so\\nlong) code=1000",
            "DEBUG closing by=this end close=1000 (so\\nlong) code=1000",
            "DEBUG connection ended clean=true",
            "DEBUG connection ended clean=true",
        ]
    );
    recorder.assert_within("closing", "connection");
    recorder.assert_within("connection opened", "handshake");
    drop((client, server));
    assert!(recorder.0.lock().expect("no panic").spans.iter().all(|span| span.closed), "spans end");
    assert!(!recorder.all().contains(SECRET), "{}", recorder.all());
}

#[tokio::test]
async fn a_rejected_request_is_an_event_with_status_and_reason() {
    for (request, path, event) in [
        (
            "GET /a?hunter2 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: hunter2\r\n\r\n",
            " path=/a",
            "WARN request rejected reason=Sec-WebSocket-Key is not base64 of 16 bytes status=400",
        ),
        (
            "GET /?hunter2 HTTP/1.1\r\nHost: a\r\nCookie: hunter2\r\n\r\n",
            " path=/",
            "WARN request rejected reason=missing Upgrade: websocket status=426",
        ),
        (
            "hunter2\r\n\r\n",
            "",
            "WARN request rejected reason=first line is not an HTTP/1.1 request line status=400",
        ),
    ] {
        let (recorder, _guard) = Recorder::start();
        let (mut near, far) = duplex(1 << 16);
        near.write_all(request.as_bytes()).await.expect("fits");
        near.shutdown().await.expect("open");
        Server::default().read_request(far).await.expect_err("invalid");
        assert_eq!(recorder.events(), [event]);
        assert_eq!(recorder.spans("handshake"), [format!("INFO handshake{path} role=server")]);
        recorder.assert_within("request rejected", "handshake");
        assert!(!recorder.all().contains(SECRET), "{}", recorder.all());
    }
}

#[tokio::test]
async fn a_refusal_is_an_event_at_both_ends() {
    let (recorder, _guard) = Recorder::start();
    let (near, far) = duplex(1 << 16);
    let client = Client::default().header("Cookie", SECRET);
    let serve = async {
        let request = Server::default().read_request(far).await.expect("valid");
        let mut response = Response::new(SECRET);
        *response.status_mut() = StatusCode::FORBIDDEN;
        request.reject(response).await.expect("written");
    };
    let (opened, ()) = tokio::join!(client.handshake(format!("ws://a/?{SECRET}"), near), serve);
    opened.expect_err("refused");
    assert_eq!(
        recorder.events(),
        [
            "DEBUG request refused by the program status=403",
            "WARN opening handshake failed error=server answered with status 403 Forbidden instead of 101",
        ]
    );
    assert!(!recorder.all().contains(SECRET), "{}", recorder.all());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_the_opening_handshake_is_an_event() {
    let (recorder, _guard) = Recorder::start();
    let (_near, far) = duplex(1 << 16);
    fullduplex::accept(far).await.expect_err("no request");
    assert_eq!(recorder.events(), ["WARN opening handshake failed error=opening handshake timeout"]);
}

fn server(config: &Config) -> (WebSocket<script::Scripted>, script::Script) {
    script::open(Role::Server, config)
}

#[tokio::test]
async fn violations_and_exceeded_limits_are_events_with_the_close_code() {
    let config = without_deadlines().max_message_size(10).max_fragments(1);
    for (input, error, code) in [
        (text(SECRET).build(), "frame from a client is not masked", 1002),
        (text("hunter2 hunter2").masked().build(), "frame larger than the limit of 10 bytes", 1009),
        (text(b"hunter2\xFF").masked().build(), "text is not valid UTF-8", 1007),
        (
            wire(&[frame(1, "hunter2").more().masked(), frame(0, "").masked()]),
            "message of more than 1 fragments",
            1008,
        ),
    ] {
        let (recorder, _guard) = Recorder::start();
        let (mut ws, script) = server(&config);
        script.bring(input);
        script.end();
        ws.recv().await.expect_err("invalid");
        assert_eq!(
            recorder.events(),
            [
                format!("WARN connection failed code={code} error=peer violated the protocol: {error}"),
                "DEBUG connection ended clean=false".into(),
            ]
        );
        recorder.assert_within("connection failed", "connection");
        assert!(!recorder.all().contains(SECRET), "{}", recorder.all());
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_of_a_connection_are_events() {
    let second = Duration::from_secs(1);
    let (recorder, _guard) = Recorder::start();
    let (mut ws, _script) = server(&without_deadlines().idle_timeout(second));
    ws.recv().await.expect_err("idle");
    let (mut ws, script) = server(&without_deadlines().write_timeout(second));
    script.allow_writes(0);
    ws.send(SECRET).await.expect_err("stuck");
    // A sender in another task, and the receiver that it ends.
    let (mut receiver, sender, script) = script::split_server(without_deadlines().write_timeout(second));
    script.allow_writes(0);
    let receiving = tokio::spawn(async move { receiver.recv().await });
    settle().await;
    sender.send(SECRET).await.expect_err("stuck");
    assert!(!receiving.await.expect("no panic").is_ok_and(|message| message.is_some()));
    let timeouts: Vec<_> =
        recorder.events().into_iter().filter(|event| event.contains("connection failed")).collect();
    assert_eq!(
        timeouts,
        [
            "WARN connection failed code=1001 error=idle timeout",
            "WARN connection failed error=write timeout",
            "WARN connection failed error=write timeout",
        ]
    );
    assert!(!recorder.all().contains(SECRET), "{}", recorder.all());
}

#[tokio::test]
async fn a_peer_that_vanishes_is_no_warning() {
    let (recorder, _guard) = Recorder::start();
    let (mut ws, script) = server(&without_deadlines());
    script.end();
    ws.recv().await.expect_err("no Close");
    assert_eq!(
        recorder.events(),
        [
            "DEBUG connection failed error=peer disconnected: transport ended without a close frame",
            "DEBUG connection ended clean=false",
        ]
    );
}

#[tokio::test]
async fn errors_after_the_closing_handshake_are_no_events() {
    let (recorder, _guard) = Recorder::start();
    let (mut ws, script) = server(&without_deadlines());
    script.bring(close(1000, "").masked().build());
    script.fail_reads(std::io::ErrorKind::ConnectionReset);
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    assert_eq!(
        recorder.events(),
        ["DEBUG closing by=peer close=1000 code=1000", "DEBUG connection ended clean=true"]
    );
}

#[tokio::test]
async fn an_address_is_recorded_for_a_client_that_connects() {
    let (recorder, _guard) = Recorder::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let target = format!("ws://{address}/room?{SECRET}");
    let (opened, accepted) = tokio::join!(fullduplex::connect(target), async {
        fullduplex::accept(listener.accept().await.expect("a client").0).await
    });
    let _open = (opened.expect("accepted"), accepted.expect("valid"));
    let spans = recorder.spans("connection");
    assert!(spans.contains(&format!("INFO connection path=/room peer={address} role=client")), "{spans:?}");
    let failed = fullduplex::connect("ws://127.0.0.1:1/").await.expect_err("refused");
    assert!(matches!(failed, Error::Transport(_)));
    let last = recorder.events().pop().expect("an event");
    assert!(
        last.contains("opening handshake failed error=transport failed: cannot connect to 127.0.0.1:1"),
        "{last}"
    );
}

#[tokio::test]
async fn a_subscriber_of_warnings_alone_keeps_no_span_and_receives_the_warnings() {
    let recorder = Recorder(Arc::default(), Some(Level::WARN));
    let _guard = tracing::subscriber::set_default(recorder.clone());
    let (mut ws, script) = server(&without_deadlines());
    assert!(!format!("{ws:?}").contains("ConnectionTrace"), "nothing is allocated");
    script.bring(text("a").build());
    script.end();
    ws.recv().await.expect_err("invalid");
    assert_eq!(
        recorder.events(),
        [
            "WARN connection failed code=1002 error=peer violated the protocol: frame from a client is not masked"
        ]
    );
    assert!(recorder.0.lock().expect("no panic").spans.is_empty());
}

#[tokio::test]
async fn a_connection_of_another_library_has_a_span_without_a_path() {
    let (recorder, _guard) = Recorder::start();
    let (io, _script) = script::scripted();
    let negotiated = Negotiated::with_subprotocol("chat");
    let ws = WebSocket::from_raw(io, bytes::Bytes::new(), Role::Server, &Config::new(), negotiated);
    assert_eq!(recorder.spans("connection"), ["INFO connection role=server subprotocol=chat"]);
    drop(ws);
    let (mut near, far) = duplex(100);
    drop(far);
    assert_eq!(near.read(&mut [0; 1]).await.expect("ended"), 0);
}

#[cfg(feature = "hyper")]
#[tokio::test]
async fn requests_of_hyper_have_the_same_spans() {
    let (recorder, _guard) = Recorder::start();
    let client = Client::default()
        .header("Authorization", format!("Bearer {SECRET}"))
        .subprotocol("chat.v1")
        .bearer_token("bearer.", SECRET);
    let server = Server::default().subprotocols(["chat.v1"]).bearer_prefix("bearer.");
    let target = format!("ws://example.com/room?token={SECRET}");
    let (mut request, connection) = fullduplex::testing::upgrade_request(&client, &*target).expect("valid");
    let (response, upgrade) = fullduplex::hyper::upgrade(&mut request, &server).expect("valid");
    let _ws = upgrade.await.expect("in memory");
    let opened = connection.open(&response).expect("accepted");
    assert_eq!(recorder.spans("handshake"), ["INFO handshake path=/room role=server"]);
    let spans = recorder.spans("connection");
    assert!(
        spans.contains(&"INFO connection path=/room role=server subprotocol=chat.v1".into()),
        "{spans:?}"
    );
    assert_eq!(recorder.events(), ["DEBUG connection opened"]);
    drop(opened);

    let mut request = http::Request::get(format!("/room?token={SECRET}")).body(()).expect("valid");
    fullduplex::hyper::upgrade(&mut request, &server).expect_err("no Host");
    assert_eq!(recorder.events()[1..], ["WARN request rejected reason=missing Host status=400"]);
    assert!(!recorder.all().contains(SECRET), "{}", recorder.all());
}

#[cfg(feature = "serve")]
#[tokio::test]
async fn connections_of_an_accept_loop_have_the_address_of_the_peer() {
    use fullduplex::serve::Serve;

    let (recorder, _guard) = Recorder::start();
    let serve = Serve::bind("127.0.0.1:0").await.expect("bound");
    let address = serve.local_addr().expect("bound");
    let served = serve.run(async |mut session, _request| {
        while session.recv().await?.is_some() {}
        Ok(())
    });
    let connect = async {
        let (ws, _) = fullduplex::connect(format!("ws://{address}/")).await.expect("accepted");
        let own = ws.get_ref().tcp().expect("TCP").local_addr().expect("open");
        let peer = format!("INFO connection path=/ peer={own} role=server");
        let recorded = async {
            while !recorder.spans("connection").contains(&peer) {
                tokio::task::yield_now().await;
            }
        };
        let spans = |_| panic!("{peer}: {:?}", recorder.spans("connection"));
        tokio::time::timeout(Duration::from_secs(10), recorded).await.unwrap_or_else(spans);
    };
    tokio::select! {
        ended = served => panic!("{ended:?}"),
        () = connect => {}
    }
}
