//! The server of an engine that connects programs.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::sleep;

/// The server of an engine, which is killed when this is dropped.
pub struct Engine(Child);

impl Engine {
    /// Starts the server, and waits until it listens.
    pub async fn start(command: &mut Command, port: u16) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut engine = Self(quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(engine.0.try_wait().expect("a child").is_none(), "it has ended: {command:?}");
            sleep(Duration::from_millis(10)).await;
        }
        engine
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
