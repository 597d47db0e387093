//! The page, on the same port as the WebSocket.
//!
//! [`Server::receive`](fullduplex::Server::receive) answers whatever does not open a WebSocket connection by itself. So
//! the head of the request is looked at before: what is peeked stays to be read.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// The largest head that is looked at. Whoever sends a larger one gets no page.
const MAX_HEAD: usize = 8 << 10;

/// The most header fields.
const MAX_FIELDS: usize = 64;

/// How long a request may take to arrive, and the response to leave.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait where nothing new has come: a peek does not wait while there is anything to be read.
const PAUSE: Duration = Duration::from_millis(20);

/// How much is read, and for how long, once the response is out.
const DRAIN_BYTES: u64 = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_secs(1);

const PAGE: &str = include_str!("page.html");

/// A request for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageRequest {
    /// Whether it is there.
    found: bool,
    /// Whether its content is wanted, and not only its head.
    content: bool,
}

/// Looks at what a client asks for; `None`: for something that is not for the page to answer.
pub(crate) async fn peek(tcp: &TcpStream) -> io::Result<Option<PageRequest>> {
    timeout(DEADLINE, peek_head(tcp)).await?
}

/// Answers, and ends the connection.
pub(crate) async fn answer(tcp: &mut TcpStream, request: PageRequest) -> io::Result<()> {
    let respond = async {
        tcp.write_all(response(request).as_bytes()).await?;
        tcp.shutdown().await
    };
    timeout(DEADLINE, respond).await??;
    // Dropping a socket that has unread bytes resets the connection, which can destroy the response on its way.
    let mut rest = tcp.take(DRAIN_BYTES);
    let _ = timeout(DRAIN_TIME, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(())
}

async fn peek_head(tcp: &TcpStream) -> io::Result<Option<PageRequest>> {
    let mut buffer = vec![0; MAX_HEAD];
    let mut seen = 0;
    loop {
        let len = tcp.peek(&mut buffer).await?;
        match parse(&buffer[..len]) {
            Head::Page(request) => return Ok(Some(request)),
            Head::Other => return Ok(None),
            // The end, or more than is looked at.
            Head::Partial if len == 0 || len == buffer.len() => return Ok(None),
            Head::Partial if len == seen => sleep(PAUSE).await,
            Head::Partial => seen = len,
        }
    }
}

/// What the bytes at the front of a connection are.
enum Head {
    Page(PageRequest),
    Other,
    Partial,
}

fn parse(bytes: &[u8]) -> Head {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Other,
    }
    let content = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Head::Other,
    };
    if request.headers.iter().any(|field| field.name.eq_ignore_ascii_case("upgrade")) {
        return Head::Other;
    }
    let path = request.path.and_then(|target| target.split('?').next());
    Head::Page(PageRequest { found: path == Some("/"), content })
}

fn response(request: PageRequest) -> String {
    // Only the script and the styles that carry this number may run: whatever else gets into the page does nothing.
    let nonce = format!("{:032x}", rand::random::<u128>());
    let (status, kind, content) = if request.found {
        ("200 OK", "text/html", PAGE.replace("{nonce}", &nonce))
    } else {
        ("404 Not Found", "text/plain", "no such page\n".to_owned())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: {kind}; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Content-Security-Policy: default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\n\
         Cache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        content.len()
    );
    if request.content { head + &content } else { head }
}
