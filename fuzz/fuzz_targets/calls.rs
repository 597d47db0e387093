//! Any messages to a router: each is answered as an independent reading of it demands, and each call
//! of the router gets the answer that is in them.
//!
//! The messages are the lines of the input. One that is not UTF-8 is binary.

#![no_main]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use fullduplex::{
    Config, Message, Receiver, Sender,
    calls::{self, Call, CallError, Limits, Router},
    testing,
};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{io::DuplexStream, runtime};

mod reading;

use reading::{Answer, Reading};

/// The calls that the router makes: their ids are 1 to 3.
const CALLS: u64 = 3;
/// The last event, and the answer to it. No line may contain it.
const END: &str = "the end of all lines";

type Raw = Box<RawValue>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
#[allow(dead_code, reason = "they are parsed")]
struct Typed {
    name: String,
    count: Option<u32>,
    #[serde(default)]
    list: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "they are parsed")]
enum Kind {
    One,
    Two { deep: Box<Option<Kind>> },
}

/// What the functions of the router have seen.
#[derive(Default)]
struct Seen {
    notices: Vec<String>,
    failures: usize,
}

type State = Arc<Mutex<Seen>>;

fn router() -> Router<State> {
    Router::<State>::new()
        // Less than there may be in the lines.
        .limits(Limits::new().max_waiting(2).max_waiting_bytes(600).call_timeout(None))
        .on("echo", |_context, data: Raw| async { Ok(data) })
        .on("typed", |_context, _data: Typed| async { Ok(true) })
        .on("unit", |_context, (): ()| async { Ok(()) })
        .on("refuse", |_context, text: String| async { Err::<(), _>(CallError::refused(text)) })
        .on(END, |_context, (): ()| async { Ok(END) })
        .on_failure(|context, _error| context.state().lock().expect("no panic").failures += 1)
        .on_notice(|context, text| context.state().lock().expect("no panic").notices.push(text.to_owned()))
}

/// What must be sent for a line.
#[derive(Debug)]
enum Expected {
    Nothing,
    /// An answer with this data, as it was written.
    Data(u64, String),
    /// A refusal; for a line without a valid id, a notice.
    Error(Option<u64>, Refusal),
}

