//! Spans and events of the crate `tracing`, with the feature `tracing`.
//!
//! # Spans
//! Both have the target `fullduplex` and the level INFO. They are children of the span that is
//! current when the opening handshake begins, or ends. They are not entered: events refer to them.
//!
//! | span | from, to | fields |
//! |---|---|---|
//! | `handshake` | reading the request, or dialing; until it is accepted or fails | `role`, `path`; of a client `host`, `port` |
//! | `connection` | open; dropped | `role`, `path`, `subprotocol`, `extensions`; `peer`, where the address is known |
//!
//! The address is known to [`connect`](crate::connect), to `serve::Serve`, which records the one of
//! the PROXY protocol, and to routes of axum and hyper over TCP and TLS. [`accept`](crate::accept)
//! does not know it, because its transport is any stream: a program with an accept loop of its own
//! creates a span with the address, in which it calls `accept`.
//!
//! # Events
//!
//! | event | level | fields |
//! |---|---|---|
//! | `connection opened` | DEBUG | |
//! | `request rejected`, by this crate | WARN | `status`, `reason` |
//! | `request refused by the program` | DEBUG | `status` |
//! | `opening handshake failed` | WARN | `error` |
//! | `closing`: a Close was received | DEBUG | `code`; `close`, with the escaped reason; `by`: `peer` or `this end`, which closed first |
//! | `connection failed`: a violation of the protocol, an exceeded limit, a timeout | WARN | `error`; `code`, if one is sent |
//! | the same, because the peer vanished | DEBUG | `error` |
//! | `connection ended` | DEBUG | `clean`: whether the peer's Close was received |
//!
//! Nothing is emitted for a message, a frame, a ping or a write: code that is not cold does not
//! know of `tracing`. If INFO is enabled, each connection keeps its span, in about 110 bytes.
//!
//! A request that does not ask for a WebSocket connection is an event if
//! [`Server::read_request`](crate::Server::read_request) rejects it, and not if
//! [`read_any_request`](crate::Server::read_any_request) returns it. An error of the transport that
//! a [`Sender`](crate::Sender) encounters is returned to it, and is no event; a timeout of one is
//! an event in the current span of its task.
//!
//! # Secrets
//! No event or span contains payload data, header fields, a query, a bearer token or a subprotocol
//! that was not selected. The reason of a Close is text of the peer: it is recorded, escaped.
