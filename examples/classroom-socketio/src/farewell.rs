//! How sockets are disconnected: each client learns why before.

use serde::Serialize;
use socketio::{EmitError, Socket};

/// Why a socket is disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// A teacher has removed the student.
    Removed,
    /// An administrator has closed the class.
    Closed,
    /// An administrator has disconnected the socket.
    ByAdmin,
    /// The person has opened too many others.
    Replaced,
}

#[derive(Serialize)]
struct Reason {
    reason: &'static str,
}

impl Farewell {
    /// Returns the event, and the reason for people.
    fn event(self) -> (&'static str, &'static str) {
        match self {
            Self::Removed => ("student:removed", "a teacher has removed you from the class"),
            Self::Closed => ("room:closed", "an administrator has closed the class"),
            Self::ByAdmin => ("admin:disconnected", "an administrator has closed the connection"),
            Self::Replaced => ("chat:replaced", "you have opened the class in too many windows"),
        }
    }

    /// Tells sockets why, and disconnects them, in tasks of their own: a client may be slow.
    pub fn say(self, sockets: impl IntoIterator<Item = Socket>) {
        for socket in sockets {
            tokio::spawn(self.say_to(socket));
        }
    }

    async fn say_to(self, socket: Socket) {
        let (event, reason) = self.event();
        match socket.emit(event, &Reason { reason }).await {
            Ok(()) | Err(EmitError::Disconnected) => {}
            Err(error) => tracing::error!(%error, event, "an event was not sent"),
        }
        socket.disconnect().await;
    }
}
