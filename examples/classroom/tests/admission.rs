//! Which requests open a WebSocket connection, over a real listener.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRef, State},
    http::Uri,
    response::{IntoResponse, Response},
    routing::any,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use classroom::{
    address::{ClientAddress, TrustForwardedFor},
    admission::{Admission, BEARER_PREFIX, Endpoint},
    auth::{Auth, Scope, Secret},
    http::Listener,
    limits::Places,
    metrics::Metrics,
};
use fullduplex::{Client, ClientStream, Config, Error, WebSocket, axum::WebSocketUpgrade, serve::Shutdown};
use support::{get, request};

#[derive(Clone, FromRef)]
struct App {
    admission: Admission,
    trust: TrustForwardedFor,
}

/// Says who has entered, and keeps the connection until the client closes it.
async fn enter(
    endpoint: Endpoint,
    State(admission): State<Admission>,
    uri: Uri,
    address: ClientAddress,
    mut upgrade: WebSocketUpgrade,
) -> Response {
    let admitted = match admission.admit(endpoint, &mut upgrade, &uri, address) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into_response(),
    };
    let server = admission.server(endpoint);
    upgrade.server(&server).on_upgrade(async move |mut ws| {
        let place = admitted.place;
        let identity = admitted.identity;
        // A client that is gone needs no answer.
        let _ = ws.send(format!("{} {}", identity.scope.role().as_str(), identity.name)).await;
        while let Ok(Some(_)) = ws.recv().await {}
        drop(place);
    })
}

struct Server {
    address: SocketAddr,
    auth: Arc<Auth>,
    places: Places,
}

impl Server {
    async fn start(change: impl FnOnce(&mut App)) -> Self {
        let auth = Arc::new(Auth::new(&Secret::random()));
        let places = Places::new(3, 2);
        let admission = Admission {
            auth: auth.clone(),
            places: places.clone(),
            token_in_query: false,
            allow_origins: Arc::new([]),
            config: Config::new(),
            metrics: Metrics::new(),
        };
        let mut app = App { admission, trust: TrustForwardedFor(false) };
        change(&mut app);
        let room = |state, uri, address, upgrade| enter(Endpoint::Room, state, uri, address, upgrade);
        let admin = |state, uri, address, upgrade| enter(Endpoint::Admin, state, uri, address, upgrade);
        let router = Router::new().route("/ws", any(room)).route("/admin/ws", any(admin)).with_state(app);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), None, 10).await.expect("listens");
        let address = listener.local_addr().expect("known");
        tokio::spawn(async move { listener.run(router, &Shutdown::new(), Duration::ZERO).await });
        Self { address, auth, places }
    }

    fn token(&self, scope: &Scope) -> String {
        let ticket = self.auth.ticket(scope).expect("signed");
        let name = Some("Ann".parse().expect("valid"));
        self.auth.exchange(&ticket, name).expect("valid").token
    }

    fn student(&self) -> Scope {
        Scope::Student("maths".parse().expect("valid"))
    }

    async fn connect(&self, client: Client, path: &str) -> Result<WebSocket<ClientStream>, Error> {
        let (ws, _) = client.connect(format!("ws://{}{path}", self.address)).await?;
        Ok(ws)
    }

    /// Returns the status with which a request is refused.
    async fn refused(&self, client: Client, path: &str) -> u16 {
        let error = self.connect(client, path).await.expect_err("refused");
        error.response().unwrap_or_else(|| panic!("{error:#}")).status().as_u16()
    }
}

fn client(token: &str) -> Client {
    Client::default().subprotocol("classroom.v1").bearer_token(BEARER_PREFIX, token)
}

#[tokio::test]
async fn a_token_among_the_subprotocols_opens_a_connection_and_is_not_echoed() {
    let server = Server::start(|_| {}).await;
    let token = server.token(&server.student());
    let mut ws = server.connect(client(&token), "/ws").await.expect("admitted");
    assert_eq!(ws.subprotocol(), Some("classroom.v1"));
    let message = ws.recv().await.expect("open").expect("a message");
    assert_eq!(message.as_text(), Some("student Ann"));
    let address = server.address;
    let response = tokio::task::spawn_blocking(move || {
        let offer = format!("Sec-WebSocket-Protocol: classroom.v1, bearer.{token}");
        let headers = ["Upgrade: websocket", &offer];
        request(address, "GET /ws", &headers, "")
    })
    .await
    .expect("no panic");
    // Without a valid handshake; nothing of the token is in the answer either.
    assert_eq!(response.status, 400);
    assert!(!response.head.contains("bearer") && !response.body.contains("bearer"), "{response:?}");
}

