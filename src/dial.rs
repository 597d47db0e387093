//! The transport of a client connection, and how it is dialed.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream, lookup_host},
};

/// The transport of a connection that [`connect`](crate::connect) has opened.
///
/// The fields are private: other kinds of transport can be added without a new type.
#[derive(Debug)]
pub struct ClientStream {
    inner: TcpStream,
}

impl ClientStream {
    pub(crate) fn plain(inner: TcpStream) -> Self {
        Self { inner }
    }

    /// Returns the TCP stream.
    ///
    /// ```
    /// # fn peer(ws: &fullduplex::WebSocket<fullduplex::ClientStream>) -> std::io::Result<std::net::SocketAddr> {
    /// ws.get_ref().tcp().peer_addr()
    /// # }
    /// ```
    pub fn tcp(&self) -> &TcpStream {
        &self.inner
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Resolves the host name and connects to it, with `TCP_NODELAY` set.
///
/// Nagle's algorithm would only add latency: writes are already coalesced by the caller.
pub(crate) async fn dial(host: &str, port: u16, local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?.collect::<Vec<_>>();
    let stream = connect_any(&addresses, local).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to the first address that accepts.
///
/// If none does, returns the error of the last attempt.
async fn connect_any(addresses: &[SocketAddr], local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        match local {
            None => "host has no address",
            Some(_) => "host has no address of the address family of the local address",
        },
    );
    for &address in addresses {
        let dialed = match local {
            None => TcpStream::connect(address).await,
            Some(local) if local.is_ipv4() == address.is_ipv4() => connect_from(local, address).await,
            Some(_) => continue,
        };
        match dialed {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_from(local: SocketAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(local)?;
    socket.connect(address).await
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_dialed_after_a_refused_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let refusing = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let dead = refusing.local_addr().expect("bound");
        drop(refusing);
        let alive = listener.local_addr().expect("bound");
        let stream = connect_any(&[dead, alive], None).await.expect("one address listens");
        assert_eq!(stream.peer_addr().expect("connected"), alive);
        let refused = connect_any(&[dead], None).await.map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test]
    async fn a_local_address_limits_dialing_to_its_address_family() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let alive = listener.local_addr().expect("bound");
        let other = SocketAddr::from((Ipv6Addr::LOCALHOST, alive.port()));
        let local = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
        // Outside Linux, the loopback interface has a single IPv4 address.
        let local = if cfg!(target_os = "linux") { local } else { (Ipv4Addr::LOCALHOST, 0).into() };
        let stream = connect_any(&[other, alive], Some(local)).await.expect("one address listens");
        assert_eq!(stream.local_addr().expect("connected").ip(), local.ip());
        assert_eq!(listener.accept().await.expect("a client").1, stream.local_addr().expect("connected"));
        let none = connect_any(&[other], Some(local)).await.map(drop).map_err(|error| error.kind());
        assert_eq!(none, Err(io::ErrorKind::NotFound));
    }
}
