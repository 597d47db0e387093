//! The load: connections that send and count bytes, without any WebSocket library.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    runtime::{self, Runtime},
    time::timeout,
};

use crate::{
    frames::Window,
    peers::{ACCEPT, KEY},
};

/// The time without an answer after which a server has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The number of connections that are opened at a time.
pub const OPENING: usize = 64;

pub fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// A stream whose type the load generator does not need to know.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for S {}

/// A connection whose opening handshake is complete and verified.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    io: S,
    room: Vec<u8>,
}

impl<S: Io> Connection<S> {
    /// Performs the opening handshake over a stream.
    pub async fn over(mut io: S, address: SocketAddr) -> Result<Self> {
        shake_hands(&mut io, address, None).await?;
        Ok(Self { io, room: Vec::new() })
    }

    /// Wraps a stream whose opening handshake is complete.
    pub fn opened(io: S) -> Self {
        Self { io, room: Vec::new() }
    }

    /// Sends a window and receives its echo; with `check`, compares it byte for byte.
    pub async fn exchange(&mut self, window: &Window, check: bool) -> Result<()> {
        let (mut sent, mut received) = (0, 0);
        self.room.resize(window.answer.len().clamp(4 << 10, 256 << 10), 0);
        let exchanged = poll_fn(|cx| self.poll_exchange(window, check, &mut sent, &mut received, cx));
        exchanged.await.context("the exchange failed")
    }

    /// Sends and receives concurrently: otherwise, both ends could wait with full buffers.
    fn poll_exchange(
        &mut self,
        window: &Window,
        check: bool,
        sent: &mut usize,
        received: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while *sent < window.request.len() {
            match Pin::new(&mut self.io).poll_write(cx, &window.request[*sent..])? {
                Poll::Ready(len) => *sent += len,
                Poll::Pending => break,
            }
        }
        // A stream that buffers, such as TLS, may send the rest only later; it then wakes this task.
        let _flushed = Pin::new(&mut self.io).poll_flush(cx)?;
        while *received < window.answer.len() {
            let mut room = ReadBuf::new(&mut self.room);
            match Pin::new(&mut self.io).poll_read(cx, &mut room)? {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
            let part = room.filled();
            let expected = window.answer.get(*received..*received + part.len());
            if part.is_empty() || expected.is_none() || (check && expected != Some(part)) {
                let what =
                    if part.is_empty() { "the server hung up" } else { "the echo is not what was sent" };
                return Poll::Ready(Err(io::Error::other(what)));
            }
            *received += part.len();
        }
        Poll::Ready(Ok(()))
    }

    /// Receives an answer of this length, and answers pings before it; with `check`, compares it byte
    /// for byte.
    pub async fn expect(&mut self, answer: &[u8], check: bool) -> Result<()> {
        self.room.resize(answer.len(), 0);
        self.io.read_exact(&mut self.room).await?;
        while let Some(len) = ping_len(&self.room).filter(|&len| len <= answer.len()) {
            put_pong(&mut self.io, &self.room[2..len]).await?;
            self.room.copy_within(len.., 0);
            self.io.read_exact(&mut self.room[answer.len() - len..]).await?;
        }
        ensure!(!check || self.room == answer, "what came is not what was sent");
        Ok(())
    }

    /// Returns the stream.
    pub fn into_inner(self) -> S {
        self.io
    }

    /// Frees the read buffer.
    pub fn forget_room(&mut self) {
        self.room = Vec::new();
    }
}

impl Connection<TcpStream> {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let opened = timeout(PATIENCE, async { Self::over(connect(address).await?, address).await });
        opened.await.context("no answer to the opening handshake")?
    }

