//! Routes of axum: axum's own WebSocket, and this crate's.
//!
//! Each connection is served as `axum::serve` does.

use std::sync::OnceLock;

use anyhow::Result;
use axum::{
    Router,
    extract::ws::{self, Message},
    response::Response,
    routing::any,
};
use futures_util::FutureExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpStream;

use super::{Manner, Peer, Standing, burst, fullduplex};

/// The columns of the tables about axum.
pub static ALL: &[&dyn Peer] = &[&OnAxum::Own, &OnAxum::OwnBest, &OnAxum::FullDuplex, &fullduplex::WHOLE];

/// The size of the read buffer in the best loop, as in the column of tokio-tungstenite.
const READ: usize = 16 << 10;

#[derive(Debug)]
pub enum OnAxum {
    /// axum's own WebSocket, by its plain loop.
    Own,
    /// The same, by the best loop that it allows.
    OwnBest,
    FullDuplex,
}

impl OnAxum {
    fn router(&self, manner: Manner) -> Router {
        let route = match (self, manner) {
            (Self::Own, _) => any(async |upgrade: ws::WebSocketUpgrade| own(upgrade, Manner::Plain)),
            (Self::OwnBest, _) => any(async |upgrade: ws::WebSocketUpgrade| own(upgrade, Manner::Best)),
            (Self::FullDuplex, Manner::Best) => any(async |upgrade| ours(upgrade, Manner::Best)),
            (Self::FullDuplex, Manner::Plain) => any(async |upgrade| ours(upgrade, Manner::Plain)),
        };
        Router::new().route("/", route)
    }
}

fn own(upgrade: ws::WebSocketUpgrade, manner: Manner) -> Response {
    let upgrade = match manner {
        Manner::Best => upgrade.read_buffer_size(READ),
        Manner::Plain => upgrade,
    };
    upgrade.on_upgrade(move |ws| burst::echo(ws, manner, reply).map(drop))
}

fn reply(item: Result<Message, axum::Error>) -> Result<Option<Message>> {
    let message = item?;
    Ok(matches!(message, Message::Text(_) | Message::Binary(_)).then_some(message))
}

fn ours(upgrade: ::fullduplex::axum::WebSocketUpgrade, manner: Manner) -> Response {
    upgrade.on_upgrade(move |ws| fullduplex::echo(ws, manner).map(drop))
}

impl Peer for OnAxum {
    fn name(&self) -> &'static str {
        match self {
            Self::Own => "axum",
            Self::OwnBest => "axum, best loop",
            Self::FullDuplex => "fullduplex on axum",
        }
    }

    fn package(&self) -> Option<&'static str> {
        matches!(self, Self::Own).then_some("axum")
    }

    fn standing(&self) -> Standing {
        match self {
            Self::Own => Standing::Peer,
            Self::OwnBest => Standing::Apart,
            Self::FullDuplex => Standing::Ours,
        }
    }

    fn notes(&self) -> &'static str {
        match self {
            Self::Own => "axum's own WebSocket, by its plain loop: each message sent and flushed by itself",
            Self::OwnBest => "the same, fed while input is ready, with a read buffer of 16 KiB",
            Self::FullDuplex => "this crate's, by the best loop",
        }
    }

    fn serve(&self, tcp: TcpStream, manner: Manner) -> Option<()> {
        static ROUTER: OnceLock<Router> = OnceLock::new();
        // A process serves one column, in one manner.
        serve_routes(tcp, ROUTER.get_or_init(|| self.router(manner)).clone());
        Some(())
    }

    fn serve_http2(&self, tcp: TcpStream) -> Option<()> {
        self.serve(tcp, Manner::Best)
    }
}

/// Serves a connection in a task of its own.
pub fn serve_routes(tcp: TcpStream, routes: Router) {
    let service = TowerToHyperService::new(routes);
    tokio::spawn(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().enable_connect_protocol();
        builder.serve_connection_with_upgrades(TokioIo::new(tcp), service).map(drop).await;
    });
}
