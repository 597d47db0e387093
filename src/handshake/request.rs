//! Parses the head of a request.

use http::{Method, Request, Uri, Version};

use super::{
    head::{HeadEnd, HeadError, HeadKind, header_map, malformed, scan_whole},
    rejection::Rejection,
};
use crate::proto::Config;

/// Parses the head of a request.
///
/// The input ends with the empty line; bytes after it are an error.
///
/// Only the grammar of HTTP/1.1 is checked; [`respond`](super::respond) checks whether the request
/// opens a WebSocket connection.
///
/// # Errors
/// Fails if the input is not the head of a request, or exceeds a limit of `config`. The rejection
/// has the status to answer with.
///
/// ```
/// use fullduplex::{Config, handshake::parse_request};
///
/// let request = parse_request(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n\r\n", &Config::default())?;
/// assert_eq!(request.uri().path(), "/chat");
/// assert_eq!(request.headers()["host"], "example.com");
/// # Ok::<(), fullduplex::handshake::Rejection>(())
/// ```
pub fn parse_request(head: &[u8], config: &Config) -> Result<Request<()>, Rejection> {
    let end = scan_whole(head, config, HeadKind::Request)?;
    parse_scanned(head, end)
}

/// Parses a head that a [`HeadScanner`](super::HeadScanner) has accepted.
pub(crate) fn parse_scanned(head: &[u8], end: HeadEnd) -> Result<Request<()>, Rejection> {
    // One per line received. The limit on fields can be any number, and must not be allocated.
    let mut fields = vec![httparse::EMPTY_HEADER; end.fields];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(HeadError::Incomplete.into()),
        Err(error) => return Err(malformed(error).into()),
    }
    let target = parsed.path.unwrap_or_default();
    // RFC 9112 section 3.2: a request target has no fragment. `Uri` would silently drop it.
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| Rejection::bad_request("malformed method"))?;
    if target.contains('#') {
        return Err(Rejection::bad_request("fragment in the request target").answering(&method));
    }
    let mut request = Request::new(());
    *request.uri_mut() = Uri::try_from(target)
        .map_err(|_| Rejection::bad_request("malformed request target").answering(&method))?;
    *request.method_mut() = method;
    *request.version_mut() = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    *request.headers_mut() = header_map(parsed.headers)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn status(head: &str) -> Result<(), StatusCode> {
        parse_request(head.as_bytes(), &Config::default()).map(drop).map_err(|rejection| rejection.status())
    }

    #[test]
    fn header_fields_keep_their_order() {
        let head = b"GET / HTTP/1.1\r\nB: 1\r\nA: 2\r\nB:  3 \r\nC:\r\n\r\n";
        let request = parse_request(head, &Config::default()).expect("well-formed");
        let values: Vec<_> = request.headers().get_all("b").iter().map(|value| value.as_bytes()).collect();
        assert_eq!(values, [b"1", b"3"]);
        assert_eq!(request.headers()["c"], "");
    }

    #[test]
    fn credentials_are_hidden_in_debug_output() {
        let head = b"GET / HTTP/1.1\r\nCookie: secret\r\nAuthorization: secret\r\n\
            Proxy-Authorization: secret\r\nX: shown\r\n\r\n";
        let request = parse_request(head, &Config::default()).expect("well-formed");
        assert_eq!(request.headers()["cookie"], "secret");
        let shown = format!("{request:?}");
        assert!(!shown.contains("secret") && shown.contains("shown"), "{shown}");
    }

    #[test]
    fn unsupported_versions_are_distinguished_from_invalid_input() {
        assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), Ok(()));
        assert_eq!(status("GET / HTTP/2.0\r\n\r\n"), Err(StatusCode::HTTP_VERSION_NOT_SUPPORTED));
        assert_eq!(status("PRI * HTTP/2.0\r\n\r\n"), Err(StatusCode::HTTP_VERSION_NOT_SUPPORTED));
        assert_eq!(status("GET / HTTPS\r\n\r\n"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status("GET / a HTTP/1.1\r\n\r\n"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status("GET /\r\n\r\n"), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in ["A : b", ": b", "A", "A b: c", "A\t: b", "Ä: b"] {
            assert_eq!(
                status(&format!("GET / HTTP/1.1\r\n{line}\r\n\r\n")),
                Err(StatusCode::BAD_REQUEST),
                "{line}"
            );
        }
        for target in ["/a#b", "", "a b", "http://[::1/"] {
            let head = format!("GET {target} HTTP/1.1\r\n\r\n");
            assert_eq!(status(&head), Err(StatusCode::BAD_REQUEST), "{target}");
        }
    }

    #[test]
    fn exactly_one_head_is_parsed() {
        assert_eq!(status("GET / HTTP/1.1\r\n"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n\r\n"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(""), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_huge_limit_allocates_nothing() {
        let config = Config::new().max_headers(usize::MAX).max_header_size(usize::MAX);
        assert!(parse_request(b"GET / HTTP/1.1\r\nA: b\r\n\r\n", &config).is_ok());
    }

    #[test]
    fn more_fields_than_fit_in_a_header_map_are_refused() {
        let config = Config::new().max_headers(usize::MAX).max_header_size(usize::MAX);
        let head = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100_000));
        let rejection = parse_request(head.as_bytes(), &config).map(|request| request.headers().len());
        assert_eq!(
            rejection.map_err(|rejection| rejection.status()),
            Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
    }
}
