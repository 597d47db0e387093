//! What is not WebSocket: the page, health and metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use axum::{
    extract::State,
    http::{StatusCode, Version, header},
    response::{Html, IntoResponse},
};
use fullduplex::serve::{Metrics, Shutdown};

/// The connections that were opened, by the version of HTTP.
#[derive(Debug, Clone, Default)]
pub struct Upgrades(Arc<[AtomicU64; 2]>);

impl Upgrades {
    pub fn count(&self, version: Version) {
        self.0[usize::from(version == Version::HTTP_2)].fetch_add(1, Relaxed);
    }
}

pub async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

/// Answers 503 once the server stops, so that a load balancer sends no more clients.
pub async fn health(State(shutdown): State<Shutdown>) -> (StatusCode, &'static str) {
    if shutdown.has_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

/// Metrics in the text format of Prometheus.
pub async fn metrics(
    State(metrics): State<Metrics>,
    State(Upgrades(upgrades)): State<Upgrades>,
) -> impl IntoResponse {
    let open = metrics.snapshot().open;
    let [http1, http2] = [&upgrades[0], &upgrades[1]].map(|count| count.load(Relaxed));
    let text = format!(
        "# TYPE websocket_connections_open gauge\nwebsocket_connections_open {open}\n\
         # TYPE websocket_requests_total counter\nwebsocket_requests_total{{http=\"1.1\"}} {http1}\n\
         websocket_requests_total{{http=\"2\"}} {http2}\n"
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
