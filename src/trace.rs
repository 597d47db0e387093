//! Spans and events for `tracing`. Without the feature, all of this is empty.
//!
//! Spans are never entered: they are the explicit parents of events, and none is created or emitted
//! for a message. Nothing that a client may keep secret is recorded: no payload data, no header
//! field, no query, no subprotocol that was not selected.

#[cfg(not(feature = "tracing"))]
pub(crate) use disabled::*;
#[cfg(feature = "tracing")]
pub(crate) use enabled::*;

#[cfg(feature = "tracing")]
mod enabled {
    use std::{fmt, net::SocketAddr};

    use http::StatusCode;
    use tracing::{Level, Span, field::Empty, field::display, span};

    use crate::{
        Role,
        error::Error,
        handshake::{Negotiated, Rejection, Target},
        proto::CloseFrame,
    };

    const TARGET: &str = "fullduplex";

    /// Emits an event inside a span; in the current span of the task, if that is disabled.
    macro_rules! emit {
        ($span:expr, $level:ident, $($fields:tt)+) => {
            match $span {
                Some(span) => tracing::event!(target: TARGET, parent: span, Level::$level, $($fields)+),
                None => tracing::event!(target: TARGET, Level::$level, $($fields)+),
            }
        };
    }

    /// Emits the event of an error: a peer that vanished is no fault.
    fn failed(span: Option<&Span>, error: &Error, message: &'static str) {
        let code = error.close_code().map(u16::from);
        if error.is_disconnect() && !matches!(error, Error::Timeout(_)) {
            emit!(span, DEBUG, error = format_args!("{error:#}"), code, "{message}");
        } else {
            emit!(span, WARN, error = format_args!("{error:#}"), code, "{message}");
        }
    }

    /// The span of an opening handshake.
    pub(crate) struct HandshakeTrace(Span);

    impl HandshakeTrace {
        /// Creates the span of a server. The path is recorded once it is known.
        pub(crate) fn server() -> Self {
            Self(span!(target: TARGET, Level::INFO, "handshake", role = "server", path = Empty))
        }

        /// Creates the span of a client.
        pub(crate) fn client(target: &Target) -> Self {
            let (host, port, path) = (target.host(), target.port(), path_of(target));
            Self(span!(target: TARGET, Level::INFO, "handshake", role = "client", host, port, path))
        }

        fn span(&self) -> Option<&Span> {
            enabled(&self.0)
        }

        /// Records the path of the request.
        pub(crate) fn path(&self, path: &str) {
            self.0.record("path", path);
        }

        pub(crate) fn opened(&self) {
            emit!(self.span(), DEBUG, "connection opened");
        }

        /// The request does not open a connection, and is answered by this crate.
        pub(crate) fn rejected(&self, rejection: &Rejection) {
            let status = rejection.status().as_u16();
            emit!(self.span(), WARN, status, reason = rejection.reason(), "request rejected");
        }

        /// The program answers the request with a status.
        pub(crate) fn refused(&self, status: StatusCode) {
            emit!(self.span(), DEBUG, status = status.as_u16(), "request refused by the program");
        }

        pub(crate) fn failed(&self, error: &Error) {
            failed(self.span(), error, "opening handshake failed");
        }
    }

    /// The span of a connection; disabled by default.
    pub(crate) struct ConnectionTrace(Span);

    impl Default for ConnectionTrace {
        fn default() -> Self {
            Self(Span::none())
        }
    }

