//! A connection as a stream of bytes, over TCP and below other protocols.

mod support;

use std::{io, time::Duration};

use fullduplex::{Client, Config, Message, Server, WebSocket};
use support::pair::pair;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional, split},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(120);

/// The bytes that each end sends: fewer without optimization, so that the test does not take long.
const TOTAL: usize = if cfg!(debug_assertions) { 12 << 20 } else { 100 << 20 };

/// A sequence of bytes that differs for each seed (xorshift).
struct Sequence(u64);

impl Sequence {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_ne_bytes()[..chunk.len()]);
        }
    }
}

/// Sends everything. Returns the stream, because dropping that would end it.
async fn send_all<W: AsyncWrite + Unpin>(mut to: W, mut sequence: Sequence) -> io::Result<W> {
    let mut chunk = vec![0; 1 << 18];
    for _ in 0..TOTAL / chunk.len() {
        sequence.fill(&mut chunk);
        to.write_all(&chunk).await?;
    }
    to.flush().await?;
    Ok(to)
}

/// Receives and compares everything. A slow reader lets all other tasks run between short reads.
async fn receive_all(mut from: impl AsyncRead + Unpin, mut sequence: Sequence, slow: bool) {
    let mut chunk = vec![0; 1 << 18];
    let mut expected = chunk.clone();
    for nth in 0..TOTAL / chunk.len() {
        sequence.fill(&mut expected);
        if slow {
            for part in chunk.chunks_mut(1 << 14) {
                tokio::time::sleep(Duration::from_micros(100)).await;
                from.read_exact(part).await.expect("the stream continues");
            }
        } else {
            from.read_exact(&mut chunk).await.expect("the stream continues");
        }
        assert!(chunk == expected, "chunk {nth} differs");
    }
}

/// Returns two connected TCP streams.
async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("connected"), far.expect("accepted").0)
}

/// Returns the two ends of a connection over TCP.
async fn websocket_pair() -> (WebSocket<TcpStream>, WebSocket<TcpStream>) {
    let (near, far) = tcp_pair().await;
    let client = Client::default();
    let (client, server) = tokio::join!(client.handshake("ws://localhost/", near), fullduplex::accept(far));
    (client.expect("accepted").0, server.expect("accepted"))
}

/// Copies between a connection and a TCP stream until both have ended.
fn tunnel(ws: WebSocket<TcpStream>, mut tcp: TcpStream) -> tokio::task::JoinHandle<io::Result<(u64, u64)>> {
    tokio::spawn(async move { copy_bidirectional(&mut ws.into_byte_stream(), &mut tcp).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_carries_much_data_in_both_directions_at_once_with_a_slow_reader() {
    let ((left, left_tcp), (right, right_tcp)) = (tcp_pair().await, tcp_pair().await);
    let (client, server) = websocket_pair().await;
    let (one, other) = (tunnel(client, left_tcp), tunnel(server, right_tcp));
    let ((left_in, left_out), (right_in, right_out)) = (left.into_split(), right.into_split());
    let work = async {
        let sending = tokio::spawn(send_all(left_out, Sequence(1)));
        let answering = tokio::spawn(send_all(right_out, Sequence(2)));
        let slow = tokio::spawn(receive_all(right_in, Sequence(1), true));
        receive_all(left_in, Sequence(2), false).await;
        slow.await.expect("no panic");
        let left_out = sending.await.expect("no panic").expect("sent");
        let right_out = answering.await.expect("no panic").expect("sent");
        // Only now: a Close ends both directions. The TCP streams end, and then both tunnels.
        drop((left_out, right_out));
        let total = TOTAL as u64;
        assert_eq!(one.await.expect("no panic").expect("closed cleanly"), (total, total));
        assert_eq!(other.await.expect("no panic").expect("closed cleanly"), (total, total));
    };
    timeout(DEADLINE, work).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_halves_in_two_tasks_carry_much_data_in_both_directions() {
    let (client, server) = websocket_pair().await;
    let (client_in, client_out) = split(client.into_byte_stream());
    let (server_in, server_out) = split(server.into_byte_stream());
    let work = async {
        let tasks = [
            tokio::spawn(async move { drop(send_all(client_out, Sequence(1)).await.expect("open")) }),
            tokio::spawn(async move { drop(send_all(server_out, Sequence(2)).await.expect("open")) }),
            tokio::spawn(receive_all(server_in, Sequence(1), true)),
            tokio::spawn(receive_all(client_in, Sequence(2), false)),
        ];
        for task in tasks {
            task.await.expect("no panic");
        }
    };
    timeout(DEADLINE, work).await.expect("in time");
}

#[tokio::test]
async fn a_websocket_connection_runs_over_another_one() {
    let (outer_client, outer_server) = pair(&Config::new(), 1000);
    let (client, server) = (Client::default(), Server::default());
    let serving = tokio::spawn(async move {
        let mut inner = server.read_request(outer_server.into_byte_stream()).await?.accept().await?;
        while let Some(message) = inner.recv().await? {
            inner.feed(message).await?;
        }
        Ok::<_, fullduplex::Error>(())
    });
    let (mut inner, _) =
        client.handshake("ws://inside/", outer_client.into_byte_stream()).await.expect("accepted");
    for len in [0, 1, 1000, 100_000] {
        let message = Message::from(vec![7; len]);
        inner.send(&message).await.expect("open");
        assert_eq!(inner.recv().await.expect("valid"), Some(message));
    }
    inner.close(fullduplex::CloseCode::NORMAL, "").await.expect("closed cleanly");
    serving.await.expect("no panic").expect("closed cleanly");
}

#[tokio::test]
async fn an_http_library_serves_requests_over_a_connection() {
    use hyper::{Request, Response, body::Body, client, server, service::service_fn};
    use hyper_util::rt::TokioIo;

    let (near, far) = pair(&Config::new(), 1000);
    let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
        Ok::<_, std::convert::Infallible>(Response::new(request.uri().path().repeat(10_000)))
    });
    let io = TokioIo::new(far.into_byte_stream());
    let serving = tokio::spawn(server::conn::http1::Builder::new().serve_connection(io, service));
    let io = TokioIo::new(near.into_byte_stream());
    let (mut requests, connection) = client::conn::http1::handshake(io).await.expect("open");
    let driving = tokio::spawn(connection);
    for path in ["/first", "/second"] {
        let request = Request::get(path).header("host", "inside").body(String::new()).expect("valid");
        let mut body = requests.send_request(request).await.expect("answered").into_body();
        let mut received = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
        {
            received.extend_from_slice(&frame.expect("complete").into_data().expect("no trailers"));
        }
        assert_eq!(received, path.repeat(10_000).as_bytes());
    }
    drop(requests);
    driving.await.expect("no panic").expect("closed cleanly");
    serving.await.expect("no panic").expect("closed cleanly");
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compressed_messages_are_a_stream_of_bytes_too() {
    let config = Config::new().deflate(fullduplex::Deflate::new().context_takeover(true));
    let (near, far) = pair(&config, 5000);
    let (mut near, mut far) = (near.into_byte_stream(), far.into_byte_stream());
    let data: Vec<u8> = (0..300_000_u32).map(|n| (n / 100) as u8).collect();
    let (written, mut read) = (data.clone(), Vec::new());
    let writing = tokio::spawn(async move {
        near.write_all(&written).await?;
        near.shutdown().await?;
        near.read(&mut [0; 9]).await
    });
    far.read_to_end(&mut read).await.expect("closed cleanly");
    assert!(read == data);
    assert_eq!(writing.await.expect("no panic").expect("closed cleanly"), 0);
}
