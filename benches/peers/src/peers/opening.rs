//! The opening handshake for libraries without one for a plain TCP stream, and for the baseline.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Io;

/// The example key of RFC 6455 section 1.3, and the value of `Sec-WebSocket-Accept` for it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Answers the load generator's request, which is followed by no other bytes.
pub async fn answered<S: Io>(io: S) -> Result<S> {
    answered_with(io, None).await
}

/// Does the same, and agrees to an extension, which the request must offer literally.
pub async fn answered_with<S: Io>(mut io: S, extension: Option<&str>) -> Result<S> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 4096 && io.read_buf(&mut head).await? > 0, "no request");
    }
    let has = |text: &str| head.windows(text.len()).any(|part| part == text.as_bytes());
    ensure!(has(KEY), "another key");
    ensure!(extension.is_none_or(has), "another extension");
    let extensions =
        extension.map(|extension| format!("Sec-WebSocket-Extensions: {extension}\r\n")).unwrap_or_default();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{extensions}\r\n"
    );
    io.write_all(response.as_bytes()).await?;
    io.flush().await?;
    Ok(io)
}

/// Serves one connection with hyper, for the libraries whose opening handshake requires it.
pub async fn by_hyper<S: Io>(
    io: S,
    upgrade: impl Fn(Request<Incoming>) -> Result<Response<Empty<Bytes>>>,
) -> Result<()> {
    let service = service_fn(|request| std::future::ready(upgrade(request)));
    http1::Builder::new().serve_connection(TokioIo::new(io), service).with_upgrades().await?;
    Ok(())
}

/// Serves a transport of HTTP/2 with hyper, in the same way.
pub async fn by_http2<S: Io>(
    io: S,
    upgrade: impl Fn(Request<Incoming>) -> Result<Response<Empty<Bytes>>>,
) -> Result<()> {
    let service = service_fn(|request| std::future::ready(upgrade(request)));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    Ok(builder.enable_connect_protocol().serve_connection(TokioIo::new(io), service).await?)
}
