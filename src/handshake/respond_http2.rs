//! Validates an extended CONNECT of HTTP/2 and creates the response of a server.

use http::{HeaderMap, Method, Response, Version, header, request::Parts};

use super::{
    negotiate::Negotiated,
    rejection::Rejection,
    respond::{
        check_authority, check_body, check_origin, check_target, check_version, host_and_port,
        insert_negotiated, negotiate, optional_host,
    },
    server::Server,
};

/// Validates an extended CONNECT request of HTTP/2 and returns the response.
///
/// `protocol` is the value of the pseudo-header field `:protocol`, which HTTP libraries keep apart
/// from the others; `None` if there is none.
///
/// Checks the rules of RFC 8441 sections 4 and 5, and those of RFC 6455 section 4.2.1 that apply:
/// there is no key, and neither `Upgrade` nor `Connection`. The response has status 200. Sending it
/// opens the connection, on the stream of the request.
///
/// # Errors
/// Returns the rejection of a request that does not open a WebSocket connection. Its status is 500
/// if [`Server::check`] fails.
///
/// ```
/// use fullduplex::{Server, handshake::respond_http2};
/// use http::{Request, Version};
///
/// let (request, ()) = Request::connect("https://example.com/chat")
///     .version(Version::HTTP_2)
///     .header("Sec-WebSocket-Version", "13")
///     .header("Sec-WebSocket-Protocol", "chat.v1, chat.v2")
///     .body(())?
///     .into_parts();
/// let server = Server::default().subprotocols(["chat.v2"]);
/// let (response, negotiated) = respond_http2(&request, Some(b"websocket"), &server)?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(negotiated.subprotocol(), Some("chat.v2"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn respond_http2(
    request: &Parts,
    protocol: Option<&[u8]>,
    server: &Server,
) -> Result<(Response<()>, Negotiated), Rejection> {
    let Parts { method, uri, version, headers, .. } = request;
    validate(method, uri, *version, headers, protocol, server)
}

/// Like [`respond_http2`], for a request that is not in parts.
pub(crate) fn validate(
    method: &Method,
    uri: &http::Uri,
    version: Version,
    headers: &HeaderMap,
    protocol: Option<&[u8]>,
    server: &Server,
) -> Result<(Response<()>, Negotiated), Rejection> {
    check_all(method, uri, version, headers, protocol, server)
        .map_err(|rejection| rejection.answering(method))
}

