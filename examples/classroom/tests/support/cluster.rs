//! Programs that share their rooms over an engine, behind a proxy.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{engine::free_port, haproxy::Haproxy, program::Program};

/// The secret of all programs.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// How long a program and the proxy may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Programs, the engine that they share, and the proxy in front of them. All are killed when this is
/// dropped.
pub struct Cluster {
    /// Of the databases.
    directory: PathBuf,
    /// The option for the engine, and its URL.
    engine: [String; 2],
    addresses: Vec<(&'static str, SocketAddr)>,
    proxy: Haproxy,
    running: Vec<(&'static str, Program)>,
}

impl Cluster {
    /// Starts the proxy, which is to know programs of these names.
    ///
    /// All listen on one port, each on a loopback address of its own, as if on a machine of its own:
    /// the system passes that to no connection of others while the program does not run.
    pub async fn behind_proxy(directory: &Path, engine: [&str; 2], names: &[&'static str]) -> Self {
        let port = free_port();
        let address = |(name, host)| (name, ([127, 0, 1, host], port).into());
        let addresses: Vec<_> = names.iter().copied().zip(1..).map(address).collect();
        let proxy = Haproxy::start(directory, ([127, 0, 0, 1], port).into(), &addresses).await;
        let (directory, engine) = (directory.to_owned(), engine.map(str::to_owned));
        Self { directory, engine, addresses, proxy, running: Vec::new() }
    }

    /// Starts a program with a database of its own, and waits until the proxy passes connections to it.
    pub async fn start(&mut self, name: &'static str) {
        let directory = self.directory.join(name);
        std::fs::create_dir(&directory).expect("created");
        let (_, listen) = self.addresses.iter().find(|(known, _)| *known == name).expect("known");
        let (listen, [option, url]) = (listen.to_string(), self.engine.clone());
        let log = std::env::var("CLUSTER_LOG").unwrap_or("off".to_owned());
        let starting = tokio::task::spawn_blocking(move || {
            let args = ["--trust-forwarded-for", "--log", &log, "--jwt-secret", SECRET];
            Program::start(&directory, &[&args[..], &["--listen", &listen, &option, &url]].concat())
        });
        self.running.push((name, starting.await.expect("it starts")));
        self.until(name, true).await;
    }

    /// Sends SIGKILL to a program, and waits until the proxy passes no connections to it.
    pub async fn kill(&mut self, name: &str) {
        self.running.retain(|(running, _)| *running != name);
        self.until(name, false).await;
    }

    /// Waits until the proxy passes connections to a program, or does not.
    pub async fn until(&self, name: &str, is_up: bool) {
        let checking = async {
            while self.proxy.is_up(name).await != is_up {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(DEADLINE, checking).await.unwrap_or_else(|_| panic!("{name} is up: {}", !is_up));
    }

    /// Returns the address of the proxy.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }
}
