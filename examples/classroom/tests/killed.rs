//! The program is killed with SIGKILL between messages, and started again.

mod support;

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
use support::{post_json, program::Program};
use tokio::time::{sleep, timeout};

/// The messages of each sender.
const MESSAGES: usize = 150;
const SENDERS: usize = 2;
const KILLS: usize = 4;

/// Where the program is now. The system may give the port of one that was killed to another program,
/// so it is not used again.
type Place = Arc<Mutex<SocketAddr>>;

/// A person whose connection is opened again whenever it is lost, as by the page.
struct Person {
    place: Place,
    ticket: String,
    since: Option<Value>,
    ws: Option<WebSocket<ClientStream>>,
    next: u64,
    /// What was received: offsets and texts, in the order of their arrival.
    received: Vec<(u64, String)>,
}

impl Person {
    /// Enters with the ticket of a link.
    async fn new(place: &Place, link: &str, name: &str) -> Self {
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
        let history = answer.expect("the same person")["history"].clone();
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
    async fn message(&mut self) -> Option<Value> {
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

    async fn connected(&mut self) {
        while self.ws.is_none() {
            if self.connect().await.is_none() {
                self.ws = None;
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Sends a message until it is acknowledged. Returns its offset.
    async fn say(&mut self, text: &str) -> u64 {
        loop {
            self.connected().await;
            match self.exchange("chat:message", json!({"client_id": text, "text": text})).await {
                Some(Ok(posted)) => return posted["offset"].as_u64().expect("a number"),
                Some(Err(error)) => {
                    assert!(error.starts_with("rate:"), "{error}");
                    sleep(Duration::from_millis(50)).await;
                }
                None => self.ws = None,
            }
        }
    }
}

/// Sends all messages of one sender. `count` is how many were acknowledged, of all senders.
async fn talk(mut person: Person, number: usize, count: Arc<AtomicUsize>) -> (Person, Vec<(u64, String)>) {
    let mut acknowledged = Vec::new();
    for message in 0..MESSAGES {
        let text = format!("{number}-{message}");
        acknowledged.push((person.say(&text).await, text));
        count.fetch_add(1, SeqCst);
    }
    (person, acknowledged)
}

async fn start(directory: &std::path::Path) -> Program {
    let directory = directory.to_owned();
    let rate = ["--rate", "1000", "--burst", "1000"];
    let starting = tokio::task::spawn_blocking(move || Program::start(&directory, &rate));
    starting.await.expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_acknowledged_message_is_there_once_in_order_although_the_program_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut program = start(directory.path()).await;
    let [_, student] = program.tickets();
    let place = Place::new(Mutex::new(program.address()));
    let mut reader = Person::new(&place, &student, "Reader").await;
    reader.connected().await;
    let (mut senders, count) = (Vec::new(), Arc::<AtomicUsize>::default());
    for number in 0..SENDERS {
        let person = Person::new(&place, &student, &format!("Sender {number}")).await;
        senders.push(tokio::spawn(talk(person, number, count.clone())));
    }
    let reading = tokio::spawn(async move {
        let is_complete = |reader: &Person| reader.received.len() >= SENDERS * MESSAGES;
        while !is_complete(&reader) {
            reader.connected().await;
            if !is_complete(&reader) {
                reader.message().await;
            }
        }
        reader
    });
    for kill in 1..=KILLS {
        while count.load(SeqCst) < kill * SENDERS * MESSAGES / (KILLS + 1) {
            sleep(Duration::from_millis(1)).await;
        }
        // Sends SIGKILL.
        drop(program);
        assert!(count.load(SeqCst) < SENDERS * MESSAGES, "there are messages left to send");
        program = start(directory.path()).await;
        *place.lock().expect("no panic") = program.address();
    }
    let mut acknowledged = Vec::new();
    for sender in senders {
        let (mut person, sent) = sender.await.expect("no panic");
        let offsets: Vec<_> = sent.iter().map(|(offset, _)| *offset).collect();
        assert!(offsets.is_sorted(), "the messages of one sender are in order");
        acknowledged.extend(sent);
        while person.received.len() < SENDERS * MESSAGES {
            person.connected().await;
            if person.received.len() < SENDERS * MESSAGES {
                person.message().await;
            }
        }
        assert_eq!(person.received.len(), SENDERS * MESSAGES);
    }
    acknowledged.sort_unstable();
    let reader = timeout(Duration::from_secs(60), reading).await.expect("in time").expect("no panic");
    assert_eq!(reader.received, acknowledged);
}
