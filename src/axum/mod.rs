//! WebSocket connections as routes of axum.
//!
//! [`WebSocketUpgrade`] is an extractor, as the one of axum itself, with the connections of this
//! crate: compression, keep-alive, back-pressure, and every rule of the opening handshake.
//!
//! ```no_run
//! use axum::{Router, response::Response, routing::any};
//! use fullduplex::axum::{WebSocket, WebSocketUpgrade};
//!
//! async fn route(upgrade: WebSocketUpgrade) -> Response {
//!     upgrade.on_upgrade(async |ws| {
//!         if let Err(error) = echo(ws).await {
//!             eprintln!("{error:#}");
//!         }
//!     })
//! }
//!
//! async fn echo(mut ws: WebSocket) -> Result<(), fullduplex::Error> {
//!     while let Some(message) = ws.recv().await? {
//!         ws.feed(message).await?;
//!     }
//!     Ok(())
//! }
//!
//! # async fn serve() -> std::io::Result<()> {
//! let app = Router::new().route("/echo", any(route));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9001").await?;
//! axum::serve(listener, app).await
//! # }
//! ```
//!
//! The route is for [`any`](https://docs.rs/axum/0.8/axum/routing/fn.any.html) method: HTTP/1.1
//! opens connections by GET, and HTTP/2 by CONNECT, which needs the feature `http2` of this crate
//! and of axum.
//!
//! # Origins
//! By default only pages of the same origin may connect, and programs that are no browsers. See
//! [`WebSocketUpgrade::same_origin_or`], [`WebSocketUpgrade::allow_origins`] and [`WebSocketUpgrade::any_origin`].
//!
//! # Shutdown
//! The task of an upgraded connection is not part of the connection that axum serves: a graceful
//! shutdown of axum does not wait for it, and does not close it.
//!
//! # Middleware
//! Layers see the request and the response of the opening handshake as those of any other route. A
//! timeout limits the handshake, not the connection. A layer must leave the extensions of the
//! request in place, which hyper needs to upgrade the connection.

use std::borrow::Borrow;

use ::http::{HeaderMap, Method, Uri, Version, request::Parts};
use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};

#[cfg(feature = "deflate")]
use crate::Deflate;
use crate::{
    Config, Error, Rejection, Server,
    handshake::{BearerToken, take_bearer_token},
    hyper::{self, Head, Upgrade, UpgradeTrace, UpgradedStream},
};

/// A connection that a route of axum has opened.
pub type WebSocket = crate::WebSocket<UpgradedStream>;

/// An extractor that opens a WebSocket connection.
///
/// A request that is not valid is answered before the handler runs, with a status and a text that
/// say what is wrong: see [`Rejection`]. `Option<WebSocketUpgrade>` is `None` for a request that
/// does not ask for a WebSocket connection, so that one route can serve a page as well.
///
/// See the [module](self) for an example.
#[must_use = "without `on_upgrade`, the request gets no WebSocket connection"]
pub struct WebSocketUpgrade<F = IgnoreFailure> {
    server: Server,
    request: Request,
    origin: hyper::Origin,
    trace: UpgradeTrace,
    on_failure: F,
}

/// The head of the request, whose other parts belong to other extractors.
struct Request {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    protocol: Option<Box<[u8]>>,
}

impl Request {
    fn of(parts: &Parts) -> Self {
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            version: parts.version,
            headers: parts.headers.clone(),
            protocol: hyper::protocol(&parts.extensions).map(Into::into),
        }
    }

    fn head(&self) -> Head<'_> {
        let Self { method, uri, version, headers, protocol } = self;
        Head { method, uri, version: *version, headers, protocol: protocol.as_deref() }
    }
}

/// Ignores a connection that could not be opened.
///
/// This is the default of [`WebSocketUpgrade`].
#[derive(Debug, Clone, Copy)]
pub struct IgnoreFailure;

