//! The routes over a real listener.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use classroom::{
    address::TrustForwardedFor,
    auth::{Auth, Role, Scope, Secret},
    http::{App, Listener, router},
    live::Decisions,
    metrics::Metrics,
    store::{Restriction, Settings, Store},
    values::{Name, ParticipantId},
};
use fullduplex::{CloseCode, serve::Shutdown};
use serde_json::json;
use support::{Response, get, post_json, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Server {
    address: SocketAddr,
    app: App,
}

impl Server {
    async fn start() -> Self {
        let store = Store::open(&Settings::memory(10)).expect("opens");
        let app = App {
            auth: Arc::new(Auth::new(&Secret::random())),
            decisions: Decisions::stored(store.clone()),
            store,
            metrics: Metrics::new(),
            shutdown: Shutdown::new(),
            trust_forwarded_for: TrustForwardedFor(false),
        };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), None, 10).await.expect("listens");
        let address = listener.local_addr().expect("known");
        let router = router(app.clone(), &["https://school.example".to_owned()]);
        let shutdown = app.shutdown.clone();
        tokio::spawn(async move { listener.run(router, &shutdown, Duration::from_secs(5)).await });
        Self { address, app }
    }

    fn ticket(&self, role: Role) -> String {
        let room = "maths".parse().expect("valid");
        let scope = match role {
            Role::Teacher => Scope::Teacher(room),
            Role::Student => Scope::Student(room),
            Role::Admin => Scope::Admin,
        };
        self.app.auth.ticket(&scope).expect("signed")
    }

    async fn get(&self, path: &str) -> Response {
        let (address, path) = (self.address, path.to_owned());
        blocking(move || get(address, &path)).await
    }

    async fn post(&self, body: serde_json::Value) -> Response {
        let address = self.address;
        blocking(move || post_json(address, "/api/token", &body)).await
    }

    async fn send(
        &self,
        line: &'static str,
        headers: &'static [&'static str],
        body: &'static str,
    ) -> Response {
        let address = self.address;
        blocking(move || request(address, line, headers, body)).await
    }
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

#[tokio::test]
async fn pages_have_a_policy_without_inline_scripts() {
    let server = Server::start().await;
    for path in ["/", "/admin", "/style.css", "/app.js", "/icon.svg", "/healthz", "/no/such/page"] {
        let response = server.get(path).await;
        let policy = response.header("content-security-policy").expect(path);
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    }
}

