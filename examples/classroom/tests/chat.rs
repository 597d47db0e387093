//! Messages: to whom they go, when they are acknowledged, and what is refused.

mod support;

use std::time::Duration;

use fullduplex::hub::Memory;
use serde_json::{Value, json};
use support::page::{Options, Page, Server, texts};

/// Three persons who know of each other.
async fn three(server: &Server) -> [Page; 3] {
    let mut teacher = server.teacher("Tess").await;
    let mut ann = server.student("Ann").await;
    teacher.expect("participant:joined").await;
    let bob = server.student("Bob").await;
    for page in [&mut teacher, &mut ann] {
        page.expect("participant:joined").await;
    }
    [teacher, ann, bob]
}

#[tokio::test]
async fn a_message_to_all_reaches_everyone_and_is_acknowledged() {
    let server = Server::start(Options::default()).await;
    let [mut teacher, mut ann, mut bob] = three(&server).await;
    let posted = ann.say("hello").await;
    assert_eq!((&posted["offset"], &posted["duplicate"]), (&json!(1), &json!(false)));
    for page in [&mut teacher, &mut ann, &mut bob] {
        let message = page.expect("chat:message").await;
        assert_eq!(
            message,
            json!({
                "offset": 1, "client_id": "hello", "to": "all", "text": "hello",
                "timestamp": posted["timestamp"],
                "from": {"id": message["from"]["id"], "name": "Ann", "role": "student"},
            })
        );
    }
    assert_eq!(posted["epoch"], ann.joined["history"]["epoch"]);
}

#[tokio::test]
async fn others_me_and_one_person_are_audiences() {
    for engine in [None, Some(Memory::history(1000, Duration::from_secs(3600)))] {
        audiences(Server::start(Options { engine, ..Options::default() }).await).await;
    }
}

async fn audiences(server: Server) {
    let [mut teacher, mut ann, mut bob] = three(&server).await;
    ann.post("to others", "others").await;
    ann.post("to me", "me").await;
    let private = json!({"client_id": "p", "text": "to bob", "to": bob.id()});
    ann.call("chat:private", private).await.expect("sent");
    let received = [
        (&mut teacher, vec![("chat:message", "to others")]),
        (&mut ann, vec![("chat:message", "to me"), ("chat:private", "to bob")]),
        (&mut bob, vec![("chat:message", "to others"), ("chat:private", "to bob")]),
    ];
    for (page, expected) in received {
        for (event, text) in expected {
            assert_eq!(page.expect(event).await["text"], json!(text));
        }
        page.expect_nothing().await;
    }
    // The history of each is what each may see; the sender sees all of it.
    for (page, expected) in [
        (&mut teacher, vec!["to others"]),
        (&mut ann, vec!["to others", "to me", "to bob"]),
        (&mut bob, vec!["to others", "to bob"]),
    ] {
        let history = page.call("chat:history", json!({"after": 0})).await.expect("a page");
        assert_eq!(texts(&history), expected);
        assert_eq!(history["offset"], json!(3));
    }
}

#[tokio::test]
async fn a_private_message_reaches_all_connections_of_both() {
    let server = Server::start(Options::default()).await;
    let token = server.student_token("Ann");
    let mut first = server.open(&token).await;
    first.join("student:join", json!({})).await;
    let mut second = server.open(&token).await;
    second.join("student:join", json!({})).await;
    let mut bob = server.student("Bob").await;
    for page in [&mut first, &mut second] {
        page.expect("participant:joined").await;
    }
    let id = first.id();
    let data = json!({"client_id": "p", "text": "hi", "to": id});
    bob.call("chat:private", data).await.expect("sent");
    for page in [&mut first, &mut second, &mut bob] {
        let message = page.expect("chat:private").await;
        assert_eq!(message["to"], json!({"id": id, "name": "Ann"}));
    }
    let error = bob.call("chat:private", json!({"client_id": "q", "text": "hi", "to": "nobody"})).await;
    assert_eq!(error.expect_err("refused"), "field `data.to`: nobody in the room has this id");
}

#[tokio::test]
async fn the_same_client_id_is_stored_and_sent_once() {
    for engine in [None, Some(Memory::history(1000, Duration::from_secs(3600)))] {
        once(Server::start(Options { engine, ..Options::default() }).await).await;
    }
}

async fn once(server: Server) {
    let [mut teacher, mut ann, mut bob] = three(&server).await;
    let data = json!({"client_id": "c", "text": "one"});
    let first = ann.call("chat:message", data.clone()).await.expect("stored");
    let again = ann.call("chat:message", data.clone()).await.expect("known");
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!((&first["offset"], &first["timestamp"]), (&again["offset"], &again["timestamp"]));
    // That of another person is another message.
    bob.call("chat:message", data).await.expect("stored");
    for page in [&mut teacher, &mut ann, &mut bob] {
        let from = |message: Value| message["from"]["name"].clone();
        assert_eq!(from(page.expect("chat:message").await), json!("Ann"));
        assert_eq!(from(page.expect("chat:message").await), json!("Bob"));
        page.expect_nothing().await;
    }
}

