//! A process that is killed while it writes has stored all that it has acknowledged, once.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use super::{KEEP, id, message, room};
use crate::store::{Settings, Store};

/// Names the file to the process that is killed. It runs the same test.
const FILE: &str = "CLASSROOM_TEST_KILLED";

const WRITERS: u64 = 8;

/// Writes until it is killed, and prints each message that was acknowledged.
async fn write_until_killed(path: &str) {
    let (file, first) = path.rsplit_once('|').expect("a file and a number");
    let first: u64 = first.parse().expect("a number");
    let store = Store::open(&Settings::file(file, 1_000_000)).expect("opens");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in first.. {
                    let client_id = format!("{writer}-{number}");
                    let stored = store.append(message("ann", &client_id, "a")).await.expect("stored");
                    println!("stored {client_id} {} end", stored.offset);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
}

/// Runs a process that writes, and kills it after some messages. Returns those it has acknowledged.
fn write_and_kill(path: &Path, first: u64, count: usize) -> BTreeMap<String, u64> {
    let program = std::env::current_exe().expect("known");
    let mut child = Command::new(program)
        .args(["--exact", "store::tests::killed::what_was_acknowledged_survives_a_kill", "--nocapture"])
        .env(FILE, format!("{}|{first}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines =
        BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let mut stored = BTreeMap::new();
    let mut take = |line: String| {
        // The test runner may have printed something before it, and the last line may be cut.
        if let Some((_, rest)) = line.split_once("stored ")
            && let Some((client_id, offset)) = rest.strip_suffix(" end").and_then(|rest| rest.split_once(' '))
            && let Ok(offset) = offset.parse()
        {
            stored.insert(client_id.to_owned(), offset);
        }
        stored.len()
    };
    while take(lines.next().expect("it writes until it is killed")) < count {}
    // SIGKILL.
    child.kill().expect("running");
    for line in lines {
        take(line);
    }
    assert!(!child.wait().expect("ended").success());
    stored
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    if let Ok(path) = std::env::var(FILE) {
        return write_until_killed(&path).await;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.sqlite");
    let mut acknowledged = BTreeMap::new();
    for round in 0..3_u64 {
        acknowledged.extend(write_and_kill(&path, round * 1_000_000, 300));
        let store = Store::open(&Settings::file(&path, 1_000_000)).expect("opens after the kill");
        let mut found = BTreeMap::new();
        let (mut after, mut expected) = (0, 1);
        loop {
            let page = store.after(room("maths"), id("ann"), after, KEEP).await.expect("read");
            for message in &page.messages {
                assert_eq!(message.offset, expected, "no offset is missing or used twice");
                expected += 1;
                let again = found.insert(message.client_id.as_str().to_owned(), message.offset);
                assert_eq!(again, None, "{}", message.client_id);
            }
            after = expected - 1;
            if !page.has_more {
                break;
            }
        }
        for (client_id, offset) in &acknowledged {
            assert_eq!(found.get(client_id), Some(offset), "{client_id}");
        }
        // A page that does not know whether its message arrived sends it again.
        for (client_id, offset) in found {
            let again = store.append(message("ann", &client_id, "a")).await.expect("known");
            assert_eq!((again.offset, again.is_duplicate), (offset, true), "{client_id}");
        }
    }
}
