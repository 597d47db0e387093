//! The connection to the server behind the proxy: what is passed to it of the request, and what the
//! client receives if it fails.

use std::net::IpAddr;

use bytes::Bytes;
use fullduplex::{
    Client, ClientStream, Error, Target, TargetError, Timeout, WebSocket, handshake::offered_subprotocols,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, SET_COOKIE, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
    },
};

/// The server behind the proxy.
pub(crate) struct Upstream {
    client: Client,
    target: Target,
}

/// Why there is no connection, and what the client is answered.
pub(crate) struct Failure {
    pub(crate) response: Response<Bytes>,
    pub(crate) reason: String,
}

impl Upstream {
    pub(crate) fn new(client: Client, target: Target) -> Self {
        Self { client, target }
    }

    /// Opens a connection for a request. Returns it, with the fields to add to the 101.
    pub(crate) async fn open(
        &self,
        request: &Request<()>,
        peer: IpAddr,
    ) -> Result<(WebSocket<ClientStream>, Response<()>), Box<Failure>> {
        let mut client = self.client.clone().headers(forwarded(request.headers(), peer));
        let mut offered = Vec::new();
        // A malformed list was rejected before.
        for name in offered_subprotocols(request.headers()).unwrap_or_default() {
            // RFC 6455 section 4.1, 10: a client offers each once.
            if !offered.contains(&name) {
                offered.push(name);
                client = client.subprotocol(name);
            }
        }
        let target = self.target_of(request)?;
        match client.connect(&target).await {
            Ok((ws, response)) => Ok((ws, answer(response.headers()))),
            Err(error) => Err(Failure::of(&error)),
        }
    }

    /// Returns the target with path and query of the request.
    ///
    /// They are appended to the authority of the server and not resolved like a reference, in which
    /// `//host/` would name another server.
    fn target_of(&self, request: &Request<()>) -> Result<Target, Box<Failure>> {
        let scheme = if self.target.is_secure() { "wss" } else { "ws" };
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let target = format!("{scheme}://{}{path}", self.target.host_header());
        target.parse().map_err(|error: TargetError| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))
    }
}

/// Returns the fields of a request that are passed on: all but those that concern one connection
/// (RFC 9110 section 7.6.1), and those of the opening handshake.
fn forwarded(headers: &HeaderMap, peer: IpAddr) -> HeaderMap {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let own = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let passes = |name: &HeaderName| {
        let text = name.as_str();
        let handshake = text.starts_with("sec-websocket-");
        let connection = text.starts_with("proxy-") || text == "keep-alive";
        !own.contains(name) && !listed.contains(name) && !handshake && !connection
    };
    let mut passed: HeaderMap = headers
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // Appended to what proxies in front have written, of which a client can write anything.
    if let Ok(address) = HeaderValue::try_from(peer.to_canonical().to_string()) {
        passed.append("x-forwarded-for", address);
    }
    passed
}

/// Returns the fields that are added to the 101.
fn answer(headers: &HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    copy([SEC_WEBSOCKET_PROTOCOL, SET_COOKIE], headers, response.headers_mut());
    response
}

fn copy<const N: usize>(names: [HeaderName; N], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(&name) {
            to.append(&name, value.clone());
        }
    }
}

impl Failure {
    fn new(status: StatusCode, reason: String) -> Box<Self> {
        let mut response =
            Response::new(format!("{}\n", status.canonical_reason().unwrap_or_default()).into());
        *response.status_mut() = status;
        Box::new(Self { response, reason })
    }

    /// Returns the answer to a client for which there is no connection.
    fn of(error: &Error) -> Box<Self> {
        // A refusal is the answer of the server to this client, for example that it has to log in.
        // A redirect may lead to a place that only the proxy reaches.
        let refused = error.response().filter(|response| response.status().as_u16() >= 400);
        let mut failure = match (refused, error) {
            (Some(response), _) => Self::new(response.status(), String::new()),
            (None, Error::Timeout(Timeout::Connect | Timeout::Handshake)) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, String::new())
            }
            // The request contains something that a client must not send.
            (None, Error::InvalidHandshake(_)) => Self::new(StatusCode::BAD_REQUEST, String::new()),
            (None, _) => Self::new(StatusCode::BAD_GATEWAY, String::new()),
        };
        if let Some(response) = refused {
            let names = [CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE];
            copy(names, response.headers(), failure.response.headers_mut());
            *failure.response.body_mut() = response.body().clone();
        }
        failure.reason = format!("{}: {error:#}", failure.response.status());
        failure
    }
}
