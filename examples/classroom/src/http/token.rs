//! Exchanges tickets for tokens.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    auth::{Auth, AuthError, Exchanged, Identity, Role, Scope, TOKEN_LIFETIME},
    live::Decisions,
    metrics::{Metrics, Refusal},
    store::RoomState,
    values::{Name, ParticipantId, RoomName},
};

/// The body of the request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    ticket: String,
    #[serde(default)]
    name: Option<Name>,
}

/// The body of the response.
#[derive(Serialize)]
struct Issued {
    /// Opens connections.
    token: String,
    /// How long, in seconds.
    expires_in: u64,
    /// Replaces the ticket: it is for this person alone.
    ticket: String,
    id: ParticipantId,
    name: Name,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<RoomName>,
}

impl From<Exchanged> for Issued {
    fn from(exchanged: Exchanged) -> Self {
        let Exchanged { identity: Identity { id, name, scope }, token, ticket } = exchanged;
        let (role, room) = (scope.role(), scope.room().cloned());
        Self { token, expires_in: TOKEN_LIFETIME.as_secs(), ticket, id, name, role, room }
    }
}

/// Why there is no token. The body says it as a code for programs and a text for people.
pub(super) enum Refused {
    Body(JsonRejection),
    Ticket(AuthError),
    Barred,
    Closed,
    /// What is decided is not known: the error for the log.
    Unavailable(String),
}

/// How long what is decided may take to read.
const TIMEOUT: Duration = Duration::from_secs(8);

pub(super) async fn exchange(
    State(auth): State<Arc<Auth>>,
    State(decisions): State<Decisions>,
    State(metrics): State<Metrics>,
    body: Result<Json<Request>, JsonRejection>,
) -> Result<Response, Refused> {
    match issue(&auth, &decisions, body).await {
        Ok(issued) => {
            metrics.token_issued();
            Ok(([(header::CACHE_CONTROL, "no-store")], Json(issued)).into_response())
        }
        Err(refused) => {
            if let Some(reason) = refused.label() {
                metrics.refused(reason);
            }
            Err(refused)
        }
    }
}

async fn issue(
    auth: &Auth,
    decisions: &Decisions,
    body: Result<Json<Request>, JsonRejection>,
) -> Result<Issued, Refused> {
    let Json(Request { ticket, name }) = body.map_err(Refused::Body)?;
    let exchanged = auth.exchange(&ticket, name).map_err(Refused::Ticket)?;
    let Identity { id, name, scope } = &exchanged.identity;
    // A teacher may enter a closed room, to open it again.
    if let Scope::Student(room) = scope {
        let decisions = decisions.of(room);
        let state = timeout(TIMEOUT, decisions.state(id, name)).await;
        let state = state.map_err(|late| Refused::Unavailable(late.to_string()))?;
        match state.map_err(|error| Refused::Unavailable(error.to_string()))? {
            RoomState { is_barred: true, .. } => return Err(Refused::Barred),
            RoomState { is_closed: true, .. } => return Err(Refused::Closed),
            _ => {}
        }
    }
    Ok(exchanged.into())
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Body(rejection) => rejection.status(),
            Self::Ticket(AuthError::NoName) => StatusCode::BAD_REQUEST,
            Self::Ticket(AuthError::Signing) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Ticket(_) => StatusCode::UNAUTHORIZED,
            Self::Barred | Self::Closed => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Body(_) => "malformed",
            Self::Ticket(AuthError::NoName) => "name",
            Self::Ticket(AuthError::Expired) => "expired",
            Self::Ticket(AuthError::NotValid) => "not_valid",
            Self::Barred => "removed",
            Self::Closed => "closed",
            Self::Ticket(AuthError::Signing) | Self::Unavailable(_) => "unavailable",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Body(rejection) => rejection.body_text(),
            Self::Ticket(AuthError::NoName) => "a name is needed".into(),
            Self::Ticket(AuthError::Expired) => "the link has expired".into(),
            Self::Ticket(AuthError::NotValid) => "the link is not valid".into(),
            Self::Barred => "a teacher has removed you from the room".into(),
            Self::Closed => "a teacher has closed the room".into(),
            Self::Ticket(AuthError::Signing) | Self::Unavailable(_) => {
                "the server is not available now".into()
            }
        }
    }

    /// Returns the label of the counter; `None` for a page that has yet to ask for a name.
    fn label(&self) -> Option<Refusal> {
        Some(match self {
            Self::Ticket(AuthError::NoName) => return None,
            Self::Body(_) => Refusal::Malformed,
            Self::Ticket(AuthError::Expired) => Refusal::Expired,
            Self::Ticket(AuthError::NotValid) => Refusal::NotValid,
            Self::Barred => Refusal::Barred,
            Self::Closed => Refusal::Closed,
            Self::Ticket(AuthError::Signing) | Self::Unavailable(_) => Refusal::Store,
        })
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        if let Self::Unavailable(error) = &self {
            tracing::error!(error, "no token was issued");
        }
        let status = self.status();
        let body = serde_json::json!({"code": self.code(), "error": self.text()});
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
