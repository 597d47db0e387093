//! A server with rooms, and clients that speak its protocol as a page does.

#![allow(dead_code, reason = "each test uses a part")]

use std::{collections::VecDeque, net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use classroom::{
    address::TrustForwardedFor,
    admission::{Admission, BEARER_PREFIX},
    auth::{Auth, Scope, Secret},
    http::{App, Listener, router},
    limits::Places,
    live::{Live, RouteApp, Settings, routes},
    metrics::Metrics,
    store::{self, Store},
};
use fullduplex::{Client, ClientStream, CloseCode, Config, WebSocket, hub::Memory, serve::Shutdown};
use serde_json::{Value, json};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);

/// A server in this process.
pub struct Server {
    pub address: SocketAddr,
    pub auth: Arc<Auth>,
    pub store: Store,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
}

/// What a test changes.
pub struct Options {
    pub store: store::Settings,
    pub rate: u32,
    pub burst: u32,
    pub join_timeout: Duration,
    pub config: Config,
    /// What connects several servers.
    pub engine: Option<Memory<String>>,
    /// The secret, if several servers have the same.
    pub secret: Option<Secret>,
}

impl Default for Options {
    fn default() -> Self {
        let store = store::Settings::memory(1000);
        Self {
            store,
            rate: 1000,
            burst: 1000,
            join_timeout: DEADLINE,
            config: Config::new(),
            engine: None,
            secret: None,
        }
    }
}

impl Server {
    pub async fn start(options: Options) -> Self {
        let secret = options.secret.unwrap_or_else(Secret::random);
        let auth = Arc::new(Auth::new(&secret));
        let store = Store::open(&options.store).expect("opens");
        let metrics = Metrics::new();
        let shutdown = Shutdown::new().with_metrics(metrics.connections());
        let [rate, burst] =
            [options.rate, options.burst].map(|count| NonZeroU32::new(count).expect("not zero"));
        let settings = Settings {
            rate,
            burst,
            join_timeout: options.join_timeout,
            shutdown: shutdown.clone(),
            metrics: metrics.clone(),
        };
        let live = match options.engine {
            Some(engine) => Live::with_backplane(engine, settings),
            None => Live::new(store.clone(), settings),
        };
        let trust_forwarded_for = TrustForwardedFor(false);
        let admission = Admission {
            auth: auth.clone(),
            places: Places::new(1000, 1000),
            token_in_query: false,
            allow_origins: Arc::new([]),
            config: options.config,
            metrics: metrics.clone(),
        };
        let decisions = live.decisions();
        let routes = routes(RouteApp { live, admission, trust_forwarded_for });
        let (auth_of_app, store_of_app) = (auth.clone(), store.clone());
        let app = App {
            auth: auth_of_app,
            store: store_of_app,
            decisions,
            metrics: metrics.clone(),
            shutdown: shutdown.clone(),
            trust_forwarded_for,
        };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), None, 1000).await.expect("listens");
        let address = listener.local_addr().expect("known");
        let until = shutdown.clone();
        let serving = async move { listener.run(router(app, &[]).merge(routes), &until, DEADLINE).await };
        tokio::spawn(serving);
        Self { address, auth, store, metrics, shutdown }
    }

    fn token(&self, scope: &Scope, name: &str) -> String {
        let ticket = self.auth.ticket(scope).expect("signed");
        self.auth.exchange(&ticket, Some(name.parse().expect("valid"))).expect("valid").token
    }

    /// Returns a token of a student. Each has another id.
    pub fn student_token(&self, name: &str) -> String {
        self.token(&Scope::Student("maths".parse().expect("valid")), name)
    }

    pub fn teacher_token(&self, name: &str) -> String {
        self.token(&Scope::Teacher("maths".parse().expect("valid")), name)
    }

    pub async fn admin(&self) -> Page {
        let ticket = self.auth.ticket(&Scope::Admin).expect("signed");
        let token = self.auth.exchange(&ticket, None).expect("valid").token;
        Page::open(self.address, "/admin/ws", "classroom.admin.v1", &token).await
    }

    /// Opens a connection that has not joined.
    pub async fn open(&self, token: &str) -> Page {
        Page::open(self.address, "/ws", "classroom.v1", token).await
    }

    pub async fn student(&self, name: &str) -> Page {
        let mut page = self.open(&self.student_token(name)).await;
        page.join("student:join", json!({})).await;
        page
    }

    pub async fn teacher(&self, name: &str) -> Page {
        let mut page = self.open(&self.teacher_token(name)).await;
        page.join("teacher:join", json!({})).await;
        page
    }
}

