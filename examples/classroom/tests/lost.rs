//! Messages that Redis no longer has: who was away, or whose program was, is told of the gap.

mod support;

use std::{sync::Mutex, time::Duration};

use serde_json::json;
use support::{
    engine::{Engine, execute, free_port, redis},
    page::{Page, texts},
    person::{Person, Place},
    post_json,
    program::Program,
};
use tokio::time::timeout;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The key of the messages of the room.
const LOG: &str = "classroom:{room:class}:log";

async fn start(url: &str) -> (Program, String) {
    let url = url.to_owned();
    let starting = tokio::task::spawn_blocking(move || {
        let directory = tempfile::tempdir().expect("a directory");
        let limits = ["--rate", "1000", "--burst", "1000", "--links", "--jwt-secret", SECRET];
        let mut program = Program::start(directory.path(), &[&limits[..], &["--redis", &url]].concat());
        let [_, student] = program.tickets();
        (program, student)
    });
    starting.await.expect("it starts")
}

/// Opens a connection of a person, who has a ticket, or comes with a link.
async fn open(program: &Program, ticket: &str, name: Option<&str>) -> (Page, String) {
    let (address, body) = (program.address(), json!({"ticket": ticket, "name": name}));
    let asking = tokio::task::spawn_blocking(move || post_json(address, "/api/token", &body));
    let issued = asking.await.expect("answered").json();
    let text = |name: &str| issued[name].as_str().unwrap_or_else(|| panic!("{issued}")).to_owned();
    (Page::open(program.address(), "/ws", "classroom.v1", &text("token")).await, text("ticket"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_while_messages_were_removed_is_told_of_the_gap() {
    let (port, directory) = (free_port(), tempfile::tempdir().expect("a directory"));
    let _engine = Engine::start(&mut redis(directory.path(), port), port).await;
    let (first, link) = start(&format!("redis://127.0.0.1:{port}")).await;
    let (second, _) = start(&format!("redis://127.0.0.1:{port}")).await;

    let mut sender = Person::new(&Place::new(Mutex::new(first.address())), &link, "Sender").await;
    sender.say("before").await;
    // One page has no connection, and the program of another one does not run for a while.
    let (mut away, ticket) = open(&first, &link, Some("Away")).await;
    away.join("student:join", json!({})).await;
    let since = json!({"epoch": away.joined["history"]["epoch"], "offset": away.joined["history"]["offset"]});
    drop(away);
    let (mut behind, _) = open(&second, &link, Some("Behind")).await;
    behind.join("student:join", json!({})).await;
    second.signal("STOP");
    // What is sent meanwhile must not wait in its connection.
    assert!(execute(port, "CLIENT KILL TYPE pubsub").starts_with(':'));
    for number in 0..50 {
        sender.say(&format!("number-{number}")).await;
    }
    assert_eq!(execute(port, &format!("XTRIM {LOG} MAXLEN 10")), ":41");
    second.signal("CONT");

    let (mut away, _) = open(&first, &ticket, None).await;
    away.join("student:join", json!({"since": since})).await;
    let history = &away.joined["history"];
    assert_eq!((&history["direction"], &history["lost"]), (&json!("after"), &json!(true)));
    let kept: Vec<_> = (40..50).map(|number| format!("number-{number}")).collect();
    assert_eq!(texts(history), kept);

    let mut received = Vec::new();
    let mut lost = None;
    let receiving = async {
        while received.len() < kept.len() {
            let (event, data) = behind.event().await;
            match event.as_str() {
                "history:lost" => lost = Some((data, received.len())),
                "chat:message" => received.push(data["text"].as_str().expect("text").to_owned()),
                _ => {}
            }
        }
    };
    timeout(Duration::from_secs(60), receiving).await.expect("in time");
    assert_eq!(received, kept);
    let told = (json!({"epoch": since["epoch"], "offset": 41}), 0);
    assert_eq!(lost, Some(told), "before the messages that follow the gap");
}
