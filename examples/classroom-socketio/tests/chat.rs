//! Each event of a class, and each refusal, over real sockets.

mod client;
#[path = "../../socketio/tests/support/mod.rs"]
mod support;

use std::num::NonZeroU32;

use classroom_socketio::{auth::Role, roster::MAX_SEATS};
use client::{Client, Server, Wire};
use serde_json::{Value, json};

fn names(participants: &Value) -> Vec<String> {
    let list = participants.as_array().expect("a list");
    list.iter()
        .map(|one| format!("{} {}", one["role"].as_str().expect("text"), one["name"].as_str().expect("text")))
        .collect()
}

fn texts(messages: &Value) -> Vec<&str> {
    let list = messages.as_array().expect("a list");
    list.iter().map(|message| message["text"].as_str().expect("text")).collect()
}

fn post(client_id: &str, text: &str) -> Value {
    json!({ "client_id": client_id, "text": text })
}

#[tokio::test]
async fn who_joins_learns_who_is_there_and_the_others_learn_of_it() {
    let server = Server::start().await;
    let mut tess = server.connect(&server.link(Role::Teacher)).await;
    let joined = tess.call("teacher:join", json!({ "name": " Tess " })).await;
    assert_eq!((&joined["class"], &joined["you"]["name"]), (&json!("7b"), &json!("Tess")));
    assert_eq!(
        (names(&joined["participants"]), &joined["complete"]),
        (vec!["teacher Tess".to_owned()], &json!(true))
    );
    assert_eq!(tess.event("teacher:joined").await, json!({ "class": "7b", "you": joined["you"] }));

    let mut ann = server.connect(&server.link(Role::Student)).await;
    let joined = ann.call("student:join", json!({ "name": "Ann" })).await;
    assert_eq!(names(&joined["participants"]), ["teacher Tess", "student Ann"]);
    assert_eq!(ann.event("student:joined").await["you"], joined["you"]);
    assert_eq!(
        names(&tess.event("participants:update").await["participants"]),
        ["teacher Tess", "student Ann"]
    );

    ann.lose();
    assert_eq!(names(&tess.event("participants:update").await["participants"]), ["teacher Tess"]);
}

#[tokio::test]
async fn a_join_needs_a_valid_name_that_nobody_has_and_the_role_of_the_token() {
    let server = Server::start().await;
    let _ann = server.student("Ann").await;
    let mut other = server.connect(&server.link(Role::Student)).await;
    for (data, code) in [
        (json!({}), "name"),
        (Value::Null, "name"),
        (json!({ "name": "" }), "data"),
        (json!({ "name": "a".repeat(41) }), "data"),
        (json!({ "name": "a\u{202e}" }), "data"),
        (json!({ "name": 7 }), "data"),
        (json!({ "name": "ANN" }), "name"),
    ] {
        let refused = other.refused("student:join", data.clone()).await;
        assert_eq!((&refused["code"], &refused["field"]), (&json!(code), &json!("name")), "{data}");
    }
    assert_eq!(other.refused("teacher:join", json!({ "name": "Bob" })).await["code"], "role");
    let joined = other.call("student:join", json!({ "name": "Bob" })).await;
    assert_eq!(joined["you"]["role"], "student");
}

#[tokio::test]
async fn a_message_is_sent_to_all_and_acknowledged_with_the_id_of_the_server() {
    let server = Server::start().await;
    let (mut tess, mut ann) = (server.teacher("Tess").await, server.student("Ann").await);
    let sent = ann.call("chat:message", post("a1", "Good <b>morning</b>")).await;
    assert!(sent["id"].is_u64() && sent["at"].is_u64(), "{sent}");
    for reader in [&mut tess, &mut ann] {
        let message = reader.event("chat:message").await;
        assert_eq!((&message["id"], &message["at"]), (&sent["id"], &sent["at"]));
        assert_eq!((&message["text"], &message["client_id"]), (&json!("Good <b>morning</b>"), &json!("a1")));
        assert_eq!((&message["from"]["name"], &message["from"]["role"]), (&json!("Ann"), &json!("student")));
    }
}

