//! A person whose page connects again, also to another server.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use classroom::admission::BEARER_PREFIX;
use fullduplex::{Client, ClientStream, WebSocket};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::post_json;

/// Where the program is now. The system may give the port of one that was killed to another program,
/// so it is not used again.
pub type Place = Arc<Mutex<SocketAddr>>;

/// A person whose connection is opened again whenever it is lost, as by the page.
pub struct Person {
    place: Place,
    ticket: String,
    since: Option<Value>,
    ws: Option<WebSocket<ClientStream>>,
    next: u64,
    /// What was received: offsets and texts, in the order of their arrival.
    pub received: Vec<(u64, String)>,
}

impl Person {
    /// Enters with the ticket of a link.
    pub async fn new(place: &Place, link: &str, name: &str) -> Self {
        let mut person = Self {
            place: place.clone(),
            ticket: String::new(),
            since: None,
            ws: None,
            next: 1,
            received: Vec::new(),
        };
        let issued = person.token(json!({"ticket": link, "name": name})).await.expect("it runs");
        person.ticket = issued["ticket"].as_str().expect("a ticket").to_owned();
        person
    }

    fn address(&self) -> SocketAddr {
        *self.place.lock().expect("no panic")
    }

    /// Returns the answer to the request of a token; `None` if the program does not run.
    async fn token(&self, body: Value) -> Option<Value> {
        let address = self.address();
        let asking = tokio::task::spawn_blocking(move || {
            std::net::TcpStream::connect(address).is_ok().then(|| post_json(address, "/api/token", &body))
        });
        // The program may be killed while it answers.
        let response = asking.await.ok()??;
        (response.status == 200).then(|| response.json())
    }

    /// Opens a connection and joins.
    async fn connect(&mut self) -> Option<()> {
        let issued = self.token(json!({"ticket": self.ticket})).await?;
        let token = issued["token"].as_str().expect("a token");
        let client = Client::default().subprotocol("classroom.v1").bearer_token(BEARER_PREFIX, token);
        let (ws, _) = client.connect(format!("ws://{}/ws", self.address())).await.ok()?;
        self.ws = Some(ws);
        let answer = self.exchange("student:join", json!({"since": self.since})).await?;
        let history = match answer {
            Ok(joined) => joined["history"].clone(),
            Err(error) => {
                assert!(error.starts_with("unavailable:"), "{error}");
                return None;
            }
        };
        assert_eq!(history["lost"], json!(false));
        self.take_history(&history);
        let mut more = history["more"].clone();
        while self.since.is_some() && history["direction"] == "after" && more == json!(true) {
            let after = self.since.as_ref().expect("joined")["offset"].clone();
            let page = self.exchange("chat:history", json!({"after": after})).await?.expect("a page");
            self.take_history(&page);
            more = page["more"].clone();
        }
        Some(())
    }

    fn take_history(&mut self, history: &Value) {
        self.since.get_or_insert(json!({"epoch": history["epoch"], "offset": 0}));
        for message in history["messages"].as_array().expect("a list") {
            self.take(message);
        }
    }

    /// Takes a message, which follows all that were taken.
    fn take(&mut self, message: &Value) {
        let (offset, text) = (message["offset"].as_u64().expect("a number"), message["text"].as_str());
        let since = self.since.as_mut().expect("joined");
        assert!(since["offset"].as_u64() < Some(offset), "{message} after {since}");
        since["offset"] = json!(offset);
        self.received.push((offset, text.expect("a text").to_owned()));
    }

    /// Calls the server; `None` if the connection is lost.
    async fn exchange(&mut self, event: &str, data: Value) -> Option<Result<Value, String>> {
        let id = self.next;
        self.next += 1;
        let call = json!({"event": event, "id": id, "data": data}).to_string();
        self.ws.as_mut()?.send(call).await.ok()?;
        loop {
            let message = self.message().await?;
            if message["ack"] == json!(id) {
                let error = message["error"].as_str().map(str::to_owned);
                return Some(error.map_or(Ok(message["data"].clone()), Err));
            }
        }
    }

    /// Returns the next message, and takes it if it is one of the chat.
    pub async fn message(&mut self) -> Option<Value> {
        let received = timeout(Duration::from_secs(60), self.ws.as_mut()?.recv()).await.expect("in time");
        let Ok(Some(message)) = received else {
            self.ws = None;
            return None;
        };
        let message: Value = serde_json::from_str(message.as_text().expect("text")).expect("JSON");
        if message["event"] == "chat:message" {
            self.take(&message["data"]);
        }
        Some(message)
    }

    pub async fn connected(&mut self) {
        while self.ws.is_none() {
            if self.connect().await.is_none() {
                self.ws = None;
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Sends a message until it is acknowledged. Returns its offset.
    pub async fn say(&mut self, text: &str) -> u64 {
        loop {
            self.connected().await;
            match self.exchange("chat:message", json!({"client_id": text, "text": text})).await {
                Some(Ok(posted)) => return posted["offset"].as_u64().expect("a number"),
                Some(Err(error)) => {
                    assert!(error.starts_with("rate:") || error.starts_with("unavailable:"), "{error}");
                    sleep(Duration::from_millis(50)).await;
                }
                None => self.ws = None,
            }
        }
    }
}

/// Sends all messages of one sender. `count` is how many were acknowledged, of all senders.
pub async fn talk(
    mut person: Person,
    number: usize,
    messages: usize,
    count: Arc<AtomicUsize>,
) -> (Person, Vec<(u64, String)>) {
    let mut acknowledged = Vec::new();
    for message in 0..messages {
        let text = format!("{number}-{message}");
        acknowledged.push((person.say(&text).await, text));
        count.fetch_add(1, SeqCst);
    }
    (person, acknowledged)
}

/// Receives until there are so many messages.
pub async fn read(mut person: Person, messages: usize) -> Person {
    while person.received.len() < messages {
        person.connected().await;
        if person.received.len() < messages {
            person.message().await;
        }
    }
    person
}
