//! Clients of Socket.IO, over WebSocket.

use std::net::SocketAddr;

use socketio::Builder;

use super::{Client, open_ws, serve, text};

pub const PATH: &str = "/socket.io/";

/// Serves what a builder builds.
pub async fn start(builder: Builder) -> SocketAddr {
    serve(builder.build().routes()).await
}

/// Opens a session, and connects to a namespace. Returns the id of the socket.
pub async fn connect(address: SocketAddr, packet: &str) -> (Client, String) {
    let (mut ws, _) = open_ws(address, PATH).await;
    ws.send(packet).await.expect("open");
    let answer = text(&mut ws).await;
    let (_, sid) = answer.split_once(r#"{"sid":""#).unwrap_or_else(|| panic!("{answer}"));
    (ws, sid.trim_end_matches(r#""}"#).to_owned())
}

pub async fn expect(ws: &mut Client, expected: &str) {
    assert_eq!(text(ws).await, expected);
}
