//! A server for Socket.IO 5 over Engine.IO 4, on axum.
//!
//! Clients are those of `socket.io-client` 3 and 4. They connect by HTTP long polling, by WebSocket, or
//! by the former and then the latter; a handler sees no difference.
//!
//! ```no_run
//! use serde::Deserialize;
//! use socketio::{Auth, ConnectError, Data, Io, Namespace, Socket};
//!
//! #[derive(Deserialize)]
//! struct Ticket {
//!     token: String,
//! }
//!
//! async fn check(_socket: Socket, auth: Auth) -> Result<(), ConnectError> {
//!     match auth.parse::<Ticket>() {
//!         Ok(ticket) if ticket.token == "secret" => Ok(()),
//!         _ => Err(ConnectError::new("Not authorized")),
//!     }
//! }
//!
//! # async fn serve() -> std::io::Result<()> {
//! let chat = Namespace::new("/chat")
//!     .authorize(check)
//!     .on_connect(|socket: Socket, _auth| async move {
//!         let _ = socket.emit("welcome", "Good morning").await;
//!     })
//!     .on("message", |_socket, Data(text): Data<String>| async move { text.len() });
//! let io = Io::builder().namespace(chat).build();
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, io.routes()).await
//! # }
//! ```
//!
//! # Modules
//! [`engine`] is Engine.IO, which can be used without the rest. [`packet`] is the form of the packets of
//! Socket.IO, without I/O.

pub mod engine;
mod socket;

pub use self::socket::{
    Ack, AckError, Answers, Args, Arguments, Auth, Binary, Broadcast, Builder, ClusterError, ConnectError,
    Data, Disconnect, EmitError, Event, FromAnswer, FromEvent, FromServerEvent, InvalidData, Io, Limits,
    Namespace, NodeAnswers, Refused, RemoteSocket, ServerEvent, Socket,
};

/// Packets of Socket.IO, without I/O.
pub mod packet {
    pub use crate::socket::{Assembly, InvalidPacket, Kind, Packet, Whole};
}
