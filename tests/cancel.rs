//! Row 52 of `HOSTILE.md`: a future that is dropped at any await loses, corrupts and duplicates
//! nothing.
//!
//! Each future is polled n times and dropped, for every n up to the number at which it completes.

mod support;

use std::time::Duration;

use bytes::Bytes;
use fullduplex::{
    CloseCode, Config, Error, Event, Message, Permit,
    Role::{self, Client, Server},
    WebSocket,
};
use proptest::prelude::*;
use support::{
    finished,
    frames::{self, Frame, binary, close, continuation, ping, pong, text},
    offence::wire_to,
    pair::pair,
    polled,
    script::{self, Script, Scripted},
    writes::{WRITES, Writes, narrow},
};
use tokio::io::DuplexStream;

/// Runs a case for both roles, each way of writing and each number of polls, until `case` reports
/// that the future completed.
async fn at_every_await(case: impl Fn(Role, Writes, usize) -> bool) {
    for role in [Server, Client] {
        for writes in WRITES {
            let mut times = 0;
            while !case(role, writes, times) {
                times += 1;
                if writes.is_blocked() && times > 5 {
                    break;
                }
                assert!(times < 1000, "{role:?} {writes:?}: the future never completes");
            }
            let waits = matches!(writes, Writes::Drip | Writes::Stutter | Writes::DripAndStutter);
            assert!(times > usize::from(waits), "{role:?} {writes:?}: the future never waits");
        }
    }
}

/// Opens a connection that has one message queued.
fn with_a_message_queued(role: Role, writes: Writes) -> (WebSocket<Scripted>, Script) {
    let (mut ws, script) = script::open(role, &narrow());
    finished(ws.feed("the first one")).expect("the queue is empty");
    writes.set_up(&script);
    (ws, script)
}

/// Lets the stream accept everything, sends another message, and returns the frames that were
/// written before it.
fn drain(mut ws: WebSocket<Scripted>, script: &Script) -> Vec<(u8, Vec<u8>)> {
    Writes::unblock(script);
    finished(ws.send("the last one")).expect("open");
    assert_eq!(ws.queued_bytes(), 0);
    let mut frames = frames::parse(&script.written());
    assert_eq!(frames.pop(), Some((0x81, b"the last one".to_vec())));
    frames
}

/// Returns the first bytes and payloads of these frames.
fn parsed(frames: &[Frame]) -> Vec<(u8, Vec<u8>)> {
    frames::parse(&frames::wire(frames))
}

// --- sending

#[tokio::test]
async fn dropped_feed_has_queued_nothing_and_completed_feed_has_queued_its_message() {
    at_every_await(|role, writes, times| {
        let (mut ws, script) = with_a_message_queued(role, writes);
        let done = polled(ws.feed("the second one"), times, || writes.step(&script));
        let frames = drain(ws, &script);
        let is_done = done.is_some();
        match done {
            None => assert_eq!(frames, parsed(&[text("the first one")])),
            Some(Ok(())) => assert_eq!(frames, parsed(&[text("the first one"), text("the second one")])),
            Some(Err(error)) => panic!("{error}"),
        }
        is_done
    })
    .await;
}

#[tokio::test]
async fn dropped_send_has_queued_its_whole_message_or_nothing() {
    at_every_await(|role, writes, times| {
        let (mut ws, script) = with_a_message_queued(role, writes);
        let done = polled(ws.send(vec![7; 30]), times, || writes.step(&script));
        let frames = drain(ws, &script);
        let (first, second) = (text("the first one"), binary([7; 30]));
        if done.is_some() || frames.len() == 2 {
            assert_eq!(frames, parsed(&[first, second]));
        } else {
            assert_eq!(frames, parsed(&[first]));
        }
        done.is_some()
    })
    .await;
}

