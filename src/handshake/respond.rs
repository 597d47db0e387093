//! Validates a request and creates the response of a server.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};

use super::{
    accept_key, bearer, deflate,
    headers::{Single, extensions, has_token, single},
    negotiate::{Negotiated, choose_subprotocol},
    rejection::Rejection,
    server::Server,
};

/// Validates a request and returns the response.
///
/// Checks every rule of RFC 6455 section 4.2.1.
///
/// Writing the response, a 101, opens the connection;
/// [`WebSocket::from_raw`](crate::WebSocket::from_raw) then takes the `Negotiated`. This function
/// does no I/O, and works with any HTTP/1.1 library.
///
/// # Errors
/// Returns the rejection of a request that does not open a WebSocket connection. Its status is 500
/// if [`Server::check`] fails.
///
/// ```
/// use fullduplex::{Server, handshake::respond};
/// use http::Request;
///
/// let (request, ()) = Request::get("/chat")
///     .header("Host", "example.com")
///     .header("Upgrade", "websocket")
///     .header("Connection", "keep-alive, Upgrade")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("Sec-WebSocket-Version", "13")
///     .header("Sec-WebSocket-Protocol", "chat.v1, chat.v2")
///     .body(())?
///     .into_parts();
/// let (response, negotiated) = respond(&request, &Server::default().subprotocols(["chat.v2"]))?;
/// assert_eq!(response.status(), 101);
/// assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// assert_eq!(negotiated.subprotocol(), Some("chat.v2"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn respond(request: &Parts, server: &Server) -> Result<(Response<()>, Negotiated), Rejection> {
    validate(&request.method, &request.uri, request.version, &request.headers, server)
}

/// Returns whether a request asks for a WebSocket connection.
///
/// That is HTTP/1.1 with `Upgrade: websocket`; the request can be invalid otherwise.
///
/// Use it in a server that also answers other requests: [`respond`] rejects every request that does
/// not open a connection.
///
/// ```
/// use fullduplex::handshake::asks_for_websocket;
/// use http::Request;
///
/// let page = Request::get("/").header("Host", "example.com").body(())?;
/// assert!(!asks_for_websocket(page.version(), page.headers()));
/// let websocket = Request::get("/").header("Upgrade", "WebSocket").body(())?;
/// assert!(asks_for_websocket(websocket.version(), websocket.headers()));
/// # Ok::<(), http::Error>(())
/// ```
pub fn asks_for_websocket(version: Version, headers: &HeaderMap) -> bool {
    // RFC 9110 section 7.8: a server ignores Upgrade in a request of HTTP/1.0.
    version == Version::HTTP_11 && has_token(headers, &header::UPGRADE, "websocket")
}

/// Like [`respond`], for a request that is not in parts.
pub(crate) fn validate(
    method: &Method,
    uri: &http::Uri,
    version: Version,
    headers: &HeaderMap,
    server: &Server,
) -> Result<(Response<()>, Negotiated), Rejection> {
    check_all(method, uri, version, headers, server).map_err(|rejection| rejection.answering(method))
}

fn check_all(
    method: &Method,
    uri: &http::Uri,
    version: Version,
    headers: &HeaderMap,
    server: &Server,
) -> Result<(Response<()>, Negotiated), Rejection> {
    server.check().map_err(|_| Rejection::server_error())?;
    // RFC 6455 section 4.2.1, 1: HTTP/1.1 or higher, and GET. HTTP/2 and later open connections
    // differently (RFC 8441).
    if version != Version::HTTP_11 {
        return Err(Rejection::http_version());
    }
    if method != Method::GET {
        return Err(Rejection::method());
    }
    check_target(uri)?;
    let host = check_host(headers)?;
    check_authority(uri, host)?;
    check_body(headers)?;
    check_upgrade(headers)?;
    let key = check_key(headers)?;
    check_origin(headers, host, server)?;
    let negotiated = negotiate(headers, server)?;
    let response = switching_protocols(key, &negotiated)?;
    Ok((response, negotiated))
}

