//! Two servers that share their rooms, over an engine in the memory of this process.

mod support;

use std::time::Duration;

use classroom::{auth::Secret, live::LEAST_KEPT};
use fullduplex::{
    Config,
    hub::{Hub, Memory},
    testing,
};
use serde_json::json;
use support::page::{Options, Server, texts};

/// The messages of each room that the engine keeps.
const KEPT: usize = LEAST_KEPT as usize;

fn engine() -> Memory<String> {
    Memory::history(KEPT, Duration::from_secs(3600))
}

async fn start(engine: &Memory<String>, secret: &Secret) -> Server {
    let (engine, secret) = (Some(engine.clone()), Some(secret.clone()));
    // One test calls faster than a thousand times a second.
    let (rate, burst) = (100_000, 100_000);
    Server::start(Options { engine, secret, rate, burst, ..Options::default() }).await
}

/// Two servers with the same secret.
async fn two() -> [Server; 2] {
    let (engine, secret) = (engine(), Secret::random());
    [start(&engine, &secret).await, start(&engine, &secret).await]
}

#[tokio::test]
async fn who_is_on_another_server_is_in_the_same_room() {
    let [one, two] = two().await;
    let mut tess = one.teacher("Tess").await;
    let mut ann = two.student("Ann").await;
    assert_eq!(ann.joined["participants"].as_array().map(Vec::len), Some(2));
    assert_eq!(tess.expect("participant:joined").await["id"], json!(ann.id()));
    ann.say("hello").await;
    tess.say("good morning").await;
    for page in [&mut tess, &mut ann] {
        assert_eq!(page.expect("chat:message").await["text"], json!("hello"));
        assert_eq!(page.expect("chat:message").await["text"], json!("good morning"));
    }
    let private = json!({"client_id": "p", "text": "secret", "to": tess.id()});
    ann.call("chat:private", private).await.expect("sent");
    assert_eq!(tess.expect("chat:private").await["text"], json!("secret"));
    ann.expect("chat:private").await;
    ann.send(&json!({"event": "chat:typing", "data": {}})).await;
    assert_eq!(tess.expect("chat:typing").await["name"], json!("Ann"));
    // The history is the same, wherever a person comes in, without what is for others.
    let bob = one.student("Bob").await;
    assert_eq!(texts(&bob.joined["history"]), ["hello", "good morning"]);
    let id = ann.id();
    drop(ann);
    assert_eq!(tess.expect("participant:joined").await["name"], json!("Bob"));
    assert_eq!(tess.expect("participant:left").await, json!({"id": id}));
}

#[tokio::test]
async fn what_a_teacher_does_applies_on_all_servers() {
    let [one, two] = two().await;
    let mut tess = one.teacher("Tess").await;
    let token = two.student_token("Ann");
    let mut ann = two.open(&token).await;
    ann.join("student:join", json!({})).await;
    tess.expect("participant:joined").await;
    tess.call("teacher:mute", json!({"id": ann.id()})).await.expect("done");
    for page in [&mut tess, &mut ann] {
        assert_eq!(page.expect("participant:changed").await["muted"], json!(true));
    }
    let error = ann.call("chat:message", json!({"client_id": "c", "text": "x"})).await.expect_err("refused");
    assert_eq!(error, "a teacher has muted you");
    tess.call("teacher:remove-student", json!({"id": ann.id()})).await.expect("done");
    assert_eq!(ann.closed().await.0, 4001);
    for server in [&one, &two] {
        let mut again = server.open(&token).await;
        again.call("student:join", json!({})).await.expect_err("refused");
        assert_eq!(again.closed().await.0, 4001);
    }
    let mut bob = two.student("Bob").await;
    tess.call("room:close", json!({})).await.expect("closed");
    assert_eq!(bob.closed().await.0, 4002);
}