#[tokio::test]
async fn a_message_that_is_sent_again_is_delivered_once() {
    let server = Server::start().await;
    let (mut tess, mut ann) = (server.teacher("Tess").await, server.student("Ann").await);
    let first = ann.call("chat:message", post("a1", "one")).await;
    let again = ann.call("chat:message", post("a1", "one")).await;
    assert_eq!(first, again);
    // The id of a client is its own.
    let other = tess.call("chat:message", post("a1", "two")).await;
    assert_ne!(first["id"], other["id"]);
    for text in ["one", "two"] {
        assert_eq!(ann.event("chat:message").await["text"], text);
    }
    assert_eq!(ann.arrived().await, [""; 0]);
}

#[tokio::test]
async fn messages_that_are_not_valid_are_refused_by_their_field() {
    let server = Server::start().await;
    let mut ann = server.student("Ann").await;
    for (data, field) in [
        (post("a1", ""), "text"),
        (post("a1", &"😀".repeat(1001)), "text"),
        (post("a1", "a\0"), "text"),
        (post("", "a"), "client_id"),
        (post(&"a".repeat(65), "a"), "client_id"),
        (json!({ "client_id": "a1" }), "text"),
        (json!({ "client_id": "a1", "text": ["a"] }), "text"),
        (json!("text"), "data"),
        (Value::Null, "data"),
    ] {
        let refused = ann.refused("chat:message", data.clone()).await;
        assert_eq!((&refused["code"], &refused["field"]), (&json!("data"), &json!(field)), "{data}");
    }
    let longest = ann.call("chat:message", post("a1", &"😀".repeat(1000))).await;
    assert!(longest["id"].is_u64(), "{longest}");
    assert_eq!(ann.event("chat:message").await["id"], longest["id"]);
}

#[tokio::test]
async fn an_event_without_a_handler_is_refused() {
    let server = Server::start().await;
    let mut ann = server.student("Ann").await;
    assert_eq!(ann.refused("room:close", json!({})).await["code"], "unknown");
    let long = ann.call(&"x".repeat(1000), json!({})).await;
    assert_eq!(long["error"]["data"]["event"].as_str().map(str::len), Some(64));
}

#[tokio::test]
async fn who_has_not_joined_can_do_nothing() {
    let server = Server::start().await;
    let mut nobody = server.connect(&server.link(Role::Teacher)).await;
    for (event, data) in [
        ("chat:message", post("a1", "a")),
        ("chat:private", json!({ "to": "1", "client_id": "a1", "text": "a" })),
        ("chat:typing", Value::Null),
        ("teacher:remove-student", json!({ "id": "1" })),
    ] {
        assert_eq!(nobody.refused(event, data).await["code"], "not-joined", "{event}");
    }
}

#[tokio::test]
async fn a_private_message_is_sent_to_two() {
    let server = Server::start().await;
    let (mut tess, mut ann, mut bob) =
        (server.teacher("Tess").await, server.student("Ann").await, server.student("Bob").await);
    let private = json!({ "to": tess.id(), "client_id": "a1", "text": "secret" });
    let sent = ann.call("chat:private", private.clone()).await;
    for reader in [&mut tess, &mut ann] {
        let message = reader.event("chat:private").await;
        assert_eq!((&message["id"], &message["text"]), (&sent["id"], &json!("secret")));
        assert_eq!((&message["from"]["name"], &message["to"]["name"]), (&json!("Ann"), &json!("Tess")));
    }
    assert_eq!(bob.arrived().await, [""; 0]);
    assert_eq!(ann.call("chat:private", private).await, sent, "it is delivered once");
    assert_eq!(tess.arrived().await, ["participants:update"; 0]);
    let refused = ann.refused("chat:private", json!({ "to": "x", "client_id": "a2", "text": "a" })).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("to"), &json!("to")));

    // The history has it for those two.
    for (who, expected) in [(&tess, vec!["secret"]), (&ann, vec!["secret"]), (&bob, vec![])] {
        let mut again = server.connect(&who.token()).await;
        let event = format!("{}:join", who.joined["you"]["role"].as_str().expect("a role"));
        assert_eq!(texts(&again.call(&event, json!({})).await["messages"]), expected);
    }
}

#[tokio::test]
async fn typing_is_said_to_the_others_once_in_a_while() {
    let server = Server::start().await;
    let (mut tess, mut ann) = (server.teacher("Tess").await, server.student("Ann").await);
    // They take less than a half second, or more events may be passed on, but never all.
    for _ in 0..100 {
        ann.emit("chat:typing", Value::Null).await;
    }
    ann.call("chat:message", post("a1", "end")).await;
    assert_eq!(tess.event("chat:typing").await["name"], "Ann");
    let mut passed = 1;
    while tess.event_of(&["chat:typing", "chat:message"]).await == "chat:typing" {
        passed += 1;
    }
    assert!(passed < 50, "{passed} of 100");
    let own = ann.arrived().await;
    assert!(!own.contains(&"chat:typing".to_owned()), "{own:?}");
}

