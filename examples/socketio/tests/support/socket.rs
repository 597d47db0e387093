//! Clients of Socket.IO, over WebSocket.

use std::net::SocketAddr;

use socketio::{Builder, Io};

use super::{Client, open_ws, serve, text};

pub const PATH: &str = "/socket.io/";

/// Serves what a builder builds.
pub async fn start(builder: Builder) -> SocketAddr {
    serve_io(builder).await.1
}

/// Serves what a builder builds, and returns it too.
pub async fn serve_io(builder: Builder) -> (Io, SocketAddr) {
    let io = builder.build();
    let address = serve(io.routes()).await;
    (io, address)
}

/// Opens a session, and connects to a namespace. Returns the id of the socket.
pub async fn connect(address: SocketAddr, packet: &str) -> (Client, String) {
    let (mut ws, _) = open_ws(address, PATH).await;
    ws.send(packet).await.expect("open");
    let answer = text(&mut ws).await;
    let (_, sid) = answer.split_once(r#"{"sid":""#).unwrap_or_else(|| panic!("{answer}"));
    let (sid, _) = sid.split_once('"').expect("the end of the id");
    (ws, sid.to_owned())
}

pub async fn expect(ws: &mut Client, expected: &str) {
    assert_eq!(text(ws).await, expected);
}
