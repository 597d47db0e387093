//! A server of Redis for each test, and what may happen between it and a node.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod cluster;
#[path = "../../../../tests/support/proxy.rs"]
pub mod proxy;

use std::{
    env,
    fs::File,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard},
    thread::sleep,
    time::{Duration, Instant},
};

use fullduplex_backplane_redis::{Builder, Redis};
use redis::{Connection, FromRedisValue};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::backplane::{Engine, Node};

const DEADLINE: Duration = Duration::from_secs(30);

/// A server that acknowledges what it has stored on the disk.
pub const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// A server, which is killed when this is dropped.
pub struct Server {
    child: Mutex<Option<Child>>,
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    password: Option<String>,
}

impl Server {
    /// Starts a server that stores nothing on the disk.
    pub fn start() -> Self {
        Self::start_with(&["--appendonly", "no"])
    }

    /// Starts a server with options.
    pub fn start_with(options: &[&str]) -> Self {
        let server = Self {
            child: Mutex::default(),
            directory: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            password: options
                .iter()
                .skip_while(|option| **option != "--requirepass")
                .nth(1)
                .map(|&password| password.into()),
        };
        server.run();
        server
    }

    /// Starts the server, or starts it again.
    pub fn run(&self) {
        let log = File::create(self.directory.path().join("log")).expect("writable");
        let child = Command::new(program("redis-server"))
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.directory.path())
            // Few messages are removed at a time.
            .args(["--stream-node-max-entries", "10", "--enable-debug-command", "yes"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("open"))
            .stderr(log)
            .spawn()
            .expect("it is executable");
        *self.lock() = Some(child);
        let start = Instant::now();
        while let Err(error) = self.try_connect() {
            assert!(start.elapsed() < DEADLINE, "redis-server does not answer: {error}\n{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// Kills the server, which has no time to write anything.
    pub fn kill(&self) {
        if let Some(mut child) = self.lock().take() {
            child.kill().expect("it runs");
            child.wait().expect("it runs");
        }
    }

    /// Stops the process of the server, or continues it.
    pub fn signal(&self, name: &str) {
        let pid = self.lock().as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().expect("it is executable");
        assert!(status.success());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// Returns the URL of the server behind another port.
    pub fn url_at(&self, port: u16) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{port}"),
            None => format!("redis://127.0.0.1:{port}"),
        }
    }

    /// Runs a command.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.try_connect().expect("it answers")).expect("it accepts the command")
    }

    fn try_connect(&self) -> redis::RedisResult<Connection> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        redis::cmd("PING").exec(&mut connection)?;
        Ok(connection)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().expect("no panic")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.lock().take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Engine for Server {
    async fn node(&self) -> Node {
        connected(&builder(&self.url()).build().expect("valid")).await
    }
}

/// Returns a builder with short times, which are long enough for a machine that is busy.
pub fn builder(url: &str) -> Builder<String> {
    short(Redis::builder(url))
}

pub fn short(builder: Builder<String>) -> Builder<String> {
    builder
        .heartbeat(Duration::from_millis(300))
        .timeout(Duration::from_secs(5))
        .lease(Duration::from_secs(6))
}

/// Returns a hub whose backplane is connected.
pub async fn connected(redis: &Redis<String>) -> Node {
    let mut node = Node::new(redis.clone());
    redis.connected().await.expect("the server runs");
    node.available(true).await;
    node
}

/// Does something that blocks with a server or a cluster, while the tasks of the test go on.
pub async fn changed<T: Send + 'static>(changed: T, change: impl FnOnce(&T) + Send + 'static) -> T {
    let change = move || {
        change(&changed);
        changed
    };
    spawn_blocking(change).await.expect("no panic")
}

/// Starts a server again.
pub async fn started(server: Server) -> Server {
    changed(server, Server::run).await
}

/// Kills a server and starts it again.
pub async fn restarted(server: Server) -> Server {
    started(changed(server, Server::kill).await).await
}

/// Returns the path of a program. Those of Debian's packages may not be in `PATH`.
fn program(name: &str) -> PathBuf {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = found.map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("this test needs {name}: Debian has it in the package redis-server"))
}

/// A certificate for some names.
pub struct Tls {
    /// The certificate, in PEM.
    pub certificate: String,
    directory: TempDir,
}

impl Tls {
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certified = rcgen::generate_simple_self_signed(names).expect("valid");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
        std::fs::write(directory.path().join("cert.pem"), &certificate).expect("writable");
        std::fs::write(directory.path().join("key.pem"), key).expect("writable");
        Self { certificate, directory }
    }

    /// Starts a server that has a port for TLS, too.
    pub fn start(&self, port: u16, start: impl Fn(&[&str]) -> Server) -> Server {
        let path = |name: &str| self.directory.path().join(name).to_str().expect("text").to_owned();
        let (port, cert, key) = (port.to_string(), path("cert.pem"), path("key.pem"));
        let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
        let options = ["--tls-port", &port, "--tls-auth-clients", "no", "--tls-cluster", "yes"];
        start(&[&files[..], &options[..]].concat())
    }
}

/// Returns a port that no program uses now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
