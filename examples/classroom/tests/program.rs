//! The program, as a person starts it.

mod support;

use std::{path::Path, process::Command};

use fullduplex::{Client, TlsConnector};
use serde_json::json;
use support::{
    get, post_json,
    program::{Program, command},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Returns what the program prints to its standard error, if it does not start.
fn fails(directory: &Path, args: &[&str]) -> String {
    let output = command(directory, args).output().expect("built");
    assert!(!output.status.success());
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn links_are_printed_and_work() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut program = Program::start(directory.path(), &[]);
    let [teacher, student, admin] = program.tickets();
    for (ticket, role) in [(teacher, "teacher"), (student, "student"), (admin, "admin")] {
        let response = post_json(program.address(), "/api/token", &json!({"ticket": ticket, "name": "Ann"}));
        assert_eq!((response.status, response.json()["role"].as_str()), (200, Some(role)));
    }
    assert!(get(program.address(), "/").body.contains("<title>Classroom</title>"));
    assert!(directory.path().join("classroom.sqlite").exists());
    let rest = program.interrupt();
    assert!(rest.contains("stopped: 0 connections closed"), "{rest}");
}

#[test]
fn links_outlive_a_kill_of_the_program() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut program = Program::start(directory.path(), &[]);
    let [teacher] = program.tickets();
    drop(program);
    let program = Program::start(directory.path(), &[]);
    let response = post_json(program.address(), "/api/token", &json!({"ticket": teacher, "name": "Ann"}));
    assert_eq!(response.status, 200);
}

#[test]
fn a_history_in_memory_leaves_no_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut program =
        Program::start(directory.path(), &["--history", "memory", "--room", "7b", "--room", "7c"]);
    let [_, b, _, c, _] = program.tickets();
    for (ticket, room) in [(b, "7b"), (c, "7c")] {
        let response = post_json(program.address(), "/api/token", &json!({"ticket": ticket, "name": "Ann"}));
        assert_eq!(response.json()["room"].as_str(), Some(room));
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 0);
}

#[test]
fn with_a_secret_no_links_are_printed() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = ["--jwt-secret", "0123456789abcdef0123456789abcdef"];
    let rest = Program::start(directory.path(), &secret).interrupt();
    assert!(!rest.contains("ticket"), "{rest}");
    let [secret, value] = secret;
    let mut program = Program::start(directory.path(), &[secret, value, "--links"]);
    let [teacher] = program.tickets();
    let response = post_json(program.address(), "/api/token", &json!({"ticket": teacher, "name": "Ann"}));
    assert_eq!(response.status, 200);
}

#[test]
fn what_cannot_work_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("notes.txt"), "text\n".repeat(1000)).expect("written");
    for (args, named) in [
        (&["--database", "notes.txt"][..], "notes.txt: the file is no SQLite database"),
        (&["--tls-cert", "no.pem", "--tls-key", "no.pem"], "no.pem"),
        (&["--redis", "redis://127.0.0.1"], "--jwt-secret"),
        (&["--redis", "nonsense", "--jwt-secret", SECRET], "invalid URL"),
        (&["--nats", "://", "--jwt-secret", SECRET], "NATS"),
        (&["--log", "=="], "--log"),
    ] {
        let error = fails(directory.path(), args);
        assert!(error.contains(named), "{args:?}: {error}");
    }
    let program = Program::start(directory.path(), &[]);
    let taken = program.address().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_classroom"))
        .args(["--listen", &taken, "--history", "memory"])
        .output()
        .expect("built");
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success() && error.contains(&taken), "{error}");
}

#[tokio::test]
async fn with_a_certificate_all_is_served_over_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    let args = ["--history", "memory", "--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let program = Program::start(directory.path(), &args);
    assert!(program.url.starts_with("https://"), "{}", program.url);
    let tls = TlsConnector::builder().roots(made.cert.pem()).build().expect("valid");
    let url = format!("wss://{}/healthz", program.address());
    // This route opens no connection: its response is that of a plain request.
    let error = Client::default().tls(tls).connect(url).await.expect_err("no WebSocket connection");
    let response = error.response().unwrap_or_else(|| panic!("{error:#}"));
    assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"ok\n"[..]));
}
