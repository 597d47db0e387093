//! The client for terminals, `talk`, as a person starts it.

mod support;

use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
};

use serde_json::{Value, json};
use support::program::Program;

/// The client, which is killed when this is dropped.
struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    fn start(server: &Program, ticket: &str, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_talk"))
            .arg(format!("{}#ticket={ticket}", server.url))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("built");
        let input = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, input, lines }
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("open"), "{line}").expect("it runs");
    }

    /// Returns the next event that has a field.
    fn next(&mut self, field: &str) -> Value {
        loop {
            let line = self.lines.next().expect("a line").expect("text");
            let event: Value = serde_json::from_str(&line).expect("JSON");
            if event.get(field).is_some() {
                return event;
            }
        }
    }

    /// Ends the input, and returns the status and the errors of the program.
    fn end(&mut self) -> (ExitStatus, String) {
        self.input = None;
        self.ended()
    }

    /// Waits for the end, and returns the status and the errors of the program.
    fn ended(&mut self) -> (ExitStatus, String) {
        let mut errors = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut errors).expect("text");
        (self.child.wait().expect("ended"), errors)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_are_posted_in_order_and_messages_are_printed_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = Program::start(directory.path(), &[]);
    let [teacher, student] = server.tickets();
    let mut tess = Talk::start(&server, &teacher, &["--name", "Tess"]);
    tess.write("one");
    assert_eq!(tess.next("stored"), json!({"stored": 1, "offset": 1, "duplicate": false}));
    // Has the history.
    let mut ann = Talk::start(&server, &student, &["--name", "Ann", "--first", "7"]);
    for line in ["two", " ", "three"] {
        ann.write(line);
    }
    assert_eq!(ann.next("text"), json!({"offset": 1, "from": "Tess", "text": "one"}));
    assert_eq!(ann.next("stored"), json!({"stored": 7, "offset": 2, "duplicate": false}));
    let refused = ann.next("refused");
    assert_eq!(refused["refused"], 8);
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("it is empty")), "{refused}");
    assert_eq!(ann.next("stored")["stored"], 9);
    for (offset, from, text) in [(2, "Ann", "two"), (3, "Ann", "three")] {
        assert_eq!(tess.next("text"), json!({"offset": offset, "from": from, "text": text}));
    }
    for mut talk in [tess, ann] {
        let (status, errors) = talk.end();
        assert!(status.success(), "{errors}");
        assert_eq!(errors, "connected\n");
    }
}

#[test]
fn a_line_with_a_known_id_is_not_stored_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = "0123456789abcdef0123456789abcdef";
    let mut server = Program::start(directory.path(), &["--jwt-secret", secret, "--links"]);
    let [_, student] = server.tickets();
    // The ticket of the link is for anyone; this one is for one person.
    let body = json!({"ticket": student, "name": "Ann"});
    let own = support::post_json(server.address(), "/api/token", &body).json()["ticket"].clone();
    let own = own.as_str().expect("a ticket");
    for duplicate in [false, true] {
        let mut ann = Talk::start(&server, own, &["--ids", "note"]);
        ann.write("once");
        assert_eq!(ann.next("stored"), json!({"stored": 1, "offset": 1, "duplicate": duplicate}));
    }
}

#[test]
fn a_ticket_that_is_refused_ends_the_program() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Program::start(directory.path(), &[]);
    let mut talk = Talk::start(&server, "no-ticket", &["--name", "Ann"]);
    let (status, errors) = talk.ended();
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("no token, 401 Unauthorized"), "{errors}");
}