/// A connection of a page.
pub struct Page {
    pub ws: WebSocket<ClientStream>,
    /// The answer to the join.
    pub joined: Value,
    events: VecDeque<Value>,
    next: u64,
}

impl Page {
    pub async fn open(address: SocketAddr, path: &str, protocol: &str, token: &str) -> Self {
        let client = Client::default().subprotocol(protocol).bearer_token(BEARER_PREFIX, token);
        let (ws, _) = client.connect(format!("ws://{address}{path}")).await.expect("admitted");
        Self { ws, joined: Value::Null, events: VecDeque::new(), next: 1 }
    }

    pub fn id(&self) -> String {
        self.joined["me"]["id"].as_str().expect("joined").to_owned()
    }

    /// Joins. Asserts that no event comes before the answer.
    pub async fn join(&mut self, event: &str, data: Value) {
        let answer = self.call(event, data).await;
        self.joined = answer.unwrap_or_else(|error| panic!("{error}"));
        assert!(self.events.is_empty(), "{:?}", self.events);
    }

    pub async fn send(&mut self, text: &Value) {
        self.ws.send(text.to_string()).await.expect("open");
    }

    /// Sends a call, and returns its id.
    pub async fn begin(&mut self, event: &str, data: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"event": event, "id": id, "data": data})).await;
        id
    }

    /// Calls the server. Returns the data of the answer, or the error.
    pub async fn call(&mut self, event: &str, data: Value) -> Result<Value, String> {
        let id = self.begin(event, data).await;
        self.answer(id).await
    }

    /// Waits for the answer to a call, and keeps the events before it.
    pub async fn answer(&mut self, id: u64) -> Result<Value, String> {
        loop {
            let message = self.message().await.expect("open");
            if message["ack"] == json!(id) {
                return match message["ok"].as_bool() {
                    Some(true) => Ok(message["data"].clone()),
                    _ => Err(message["error"].as_str().expect("a text").to_owned()),
                };
            }
            self.events.push_back(message);
        }
    }

    /// Returns the next message; `None` at the end of the connection.
    pub async fn message(&mut self) -> Option<Value> {
        let message = timeout(DEADLINE, self.ws.recv()).await.expect("a message in time").ok().flatten()?;
        Some(serde_json::from_str(message.as_text().expect("text")).expect("JSON"))
    }

    /// Returns the next event: its name and its data.
    pub async fn event(&mut self) -> (String, Value) {
        let event = match self.events.pop_front() {
            Some(event) => event,
            None => self.message().await.expect("open"),
        };
        let name = event["event"].as_str().unwrap_or_else(|| panic!("{event}"));
        (name.to_owned(), event["data"].clone())
    }

    /// Returns the data of the next event, which has this name.
    pub async fn expect(&mut self, name: &str) -> Value {
        let (next, data) = self.event().await;
        assert_eq!(next, name, "{data}");
        data
    }

    /// Asserts that no event has come before the answer to a call that is sent now.
    pub async fn expect_nothing(&mut self) {
        self.call("ping", json!({})).await.expect("open");
        assert!(self.events.is_empty(), "{:?}", self.events);
    }

    /// Sends a message to everyone, and returns its acknowledgement.
    pub async fn say(&mut self, text: &str) -> Value {
        self.post(text, "all").await
    }

    pub async fn post(&mut self, text: &str, to: &str) -> Value {
        let data = json!({"client_id": text.replace(' ', "-"), "text": text, "to": to});
        self.call("chat:message", data).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the code of the Close, and the events before it.
    pub async fn closed(&mut self) -> (u16, Vec<Value>) {
        let mut events: Vec<_> = self.events.drain(..).collect();
        while let Some(message) = self.message().await {
            events.push(message);
        }
        let code = self.ws.close_frame().map_or(CloseCode::ABNORMAL, |frame| frame.code());
        (code.get(), events)
    }
}

/// Returns the texts of the messages in an answer.
pub fn texts(history: &Value) -> Vec<String> {
    let messages = history["messages"].as_array().expect("a list").iter();
    messages.map(|message| message["text"].as_str().expect("text").to_owned()).collect()
}