#[tokio::test]
async fn what_is_not_valid_is_refused_with_the_field_and_the_connection_lives() {
    let server = Server::start(Options::default()).await;
    let mut ann = server.student("Ann").await;
    let long = "x".repeat(1001);
    for (event, data, error) in [
        ("chat:message", json!({"client_id": "c"}), "field `data.text` is missing"),
        (
            "chat:message",
            json!({"client_id": "c", "text": 7}),
            "field `data.text`: invalid type, expected a string",
        ),
        (
            "chat:message",
            json!({"client_id": "c", "text": long}),
            "field `data.text`: it is longer than 1000 characters",
        ),
        ("chat:message", json!({"client_id": "c", "text": " "}), "field `data.text`: it is empty"),
        (
            "chat:message",
            json!({"client_id": "a b", "text": "x"}),
            "field `data.client_id`: it has other characters than letters, digits, - and _",
        ),
        (
            "chat:message",
            json!({"client_id": "c", "text": "x", "to": "some"}),
            "field `data.to`: unknown variant, expected one of `all`, `others`, `me`",
        ),
        ("chat:message", json!(7), "field `data`: invalid type, expected struct Post"),
        ("chat:history", json!({}), "field `data.before`: either this or `after` is needed"),
        ("chat:history", json!({"before": -1}), "field `data.before`: invalid value, expected u64"),
        ("chat:history", json!({"before": 1, "limit": 101}), "field `data.limit`: not from 1 to 100"),
        ("student:join", json!({}), "this connection has joined already"),
        ("nonsense", json!({}), "unknown event"),
    ] {
        assert_eq!(ann.call(event, data).await.expect_err(event), error);
    }
    ann.ws.send("{").await.expect("open");
    let notice = ann.message().await.expect("open");
    assert_eq!((&notice["ok"], notice["ack"].is_null()), (&json!(false), true));
    ann.say("still here").await;
}

#[tokio::test]
async fn a_thousand_characters_of_any_kind_are_a_message() {
    let server = Server::start(Options::default()).await;
    let mut ann = server.student("Ann").await;
    let text = "😀".repeat(1000);
    ann.call("chat:message", json!({"client_id": "c", "text": text})).await.expect("stored");
    assert_eq!(ann.expect("chat:message").await["text"], json!(text));
}

#[tokio::test]
async fn typing_is_sent_to_others_at_most_once_in_half_a_second() {
    let server = Server::start(Options::default()).await;
    let [mut teacher, mut ann, mut bob] = three(&server).await;
    for _ in 0..5 {
        ann.send(&json!({"event": "chat:typing", "data": {}})).await;
    }
    ann.say("done").await;
    for page in [&mut teacher, &mut bob] {
        assert_eq!(page.expect("chat:typing").await, json!({"id": ann.id(), "name": "Ann"}));
        // Unless this took half a second, there is one.
        while page.event().await.0 != "chat:message" {}
    }
    ann.expect("chat:message").await;
    ann.expect_nothing().await;
}

#[tokio::test]
async fn who_is_too_fast_is_told_when_to_try_again() {
    let server = Server::start(Options { rate: 1, burst: 5, ..Options::default() }).await;
    let mut ann = server.student("Ann").await;
    let mut refused = 0;
    for _ in 0..8 {
        if let Err(error) = ann.call("ping", json!({})).await {
            assert!(error.starts_with("rate:"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 0, "the burst is 5");
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection() {
    let config = fullduplex::Config::new().max_message_size(16 << 10);
    let server = Server::start(Options { config, ..Options::default() }).await;
    let mut ann = server.student("Ann").await;
    ann.ws.send("x".repeat((16 << 10) + 1)).await.expect("open");
    assert_eq!(ann.closed().await.0, 1009);
}

#[tokio::test]
async fn metrics_count_rooms_and_messages() {
    let server = Server::start(Options::default()).await;
    let [mut teacher, mut ann, _bob] = three(&server).await;
    ann.say("hello").await;
    teacher.expect("chat:message").await;
    let text = server.metrics.export().expect("encodes");
    for line in [
        "classroom_messages_total 1",
        "classroom_rooms 1",
        "classroom_members 3",
        "classroom_connections_open 3",
    ] {
        assert!(text.lines().any(|each| each == line), "{line} in:\n{text}");
    }
    // Three pages received the message, and who joined.
    let sent = text.lines().find_map(|line| line.strip_prefix("classroom_delivered_total{fate=\"sent\"} "));
    assert!(sent.and_then(|sent| sent.parse::<u64>().ok()).is_some_and(|sent| sent >= 3), "{text}");
}

#[tokio::test]
async fn a_page_that_reads_too_slowly_is_closed_and_the_others_go_on() {
    let config = fullduplex::Config::new().max_write_buffer_size(64 << 10);
    let server = Server::start(Options { config, rate: 100_000, burst: 100_000, ..Options::default() }).await;
    let mut ann = server.student("Ann").await;
    // It reads nothing, so that the buffers of the system fill, and then that of the connection.
    let mut slow = server.student("Slow").await;
    ann.expect("participant:joined").await;
    let text = "😀".repeat(1000);
    let mut sent = 0;
    while !server.metrics.export().expect("encodes").contains("{fate=\"closed\"} 1\n") {
        let batch = 200;
        for number in 0..batch {
            let data = json!({"client_id": (sent + number).to_string(), "text": text});
            ann.begin("chat:message", data).await;
        }
        let (mut acknowledged, mut received) = (0, 0);
        while acknowledged < batch || received < batch {
            let message = ann.message().await.expect("open");
            match message["event"].as_str() {
                Some("chat:message") => received += 1,
                Some(event) => assert_eq!(event, "participant:left"),
                None => acknowledged += 1,
            }
        }
        sent += batch;
        assert!(sent < 25_000, "100 MB are queued nowhere");
    }
    let (code, events) = slow.closed().await;
    assert_eq!(code, 1013);
    let offsets: Vec<_> = events.iter().filter_map(|event| event["data"]["offset"].as_u64()).collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "nothing is missing in between");
}
