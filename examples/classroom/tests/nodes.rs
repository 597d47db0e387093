//! Two servers that share their rooms, over an engine in the memory of this process.

mod support;

use std::time::Duration;

use classroom::auth::Secret;
use fullduplex::hub::Memory;
use serde_json::json;
use support::page::{Options, Server, texts};

/// Two servers with the same secret, each with a store of its own.
async fn two() -> [Server; 2] {
    let engine = Memory::history(1000, Duration::from_secs(3600));
    let secret = Secret::random();
    let options =
        || Options { engine: Some(engine.clone()), secret: Some(secret.clone()), ..Options::default() };
    [Server::start(options()).await, Server::start(options()).await]
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
