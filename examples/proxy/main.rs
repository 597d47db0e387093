//! A reverse proxy for WebSocket: passes each connection to a server behind it.
//!
//! ```text
//! cargo run --release --example echo -- --listen 127.0.0.1:9001
//! cargo run --release --example proxy -- --listen 127.0.0.1:9005 --to ws://127.0.0.1:9001
//! cargo run --release --example client -- ws://127.0.0.1:9005
//! ```
//!
//! Messages, pings, pongs and close codes are passed on in both directions. A slow end slows the
//! other one down: what is not accepted is not read. If the server behind it cannot be reached, the
//! client receives status 502 or 504.

#[path = "../common/accept_loop.rs"]
mod accept_loop;
#[path = "../common/client_tls.rs"]
mod client_tls;
mod pump;
#[path = "../common/server_tls.rs"]
mod server_tls;
mod upstream;

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc};

use accept_loop::Stopped;
use clap::Parser;
use client_tls::Tls as ClientTls;
use fullduplex::{Client, Config, Error, Server, Target};
use server_tls::Tls as ServerTls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use upstream::Upstream;

/// A reverse proxy for WebSocket.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9005")]
    listen: SocketAddr,
    /// Server to connect to: ws://HOST[:PORT], or wss:// with the feature `tls`. Path and query are
    /// those of each request.
    #[arg(long, value_name = "URL", value_parser = parse_server)]
    to: Target,
    /// Largest message to pass on, in bytes. Each direction holds one at most, and the write
    /// buffer.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    max_message_size: usize,
    /// How many bytes wait for a slow end, before the other one has to wait.
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10)]
    max_write_buffer_size: usize,
    /// Maximum number of open connections; further ones are refused.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    max_connections: usize,
    #[command(flatten)]
    server_tls: ServerTls,
    #[command(flatten)]
    client_tls: ClientTls,
}

fn parse_server(url: &str) -> Result<Target, String> {
    let target: Target = url.parse().map_err(|error: fullduplex::TargetError| error.to_string())?;
    match target.path_and_query() {
        _ if target.authorization().is_some() => {
            Err("has credentials: those of each request are used".into())
        }
        "/" => Ok(target),
        _ => Err("has a path or a query: those of each request are used".into()),
    }
}

/// The settings of all connections.
struct Proxy {
    server: Server,
    upstream: Upstream,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> io::Result<()> {
    // Pings are passed on and answered by the other end, so that each end observes the other one
    // and not the proxy.
    let config = Config::new()
        .automatic_pongs(false)
        .ping_interval(None)
        .max_message_size(args.max_message_size)
        .max_write_buffer_size(args.max_write_buffer_size)
        .max_fragments(1 << 17);
    let client = args.client_tls.apply(Client::new(config.clone()))?;
    let proxy = Arc::new(Proxy { server: Server::new(config), upstream: Upstream::new(client, args.to) });
    #[cfg(feature = "tls")]
    if let Some(acceptor) = args.server_tls.acceptor()? {
        let connection = |tcp: TcpStream, peer, stopped| {
            let (proxy, acceptor) = (proxy.clone(), acceptor.clone());
            async move {
                let work = async {
                    tcp.set_nodelay(true)?;
                    proxy.serve(acceptor.accept(tcp).await?, peer, stopped).await
                };
                report(peer, work.await);
            }
        };
        return accept_loop::serve(args.listen, "wss", args.max_connections, connection, || ()).await;
    }
    let connection = |tcp: TcpStream, peer, stopped| {
        let proxy = proxy.clone();
        async move {
            let work = async {
                tcp.set_nodelay(true)?;
                proxy.serve(tcp, peer, stopped).await
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

impl Proxy {
    async fn serve<S>(&self, io: S, peer: SocketAddr, stopped: Stopped) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let opening = async {
            let request = self.server.read_request(io).await?;
            match self.upstream.open(request.request(), peer.ip()).await {
                Ok((upstream, response)) => Ok(Some((request.accept_with(response).await?, upstream))),
                Err(failure) => {
                    eprintln!("{peer}: {}", failure.reason);
                    request.reject(failure.response).await?;
                    Ok::<_, Error>(None)
                }
            }
        };
        let opened = tokio::select! {
            // Boxed, so that the memory of the opening handshakes is freed once they are complete.
            opened = Box::pin(opening) => opened?,
            () = stopped.cancelled() => return Ok(()),
        };
        match opened {
            Some((downstream, upstream)) => pump::run(downstream, upstream, &stopped).await,
            None => Ok(()),
        }
    }
}
