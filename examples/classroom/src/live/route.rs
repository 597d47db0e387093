//! The routes that open connections.

use axum::{
    Router,
    extract::{FromRef, State},
    http::Uri,
    response::{IntoResponse, Response},
    routing::any,
};
use fullduplex::{Error, axum::WebSocketUpgrade, calls};

use super::{Live, admin, chat, join};
use crate::{
    address::{ClientAddress, TrustForwardedFor},
    admission::{Admission, Admitted, Endpoint},
};

/// What the routes share.
#[derive(Debug, Clone)]
pub struct RouteApp {
    /// The rooms.
    pub live: Live,
    /// Which requests may open a connection.
    pub admission: Admission,
    /// Whether `X-Forwarded-For` is believed.
    pub trust_forwarded_for: TrustForwardedFor,
}

#[derive(Debug, Clone)]
struct App {
    shared: RouteApp,
    chat: calls::Router<chat::Chat>,
    admin: calls::Router<admin::Watcher>,
}

impl FromRef<App> for TrustForwardedFor {
    fn from_ref(app: &App) -> Self {
        app.shared.trust_forwarded_for
    }
}

/// Returns the routes `/ws` and `/admin/ws`.
pub fn routes(shared: RouteApp) -> Router {
    let app = App { shared, chat: chat::router(), admin: admin::router() };
    Router::new().route("/ws", any(room)).route("/admin/ws", any(administration)).with_state(app)
}

async fn room(
    State(app): State<App>,
    uri: Uri,
    address: ClientAddress,
    upgrade: WebSocketUpgrade,
) -> Response {
    let (admission, live, router) = (app.shared.admission, app.shared.live, app.chat);
    open(&admission, Endpoint::Room, upgrade, &uri, address, async move |ws, admitted| {
        join::serve(&live, &router, ws, admitted, address.0).await
    })
}

async fn administration(
    State(app): State<App>,
    uri: Uri,
    address: ClientAddress,
    upgrade: WebSocketUpgrade,
) -> Response {
    let (admission, live, router) = (app.shared.admission, app.shared.live, app.admin);
    open(&admission, Endpoint::Admin, upgrade, &uri, address, async move |ws, admitted| {
        admin::serve(&live, &router, ws, admitted).await
    })
}

/// Opens a connection for a person who may enter.
fn open<F, Fut>(
    admission: &Admission,
    endpoint: Endpoint,
    mut upgrade: WebSocketUpgrade,
    uri: &Uri,
    address: ClientAddress,
    serve: F,
) -> Response
where
    F: FnOnce(fullduplex::axum::WebSocket, Admitted) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), Error>> + Send,
{
    let admitted = match admission.admit(endpoint, &mut upgrade, uri, address) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into_response(),
    };
    let server = admission.server(endpoint);
    upgrade.server(&server).on_upgrade(async move |ws| {
        if let Err(error) = serve(ws, admitted).await {
            // What clients do is no fault of the server.
            tracing::debug!(error = format!("{error:#}"), "a connection has ended");
        }
    })
}