    /// Answers pings until `stop` is set; then exchanges one more window.
    pub async fn answer_pings(
        mut self,
        window: Window,
        pings: Rc<Cell<u64>>,
        stop: Rc<Cell<bool>>,
    ) -> Result<()> {
        while !stop.get() {
            let mut header = [0; 2];
            // Shorter than the interval between pings, so that `stop` is checked in time.
            match timeout(Duration::from_secs(1), self.io.peek(&mut header)).await {
                Err(_) => continue,
                Ok(read) => ensure!(read? > 0, "the server hung up"),
            }
            self.io.read_exact(&mut header).await?;
            let len = ping_len(&header).context("not a ping")?;
            let mut payload = vec![0; len - header.len()];
            self.io.read_exact(&mut payload).await?;
            put_pong(&mut self.io, &payload).await?;
            pings.set(pings.get() + 1);
        }
        self.exchange(&window, true).await
    }
}

/// Returns the length of the ping at the start of these bytes, if there is one.
fn ping_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        &[0x89, len @ 0..=125, ..] => Some(2 + usize::from(len)),
        _ => None,
    }
}

/// Sends a pong, with a masking key of zeros.
async fn put_pong<S: Io>(io: &mut S, payload: &[u8]) -> io::Result<()> {
    let mut pong = vec![0x8A, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    pong.extend_from_slice(payload);
    io.write_all(&pong).await
}

/// Opens a connection, with an offer of an extension or without one, and verifies the response.
/// Returns the connection and the head of the response.
pub async fn open_tcp(address: SocketAddr, offer: Option<&str>) -> Result<(TcpStream, String)> {
    let opened = timeout(PATIENCE, try_open_tcp(address, offer)).await;
    opened.context("no answer to the opening handshake")?
}

async fn try_open_tcp(address: SocketAddr, offer: Option<&str>) -> Result<(TcpStream, String)> {
    let mut tcp = connect(address).await?;
    let head = shake_hands(&mut tcp, address, offer).await?;
    Ok((tcp, head))
}

/// Opens a TCP connection.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    // Resets the connection at its end: otherwise, ports of closed connections would be in use for
    // a minute.
    tcp.set_zero_linger()?;
    Ok(tcp)
}

/// Performs the opening handshake. Returns the head of the response, which is verified.
async fn shake_hands<S: Io>(io: &mut S, address: SocketAddr, offer: Option<&str>) -> Result<String> {
    let extensions = offer.map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n")).unwrap_or_default();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n"
    );
    io.write_all(request.as_bytes()).await?;
    io.flush().await?;
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(io.read_buf(&mut head).await? > 0, "the server hung up in the opening handshake");
    }
    let head = String::from_utf8(head)?;
    ensure!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "refused: {head}");
    Ok(head)
}

/// Opens this many connections, at most `at_once` at a time.
pub async fn open_many(address: SocketAddr, count: usize, at_once: usize) -> Result<Vec<Connection>> {
    open_many_by(|| Connection::open(address), count, at_once).await
}

/// Does the same by any way to open one.
pub async fn open_many_by<S, F>(
    open: impl Fn() -> F,
    count: usize,
    at_once: usize,
) -> Result<Vec<Connection<S>>>
where
    F: Future<Output = Result<Connection<S>>>,
{
    stream::iter(0..count).map(|_| open()).buffer_unordered(at_once).try_collect().await
}

/// Exchanges and verifies one window on each connection, within a deadline.
pub async fn warm_up<S: Io>(connections: &mut [Connection<S>], window: &Window) -> Result<()> {
    let all = stream::iter(connections).map(|one| one.exchange(window, true)).buffer_unordered(OPENING);
    timeout(PATIENCE, all.try_collect::<()>()).await.context("the first echo did not come")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_before_an_answer_are_answered() -> Result<()> {
        runtime()?.block_on(async {
            let (io, mut server) = tokio::io::duplex(64);
            let mut connection = Connection::opened(io);
            server.write_all(&[0x89, 1, b'a', 0x89, 0, 0x82, 3, 1, 2, 3]).await?;
            connection.expect(&[0x82, 3, 1, 2, 3], true).await?;
            let mut pongs = [0; 13];
            server.read_exact(&mut pongs).await?;
            assert_eq!(pongs, [0x8A, 0x81, 0, 0, 0, 0, b'a', 0x8A, 0x80, 0, 0, 0, 0]);
            Ok(())
        })
    }
}
