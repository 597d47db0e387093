//! A `Serve` on a port of its own, and what it reports.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::{net::SocketAddr, time::Duration};

use fullduplex::{
    Client, ClientStream, CloseCode, Error, WebSocket,
    serve::{Drained, Failure, Incoming, Metrics, Serve, ServerStream, Session, Shutdown},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

/// After which a test that waits for something fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A request for a connection.
pub const REQUEST: &str = "GET /room HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub metrics: Metrics,
    pub failures: mpsc::UnboundedReceiver<Failure>,
    task: JoinHandle<Result<(), Error>>,
}

/// Echoes until the connection ends.
pub async fn echo(mut ws: Session<ServerStream>, _request: Incoming) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}

/// Starts a server that echoes.
pub async fn start(configure: impl FnOnce(Serve) -> Serve) -> Running {
    start_with(configure, echo).await
}

/// Starts a server with a handler.
pub async fn start_with<F, Fut>(configure: impl FnOnce(Serve) -> Serve, handler: F) -> Running
where
    F: Fn(Session<ServerStream>, Incoming) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (shutdown, metrics) = (Shutdown::new(), Metrics::new());
    let (report, failures) = mpsc::unbounded_channel();
    let serve = Serve::bind("127.0.0.1:0").await.expect("a free port");
    let address = serve.local_addr().expect("bound");
    let serve = configure(serve.shutdown(&shutdown).metrics(&metrics)).on_failure(move |failure| {
        // The test may have ended.
        let _ = report.send(failure);
    });
    let task = tokio::spawn(serve.run(handler));
    Running { address, shutdown, metrics, failures, task }
}

impl Running {
    /// Opens a connection.
    pub async fn connect(&self) -> WebSocket<ClientStream> {
        self.try_connect("/").await.expect("accepted")
    }

    /// Opens a connection with this target.
    pub async fn try_connect(&self, target: &str) -> Result<WebSocket<ClientStream>, Error> {
        let url = format!("ws://{}{target}", self.address);
        within(Client::default().connect(&url)).await.map(|(ws, _)| ws)
    }

    /// Opens a TCP connection and writes to it.
    pub async fn write(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut tcp = TcpStream::connect(self.address).await.expect("the backlog has room");
        tcp.write_all(bytes.as_ref()).await.expect("open");
        tcp
    }

    /// Writes to a TCP connection, and returns what is received up to its end.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        rest(&mut self.write(bytes).await).await
    }

    /// Returns the next failure.
    pub async fn failure(&mut self) -> Failure {
        within(self.failures.recv()).await.expect("the server runs")
    }

    /// Waits until the counters fulfil a condition.
    pub async fn counted(&self, condition: impl Fn(&fullduplex::serve::Snapshot) -> bool) {
        within(async {
            while !condition(&self.metrics.snapshot()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// Stops the server.
    pub async fn stop(self) -> Drained {
        self.shutdown.begin(CloseCode::GOING_AWAY, "the server stops").expect("valid");
        within(self.task).await.expect("no panic").expect("a valid configuration");
        self.shutdown.wait(DEADLINE).await
    }
}

/// Waits for a future, and fails at a generous deadline.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("within the deadline")
}

/// Returns what is received up to the end of the stream. A reset ends it too.
pub async fn rest(tcp: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let _ = within(tcp.read_to_end(&mut received)).await;
    String::from_utf8_lossy(&received).into_owned()
}

/// Sends a text and asserts that it comes back.
pub async fn assert_echoes(ws: &mut WebSocket<ClientStream>, text: &str) {
    ws.send(text).await.expect("open");
    assert_eq!(within(ws.recv()).await.expect("valid").expect("a message").as_text(), Some(text));
}
