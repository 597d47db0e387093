//! The program is killed with SIGKILL between messages, and started again.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use support::{
    person::{Person, Place, read, talk},
    program::Program,
};
use tokio::time::{sleep, timeout};

/// The messages of each sender.
const MESSAGES: usize = 150;
const SENDERS: usize = 2;
const KILLS: usize = 4;

async fn start(directory: &std::path::Path) -> Program {
    let directory = directory.to_owned();
    let rate = ["--rate", "1000", "--burst", "1000"];
    let starting = tokio::task::spawn_blocking(move || Program::start(&directory, &rate));
    starting.await.expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_acknowledged_message_is_there_once_in_order_although_the_program_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut program = start(directory.path()).await;
    let [_, student] = program.tickets();
    let place = Place::new(Mutex::new(program.address()));
    let mut reader = Person::new(&place, &student, "Reader").await;
    reader.connected().await;
    let (mut senders, count) = (Vec::new(), Arc::<AtomicUsize>::default());
    for number in 0..SENDERS {
        let person = Person::new(&place, &student, &format!("Sender {number}")).await;
        senders.push(tokio::spawn(talk(person, number, MESSAGES, count.clone())));
    }
    let reading = tokio::spawn(read(reader, SENDERS * MESSAGES));
    for kill in 1..=KILLS {
        while count.load(SeqCst) < kill * SENDERS * MESSAGES / (KILLS + 1) {
            sleep(Duration::from_millis(1)).await;
        }
        // Sends SIGKILL.
        drop(program);
        assert!(count.load(SeqCst) < SENDERS * MESSAGES, "there are messages left to send");
        program = start(directory.path()).await;
        *place.lock().expect("no panic") = program.address();
    }
    let mut acknowledged = Vec::new();
    for sender in senders {
        let (person, sent) = sender.await.expect("no panic");
        let offsets: Vec<_> = sent.iter().map(|(offset, _)| *offset).collect();
        assert!(offsets.is_sorted(), "the messages of one sender are in order");
        acknowledged.extend(sent);
        let person = read(person, SENDERS * MESSAGES).await;
        assert_eq!(person.received.len(), SENDERS * MESSAGES);
    }
    acknowledged.sort_unstable();
    let reader = timeout(Duration::from_secs(60), reading).await.expect("in time").expect("no panic");
    assert_eq!(reader.received, acknowledged);
}
