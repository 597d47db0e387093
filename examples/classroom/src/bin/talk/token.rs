//! The tickets and tokens of the client.

use std::{
    fmt, io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use classroom::{auth::Role, values::Name};
use http_body_util::BodyExt;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use crate::args::Args;

/// The way into the room.
#[derive(Debug)]
pub(crate) struct Entry {
    authority: String,
    name: Option<Name>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// That of the link, and then one for this person alone.
    ticket: String,
    role: Role,
}

#[derive(Debug, Deserialize)]
struct Issued {
    token: String,
    ticket: String,
    role: Role,
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    text: String,
}

impl Refused {
    /// Returns the refusal that is in an error.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns whether the server would refuse again.
    pub(crate) fn is_final(&self) -> bool {
        self.status.is_client_error() && self.status != StatusCode::REQUEST_TIMEOUT
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no token, {}: {}", self.status, self.text.escape_debug())
    }
}

impl std::error::Error for Refused {}

impl Entry {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            authority: args.link.authority.clone(),
            name: args.name.clone(),
            state: Mutex::new(State { ticket: args.link.ticket.clone(), role: Role::Student }),
        }
    }

    /// Returns the URL of the connection.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.authority)
    }

    /// Returns the role of the last token.
    pub(crate) fn role(&self) -> &'static str {
        self.lock().role.as_str()
    }

    /// Exchanges the ticket for a token.
    pub(crate) async fn token(&self) -> io::Result<String> {
        let ticket = self.lock().ticket.clone();
        let body = json!({ "ticket": ticket, "name": self.name }).to_string();
        let (status, body) = post(&self.authority, "/api/token", body).await?;
        if status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body).into_owned();
            return Err(io::Error::other(Refused { status, text }));
        }
        let Issued { token, ticket, role } = serde_json::from_slice(&body)?;
        *self.lock() = State { ticket, role };
        Ok(token)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn post(authority: &str, path: &str, body: String) -> io::Result<(StatusCode, Vec<u8>)> {
    let tcp = TcpStream::connect(authority).await?;
    let (mut sending, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
    // Ends with the response, or its error.
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(body)
        .map_err(io::Error::other)?;
    let exchange = async {
        let response = sending.send_request(request).await?;
        let status = response.status();
        Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes().into()))
    };
    let result = exchange.await.map_err(io::Error::other);
    connection.abort();
    result
}