#[tokio::test]
async fn dropped_send_of_a_borrowed_message_has_queued_all_of_it_once_it_was_polled() {
    for len in [30, 200] {
        at_every_await(|role, writes, times| {
            let (mut ws, script) = script::open(role, &narrow());
            writes.set_up(&script);
            let data = vec![7; len];
            let done = polled(ws.send(&data), times, || writes.step(&script));
            let expected = if times == 0 { Vec::new() } else { vec![(0x82, data)] };
            assert_eq!(drain(ws, &script), expected);
            done.is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn dropped_flush_loses_nothing_and_completed_flush_has_written_and_flushed_everything() {
    at_every_await(|role, writes, times| {
        let (mut ws, script) = with_a_message_queued(role, writes);
        let done = polled(ws.flush(), times, || writes.step(&script));
        if let Some(result) = &done {
            result.as_ref().expect("the stream accepts everything");
            assert_eq!(frames::parse(&script.written()), parsed(&[text("the first one")]));
            assert_eq!((ws.queued_bytes(), script.flushes()), (0, 1));
        }
        assert_eq!(drain(ws, &script), parsed(&[text("the first one")]));
        done.is_some()
    })
    .await;
}

#[tokio::test]
async fn dropped_reserve_queues_nothing_and_a_permit_queues_at_most_one_message() {
    for uses in [true, false] {
        at_every_await(|role, writes, times| {
            let (mut ws, script) = with_a_message_queued(role, writes);
            let permit: Option<Result<Permit<'_, _>, _>> =
                polled(ws.reserve(20), times, || writes.step(&script));
            let done = permit.is_some();
            if let (Some(permit), true) = (permit, uses) {
                permit.expect("room").feed("the second one").expect("within the permit");
            }
            let mut expected = parsed(&[text("the first one")]);
            if done && uses {
                expected.extend(parsed(&[text("the second one")]));
            }
            assert_eq!(drain(ws, &script), expected);
            done
        })
        .await;
    }
}

#[tokio::test]
async fn dropped_ping_has_queued_its_whole_ping_or_nothing() {
    at_every_await(|role, writes, times| {
        let (mut ws, script) = with_a_message_queued(role, writes);
        let done = polled(ws.ping("a ping of 20 bytes.."), times, || writes.step(&script));
        let mut frames = drain(ws, &script);
        let ping = parsed(&[ping("a ping of 20 bytes..")]).remove(0);
        let before = frames.len();
        frames.retain(|frame| *frame != ping);
        assert!(before - frames.len() <= 1, "duplicated");
        assert!(done.is_none() || before - frames.len() == 1, "lost");
        assert_eq!(frames, parsed(&[text("the first one")]));
        done.is_some()
    })
    .await;
}

#[tokio::test]
async fn pending_writes_that_are_dropped_repeatedly_corrupt_no_frame() {
    for role in [Server, Client] {
        for writes in [Writes::Drip, Writes::Stutter, Writes::DripAndStutter, Writes::NotVectored] {
            let (mut ws, script) = script::open(role, &narrow());
            writes.set_up(&script);
            let messages: Vec<_> =
                [3, 0, 126, 5000, 1, 70].map(|len| Message::binary(vec![len as u8; len])).into();
            for message in &messages {
                // One poll for each future; no message is fed again once it was accepted.
                while polled(ws.feed(message.clone()), 1, || writes.step(&script)).is_none() {}
                let _dropped = polled(ws.flush(), 1, || writes.step(&script));
                let _dropped = polled(ws.recv(), 1, || writes.step(&script));
            }
            while polled(ws.flush(), 1, || writes.step(&script)).is_none() {}
            let expected: Vec<_> =
                messages.iter().map(|message| (0x82, message.as_bytes().to_vec())).collect();
            assert_eq!(frames::parse(&script.written()), expected, "{role:?} {writes:?}");
        }
    }
}

// --- closing

#[tokio::test(start_paused = true)]
async fn recv_completes_the_closing_handshake_of_a_dropped_close() {
    for reply_at in [0, 3, 50] {
        at_every_await(|role, writes, times| {
            let (mut ws, script) = with_a_message_queued(role, writes);
            let mut polls = 0;
            let peer = || {
                script.bring(wire_to(role, &[text("in flight"), close(4000, "of the peer")]));
                script.end();
            };
            let done = polled(ws.close(CloseCode::NORMAL, "bye"), times, || {
                writes.step(&script);
                if polls == reply_at {
                    peer();
                }
                polls += 1;
            });
            if times == 0 {
                // A future that is never polled does nothing.
                assert_eq!(drain(ws, &script), parsed(&[text("the first one")]));
                return false;
            }
            Writes::unblock(&script);
            if polls <= reply_at {
                peer();
                assert_eq!(finished(ws.recv()).expect("a message"), Some(Message::from("in flight")));
            }
            if let Some(result) = &done {
                result.as_ref().expect("closed cleanly");
            }
            assert_eq!(finished(ws.recv()).expect("closed cleanly"), None);
            assert_eq!(ws.close_frame().expect("a Close with a code").reason(), "of the peer");
            assert_eq!(
                frames::parse(&script.written()),
                parsed(&[text("the first one"), close(1000, "bye")]),
                "{role:?} {writes:?} {times}"
            );
            assert!(script.is_shut_down());
            done.is_some()
        })
        .await;
    }
}

// --- receiving

/// Returns frames of every kind, with control frames between the fragments of messages.
fn all_kinds() -> Vec<Frame> {
    vec![
        text("one"),
        ping("1"),
        text("tw").more(),
        ping("2"),
        continuation("").more(),
        pong("unasked"),
        continuation("o \u{20AC}"),
        binary(""),
        binary(vec![7; 300]),
        ping([b'x'; 125]),
        binary(vec![8; 40_000]).more(),
        continuation(vec![9; 40_000]),
        text("last"),
        close(1000, "bye"),
    ]
}

/// Returns the events that are received from these frames.
fn all_events() -> Vec<Event> {
    let large = [vec![8; 40_000], vec![9; 40_000]].concat();
    vec![
        Event::Message("one".into()),
        Event::Ping("1".into()),
        Event::Ping("2".into()),
        Event::Pong("unasked".into()),
        Event::Message("two \u{20AC}".into()),
        Event::Message(Message::binary("")),
        Event::Message(Message::binary(vec![7; 300])),
        Event::Ping(Bytes::from(vec![b'x'; 125])),
        Event::Message(Message::binary(large)),
        Event::Message("last".into()),
        Event::Close(Some(fullduplex::CloseFrame::new(CloseCode::NORMAL, "bye").expect("valid"))),
    ]
}

/// Makes the frames of [`all_kinds`] readable in chunks of this many bytes, with a read that is
/// pending once after each.
fn bring_in_chunks(script: &Script, role: Role, len: usize) {
    for chunk in wire_to(role, &all_kinds()).chunks(len) {
        script.bring(chunk);
        script.pause();
    }
    script.end();
}

#[tokio::test(start_paused = true)]
async fn recv_event_dropped_at_every_await_loses_and_duplicates_nothing() {
    for role in [Server, Client] {
        for (len, times) in [(1, 1), (1, 7), (3, 1), (13, 2), (500, 1), (33_000, 1), (100_000, 1)] {
            for writes in [Writes::Drip, Writes::Stutter, Writes::DripAndStutter, Writes::NotVectored] {
                let (mut ws, script) = script::open(role, &narrow());
                writes.set_up(&script);
                bring_in_chunks(&script, role, len);
                let mut events = Vec::new();
                loop {
                    match polled(ws.recv_event(), times, || writes.step(&script)) {
                        None => {}
                        Some(Ok(Some(event))) => events.push(event),
                        Some(Ok(None)) => break,
                        Some(Err(error)) => panic!("{error}"),
                    }
                }
                assert!(events == all_events(), "{role:?} {len} {times} {writes:?}");
                let pongs = [pong("1"), pong("2"), pong([b'x'; 125]), close(1000, "bye")];
                assert_eq!(
                    frames::parse(&script.written()),
                    parsed(&pongs),
                    "{role:?} {len} {times} {writes:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn recv_dropped_once_at_any_await_loses_and_duplicates_nothing() {
    let messages: Vec<_> = all_events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
        .collect();
    for times in 0..400 {
        let (mut ws, script) = script::open(Server, &narrow());
        script.stutter();
        bring_in_chunks(&script, Server, 301);
        let mut left = times;
        let mut received = Vec::new();
        loop {
            // Futures run one after the other until that many polls are used; the future that uses
            // the last one is dropped.
            let done = polled(ws.recv(), left.max(1), || left = left.saturating_sub(1));
            let result = match done {
                Some(result) => result,
                None => finished(ws.recv()),
            };
            match result.expect("closed cleanly") {
                Some(message) => received.push(message),
                None => break,
            }
        }
        assert!(received == messages, "{times}");
        let pongs = [pong("1"), pong("2"), pong([b'x'; 125]), close(1000, "bye")];
        assert_eq!(frames::parse(&script.written()), parsed(&pongs), "{times}");
    }
}

#[tokio::test]
async fn recv_dropped_while_queued_frames_are_written_corrupts_and_duplicates_nothing() {
    at_every_await(|role, writes, times| {
        let (mut ws, script) = with_a_message_queued(role, writes);
        assert!(polled(ws.recv(), times, || writes.step(&script)).is_none(), "nothing was received");
        let out = times > 0 && ws.queued_bytes() == 0;
        assert_eq!(drain(ws, &script), parsed(&[text("the first one")]));
        out
    })
    .await;
}

// --- random programs

/// An operation of one end, and how often its future is polled before it is dropped.
#[derive(Debug, Clone)]
struct Action {
    client: bool,
    operation: Operation,
    polls: usize,
}

#[derive(Debug, Clone)]
enum Operation {
    Feed(usize),
    Send(usize),
    Reserve(usize, bool),
    Ping,
    Flush,
    Recv,
    RecvEvent,
    StartClose,
}

/// Generates an action.
fn action() -> impl Strategy<Value = Action> {
    let len = || prop_oneof![8 => 0_usize..40, 2 => 100_usize..200, 1 => 4000_usize..9000];
    let operation = prop_oneof![
        6 => len().prop_map(Operation::Feed),
        6 => len().prop_map(Operation::Send),
        4 => (len(), any::<bool>()).prop_map(|(len, uses)| Operation::Reserve(len, uses)),
        2 => Just(Operation::Ping),
        4 => Just(Operation::Flush),
        6 => Just(Operation::Recv),
        6 => Just(Operation::RecvEvent),
        1 => Just(Operation::StartClose),
    ];
    let polls = prop_oneof![6 => 0_usize..4, 1 => 4_usize..40];
    (any::<bool>(), operation, polls).prop_map(|(client, operation, polls)| Action {
        client,
        operation,
        polls,
    })
}

/// One end, with the messages that it has sent and received.
struct End {
    ws: WebSocket<DuplexStream>,
    /// The messages sent, in order; `false` marks one that may not have been sent.
    sent: Vec<(Message, bool)>,
    received: Vec<Message>,
    over: bool,
}

impl End {
    fn new(ws: WebSocket<DuplexStream>) -> Self {
        Self { ws, sent: Vec::new(), received: Vec::new(), over: false }
    }

    /// Polls this operation at most this many times, and records its result.
    fn run(&mut self, operation: &Operation, polls: usize, nth: usize) {
        let message = |len: usize| Message::binary([&nth.to_be_bytes()[..], &vec![nth as u8; len]].concat());
        match operation {
            Operation::Feed(len) => match polled(self.ws.feed(message(*len)), polls, || {}) {
                None | Some(Err(Error::Closed)) => {}
                Some(result) => {
                    result.expect("it fails only after a Close");
                    self.sent.push((message(*len), true));
                }
            },
            Operation::Send(len) => match polled(self.ws.send(message(*len)), polls, || {}) {
                None => self.sent.push((message(*len), false)),
                Some(Err(Error::Closed)) => {}
                Some(result) => {
                    result.expect("it fails only after a Close");
                    self.sent.push((message(*len), true));
                }
            },
            Operation::Reserve(len, uses) => match polled(self.ws.reserve(len + 8), polls, || {}) {
                None | Some(Err(Error::Closed)) => {}
                Some(permit) => {
                    let permit = permit.expect("it fails only after a Close");
                    if *uses {
                        permit.feed(message(*len)).expect("within the permit");
                        self.sent.push((message(*len), true));
                    }
                }
            },
            Operation::Ping => {
                let _either = polled(self.ws.ping(nth.to_be_bytes()), polls, || {});
            }
            Operation::Flush => {
                if let Some(result) = polled(self.ws.flush(), polls, || {}) {
                    result.expect("the connection has not failed");
                }
            }
            Operation::Recv => {
                let done = polled(self.ws.recv(), polls, || {});
                self.record(done.map(|result| result.expect("no error").map(Event::Message)));
            }
            Operation::RecvEvent => {
                let done = polled(self.ws.recv_event(), polls, || {});
                self.record(done.map(|result| result.expect("no error")));
            }
            Operation::StartClose => {
                let _already = self.ws.start_close(None);
            }
        }
    }

    /// Records a received message, or the end of the connection.
    fn record(&mut self, event: Option<Option<Event>>) {
        match event {
            Some(Some(Event::Message(message))) => self.received.push(message),
            Some(None) => self.over = true,
            _ => {}
        }
    }

    /// Returns whether this end has received the messages that the other end sent, in order and
    /// without duplicates. Messages that may not have been sent may be missing.
    fn has_received_messages_of(&self, other: &Self) -> bool {
        let mut received = self.received.iter().peekable();
        let all = other.sent.iter().all(|(message, sure)| received.next_if_eq(&message).is_some() || !sure);
        all && received.next().is_none()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_message_arrives_once_and_in_order_whichever_futures_are_dropped(
        actions in proptest::collection::vec(action(), 0..60),
        room in prop_oneof![1_usize..10, 10_usize..5000],
        max_write_buffer_size in 0_usize..300,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = runtime.enter();
        let config = Config::new().ping_interval(None).max_write_buffer_size(max_write_buffer_size)
            .close_timeout(Duration::from_secs(3600)).write_timeout(None);
        let (client, server) = pair(&config, room);
        let (mut client, mut server) = (End::new(client), End::new(server));
        for (nth, action) in actions.iter().enumerate() {
            let end = if action.client { &mut client } else { &mut server };
            end.run(&action.operation, action.polls, nth);
        }
        let _already = client.ws.start_close(None);
        let mut rounds = 0;
        while !(client.over && server.over) {
            client.run(&Operation::Recv, 1, 0);
            server.run(&Operation::Recv, 1, 0);
            rounds += 1;
            prop_assert!(rounds < 1_000_000, "no progress");
        }
        prop_assert!(server.has_received_messages_of(&client), "{:?} of {:?}", server.received, client.sent);
        prop_assert!(client.has_received_messages_of(&server), "{:?} of {:?}", client.received, server.sent);
    }
}
