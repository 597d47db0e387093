//! The connection of a hostile peer.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpSocket, TcpStream},
};

use super::End;
use crate::{
    frames::{self, Frame},
    limits::Group,
    rows::Row,
};

/// The size of the receive buffer of peers that do not read, so that the server notices soon; and
/// that of their send buffer.
const SMALL: u32 = 4 << 10;

/// An open connection, and what was read of it.
#[derive(Debug)]
pub struct Peer {
    tcp: TcpStream,
    unread: Vec<u8>,
}

/// Opens a stream. One that is not `read` has small buffers.
pub async fn connect(server: SocketAddr, number: usize, read: bool) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if !read {
        socket.set_recv_buffer_size(SMALL)?;
        socket.set_send_buffer_size(4 * SMALL)?;
    }
    socket.bind((Group::Hostile.address(number), 0).into())?;
    let tcp = socket.connect(server).await?;
    tcp.set_nodelay(true)?;
    // Resets the connection at its end: its port is free at once.
    tcp.set_zero_linger()?;
    Ok(tcp)
}

/// Returns a request for a connection, by which a peer asks for compression if its row is about that.
pub fn request(server: SocketAddr, row: Row) -> String {
    let path = row.path();
    let offer = if row.is_compressed() { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    )
}

impl Peer {
    /// Performs the opening handshake.
    pub async fn open(server: SocketAddr, row: Row, number: usize, read: bool) -> Result<Self, End> {
        let tcp = connect(server, number, read).await.map_err(failed)?;
        let mut peer = Self { tcp, unread: Vec::new() };
        peer.send(request(server, row).as_bytes()).await.map_err(failed)?;
        let head = loop {
            if let Some(end) = peer.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break peer.unread.drain(..end + 4).collect::<Vec<u8>>();
            }
            // A reset is an end, too.
            if peer.fill().await.unwrap_or(0) == 0 {
                return Err(End::Late);
            }
        };
        let head = String::from_utf8_lossy(&head);
        match head.split(' ').nth(1).and_then(|status| status.parse().ok()) {
            Some(101) if head.contains("permessage-deflate") == row.is_compressed() => Ok(peer),
            Some(status) => Err(End::Refused(status)),
            None => Err(End::Failed("no status".to_owned())),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.write_all(bytes).await
    }

    /// Returns the next frame; `None` at the end of the stream, or if it is reset.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frames::take(&mut self.unread) {
                return Some(frame);
            }
            // A reset is an end, too.
            if self.fill().await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Reads until the server closes the connection or ends the stream.
    pub async fn closed(&mut self) -> End {
        loop {
            match self.next().await {
                Some(frame) if frame.close_code().is_some() => {
                    return End::Closed(frame.close_code().unwrap_or_default());
                }
                Some(_) => {}
                None => return End::Dropped,
            }
        }
    }

    /// Sends the same bytes with pauses until the server closes the connection or ends the stream.
    pub async fn flood(&mut self, bytes: &[u8], pause: std::time::Duration) -> End {
        let (mut read, mut write) = self.tcp.split();
        let flood = async {
            // The end of the stream is read.
            while write.write_all(bytes).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        };
        let closed = async {
            loop {
                while let Some(frame) = frames::take(&mut self.unread) {
                    if let Some(code) = frame.close_code() {
                        return End::Closed(code);
                    }
                }
                if read.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                    return End::Dropped;
                }
            }
        };
        let (mut flood, mut closed) = (std::pin::pin!(flood), std::pin::pin!(closed));
        tokio::select! {
            end = &mut closed => end,
            () = &mut flood => closed.await,
        }
    }

    /// Sends as much as the stream takes, without reading. Returns `None` if the stream has ended.
    pub async fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        self.tcp.ready(Interest::WRITABLE | Interest::ERROR).await.ok()?;
        match self.tcp.try_write(bytes) {
            Ok(written) => Some(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.tcp.read_buf(&mut self.unread).await
    }
}

fn failed(error: io::Error) -> End {
    End::Failed(error.to_string())
}