/// Chooses a subprotocol and extensions of those that the client offers.
pub(super) fn negotiate(headers: &HeaderMap, server: &Server) -> Result<Negotiated, Rejection> {
    let mut offered = bearer::offered(headers)?;
    if let Some(prefix) = server.known_bearer_prefix() {
        // A token is not a subprotocol, and never part of the response.
        (_, offered) = bearer::split(offered, prefix)?;
    }
    // RFC 6455 section 9.1: a malformed list fails the connection; valid offers may be declined.
    let offers =
        extensions(headers).map_err(|_| Rejection::bad_request("malformed Sec-WebSocket-Extensions"))?;
    let negotiated = choose_subprotocol(server.known_subprotocols(), &offered);
    Ok(deflate::accept(negotiated, &offers, server.config()))
}

pub(super) fn check_target(uri: &http::Uri) -> Result<(), Rejection> {
    // RFC 6455 section 4.2.1, 1: a path or an absolute URI, not the `*` or `host:port` of other
    // methods.
    let known = uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https" | "ws" | "wss"));
    if known && uri.path().starts_with('/') {
        Ok(())
    } else {
        Err(Rejection::bad_request("request target is not a path"))
    }
}

/// A host, and the port if there is one.
pub(super) type HostPort<'a> = (&'a str, Option<u16>);

fn check_host(headers: &HeaderMap) -> Result<HostPort<'_>, Rejection> {
    // RFC 6455 section 4.2.1, 2; RFC 9112 section 3.2: exactly one valid Host.
    optional_host(headers)?.ok_or(Rejection::bad_request("missing Host"))
}

/// Returns the value of Host; `None` if it is missing.
pub(super) fn optional_host(headers: &HeaderMap) -> Result<Option<HostPort<'_>>, Rejection> {
    match single(headers, &header::HOST) {
        Single::Once(host) => match str::from_utf8(host).ok().and_then(host_and_port) {
            Some(host) => Ok(Some(host)),
            None => Err(Rejection::bad_request("malformed Host")),
        },
        Single::Missing => Ok(None),
        Single::Duplicate => Err(Rejection::bad_request("duplicate Host")),
    }
}

/// Parses a host with an optional port, without userinfo (RFC 9110 section 7.2).
pub(super) fn host_and_port(text: &str) -> Option<HostPort<'_>> {
    if text.contains('@') {
        return None;
    }
    let host = text.parse::<http::uri::Authority>().ok()?.host().len();
    let (host, port) = text.split_at_checked(host).filter(|(host, _)| !host.is_empty())?;
    match port.strip_prefix(':').unwrap_or(port) {
        "" => Some((host, None)),
        // Parsing as `u16` alone would accept a sign.
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        _ => None,
    }
}

pub(super) fn check_authority(uri: &http::Uri, (host, port): HostPort<'_>) -> Result<(), Rejection> {
    // RFC 9112 section 3.2.2: Host repeats the authority of an absolute URI. If the two differ, a
    // proxy in front may have checked the request by the other one.
    let Some(authority) = uri.authority() else { return Ok(()) };
    let default = if matches!(uri.scheme_str(), Some("https" | "wss")) { 443 } else { 80 };
    match host_and_port(authority.as_str()) {
        None => Err(Rejection::bad_request("malformed authority in the request target")),
        Some((own_host, own_port))
            if own_host.eq_ignore_ascii_case(host)
                && own_port.unwrap_or(default) == port.unwrap_or(default) =>
        {
            Ok(())
        }
        Some(_) => Err(Rejection::bad_request("request target and Host differ")),
    }
}

