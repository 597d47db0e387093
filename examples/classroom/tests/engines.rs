//! Two programs that share their rooms over a real engine, which is killed as well.

mod support;

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use support::{
    engine::{Engine, execute, free_port, nats, redis},
    person::{Person, Place, read, talk},
    program::Program,
};
use tokio::time::{sleep, timeout};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The messages of each sender.
const MESSAGES: usize = 150;

/// Starts a program with a database of its own.
async fn start(directory: &Path, engine: &'static str, url: &str) -> Program {
    let (directory, url) = (directory.to_owned(), url.to_owned());
    let starting = tokio::task::spawn_blocking(move || {
        let limits = ["--rate", "1000", "--burst", "1000", "--links", "--jwt-secret", SECRET];
        Program::start(&directory, &[&limits[..], &[engine, &url]].concat())
    });
    starting.await.expect("it starts")
}

/// Waits until so many messages were acknowledged.
async fn acknowledged(count: &AtomicUsize, messages: usize) {
    while count.load(SeqCst) < messages {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Persons talk on two programs. Kills one of them, then the engine, in the middle of it. The engine is
/// set up once, after its first start.
async fn talk_over(
    option: &'static str,
    scheme: &str,
    command: impl Fn(&Path, u16) -> Command,
    set_up: impl FnOnce(u16),
) {
    let directories: [_; 3] = std::array::from_fn(|_| tempfile::tempdir().expect("a directory"));
    let [of_engine, one, two] = directories.each_ref().map(|directory| directory.path());
    let port = free_port();
    let url = format!("{scheme}://127.0.0.1:{port}");
    let engine = Engine::start(&mut command(of_engine, port), port).await;
    set_up(port);
    let mut first = start(one, option, &url).await;
    let second = start(two, option, &url).await;
    let [_, student] = first.tickets();
    let places = [&first, &second].map(|program| Place::new(Mutex::new(program.address())));
    let mut reader = Person::new(&places[1], &student, "Reader").await;
    reader.connected().await;
    let count = Arc::<AtomicUsize>::default();
    let mut senders = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let person = Person::new(place, &student, &format!("Sender {number}")).await;
        senders.push(tokio::spawn(talk(person, number, MESSAGES, count.clone())));
    }
    let all = places.len() * MESSAGES;
    let reading = tokio::spawn(read(reader, all));
    acknowledged(&count, all / 4).await;
    drop(first);
    let first = start(one, option, &url).await;
    *places[0].lock().expect("no panic") = first.address();
    acknowledged(&count, all / 2).await;
    drop(engine);
    assert!(count.load(SeqCst) < all, "there are messages left to send");
    let _engine = Engine::start(&mut command(of_engine, port), port).await;
    let mut sent = Vec::new();
    for sender in senders {
        let (person, of_one) = sender.await.expect("no panic");
        assert!(of_one.is_sorted_by_key(|(offset, _)| *offset), "the messages of one sender are in order");
        sent.extend(of_one);
        let person = timeout(Duration::from_secs(120), read(person, all)).await.expect("in time");
        assert_eq!(person.received.len(), all);
    }
    sent.sort_unstable();
    let reader = timeout(Duration::from_secs(120), reading).await.expect("in time").expect("no panic");
    assert_eq!(reader.received, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_redis_each_acknowledged_message_is_there_once_in_order() {
    talk_over("--redis", "redis", redis, |_| {}).await;
}

/// The cluster is one server, which has all slots.
#[tokio::test(flavor = "multi_thread")]
async fn over_a_cluster_of_redis_each_acknowledged_message_is_there_once_in_order() {
    let command = |directory: &Path, port| {
        let (mut command, bus) = (redis(directory, port), free_port().to_string());
        command.args(["--cluster-enabled", "yes", "--cluster-port", &bus]);
        command
    };
    talk_over("--redis-cluster", "redis", command, |port| {
        assert_eq!(execute(port, "CLUSTER ADDSLOTSRANGE 0 16383"), "+OK");
        // It serves its slots a moment later.
        while execute(port, "EXISTS key") != ":0" {
            std::thread::sleep(Duration::from_millis(10));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_nats_each_acknowledged_message_is_there_once_in_order() {
    talk_over("--nats", "nats", nats, |_| {}).await;
}
