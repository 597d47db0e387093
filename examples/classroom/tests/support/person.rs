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
use hyper::Request;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::try_request;

/// The header field in which a proxy names the program that it has chosen.
pub const PROGRAM: &str = "x-served-by";

/// The limits of the random pauses between attempts to connect: the first one, which is doubled, and
/// the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
const MAX_PAUSE: Duration = Duration::from_secs(1);

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
    /// What was received while pages of the history before it are missing.
    ahead: Option<Vec<Value>>,
    /// What was received: offsets and texts, in the order of their arrival.
    pub received: Vec<(u64, String)>,
    /// The connections, each of which has joined.
    pub entries: Vec<Entry>,
    /// How many messages were sent again although they had been stored.
    pub duplicates: usize,
    /// When the program said whether the engine between programs is away.
    pub delayed: Vec<(Instant, bool)>,
}

/// How a person has come into the room.
#[derive(Debug)]
pub struct Entry {
    /// When the first attempt began, after the connection before it was lost.
    pub began: Instant,
    /// When the room was joined.
    pub joined: Instant,
    /// The program that was reached, if a proxy says it.
    pub program: Option<String>,
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
            ahead: None,
            received: Vec::new(),
            entries: Vec::new(),
            duplicates: 0,
            delayed: Vec::new(),
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
        let request = Request::post("/api/token").header("content-type", "application/json");
        let (status, body) = try_request(self.address(), request, body.to_string()).await.ok()?;
        (status == 200).then(|| serde_json::from_str(&body).expect("JSON"))
    }

    /// Opens a connection and joins. Returns the program that was reached, if a proxy says it.
    async fn connect(&mut self) -> Option<Option<String>> {
        let issued = self.token(json!({"ticket": self.ticket})).await?;
        let token = issued["token"].as_str().expect("a token");
        let client = Client::default().subprotocol("classroom.v1").bearer_token(BEARER_PREFIX, token);
        let (ws, response) = client.connect(format!("ws://{}/ws", self.address())).await.ok()?;
        self.ws = Some(ws);
        let program = response.headers().get(PROGRAM).map(|name| name.to_str().expect("text").to_owned());
        let answer = self.exchange("student:join", json!({"since": self.since})).await?;
        let history = match answer {
            Ok(joined) => joined["history"].clone(),
            Err(error) => {
                assert!(is_temporary(&error), "{error}");
                return None;
            }
        };
        self.take_history(&history);
        if history["direction"] == "after" && history["more"] == json!(true) {
            self.ahead = Some(Vec::new());
            self.read_on().await?;
        }
        Some(program)
    }

    /// Reads the rest of what was missed, page by page, and then takes what was received meanwhile.
    async fn read_on(&mut self) -> Option<()> {
        loop {
            let page = self.exchange("chat:history", json!({"after": self.offset()})).await?;
            let page = page.inspect_err(|error| assert!(is_temporary(error), "{error}")).ok()?;
            self.take_history(&page);
            if page["more"] == json!(false) {
                break;
            }
        }
        // The pages may have the first of these as well.
        let mut ahead = self.ahead.take().unwrap_or_default();
        ahead.retain(|message| message["offset"].as_u64() > Some(self.offset()));
        ahead.iter().for_each(|message| self.take(message));
        Some(())
    }

    fn take_history(&mut self, history: &Value) {
        assert_eq!(history["lost"], json!(false));
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
        match message["event"].as_str() {
            Some("chat:message") => match &mut self.ahead {
                Some(ahead) => ahead.push(message["data"].clone()),
                None => self.take(&message["data"]),
            },
            Some("room:delayed") => {
                self.delayed.push((Instant::now(), message["data"]["delayed"].as_bool().expect("a boolean")));
            }
            Some("history:lost") => panic!("{message}"),
            _ => {}
        }
        Some(message)
    }

    /// Opens a connection, unless there is one, and joins.
    pub async fn connected(&mut self) {
        let began = Instant::now();
        let mut limit = FIRST_PAUSE;
        while self.ws.is_none() {
            if let Some(program) = self.connect().await {
                self.entries.push(Entry { began, joined: Instant::now(), program });
            } else {
                (self.ws, self.ahead) = (None, None);
                sleep(limit.mul_f64(rand::random())).await;
                limit = MAX_PAUSE.min(limit * 2);
            }
        }
    }

    /// Sends a message, and ends the connection at once, without a Close, as a device that leaves its
    /// network.
    pub async fn say_and_disconnect(&mut self, text: &str) {
        self.connected().await;
        let call = json!({"event": "chat:message", "id": 0, "data": {"client_id": text, "text": text}});
        if let Some(mut ws) = self.ws.take() {
            // If the connection is lost, nobody has received the message.
            _ = ws.send(call.to_string()).await;
        }
    }

    /// Follows the same history as another person, from its beginning.
    pub fn begin_as(&mut self, other: &Self) {
        let since = other.since.as_ref().expect("joined");
        self.since = Some(json!({"epoch": since["epoch"], "offset": 0}));
    }

    /// Receives until the program has sent all that it has for this person up to an offset.
    pub async fn read_to(&mut self, offset: u64) {
        loop {
            self.connected().await;
            if self.offset() < offset {
                self.message().await;
            } else if self.exchange("ping", json!({})).await.is_some() {
                // What was sent before the answer has arrived before it.
                return;
            }
        }
    }

    /// Returns the offset of the last message that was received, or 0.
    fn offset(&self) -> u64 {
        self.since.as_ref().and_then(|since| since["offset"].as_u64()).unwrap_or(0)
    }

    /// Sends a message until it is acknowledged. Returns its offset.
    pub async fn say(&mut self, text: &str) -> u64 {
        loop {
            self.connected().await;
            match self.exchange("chat:message", json!({"client_id": text, "text": text})).await {
                Some(Ok(posted)) => {
                    self.duplicates += usize::from(posted["duplicate"] == json!(true));
                    return posted["offset"].as_u64().expect("a number");
                }
                Some(Err(error)) => {
                    assert!(is_temporary(&error), "{error}");
                    sleep(Duration::from_millis(50)).await;
                }
                None => self.ws = None,
            }
        }
    }
}

/// Returns whether a call may be made again.
fn is_temporary(error: &str) -> bool {
    error.starts_with("rate:") || error.starts_with("unavailable:")
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