pub(super) fn check_body(headers: &HeaderMap) -> Result<(), Rejection> {
    // Frames follow the request. With a body, this server and a proxy in front could disagree about
    // where frames begin (request smuggling).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Rejection::bad_request("a WebSocket request must not have Transfer-Encoding"));
    }
    match single(headers, &header::CONTENT_LENGTH) {
        Single::Missing | Single::Once(b"0") => Ok(()),
        Single::Once(_) => Err(Rejection::bad_request("a WebSocket request must not have a body")),
        Single::Duplicate => Err(Rejection::bad_request("duplicate Content-Length")),
    }
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), Rejection> {
    // RFC 6455 section 4.2.1, 3 and 4.
    if !has_token(headers, &header::UPGRADE, "websocket") {
        return Err(Rejection::upgrade_required());
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(Rejection::bad_request("missing Connection: Upgrade"));
    }
    check_version(headers)
}

pub(super) fn check_version(headers: &HeaderMap) -> Result<(), Rejection> {
    // RFC 6455 section 4.2.1, 6 and section 4.2.2, 4: another version is answered with the
    // supported one.
    match single(headers, &header::SEC_WEBSOCKET_VERSION) {
        Single::Once(b"13") => Ok(()),
        _ => Err(Rejection::websocket_version()),
    }
}

/// Returns the key, which is base64 of 16 bytes (RFC 6455 section 4.2.1, 5).
fn check_key(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    // The last digit of 16 bytes has four unused bits. The example in RFC 6455 section 4.1 sets
    // some of them, and so they are accepted.
    const STRICT_PADDING: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
            .with_decode_allow_trailing_bits(true),
    );
    match single(headers, &header::SEC_WEBSOCKET_KEY) {
        // 24 characters are at most 18 bytes; the decoder requires an output of whole groups of
        // three.
        Single::Once(key) if key.len() == 24 && STRICT_PADDING.decode_slice(key, &mut [0; 18]) == Ok(16) => {
            Ok(key)
        }
        Single::Once(_) => Err(Rejection::bad_request("Sec-WebSocket-Key is not base64 of 16 bytes")),
        Single::Missing => Err(Rejection::bad_request("missing Sec-WebSocket-Key")),
        Single::Duplicate => Err(Rejection::bad_request("duplicate Sec-WebSocket-Key")),
    }
}

pub(super) fn check_origin(
    headers: &HeaderMap,
    host: HostPort<'_>,
    server: &Server,
) -> Result<(), Rejection> {
    // RFC 6455 section 4.2.2, 4: an unacceptable origin is answered with status 403.
    match single(headers, &header::ORIGIN) {
        Single::Missing => Ok(()),
        Single::Once(origin) if server.allows_origin(origin, host) => Ok(()),
        Single::Once(_) => Err(Rejection::forbidden("origin not allowed")),
        Single::Duplicate => Err(Rejection::bad_request("duplicate Origin")),
    }
}

/// Creates the response that opens the connection (RFC 6455 section 4.2.2, 5).
fn switching_protocols(key: &[u8], negotiated: &Negotiated) -> Result<Response<()>, Rejection> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, value(&accept_key(key))?);
    insert_negotiated(headers, negotiated)?;
    Ok(response)
}

/// Adds the fields for what was negotiated.
pub(super) fn insert_negotiated(headers: &mut HeaderMap, negotiated: &Negotiated) -> Result<(), Rejection> {
    if let Some(subprotocol) = negotiated.subprotocol() {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value(subprotocol)?);
    }
    if !negotiated.extensions().is_empty() {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, value(negotiated.extensions())?);
    }
    Ok(())
}

