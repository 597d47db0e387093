//! The page, on the same port as the WebSocket.

use fullduplex::{AnyRequest, Error};
use http::{HeaderValue, Method, Response, StatusCode, header};
use tokio::net::TcpStream;

const PAGE: &str = include_str!("page.html");

/// Answers a request that opens no WebSocket connection, and ends the connection.
pub(crate) async fn answer(incoming: AnyRequest<TcpStream>) -> Result<(), Error> {
    match incoming {
        AnyRequest::Http(request) => match (request.request().method(), request.request().uri().path()) {
            // `respond` omits the content for HEAD.
            (&Method::GET | &Method::HEAD, "/") => request.respond(page()).await,
            (&Method::GET | &Method::HEAD, _) => request.respond(not_found()).await,
            _ => request.refuse().await,
        },
        AnyRequest::Rejected(rejected) => rejected.refuse().await,
        _ => Ok(()),
    }
}

fn page() -> Response<String> {
    // Only the script and the styles with this nonce run, so injected ones do nothing.
    let nonce = format!("{:032x}", rand::random::<u128>());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = response("text/html; charset=utf-8", PAGE.replace("{nonce}", &nonce));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn not_found() -> Response<String> {
    let mut response = response("text/plain; charset=utf-8", "no such page\n".to_owned());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn response(kind: &'static str, content: String) -> Response<String> {
    let mut response = Response::new(content);
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
