//! What a teacher or an administrator decides, on several programs and real engines, any of which may
//! be away.

mod support;

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use support::{
    engine::{Engine, execute, free_port, nats, redis},
    page::Page,
    post_json,
    program::Program,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const DEADLINE: Duration = Duration::from_secs(60);

/// An engine that is started and killed, and the programs that use it.
struct Setup {
    option: &'static str,
    command: fn(&Path, u16) -> Command,
    url: String,
    port: u16,
    directory: TempDir,
}

impl Setup {
    fn redis() -> Self {
        Self::new("--redis", "redis", redis)
    }

    fn nats() -> Self {
        Self::new("--nats", "nats", nats)
    }

    fn new(option: &'static str, scheme: &str, command: fn(&Path, u16) -> Command) -> Self {
        let port = free_port();
        let url = format!("{scheme}://127.0.0.1:{port}");
        Self { option, command, url, port, directory: tempfile::tempdir().expect("a directory") }
    }

    async fn engine(&self) -> Engine {
        Engine::start(&mut (self.command)(self.directory.path(), self.port), self.port).await
    }

    async fn node(&self) -> Node {
        let (option, url) = (self.option, self.url.clone());
        let starting = tokio::task::spawn_blocking(move || {
            let directory = tempfile::tempdir().expect("a directory");
            let args = ["--rate", "1000", "--burst", "1000", "--links", "--jwt-secret", SECRET, option, &url];
            let mut program = Program::start(directory.path(), &args);
            let tickets = program.tickets();
            Node { program, tickets, directory }
        });
        starting.await.expect("it starts")
    }
}

/// A program, and the tickets of its links.
struct Node {
    program: Program,
    tickets: [String; 3],
    directory: TempDir,
}

/// A person, who may enter by any node.
struct Person {
    /// The ticket of the person alone.
    ticket: String,
    /// A token, which was issued before.
    token: String,
    role: &'static str,
}

impl Node {
    fn address(&self) -> SocketAddr {
        self.program.address()
    }

    /// Returns the answer to a request of a token, or the code of the refusal.
    async fn token(&self, body: Value) -> Result<Value, String> {
        let address = self.address();
        let asking = tokio::task::spawn_blocking(move || post_json(address, "/api/token", &body));
        let response = asking.await.expect("answered");
        let answer = response.json();
        match response.status {
            200 => Ok(answer),
            _ => Err(answer["code"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()),
        }
    }

    /// Lets a person come with a link.
    async fn person(&self, role: &'static str, name: &str) -> Result<Person, String> {
        let [teacher, student, _] = &self.tickets;
        let link = if role == "teacher" { teacher } else { student };
        let issued = self.token(json!({"ticket": link, "name": name})).await?;
        let text = |name: &str| issued[name].as_str().expect("text").to_owned();
        Ok(Person { ticket: text("ticket"), token: text("token"), role })
    }

    /// Opens a connection of a person. Returns it, and the answer to the join.
    async fn open(&self, person: &Person, data: Value) -> (Page, Result<Value, String>) {
        let mut page = Page::open(self.address(), "/ws", "classroom.v1", &person.token).await;
        let answer = page.call(&format!("{}:join", person.role), data).await;
        page.joined = answer.clone().unwrap_or_default();
        (page, answer)
    }

    async fn enter(&self, person: &Person) -> Page {
        let (page, answer) = self.open(person, json!({})).await;
        answer.unwrap_or_else(|error| panic!("{error}"));
        page
    }

    async fn join(&self, role: &'static str, name: &str) -> Page {
        self.enter(&self.person(role, name).await.expect("admitted")).await
    }

    async fn admin(&self) -> Page {
        let issued = self.token(json!({"ticket": self.tickets[2]})).await.expect("admitted");
        let token = issued["token"].as_str().expect("text");
        Page::open(self.address(), "/admin/ws", "classroom.admin.v1", token).await
    }

    /// Asserts that a person is refused, with the token of before, with the ticket, and with a new link.
    async fn refuses(&self, person: &Person, name: &str, code: u16, reason: &str) {
        let (mut page, answer) = self.open(person, json!({})).await;
        answer.expect_err("refused");
        assert_eq!(page.closed().await.0, code);
        assert_eq!(self.token(json!({"ticket": person.ticket})).await, Err(reason.to_owned()));
        assert_eq!(self.person("student", name).await.err().as_deref(), Some(reason));
    }
}

/// Lets a teacher remove a person, as soon as the teacher's node knows of the person.
async fn remove(teacher: &mut Page, id: &str) {
    let removing = async {
        while let Err(error) = teacher.call("teacher:remove-student", json!({"id": id})).await {
            assert_eq!(error, "field `data.id`: nobody in the room has this id");
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, removing).await.expect("in time");
}

/// Waits until an event has come, among others.
async fn until(page: &mut Page, name: &str) -> Value {
    let waiting = async {
        loop {
            let (event, data) = page.event().await;
            if event == name {
                return data;
            }
        }
    };
    timeout(DEADLINE, waiting).await.expect("in time")
}

async fn a_node_that_was_down_knows_what_was_decided(setup: Setup) {
    let _engine = setup.engine().await;
    let (first, second) = (setup.node().await, setup.node().await);
    let bob = second.person("student", "Bob").await.expect("admitted");
    drop(second.enter(&bob).await);
    drop(second);
    let mut tess = first.join("teacher", "Tess").await;
    let mut page = first.enter(&bob).await;
    remove(&mut tess, &page.id()).await;
    assert_eq!(page.closed().await.0, 4001);
    let second = setup.node().await;
    second.refuses(&bob, "bob", 4001, "removed").await;
    first.refuses(&bob, "bob", 4001, "removed").await;
    second.join("student", "Ann").await;
    assert!(!second.directory.path().join("classroom.sqlite").exists(), "the engine has everything");
}

async fn a_node_that_starts_later_knows_what_was_decided_although_the_engine_was_killed(setup: Setup) {
    let engine = setup.engine().await;
    let (first, second) = (setup.node().await, setup.node().await);
    let mut tess = first.join("teacher", "Tess").await;
    let [bob, eve] = ["Bob", "Eve"].map(|name| second.person("student", name));
    let (bob, eve) = (bob.await.expect("admitted"), eve.await.expect("admitted"));
    let (mut page_of_bob, mut page_of_eve) = (second.enter(&bob).await, second.enter(&eve).await);
    until(&mut tess, "participant:joined").await;
    until(&mut tess, "participant:joined").await;
    tess.call("teacher:mute", json!({"id": page_of_eve.id()})).await.expect("done");
    assert_eq!(until(&mut page_of_eve, "participant:changed").await["muted"], json!(true));
    remove(&mut tess, &page_of_bob.id()).await;
    assert_eq!(page_of_bob.closed().await.0, 4001);

    drop(engine);
    assert_eq!(until(&mut page_of_eve, "room:delayed").await["delayed"], json!(true));
    let _engine = setup.engine().await;
    assert_eq!(until(&mut page_of_eve, "room:delayed").await["delayed"], json!(false));

    let third = setup.node().await;
    third.refuses(&bob, "BOB", 4001, "removed").await;
    let mut again = third.enter(&eve).await;
    assert_eq!(again.joined["me"]["muted"], json!(true));
    let error =
        again.call("chat:message", json!({"client_id": "c", "text": "x"})).await.expect_err("refused");
    assert_eq!(error, "a teacher has muted you");

    // What is decided after it holds on all nodes as well.
    third.admin().await.call("admin:close-room", json!({"room": "class"})).await.expect("closed");
    for page in [&mut tess, &mut page_of_eve, &mut again] {
        assert_eq!(page.closed().await.0, 4002);
    }
    second.refuses(&eve, "Eve", 4002, "closed").await;
    let fourth = setup.node().await;
    fourth.refuses(&eve, "Eve", 4002, "closed").await;
    let teacher = fourth.person("teacher", "Tom").await.expect("admitted");
    let (mut page, answer) = fourth.open(&teacher, json!({})).await;
    answer.expect_err("refused");
    assert_eq!(page.closed().await.0, 4002);
    let (_page, answer) = fourth.open(&teacher, json!({"reopen": true})).await;
    answer.expect("opened again");
    assert_eq!(first.enter(&eve).await.joined["me"]["muted"], json!(true));
}

async fn nobody_joins_before_it_is_known_what_was_decided(setup: Setup) {
    let engine = setup.engine().await;
    let first = setup.node().await;
    let mut tess = first.join("teacher", "Tess").await;
    let [ann, bob] = ["Ann", "Bob"].map(|name| first.person("student", name));
    let (ann, bob) = (ann.await.expect("admitted"), bob.await.expect("admitted"));
    let mut page = first.enter(&bob).await;
    remove(&mut tess, &page.id()).await;
    page.closed().await;
    drop(engine);
    let second = setup.node().await;
    for node in [&first, &second] {
        let (mut page, answer) = node.open(&ann, json!({})).await;
        let error = answer.expect_err("refused");
        assert!(error.starts_with("unavailable:"), "{error}");
        assert_eq!(page.closed().await.0, 1011);
        assert_eq!(node.token(json!({"ticket": ann.ticket})).await, Err("unavailable".to_owned()));
    }
    let error = tess.call("room:close", json!({})).await.expect_err("not decided");
    assert!(error.starts_with("unavailable:"), "{error}");
    let _engine = setup.engine().await;
    for node in [&first, &second] {
        let entering = async {
            while node.token(json!({"ticket": ann.ticket})).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DEADLINE, entering).await.expect("in time");
        node.enter(&ann).await;
        node.refuses(&bob, "Bob", 4001, "removed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_redis_a_node_that_was_down_knows_who_was_removed() {
    a_node_that_was_down_knows_what_was_decided(Setup::redis()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_nats_a_node_that_was_down_knows_who_was_removed() {
    a_node_that_was_down_knows_what_was_decided(Setup::nats()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_redis_a_node_that_starts_later_knows_what_was_decided() {
    a_node_that_starts_later_knows_what_was_decided_although_the_engine_was_killed(Setup::redis()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_nats_a_node_that_starts_later_knows_what_was_decided() {
    a_node_that_starts_later_knows_what_was_decided_although_the_engine_was_killed(Setup::nats()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_redis_nobody_joins_before_it_is_known_what_was_decided() {
    nobody_joins_before_it_is_known_what_was_decided(Setup::redis()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_nats_nobody_joins_before_it_is_known_what_was_decided() {
    nobody_joins_before_it_is_known_what_was_decided(Setup::nats()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_has_lost_is_published_again_by_a_node_that_knows_it() {
    let setup = Setup::redis();
    let _engine = setup.engine().await;
    let first = setup.node().await;
    let mut tess = first.join("teacher", "Tess").await;
    let bob = first.person("student", "Bob").await.expect("admitted");
    let mut page = first.enter(&bob).await;
    remove(&mut tess, &page.id()).await;
    page.closed().await;
    assert_eq!(execute(setup.port, "FLUSHALL"), "+OK");
    first.refuses(&bob, "Bob", 4001, "removed").await;
    let second = setup.node().await;
    let barred = async {
        while second.token(json!({"ticket": bob.ticket})).await != Err("removed".to_owned()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, barred).await.expect("in time");
    second.refuses(&bob, "Bob", 4001, "removed").await;
}
