//! The memory of an idle `wss` connection, counted by the allocator: what TLS holds, and what this
//! crate holds beside it.
#![cfg(feature = "tls")]

#[path = "support/certificates.rs"]
mod certificates;

use allocation_counter::measure;
use bytes::Bytes;
use certificates::Authority;
use fullduplex::{Config, Role, TlsAcceptor, TlsConnector, TlsStream, WebSocket, handshake::Negotiated};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::Runtime,
};

const NAME: &str = "server.test";
/// A text message of a client, with the masking key zero.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
/// The same as a server sends it.
const ECHO: &[u8] = b"\x81\x05hello";

struct Ends {
    runtime: Runtime,
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl Ends {
    fn new() -> Self {
        let authority = Authority::new();
        let issued = authority.issue(NAME);
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"),
            connector: TlsConnector::builder().only_roots(authority.pem()).build().expect("valid"),
            acceptor: TlsAcceptor::from_pem(issued.chain, issued.key).expect("valid"),
        }
    }

    /// Performs the TLS handshakes in memory.
    async fn open(&self) -> (TlsStream<DuplexStream>, TlsStream<DuplexStream>) {
        let (client, server) = duplex(16 << 10);
        let (client, server) =
            tokio::join!(self.connector.connect(NAME, client), self.acceptor.accept(server));
        (client.expect("valid"), server.expect("valid"))
    }

    /// Returns both ends of a connection that has echoed a message, without a WebSocket library.
    fn plain(&self) -> (TlsStream<DuplexStream>, TlsStream<DuplexStream>) {
        self.runtime.block_on(async {
            let (mut client, mut server) = self.open().await;
            client.write_all(HELLO).await.expect("open");
            client.flush().await.expect("open");
            server.read_exact(&mut [0; HELLO.len()]).await.expect("a message");
            server.write_all(ECHO).await.expect("open");
            server.flush().await.expect("open");
            client.read_exact(&mut [0; ECHO.len()]).await.expect("a message");
            (client, server)
        })
    }

    /// Returns the same with a WebSocket connection at the server.
    fn websocket(&self) -> (TlsStream<DuplexStream>, Box<WebSocket<TlsStream<DuplexStream>>>) {
        self.runtime.block_on(async {
            let (mut client, server) = self.open().await;
            let config = Config::new().ping_interval(None);
            let ws = WebSocket::from_raw(server, Bytes::new(), Role::Server, &config, Negotiated::default());
            let mut ws = Box::new(ws);
            client.write_all(HELLO).await.expect("open");
            client.flush().await.expect("open");
            let message = ws.recv().await.expect("valid").expect("a message");
            ws.send(message).await.expect("open");
            client.read_exact(&mut [0; ECHO.len()]).await.expect("a message");
            (client, ws)
        })
    }
}

#[test]
fn an_idle_wss_connection_holds_what_tls_holds_and_little_more() {
    let ends = Ends::new();
    // Buffers are pooled.
    for _ in 0..20 {
        drop((ends.plain(), ends.websocket()));
    }
    let mut plain = None;
    let both_plain = measure(|| plain = Some(ends.plain())).bytes_current;
    let (client, server) = plain.expect("it was opened");
    let tls = -measure(|| drop(server)).bytes_current;
    drop(client);
    let mut websocket = None;
    let both = measure(|| websocket = Some(ends.websocket())).bytes_current;
    // The stream is in the box of the connection.
    let stream = size_of::<TlsStream<DuplexStream>>() as i64;
    let ours = both - both_plain - stream;
    println!("a server's end: {tls} bytes of heap and {stream} of the stream for TLS, {ours} for this crate");
    assert!((0..=192).contains(&ours), "{ours}");
    assert!(tls > 1000, "{tls}: rustls holds its keys and buffers");
}
