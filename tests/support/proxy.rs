//! A proxy between a node and the server, which a test disturbs.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinSet, spawn},
};

/// What a proxy does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Passes all bytes.
    Pass,
    /// Closes connections, and accepts none.
    Cut,
    /// Keeps connections open, and passes nothing.
    Stall,
    /// Closes a connection that has sent these bytes, when the response to them arrives. Then passes
    /// all bytes again.
    LoseResponse(Vec<u8>),
    /// Keeps what the server sends over a connection, from the response with these bytes on, until
    /// another mode is set. All else passes.
    HoldResponse(Vec<u8>),
}

/// A proxy on a port of its own.
pub struct Proxy {
    pub port: u16,
    mode: watch::Sender<Mode>,
    accepting: tokio::task::AbortHandle,
}

impl Proxy {
    /// Starts a proxy in front of a port.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let mode = watch::Sender::new(Mode::Pass);
        let accepting = spawn(accept(listener, to, mode.clone())).abort_handle();
        Self { port, mode, accepting }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until the proxy passes all bytes again.
    pub async fn passes(&self) {
        self.mode.subscribe().wait_for(|mode| *mode == Mode::Pass).await.expect("it runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, to: u16, mode: watch::Sender<Mode>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("it listens");
        if *mode.borrow() == Mode::Cut {
            continue;
        }
        // The server may have been killed.
        let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
        connections.spawn(pass(client, server, mode.clone()));
    }
}

/// Passes bytes in both directions until one ends.
async fn pass(client: TcpStream, server: TcpStream, mode: watch::Sender<Mode>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let has_sent = Arc::new(Mutex::new(false));
    let requests = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from_client.read(&mut bytes).await {
            allowed(&mode).await?;
            if let Mode::LoseResponse(wanted) = &*mode.borrow()
                && contains(&bytes[..len], wanted)
            {
                *has_sent.lock().expect("no panic") = true;
            }
            to_server.write_all(&bytes[..len]).await.ok()?;
        }
        Some(())
    };
    let responses = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from_server.read(&mut bytes).await {
            allowed(&mode).await?;
            if *has_sent.lock().expect("no panic") {
                mode.send_replace(Mode::Pass);
                return None;
            }
            if holds(&mode, &bytes[..len]) {
                mode.subscribe().wait_for(|mode| !matches!(mode, Mode::HoldResponse(_))).await.ok()?;
            }
            to_client.write_all(&bytes[..len]).await.ok()?;
        }
        Some(())
    };
    let cut = async { mode.subscribe().wait_for(|mode| *mode == Mode::Cut).await.is_ok() };
    tokio::select! {
        _ = requests => {}
        _ = responses => {}
        _ = cut => {}
    }
}

/// Waits until bytes may pass. Returns `None` if the connection ends instead.
async fn allowed(mode: &watch::Sender<Mode>) -> Option<()> {
    mode.subscribe().wait_for(|mode| *mode != Mode::Stall).await.ok()?;
    Some(())
}

/// Returns whether a response is kept.
fn holds(mode: &watch::Sender<Mode>, response: &[u8]) -> bool {
    matches!(&*mode.borrow(), Mode::HoldResponse(wanted) if contains(response, wanted))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
