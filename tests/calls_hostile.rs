//! Events and calls: peers that send what they must not.
#![cfg(feature = "calls")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fullduplex::{
    CloseCode, Config, Error, Message, WebSocket,
    calls::{CallError, Context, Limits, Router},
    testing,
};
use proptest::prelude::*;
use serde_json::Value;
use support::calls::{Raw, attached, exchange, next, serve};
use tokio::time::{sleep, timeout};

/// A router that counts in its state, and answers with what it receives.
fn counting() -> Router<Arc<AtomicUsize>> {
    Router::new().on("count", |context: Context<Arc<AtomicUsize>>, data: Value| async move {
        context.state().fetch_add(1, SeqCst);
        Ok(data)
    })
}

/// Sends messages in a task, and returns the answers of this number.
async fn flood(ws: Raw, messages: Vec<Message>, answers: usize) -> Vec<String> {
    let (mut receiver, sender) = ws.split();
    let sending = tokio::spawn(async move {
        for message in messages {
            sender.feed(message).await?;
        }
        sender.flush().await
    });
    let mut received = Vec::new();
    while received.len() < answers {
        let message = receiver.recv().await.expect("open").expect("a message");
        received.push(message.as_text().expect("text").to_owned());
    }
    sending.await.expect("no panic").expect("open");
    received
}

