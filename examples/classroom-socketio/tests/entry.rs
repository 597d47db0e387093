//! Who may connect, and how sockets come back.

mod client;
#[path = "../../socketio/tests/support/mod.rs"]
mod support;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use classroom_socketio::auth::{Auth, Participant, Pass, Role};
use client::{Client, Server};
use serde_json::{Value, json};
use support::request;

/// Connects, and returns why that is refused.
async fn refused(server: &Server, namespace: &str, auth: Value) -> Value {
    let refused = server.connect_with(namespace, auth).await.err().expect("refused");
    assert!(refused["message"].is_string(), "{refused}");
    refused["data"]["code"].clone()
}

#[tokio::test]
async fn without_a_valid_token_nobody_connects() {
    let server = Server::start().await;
    let link = server.link(Role::Student);
    let (head, rest) = link.split_once('.').expect("three parts");
    let (body, signature) = rest.split_once('.').expect("three parts");
    let mut claims: Value = serde_json::from_slice(&BASE64.decode(body).expect("Base64")).expect("JSON");
    claims["role"] = json!("teacher");
    let teacher = BASE64.encode(claims.to_string());
    let none = BASE64.encode(r#"{"alg":"none"}"#);
    let other = Auth::new(&"another secret of thirty-two bytes".parse().expect("long enough"));
    let class = "7b".parse().expect("valid");
    for token in [
        json!(null),
        json!(""),
        json!(7),
        json!("a.b.c"),
        json!(format!("{head}.{teacher}.{signature}")),
        json!(format!("{none}.{teacher}.")),
        json!(other.link(&class, Role::Teacher).expect("signed")),
        json!(server.app.auth().admin().expect("signed")),
    ] {
        assert_eq!(refused(&server, "/", json!({ "token": token })).await, "token", "{token}");
    }
    assert_eq!(refused(&server, "/", json!({})).await, "token");
    let pass = Pass { class, role: Role::Student, person: None, expires: 1 };
    let (id, name) = ("1".parse().expect("valid"), "Ann".parse().expect("valid"));
    let person = Participant { id, name, role: Role::Student };
    let expired = server.app.auth().person(&pass, &person).expect("signed");
    assert_eq!(refused(&server, "/", json!({ "token": expired })).await, "expired");
    assert!(server.connect_with("/", json!({ "token": link })).await.is_ok());
}

#[tokio::test]
async fn the_administration_has_a_token_of_its_own() {
    let server = Server::start().await;
    for token in [json!(null), json!(""), json!(server.link(Role::Teacher))] {
        assert_eq!(refused(&server, "/admin", json!({ "token": token })).await, "token", "{token}");
    }
    server.admin().await;
}

#[tokio::test]
async fn there_are_no_other_namespaces() {
    let server = Server::start().await;
    let token = server.app.auth().admin().expect("signed");
    let refused = server.connect_with("/other", json!({ "token": token })).await.err().expect("refused");
    assert_eq!(refused["message"], "Invalid namespace");
}

#[tokio::test]
async fn pages_of_other_origins_do_not_connect_unless_they_are_allowed() {
    let allowed = "https://school.example".to_owned();
    let server = Server::with(|settings| settings.allow_origins.push(allowed)).await;
    let own = format!("http://{}", server.address);
    for (origin, status) in [(&*own, 200), ("https://school.example", 200), ("https://evil.example", 403)] {
        let target = "/socket.io/?EIO=4&transport=polling";
        let response = request(server.address, "GET", target, &[("Origin", origin)], "").await;
        assert_eq!(response.status, status, "{origin}");
    }
}

/// Loses a client, and waits until another one, who has joined before it, knows that it has left.
async fn lose(client: Client, witness: &mut Client) -> Value {
    let (auth, id) = (client.auth(&client.token()), client.id());
    witness.update(|ids| ids.contains(&id)).await;
    client.lose();
    witness.update(|ids| !ids.contains(&id)).await;
    auth
}

#[tokio::test]
async fn a_lost_socket_is_recovered_with_its_seat_and_what_it_has_missed() {
    let server = Server::start().await;
    let mut tess = server.teacher("Tess").await;
    let mut ann = server.student("Ann").await;
    ann.call("chat:message", json!({ "client_id": "1", "text": "before" })).await;
    ann.event("chat:message").await;
    let (accepted, id) = (ann.accepted.clone(), ann.id());
    let auth = lose(ann, &mut tess).await;
    for (client_id, text) in [("2", "missed"), ("3", "missed too")] {
        tess.call("chat:message", json!({ "client_id": client_id, "text": text })).await;
    }
    let mut ann = server.connect_with("/", auth).await.expect("accepted");
    assert_eq!(ann.accepted, accepted, "it is recovered");
    for text in ["missed", "missed too"] {
        assert_eq!(ann.event("chat:message").await["text"], text);
    }
    // It is in the class without a join.
    ann.call("chat:message", json!({ "client_id": "4", "text": "after" })).await;
    let message = ann.event("chat:message").await;
    assert_eq!((&message["text"], &message["from"]["id"]), (&json!("after"), &json!(id)));
    tess.update(|ids| ids.contains(&id)).await;
}

#[tokio::test]
async fn a_socket_is_recovered_by_its_person_alone() {
    let server = Server::start().await;
    let mut tess = server.teacher("Tess").await;
    let bob = server.student("Bob").await;
    let other = server.app.auth().link(&"8a".parse().expect("valid"), Role::Student).expect("signed");
    for token in [bob.token(), server.link(Role::Student), other] {
        let ann = server.student("Ann").await;
        let mut auth = lose(ann, &mut tess).await;
        auth["token"] = json!(token);
        assert_eq!(refused(&server, "/", auth.clone()).await, "retry");
        // The next attempt is that of a new socket.
        let again = server.connect_with("/", auth).await.expect("accepted");
        assert!(again.accepted["pid"].is_string());
    }
}

#[tokio::test]
async fn a_student_who_is_removed_while_away_is_not_recovered() {
    let server = Server::start().await;
    let mut tess = server.teacher("Tess").await;
    let ann = server.student("Ann").await;
    // A second window keeps the student in the list.
    let mut window = server.connect(&ann.token()).await;
    window.call("student:join", json!({})).await;
    let (id, personal, auth) = (ann.id(), ann.token(), ann.auth(&server.link(Role::Student)));
    ann.lose();
    let removed = tess.call("teacher:remove-student", json!({ "id": id })).await;
    assert_eq!(removed["id"], json!(id));
    tess.call("chat:message", json!({ "client_id": "1", "text": "not for Ann" })).await;
    let mut with_person = auth.clone();
    with_person["token"] = json!(personal);
    assert_eq!(refused(&server, "/", with_person).await, "removed");
    // Whether the server knows of the loss or not: nothing is recovered with the token of the link.
    if let Ok(mut new) = server.connect_with("/", auth.clone()).await {
        assert_ne!(new.accepted["pid"], auth["pid"]);
        assert_eq!(new.arrived().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_socket_of_a_class_that_was_closed_is_not_recovered() {
    let server = Server::start().await;
    let mut tess = server.teacher("Tess").await;
    let auth = lose(server.student("Ann").await, &mut tess).await;
    server.admin().await.call("admin:close-room", json!({ "room": "7b" })).await;
    assert_eq!(refused(&server, "/", auth).await, "retry");
}

#[tokio::test]
async fn a_lost_socket_whose_name_was_taken_is_disconnected() {
    let server = Server::start().await;
    let mut tess = server.teacher("Tess").await;
    let auth = lose(server.student("Ann").await, &mut tess).await;
    let _other = server.student("Ann").await;
    let mut ann = server.connect_with("/", auth).await.expect("accepted");
    let refused = ann.event("chat:error").await;
    assert_eq!((&refused["event"], &refused["code"]), (&json!("resume"), &json!("name")));
    ann.disconnected().await;
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_seat_up_for_good() {
    let server = Server::start().await;
    let mut tess = server.teacher("Tess").await;
    let mut ann = server.student("Ann").await;
    let (auth, id) = (ann.auth(&ann.token()), ann.id());
    assert!(auth["offset"].is_string(), "it could be recovered if it were lost");
    tess.update(|ids| ids.contains(&id)).await;
    ann.leave().await;
    tess.update(|ids| !ids.contains(&id)).await;
    let again = server.connect_with("/", auth.clone()).await.expect("accepted");
    assert_ne!(again.accepted["pid"], auth["pid"], "it is a new socket");
}