/// Returns the value of a field of the response.
fn value(text: &str) -> Result<HeaderValue, Rejection> {
    // No value can fail: they are base64, a token, and a list of tokens. If that ever changes, the
    // request is rejected and nothing panics.
    HeaderValue::from_str(text).map_err(|_| Rejection::bad_request("malformed handshake"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;

    fn request() -> Parts {
        Request::get("/chat")
            .header("Host", "server.example.com")
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13")
            .body(())
            .expect("valid")
            .into_parts()
            .0
    }

    fn status_with(name: HeaderName, values: &[&str]) -> StatusCode {
        let mut request = request();
        request.headers.remove(&name);
        for value in values {
            request.headers.append(&name, value.parse().expect("valid"));
        }
        status(&request, &Server::default())
    }

    fn status(request: &Parts, server: &Server) -> StatusCode {
        match respond(request, server) {
            Ok((response, _)) => response.status(),
            Err(rejection) => rejection.status(),
        }
    }

    /// RFC 6455 section 1.3.
    #[test]
    fn the_example_is_answered_as_in_the_rfc() {
        let (response, negotiated) = respond(&request(), &Server::default()).expect("accepted");
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(negotiated.is_empty());
    }

    /// RFC 6455 section 4.2.1.
    #[test]
    fn host_occurs_once_and_is_valid() {
        for (values, expected) in [
            (&["a"][..], 101),
            (&["[::1]:80"], 101),
            (&[], 400),
            (&[""], 400),
            (&["a", "a"], 400),
            (&["a, b"], 400),
            (&["a/b"], 400),
            (&["a@b"], 400),
            (&["a:"], 101),
            (&["a:b"], 400),
            (&["a:99999"], 400),
            (&[":80"], 400),
        ] {
            assert_eq!(status_with(header::HOST, values), expected, "{values:?}");
        }
    }

    /// RFC 6455 section 4.2.1.
    #[test]
    fn the_key_is_base64_of_sixteen_bytes() {
        for (key, expected) in [
            ("AAAAAAAAAAAAAAAAAAAAAA==", 101),
            ("AQIDBAUGBwgJCgsMDQ4PEC==", 101), // the example of section 4.1
            ("+/+/+/+/+/+/+/+/+/+/+w==", 101),
            ("AAAAAAAAAAAAAAAAAAAAAA=", 400),
            ("AAAAAAAAAAAAAAAAAAAAAA", 400),
            ("AAAAAAAAAAAAAAAAAAAAAAA=", 400), // 17 bytes
            ("AAAAAAAAAAAAAAAAAAAAAAAA", 400), // 18 bytes
            ("AAAAAAAAAAAAAAAAAAAA", 400),     // 15 bytes
            ("-_-_-_-_-_-_-_-_-_-_-w==", 400), // the alphabet for URLs
            ("AAAAAAAAAAA AAAAAAAAAA==", 400),
            ("AAAAAAAAAAAAAAAAAAAAA===", 400),
            ("", 400),
        ] {
            assert_eq!(status_with(header::SEC_WEBSOCKET_KEY, &[key]), expected, "{key:?}");
        }
    }

    /// RFC 6455 section 4.2.1.
    #[test]
    fn the_target_is_a_path_or_an_absolute_uri() {
        for (uri, expected) in [
            ("/", 101),
            ("/?a", 101),
            ("ws://server.example.com/b", 101),
            ("http://server.example.com", 101),
            ("ftp://server.example.com/", 400),
            ("*", 400),
            ("a:80", 400),
        ] {
            let mut request = request();
            request.uri = uri.parse().expect("valid");
            assert_eq!(status(&request, &Server::default()), expected, "{uri}");
        }
    }

    /// RFC 9112 section 3.2.2.
    #[test]
    fn an_absolute_uri_must_match_host() {
        for (uri, host, expected) in [
            ("http://a/", "a", 101),
            ("http://A/", "a:80", 101),
            ("ws://a:80/", "A", 101),
            ("wss://a/", "a:443", 101),
            ("https://a:8443/", "a:8443", 101),
            ("http://[::1]/", "[::1]:", 101),
            ("http://a/", "b", 400),
            ("http://a/", "a.b", 400),
            ("http://a/", "a:443", 400),
            ("https://a/", "a:80", 400),
            ("http://a:8080/", "a", 400),
            ("http://u@a/", "a", 400),
            ("http://u:p@a/", "a", 400),
            ("http://a:/", "a", 101),
        ] {
            let mut request = request();
            request.uri = uri.parse().expect("valid");
            request.headers.insert("host", host.parse().expect("valid"));
            assert_eq!(status(&request, &Server::default()), expected, "{uri} {host}");
        }
    }

    #[test]
    fn a_server_with_invalid_settings_responds_with_500() {
        for server in [Server::default().allow_origins(["*"]), Server::default().subprotocols(["a b"])] {
            assert_eq!(status(&request(), &server), 500);
        }
    }

    /// RFC 9110 section 9.3.2.
    #[test]
    fn a_head_request_is_answered_without_content() {
        let mut request = request();
        for (method, body, length) in [(Method::HEAD, "", 0), (Method::PUT, "GET\n", 1)] {
            request.method = method;
            let rejection = respond(&request, &Server::default()).expect_err("only GET is accepted");
            let text = String::from_utf8(rejection.clone().encode()).expect("text");
            assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("\r\nallow: GET\r\n"), "{text}");
            assert_eq!(text.matches("Content-Length").count(), length);
            assert!(text.split_once("\r\n\r\n").is_some_and(|(_, content)| content.ends_with(body)));
            assert_eq!(text.ends_with("\r\n\r\n"), body.is_empty());
            assert_eq!(rejection.into_response().body().is_empty(), body.is_empty());
        }
    }

    /// RFC 6455 section 4.2.2.
    #[test]
    fn origins_are_compared_in_full() {
        let server = Server::default().allow_origins(["https://example.com", "HTTPS://Other.example:8443/"]);
        for (origin, expected) in [
            (Some("https://example.com"), 101),
            (Some("https://other.example:8443"), 101),
            (Some("https://example.com.evil.example"), 403),
            (Some("https://evil.example/https://example.com"), 403),
            (Some("http://example.com"), 403),
            (Some("https://example.com:8443"), 403),
            (Some("null"), 403),
            (Some(""), 403),
            (None, 101),
        ] {
            let mut request = request();
            if let Some(origin) = origin {
                request.headers.insert("origin", origin.parse().expect("valid"));
            }
            assert_eq!(status(&request, &server), expected, "{origin:?}");
        }
    }

    /// RFC 6455 section 9.1.
    #[test]
    fn unknown_offers_are_declined_and_malformed_ones_rejected() {
        let name = header::SEC_WEBSOCKET_EXTENSIONS;
        assert_eq!(status_with(name.clone(), &["permessage-deflate; client_max_window_bits", "x"]), 101);
        assert_eq!(status_with(name, &["x;"]), 400);
    }

    #[test]
    fn a_malformed_list_of_subprotocols_is_refused() {
        for broken in [&["a b"][..], &["a, b c"], &["a", "b/c"], &[""], &[", ,"]] {
            assert_eq!(status_with(header::SEC_WEBSOCKET_PROTOCOL, broken), 400, "{broken:?}");
        }
        assert_eq!(status_with(header::SEC_WEBSOCKET_PROTOCOL, &["a", "b, c"]), 101);
    }

    /// RFC 6455 section 4.2.1, 3 and 4.
    #[test]
    fn upgrade_and_connection_contain_their_tokens() {
        for (values, expected) in [
            (&["WebSocket"][..], 101),
            (&["h2c, websocket"], 101),
            (&["h2c", "websocket"], 101),
            (&["h2c"], 426),
            (&[], 426),
        ] {
            assert_eq!(status_with(header::UPGRADE, values), expected, "{values:?}");
        }
        for (values, expected) in
            [(&["upgrade"][..], 101), (&["keep-alive, Upgrade"], 101), (&["keep-alive"], 400), (&[], 400)]
        {
            assert_eq!(status_with(header::CONNECTION, values), expected, "{values:?}");
        }
    }

    /// RFC 9110 section 7.8.
    #[test]
    fn only_http_1_1_has_upgrades() {
        let headers = request().headers;
        let versions = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
        assert_eq!(versions.map(|version| asks_for_websocket(version, &headers)), [false, true, false]);
    }
}
