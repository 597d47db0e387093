//! A client of Socket.IO for tests, over WebSocket or by long polling.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use axum::Router;
use classroom_socketio::{
    app::{App, Settings},
    auth::Role,
};
use fullduplex::serve::Shutdown;
use serde_json::{Value, json};
use socketio::Io;

use crate::support::{self, Poller};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// How long a client may live. A test that waits longer fails, whatever else arrives meanwhile.
const DEADLINE: Duration = Duration::from_secs(120);
pub const PATH: &str = "/socket.io/";

/// A server of this process.
pub struct Server {
    pub address: SocketAddr,
    pub app: App,
    pub io: Io,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts a server after a function has changed its settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let mut settings = Settings {
            secret: SECRET.parse().expect("long enough"),
            allow_origins: Vec::new(),
            max_connections: 100,
            rate: number(1000),
            burst: number(1000),
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(20),
            recovery: Duration::from_secs(3600),
            shutdown: Shutdown::new(),
        };
        change(&mut settings);
        let (app, io, routes): (_, _, Router) = App::serve(&settings);
        Self { address: support::serve(routes).await, app, io }
    }

    /// Returns the token of a link to the class `7b`.
    pub fn link(&self, role: Role) -> String {
        self.app.auth().link(&"7b".parse().expect("valid"), role).expect("signed")
    }

    pub async fn teacher(&self, name: &str) -> Client {
        self.join(Role::Teacher, name).await
    }

    pub async fn student(&self, name: &str) -> Client {
        self.join(Role::Student, name).await
    }

    async fn join(&self, role: Role, name: &str) -> Client {
        let mut client = self.connect(&self.link(role)).await;
        let event = if role == Role::Teacher { "teacher:join" } else { "student:join" };
        let joined = client.call(event, json!({ "name": name })).await;
        assert_eq!(joined["you"]["name"], name, "{joined}");
        client.joined = joined;
        // Those of its own join.
        client.events.clear();
        client
    }

    /// Connects to the namespace of the chat with a token.
    pub async fn connect(&self, token: &str) -> Client {
        self.connect_with("/", json!({ "token": token })).await.expect("accepted")
    }

    /// Connects to a namespace. Fails with the data of `connect_error`.
    pub async fn connect_with(&self, namespace: &str, auth: Value) -> Result<Client, Value> {
        let (ws, _) = support::open_ws(self.address, PATH).await;
        Client::connect(Wire::WebSocket(ws), namespace, auth).await
    }

    pub async fn admin(&self) -> Client {
        let token = self.app.auth().admin().expect("signed");
        self.connect_with("/admin", json!({ "token": token })).await.expect("accepted")
    }
}

/// A transport.
pub enum Wire {
    WebSocket(support::Client),
    Polling(Poller, VecDeque<String>),
}

impl Wire {
    pub async fn polling(address: SocketAddr) -> Self {
        Self::Polling(Poller::open(address, PATH).await, VecDeque::new())
    }

    async fn send(&mut self, packet: &str) {
        match self {
            Self::WebSocket(ws) => ws.send(packet).await.expect("open"),
            Self::Polling(poller, _) => poller.send(packet).await,
        }
    }

    /// Receives a packet of Engine.IO.
    async fn receive(&mut self) -> String {
        match self {
            Self::WebSocket(ws) => support::text(ws).await,
            Self::Polling(poller, received) => {
                while received.is_empty() {
                    received.extend(poller.poll().await.split('\u{1e}').map(str::to_owned));
                }
                received.pop_front().expect("not empty")
            }
        }
    }
}

/// A socket in a namespace.
pub struct Client {
    wire: Wire,
    /// As it is in packets: nothing for the main one.
    namespace: String,
    pub accepted: Value,
    pub joined: Value,
    next_id: u64,
    events: VecDeque<(String, Value)>,
    acks: Vec<(u64, Value)>,
    /// The last position that an event has named.
    pub offset: Value,
    pub is_disconnected: bool,
    begun: Instant,
}

impl Client {
    pub async fn connect(mut wire: Wire, namespace: &str, auth: Value) -> Result<Self, Value> {
        let namespace = if namespace == "/" { String::new() } else { format!("{namespace},") };
        wire.send(&format!("40{namespace}{auth}")).await;
        let answer = wire.receive().await;
        if let Some(refused) = answer.strip_prefix(&format!("44{namespace}")) {
            return Err(serde_json::from_str(refused).expect("JSON"));
        }
        let accepted = answer.strip_prefix(&format!("40{namespace}")).unwrap_or_else(|| panic!("{answer}"));
        Ok(Self {
            wire,
            accepted: serde_json::from_str(accepted).expect("JSON"),
            namespace,
            joined: Value::Null,
            next_id: 0,
            events: VecDeque::new(),
            acks: Vec::new(),
            offset: Value::Null,
            is_disconnected: false,
            begun: Instant::now(),
        })
    }

