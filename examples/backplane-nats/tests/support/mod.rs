//! A server of NATS for each test.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

#[path = "../../../../tests/support/proxy.rs"]
pub mod proxy;

use std::{
    env,
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard},
    thread::sleep,
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, stream::Stream};
use fullduplex_backplane_nats::{Builder, Nats};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::backplane::{Engine, Node};

const DEADLINE: Duration = Duration::from_secs(30);

/// A server, which is killed when this is dropped.
pub struct Server {
    child: Mutex<Option<Child>>,
    directory: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Server {
    /// Starts a server with JetStream.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with options.
    pub fn start_with(options: &[&str]) -> Self {
        let server = Self {
            child: Mutex::default(),
            directory: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        server.run();
        server
    }

    /// Starts a server with a configuration, as a file has it.
    pub fn start_configured(configuration: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("configuration");
        fs::write(&path, configuration).expect("writable");
        Self::start_with(&["--config", path.to_str().expect("text")])
    }

    /// Starts the server, or starts it again.
    pub fn run(&self) {
        let log = File::create(self.directory.path().join("log")).expect("writable");
        let child = Command::new(program("nats-server"))
            .args(["--addr", "127.0.0.1", "--port", &self.port.to_string(), "--jetstream", "--store_dir"])
            .arg(self.directory.path().join("data"))
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("open"))
            .stderr(log)
            .spawn()
            .expect("it is executable");
        *self.lock() = Some(child);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < DEADLINE, "nats-server does not listen:\n{}", self.log());
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

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the stream of messages, as another program uses it.
    pub async fn stream(&self) -> Stream {
        let client = async_nats::connect(self.url()).await.expect("it runs");
        jetstream::new(client).get_stream("fullduplex_rooms").await.expect("a node has created it")
    }

    /// Copies what the server has stored. It must not run.
    pub fn save(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary directory");
        copy_files(&self.directory.path().join("data"), &copy.path().join("data"));
        copy
    }

    /// Replaces what the server has stored. It must not run.
    pub fn restore(&self, saved: &TempDir) {
        let data = self.directory.path().join("data");
        fs::remove_dir_all(&data).expect("it exists");
        copy_files(&saved.path().join("data"), &data);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().expect("no panic")
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("readable");
        }
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
        // With a thousand rooms, comparing them more often would be most of the work.
        connected(&builder(&self.url()).heartbeat(Duration::from_secs(1)).build().expect("valid")).await
    }
}

/// Returns a builder with short times, which are long enough for a machine that is busy.
pub fn builder(url: &str) -> Builder<String> {
    Nats::builder(url)
        .heartbeat(Duration::from_millis(300))
        .timeout(Duration::from_secs(5))
        .lease(Duration::from_secs(6))
}

/// Returns a hub whose backplane is connected.
pub async fn connected(nats: &Nats<String>) -> Node {
    let mut node = Node::new(nats.clone());
    nats.connected().await.expect("the server runs");
    node.available(true).await;
    node
}

/// Kills a server and starts it again, while the tasks of the test go on.
pub async fn restarted(server: Server) -> Server {
    changed(server, |server| {
        server.kill();
        server.run();
    })
    .await
}

/// Does something with a server that blocks.
pub async fn changed(server: Server, change: impl FnOnce(&Server) + Send + 'static) -> Server {
    let change = move || {
        change(&server);
        server
    };
    spawn_blocking(change).await.expect("no panic")
}

/// Returns the path of a program. Those of Debian's packages may not be in `PATH`.
fn program(name: &str) -> PathBuf {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = found.map(|directory| directory.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("this test needs {name}: Debian has it in the package nats-server"))
}

/// Returns a port that no program uses now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
