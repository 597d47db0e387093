//! The administration, and the files of the page.

mod client;
#[path = "../../socketio/tests/support/mod.rs"]
mod support;

use classroom_socketio::auth::Role;
use client::Server;
use serde_json::{Value, json};
use support::request;

#[tokio::test]
async fn rooms_and_sockets_are_counted() {
    let server = Server::start().await;
    let mut admin = server.admin().await;
    let none = json!({ "rooms": [], "sockets": 0, "messages": 0 });
    assert_eq!(admin.call("admin:rooms", Value::Null).await, none);
    let (_tess, mut ann) = (server.teacher("Tess").await, server.student("Ann").await);
    let mut window = server.connect(&ann.token()).await;
    window.call("student:join", json!({})).await;
    ann.call("chat:message", json!({ "client_id": "1", "text": "a" })).await;
    let room = json!({ "name": "7b", "participants": 2, "sockets": 3, "messages": 1 });
    let expected = json!({ "rooms": [room], "sockets": 3, "messages": 1 });
    assert_eq!(admin.call("admin:rooms", json!({})).await, expected);
    let sockets = admin.call("admin:sockets", json!({ "room": "7b" })).await;
    let ids: Vec<_> = sockets["sockets"].as_array().expect("a list").iter().map(|one| &one["id"]).collect();
    assert_eq!(ids[1..], [&ann.accepted["sid"], &window.accepted["sid"]]);
    assert_eq!(sockets["sockets"][1]["participant"], ann.joined["you"]);
    assert!(sockets["sockets"][1]["since"].as_u64().is_some_and(|since| since > 1_600_000_000_000));
}

#[tokio::test]
async fn a_socket_is_disconnected() {
    let server = Server::start().await;
    let (mut admin, mut tess) = (server.admin().await, server.teacher("Tess").await);
    let mut ann = server.student("Ann").await;
    tess.event("participants:update").await;
    let id = json!({ "room": "7b", "id": ann.accepted["sid"] });
    admin.call("admin:disconnect", id.clone()).await;
    assert_eq!(ann.event("admin:disconnected").await["reason"], "an administrator has closed the connection");
    ann.disconnected().await;
    let update = tess.event("participants:update").await;
    assert_eq!(update["participants"].as_array().map(Vec::len), Some(1));
    assert_eq!(admin.refused("admin:disconnect", id).await["field"], "id");
    // The student may come back.
    let mut again = server.connect(&ann.token()).await;
    assert_eq!(again.call("student:join", json!({})).await["you"], ann.joined["you"]);
}

#[tokio::test]
async fn a_room_is_closed_and_begins_anew() {
    let server = Server::start().await;
    let (mut admin, mut tess, mut ann) =
        (server.admin().await, server.teacher("Tess").await, server.student("Ann").await);
    let sent = tess.call("chat:message", json!({ "client_id": "1", "text": "a" })).await;
    assert_eq!(admin.call("admin:close-room", json!({ "room": "7b" })).await["sockets"], 2);
    for member in [&mut tess, &mut ann] {
        assert_eq!(member.event("room:closed").await["reason"], "an administrator has closed the class");
        member.disconnected().await;
    }
    assert_eq!(admin.refused("admin:close-room", json!({ "room": "7b" })).await["field"], "room");
    assert_eq!(admin.refused("admin:sockets", json!({ "room": "7b" })).await["field"], "room");
    let mut again = server.connect(&ann.token()).await;
    let data = json!({ "after": 0, "epoch": ann.joined["epoch"] });
    let joined = again.call("student:join", data).await;
    assert_eq!((&joined["messages"], &joined["complete"]), (&json!([]), &json!(false)));
    // Ids ascend in the new one too.
    let next = again.call("chat:message", json!({ "client_id": "2", "text": "b" })).await;
    assert!(next["id"].as_u64() > sent["id"].as_u64(), "{next} after {sent}");
}

#[tokio::test]
async fn events_of_the_chat_are_not_those_of_the_administration() {
    let server = Server::start().await;
    let mut ann = server.student("Ann").await;
    let mut admin = server.admin().await;
    for event in ["admin:rooms", "admin:sockets", "admin:close-room", "admin:disconnect"] {
        assert_eq!(ann.refused(event, json!({ "room": "7b" })).await["code"], "unknown");
    }
    for event in ["student:join", "chat:message"] {
        assert_eq!(admin.refused(event, json!({})).await["code"], "unknown");
    }
}

#[tokio::test]
async fn pages_come_with_a_policy_that_permits_only_files_of_the_server() {
    let server = Server::start().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/admin", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/vendor/socket.io.min.js", "text/javascript; charset=utf-8"),
    ] {
        let response = request(server.address, "GET", path, &[], "").await;
        assert_eq!((response.status, response.header("content-type")), (200, Some(kind)), "{path}");
        let policy = response.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(request(server.address, "GET", "/healthz", &[], "").await.body, "ok\n");
    assert_eq!(request(server.address, "GET", "/none", &[], "").await.status, 404);
}

#[tokio::test]
async fn the_server_has_a_limit_of_clients() {
    let server = Server::with(|settings| settings.max_connections = 1).await;
    let _ann = server.connect(&server.link(Role::Student)).await;
    let target = "/socket.io/?EIO=4&transport=polling";
    assert_eq!(request(server.address, "GET", target, &[], "").await.status, 503);
}

#[tokio::test]
async fn a_server_that_stops_closes_its_connections() {
    let server = Server::start().await;
    let ann = server.student("Ann").await;
    let (drained, code) = tokio::join!(server.io.close(support::DEADLINE), ann.closed());
    assert_eq!(code, Some(1001));
    assert_eq!((drained.closed, drained.cut_off), (1, 0));
}