/// What to do if a connection could not be opened after the response was returned.
///
/// Implemented for functions; see [`WebSocketUpgrade::on_failed_upgrade`].
pub trait OnFailedUpgrade: Send + 'static {
    /// Handles the error.
    fn call(self, error: Error);
}

impl OnFailedUpgrade for IgnoreFailure {
    fn call(self, _: Error) {}
}

impl<F: FnOnce(Error) + Send + 'static> OnFailedUpgrade for F {
    fn call(self, error: Error) {
        self(error);
    }
}

impl<F> WebSocketUpgrade<F> {
    /// Takes all settings from a server, also its rule for origins.
    ///
    /// ```
    /// use axum::{extract::State, response::Response};
    /// use fullduplex::{Server, axum::WebSocketUpgrade};
    ///
    /// async fn route(State(server): State<Server>, upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.server(&server).on_upgrade(async |_ws| {})
    /// }
    /// ```
    pub fn server(mut self, server: &Server) -> Self {
        self.server = server.clone();
        self
    }

    /// Sets the limits and deadlines of the connection, and its compression.
    pub fn config(self, config: impl Borrow<Config>) -> Self {
        self.map_server(|server| server.with_config(config.borrow().clone()))
    }

    /// Enables compression (permessage-deflate, RFC 7692), if the client offers it.
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    pub fn deflate(self, deflate: Deflate) -> Self {
        self.map_config(|config| config.deflate(deflate))
    }

    /// Sets the maximum size of a message, in bytes.
    ///
    /// See [`Config::max_message_size`].
    pub fn max_message_size(self, limit: usize) -> Self {
        self.map_config(|config| config.max_message_size(limit))
    }

    /// Sets the maximum payload length of a frame, in bytes.
    ///
    /// See [`Config::max_frame_size`].
    pub fn max_frame_size(self, limit: usize) -> Self {
        self.map_config(|config| config.max_frame_size(limit))
    }

    /// Sets the maximum number of bytes that are queued for sending.
    ///
    /// See [`Config::max_write_buffer_size`].
    pub fn max_write_buffer_size(self, limit: usize) -> Self {
        self.map_config(|config| config.max_write_buffer_size(limit))
    }

    /// Sets the supported subprotocols, in order of preference.
    ///
    /// See [`Server::subprotocols`]. The choice is in [`WebSocket::subprotocol`].
    pub fn subprotocols<I>(self, subprotocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.map_server(|server| server.subprotocols(subprotocols))
    }

    /// Accepts requests from web pages of these origins alone.
    ///
    /// See [`Server::allow_origins`]. Others are answered with status 403.
    pub fn allow_origins<I>(self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.map_server(|server| server.allow_origins(origins))
    }

    /// Accepts requests from web pages of the same origin, and of these.
    ///
    /// See [`Server::same_origin_or`]. Others are answered with status 403.
    pub fn same_origin_or<I>(self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.map_server(|server| server.same_origin_or(origins))
    }

    /// Accepts requests from web pages whose origin a function accepts.
    ///
    /// See [`Server::allow_origins_by`].
    pub fn allow_origins_by(self, is_allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.map_server(|server| server.allow_origins_by(is_allowed))
    }

    /// Accepts requests from web pages of any origin.
    ///
    /// By default only pages of the same origin are accepted, as by [`Server::same_origin`]. **This
    /// is not safe if access depends on something that a browser sends by itself**, such as
    /// cookies: see [`Server::allow_origins`].
    pub fn any_origin(self) -> Self {
        self.map_server(Server::any_origin)
    }

