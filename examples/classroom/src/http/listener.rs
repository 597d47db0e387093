//! The listener: TCP, or TLS over it, with limits for what is no WebSocket connection.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use fullduplex::{TlsAcceptor, serve::Shutdown};
use hyper::{Request, body::Incoming, rt, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tower::ServiceExt;

use crate::address::Peer;

/// How long a client has for its first request, and for the head of each.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// How often pings check connections of HTTP/2, and how long they have for the answer.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The streams that a client may have at once on a connection of HTTP/2.
const MAX_STREAMS: u32 = 100;

/// TCP connections in addition to those that are WebSocket connections: of pages and their files.
const VISITORS: usize = 1024;

/// The pause after an error of accepting.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a server has not started.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The address cannot be listened on.
    #[error("{0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
}

/// Serves routes until the server stops.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
}

impl Listener {
    /// Listens on an address, for at most so many connections that stay open, and some for pages.
    ///
    /// # Errors
    /// Fails if the address cannot be listened on.
    ///
    /// # Cancel safety
    /// Dropping the future ends listening.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        max_connections: usize,
    ) -> Result<Self, ListenerError> {
        let tcp = TcpListener::bind(address).await.map_err(|error| ListenerError::Bind(address, error))?;
        let places = max_connections.saturating_add(VISITORS).min(Semaphore::MAX_PERMITS);
        Ok(Self { tcp, tls, places: Arc::new(Semaphore::new(places)) })
    }

    /// Returns the address.
    ///
    /// # Errors
    /// Fails if the system does not say it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves requests until the shutdown begins, and then those under way, for at most `drain`.
    ///
    /// WebSocket connections are not waited for: see [`Shutdown::wait`].
    ///
    /// # Cancel safety
    /// Dropping the future ends listening, and lets the connections go on.
    pub async fn run(self, router: Router, shutdown: &Shutdown, drain: Duration) {
        let http = GracefulShutdown::new();
        while let Some(place) = self.place(shutdown).await {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                () = shutdown.begun() => break,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    let connection =
                        Connection { peer, router: router.clone(), watcher: http.watcher(), _place: place };
                    tokio::spawn(connection.open(tcp, self.tls.clone()));
                }
                // The process may have no file descriptors left, until connections end.
                Err(error) => {
                    tracing::warn!(%error, "accepting failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        drop(self.tcp);
        if timeout(drain, http.shutdown()).await.is_err() {
            tracing::warn!("requests were cut off");
        }
    }

    /// Waits for a place; `None` if the shutdown begins. Clients wait in the queue of the system.
    async fn place(&self, shutdown: &Shutdown) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            place = self.places.clone().acquire_owned() => place.ok(),
            () = shutdown.begun() => None,
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

/// One TCP connection.
struct Connection {
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn open(self, tcp: TcpStream, tls: Option<TlsAcceptor>) {
        let peer = self.peer;
        if let Err(error) = self.serve_over(tcp, tls).await {
            // What clients do is no fault of the server.
            tracing::debug!(%peer, error = format!("{error:#}"), "a connection has failed");
        }
    }

    async fn serve_over(self, tcp: TcpStream, tls: Option<TlsAcceptor>) -> Result<(), BoxError> {
        tcp.set_nodelay(true)?;
        match tls {
            Some(tls) => self.serve(tls.accept(tcp).await?).await,
            None => self.serve(tcp).await,
        }
    }

    async fn serve<S>(self, stream: S) -> Result<(), BoxError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        TokioIo<S>: rt::Read + rt::Write,
    {
        let Self { peer, router, watcher, _place } = self;
        let asked = Arc::new(Notify::new());
        let first = asked.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            asked.notify_one();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS)
            // Allows WebSocket over HTTP/2 (RFC 8441).
            .enable_connect_protocol();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut serving = pin!(watcher.watch(connection.into_owned()));
        // Before it knows which version of HTTP a client speaks, hyper has no deadline.
        tokio::select! {
            served = &mut serving => return served,
            asked = timeout(HEAD_TIMEOUT, first.notified()) => asked?,
        }
        serving.await
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
