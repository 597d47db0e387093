//! Events and calls: handlers, middleware, answers, and what is wrong with a message.
#![cfg(feature = "calls")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fullduplex::{
    CloseCode, Config, Error, Event, PreparedMessage,
    calls::{self, CallError, Context, InvalidData, Limits, Refusal, Router},
    testing,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::calls::{attached, client, exchange, next, serve};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep},
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Post {
    text: String,
    to: Option<String>,
}

/// A router whose handlers return what they receive.
fn echo() -> Router<&'static str> {
    Router::new().on("echo", |_context, data: Value| async { Ok(data) })
}

// --- answers

#[tokio::test]
async fn a_call_is_answered_with_what_its_handler_returns() {
    let mut ws = serve(&echo(), "");
    for (sent, answer) in [
        (r#"{"event":"echo","id":7,"data":{"a":[1,"ü"]}}"#, r#"{"ack":7,"ok":true,"data":{"a":[1,"ü"]}}"#),
        (r#"{"data":1,"id":0,"event":"echo"}"#, r#"{"ack":0,"ok":true,"data":1}"#),
        (r#"{"event":"echo","id":9007199254740991}"#, r#"{"ack":9007199254740991,"ok":true,"data":null}"#),
    ] {
        assert_eq!(exchange(&mut ws, sent).await, answer);
    }
}

#[tokio::test]
async fn an_event_without_an_id_is_handled_and_not_acknowledged() {
    let (seen, mut handled) = mpsc::unbounded_channel();
    let router = echo().on("typing", move |context: Context<&'static str>, room: u32| {
        let seen = seen.clone();
        async move {
            let _ = seen.send((*context.state(), context.event().to_owned(), context.id(), room));
            Ok("not sent")
        }
    });
    let mut ws = serve(&router, "ann");
    ws.send(r#"{"event":"typing","data":3}"#).await.expect("open");
    assert_eq!(exchange(&mut ws, r#"{"event":"echo","id":1}"#).await, r#"{"ack":1,"ok":true,"data":null}"#);
    assert_eq!(handled.recv().await, Some(("ann", "typing".to_owned(), None, 3)));
}

#[tokio::test]
async fn both_ends_call_each_other_with_typed_data() {
    let greet = |name: &'static str| {
        Router::new().on("greet", move |_context: Context<()>, post: Post| async move {
            Ok(Post { text: format!("{name} has {}", post.text), to: Some("you".into()) })
        })
    };
    let (client, server) = testing::pair(&Config::new());
    let (client, server) = (attached(&greet("client"), client, ()), attached(&greet("server"), server, ()));
    for (peer, name) in [(client.peer, "server"), (server.peer, "client")] {
        let post = Post { text: "it".into(), to: None };
        let answer: Post = peer.call("greet", &post).await.expect("an answer");
        assert_eq!(answer, Post { text: format!("{name} has it"), to: Some("you".into()) });
    }
}

#[tokio::test]
async fn a_handler_that_fails_is_answered_with_its_error() {
    let router = Router::<&str>::new()
        .on("refuse", |_context, (): ()| async { Err::<(), _>(CallError::refused("you are \"muted\"")) })
        .on("invalid", |_context, (): ()| async {
            Err::<(), _>(InvalidData::new("data.text", "too long").into())
        })
        .on("late", |_context, (): ()| async { Err::<(), _>(CallError::Timeout) })
        .on("broken", |_context, (): ()| async {
            Ok([((1, 2), 3)].into_iter().collect::<std::collections::BTreeMap<_, _>>())
        });
    let mut ws = serve(&router, "");
    for (event, answer) in [
        ("refuse", r#"{"ack":7,"ok":false,"error":"you are \"muted\""}"#),
        (
            "invalid",
            r#"{"ack":7,"ok":false,"error":"field `data.text`: too long","code":"invalid_data","field":"data.text"}"#,
        ),
        ("late", r#"{"ack":7,"ok":false,"error":"no answer in time"}"#),
        ("broken", r#"{"ack":7,"ok":false,"error":"cannot send: value cannot be serialized as JSON"}"#),
    ] {
        assert_eq!(exchange(&mut ws, format!(r#"{{"event":"{event}","id":7}}"#)).await, answer);
    }
}

#[tokio::test]
async fn the_caller_matches_why_it_was_refused() {
    let router = Router::<()>::new()
        .on("refuse", |_context, (): ()| async { Err::<(), _>(CallError::refused("no\n")) })
        .on("post", |_context, _post: Post| async { Ok("a text") });
    let (peer, _server) = client(&router, ());
    let error = peer.call::<(), _>("refuse", &()).await.expect_err("refused");
    assert!(matches!(&error, CallError::Refused(text) if text == "no\n"), "{error:?}");
    assert_eq!(error.to_string(), r"refused: no\n");
    let error = peer.call::<(), _>("other", &()).await.expect_err("unknown");
    assert!(matches!(error, CallError::UnknownEvent), "{error:?}");
    let error = peer.call::<(), _>("post", &json!({ "text": 7 })).await.expect_err("invalid");
    let CallError::InvalidData(invalid) = &error else { panic!("{error:?}") };
    assert_eq!(invalid.field(), Some("data.text"));
    assert_eq!(error.to_string(), "field `data.text`: invalid type, expected a string");
    let error = peer.call::<u32, _>("post", &json!({ "text": "" })).await.expect_err("another type");
    let CallError::MalformedAnswer(invalid) = &error else { panic!("{error:?}") };
    assert_eq!(invalid.field(), Some("data"));
    let map = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = peer.call::<u32, _>("post", &map).await.expect_err("keys are no strings");
    assert!(matches!(error, CallError::Serialize(_)), "{error:?}");
    assert!(matches!(peer.emit("post", &map).await, Err(CallError::Serialize(_))));
}

// --- messages that are not valid

#[tokio::test]
async fn row_90_what_is_wrong_is_answered_and_the_connection_continues() {
    let router = echo().on("post", |_context, _post: Post| async { Ok(()) });
    let mut ws = serve(&router, "");
    let invalid = |field: &str, text: &str| {
        format!(
            r#"{{"ack":7,"ok":false,"error":"field `{field}`{text}","code":"invalid_data","field":"{field}"}}"#
        )
    };
    let notice = |text: &str| format!(r#"{{"ok":false,"error":"{text}"}}"#);
    let not_an_id = "not an integer from 0 to 9007199254740991";
    for (sent, answer) in [
        (
            r#"{"event":"nothing","id":7}"#,
            r#"{"ack":7,"ok":false,"error":"unknown event","code":"unknown_event"}"#.to_owned(),
        ),
        (r#"{"event":"post","id":7,"data":{}}"#, invalid("data.text", " is missing")),
        (r#"{"event":"post","id":7}"#, invalid("data", " is missing")),
        (
            r#"{"event":"post","id":7,"data":{"text":["secret"]}}"#,
            invalid("data.text", ": invalid type, expected a string"),
        ),
        (r#"{"event":["post"],"id":7}"#, invalid("event", ": not a string")),
        (r#"{"event":"nothing"}"#, notice("nothing: unknown event")),
        (r#"{"event":"post","data":{}}"#, notice("post: field `data.text` is missing")),
        (r#"{"event":"post","id":"7"}"#, notice(&format!("field `id`: {not_an_id}"))),
        (
            r#"{"event":"post","id":123456789012345678901234567890}"#,
            notice(&format!("field `id`: {not_an_id}")),
        ),
        (r#"{"event":"post","id":[[]]}"#, notice(&format!("field `id`: {not_an_id}"))),
        (r#"{"ack":"7","ok":true}"#, notice(&format!("field `ack`: {not_an_id}"))),
        (r#"{"data":{}}"#, notice("neither `event` nor `ack`")),
        ("[]", notice("not a JSON object")),
        ("{nonsense", notice("invalid JSON, at line 1, column 2")),
        ("", notice("invalid JSON, at line 1, column 0")),
    ] {
        assert_eq!(exchange(&mut ws, sent).await, answer, "{sent}");
    }
    assert_eq!(exchange(&mut ws, b"\xFF\x00").await, notice("binary messages are not supported"));
    assert_eq!(exchange(&mut ws, r#"{"event":"echo","id":8}"#).await, r#"{"ack":8,"ok":true,"data":null}"#);
}

#[tokio::test(start_paused = true)]
async fn row_91_answers_and_notices_are_never_answered() {
    let mut ws = serve(&echo(), "");
    for sent in [
        r#"{"ack":1,"ok":true}"#,
        r#"{"ack":9,"ok":false,"error":"x"}"#,
        r#"{"ack":9}"#,
        r#"{"ok":false,"error":"x"}"#,
    ] {
        ws.send(sent).await.expect("open");
    }
    assert_eq!(exchange(&mut ws, r#"{"event":"echo","id":8}"#).await, r#"{"ack":8,"ok":true,"data":null}"#);
}

#[tokio::test]
async fn an_emitted_event_that_fails_is_noticed_by_its_sender() {
    let (client, server) = testing::pair(&Config::new());
    let (seen, mut notices) = mpsc::unbounded_channel();
    let noticing = Router::new().on_notice(move |_context, text| drop(seen.send(text.to_owned())));
    let client = attached(&noticing, client, ());
    let _server = attached(&echo(), server, "");
    client.peer.emit("nothing", &1).await.expect("open");
    client.peer.sender().expect("a connection").send(b"binary").await.expect("open");
    assert_eq!(notices.recv().await.as_deref(), Some("nothing: unknown event"));
    assert_eq!(notices.recv().await.as_deref(), Some("binary messages are not supported"));
}

#[tokio::test]
async fn failures_are_reported_with_their_event() {
    let (seen, mut failures) = mpsc::unbounded_channel();
    let router = echo()
        .on("refuse", |_context, (): ()| async { Err::<(), _>(CallError::refused("no")) })
        .on_failure(move |context, error| drop(seen.send(format!("{}: {error}", context.event()))));
    let mut ws = serve(&router, "");
    for sent in [r#"{"event":"refuse","id":1}"#, r#"{"event":"echo","id":1}"#, r#"{"event":"x"}"#, "x"] {
        exchange(&mut ws, sent).await;
    }
    let texts = ["refuse: refused: no", "x: unknown event", ": invalid JSON, at line 1, column 1"];
    for text in texts {
        assert_eq!(failures.recv().await.as_deref(), Some(text));
    }
}

// --- middleware

fn refusal(context: &Context<&'static str>) -> Result<(), CallError> {
    match context.event() {
        "" => Err(CallError::refused("nonsense")),
        "nothing" => Err(CallError::refused("too many")),
        "echo" if *context.state() == "mallory" => Err(CallError::refused("not you")),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn middleware_refuses_events_before_their_data_is_parsed() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let recorded = order.clone();
    let router = echo()
        .on("number", |_context, number: u32| async move { Ok(number) })
        .before_each(move |context| {
            recorded.lock().expect("no panic").push(format!("{}{:?}", context.event(), context.id()));
            async { Ok(()) }
        })
        .before_each(|context| async move { refusal(&context) });
    let mut ws = serve(&router, "mallory");
    for (sent, answer) in [
        (r#"{"event":"echo","id":1,"data":1}"#, r#"{"ack":1,"ok":false,"error":"not you"}"#),
        (r#"{"event":"nothing","id":1}"#, r#"{"ack":1,"ok":false,"error":"too many"}"#),
        ("nonsense", r#"{"ok":false,"error":"nonsense"}"#),
        (r#"{"event":"number","id":1,"data":1}"#, r#"{"ack":1,"ok":true,"data":1}"#),
    ] {
        assert_eq!(exchange(&mut ws, sent).await, answer);
    }
    assert_eq!(*order.lock().expect("no panic"), ["echoSome(1)", "nothingSome(1)", "None", "numberSome(1)"]);
}

#[tokio::test]
async fn a_connection_is_refused_with_a_text_and_a_close_code() {
    let router = echo()
        .on_connect(
            |context| async move { context.peer().emit("first", &1).await.map_err(|_| unreachable!()) },
        )
        .on_connect(|context: Context<&'static str>| async move {
            match *context.state() {
                "barred" => Err(Refusal::new(CloseCode::from(4001), "you were removed")),
                _ => Ok(()),
            }
        })
        .on_connect(
            |context| async move { context.peer().emit("last", &1).await.map_err(|_| unreachable!()) },
        );
    let mut ws = serve(&router, "barred");
    let _ = ws.send(r#"{"event":"echo","id":1}"#).await;
    assert_eq!(next(&mut ws).await, r#"{"event":"first","data":1}"#);
    assert_eq!(next(&mut ws).await, r#"{"ok":false,"error":"you were removed"}"#);
    assert_eq!(ws.recv().await.expect("a clean close"), None);
    let frame = ws.close_frame().expect("a code");
    assert_eq!((frame.code(), frame.reason()), (CloseCode::from(4001), "you were removed"));

    let mut ws = serve(&router, "ann");
    ws.send(r#"{"event":"echo","id":1}"#).await.expect("open");
    assert_eq!(next(&mut ws).await, r#"{"event":"first","data":1}"#);
    assert_eq!(next(&mut ws).await, r#"{"event":"last","data":1}"#);
    assert_eq!(next(&mut ws).await, r#"{"ack":1,"ok":true,"data":null}"#);
}

#[tokio::test(start_paused = true)]
async fn events_wait_until_the_connection_is_accepted_and_pings_are_answered_meanwhile() {
    let router = echo().on_connect(|context| async move {
        // The middleware can call as well.
        let name: String = context.peer().call("name", &()).await.expect("an answer");
        assert_eq!(name, "ann");
        sleep(SECOND).await;
        Ok(())
    });
    let mut ws = serve(&router, "");
    let start = Instant::now();
    assert_eq!(next(&mut ws).await, r#"{"event":"name","id":1,"data":null}"#);
    ws.send(r#"{"event":"echo","id":5}"#).await.expect("open");
    ws.send(r#"{"ack":1,"ok":true,"data":"ann"}"#).await.expect("open");
    ws.ping("x").await.expect("open");
    assert_eq!(ws.recv_event().await.expect("open"), Some(Event::Pong("x".into())));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(next(&mut ws).await, r#"{"ack":5,"ok":true,"data":null}"#);
    assert_eq!(start.elapsed().as_secs(), 1);
}

// --- the peer

#[tokio::test(start_paused = true)]
async fn row_85_a_call_ends_at_its_deadline_and_a_late_answer_is_ignored() {
    let (ws, mut raw) = testing::pair(&Config::new().ping_interval(None));
    let peer = attached(&Router::new(), ws, ()).peer;
    let start = Instant::now();
    let call = tokio::spawn(peer.call::<(), _>("slow", &()));
    assert_eq!(next(&mut raw).await, r#"{"event":"slow","id":1,"data":null}"#);
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Timeout)));
    assert_eq!(start.elapsed().as_secs(), 10);
    let quick = peer.with_timeout(3 * SECOND);
    assert!(matches!(quick.call::<(), _>("slow", &()).await, Err(CallError::Timeout)));
    assert_eq!(start.elapsed().as_secs(), 13);
    assert_eq!(next(&mut raw).await, r#"{"event":"slow","id":2,"data":null}"#);
    // Both answers are late, and one call is still answered with its own.
    let patient = tokio::spawn(peer.with_timeout(None).call::<u32, _>("slow", &()));
    assert_eq!(next(&mut raw).await, r#"{"event":"slow","id":3,"data":null}"#);
    sleep(3600 * SECOND).await;
    for id in [1, 2, 2, 99, 3, 3] {
        raw.send(format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#)).await.expect("open");
    }
    assert_eq!(patient.await.expect("no panic").expect("an answer"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_makes_room_for_another() {
    let (ws, mut raw) = testing::pair(&Config::new());
    let peer = attached(&Router::new().limits(Limits::new().max_calls(1)), ws, ()).peer;
    let call = tokio::spawn(peer.call::<(), _>("a", &()));
    next(&mut raw).await;
    assert!(matches!(peer.call::<(), _>("b", &()).await, Err(CallError::Full)));
    call.abort();
    let _ = call.await;
    let call = tokio::spawn(peer.call::<u32, _>("c", &()));
    assert_eq!(next(&mut raw).await, r#"{"event":"c","id":2,"data":null}"#);
    for id in [1, 2] {
        raw.send(format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#)).await.expect("open");
    }
    assert_eq!(call.await.expect("no panic").expect("an answer"), 2);
}

#[tokio::test(start_paused = true)]
async fn row_85_a_malformed_answer_ends_its_call_and_not_the_connection() {
    let (ws, mut raw) = testing::pair(&Config::new());
    let peer = attached(&Router::new(), ws, ()).peer;
    for (answer, text) in [
        (r#"{"ack":1}"#, "malformed answer: field `ok` is missing"),
        (r#"{"ack":2,"ok":"yes"}"#, "malformed answer: field `ok`: not a boolean"),
        (r#"{"ack":3,"ok":false,"error":{}}"#, "malformed answer: field `error`: not a string"),
        (
            r#"{"ack":4,"ok":true,"data":{"a":[7,"x"]}}"#,
            "malformed answer: field `data.a[1]`: invalid type, expected u32",
        ),
        (r#"{"ack":5,"ok":true}"#, "malformed answer: field `data` is missing"),
    ] {
        let call = tokio::spawn(peer.call::<std::collections::BTreeMap<String, Vec<u32>>, _>("a", &()));
        next(&mut raw).await;
        raw.send(answer).await.expect("open");
        assert_eq!(call.await.expect("no panic").expect_err(answer).to_string(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_fail_when_the_connection_ends_and_later_ones_are_not_sent() {
    for abrupt in [true, false] {
        let (ws, mut raw) = testing::pair(&Config::new());
        let running = attached(&Router::new(), ws, ());
        let start = Instant::now();
        let calls = [(); 3].map(|()| tokio::spawn(running.peer.call::<(), _>("a", &())));
        for _ in &calls {
            next(&mut raw).await;
        }
        if abrupt {
            drop(raw);
        } else {
            raw.close(CloseCode::NORMAL, "").await.expect("answered");
        }
        for call in calls {
            assert!(matches!(call.await.expect("no panic"), Err(CallError::Lost)));
        }
        assert!(matches!(running.peer.call::<(), _>("a", &()).await, Err(CallError::Closed)));
        assert!(matches!(running.peer.emit("a", &()).await, Err(CallError::Closed)));
        assert!(matches!(running.peer.close(CloseCode::NORMAL, ""), Err(Error::Closed)));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(running.task.await.expect("no panic").is_err(), abrupt);
    }
}

#[tokio::test]
async fn a_peer_closes_its_connection_after_what_is_queued() {
    let (ws, mut raw) = testing::pair(&Config::new());
    let running = attached(&Router::new(), ws, ());
    running.peer.emit("a", &()).await.expect("open");
    running.peer.close(CloseCode::from(4001), "removed").expect("open");
    assert_eq!(next(&mut raw).await, r#"{"event":"a","data":null}"#);
    assert_eq!(raw.recv().await.expect("a clean close"), None);
    assert_eq!(raw.close_frame().map(|frame| frame.code()), Some(CloseCode::from(4001)));
    running.task.await.expect("no panic").expect("a clean close");
}

#[tokio::test]
async fn an_event_is_encoded_once_for_many_connections() {
    let message =
        PreparedMessage::new(calls::event("news", &Post { text: "a".into(), to: None }).expect("text"));
    let (seen, mut news) = mpsc::unbounded_channel();
    let router = Router::new().on("news", move |_context: Context<()>, post: Post| {
        let seen = seen.clone();
        async move { seen.send(post.text).map_err(|_| unreachable!()) }
    });
    for _ in 0..3 {
        let (client, mut server) = testing::pair(&Config::new());
        let _client = attached(&router, client, ());
        server.send(&message).await.expect("open");
        assert_eq!(news.recv().await.as_deref(), Some("a"));
    }
}

#[tokio::test]
async fn futures_of_a_peer_can_be_spawned_whatever_the_data_is() {
    fn assert_send<T: Send + 'static>(future: T) -> T {
        future
    }
    let (peer, _server) = client(&echo(), "");
    let local = std::cell::Cell::new(7);
    let call = assert_send(peer.call::<u32, _>("echo", &local));
    assert_send(peer.emit("echo", &local)).await.expect("open");
    assert_eq!(call.await.expect("an answer"), 7);
}

#[test]
#[should_panic = "event \"a\" has a handler already"]
fn a_second_handler_of_an_event_panics() {
    let _ = Router::<()>::new()
        .on("a", |_context, (): ()| async { Ok(()) })
        .on("a", |_context, (): ()| async { Ok(()) });
}

#[test]
#[should_panic = "the name of an event has 1 to 256 bytes"]
fn an_event_without_a_name_panics() {
    let _ = Router::<()>::new().on("", |_context, (): ()| async { Ok(()) });
}

#[tokio::test]
async fn a_clone_of_a_router_is_independent() {
    let router = echo();
    let more = router.clone().on("more", |_context, (): ()| async { Ok(1) });
    let mut ws = serve(&router, "");
    assert!(exchange(&mut ws, r#"{"event":"more","id":1}"#).await.contains("unknown event"));
    let mut ws = serve(&more, "");
    assert_eq!(exchange(&mut ws, r#"{"event":"more","id":1}"#).await, r#"{"ack":1,"ok":true,"data":1}"#);
    assert_eq!(exchange(&mut ws, r#"{"event":"echo","id":1}"#).await, r#"{"ack":1,"ok":true,"data":null}"#);
}

#[tokio::test]
async fn debug_output_contains_no_payload_data() {
    let (seen, mut shown) = mpsc::unbounded_channel();
    let router = Router::new().on("login", move |context: Context<&'static str>, _data: Value| {
        let _ = seen.send(format!("{context:?} {:?}", context.peer()));
        async { Ok(()) }
    });
    let (peer, _server) = client(&router, "hunter2");
    let call = peer.call::<(), _>("login", "hunter2");
    call.await.expect("an answer");
    let shown = shown.recv().await.expect("handled") + &format!("{peer:?} {router:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// A handler.
async fn named(context: Context<Arc<Notify>>, _data: Option<u32>) -> Result<(), CallError> {
    context.state().notify_one();
    Ok(())
}

#[tokio::test]
async fn an_async_function_is_a_handler_and_its_state_can_be_shared() {
    let notify = Arc::new(Notify::new());
    let (peer, _server) = client(&Router::new().on("named", named), notify.clone());
    peer.emit("named", &()).await.expect("open");
    notify.notified().await;
}