#[tokio::test]
async fn row_86_ten_thousand_events_at_once_are_handled_in_order() {
    let count = Arc::new(AtomicUsize::new(0));
    let ws = serve(&counting(), count.clone());
    let events: Vec<_> = (0..10_000)
        .map(|id| Message::from(format!(r#"{{"event":"count","id":{id},"data":{id}}}"#)))
        .collect();
    let answers = flood(ws, events, 10_000).await;
    for (id, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#));
    }
    assert_eq!(count.load(SeqCst), 10_000);
}

#[tokio::test]
async fn row_86_ten_thousand_events_at_once_leave_turns_to_other_tasks() {
    let count = Arc::new(AtomicUsize::new(0));
    let mut ws = serve(&counting(), count.clone());
    let seen = count.clone();
    let other = tokio::spawn(async move {
        let mut turns = 0;
        while seen.load(SeqCst) < 10_000 {
            turns += usize::from(seen.load(SeqCst) > 0);
            tokio::task::yield_now().await;
        }
        turns
    });
    for _ in 0..10_000 {
        ws.feed(r#"{"event":"count"}"#).await.expect("open");
    }
    ws.flush().await.expect("open");
    assert!(other.await.expect("no panic") >= 10);
}

#[tokio::test]
async fn row_90_ten_thousand_invalid_messages_are_each_answered_shortly() {
    let valid = r#"{"event":"count","id":1}"#;
    let kinds: [Message; 6] = [
        "x".repeat(1000).into(),
        vec![0xFF; 1000].into(),
        format!(r#"{{"event":"{}"}}"#, "x".repeat(1000)).into(),
        format!(r#"{{"event":"{}"}}"#, "x".repeat(256)).into(),
        format!(r#"{{"event":"count","id":"{}"}}"#, "7".repeat(1000)).into(),
        format!(r#"{{"event":"count","id":{}}}"#, "7".repeat(1000)).into(),
    ];
    let mut messages: Vec<Message> = kinds.iter().cycle().take(10_000).cloned().collect();
    messages.push(valid.into());
    let answers = flood(serve(&counting(), Arc::default()), messages, 10_001).await;
    let (last, notices) = answers.split_last().expect("answers");
    assert_eq!(last, r#"{"ack":1,"ok":true,"data":null}"#);
    for notice in notices {
        assert!(notice.starts_with(r#"{"ok":false,"error":""#) && notice.len() < 200, "{notice}");
    }
}

#[tokio::test(start_paused = true)]
async fn row_85_ids_that_are_unknown_used_twice_or_huge_are_ignored_and_calls_get_their_own_answers() {
    let (ws, mut raw) = testing::pair(&Config::new().ping_interval(None));
    let peer = attached(&Router::new(), ws, ()).peer;
    for round in 1..=100_u64 {
        let call = tokio::spawn(peer.call::<u64, _>("a", &()));
        assert_eq!(next(&mut raw).await, format!(r#"{{"event":"a","id":{round},"data":null}}"#));
        for id in [0, round + 1, (1 << 53) - 1, round, round, round - 1] {
            raw.feed(format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#)).await.expect("open");
        }
        raw.flush().await.expect("open");
        assert_eq!(call.await.expect("no panic").expect("an answer"), round);
    }
    let invalid = exchange(&mut raw, r#"{"ack":18446744073709551617,"ok":true}"#).await;
    assert!(invalid.starts_with(r#"{"ok":false,"error":"field `ack`"#), "{invalid}");
}

#[tokio::test]
async fn row_83_deep_json_is_an_error_of_its_event() {
    let mut ws = serve(&counting(), Arc::default());
    let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let answer = exchange(&mut ws, format!(r#"{{"event":"count","id":1,"data":{deep}}}"#)).await;
    assert!(answer.contains("recursion limit exceeded") && answer.len() < 1000, "{answer:.1000}");
    let answer = exchange(&mut ws, format!(r#"{{"event":{deep},"id":1}}"#)).await;
    assert!(answer.contains("field `event`: not a string"), "{answer:.1000}");
    let answer = exchange(&mut ws, format!(r#"{{"other":{deep}}}"#)).await;
    assert_eq!(answer, r#"{"ok":false,"error":"neither `event` nor `ack`"}"#);
    let answer = exchange(&mut ws, &deep[..1 << 20]).await;
    assert!(answer.starts_with(r#"{"ok":false,"error":"#) && answer.len() < 100, "{answer:.1000}");
    assert_eq!(exchange(&mut ws, r#"{"event":"count","id":1}"#).await, r#"{"ack":1,"ok":true,"data":null}"#);
}

#[tokio::test]
async fn row_87_errors_quote_no_values_and_are_bounded() {
    let router = Router::<()>::new()
        .on("number", |_context, _number: u32| async { Ok(()) })
        .on("map", |_context, _map: std::collections::BTreeMap<String, u32>| async { Ok(()) });
    let mut ws = serve(&router, ());
    let secret = "hunter2".repeat(1000);
    let answer = exchange(&mut ws, format!(r#"{{"event":"number","id":1,"data":"{secret}"}}"#)).await;
    assert!(!answer.contains("hunter2"), "{answer:.1000}");
    // The path of a field contains keys, which are bounded.
    let answer = exchange(&mut ws, format!(r#"{{"event":"map","id":1,"data":{{"{secret}":[]}}}}"#)).await;
    assert!(answer.len() < 1500, "{answer:.2000}");
}

#[tokio::test]
async fn row_84_an_id_that_is_no_integer_of_53_bits_is_named_and_not_used() {
    let count = Arc::new(AtomicUsize::new(0));
    let mut ws = serve(&counting(), count.clone());
    for id in [
        "-1",
        "1.0",
        "1e2",
        "-0",
        r#""1""#,
        "[1]",
        "true",
        "9007199254740992",
        "18446744073709551617",
        "1e999",
    ] {
        let notice = r#"{"ok":false,"error":"field `id`: not an integer from 0 to 9007199254740991"}"#;
        assert_eq!(exchange(&mut ws, format!(r#"{{"event":"count","id":{id}}}"#)).await, notice, "{id}");
    }
    assert_eq!(count.load(SeqCst), 0);
    for id in ["0", "9007199254740991"] {
        let answer = exchange(&mut ws, format!(r#"{{"event":"count","id":{id}}}"#)).await;
        assert_eq!(answer, format!(r#"{{"ack":{id},"ok":true,"data":null}}"#));
    }
}

#[tokio::test]
async fn row_84_calls_with_the_same_id_are_each_answered_even_at_the_same_time() {
    let router = Router::<()>::new().limits(Limits::new().concurrency(3)).on(
        "wait",
        |_context, turns: u32| async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            Ok(turns)
        },
    );
    let calls =
        [30, 20, 10].map(|turns| Message::from(format!(r#"{{"event":"wait","id":7,"data":{turns}}}"#)));
    let mut answers = flood(serve(&router, ()), calls.into(), 3).await;
    answers.sort();
    assert_eq!(answers, [10, 20, 30].map(|turns| format!(r#"{{"ack":7,"ok":true,"data":{turns}}}"#)));
}

#[tokio::test]
async fn row_87_names_and_texts_of_1_mib_are_cut_and_refused() {
    let mut ws = serve(&counting(), Arc::default());
    let long = "x".repeat(1 << 20);
    let answer = exchange(&mut ws, format!(r#"{{"event":"{long}","id":1}}"#)).await;
    let refused = r#"{"ack":1,"ok":false,"error":"field `event`: longer than 256 bytes","code":"invalid_data","field":"event"}"#;
    assert_eq!(answer, refused);
    let answer = exchange(&mut ws, format!(r#"{{"{long}":1,"event":"count","id":2}}"#)).await;
    assert_eq!(answer, r#"{"ack":2,"ok":true,"data":null}"#);

    let (ws, mut raw) = testing::pair(&Config::new());
    let peer = attached(&Router::new(), ws, ()).peer;
    let refused = tokio::spawn(peer.call::<(), _>("a", &()));
    let invalid = tokio::spawn(peer.call::<(), _>("a", &()));
    raw.feed(format!(r#"{{"ack":1,"ok":false,"error":"{long}"}}"#)).await.expect("open");
    let code = r#""code":"invalid_data""#;
    raw.send(format!(r#"{{"ack":2,"ok":false,"error":"{long}",{code},"field":"{long}"}}"#))
        .await
        .expect("open");
    let refused = refused.await.expect("no panic").expect_err("refused");
    assert!(matches!(&refused, CallError::Refused(text) if text.len() == 1024));
    let invalid = invalid.await.expect("no panic").expect_err("refused");
    let CallError::InvalidData(invalid) = invalid else { panic!("{invalid:?}") };
    assert_eq!((invalid.field().map(str::len), invalid.to_string().len()), (Some(256), 1024));
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "they are parsed")]
struct Post {
    text: String,
    count: Option<i64>,
}

fn posting() -> Router {
    Router::new().on("post", |_context, _post: Post| async { Ok(()) })
}

#[tokio::test]
async fn row_88_unknown_members_are_ignored_and_duplicate_ones_are_refused() {
    let mut ws = serve(&posting(), ());
    let refused = |field: &str, error: &str| {
        format!(
            r#"{{"ack":1,"ok":false,"error":"field `{field}`{error}","code":"invalid_data","field":"{field}"}}"#
        )
    };
    let notice = |field: &str| format!(r#"{{"ok":false,"error":"field `{field}`: occurs twice"}}"#);
    let done = r#"{"ack":1,"ok":true,"data":null}"#.to_owned();
    for (message, answer) in [
        (r#"{"x":1,"x":2,"event":"post","id":1,"data":{"text":"a"},"Event":"b","":{}}"#, done),
        (r#"{"event":"post","event":"post","id":1,"data":{"text":"a"}}"#, notice("event")),
        (r#"{"event":"post","id":1,"\u0069d":2,"data":{"text":"a"}}"#, notice("id")),
        (r#"{"event":"post","id":1,"data":{"text":"a"},"data":{"text":"a"}}"#, notice("data")),
        (r#"{"ack":1,"ack":2,"ok":true}"#, notice("ack")),
        (r#"{"event":"post","id":1,"data":{"text":"a","text":"b"}}"#, refused("data.text", ": occurs twice")),
        (
            r#"{"event":"post","id":1,"data":{"text":"a","role":"teacher"}}"#,
            refused("data.role", ": unknown field, expected `text` or `count`"),
        ),
    ] {
        assert_eq!(exchange(&mut ws, message).await, answer, "{message}");
    }
}

#[tokio::test]
async fn row_89_lone_surrogates_and_numbers_out_of_range_are_errors_of_their_field() {
    let mut ws = serve(&posting(), ());
    let data = |data: &str| format!(r#"{{"event":"post","id":1,"data":{data}}}"#);
    for (message, field) in [
        (data(r#"{"text":"\ud800"}"#), "data.text"),
        (data(r#"{"text":"\udc00\ud800"}"#), "data.text"),
        (data(r#"{"text":"\ud800\u0041"}"#), "data.text"),
        (data(r#"{"text":"a","count":9223372036854775808}"#), "data.count"),
        (data(r#"{"text":"a","count":-9223372036854775809}"#), "data.count"),
        (data(r#"{"text":"a","count":1e999}"#), "data.count"),
        (data(r#"{"text":"a","count":1.5}"#), "data.count"),
        (r#"{"event":"\ud800","id":1}"#.into(), "event"),
    ] {
        let answer = exchange(&mut ws, message.as_str()).await;
        assert!(answer.starts_with(r#"{"ack":1,"ok":false,"error":"#), "{message} {answer}");
        assert!(
            answer.ends_with(&format!(r#""code":"invalid_data","field":"{field}"}}"#)),
            "{message} {answer}"
        );
    }
    let notice = exchange(&mut ws, r#"{"\ud800":1,"event":"post","id":1}"#).await;
    assert!(notice.starts_with(r#"{"ok":false,"error":"invalid JSON, at line 1"#), "{notice}");
    let valid = data(r#"{"text":"\ud83d\ude00","count":-9223372036854775808}"#);
    assert_eq!(exchange(&mut ws, valid).await, r#"{"ack":1,"ok":true,"data":null}"#);
}

#[tokio::test(start_paused = true)]
async fn row_91_a_peer_that_answers_calls_with_calls_ends_at_the_limits() {
    // Each call of the client is answered with a call, and none with an answer.
    let limits = Limits::new().max_calls(10).call_timeout(Duration::from_secs(5));
    let router = Router::<()>::new()
        .limits(limits)
        .on("ask", |context, (): ()| async move { context.peer().call::<(), _>("question", &()).await });
    let mut ws = serve(&router, ());
    ws.send(r#"{"event":"ask","id":1}"#).await.expect("open");
    for id in 1..=20 {
        assert_eq!(next(&mut ws).await, format!(r#"{{"event":"question","id":{id},"data":null}}"#));
        ws.send(format!(r#"{{"event":"ask","id":{}}}"#, id + 1)).await.expect("open");
        assert_eq!(next(&mut ws).await, format!(r#"{{"ack":{id},"ok":false,"error":"no answer in time"}}"#));
    }
}

#[tokio::test(start_paused = true)]
async fn row_92_a_refused_peer_that_continues_to_send_is_not_handled() {
    let count = Arc::new(AtomicUsize::new(0));
    let router = counting().on_connect(|_context| async {
        sleep(Duration::from_secs(1)).await;
        Err(fullduplex::calls::Refusal::new(CloseCode::from(4001), "no"))
    });
    let config = Config::new().ping_interval(None);
    let (client, server) = testing::pair(&config);
    let running = attached(&router, server, count.clone());
    let (mut receiver, sender) = client.split();
    let sending = tokio::spawn(async move { while sender.send(r#"{"event":"count"}"#).await.is_ok() {} });
    let notice = receiver.recv().await.expect("open").expect("a message");
    assert_eq!(notice.as_text(), Some(r#"{"ok":false,"error":"no"}"#));
    assert_eq!(receiver.recv().await.expect("a clean close"), None);
    sending.await.expect("no panic");
    running.task.await.expect("no panic").expect("a clean close");
    assert_eq!(count.load(SeqCst), 0);
}

/// Sends a message to both roles of a connection. Returns how each answers it, if it does.
async fn answers(message: &Message) -> [Option<String>; 2] {
    let router = Router::<()>::new()
        .on("a", |_context, data: Value| async { Ok(data) })
        .on("done", |_context, (): ()| async { Ok(()) });
    let mut answers = [None, None];
    for (swapped, slot) in answers.iter_mut().enumerate() {
        let (client, server) = testing::pair(&Config::new().ping_interval(None));
        let (routed, mut raw): (WebSocket<_>, Raw) =
            if swapped == 1 { (client, server) } else { (server, client) };
        let _running = attached(&router, routed, ());
        raw.feed(message).await.expect("open");
        raw.send(r#"{"event":"done","id":4503599627370496}"#).await.expect("open");
        let first = next(&mut raw).await;
        if !first.starts_with(r#"{"ack":4503599627370496,"#) {
            *slot = Some(first);
            assert_eq!(next(&mut raw).await, r#"{"ack":4503599627370496,"ok":true,"data":null}"#);
        }
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn row_90_any_bytes_are_answered_alike_by_both_roles_and_end_no_connection(
        bytes in prop_oneof![
            any::<Vec<u8>>(),
            any::<String>().prop_map(String::into_bytes),
            r#"\{("event"|"id"|"data"|"ack"|"ok"): ?("a"|1|7\.5|null|true|\{\}|"[a-z]"),?("id"|"data"|"ok"): ?(2|"a"|\[1\])\}"#
                .prop_map(String::into_bytes),
        ],
        text in any::<bool>(),
    ) {
        let message = match String::from_utf8(bytes) {
            Ok(string) if text => Message::from(string),
            Ok(string) => Message::from(string.into_bytes()),
            Err(error) => Message::from(error.into_bytes()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let limit = Duration::from_secs(60);
        let answers = runtime.block_on(async { timeout(limit, answers(&message)).await }).expect("in time");
        prop_assert_eq!(&answers[0], &answers[1]);
    }
}

#[tokio::test]
async fn a_violation_of_the_protocol_ends_the_connection_with_its_error() {
    use tokio::io::AsyncWriteExt;

    let (mut peer, io) = tokio::io::duplex(1024);
    let ws = WebSocket::from_raw(
        io,
        Default::default(),
        fullduplex::Role::Server,
        &Config::new(),
        fullduplex::Negotiated::default(),
    );
    let running = attached(&counting(), ws, Arc::default());
    let call = tokio::spawn(running.peer.call::<(), _>("a", &()));
    peer.write_all(b"\x81\x05Hello").await.expect("open");
    peer.shutdown().await.expect("open");
    let error = running.task.await.expect("no panic").expect_err("not masked");
    assert!(matches!(error, Error::Protocol(_)), "{error}");
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Lost | CallError::Closed)));
}
