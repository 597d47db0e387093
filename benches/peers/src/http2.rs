//! WebSocket over HTTP/2 (RFC 8441): all connections are streams of one transport.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf, Bytes};
use h2::{Ping, RecvStream, SendStream, client, ext::Protocol};
use hyper::{Method, Request, StatusCode, Version, header};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::{LocalSet, spawn_local},
};

use crate::{
    child::{Child, Job},
    echo::{self, Sample},
    frames::{Kind, Window},
    load::{self, Connection},
    peers::{self, Peer},
    report::{Better, Section, Target, interleave},
    settings::Settings,
};

/// More than what is in flight on a stream, and on all of them.
const WINDOW: u32 = 4 << 20;

struct Load {
    streams: usize,
    in_flight: usize,
    size: usize,
    label: &'static str,
}

const CELLS: [Load; 3] = [
    Load { streams: 50, in_flight: 1, size: 64, label: "50 x 1 x 64 B" },
    Load { streams: 50, in_flight: 32, size: 64, label: "50 x 32 x 64 B" },
    Load { streams: 20, in_flight: 16, size: 1 << 10, label: "20 x 16 x 1 KiB" },
];

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    let peers = peers::over_http2();
    let about = "Streams x messages in flight on each x size; binary messages; all streams on one TCP connection, without TLS. \
                 Each by the best loop that its API allows. fullduplex is on axum, yawc on hyper, sockudo-ws on the h2 \
                 crate, which hyper uses too. Unit: ns of server CPU per message.";
    let mut table = Section::new("Over HTTP/2, echo", "ns of server CPU per message", about, peers);
    for cell in &CELLS {
        table.add_row(cell.label, Better::Lower, Target::None, false);
    }
    let windows = CELLS.map(|cell| Window::new(Kind::Binary, cell.size, cell.in_flight));
    interleave(settings.rounds, CELLS.len(), peers, |row, column| {
        let work = measure(settings, peers[column], CELLS[row].streams, &windows[row]);
        match LocalSet::new().block_on(&runtime, work) {
            Ok(sample) => table.record(row, column, sample.cpu_nanoseconds),
            Err(error) => table.fail(row, column, &error),
        }
    });
    Ok(vec![table])
}

async fn measure(settings: &Settings, peer: &dyn Peer, streams: usize, window: &Window) -> Result<Sample> {
    let child = Child::start(peer, Job::Http2)?;
    let connections = open_many(child.address, streams).await?;
    echo::measure_over(settings, &child, connections, window).await
}

/// Opens these many connections on one transport, whose task is spawned.
async fn open_many(address: SocketAddr, count: usize) -> Result<Vec<Connection<Http2Stream>>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let mut builder = client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (mut requests, mut connection) = builder.handshake(tcp).await?;
    let mut ping = connection.ping_pong().context("asked for twice")?;
    spawn_local(connection);
    // The settings of the server arrive before its pong.
    ping.ping(Ping::opaque()).await?;
    ensure!(requests.is_extended_connect_protocol_enabled(), "no extended CONNECT");
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://{address}/"))
            .version(Version::HTTP_2)
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .body(())?;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        requests = requests.ready().await?;
        let (response, send) = requests.send_request(request, false)?;
        let response = response.await?;
        ensure!(response.status() == StatusCode::OK, "refused: {}", response.status());
        let io = Http2Stream { send, receive: response.into_body(), chunk: Bytes::new() };
        connections.push(Connection::opened(io));
    }
    Ok(connections)
}

struct Http2Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    chunk: Bytes,
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.chunk.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = self.chunk.len().min(room.remaining());
        room.put_slice(&self.chunk[..len]);
        self.chunk.advance(len);
        self.receive.flow_control().release_capacity(len).map_err(io::Error::other)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(bytes.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(room) => _ = room.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let len = self.send.capacity().min(bytes.len());
        self.send.send_data(Bytes::copy_from_slice(&bytes[..len]), false).map_err(io::Error::other)?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
