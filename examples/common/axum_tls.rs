//! TLS under `axum::serve`.

use std::{io, net::SocketAddr, time::Duration};

use axum::serve::Listener;
use fullduplex::{TlsAcceptor, TlsStream};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

/// The number of TLS handshakes under way; further clients wait.
const MAX_HANDSHAKES: usize = 256;

type Accepted = (TlsStream<TcpStream>, SocketAddr);

/// Accepts TLS connections. A client that is slow in its handshake holds up no other.
pub struct TlsListener {
    address: SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
    /// Ends with the listener.
    _tasks: JoinSet<()>,
}

impl TlsListener {
    pub fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (sender, accepted) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept_all(listener, acceptor, sender));
        Self { address, accepted, _tasks: tasks }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The task ends only with this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept_all(listener: TcpListener, acceptor: TlsAcceptor, accepted: mpsc::Sender<Accepted>) {
    let mut handshakes = JoinSet::new();
    loop {
        if handshakes.len() >= MAX_HANDSHAKES {
            handshakes.join_next().await;
        }
        while handshakes.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((tcp, peer)) => {
                let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
                handshakes.spawn(async move {
                    match handshake(tcp, &acceptor).await {
                        Ok(tls) => _ = accepted.send((tls, peer)).await,
                        Err(error) => eprintln!("{peer}: {error:#}"),
                    }
                });
            }
            // The process may have no file descriptors left, until connections end.
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn handshake(
    tcp: TcpStream,
    acceptor: &TlsAcceptor,
) -> Result<TlsStream<TcpStream>, fullduplex::Error> {
    tcp.set_nodelay(true)?;
    acceptor.accept(tcp).await
}
