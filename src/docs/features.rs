//! What is implemented and what is not.
//!
//! # Opening a connection
//!
//! | feature | |
//! |---|---|
//! | client and server, over TCP or any `AsyncRead + AsyncWrite` | yes |
//! | subprotocols; additional header fields in request and response | yes |
//! | inspecting the request, then accepting it or rejecting it with any HTTP response | yes: [`IncomingRequest`](crate::IncomingRequest) |
//! | pages, health checks and metrics on the same port | yes: [`AnyRequest`](crate::AnyRequest) |
//! | handing a request on to another HTTP library, with all bytes that were read | yes: [`Replay`](crate::Replay) |
//! | refusing other protocols, or a TLS hello on a plain port, at the first line that shows it | yes |
//! | a bearer token among the subprotocols, for browsers, which cannot set `Authorization` | yes: [`Server::bearer_prefix`](crate::Server::bearer_prefix), [`Client::bearer_token`](crate::Client::bearer_token) |
//! | allowed origins, as a list or a function | yes |
//! | a local address to dial from | yes: [`Client::local_address`](crate::Client::local_address) |
//! | deadlines for reaching the server and for the opening handshake | yes |
//! | routes of axum, services of hyper | yes: features `axum` and `hyper`, over the TCP or TLS stream itself |
//! | behind another HTTP library | by hand: [`handshake::respond`](crate::handshake::respond), then [`WebSocket::from_raw`](crate::WebSocket::from_raw) |
//! | `wss://`, for clients and servers | yes: feature `tls`, `TlsConnector` and `TlsAcceptor`; certificates reloaded without a restart |
//! | Happy Eyeballs (RFC 8305); a resolver or a connector of the program, Unix sockets for example | yes: [`Client::resolver`](crate::Client::resolver), [`Client::connector`](crate::Client::connector) |
//! | HTTP proxies (CONNECT), SOCKS5, SOCKS4a; proxy settings of the environment | yes: feature `proxy`, `Client::proxy` and `Client::proxy_from_environment` |
//! | redirects | yes, disabled by default: [`Client::max_redirects`](crate::Client::max_redirects) |
//! | reconnecting with backoff, a queue and an outcome for each message | yes: feature `reconnect`, `reconnect::Reconnecting` |
//! | an accept loop with limits, TLS and the PROXY protocol | yes: feature `serve`, `serve::Serve` |
//! | HTTP/2 (RFC 8441) | yes: feature `http2`, for servers on axum and hyper, and `Client::http2` |
//! | HTTP/3 (RFC 9220), wasm | no |
//!
//! # Messages
//!
//! | feature | |
//! |---|---|
//! | a burst of messages answered with one write by the plain loop of `recv` and `feed` | yes |
//! | methods that are cancel safe, tested at every await | yes: [guide](super::cancel_safety) |
//! | two halves; any number of senders, served first come, first served | yes: [`WebSocket::split`](crate::WebSocket::split) |
//! | `Stream` and `Sink`, also for the halves | yes |
//! | poll functions, for futures written by hand | yes |
//! | sending borrowed data: `&str`, `&[u8]`, `&Message`, `Cow` and others | yes; without an allocation up to 4 KiB |
//! | large payload data read into the message's own buffer, and written without a copy | yes; a client masks in place what it owns alone, and otherwise a copy |
//! | a message encoded once and sent to many, uncopied | yes: [`PreparedMessage`](crate::PreparedMessage) |
//! | one message read and written as a stream of bytes; sending in fragments | yes: `reader`, `writer`; 10 GiB in constant memory |
//! | a whole connection as `AsyncRead + AsyncWrite`, for tunnels, TLS or HTTP above it | yes: [`ByteStream`](crate::ByteStream) |
//! | messages as JSON | yes: feature `serde`, `send_json`, `Message::parse_json`, `Outgoing::json` |
//! | events, calls with acknowledgements, typed handlers and middleware | yes: feature `calls`, `calls::Router` and `calls::Peer` |
//! | UTF-8 that fails at the first invalid byte | yes; in compressed messages, when that part is inflated |
//! | compression (permessage-deflate, RFC 7692) with all four parameters | yes: feature `deflate`, `Config::deflate` |
//! | rooms, on one machine or several; history, and what a member has missed; presence | yes: feature `hub`, `hub::Hub` |
//!
//! # Connections
//!
//! | feature | |
//! |---|---|
//! | keep-alive pings; pong, idle, message, write and close timeouts | yes |
//! | peers that answer only the newest ping, or send data before their pong | stay connected |
//! | pings answered by the library, from a bounded queue | yes, while the connection is polled |
//! | automatic pongs disabled, for transparent proxies | yes: [`Config::automatic_pongs`](crate::Config::automatic_pongs) |
//! | limits on messages, frames, fragments, write buffer and headers | yes, finite by default |
//! | limits changed on an open connection | yes: [`WebSocket::set_limits`](crate::WebSocket::set_limits) |
//! | bounded memory for compressed messages | yes: at most `max_message_size`, and 16 times what was received of an incomplete one |
//! | memory of an idle connection | at most 192 bytes beside its stream, and one box of at most 240 with keep-alive |
//! | the same over `wss` | as much beside its stream; rustls itself holds about 7.5 KB |
//! | the same with compression | without context takeover no compressor and no window, but about 160 bytes for the parameters |
//! | the same, split | at most 488 bytes of heap, shared by the halves |
//! | counters, and the round trip of pings | yes: [`Config::stats`](crate::Config::stats) |
//! | ending a connection at once | yes: by dropping it, or [`Sender::abort`](crate::Sender::abort) |
//! | connected pairs in memory for tests, with a paused clock | yes: [`testing`](crate::testing) |
//! | protocol core and opening handshake without I/O, public | yes: [`proto`](crate::proto), [`handshake`](crate::handshake) |
//! | spans and events for `tracing`, none of them per message | yes: feature `tracing` |
//! | graceful shutdown, also with axum, hyper or a loop of one's own; 32 bytes per connection | yes: feature `serve`, `serve::Shutdown` |
//! | metrics for any exporter | yes: feature `serve`, `serve::Metrics` |
