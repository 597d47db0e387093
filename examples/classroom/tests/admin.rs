//! The administration: what it shows, and what it closes.

mod support;

use serde_json::{Value, json};
use support::page::{Options, Server};

#[tokio::test]
async fn stats_are_sent_each_second() {
    let server = Server::start(Options::default()).await;
    let mut admin = server.admin().await;
    let stats = admin.call("admin:watch", json!({})).await.expect("stats");
    assert_eq!(stats, json!({"rooms": [], "connections": 0, "messages_per_second": 0, "slow": []}));
    let mut ann = server.student("Ann").await;
    let token = server.student_token("Bob");
    let mut bob = Vec::new();
    for _ in 0..2 {
        let mut page = server.open(&token).await;
        page.join("student:join", json!({})).await;
        bob.push(page);
    }
    // Those of the last second are counted at the end of it.
    for number in 0.. {
        ann.say(&number.to_string()).await;
        let stats = admin.expect("admin:stats").await;
        let room = &stats["rooms"][0];
        let counts = (&room["name"], &room["participants"], &room["connections"]);
        assert_eq!(counts, (&json!("maths"), &json!(2), &json!(3)));
        assert_eq!(stats["connections"], json!(3));
        assert_eq!(stats["messages_per_second"], room["messages_per_second"]);
        if stats["messages_per_second"] != json!(0) {
            break;
        }
    }
}

#[tokio::test]
async fn connections_are_listed_by_pages_and_closed() {
    let server = Server::start(Options::default()).await;
    let mut pages = Vec::new();
    for number in 0..105 {
        pages.push(server.student(&format!("student {number}")).await);
    }
    let mut admin = server.admin().await;
    let first = admin.call("admin:connections", json!({"room": "maths"})).await.expect("a page");
    let list = first["connections"].as_array().expect("a list").clone();
    assert_eq!((list.len(), &first["more"]), (100, &json!(true)));
    let ask = json!({"room": "maths", "after": list[99]["id"]});
    let rest = admin.call("admin:connections", ask).await.expect("a page");
    let names: Vec<_> =
        rest["connections"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, (100..105).map(|number| json!(format!("student {number}"))).collect::<Vec<Value>>());
    assert_eq!(rest["more"], json!(false));
    let one = &list[7];
    assert_eq!(
        (&one["role"], &one["room"], &one["address"]),
        (&json!("student"), &json!("maths"), &json!("127.0.0.1"))
    );
    admin.call("admin:close-connection", json!({"id": one["id"]})).await.expect("closed");
    assert_eq!(pages[7].closed().await.0, 4004);
    for (data, error) in [
        (json!({"id": "7"}), "field `data.id`: not two hexadecimal numbers with a hyphen between them"),
        (
            json!({"id": "7-7"}),
            "field `data.id`: no connection of this node has this id; for one of another, `data.room` is needed",
        ),
        (json!({"id": "7-7", "room": "maths"}), "field `data.id`: no connection in the room has this id"),
        (json!({}), "field `data.id` is missing"),
    ] {
        assert_eq!(admin.call("admin:close-connection", data).await.expect_err("refused"), error);
    }
    let other = admin.call("admin:connections", json!({"room": "art"})).await.expect("a page");
    assert_eq!(other, json!({"connections": [], "more": false}));
}

#[tokio::test]
async fn a_room_is_closed_for_everyone() {
    let server = Server::start(Options::default()).await;
    let mut teacher = server.teacher("Tess").await;
    let mut admin = server.admin().await;
    admin.call("admin:close-room", json!({"room": "maths"})).await.expect("closed");
    let (code, events) = teacher.closed().await;
    let closed = json!({"event": "room:closed", "data": {"by": "an administrator"}});
    assert_eq!((code, events), (4002, vec![closed]));
    let mut ann = server.open(&server.student_token("Ann")).await;
    ann.call("student:join", json!({})).await.expect_err("refused");
    assert_eq!(ann.closed().await.0, 4002);
}
