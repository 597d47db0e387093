//! Opens connections from several addresses: the ports of one would soon be hard to find.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{net::TcpSocket, time::timeout};

use crate::load::{Connection, PATIENCE};

/// The number of addresses, from 127.0.0.2 on.
const ADDRESSES: u8 = 8;

/// Opens this many connections, at most `at_once` at a time. `receive_buffer` is the size of the
/// receive buffer of each, which is otherwise the default of the system.
pub async fn open_many(
    address: SocketAddr,
    count: usize,
    at_once: usize,
    receive_buffer: Option<u32>,
) -> Result<Vec<Connection>> {
    let open = |number| async move {
        let opened = timeout(PATIENCE, open(address, number, receive_buffer)).await;
        opened.context("no answer to the opening handshake")?
    };
    stream::iter(0..count).map(open).buffer_unordered(at_once).try_collect().await
}

async fn open(address: SocketAddr, number: usize, receive_buffer: Option<u32>) -> Result<Connection> {
    let socket = TcpSocket::new_v4()?;
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    let last = 2 + (number % usize::from(ADDRESSES)) as u8;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    let tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    tcp.set_zero_linger()?;
    Connection::over(tcp, address).await
}
