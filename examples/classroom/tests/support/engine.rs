//! The server of an engine that connects programs.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    fs::File,
    io::{Read, Seek, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tokio::time::sleep;

/// The server of an engine, which is killed when this is dropped.
pub struct Engine {
    server: Child,
    /// What it has printed, which is shown if the test fails.
    output: File,
}

impl Engine {
    /// Starts the server, and waits until it listens.
    pub async fn start(command: &mut Command, port: u16) -> Self {
        let output = tempfile::tempfile().expect("a file");
        let [stdout, stderr] = [(); 2].map(|()| Stdio::from(output.try_clone().expect("a descriptor")));
        let server = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
        let server = server.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut engine = Self { server, output };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(engine.server.try_wait().expect("a child").is_none(), "it has ended: {command:?}");
            sleep(Duration::from_millis(10)).await;
        }
        engine
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.server.try_wait() {
            eprintln!("the server of the engine had ended: {status}");
        }
        // It may have ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let mut printed = String::new();
        if thread::panicking()
            && self.output.rewind().is_ok()
            && self.output.read_to_string(&mut printed).is_ok()
        {
            eprintln!("the server of the engine has printed:\n{printed}");
        }
    }
}

/// Returns a port that nothing listens on.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|tcp| tcp.local_addr()).expect("a port").port()
}

/// Returns the command of a Redis that keeps what it has written in a directory.
pub fn redis(directory: &Path, port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
    command.arg(directory).args(["--appendonly", "yes", "--appendfsync", "always"]);
    command
}

/// Returns the command of a NATS server that keeps what it has written in a directory.
pub fn nats(directory: &Path, port: u16) -> Command {
    let program =
        if Path::new("/usr/sbin/nats-server").exists() { "/usr/sbin/nats-server" } else { "nats-server" };
    let mut command = Command::new(program);
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"]);
    command.arg(directory);
    command
}

/// Executes a command of Redis, and returns the first line of the answer.
pub fn execute(port: u16, command: &str) -> String {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(tcp, "{command}\r\n").expect("open");
    let mut answer = [0; 256];
    let read = tcp.read(&mut answer).expect("open");
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}
