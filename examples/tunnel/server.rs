//! The end that accepts WebSocket connections.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use clap::Parser;
use fullduplex::{Error, IncomingRequest, Server, WebSocket};
use http::{Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::{
    accept_loop::{self, Stopped},
    carry::{self, carry},
    server_tls::Tls,
    token::{SUBPROTOCOL, Token, TokenArgs},
};

/// How long reaching the destination may take.
const DIAL: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9004")]
    listen: SocketAddr,
    /// Host and port to connect to, for each WebSocket connection.
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// Maximum number of open connections; further ones are refused.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_connections: usize,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    tls: Tls,
}

/// What each connection needs.
struct Tunnel {
    server: Server,
    token: Token,
    to: String,
}

pub(crate) async fn run(args: Args) -> io::Result<()> {
    let server = Token::expect(Server::new(carry::config()));
    let tunnel = Arc::new(Tunnel { server, token: args.token.read()?, to: args.to });
    #[cfg(feature = "tls")]
    if let Some(acceptor) = args.tls.acceptor()? {
        let connection = |tcp: TcpStream, peer, stopped| {
            let (tunnel, acceptor) = (tunnel.clone(), acceptor.clone());
            async move {
                let work = async {
                    tcp.set_nodelay(true)?;
                    tunnel.serve(acceptor.accept(tcp).await?, &stopped).await
                };
                report(peer, work.await);
            }
        };
        return accept_loop::serve(args.listen, "wss", args.max_connections, connection, || ()).await;
    }
    let connection = |tcp: TcpStream, peer, stopped| {
        let tunnel = tunnel.clone();
        async move {
            let work = async {
                tcp.set_nodelay(true)?;
                tunnel.serve(tcp, &stopped).await
            };
            report(peer, work.await);
        }
    };
    accept_loop::serve(args.listen, "ws", args.max_connections, connection, || ()).await
}

fn report(peer: SocketAddr, result: Result<(), Error>) {
    if let Err(error) = result {
        eprintln!("{peer}: {error:#}");
    }
}

impl Tunnel {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, io: S, stopped: &Stopped) -> Result<(), Error> {
        let opened = tokio::select! {
            opened = self.open(io) => opened?,
            () = stopped.cancelled() => return Ok(()),
        };
        match opened {
            Some((ws, tcp)) => Ok(carry(ws, tcp, stopped).await?),
            None => Ok(()),
        }
    }

    /// Reads the request, and reaches the destination before it accepts the request, so that the
    /// client receives a status if that fails.
    async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: S,
    ) -> Result<Option<(WebSocket<S>, TcpStream)>, Error> {
        let request = self.server.read_request(io).await?;
        if !self.token.permits(&request) {
            refuse(request, StatusCode::UNAUTHORIZED, "the token is missing or wrong").await?;
            return Ok(None);
        }
        let offered = fullduplex::handshake::offered_subprotocols(request.request().headers());
        if !offered.is_some_and(|offered| offered.contains(&SUBPROTOCOL)) {
            refuse(request, StatusCode::BAD_REQUEST, "this is a tunnel, for its own client only").await?;
            return Ok(None);
        }
        let tcp = match timeout(DIAL, TcpStream::connect(&self.to)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => {
                eprintln!("{}: {error}", self.to);
                refuse(request, StatusCode::BAD_GATEWAY, "the destination was not reached").await?;
                return Ok(None);
            }
            Err(_elapsed) => {
                eprintln!("{}: no answer", self.to);
                refuse(request, StatusCode::GATEWAY_TIMEOUT, "the destination does not answer").await?;
                return Ok(None);
            }
        };
        tcp.set_nodelay(true)?;
        Ok(Some((request.accept().await?, tcp)))
    }
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    request: IncomingRequest<S>,
    status: StatusCode,
    reason: &'static str,
) -> Result<(), Error> {
    let mut response = Response::new(format!("{reason}\n"));
    *response.status_mut() = status;
    request.reject(response).await
}
