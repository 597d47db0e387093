//! Events that nodes send to each other.

mod support;

use std::{sync::Arc, time::Duration};

use fullduplex::hub::{Hub, Memory};
use serde_json::{Value, json};
use socketio::{
    Args, Binary, Broadcast, Builder, Data, Io, Namespace, NodeAnswers,
    engine::{Metrics, Settings},
};
use support::{
    Notes, eventually,
    socket::{connect, expect, serve_io},
};
use tokio::{sync::Semaphore, time::Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// A node that notes the events of others, and answers with its name.
fn node(memory: &Memory<String>, name: &'static str, notes: &Notes) -> Builder {
    let [changed, picture, anything] = [(); 3].map(|()| notes.clone());
    let namespace = Namespace::new("/chat")
        .on_server_side("changed", move |Data(what): Data<String>| {
            let notes = changed.clone();
            async move { notes.add(format!("{name}: changed {what}")) }
        })
        .on_server_side("picture", move |Args((number, data)): Args<(u32, Binary)>| {
            let notes = picture.clone();
            async move {
                notes.add(format!("{name}: picture {number} {:?}", data.0));
                data
            }
        })
        .on_server_side("who?", move |(): ()| async move { name })
        .on_server_side("say", |(sockets, Data(text)): (Broadcast, Data<String>)| async move {
            sockets.local().emit("said", &text).await.expect("in memory");
        });
    let other = Namespace::new("/other").on_server_side("changed", move |(): ()| {
        let notes = anything.clone();
        async move { notes.add(format!("{name}: other")) }
    });
    Io::builder().namespace(namespace).namespace(other).backplane(memory.clone())
}

/// Returns nodes that know of each other, with the same notes.
async fn nodes<const N: usize>(names: [&'static str; N]) -> ([Io; N], Notes) {
    let (memory, notes) = (Memory::history(100, HOUR), Notes::default());
    let nodes = names.map(|name| node(&memory, name, &notes).build());
    for io in &nodes {
        io.announce().await.expect("in memory");
    }
    (nodes, notes)
}

/// Returns the answers as JSON, sorted.
fn sorted(answers: NodeAnswers<Data<Value>>) -> Vec<String> {
    let answers = answers.answers.into_iter();
    let mut answers: Vec<String> = answers.map(|answer| answer.expect("JSON").0.to_string()).collect();
    answers.sort_unstable();
    answers
}

#[tokio::test]
async fn an_event_is_handled_by_each_other_node_once() {
    let ([left, _middle, _right], notes) = nodes(["left", "middle", "right"]).await;
    left.of("/chat").server_side_emit("changed", "x").expect("in memory");
    let mut seen = [notes.next().await, notes.next().await];
    seen.sort_unstable();
    assert_eq!(seen, ["middle: changed x", "right: changed x"]);
    // What is selected makes no difference, and an event of one namespace is none of another.
    left.of("/other").to("nobody").local().server_side_emit("changed", &()).expect("in memory");
    let mut seen = [notes.next().await, notes.next().await];
    seen.sort_unstable();
    assert_eq!(seen, ["middle: other", "right: other"]);
    assert!(notes.is_empty());
}

#[tokio::test]
async fn an_event_that_a_node_does_not_know_is_ignored() {
    let ([left, _right], notes) = nodes(["left", "right"]).await;
    for (namespace, event) in [("/chat", "unknown"), ("/unknown", "changed"), ("/other", "who?")] {
        left.of(namespace).server_side_emit(event, "x").expect("in memory");
        let asked = left.of(namespace).server_side_emit_with_ack::<(), _>(event, "x").await;
        let asked = asked.expect("in memory");
        assert_eq!((asked.answers.len(), asked.unhandled, asked.missing), (0, 1, 0));
    }
    // A type that its handler does not take.
    let asked =
        left.of("/chat").server_side_emit_with_ack::<(), _>("changed", &[1]).await.expect("in memory");
    assert_eq!((asked.answers.len(), asked.unhandled, asked.missing), (0, 1, 0));
    left.of("/chat").server_side_emit("changed", "last").expect("in memory");
    assert_eq!(notes.next().await, "right: changed last");
    assert!(notes.is_empty());
}

#[tokio::test]
async fn failed_events_of_other_nodes_are_counted() {
    let (memory, notes, metrics) = (Memory::history(100, HOUR), Notes::default(), Metrics::new());
    let left = node(&memory, "left", &notes).build();
    let unserializable =
        Namespace::new("/broken").on_server_side("ask", |(): ()| async { Args("not a tuple") });
    let _right = node(&memory, "right", &notes)
        .namespace(unserializable)
        .settings(Settings::new().metrics(&metrics))
        .build();
    left.of("/chat").server_side_emit("changed", &[1]).expect("in memory");
    left.of("/broken").server_side_emit("ask", &()).expect("in memory");
    let failed = eventually(|| {
        let failed = metrics.snapshot().failed_events;
        (failed.len() == 2).then_some(failed)
    })
    .await;
    assert_eq!(failed.into_iter().collect::<Vec<_>>(), [("answer", 1), ("data", 1)]);
    assert!(notes.is_empty());
}

#[tokio::test]
async fn the_answers_of_all_other_nodes_are_gathered() {
    let ([left, middle, right], notes) = nodes(["left", "middle", "right"]).await;
    for (io, others) in
        [(&left, ["middle", "right"]), (&middle, ["left", "right"]), (&right, ["left", "middle"])]
    {
        let asked = io.of("/chat").server_side_emit_with_ack("who?", &()).await.expect("in memory");
        assert_eq!((asked.unhandled, asked.missing), (0, 0));
        assert_eq!(sorted(asked), others.map(|name| json!(name).to_string()));
    }
    let question = Args((7, Binary::from("\0x")));
    let asked = left.of("/chat").server_side_emit_with_ack::<Data<Binary>, _>("picture", &question).await;
    let asked = asked.expect("in memory");
    let answers: Vec<Binary> = asked.answers.into_iter().map(|answer| answer.expect("binary").0).collect();
    assert_eq!(answers, [Binary::from("\0x"), Binary::from("\0x")]);
    let mut seen = [notes.next().await, notes.next().await];
    seen.sort_unstable();
    assert_eq!(seen, [r#"middle: picture 7 b"\0x""#, r#"right: picture 7 b"\0x""#]);
    // Answers of another type than the one that is expected.
    let asked = left.of("/chat").server_side_emit_with_ack::<Data<u32>, _>("who?", &()).await;
    let asked = asked.expect("in memory");
    assert_eq!((asked.answers.len(), asked.answers.iter().filter(|answer| answer.is_err()).count()), (2, 2));
}

#[tokio::test]
async fn a_handler_reaches_the_sockets_of_its_node() {
    let (memory, notes) = (Memory::history(100, HOUR), Notes::default());
    let (left, to_left) = serve_io(node(&memory, "left", &notes)).await;
    let (_right, to_right) = serve_io(node(&memory, "right", &notes)).await;
    let (mut a, _) = connect(to_left, "40/chat,").await;
    let (mut b, _) = connect(to_right, "40/chat,").await;
    left.of("/chat").server_side_emit("say", "hello").expect("in memory");
    expect(&mut b, r#"42/chat,["said","hello"]"#).await;
    left.of("/chat").emit("last", &()).await.expect("in memory");
    expect(&mut a, r#"42/chat,["last"]"#).await;
    expect(&mut b, r#"42/chat,["last"]"#).await;
}

#[tokio::test]
async fn a_node_is_waited_for_once_it_is_announced() {
    let (memory, notes) = (Memory::history(100, HOUR), Notes::default());
    let (left, right) = (node(&memory, "left", &notes).build(), node(&memory, "right", &notes).build());
    let ask = async || left.of("/chat").server_side_emit_with_ack("who?", &()).await.expect("in memory");
    let before = ask().await;
    assert_eq!((before.unhandled, before.missing), (0, 0));
    assert_eq!(sorted(before), [""; 0]);
    right.announce().await.expect("in memory");
    assert_eq!(sorted(ask().await), [r#""right""#]);
}

#[tokio::test(start_paused = true)]
async fn answers_are_waited_for_until_the_deadline() {
    let (memory, notes) = (Memory::history(100, HOUR), Notes::default());
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let slow = Namespace::new("/slow").on_server_side("ask", move |(): ()| {
        let gate = opened.clone();
        async move { gate.acquire().await.expect("open").forget() }
    });
    let left = node(&memory, "left", &notes).build();
    let right = node(&memory, "right", &notes).namespace(slow).build();
    right.announce().await.expect("in memory");
    // It is present as a node is, and answers nothing.
    let silent: Hub = Hub::builder().backplane(memory).build();
    let (_client, server) = fullduplex::testing::pair(&fullduplex::Config::new());
    let (_receiver, sender) = server.split();
    let seat = silent.add(sender);
    seat.enter(",nodes", "").await.expect("in memory");

    let time = Duration::from_secs(7);
    let begun = Instant::now();
    let asked = left.of("/chat").timeout(time).server_side_emit_with_ack("who?", &()).await;
    let asked = asked.expect("in memory");
    assert_eq!((asked.unhandled, asked.missing), (0, 1));
    assert_eq!(sorted(asked), [r#""right""#]);
    // The clock is paused, and its steps are those of timers.
    assert!((time..time + Duration::from_millis(100)).contains(&begun.elapsed()), "{:?}", begun.elapsed());

    let ask = || async { left.of("/slow").server_side_emit_with_ack::<(), _>("ask", &()).await };
    let asked = ask().await.expect("in memory");
    assert_eq!((asked.answers.len(), asked.unhandled, asked.missing), (0, 0, 2));
    gate.add_permits(2);
    let asked = ask().await.expect("in memory");
    assert_eq!((asked.answers.len(), asked.unhandled, asked.missing), (1, 0, 1));
}

#[tokio::test]
async fn a_node_alone_has_no_others() {
    let namespace = Namespace::new("/chat").on_server_side("who?", |(): ()| async { "me" });
    let io = Io::builder().namespace(namespace).build();
    io.announce().await.expect("alone");
    io.of("/chat").server_side_emit("who?", &()).expect("alone");
    let asked = io.of("/chat").server_side_emit_with_ack::<(), _>("who?", &()).await.expect("alone");
    assert_eq!((asked.answers.len(), asked.unhandled, asked.missing), (0, 0, 0));
    let failed = io.of("/chat").server_side_emit("who?", &Args("not a tuple"));
    assert!(matches!(failed, Err(socketio::EmitError::Serialize(_))), "{failed:?}");
}

#[test]
#[should_panic(expected = "has a handler already")]
fn a_second_handler_of_an_event_is_refused() {
    let handler = |(): ()| async {};
    let _ = Namespace::new("/").on_server_side("a", handler).on_server_side("a", handler);
}