#[tokio::test]
async fn who_has_no_valid_token_is_refused_before_the_upgrade() {
    let server = Server::start(|_| {}).await;
    let token = server.token(&server.student());
    let (head, rest) = token.split_once('.').expect("three parts");
    let (body, signature) = rest.split_once('.').expect("three parts");
    let none = BASE64.encode(r#"{"alg":"none"}"#);
    let other = Auth::new(&Secret::random());
    let forged = other
        .exchange(&other.ticket(&server.student()).expect("signed"), Some("Ann".parse().expect("valid")));
    let teacher = BASE64.encode(r#"{"aud":"classroom:token","role":"teacher","room":"maths","name":"Ann","sub":"1","exp":99999999999}"#);
    for token in [
        &forged.expect("signed").token,
        &format!("{none}.{body}.{signature}"),
        &format!("{none}.{teacher}.AAAA"),
        &format!("{head}.{teacher}.{signature}"),
        &server.auth.ticket(&server.student()).expect("signed"),
        "a",
    ] {
        assert_eq!(server.refused(client(token), "/ws").await, 401, "{token}");
    }
    assert_eq!(server.refused(Client::default().subprotocol("classroom.v1"), "/ws").await, 401);
    assert_eq!(server.places.taken(), 0);
}

#[tokio::test]
async fn each_endpoint_has_its_roles() {
    let server = Server::start(|_| {}).await;
    let (student, admin) = (server.token(&server.student()), server.token(&Scope::Admin));
    assert_eq!(server.refused(client(&student), "/admin/ws").await, 403);
    assert_eq!(server.refused(client(&admin), "/ws").await, 403);
    let client = Client::default().subprotocol("classroom.admin.v1").bearer_token(BEARER_PREFIX, &admin);
    let mut ws = server.connect(client, "/admin/ws").await.expect("admitted");
    let message = ws.recv().await.expect("open").expect("a message");
    assert_eq!(message.as_text(), Some("admin admin"));
}

#[tokio::test]
async fn the_token_is_in_the_query_only_if_that_is_allowed() {
    let strict = Server::start(|_| {}).await;
    let path = format!("/ws?token={}", strict.token(&strict.student()));
    assert_eq!(strict.refused(Client::default(), &path).await, 401);
    let lenient = Server::start(|app| app.admission.token_in_query = true).await;
    let path = format!("/ws?a=b&token={}", lenient.token(&lenient.student()));
    assert!(lenient.connect(Client::default(), &path).await.is_ok());
    assert_eq!(lenient.refused(Client::default(), "/ws?token=").await, 401);
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_unless_they_are_allowed() {
    let strict = Server::start(|_| {}).await;
    let lenient =
        Server::start(|app| app.admission.allow_origins = Arc::new(["https://school.example".into()])).await;
    for (server, allows_school) in [(&strict, false), (&lenient, true)] {
        let token = server.token(&server.student());
        let from = |origin: &str| client(&token).header("origin", origin);
        let own = format!("http://{}", server.address);
        for (origin, allowed) in [
            (&*own, true),
            ("https://school.example", allows_school),
            ("https://evil.example", false),
            ("null", false),
        ] {
            match server.connect(from(origin), "/ws").await {
                Ok(_) => assert!(allowed, "{origin}"),
                Err(error) => {
                    let status = error.response().map(|response| response.status().as_u16());
                    assert_eq!((allowed, status), (false, Some(403)), "{origin}: {error:#}");
                }
            }
        }
    }
}

#[tokio::test]
async fn places_are_limited_and_become_free() {
    let server = Server::start(|_| {}).await;
    let token = server.token(&server.student());
    let first = server.connect(client(&token), "/ws").await.expect("admitted");
    let _second = server.connect(client(&token), "/ws").await.expect("admitted");
    assert_eq!(server.refused(client(&token), "/ws").await, 429);
    drop(first);
    let free = async {
        while server.places.taken() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), free).await.expect("the place becomes free");
    assert!(server.connect(client(&token), "/ws").await.is_ok());
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_an_address() {
    let server = Server::start(|app| app.trust = TrustForwardedFor(true)).await;
    let token = server.token(&server.student());
    let from = |address: &str| client(&token).header("x-forwarded-for", address);
    let mut open = Vec::new();
    for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        open.push(server.connect(from(address), "/ws").await.expect("admitted"));
    }
    assert_eq!(server.refused(from("192.0.2.3"), "/ws").await, 503);
    assert_eq!(server.places.taken(), 3);
}

#[tokio::test]
async fn a_request_that_opens_nothing_is_answered() {
    let server = Server::start(|_| {}).await;
    let address = server.address;
    let response = tokio::task::spawn_blocking(move || get(address, "/ws")).await.expect("no panic");
    assert_eq!(response.status, 426);
}
