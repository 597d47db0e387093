//! The end that accepts TCP connections.

use std::{io, net::SocketAddr, sync::Arc};

use clap::Parser;
use fullduplex::{Client, Error, Target};
use tokio::net::TcpStream;

use crate::{
    accept_loop::{self, Stopped},
    carry::{self, carry},
    client_proxy::Proxy,
    client_tls::Tls,
    token::{SUBPROTOCOL, TokenArgs},
};

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:2222")]
    listen: SocketAddr,
    /// URL of the server: ws://HOST[:PORT][/PATH], or wss:// with the feature `tls`.
    #[arg(long)]
    url: Target,
    /// Maximum number of open connections; further ones are refused.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_connections: usize,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    proxy: Proxy,
}

pub(crate) async fn run(args: Args) -> io::Result<()> {
    let client = args.token.read()?.offer(Client::new(carry::config()));
    let client = args.proxy.apply(args.tls.apply(client)?);
    client.check().map_err(|error| Error::from(error.clone()))?;
    let shared = Arc::new((client, args.url));
    let connection = |tcp, peer, stopped| {
        let shared = shared.clone();
        async move {
            let (client, url) = &*shared;
            if let Err(error) = connection(client, url, tcp, stopped).await {
                eprintln!("{peer}: {error:#}");
                if let Some(response) = error.response() {
                    eprintln!("{peer}: {}", response.body().escape_ascii());
                }
            }
        }
    };
    accept_loop::serve(args.listen, "tcp", args.max_connections, connection, || ()).await
}

/// Carries one TCP connection. If the server cannot be reached, it is closed without a byte.
async fn connection(client: &Client, url: &Target, tcp: TcpStream, stopped: Stopped) -> Result<(), Error> {
    tcp.set_nodelay(true)?;
    let (mut ws, _response) = tokio::select! {
        connected = client.connect(url) => connected?,
        () = stopped.cancelled() => return Ok(()),
    };
    if ws.subprotocol() != Some(SUBPROTOCOL) {
        ws.close(fullduplex::CloseCode::POLICY_VIOLATION, "not a tunnel").await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the server is not a tunnel").into());
    }
    Ok(carry(ws, tcp, &stopped).await?)
}