#[tokio::test]
async fn a_name_that_is_used_on_another_server_is_taken() {
    let [one, two] = two().await;
    let mut ann = one.student("Ann").await;
    let mut other = two.open(&two.student_token("ann")).await;
    let error = other.call("student:join", json!({})).await.expect_err("refused");
    assert_eq!(error, "somebody in the room has this name: choose another one");
    assert_eq!(other.closed().await.0, 4003);
    ann.expect_nothing().await;
    drop(ann);
    // As soon as the name is free.
    loop {
        let mut other = two.open(&two.student_token("ann")).await;
        if other.call("student:join", json!({})).await.is_ok() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_join_at_once_with_one_name_one_stays() {
    for _ in 0..20 {
        let [one, two] = two().await;
        let mut first = one.open(&one.student_token("Ann")).await;
        let mut second = two.open(&two.student_token("ANN")).await;
        first.begin("student:join", json!({})).await;
        second.begin("student:join", json!({})).await;
        // Refused, or closed after the answer.
        let (code, mut other) = tokio::select! {
            (code, _) = first.closed() => (code, second),
            (code, _) = second.closed() => (code, first),
        };
        assert_eq!(code, 4003);
        other.call("ping", json!({})).await.expect("the other one stays");
    }
}

#[tokio::test]
async fn of_two_who_have_joined_with_one_name_the_first_one_stays() {
    let engine = engine();
    let server = start(&engine, &Secret::random()).await;
    let room = "maths".to_owned();
    for (since, ann_stays) in [(i64::MAX, true), (0, false)] {
        let mut ann = server.student("Ann").await;
        // Another node that did not know of her, and lets somebody in.
        let other: Hub = Hub::builder().backplane(engine.clone()).build();
        let (_client, connection) = testing::pair(&Config::new());
        let (_receiver, sender) = connection.split();
        let member = other.add_user(sender, "other");
        let person = json!({"id": "other", "name": "ANN", "role": "student", "muted": false, "since": since});
        member.enter(&room, person.to_string()).await.expect("in memory");
        if ann_stays {
            assert_eq!(ann.expect("participant:joined").await["id"], json!("other"));
            ann.expect_nothing().await;
        } else {
            assert_eq!(ann.closed().await.0, 4003);
        }
        drop((ann, member));
        while !other.present(&room).await.expect("in memory").is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_administrator_sees_and_closes_connections_of_all_servers() {
    let [one, two] = two().await;
    let (_ann, mut bob) = (one.student("Ann").await, two.student("Bob").await);
    let mut admin = one.admin().await;
    let stats = admin.call("admin:watch", json!({})).await.expect("stats");
    let room = &stats["rooms"][0];
    assert_eq!((&room["participants"], &room["connections"]), (&json!(2), &json!(1)));
    let list = admin.call("admin:connections", json!({"room": "maths"})).await.expect("a page");
    let list = list["connections"].as_array().expect("a list");
    let of = |name: &str| list.iter().find(|one| one["name"] == name).expect("listed").clone();
    assert_eq!((list.len(), &of("Ann")["address"]), (2, &json!("127.0.0.1")));
    assert!(of("Bob")["since"].is_i64() && of("Bob").get("address").is_none());
    assert!(of("Bob").get("queued_bytes").is_none());
    let close = json!({"id": of("Bob")["id"], "room": "maths"});
    admin.call("admin:close-connection", close).await.expect("closed");
    assert_eq!(bob.closed().await.0, 4004);
    // A room without connections on the server that is asked.
    drop(bob);
    let mut admin = two.admin().await;
    let list = admin.call("admin:connections", json!({"room": "maths"})).await.expect("a page");
    assert_eq!(list["connections"][0]["name"], json!("Ann"));
}

#[tokio::test]
async fn who_was_removed_is_barred_however_much_was_decided_since() {
    let engine = engine();
    let secret = Secret::random();
    let [one, two] = [start(&engine, &secret).await, start(&engine, &secret).await];
    let mut tess = one.teacher("Tess").await;
    let token = two.student_token("Bob");
    let mut bob = two.open(&token).await;
    bob.join("student:join", json!({})).await;
    let ann = two.student("Ann").await;
    for id in [bob.id(), ann.id()] {
        assert_eq!(tess.expect("participant:joined").await["id"], json!(id));
    }
    tess.call("teacher:remove-student", json!({"id": bob.id()})).await.expect("done");
    // Twice as much as the engine keeps.
    for number in 0..2 * KEPT {
        let event = if number % 2 == 0 { "teacher:mute" } else { "teacher:unmute" };
        tess.call(event, json!({"id": ann.id()})).await.expect("done");
    }
    let three = start(&engine, &secret).await;
    let mut again = three.open(&token).await;
    again.call("student:join", json!({})).await.expect_err("refused");
    assert_eq!(again.closed().await.0, 4001);
    assert_eq!(three.student("Eve").await.joined["me"]["muted"], json!(false));
}
