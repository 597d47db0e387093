//! Rooms: joining, the history, who is there, and what teachers do.

mod support;

use std::time::Duration;

use classroom::store;
use fullduplex::{CloseCode, hub::Memory};
use serde_json::{Value, json};
use support::page::{Options, Page, Server, texts};

const HOUR: Duration = Duration::from_secs(3600);

fn names(list: &Value) -> Vec<&str> {
    let mut names: Vec<_> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|person| person["name"].as_str().expect("a name"))
        .collect();
    names.sort_unstable();
    names
}

async fn fill(page: &mut Page, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        page.say(&number.to_string()).await;
        page.expect("chat:message").await;
    }
}

fn numbers(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

// --- joining

#[tokio::test]
async fn a_join_is_answered_with_the_person_the_room_and_those_in_it() {
    let server = Server::start(Options::default()).await;
    let teacher = server.teacher("Tess").await;
    let ann = server.student("Ann").await;
    let joined = &ann.joined;
    assert_eq!(joined["me"], json!({"id": ann.id(), "name": "Ann", "role": "student", "muted": false}));
    assert_eq!(joined["room"], json!({"name": "maths", "delayed": false}));
    assert_eq!(names(&joined["participants"]), ["Ann", "Tess"]);
    let history = &joined["history"];
    assert_eq!((&history["direction"], &history["messages"]), (&json!("before"), &json!([])));
    assert_eq!(names(&teacher.joined["participants"]), ["Tess"]);
}

#[tokio::test]
async fn the_first_event_has_to_be_a_join_of_the_role() {
    let server = Server::start(Options::default()).await;
    for (token, event, code) in [
        (server.student_token("Ann"), "chat:message", 1008),
        (server.student_token("Ann"), "teacher:join", 4005),
        (server.teacher_token("Tess"), "student:join", 4005),
    ] {
        let mut page = server.open(&token).await;
        page.call(event, json!({})).await.expect_err("refused");
        assert_eq!(page.closed().await.0, code, "{event}");
    }
    let mut page = server.open(&server.student_token("Ann")).await;
    page.ws.send("{").await.expect("open");
    assert_eq!(page.message().await.expect("open")["ok"], json!(false));
    let error = page.call("student:join", json!({"since": {"epoch": "a"}})).await.expect_err("refused");
    assert_eq!(error, "field `data.since.offset` is missing");
    page.join("student:join", json!({})).await;
}

#[tokio::test]
async fn who_does_not_join_in_time_is_closed() {
    let options = Options { join_timeout: Duration::from_millis(100), ..Options::default() };
    let server = Server::start(options).await;
    let mut page = server.open(&server.student_token("Ann")).await;
    assert_eq!(page.closed().await, (1008, Vec::new()));
}

#[tokio::test]
async fn a_name_that_looks_like_that_of_another_person_is_refused() {
    let server = Server::start(Options::default()).await;
    let ann = server.student("Ann").await;
    let mut other = server.open(&server.student_token("ANN")).await;
    other.call("student:join", json!({})).await.expect_err("refused");
    assert_eq!(other.closed().await.0, 4003);
    drop(ann);
    let free = async {
        loop {
            let mut again = server.open(&server.student_token("ann")).await;
            if again.call("student:join", json!({})).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), free).await.expect("the name becomes free");
}

// --- history

#[tokio::test]
async fn a_join_has_the_last_hundred_messages_and_older_ones_come_by_pages() {
    for engine in [None, Some(Memory::history(1000, HOUR))] {
        pages(Server::start(Options { engine, ..Options::default() }).await).await;
    }
}

async fn pages(server: Server) {
    let mut ann = server.student("Ann").await;
    fill(&mut ann, 1..=250).await;
    let mut bob = server.student("Bob").await;
    let history = bob.joined["history"].clone();
    assert_eq!(texts(&history), numbers(151..=250));
    assert_eq!(
        (&history["more"], &history["lost"], &history["offset"]),
        (&json!(true), &json!(false), &json!(250))
    );
    let page = bob.call("chat:history", json!({"before": 151})).await.expect("a page");
    assert_eq!((texts(&page), &page["more"]), (numbers(51..=150), &json!(true)));
    let page = bob.call("chat:history", json!({"before": 51, "limit": 60})).await.expect("a page");
    assert_eq!((texts(&page), &page["more"], &page["lost"]), (numbers(1..=50), &json!(false), &json!(false)));
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_and_then_what_is_live() {
    for engine in [None, Some(Memory::history(1000, HOUR))] {
        comes_back(Server::start(Options { engine, ..Options::default() }).await).await;
    }
}

async fn comes_back(server: Server) {
    let mut ann = server.student("Ann").await;
    fill(&mut ann, 1..=10).await;
    let epoch = ann.joined["history"]["epoch"].clone();
    let token = server.student_token("Bob");
    let mut bob = server.open(&token).await;
    bob.join("student:join", json!({"since": {"epoch": epoch, "offset": 4}})).await;
    let history = bob.joined["history"].clone();
    assert_eq!((texts(&history), &history["direction"]), (numbers(5..=10), &json!("after")));
    assert_eq!((&history["more"], &history["lost"]), (&json!(false), &json!(false)));
    ann.expect("participant:joined").await;
    fill(&mut ann, 11..=150).await;
    for number in 11..=150 {
        assert_eq!(bob.expect("chat:message").await["offset"], json!(number));
    }
    drop(bob);
    // More than a page: the rest comes by calls.
    let mut bob = server.open(&token).await;
    bob.join("student:join", json!({"since": {"epoch": epoch, "offset": 10}})).await;
    let history = &bob.joined["history"];
    assert_eq!((texts(history), &history["more"]), (numbers(11..=110), &json!(true)));
    let page = bob.call("chat:history", json!({"after": 110})).await.expect("a page");
    assert_eq!((texts(&page), &page["more"]), (numbers(111..=150), &json!(false)));
}

#[tokio::test]
async fn what_was_removed_or_is_of_another_history_is_said_to_be_lost() {
    for engine in [None, Some(Memory::history(20, HOUR))] {
        let store = store::Settings::memory(20);
        lost(Server::start(Options { store, engine, ..Options::default() }).await).await;
    }
}

async fn lost(server: Server) {
    let mut ann = server.student("Ann").await;
    fill(&mut ann, 1..=50).await;
    let epoch = ann.joined["history"]["epoch"].clone();
    let token = server.student_token("Bob");
    for (since, direction, lost) in [
        (json!({"epoch": epoch, "offset": 5}), "after", true),
        (json!({"epoch": epoch, "offset": 30}), "after", false),
        (json!({"epoch": epoch, "offset": 99}), "before", true),
        (json!({"epoch": "another", "offset": 5}), "before", true),
    ] {
        let mut bob = server.open(&token).await;
        bob.join("student:join", json!({"since": since})).await;
        let history = &bob.joined["history"];
        assert_eq!((&history["direction"], &history["lost"]), (&json!(direction), &json!(lost)), "{since}");
        assert_eq!(texts(history), numbers(31..=50));
    }
}

/// Joins while others talk: each message is in the history or comes live, once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn joining_while_others_talk_loses_and_repeats_nothing() {
    for engine in [None, Some(Memory::history(1000, HOUR))] {
        join_meanwhile(Server::start(Options { engine, ..Options::default() }).await).await;
    }
}

async fn join_meanwhile(server: Server) {
    const COUNT: u64 = 400;
    let mut ann = server.student("Ann").await;
    let talking = tokio::spawn(async move {
        for number in 1..=COUNT {
            ann.say(&number.to_string()).await;
        }
        ann
    });
    let mut joined = Vec::new();
    for number in 0..20 {
        joined.push(server.student(&format!("student {number}")).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ann = talking.await.expect("no panic");
    for mut page in joined {
        let history = page.joined["history"].clone();
        let mut last = history["offset"].as_u64().expect("an offset");
        let listed = history["messages"]
            .as_array()
            .expect("a list")
            .last()
            .and_then(|message| message["offset"].as_u64());
        assert!(listed.is_none_or(|listed| listed == last));
        while last < COUNT {
            let (name, data) = page.event().await;
            if name == "chat:message" {
                last += 1;
                assert_eq!(data["offset"], json!(last));
            }
        }
    }
}

// --- who is there

#[tokio::test]
async fn a_person_joins_once_and_leaves_with_the_last_connection() {
    let server = Server::start(Options::default()).await;
    let mut teacher = server.teacher("Tess").await;
    let token = server.student_token("Ann");
    let mut first = server.open(&token).await;
    first.join("student:join", json!({})).await;
    let person = teacher.expect("participant:joined").await;
    assert_eq!(person, json!({"id": first.id(), "name": "Ann", "role": "student", "muted": false}));
    let mut second = server.open(&token).await;
    second.join("student:join", json!({})).await;
    assert_eq!(names(&second.joined["participants"]), ["Ann", "Tess"]);
    first.ws.close(CloseCode::NORMAL, "").await.expect("open");
    drop(first);
    teacher.expect_nothing().await;
    second.expect_nothing().await;
    let id = second.id();
    drop(second);
    assert_eq!(teacher.expect("participant:left").await, json!({"id": id}));
    assert_eq!(names(&server.student("Bob").await.joined["participants"]), ["Bob", "Tess"]);
}

#[tokio::test]
async fn a_connection_that_does_not_answer_leaves_the_room() {
    let second = Duration::from_secs(1);
    let config = fullduplex::Config::new().ping_interval(second).pong_timeout(second);
    let server = Server::start(Options { config, ..Options::default() }).await;
    let mut teacher = server.teacher("Tess").await;
    // A client that is not polled answers no pings.
    let silent = server.student("Ann").await;
    teacher.expect("participant:joined").await;
    assert_eq!(teacher.expect("participant:left").await, json!({"id": silent.id()}));
}

// --- what teachers do

#[tokio::test]
async fn students_may_not_do_what_teachers_do() {
    let server = Server::start(Options::default()).await;
    let mut teacher = server.teacher("Tess").await;
    let mut ann = server.student("Ann").await;
    let mut bob = server.student("Bob").await;
    for event in ["teacher:remove-student", "teacher:mute", "teacher:unmute", "room:close"] {
        let error = ann.call(event, json!({"id": bob.id()})).await.expect_err(event);
        assert_eq!(error, "only a teacher may do this");
    }
    bob.say("still here").await;
    for event in ["teacher:remove-student", "teacher:mute"] {
        let error = teacher.call(event, json!({"id": teacher.id()})).await.expect_err(event);
        assert_eq!(error, "field `data.id`: not a student");
        let error = teacher.call(event, json!({"id": "nobody"})).await.expect_err(event);
        assert_eq!(error, "field `data.id`: nobody in the room has this id");
    }
}

#[tokio::test]
async fn who_is_muted_may_not_talk_until_that_ends() {
    let server = Server::start(Options::default()).await;
    let mut teacher = server.teacher("Tess").await;
    let token = server.student_token("Ann");
    let mut ann = server.open(&token).await;
    ann.join("student:join", json!({})).await;
    teacher.expect("participant:joined").await;
    teacher.call("teacher:mute", json!({"id": ann.id()})).await.expect("done");
    for page in [&mut teacher, &mut ann] {
        let changed = page.expect("participant:changed").await;
        assert_eq!(changed["muted"], json!(true));
    }
    let private = json!({"client_id": "p", "text": "x", "to": teacher.id()});
    for (event, data) in [("chat:message", json!({"client_id": "c", "text": "x"})), ("chat:private", private)]
    {
        assert_eq!(ann.call(event, data).await.expect_err(event), "a teacher has muted you");
    }
    ann.send(&json!({"event": "chat:typing", "data": {}})).await;
    ann.expect_nothing().await;
    teacher.expect_nothing().await;
    // It outlives the connection.
    let id = ann.id();
    drop(ann);
    teacher.expect("participant:left").await;
    let mut ann = server.open(&token).await;
    ann.join("student:join", json!({})).await;
    assert_eq!(ann.joined["me"]["muted"], json!(true));
    assert_eq!(teacher.expect("participant:joined").await["muted"], json!(true));
    teacher.call("teacher:unmute", json!({"id": id})).await.expect("done");
    assert_eq!(ann.expect("participant:changed").await, json!({"id": id, "muted": false}));
    ann.say("again").await;
}

#[tokio::test]
async fn who_is_removed_is_told_and_cannot_come_back() {
    let server = Server::start(Options::default()).await;
    let mut teacher = server.teacher("Tess").await;
    let token = server.student_token("Ann");
    let mut ann = server.open(&token).await;
    ann.join("student:join", json!({})).await;
    teacher.expect("participant:joined").await;
    teacher.call("teacher:remove-student", json!({"id": ann.id()})).await.expect("done");
    let (code, events) = ann.closed().await;
    assert_eq!((code, events), (4001, vec![json!({"event": "student:removed", "data": {"by": "Tess"}})]));
    assert_eq!(teacher.expect("participant:left").await["id"], json!(ann.id()));
    // Neither with the same token, nor as another person with the same name.
    for token in [token, server.student_token("  ANN ")] {
        let mut again = server.open(&token).await;
        again.call("student:join", json!({})).await.expect_err("refused");
        assert_eq!(again.closed().await.0, 4001);
    }
    teacher.expect_nothing().await;
}

#[tokio::test]
async fn what_a_removed_student_sends_afterwards_is_not_stored() {
    let server = Server::start(Options::default()).await;
    let mut teacher = server.teacher("Tess").await;
    let mut ann = server.student("Ann").await;
    teacher.expect("participant:joined").await;
    teacher.call("teacher:remove-student", json!({"id": ann.id()})).await.expect("done");
    // It has not read the Close yet.
    ann.begin("chat:message", json!({"client_id": "c", "text": "too late"})).await;
    assert_eq!(ann.closed().await.0, 4001);
    let history = teacher.call("chat:history", json!({"after": 0})).await.expect("a page");
    assert!(texts(&history).is_empty());
}

#[tokio::test]
async fn a_closed_room_ends_all_connections_until_a_teacher_opens_it() {
    let server = Server::start(Options::default()).await;
    let teacher_token = server.teacher_token("Tess");
    let mut teacher = server.open(&teacher_token).await;
    teacher.join("teacher:join", json!({})).await;
    let token = server.student_token("Ann");
    let mut ann = server.open(&token).await;
    ann.join("student:join", json!({})).await;
    teacher.call("room:close", json!({})).await.expect("closed");
    let (code, events) = ann.closed().await;
    assert_eq!((code, events), (4002, vec![json!({"event": "room:closed", "data": {"by": "Tess"}})]));
    assert_eq!(teacher.closed().await.0, 4002);
    for (token, event) in [(&token, "student:join"), (&teacher_token, "teacher:join")] {
        let mut again = server.open(token).await;
        again.call(event, json!({})).await.expect_err("refused");
        assert_eq!(again.closed().await.0, 4002);
    }
    let mut teacher = server.open(&teacher_token).await;
    teacher.join("teacher:join", json!({"reopen": true})).await;
    let mut ann = server.open(&token).await;
    ann.join("student:join", json!({})).await;
}

#[tokio::test]
async fn a_graceful_shutdown_closes_with_1012() {
    let server = Server::start(Options::default()).await;
    let mut ann = server.student("Ann").await;
    let mut open = server.open(&server.student_token("Bob")).await;
    let mut admin = server.admin().await;
    admin.call("admin:watch", json!({})).await.expect("stats");
    server.shutdown.begin(CloseCode::SERVICE_RESTART, "the server stops").expect("valid");
    for page in [&mut ann, &mut open, &mut admin] {
        assert_eq!(page.closed().await.0, 1012);
    }
    let drained = server.shutdown.wait(Duration::from_secs(60)).await;
    assert_eq!((drained.closed, drained.cut_off), (3, 0));
}