#[tokio::test]
async fn a_teacher_removes_a_student_who_does_not_come_back() {
    let server = Server::start().await;
    let (mut tess, mut ann) = (server.teacher("Tess").await, server.student("Ann").await);
    let mut bob = server.student("Bob").await;
    // A second window of the same person.
    let mut second = server.connect(&ann.token()).await;
    second.call("student:join", json!({})).await;
    let id = json!({ "id": ann.id() });
    assert_eq!(bob.refused("teacher:remove-student", id.clone()).await["code"], "role");
    assert_eq!(tess.call("teacher:remove-student", id.clone()).await, id);
    for window in [&mut ann, &mut second] {
        assert_eq!(
            window.event("student:removed").await["reason"],
            "a teacher has removed you from the class"
        );
        window.disconnected().await;
    }
    loop {
        let update = tess.event("participants:update").await;
        if names(&update["participants"]) == ["teacher Tess", "student Bob"] {
            break;
        }
    }
    for (id, code) in [(id["id"].clone(), "id"), (json!(tess.id()), "id")] {
        assert_eq!(tess.refused("teacher:remove-student", json!({ "id": id })).await["code"], code);
    }
    let refused = server.connect_with("/", json!({ "token": ann.token() })).await.err().expect("refused");
    assert_eq!(refused["data"]["code"], "removed");
    let mut again = server.connect(&server.link(Role::Student)).await;
    assert_eq!(again.refused("student:join", json!({ "name": "ann" })).await["code"], "removed");
    // The same token in the class of others is not concerned.
    let other = server.app.auth().link(&"8a".parse().expect("valid"), Role::Student).expect("signed");
    let mut other = server.connect(&other).await;
    assert_eq!(other.call("student:join", json!({ "name": "Ann" })).await["you"]["name"], "Ann");
}