    /// Prints nothing of the span: it would repeat its metadata for each connection.
    impl fmt::Debug for ConnectionTrace {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("ConnectionTrace").field("enabled", &self.is_enabled()).finish()
        }
    }

    impl ConnectionTrace {
        /// Creates the span of an open connection.
        pub(crate) fn new(role: Role, negotiated: &Negotiated) -> Self {
            let role = match role {
                Role::Client => "client",
                Role::Server => "server",
            };
            let (subprotocol, extensions) = (negotiated.subprotocol(), negotiated.extensions());
            let extensions = (!extensions.is_empty()).then_some(extensions);
            Self(span!(
                target: TARGET,
                Level::INFO,
                "connection",
                role,
                peer = Empty,
                path = Empty,
                subprotocol,
                extensions,
            ))
        }

        /// Returns whether a subscriber records the span, so that it has to be kept.
        pub(crate) fn is_enabled(&self) -> bool {
            !self.0.is_disabled()
        }

        pub(crate) fn events(&self) -> ConnectionEvents<'_> {
            ConnectionEvents(enabled(&self.0))
        }
    }

    /// The events of a connection.
    #[derive(Clone, Copy, Default)]
    pub(crate) struct ConnectionEvents<'a>(Option<&'a Span>);

    impl ConnectionEvents<'_> {
        /// Records the path of the request.
        pub(crate) fn path(self, path: &str) {
            if let Some(span) = self.0 {
                span.record("path", path);
            }
        }

        /// Records the path and the address of a server.
        pub(crate) fn server(self, target: &Target, peer: impl FnOnce() -> Option<SocketAddr>) {
            self.path(path_of(target));
            self.peer(peer);
        }

        /// Records the address of the peer.
        pub(crate) fn peer(self, peer: impl FnOnce() -> Option<SocketAddr>) {
            if let Some((span, peer)) = self.0.and_then(|span| Some((span, peer()?))) {
                span.record("peer", display(peer));
            }
        }

        /// The peer's Close was received; `answers` returns whether ours was sent before.
        pub(crate) fn close_received(self, frame: Option<&CloseFrame>, answers: impl FnOnce() -> bool) {
            let code = frame.map(|frame| u16::from(frame.code()));
            // Display escapes the reason.
            let close = frame.map(display);
            let by = if answers() { "this end" } else { "peer" };
            emit!(self.0, DEBUG, code, close, by, "closing");
        }

        /// The connection fails, if `counts` returns `true`: not because of an earlier error.
        pub(crate) fn failed(self, error: &Error, counts: impl FnOnce() -> bool) {
            if counts() {
                failed(self.0, error, "connection failed");
            }
        }

        /// The connection has ended; `clean` returns whether the peer's Close was received.
        pub(crate) fn ended(self, clean: impl FnOnce() -> bool) {
            emit!(self.0, DEBUG, clean = clean(), "connection ended");
        }
    }

    fn enabled(span: &Span) -> Option<&Span> {
        Some(span).filter(|span| !span.is_disabled())
    }

    /// Returns the path without the query.
    fn path_of(target: &Target) -> &str {
        let path = target.path_and_query();
        path.split_once('?').map_or(path, |(path, _query)| path)
    }
}

#[cfg(not(feature = "tracing"))]
mod disabled {
    use std::{marker::PhantomData, net::SocketAddr};

    use http::StatusCode;

    use crate::{
        Role,
        error::Error,
        handshake::{Negotiated, Rejection, Target},
        proto::CloseFrame,
    };

    pub(crate) struct HandshakeTrace;

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl HandshakeTrace {
        pub(crate) fn server() -> Self {
            Self
        }

        pub(crate) fn client(_: &Target) -> Self {
            Self
        }

        pub(crate) fn path(&self, _: &str) {}

        pub(crate) fn opened(&self) {}

        pub(crate) fn rejected(&self, _: &Rejection) {}

        pub(crate) fn refused(&self, _: StatusCode) {}

        pub(crate) fn failed(&self, _: &Error) {}
    }

    #[derive(Debug, Default)]
    pub(crate) struct ConnectionTrace;

    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl ConnectionTrace {
        #[inline(always)]
        pub(crate) fn new(_: Role, _: &Negotiated) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn is_enabled(&self) -> bool {
            false
        }

        #[inline(always)]
        pub(crate) fn events(&self) -> ConnectionEvents<'_> {
            ConnectionEvents(PhantomData)
        }
    }

    #[derive(Clone, Copy, Default)]
    pub(crate) struct ConnectionEvents<'a>(PhantomData<&'a ()>);

    // Nothing is called that would compute a field.
    #[allow(clippy::unused_self, reason = "as with the feature")]
    impl ConnectionEvents<'_> {
        #[inline(always)]
        pub(crate) fn path(self, _: &str) {}

        #[inline(always)]
        pub(crate) fn peer(self, _: impl FnOnce() -> Option<SocketAddr>) {}

        #[inline(always)]
        pub(crate) fn server(self, _: &Target, peer: impl FnOnce() -> Option<SocketAddr>) {
            self.peer(peer);
        }

        #[inline(always)]
        pub(crate) fn close_received(self, _: Option<&CloseFrame>, _: impl FnOnce() -> bool) {}

        #[inline(always)]
        pub(crate) fn failed(self, _: &Error, _: impl FnOnce() -> bool) {}

        #[inline(always)]
        pub(crate) fn ended(self, _: impl FnOnce() -> bool) {}
    }
}
