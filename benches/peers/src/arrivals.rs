//! The connections of a broadcast, as the server accepts them.

use std::io;

use anyhow::{Result, ensure};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

/// Orders to send to all connections; each is answered when it is done.
pub type Orders = mpsc::Receiver<oneshot::Sender<()>>;

/// The connections of a broadcast, in the order in which they are opened.
#[derive(Debug)]
pub struct Arrivals {
    listener: TcpListener,
    expected: usize,
    accepted: usize,
    orders: Orders,
}

impl Arrivals {
    pub fn new(listener: TcpListener, expected: usize, orders: Orders) -> Self {
        Self { listener, expected, accepted: 0, orders }
    }

    /// Accepts the next connection. Returns `None` after the last one.
    pub async fn next(&mut self) -> io::Result<Option<TcpStream>> {
        if self.accepted == self.expected {
            return Ok(None);
        }
        self.accepted += 1;
        accept(&self.listener).await.map(Some)
    }

    /// Announces that a broadcast reaches this many connections, which have to be all. Returns the
    /// orders, which follow.
    pub fn complete(self, reached: usize) -> Result<Orders> {
        ensure!(reached == self.expected, "a broadcast reaches {reached} of {}", self.expected);
        println!("{reached}");
        Ok(self.orders)
    }
}

/// Accepts a connection.
pub async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}