    /// Removes the bearer token from the subprotocols that the client offers, and returns it.
    ///
    /// For browsers, which cannot set `Authorization`: see [`take_bearer_token`]. The token is never
    /// part of the response. Other extractors of the header fields still return it.
    ///
    /// # Errors
    /// Returns the rejection of a request with two tokens, or an empty one, to answer with.
    ///
    /// ```
    /// use axum::response::Response;
    /// use fullduplex::{Rejection, axum::WebSocketUpgrade};
    /// use http::StatusCode;
    /// # fn user_of(token: &str) -> Option<u32> { None }
    ///
    /// async fn route(mut upgrade: WebSocketUpgrade) -> Result<Response, Rejection> {
    ///     let token = upgrade.take_bearer_token("bearer.")?;
    ///     let Some(user) = token.as_ref().and_then(|token| user_of(token.as_str())) else {
    ///         let mut refusal = Response::default();
    ///         *refusal.status_mut() = StatusCode::UNAUTHORIZED;
    ///         return Ok(refusal);
    ///     };
    ///     Ok(upgrade.subprotocols(["chat.v1"]).on_upgrade(async move |_ws| println!("{user}")))
    /// }
    /// ```
    pub fn take_bearer_token(&mut self, prefix: &str) -> Result<Option<BearerToken>, Rejection> {
        take_bearer_token(&mut self.request.headers, prefix)
    }

    /// Returns the header fields of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    /// Sets what to do if the connection could not be opened after the response was returned.
    ///
    /// For example because the client has disconnected. By default nothing is done.
    ///
    /// ```
    /// use axum::response::Response;
    /// use fullduplex::axum::WebSocketUpgrade;
    ///
    /// async fn route(upgrade: WebSocketUpgrade) -> Response {
    ///     upgrade.on_failed_upgrade(|error| eprintln!("{error:#}")).on_upgrade(async |_ws| {})
    /// }
    /// ```
    pub fn on_failed_upgrade<C: OnFailedUpgrade>(self, on_failure: C) -> WebSocketUpgrade<C> {
        let Self { server, request, origin, trace, .. } = self;
        WebSocketUpgrade { server, request, origin, trace, on_failure }
    }

    /// Returns the response that opens the connection, and runs a function with it.
    ///
    /// The function runs in a task of its own, once the response has been sent. If the request is
    /// not acceptable, for example because of its origin, the response says so, and the function is
    /// not called.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn on_upgrade<C, T>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
        F: OnFailedUpgrade,
    {
        let Self { server, request, origin, trace, on_failure } = self;
        match request.head().respond(&server) {
            Ok((response, negotiated)) => {
                let upgrade = Upgrade::new(origin, server.config().clone(), negotiated, trace);
                tokio::spawn(async move {
                    match upgrade.await {
                        Ok(ws) => callback(ws).await,
                        Err(error) => on_failure.call(error),
                    }
                });
                response.map(|()| Body::empty())
            }
            Err(rejection) => {
                trace.rejected(&rejection);
                IntoResponse::into_response(rejection)
            }
        }
    }

    fn map_server(mut self, change: impl FnOnce(Server) -> Server) -> Self {
        self.server = change(std::mem::take(&mut self.server));
        self
    }

    fn map_config(self, change: impl FnOnce(Config) -> Config) -> Self {
        self.map_server(|server| {
            let config = change(server.config().clone());
            server.with_config(config)
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let request = Request::of(parts);
        let trace = UpgradeTrace::new(request.uri.path());
        // What depends on settings of the handler is checked again, with them.
        let valid = request.head().respond(&Server::default());
        valid.inspect_err(|rejection| trace.rejected(rejection))?;
        let origin = hyper::take_origin(&mut parts.extensions, &trace)?;
        let server = Server::default().same_origin();
        Ok(Self { server, request, origin, trace, on_failure: IgnoreFailure })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Rejection> {
        if !hyper::asks(parts.version, &parts.headers, &parts.extensions) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Some)
    }
}

/// The response that says why a request was rejected.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        Rejection::into_response(self).map(Body::from)
    }
}

/// Redacted: prints only the settings.
impl<F> std::fmt::Debug for WebSocketUpgrade<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketUpgrade").field("server", &self.server).finish_non_exhaustive()
    }
}
