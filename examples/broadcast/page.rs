//! The page, on the same port as the WebSocket.

use fullduplex::serve::Incoming;
use http::{HeaderValue, Method, Response, StatusCode, header};

const PAGE: &str = include_str!("page.html");

/// Returns the response to a request that opens no WebSocket connection.
pub(crate) fn answer(request: &Incoming) -> Response<String> {
    match (request.request().method(), request.path()) {
        // The content is not sent for HEAD.
        (&Method::GET | &Method::HEAD, "/") => page(),
        (&Method::GET | &Method::HEAD, _) => error(StatusCode::NOT_FOUND, "no such page\n"),
        _ => {
            let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
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

fn error(status: StatusCode, why: &str) -> Response<String> {
    let mut response = response("text/plain; charset=utf-8", why.to_owned());
    *response.status_mut() = status;
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
