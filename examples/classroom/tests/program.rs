//! The program, as a person starts it.

mod support;

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use fullduplex::{Client, TlsConnector};
use serde_json::json;
use support::{get, post_json};

/// The program, which is killed when this is dropped.
struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
    url: String,
}

impl Program {
    fn start(directory: &Path, args: &[&str]) -> Self {
        let mut child = command(directory, args).spawn().expect("built");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { child, lines, url }
    }

    fn address(&self) -> SocketAddr {
        let (_, rest) = self.url.split_once("://").expect("a URL");
        rest.trim_end_matches('/').parse().expect("an address")
    }

    /// Returns the tickets in the links that are printed.
    fn tickets<const N: usize>(&mut self) -> [String; N] {
        std::array::from_fn(|_| {
            loop {
                let mut line = String::new();
                assert!(self.lines.read_line(&mut line).expect("a line") > 0, "no more links");
                if let Some((_, ticket)) = line.trim().split_once("#ticket=") {
                    return ticket.to_owned();
                }
            }
        })
    }

    /// Sends the signal of Ctrl-C, and returns what is printed until the end.
    fn interrupt(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("it runs").success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        assert!(self.child.wait().expect("ended").success());
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_classroom"));
    command.args(["--listen", "127.0.0.1:0"]).args(args).current_dir(directory).stdout(Stdio::piped());
    command
}

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
        (&["--redis", "redis://127.0.0.1"], "--redis"),
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