#[tokio::test]
async fn a_removed_student_reads_nothing_of_what_follows() {
    let server = Server::start().await;
    let (mut tess, mut ann) = (server.teacher("Tess").await, server.student("Ann").await);
    tess.emit("teacher:remove-student", json!({ "id": ann.id() })).await;
    tess.emit("chat:message", post("t1", "not for Ann")).await;
    let private = json!({ "to": ann.id(), "client_id": "t2", "text": "neither" });
    assert_eq!(tess.refused("chat:private", private).await["code"], "to");
    ann.disconnected().await;
    let read = ann.take_events().into_iter().filter(|event| event.starts_with("chat:"));
    assert_eq!(read.collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn who_was_removed_says_nothing_more_before_the_connection_ends() {
    let server = Server::start().await;
    let mut ann = server.student("Ann").await;
    let class = server.app.classes().get(&"7b".parse().expect("valid")).expect("it exists");
    let id = ann.id().parse().expect("valid");
    class.lock().await.roster.remove(&id).expect("a student");
    for (event, data) in [("chat:message", post("a1", "a")), ("chat:typing", Value::Null)] {
        assert_eq!(ann.refused(event, data).await["code"], "not-joined", "{event}");
    }
}

#[tokio::test]
async fn nobody_enters_a_class_while_it_is_being_closed() {
    let server = Server::start().await;
    let _tess = server.teacher("Tess").await;
    let class = server.app.classes().get(&"7b".parse().expect("valid")).expect("it exists");
    class.lock().await.is_closed = true;
    let mut ann = server.connect(&server.link(Role::Student)).await;
    assert_eq!(ann.refused("student:join", json!({ "name": "Ann" })).await["code"], "closed");
}

#[tokio::test]
async fn who_joins_receives_the_last_hundred_messages() {
    let server = Server::start().await;
    let mut tess = server.teacher("Tess").await;
    for number in 0..105 {
        tess.call("chat:message", post(&format!("a{number}"), &number.to_string())).await;
    }
    let ann = server.student("Ann").await;
    let expected: Vec<_> = (5..105).map(|number| number.to_string()).collect();
    assert_eq!(texts(&ann.joined["messages"]), expected);
    assert_eq!(ann.joined["complete"], true);
}

#[tokio::test]
async fn who_joins_again_receives_what_was_missed_and_learns_whether_it_is_all() {
    let server = Server::start().await;
    let (mut tess, ann) = (server.teacher("Tess").await, server.student("Ann").await);
    let mut ids = Vec::new();
    for number in 0..104 {
        let sent = tess.call("chat:message", post(&format!("a{number}"), &number.to_string())).await;
        ids.push(sent["id"].clone());
    }
    let epoch = ann.joined["epoch"].clone();
    for (after, epoch, count, complete) in [
        (&ids[101], &epoch, 2, true),
        (&ids[3], &epoch, 100, true),
        (&ids[2], &epoch, 100, false),
        // Another run of the program.
        (&ids[101], &json!("0"), 100, false),
    ] {
        let mut again = server.connect(&ann.token()).await;
        let joined = again.call("student:join", json!({ "after": after, "epoch": epoch })).await;
        let found = (texts(&joined["messages"]).len(), &joined["complete"]);
        assert_eq!(found, (count, &json!(complete)), "{after} {epoch}");
        assert_eq!((&joined["epoch"], &joined["you"]), (&ann.joined["epoch"], &ann.joined["you"]));
    }
}

#[tokio::test]
async fn a_join_that_is_repeated_has_the_same_answer() {
    let server = Server::start().await;
    let mut ann = server.student("Ann").await;
    let again = ann.call("student:join", json!({ "name": "Other" })).await;
    assert_eq!((&again["you"], &again["participants"]), (&ann.joined["you"], &ann.joined["participants"]));
}

#[tokio::test]
async fn a_person_has_a_limit_of_windows() {
    let server = Server::start().await;
    let mut first = server.student("Ann").await;
    let mut others = Vec::new();
    for _ in 0..MAX_SEATS {
        let mut window = server.connect(&first.token()).await;
        window.call("student:join", json!({})).await;
        others.push(window);
    }
    first.event("chat:replaced").await;
    first.disconnected().await;
    assert_eq!(others[0].arrived().await.last().map(String::as_str), Some("student:joined"));
}

#[tokio::test]
async fn events_that_come_too_fast_are_refused_for_a_while() {
    let few = NonZeroU32::new(3).expect("not zero");
    let server = Server::with(|settings| (settings.rate, settings.burst) = (NonZeroU32::MIN, few)).await;
    let mut ann = server.student("Ann").await;
    for number in 0..10 {
        ann.emit("chat:message", post(&format!("a{number}"), "a")).await;
    }
    let refused = ann.event("chat:error").await;
    assert_eq!((&refused["code"], &refused["event"]), (&json!("rate"), &json!("chat:message")));
    let wait = refused["wait"].as_u64().expect("milliseconds");
    assert!((1..=1000).contains(&wait), "{wait}");
    let long = ann.call(&"x".repeat(1000), json!({})).await;
    assert_eq!(long["error"]["data"]["event"].as_str().map(str::len), Some(64));
    // Another socket has a bucket of its own.
    server.student("Bob").await;
}

#[tokio::test]
async fn packets_that_are_too_large_or_binary_end_the_connection() {
    let server = Server::start().await;
    let mut ann = server.student("Ann").await;
    ann.emit("chat:message", post("a1", &"a".repeat(70_000))).await;
    assert_eq!(ann.closed().await, Some(1009));
    let mut bob = server.student("Bob").await;
    bob.send(r#"451-["chat:message",{"_placeholder":true,"num":0}]"#).await;
    assert_eq!(bob.closed().await, Some(1002));
}

#[tokio::test]
async fn a_client_that_polls_talks_with_one_that_does_not() {
    let server = Server::start().await;
    let mut tess = server.teacher("Tess").await;
    let wire = Wire::polling(server.address).await;
    let auth = json!({ "token": server.link(Role::Student) });
    let mut ann = Client::connect(wire, "/", auth).await.expect("accepted");
    ann.joined = ann.call("student:join", json!({ "name": "Ann" })).await;
    ann.call("chat:message", post("a1", "by polling")).await;
    assert_eq!(tess.event("chat:message").await["text"], "by polling");
    tess.call("chat:message", post("t1", "over WebSocket")).await;
    assert_eq!(ann.event("chat:message").await["text"], "by polling");
    assert_eq!(ann.event("chat:message").await["text"], "over WebSocket");
}
