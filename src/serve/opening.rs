//! The way of a connection from the listener to the handler: PROXY header, TLS, request, decision.

use std::net::SocketAddr;

use http::StatusCode;
use tokio::net::TcpStream;

use super::{
    builder::Settings,
    failure::Failure,
    incoming::{Decision, Incoming, unavailable},
    limits::KeyPlace,
    metrics::Refusal,
    proxy_header::ProxyHeader,
    stream::ServerStream,
};
use crate::{AnyRequest, Error, HttpRequest, IncomingRequest, WebSocket, opening::Deadline};

/// What became of a connection that was accepted.
pub(super) enum Opened {
    /// It is open.
    Connection { ws: WebSocket<ServerStream>, incoming: Incoming, of_key: Option<KeyPlace> },
    /// It was a request that the program has answered.
    Answered,
    /// The program has rejected the request with this status.
    Rejected(StatusCode),
    /// It was refused or has failed.
    Failed(Failure),
}

impl Settings {
    /// Returns whether connections are encrypted.
    pub(super) fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        let secure = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let secure = false;
        secure
    }

    /// Opens a connection, or answers its request.
    pub(super) async fn open(&self, mut tcp: TcpStream, mut peer: SocketAddr) -> Opened {
        if self.proxy_protocol {
            match self.read_proxy_header(&mut tcp).await {
                Ok(header) => peer = header.source().unwrap_or(peer),
                Err(error) => return Opened::Failed(proxy_header_failed(peer, error)),
            }
        }
        let request = async {
            tcp.set_nodelay(true)?;
            let stream = self.secure(tcp).await?;
            self.server.read_any_request(stream).await
        };
        let answered = match request.await {
            Ok(AnyRequest::WebSocket(request)) => return self.decide(request, peer).await,
            Ok(AnyRequest::Http(request)) => return self.respond(request, peer).await,
            Ok(AnyRequest::Rejected(request)) => {
                let rejection = request.rejection().clone();
                // The rejection is what to report, even if writing the response fails.
                let _ = request.refuse().await;
                Error::Rejected(Box::new(rejection))
            }
            Err(error) => error,
        };
        Opened::Failed(Failure::Opening { peer, error: answered })
    }

    async fn read_proxy_header(&self, tcp: &mut TcpStream) -> Result<ProxyHeader, Error> {
        let deadline = Deadline::handshake(self.server.config());
        deadline.run(async { Ok(ProxyHeader::read(tcp).await?) }).await
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, tcp: TcpStream) -> Result<ServerStream, Error> {
        Ok(match &self.tls {
            Some(acceptor) => ServerStream::secure(acceptor.accept(tcp).await?),
            None => ServerStream::plain(tcp),
        })
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(&self, tcp: TcpStream) -> Result<ServerStream, Error> {
        Ok(ServerStream::plain(tcp))
    }

    /// Accepts or rejects a request for a connection.
    async fn decide(&self, request: IncomingRequest<ServerStream>, peer: SocketAddr) -> Opened {
        let incoming = Incoming::new(request.request().clone(), peer);
        let of_key = match self.per_key.as_ref().map(|limit| limit.take(&incoming)) {
            None => None,
            Some(Some(place)) => Some(place),
            Some(None) => {
                // The refusal is what to report, even if writing the response fails.
                let _ = request.reject(unavailable()).await;
                let refusal = Refusal::ConnectionsPerKey;
                return Opened::Failed(Failure::Refused { peer, refusal });
            }
        };
        let decision = match &self.decide {
            Some(decide) => decide(incoming).await,
            None => incoming.accept(),
        };
        let (incoming, accepted) = match decision {
            Decision::Accept { incoming, response: None } => (incoming, request.accept().await),
            Decision::Accept { incoming, response: Some(response) } => {
                (incoming, request.accept_with(response).await)
            }
            Decision::Reject(response) => {
                let status = response.status();
                return match request.reject(response).await {
                    Ok(()) => Opened::Rejected(status),
                    Err(error) => Opened::Failed(Failure::Opening { peer, error }),
                };
            }
        };
        match accepted {
            Ok(ws) => {
                ws.events().peer(|| Some(peer));
                Opened::Connection { ws, incoming, of_key }
            }
            Err(error) => Opened::Failed(Failure::Opening { peer, error }),
        }
    }

    /// Answers a request that does not ask for a connection.
    async fn respond(&self, request: HttpRequest<ServerStream>, peer: SocketAddr) -> Opened {
        let Some(respond) = &self.respond else {
            let rejection = request.rejection().clone();
            // The rejection is what to report, even if writing the response fails.
            let _ = request.refuse().await;
            return Opened::Failed(Failure::Opening { peer, error: Error::Rejected(Box::new(rejection)) });
        };
        let response = respond(Incoming::new(request.request().clone(), peer)).await;
        match request.respond(response).await {
            Ok(()) => Opened::Answered,
            Err(error) => Opened::Failed(Failure::Opening { peer, error }),
        }
    }

    /// Answers the request of a connection that exceeds a limit.
    pub(super) async fn refuse(&self, mut tcp: TcpStream) -> Result<(), Error> {
        if self.proxy_protocol {
            ProxyHeader::read(&mut tcp).await?;
        }
        match self.server.read_any_request(tcp).await? {
            AnyRequest::WebSocket(request) => request.reject(unavailable()).await,
            AnyRequest::Http(request) => request.respond(unavailable()).await,
            AnyRequest::Rejected(request) => request.refuse().await,
        }
    }
}

/// Returns the failure of a connection that has no valid header.
fn proxy_header_failed(peer: SocketAddr, error: Error) -> Failure {
    let invalid = match &error {
        Error::Transport(error) => error.get_ref().and_then(|error| error.downcast_ref()).copied(),
        _ => None,
    };
    match invalid {
        Some(error) => Failure::ProxyHeader { peer, error },
        None => Failure::Opening { peer, error },
    }
}
