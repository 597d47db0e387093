//! The functions for all events that are sent, on one node and on several.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fullduplex::hub::{Event, Hub, Memory};
use socketio::{Args, Binary, Builder, Data, Io, Namespace, Socket};
use support::{
    Notes,
    socket::{connect, expect, serve_io},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Notes each event that is sent, with the id of the socket.
fn observed(notes: &Notes) -> Builder {
    let notes = notes.clone();
    let namespace = Namespace::new("/")
        .on_any_outgoing(move |socket, event, json| notes.add(format!("{} {event} {json}", socket.id())))
        .on("join", |socket: Socket, Data(room): Data<String>| async move {
            socket.join(&room).await.expect("in memory");
        })
        .on("say", |socket: Socket, (): ()| async move {
            socket.broadcast().emit("said", &()).await.expect("in memory");
        });
    Io::builder().namespace(namespace)
}

/// Asserts that these events were seen, each once, in any order of the sockets.
fn expect_notes(notes: &Notes, expected: &[(&str, &str)]) {
    let mut seen: Vec<String> = std::iter::from_fn(|| notes.try_next()).collect();
    let mut expected: Vec<String> = expected.iter().map(|(id, rest)| format!("{id} {rest}")).collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_event_for_several_sockets_is_seen_once_for_each() {
    let notes = Notes::default();
    let (io, address) = serve_io(observed(&notes)).await;
    let ((mut a, a_id), (mut b, b_id), (_c, c_id)) =
        (connect(address, "40").await, connect(address, "40").await, connect(address, "40").await);
    for ws in [&mut a, &mut b] {
        ws.send(r#"421["join","r"]"#).await.expect("open");
        expect(ws, "431[]").await;
    }
    let sent = io.of("/").to("r").to(&*c_id).emit("1", &Args((1, Binary::from("x")))).await;
    sent.expect("in memory");
    let first = r#"1 ["1",1,{"_placeholder":true,"num":0}]"#;
    expect_notes(&notes, &[(&a_id, first), (&b_id, first), (&c_id, first)]);
    io.of("/").to("r").except(&*a_id).emit("2", &()).await.expect("in memory");
    io.of("/").to(&*c_id).volatile().emit("3", &()).await.expect("in memory");
    io.of("/").local().emit("4\"", &()).await.expect("in memory");
    io.of("/").to("nobody").emit("5", &()).await.expect("in memory");
    let fourth = r#"4" ["4\""]"#;
    expect_notes(
        &notes,
        &[(&b_id, r#"2 ["2"]"#), (&c_id, r#"3 ["3"]"#), (&a_id, fourth), (&b_id, fourth), (&c_id, fourth)],
    );
    a.send(r#"421["say"]"#).await.expect("open");
    // What precedes the acknowledgement.
    for _ in 0..3 {
        support::message(&mut a).await.expect("open");
    }
    expect(&mut a, "431[]").await;
    expect_notes(&notes, &[(&b_id, r#"said ["said"]"#), (&c_id, r#"said ["said"]"#)]);
}

#[tokio::test]
async fn events_that_are_acknowledged_and_volatile_ones_are_seen() {
    let notes = Notes::default();
    let seen = notes.clone();
    let namespace = Namespace::new("/")
        .on_any_outgoing(move |_, event, json| seen.add(format!("{event} {json}")))
        .on("volatile", |socket: Socket, (): ()| async move {
            assert!(socket.emit_volatile("maybe", &1).expect("connected"));
        });
    let (io, address) = serve_io(Io::builder().namespace(namespace)).await;
    let (mut ws, _) = connect(address, "40").await;
    ws.send(r#"421["volatile"]"#).await.expect("open");
    expect(&mut ws, r#"42["maybe",1]"#).await;
    expect(&mut ws, "431[]").await;
    assert_eq!(notes.try_next().as_deref(), Some(r#"maybe ["maybe",1]"#));
    let asking = tokio::spawn(async move { io.of("/").emit_with_ack::<Data<i32>, _>("well?", &2).await });
    expect(&mut ws, r#"420["well?",2]"#).await;
    assert_eq!(notes.try_next().as_deref(), Some(r#"well? ["well?",2]"#));
    ws.send("430[3]").await.expect("open");
    let answers = asking.await.expect("no panic").expect("serializes").answers;
    assert_eq!(answers[0].1.as_ref().expect("answered"), &Data(3));
    assert!(notes.is_empty());
}

#[tokio::test]
async fn each_node_calls_its_functions_for_its_own_sockets() {
    for recovery in [None, Some(HOUR)] {
        let memory = Memory::history(100, HOUR);
        let node = |notes: &Notes| {
            let builder = observed(notes).backplane(memory.clone());
            recovery.into_iter().fold(builder, Builder::recovery)
        };
        let notes = [Notes::default(), Notes::default()];
        let (left, to_left) = serve_io(node(&notes[0])).await;
        let (_right, to_right) = serve_io(node(&notes[1])).await;
        let ((_a, a_id), (_b, b_id)) = (connect(to_left, "40").await, connect(to_right, "40").await);
        left.of("/").emit("1", &()).await.expect("in memory");
        left.of("/").local().emit("2", &()).await.expect("in memory");
        left.of("/").to(&*b_id).emit("3", &()).await.expect("in memory");
        expect_notes(&notes[0], &[(&a_id, r#"1 ["1"]"#), (&a_id, r#"2 ["2"]"#)]);
        expect_notes(&notes[1], &[(&b_id, r#"1 ["1"]"#), (&b_id, r#"3 ["3"]"#)]);
    }
}

/// Without such a function, nodes tell each other nothing about events.
#[tokio::test]
async fn nodes_learn_of_events_only_for_functions_that_see_them() {
    let memory = Memory::history(100, HOUR);
    let signals = Arc::new(AtomicUsize::new(0));
    let counted = signals.clone();
    let count = move |_: &Hub, event| {
        if matches!(event, Event::Signal(_)) {
            counted.fetch_add(1, SeqCst);
        }
    };
    let _other: Hub = Hub::builder().backplane(memory.clone()).on_event(count).build();
    let io = observed(&Notes::default()).namespace(Namespace::new("/plain")).backplane(memory).build();
    io.of("/plain").emit("1", &()).await.expect("in memory");
    io.of("/unknown").emit("2", &()).await.expect("in memory");
    io.of("/").local().emit("3", &()).await.expect("in memory");
    assert_eq!(signals.load(SeqCst), 0);
    io.of("/").emit("4", &()).await.expect("in memory");
    assert_eq!(signals.load(SeqCst), 1);
}
