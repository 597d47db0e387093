//! Which requests may open a connection.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use fullduplex::{Config, Rejection, Server, axum::WebSocketUpgrade};

use crate::{
    address::ClientAddress,
    auth::{Auth, AuthError, Identity, Role},
    limits::{NoPlace, Place, Places},
    metrics::{Metrics, Refusal},
};

/// The prefix of the token in the list of subprotocols.
pub const BEARER_PREFIX: &str = "bearer.";

/// Seconds after which a client that found no place may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// The endpoints, each with roles and a subprotocol of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// A room, for teachers and students.
    Room,
    /// The administration.
    Admin,
}

impl Endpoint {
    /// Returns the subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Room => "classroom.v1",
            Self::Admin => "classroom.admin.v1",
        }
    }
}

/// Decides which requests may open a connection.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Checks the tokens.
    pub auth: Arc<Auth>,
    /// The places for connections.
    pub places: Places,
    /// Whether the token may be in the query: `?token=`. Servers and proxies write queries to logs.
    pub token_in_query: bool,
    /// Origins of pages that may connect, besides that of this server.
    pub allow_origins: Arc<[String]>,
    /// The limits and deadlines of connections.
    pub config: Config,
    /// Counts those who are refused.
    pub metrics: Metrics,
}

/// A person who may enter, and the place of the connection.
#[derive(Debug)]
pub struct Admitted {
    /// The person.
    pub identity: Identity,
    /// To keep for as long as the connection is open.
    pub place: Place,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The list of subprotocols is malformed, or has two tokens.
    #[error("{}", .0.reason())]
    Malformed(Rejection),
    /// There is no token.
    #[error("a token is needed")]
    NoToken,
    /// The token is not valid.
    #[error("the token is refused: {0}")]
    Token(AuthError),
    /// The role has another endpoint.
    #[error("this endpoint is not for the role {}", .0.as_str())]
    Role(Role),
    /// There are too many connections.
    #[error("{0}")]
    NoPlace(NoPlace),
}

impl Admission {
    /// Takes the token out of a request, checks it, and takes a place for the connection.
    ///
    /// The token is in no response: what is left of the subprotocols is for
    /// [`WebSocketUpgrade::subprotocols`].
    ///
    /// # Errors
    /// Returns the response to a request that is refused.
    pub fn admit(
        &self,
        endpoint: Endpoint,
        upgrade: &mut WebSocketUpgrade,
        uri: &Uri,
        ClientAddress(address): ClientAddress,
    ) -> Result<Admitted, Refused> {
        let mut admit = || {
            let identity = self.identify(upgrade, uri)?;
            let role = identity.scope.role();
            if (role == Role::Admin) != (endpoint == Endpoint::Admin) {
                return Err(Refused::Role(role));
            }
            let place = self.places.take(address).map_err(Refused::NoPlace)?;
            Ok(Admitted { identity, place })
        };
        admit().inspect_err(|refused| self.metrics.refused(refused.label()))
    }

    /// Returns the settings with which a request to an endpoint opens its connection.
    ///
    /// Pages of the same host may connect, and of the origins that are allowed, and programs that
    /// are no browsers.
    pub fn server(&self, endpoint: Endpoint) -> Server {
        Server::new(self.config.clone())
            .subprotocols([endpoint.subprotocol()])
            .same_origin_or(self.allow_origins.iter())
    }

    fn identify(&self, upgrade: &mut WebSocketUpgrade, uri: &Uri) -> Result<Identity, Refused> {
        let bearer = upgrade.take_bearer_token(BEARER_PREFIX).map_err(Refused::Malformed)?;
        let in_query = || self.token_in_query.then(|| query_token(uri)).flatten();
        let token = bearer.as_ref().map(|token| token.as_str()).or_else(in_query).ok_or(Refused::NoToken)?;
        self.auth.verify(token).map_err(Refused::Token)
    }
}

impl Refused {
    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(rejection) => rejection.status(),
            Self::NoToken | Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::Role(_) => StatusCode::FORBIDDEN,
            Self::NoPlace(NoPlace::OfAddress) => StatusCode::TOO_MANY_REQUESTS,
            Self::NoPlace(NoPlace::InAll) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn label(&self) -> Refusal {
        match self {
            Self::Malformed(_) => Refusal::Malformed,
            Self::NoToken => Refusal::NoToken,
            Self::Token(AuthError::Expired) => Refusal::Expired,
            Self::Token(_) => Refusal::NotValid,
            Self::Role(_) => Refusal::Role,
            Self::NoPlace(NoPlace::OfAddress) => Refusal::Address,
            Self::NoPlace(NoPlace::InAll) => Refusal::Full,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, format!("{self}\n")).into_response();
        match status {
            // RFC 6750 section 3.
            StatusCode::UNAUTHORIZED => {
                _ = response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                _ = response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            _ => {}
        }
        response
    }
}

/// Returns whether browsers send origins of this form.
pub(crate) fn is_origin(text: &str) -> bool {
    Server::default().allow_origins([text]).check().is_ok()
}

/// Returns the token in the query, which needs no percent-encoding.
fn query_token(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token=")).filter(|token| !token.is_empty())
}