fn check_all(
    method: &Method,
    uri: &http::Uri,
    version: Version,
    headers: &HeaderMap,
    protocol: Option<&[u8]>,
    server: &Server,
) -> Result<(Response<()>, Negotiated), Rejection> {
    server.check().map_err(|_| Rejection::server_error())?;
    if version != Version::HTTP_2 {
        return Err(Rejection::http_version());
    }
    // RFC 8441 section 4: CONNECT with `:protocol`.
    if method != Method::CONNECT {
        return Err(Rejection::connect());
    }
    match protocol {
        Some(b"websocket") => {}
        Some(_) => return Err(Rejection::protocol()),
        None => return Err(Rejection::bad_request("CONNECT without :protocol")),
    }
    // RFC 8441 section 4: `:scheme` and `:path` are present as well.
    if uri.scheme().is_none() {
        return Err(Rejection::bad_request("extended CONNECT without :scheme"));
    }
    check_target(uri)?;
    let authority = uri.authority().and_then(|authority| host_and_port(authority.as_str()));
    let authority = authority.ok_or(Rejection::bad_request("missing or malformed :authority"))?;
    // RFC 9113 section 8.3.1: Host, if it is present, repeats `:authority`.
    if let Some(host) = optional_host(headers)? {
        check_authority(uri, host)?;
    }
    // RFC 9113 section 8.2.2: a request with connection-specific fields is malformed.
    if headers.contains_key(header::UPGRADE) || headers.contains_key(header::CONNECTION) {
        return Err(Rejection::bad_request("connection-specific field in HTTP/2"));
    }
    check_body(headers)?;
    // RFC 8441 section 5: Origin, Sec-WebSocket-Version, -Protocol and -Extensions are used as in
    // RFC 6455; Sec-WebSocket-Key is not.
    check_version(headers).map_err(|_| Rejection::websocket_version_http2())?;
    check_origin(headers, authority, server)?;
    let negotiated = negotiate(headers, server)?;
    let mut response = Response::new(());
    insert_negotiated(response.headers_mut(), &negotiated)?;
    Ok((response, negotiated))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request, StatusCode};

    use super::*;

    fn request() -> Parts {
        Request::connect("https://server.example.com/chat?room=1")
            .version(Version::HTTP_2)
            .header("Sec-WebSocket-Version", "13")
            .header("Origin", "https://server.example.com")
            .body(())
            .expect("valid")
            .into_parts()
            .0
    }

    fn status(request: &Parts, protocol: Option<&[u8]>, server: &Server) -> StatusCode {
        match respond_http2(request, protocol, server) {
            Ok((response, _)) => response.status(),
            Err(rejection) => rejection.status(),
        }
    }

    fn status_with(name: HeaderName, values: &[&str]) -> StatusCode {
        let mut request = request();
        request.headers.remove(&name);
        for value in values {
            request.headers.append(&name, value.parse().expect("valid"));
        }
        status(&request, Some(b"websocket"), &Server::default())
    }

    /// RFC 8441 section 5.1.
    #[test]
    fn the_response_has_status_200_and_no_accept() {
        let mut request = request();
        request.headers.insert("sec-websocket-protocol", "chat, superchat".parse().expect("valid"));
        let server = Server::default().subprotocols(["chat"]).same_origin();
        let (response, negotiated) = respond_http2(&request, Some(b"websocket"), &server).expect("accepted");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        assert_eq!(negotiated.subprotocol(), Some("chat"));
    }

    /// RFC 8441 section 4.
    #[test]
    fn row_55_connect_needs_the_protocol() {
        for (protocol, expected) in [
            (None, 400),
            (Some(&b"websocket"[..]), 200),
            (Some(b"WebSocket"), 501),
            (Some(b"connect-udp"), 501),
            (Some(b""), 501),
        ] {
            assert_eq!(status(&request(), protocol, &Server::default()), expected, "{protocol:?}");
        }
    }

    #[test]
    fn the_method_is_connect_and_the_version_http_2() {
        let server = Server::default();
        let mut get = request();
        get.method = Method::GET;
        assert_eq!(status(&get, Some(b"websocket"), &server), 405);
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_3] {
            let mut other = request();
            other.version = version;
            assert_eq!(status(&other, Some(b"websocket"), &server), 505);
        }
    }

    /// RFC 8441 section 4; RFC 9113 section 8.3.1.
    #[test]
    fn the_target_has_scheme_authority_and_path() {
        for (uri, expected) in [
            ("https://server.example.com/", 200),
            ("http://server.example.com:8080/a", 200),
            ("wss://server.example.com/a", 200),
            ("server.example.com:443", 400),
            ("/a", 400),
            ("ftp://server.example.com/", 400),
            ("https://user@server.example.com/", 400),
        ] {
            let mut request = request();
            request.uri = uri.parse().expect("valid");
            assert_eq!(status(&request, Some(b"websocket"), &Server::default()), expected, "{uri}");
        }
    }

    #[test]
    fn fields_are_checked_as_in_http_1() {
        for (name, values, expected) in [
            (header::HOST, &["server.example.com"][..], 200),
            (header::HOST, &["server.example.com:443"], 200),
            (header::HOST, &["other.example.com"], 400),
            (header::HOST, &["server.example.com"; 2], 400),
            (header::UPGRADE, &["websocket"], 400),
            (header::CONNECTION, &["Upgrade"], 400),
            (header::CONTENT_LENGTH, &["0"], 200),
            (header::CONTENT_LENGTH, &["5"], 400),
            (header::TRANSFER_ENCODING, &["chunked"], 400),
            (header::SEC_WEBSOCKET_VERSION, &[], 400),
            (header::SEC_WEBSOCKET_VERSION, &["8"], 400),
            (header::SEC_WEBSOCKET_VERSION, &["13", "13"], 400),
            (header::SEC_WEBSOCKET_KEY, &["x"], 200),
            (header::SEC_WEBSOCKET_PROTOCOL, &["a b"], 400),
            (header::SEC_WEBSOCKET_PROTOCOL, &[""], 400),
            (header::SEC_WEBSOCKET_EXTENSIONS, &["a;;"], 400),
            (header::ORIGIN, &["https://a", "https://b"], 400),
        ] {
            assert_eq!(status_with(name.clone(), values), expected, "{name}: {values:?}");
        }
    }

    /// RFC 9113 section 8.2.2.
    #[test]
    fn no_rejection_has_a_connection_specific_field() {
        let mut request = request();
        request.headers.remove(header::SEC_WEBSOCKET_VERSION);
        let rejection =
            respond_http2(&request, Some(b"websocket"), &Server::default()).expect_err("no version");
        let response = rejection.into_response();
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        assert!(!response.headers().contains_key(header::UPGRADE));
        assert!(!response.headers().contains_key(header::CONNECTION));
    }

    #[test]
    fn a_foreign_origin_is_forbidden() {
        let mut request = request();
        request.headers.insert(header::ORIGIN, "https://other.example.com".parse().expect("valid"));
        assert_eq!(status(&request, Some(b"websocket"), &Server::default().same_origin()), 403);
        assert_eq!(status(&request, Some(b"websocket"), &Server::default()), 200);
    }

    #[test]
    fn invalid_settings_are_an_error_of_the_server() {
        let server = Server::default().subprotocols(["a b"]);
        assert_eq!(status(&request(), Some(b"websocket"), &server), 500);
    }
}
