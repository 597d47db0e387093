//! What is served over HTTP besides WebSocket connections: pages, tokens, health and metrics.

mod files;
mod listener;
mod token;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fullduplex::serve::Shutdown;
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
};

pub use self::listener::{Listener, ListenerError};
use crate::{
    address::TrustForwardedFor,
    auth::Auth,
    live::Decisions,
    metrics::{self, Metrics},
    store::Store,
};

/// What a page may load and connect to: only files of this server, and no script or style in HTML.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The largest body of a request, in bytes: a ticket and a name.
const MAX_BODY: usize = 8 << 10;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What the routes share.
#[derive(Debug, Clone, FromRef)]
pub struct App {
    /// Signs and checks tickets and tokens.
    pub auth: Arc<Auth>,
    /// Whether it runs is a part of the health.
    pub store: Store,
    /// Who is barred, and which rooms are closed.
    pub decisions: Decisions,
    /// The counters.
    pub metrics: Metrics,
    /// Begins when the server stops.
    pub shutdown: Shutdown,
    /// Whether `X-Forwarded-For` is believed.
    pub trust_forwarded_for: TrustForwardedFor,
}

/// Returns the routes. Pages of `allow_origins` may ask for tokens too.
///
/// Routes for WebSocket connections are added with [`Router::merge`]: the timeout of requests does
/// not apply to them.
pub fn router(app: App, allow_origins: &[String]) -> Router {
    let limits = (
        DefaultBodyLimit::max(MAX_BODY),
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT),
    );
    Router::new()
        .merge(files::routes())
        .route("/api/token", post(token::exchange).layer(cors(allow_origins)))
        .route("/healthz", get(health))
        .route("/metrics", get(export))
        .layer(limits)
        .layer(fixed(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .with_state(app)
}

fn fixed(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}

/// Lets pages of these origins send JSON and read the answer.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::POST])
        .allow_headers([header::CONTENT_TYPE])
}

/// Answers 503 once the server stops or the store has failed, so that a load balancer sends no more
/// clients.
async fn health(State(shutdown): State<Shutdown>, State(store): State<Store>) -> (StatusCode, &'static str) {
    if shutdown.has_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if !store.is_running() {
        (StatusCode::SERVICE_UNAVAILABLE, "the store has stopped\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn export(State(metrics): State<Metrics>) -> Response {
    match metrics.export() {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
