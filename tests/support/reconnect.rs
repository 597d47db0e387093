//! Clients that connect again, and the servers that they connect to, in memory.

use std::future::ready;

use fullduplex::{
    Client, Config, Error, Message, WebSocket,
    reconnect::{Builder, Handle, Reason, Reconnecting, State},
    testing,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    task::JoinHandle,
};

use super::script::{self, Script, Scripted};

pub type Server = WebSocket<DuplexStream>;

/// The servers of a client, one for each connection.
pub struct Servers<T = Server>(mpsc::UnboundedReceiver<T>);

impl<T> Servers<T> {
    /// Waits until the client connects.
    pub async fn next(&mut self) -> T {
        self.0.recv().await.expect("the client exists")
    }

    /// Returns whether the client has connected since the last call of [`next`](Self::next).
    pub fn is_connected(&mut self) -> bool {
        !self.0.is_empty()
    }
}

/// Configures a client whose connections always succeed, without keep-alive.
pub fn connected() -> (Builder<DuplexStream>, Servers) {
    connected_with(&Config::new().ping_interval(None))
}

pub fn connected_with(config: &Config) -> (Builder<DuplexStream>, Servers) {
    let (sender, servers) = mpsc::unbounded_channel();
    let config = config.clone();
    let builder = Reconnecting::builder(move |_attempt| {
        let (client, server) = testing::pair(&config);
        let _ = sender.send(server);
        ready(Ok(client))
    });
    (builder, Servers(servers))
}

/// Configures a client whose connections are scripted.
pub fn scripted() -> (Builder<Scripted>, Servers<Script>) {
    let (sender, scripts) = mpsc::unbounded_channel();
    let builder = Reconnecting::builder(move |_attempt| {
        let (client, script) = script::client();
        let _ = sender.send(script);
        ready(Ok(client))
    });
    (builder, Servers(scripts))
}

/// Configures a client that receives this response to each request.
pub fn answered(response: &'static str) -> Builder<DuplexStream> {
    Reconnecting::builder(move |_attempt| async move {
        let (client, mut server) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let mut request = [0; 1024];
            let _ = server.read(&mut request).await;
            server.write_all(response.as_bytes()).await
        });
        Client::default().handshake("ws://example.com", client).await
    })
}

/// Configures a client whose attempts all fail with this error.
pub fn failing(error: impl Fn() -> Error + Send + 'static) -> Builder<DuplexStream> {
    Reconnecting::builder(move |_attempt| ready(Err::<Server, _>(error())))
}

/// A client that a task polls.
pub struct Running {
    pub handle: Handle,
    pub messages: mpsc::UnboundedReceiver<Message>,
    /// Ends with what `recv` returned last.
    pub task: JoinHandle<Result<(), Reason>>,
}

impl Running {
    /// Waits for a state that satisfies a condition.
    pub async fn state(&self, condition: impl FnMut(&State) -> bool) -> State {
        self.handle.state().wait_for(condition).await.expect("the handle exists").clone()
    }

    /// Waits until the client either waits for the next attempt or has ended.
    pub async fn settled(&self) -> State {
        self.state(|state| matches!(state, State::Waiting { .. } | State::Closed { .. })).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Polls a client in a task.
pub fn run<S>(builder: Builder<S>) -> Running
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut client = builder.build();
    let (sender, messages) = mpsc::unbounded_channel();
    let handle = client.handle();
    let task = tokio::spawn(async move {
        while let Some(message) = client.recv().await? {
            let _ = sender.send(message);
        }
        Ok(())
    });
    Running { handle, messages, task }
}