    /// Returns what the client connects with to be recovered.
    pub fn auth(&self, token: &str) -> Value {
        json!({ "token": token, "pid": self.accepted["pid"], "offset": self.offset })
    }

    /// Returns the token of the person.
    pub fn token(&self) -> String {
        self.joined["token"].as_str().expect("a token").to_owned()
    }

    pub fn id(&self) -> String {
        self.joined["you"]["id"].as_str().expect("an id").to_owned()
    }

    /// Ends the connection without a word.
    pub fn lose(self) {
        drop(self.wire);
    }

    /// Leaves the namespace.
    pub async fn leave(&mut self) {
        let packet = format!("41{}", self.namespace);
        self.wire.send(&packet).await;
    }

    /// Sends any packet of Engine.IO.
    pub async fn send(&mut self, packet: &str) {
        self.wire.send(packet).await;
    }

    pub async fn emit(&mut self, event: &str, data: Value) {
        let packet = format!("42{}{}", self.namespace, json!([event, data]));
        self.wire.send(&packet).await;
    }

    /// Sends an event, and returns its acknowledgement.
    pub async fn call(&mut self, event: &str, data: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        self.wire.send(&format!("42{}{id}{}", self.namespace, json!([event, data]))).await;
        loop {
            if let Some(index) = self.acks.iter().position(|(ack, _)| *ack == id) {
                return self.acks.swap_remove(index).1;
            }
            self.receive().await;
        }
    }

    /// Sends an event that is refused. Returns the code, and asserts that `chat:error` says the same.
    pub async fn refused(&mut self, event: &str, data: Value) -> Value {
        let answer = self.call(event, data).await;
        let error = &answer["error"];
        assert!(error["message"].is_string(), "{answer}");
        assert_eq!(self.event("chat:error").await, error["data"]);
        assert_eq!(error["data"]["event"], event);
        error["data"].clone()
    }

    /// Returns the data of the next event of this name. Others that arrived before are skipped.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            while let Some((event, data)) = self.events.pop_front() {
                if event == name {
                    return data;
                }
            }
            self.receive().await;
        }
    }

    /// Waits until the ids of the participants are as a function wants them.
    pub async fn update(&mut self, is_right: impl Fn(&[String]) -> bool) {
        loop {
            let update = self.event("participants:update").await;
            let list = update["participants"].as_array().expect("a list");
            let ids: Vec<_> = list.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect();
            if is_right(&ids) {
                return;
            }
        }
    }

    /// Waits for the end of the connection. Returns the close code.
    pub async fn closed(mut self) -> Option<u16> {
        match &mut self.wire {
            Wire::WebSocket(ws) => support::closed(ws).await,
            Wire::Polling(..) => panic!("no WebSocket connection"),
        }
    }

    /// Returns the name of the next event that has one of these.
    pub async fn event_of(&mut self, names: &[&str]) -> String {
        loop {
            while let Some((event, _)) = self.events.pop_front() {
                if names.contains(&&*event) {
                    return event;
                }
            }
            self.receive().await;
        }
    }

    /// Returns the names of the events that arrived before the answer to a call.
    pub async fn arrived(&mut self) -> Vec<String> {
        // It is refused, after all that precedes it was sent.
        self.call("nothing", Value::Null).await;
        self.take_events().into_iter().filter(|event| event != "chat:error").collect()
    }

    /// Takes the names of the events that have arrived.
    pub fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events).into_iter().map(|(event, _)| event).collect()
    }

    /// Waits until the server has disconnected the socket.
    pub async fn disconnected(&mut self) {
        while !self.is_disconnected {
            self.receive().await;
        }
    }

    /// Receives one packet, and stores it.
    async fn receive(&mut self) {
        assert!(self.begun.elapsed() < DEADLINE, "what the test waits for has not arrived");
        let packet = self.wire.receive().await;
        if packet == "2" {
            return self.wire.send("3").await;
        }
        let in_namespace = |kind: &str| packet.strip_prefix(kind)?.strip_prefix(&*self.namespace);
        if in_namespace("41").is_some() {
            self.is_disconnected = true;
        } else if let Some(event) = in_namespace("42") {
            let mut event: Vec<Value> = serde_json::from_str(event).expect("JSON");
            if event.len() > 2 {
                self.offset = event.pop().expect("three");
            }
            let data = event.pop().expect("data");
            self.events.push_back((event[0].as_str().expect("a name").to_owned(), data));
        } else if let Some(ack) = in_namespace("43") {
            let (id, arguments) = ack.split_at(ack.find('[').expect("an array"));
            let [argument]: [Value; 1] = serde_json::from_str(arguments).expect("one");
            self.acks.push((id.parse().expect("a number"), argument));
        } else {
            panic!("{packet}");
        }
    }
}