/// What a refusal says.
#[derive(Debug)]
enum Refusal {
    /// This text, and no code.
    Text(String),
    /// The code of an unknown event; without an id, its name.
    Unknown(String),
    /// The code of invalid data, and this field, or one that begins so.
    Field(&'static str),
    /// The code of invalid data, and no field: the message is wrong as a whole.
    Whole,
}

fn expected(line: &[u8]) -> Expected {
    let Ok(text) = std::str::from_utf8(line) else { return Expected::Error(None, Refusal::Whole) };
    match Reading::of(text) {
        Reading::Event { name, id, data } => event(&name, id, data),
        Reading::Answer { .. } | Reading::Notice(_) => Expected::Nothing,
        Reading::InvalidMember(id, field) => Expected::Error(id, Refusal::Field(field)),
        Reading::Invalid => Expected::Error(None, Refusal::Whole),
    }
}

fn event(name: &str, id: Option<u64>, data: Option<String>) -> Expected {
    let json = data.as_deref().unwrap_or("null");
    let error = |refusal| Expected::Error(id, refusal);
    let answer = |is_valid: bool, data: String| match id {
        _ if !is_valid => error(Refusal::Field("data")),
        Some(id) => Expected::Data(id, data),
        None => Expected::Nothing,
    };
    match name {
        "echo" => answer(true, json.to_owned()),
        "typed" => answer(serde_json::from_str::<Typed>(json).is_ok(), "true".into()),
        "unit" => answer(json == "null", "null".into()),
        "refuse" => match serde_json::from_str(json) {
            Ok(text) => error(Refusal::Text(text)),
            Err(_) => error(Refusal::Field("data")),
        },
        _ => error(Refusal::Unknown(name.to_owned())),
    }
}

/// Compares a message of the router with what must be sent.
fn check(message: &Message, expected: &Expected) {
    let text = message.as_text().expect("text");
    let mut members: HashMap<String, Raw> = serde_json::from_str(text).expect("an object");
    let id = members.remove("ack").map(|ack| ack.get().parse::<u64>().expect("an id"));
    let ok = members.remove("ok").expect("a result");
    match expected {
        Expected::Nothing => panic!("{text} was not expected"),
        Expected::Data(expected, data) => {
            assert_eq!((id, ok.get()), (Some(*expected), "true"), "{text}");
            assert_eq!(members.remove("data").expect("data").get(), data);
        }
        Expected::Error(expected, refusal) => {
            assert_eq!((id, ok.get()), (*expected, "false"), "{text}");
            let mut string = |name| members.remove(name).map(|raw| parse::<String>(raw.get()));
            let (error, code, field) = (string("error").expect("an error"), string("code"), string("field"));
            assert!(!error.is_empty() || matches!(refusal, Refusal::Text(_)));
            check_refusal(refusal, id, &error, code.as_deref(), field.as_deref());
        }
    }
    assert!(members.is_empty(), "{text}");
}

fn check_refusal(refusal: &Refusal, id: Option<u64>, error: &str, code: Option<&str>, field: Option<&str>) {
    assert!(error.len() <= 1024 && field.is_none_or(|field| field.len() <= 256));
    // A notice has a text alone, which begins with the name of the event, if that is known.
    match refusal {
        Refusal::Text(text) => {
            let text = reading::beginning(text, 1024);
            assert!(id.is_none() || error == text);
            assert_eq!((code, field), (None, None));
        }
        Refusal::Unknown(name) => {
            assert!(error.ends_with("unknown event"), "{error} {name}");
            assert_eq!((code, field), (id.map(|_| "unknown_event"), None));
        }
        Refusal::Field(member) => {
            assert!(error.contains(&format!("field `{member}")), "{error}");
            assert_eq!(code, id.map(|_| "invalid_data"));
            assert!(id.is_none() || field.is_some_and(|field| field.starts_with(member)), "{field:?}");
        }
        Refusal::Whole => assert_eq!((id, code, field), (None, None, None)),
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> T {
    serde_json::from_str(json).expect("JSON of this type")
}

/// A call without a router is what the line says, and means the same when it is encoded again.
fn check_call(line: &[u8]) {
    let message = std::str::from_utf8(line).map_or_else(|_| Message::binary(line.to_vec()), Message::from);
    let read = message.as_text().map_or(Reading::Invalid, Reading::of);
    let (call, Reading::Event { name, id, data }) = (Call::parse(message), &read) else {
        // The refusals are those of the router, apart from answers, which are no events.
        return;
    };
    let call = call.expect("an event");
    assert_eq!((call.event(), call.id()), (&**name, *id));
    let raw: Raw = call.data().expect("any JSON");
    assert_eq!(raw.get(), data.as_deref().unwrap_or("null"));
    let again = Call::parse(calls::event(name, &raw).expect("JSON")).expect("encoded here");
    assert_eq!((again.event(), again.id()), (&**name, None));
    assert_eq!(again.data::<Raw>().expect("any JSON").get(), raw.get());
    let answer = call.answer(&raw).expect("JSON");
    assert_eq!(answer.is_some(), id.is_some());
    if let (Some(answer), Some(id)) = (answer, id) {
        check(&answer, &Expected::Data(*id, raw.get().to_owned()));
        assert!(Call::parse(answer).is_err(), "an answer is no event");
    }
}

/// Checks the outcome of a call of the router against the first answer to it.
fn check_outcome(outcome: Result<Raw, CallError>, answer: Option<&Answer>) {
    match (outcome, answer) {
        (Ok(data), Some(Answer::Data(expected))) => assert_eq!(data.get(), expected),
        (Err(CallError::Refused(text)), Some(Answer::Refused(expected))) => assert_eq!(text, *expected),
        (Err(CallError::UnknownEvent), Some(Answer::UnknownEvent)) => {}
        (Err(CallError::InvalidData(invalid)), Some(Answer::InvalidData(field))) => {
            assert_eq!(invalid.field(), field.as_deref());
        }
        (Err(CallError::MalformedAnswer(invalid)), Some(Answer::Malformed(field))) => {
            assert_eq!(invalid.field(), Some(*field));
        }
        (Err(CallError::Lost), None) => {}
        (outcome, answer) => panic!("{outcome:?} for {answer:?}"),
    }
}

async fn send(lines: &[&[u8]], sender: &Sender) {
    for line in lines {
        let message =
            std::str::from_utf8(line).map_or_else(|_| Message::binary(line.to_vec()), Message::from);
        sender.feed(message).await.expect("open");
    }
    sender.send(format!(r#"{{"event":"{END}","id":0}}"#)).await.expect("open");
}

/// Receives until the last answer.
async fn receive(receiver: &mut Receiver<DuplexStream>) -> Vec<Message> {
    let mut received = Vec::new();
    loop {
        let message = receiver.recv().await.expect("open").expect("an answer to the last call");
        let is_last = message.as_text().is_some_and(|text| text.contains(END));
        received.push(message);
        if is_last {
            return received;
        }
    }
}

async fn run(lines: &[&[u8]]) {
    let (client, server) = testing::pair(&Config::new().ping_interval(None));
    let state = State::default();
    let attached = router().attach(server, state.clone());
    let calls: Vec<_> =
        (1..=CALLS).map(|id| tokio::spawn(attached.peer().call::<Raw, _>("ask", &id))).collect();
    let running = tokio::spawn(attached.run());
    let (mut receiver, sender) = client.split();
    let ((), received) = tokio::join!(send(lines, &sender), receive(&mut receiver));
    sender.start_close(None).expect("open");
    assert!(receiver.recv().await.expect("a clean close").is_none());
    running.await.expect("no panic").expect("no line ends the connection");

    // The calls, which may have been sent between any answers; then one answer for each line.
    let is_call = |message: &&Message| message.as_text().is_some_and(|text| text.starts_with(r#"{"event""#));
    assert_eq!(received.iter().filter(is_call).count() as u64, CALLS);
    let mut answers = received.iter().filter(|message| !is_call(message));
    let mut failures = 0;
    for expected in lines.iter().map(|line| expected(line)) {
        failures += usize::from(matches!(expected, Expected::Error(..)));
        if !matches!(expected, Expected::Nothing) {
            check(answers.next().expect("an answer"), &expected);
        }
    }
    check(answers.next().expect("the last answer"), &Expected::Data(0, format!("{END:?}")));
    assert!(answers.next().is_none());

    let (mut first, mut notices) = (HashMap::new(), Vec::new());
    for text in lines.iter().filter_map(|line| std::str::from_utf8(line).ok()) {
        match Reading::of(text) {
            Reading::Answer { id, answer } => drop(first.entry(id).or_insert(answer)),
            Reading::Notice(text) => notices.push(text),
            _ => {}
        }
    }
    for (id, call) in (1..).zip(calls) {
        check_outcome(call.await.expect("no panic"), first.get(&id));
    }
    let seen = state.lock().expect("no panic");
    assert_eq!((&seen.notices, seen.failures), (&notices, failures));
}

thread_local! {
    static RUNTIME: runtime::Runtime =
        runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
}

fuzz_target!(|input: &[u8]| {
    if input.windows(END.len()).any(|window| window == END.as_bytes()) {
        return;
    }
    let lines: Vec<_> = input.split(|byte| *byte == b'\n').take(32).collect();
    lines.iter().for_each(|line| check_call(line));
    RUNTIME.with(|runtime| runtime.block_on(run(&lines)));
});