#[tokio::test]
async fn files_have_types_and_tags() {
    let server = Server::start().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/admin", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let response = server.get(path).await;
        assert_eq!((response.status, response.header("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        let tag = response.header("etag").expect("a tag").to_owned();
        let (address, line) = (server.address, format!("GET {path}"));
        let again = blocking(move || request(address, &line, &[&format!("If-None-Match: {tag}")], "")).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
    assert_eq!(server.get("/package.json").await.status, 404);
    assert_eq!(server.send("POST /", &[], "").await.status, 405);
}

#[tokio::test]
async fn a_ticket_is_exchanged_for_a_token() {
    let server = Server::start().await;
    let response = server.post(json!({"ticket": server.ticket(Role::Student), "name": " Ann "})).await;
    assert_eq!((response.status, response.header("cache-control")), (200, Some("no-store")));
    let issued = response.json();
    assert_eq!(
        (&issued["name"], &issued["role"], &issued["room"], &issued["expires_in"]),
        (&json!("Ann"), &json!("student"), &json!("maths"), &json!(900))
    );
    let identity = server.app.auth.verify(issued["token"].as_str().expect("text")).expect("valid");
    assert_eq!(json!(identity.id), issued["id"]);
    let again = server.post(json!({"ticket": issued["ticket"]})).await.json();
    assert_eq!((&again["id"], &again["name"]), (&issued["id"], &issued["name"]));
    let admin = server.post(json!({"ticket": server.ticket(Role::Admin)})).await.json();
    assert_eq!((&admin["role"], admin.get("room")), (&json!("admin"), None));
}

#[tokio::test]
async fn refusals_say_why() {
    let server = Server::start().await;
    let other = Auth::new(&Secret::random()).ticket(&Scope::Admin).expect("signed");
    let student = server.ticket(Role::Student);
    for (body, status, code) in [
        (json!({"ticket": student}), 400, "name"),
        (json!({"ticket": other}), 401, "not_valid"),
        (json!({"ticket": ""}), 401, "not_valid"),
        (json!({"ticket": student, "name": ""}), 422, "malformed"),
        (json!({"ticket": student, "name": "a".repeat(41)}), 422, "malformed"),
        (json!({"ticket": 7}), 422, "malformed"),
        (json!({"name": "Ann"}), 422, "malformed"),
        (json!({"ticket": student, "role": "teacher"}), 422, "malformed"),
        (json!([]), 422, "malformed"),
    ] {
        let response = server.post(body.clone()).await;
        let answer = response.json();
        assert_eq!((response.status, answer["code"].as_str()), (status, Some(code)), "{body}");
        assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
    let named = server.post(json!({"ticket": student, "name": 7})).await.json();
    assert!(named["error"].as_str().expect("text").contains("name"), "{named}");
    for (headers, body, status) in [
        (&["Content-Type: application/json"][..], "{", 400),
        (&["Content-Type: text/plain"], "{}", 415),
        (&[], "{}", 415),
    ] {
        let response = server.send("POST /api/token", headers, body).await;
        assert_eq!(
            (response.status, response.json()["code"].as_str()),
            (status, Some("malformed")),
            "{body}"
        );
    }
    let large = server.post(json!({"ticket": "a".repeat(9000)})).await;
    assert_eq!((large.status, large.json()["code"].as_str()), (413, Some("malformed")));
}

#[tokio::test]
async fn who_was_removed_gets_no_token() {
    let server = Server::start().await;
    let ticket = server.ticket(Role::Student);
    let issued = server.post(json!({"ticket": ticket, "name": "Bob"})).await.json();
    let room = "maths".parse().expect("valid");
    let id: ParticipantId = serde_json::from_value(issued["id"].clone()).expect("valid");
    let name: Name = "Bob".parse().expect("valid");
    server.app.store.restrict(room, id, name, Restriction::Barred).await.expect("stored");
    for body in [
        json!({"ticket": issued["ticket"]}),
        json!({"ticket": ticket, "name": "Bob"}),
        json!({"ticket": ticket, "name": "bob"}),
    ] {
        let response = server.post(body.clone()).await;
        assert_eq!((response.status, response.json()["code"].as_str()), (403, Some("removed")), "{body}");
    }
    assert_eq!(server.post(json!({"ticket": ticket, "name": "Ann"})).await.status, 200);
}

#[tokio::test]
async fn a_closed_room_lets_teachers_in() {
    let server = Server::start().await;
    server.app.store.set_closed("maths".parse().expect("valid"), true).await.expect("stored");
    let student = server.post(json!({"ticket": server.ticket(Role::Student), "name": "Ann"})).await;
    assert_eq!((student.status, student.json()["code"].as_str()), (403, Some("closed")));
    let teacher = server.post(json!({"ticket": server.ticket(Role::Teacher), "name": "Ms Lee"})).await;
    assert_eq!(teacher.status, 200);
}

#[tokio::test]
async fn pages_of_other_origins_need_permission() {
    let server = Server::start().await;
    let preflight = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"];
    for (origin, allowed) in [("https://school.example", true), ("https://evil.example", false)] {
        let address = server.address;
        let field = format!("Origin: {origin}");
        let response = blocking(move || {
            let headers = [&field, preflight[0], preflight[1]];
            request(address, "OPTIONS /api/token", &headers, "")
        })
        .await;
        let answer = response.header("access-control-allow-origin");
        assert_eq!(answer, allowed.then_some(origin), "{response:?}");
    }
}

#[tokio::test]
async fn health_and_metrics_are_served() {
    let server = Server::start().await;
    let healthy = server.get("/healthz").await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
    server.post(json!({"ticket": server.ticket(Role::Student), "name": "Ann"})).await;
    server.post(json!({"ticket": "a"})).await;
    let metrics = server.get("/metrics").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(metrics.header("content-type"), Some(kind));
    for line in ["classroom_tokens_total 1", "classroom_refused_total{reason=\"NotValid\"} 1"] {
        assert!(metrics.body.lines().any(|each| each == line), "{line} in:\n{}", metrics.body);
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let server = Server::start().await;
    tokio::time::pause();
    // Nothing, and beginnings of HTTP/2 and of HTTP/1.1.
    for beginning in ["", "PRI * HT", "GET / HT"] {
        let mut tcp = tokio::net::TcpStream::connect(server.address).await.expect("it listens");
        tcp.write_all(beginning.as_bytes()).await.expect("open");
        let mut received = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(600), tcp.read_to_end(&mut received)).await;
        assert!(ended.is_ok(), "{beginning:?} keeps a connection open");
    }
}

#[tokio::test]
async fn a_server_that_stops_accepts_no_more() {
    let server = Server::start().await;
    assert_eq!(server.get("/healthz").await.status, 200);
    server.app.shutdown.begin(CloseCode::SERVICE_RESTART, "").expect("sendable");
    let address = server.address;
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), refused).await.expect("it stops");
}
