//! Encodes responses.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::{
    headers::is_credential,
    invalid::{InvalidHandshake, is_reserved},
    negotiate::{Negotiated, offered_subprotocols},
};

/// Encodes the 101 returned by [`respond`](super::respond).
///
/// No value in it can contain CR, LF or NUL: the types of `http` exclude them.
///
/// ```
/// use http::Response;
///
/// let response = Response::builder().status(101).header("upgrade", "websocket").body(())?;
/// let bytes = fullduplex::handshake::encode_response(&response);
/// assert_eq!(bytes, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
/// # Ok::<(), http::Error>(())
/// ```
pub fn encode_response(response: &Response<()>) -> Vec<u8> {
    encode(response.status(), response.headers())
}

/// Encodes a response of the application that ends the connection.
///
/// `Content-Length` is set to the length of the body, and `Connection` to `close`.
///
/// # Errors
/// Fails for a status that is not final: 1xx, or above 599.
///
/// ```
/// use bytes::Bytes;
/// use http::Response;
///
/// let response = Response::builder().status(404).body(Bytes::from_static(b"no"))?;
/// let bytes = fullduplex::handshake::encode_rejection(response)?;
/// assert_eq!(bytes, b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_rejection(response: Response<Bytes>) -> Result<Vec<u8>, InvalidHandshake> {
    check_final(response.status())?;
    Ok(encode_final(response, ContentMode::Sent))
}

/// Checks that a status is final.
pub(crate) fn check_final(status: StatusCode) -> Result<(), InvalidHandshake> {
    // RFC 9110 section 15.2: a 1xx is interim. Section 15: no status above 599 is defined.
    if status.is_informational() || status.as_u16() > 599 {
        return Err(InvalidHandshake::Status(status));
    }
    Ok(())
}

/// States whether the body is sent with the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentMode {
    Sent,
    /// The body is omitted: the response answers a HEAD request.
    Omitted,
}

impl ContentMode {
    /// Returns the mode for a request of this method.
    ///
    /// RFC 9110 section 9.3.2: the response to a HEAD has no content.
    pub(crate) fn answering(method: &Method) -> Self {
        if method == Method::HEAD { Self::Omitted } else { Self::Sent }
    }
}

/// Encodes a response whose status is known to be final.
pub(crate) fn encode_final(response: Response<Bytes>, content: ContentMode) -> Vec<u8> {
    let (mut parts, body) = response.into_parts();
    let headers = &mut parts.headers;
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::TRAILER);
    let own_length = headers.remove(header::CONTENT_LENGTH);
    // RFC 9110 section 7.8: a response with Upgrade lists it in Connection.
    let connection = if headers.contains_key(header::UPGRADE) { "Upgrade, close" } else { "close" };
    headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
    // RFC 9110 sections 8.6, 15.3.5, 15.3.6 and 15.4.5: these have neither a body nor Content-Length.
    let bodiless =
        matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let length = match content {
        _ if bodiless => None,
        // RFC 9110 section 8.6: the response to a HEAD states the length of the omitted body.
        ContentMode::Omitted if body.is_empty() => own_length,
        _ => Some(HeaderValue::from(body.len())),
    };
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    let mut bytes = encode(parts.status, &parts.headers);
    if !bodiless && content == ContentMode::Sent {
        bytes.extend_from_slice(&body);
    }
    bytes
}

/// Adds header fields and a subprotocol of the application to a 101.
///
/// The fields of `own`, such as `Set-Cookie`, are added to `response`. `Sec-WebSocket-Protocol` in
/// it selects one of the subprotocols that the request offers.
///
/// # Errors
/// Fails for a field that is reserved for the handshake, a subprotocol that the request does not
/// offer, and a status other than 101 (or 200, the default of `http::Response`).
///
/// ```
/// use fullduplex::handshake::{Negotiated, extend_response};
/// use http::{HeaderMap, Response};
///
/// let (mut response, mut negotiated) = (Response::builder().status(101).body(())?, Negotiated::default());
/// let own = Response::builder().header("Set-Cookie", "seen=1").body(())?;
/// extend_response(&mut response, &mut negotiated, &HeaderMap::new(), own)?;
/// assert_eq!(response.headers()["set-cookie"], "seen=1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn extend_response(
    response: &mut Response<()>,
    negotiated: &mut Negotiated,
    request: &HeaderMap,
    own: Response<()>,
) -> Result<(), InvalidHandshake> {
    let (own, ()) = own.into_parts();
    if !matches!(own.status, StatusCode::OK | StatusCode::SWITCHING_PROTOCOLS) {
        return Err(InvalidHandshake::Status(own.status));
    }
    if let Some(name) = own.headers.keys().find(|name| is_reserved(name)) {
        return Err(InvalidHandshake::ReservedHeader(name.clone()));
    }
    if let Some(subprotocol) = own.headers.get(header::SEC_WEBSOCKET_PROTOCOL) {
        // RFC 6455 section 4.2.2: exactly one subprotocol, and one that the client offered.
        let offered = offered_subprotocols(request).unwrap_or_default();
        let chosen = subprotocol.to_str().ok().filter(|name| offered.contains(name));
        let is_duplicate = own.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().count() > 1;
        match chosen {
            Some(name) if !is_duplicate => negotiated.set_subprotocol(name),
            _ => return Err(InvalidHandshake::SubprotocolNotOffered),
        }
        response.headers_mut().remove(header::SEC_WEBSOCKET_PROTOCOL);
    }
    let mut last = None;
    for (name, mut value) in own.headers {
        last = name.or(last);
        if let Some(name) = &last {
            // Hidden in `Debug` output, which ends up in logs.
            value.set_sensitive(value.is_sensitive() || is_credential(name));
            response.headers_mut().append(name, value);
        }
    }
    Ok(())
}

fn encode(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"HTTP/1.1 ");
    bytes.extend_from_slice(status.as_str().as_bytes());
    bytes.push(b' ');
    bytes.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    bytes.extend_from_slice(b"\r\n");
    encode_fields(headers, &mut bytes);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Appends header fields, one per line.
pub(super) fn encode_fields(headers: &HeaderMap, bytes: &mut Vec<u8>) {
    for (name, value) in headers {
        bytes.extend_from_slice(canonical_name(name).as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Returns the name of a field as the RFC spells it.
///
/// Some peers compare names case-sensitively.
fn canonical_name(name: &HeaderName) -> &str {
    match name.as_str() {
        "upgrade" => "Upgrade",
        "connection" => "Connection",
        "content-length" => "Content-Length",
        "date" => "Date",
        "sec-websocket-accept" => "Sec-WebSocket-Accept",
        "sec-websocket-extensions" => "Sec-WebSocket-Extensions",
        "sec-websocket-protocol" => "Sec-WebSocket-Protocol",
        "sec-websocket-version" => "Sec-WebSocket-Version",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(own: Response<()>) -> Result<(Response<()>, Negotiated), InvalidHandshake> {
        let offered =
            [(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("a, b"))].into_iter().collect();
        let mut response =
            Response::builder().status(101).header("sec-websocket-protocol", "a").body(()).expect("valid");
        let mut negotiated = Negotiated::with_subprotocol("a");
        extend_response(&mut response, &mut negotiated, &offered, own)?;
        Ok((response, negotiated))
    }

    fn own(fields: &[(&str, &str)]) -> Response<()> {
        fields
            .iter()
            .fold(Response::builder(), |builder, (name, value)| builder.header(*name, *value))
            .body(())
            .expect("valid")
    }

    #[test]
    fn fields_of_the_application_are_added_in_order() {
        let (response, negotiated) =
            merged(own(&[("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x", "y")])).expect("allowed");
        assert_eq!(
            encode_response(&response).escape_ascii().to_string(),
            "HTTP/1.1 101 Switching Protocols\\r\\nSec-WebSocket-Protocol: a\\r\\n\
             set-cookie: a=1\\r\\nset-cookie: b=2\\r\\nx: y\\r\\n\\r\\n"
        );
        assert_eq!(negotiated.subprotocol(), Some("a"));
    }

    #[test]
    fn a_response_may_choose_another_of_the_offered_subprotocols() {
        let (response, negotiated) = merged(own(&[("sec-websocket-protocol", "b")])).expect("offered");
        assert_eq!(negotiated.subprotocol(), Some("b"));
        assert_eq!(response.headers().get_all("sec-websocket-protocol").iter().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_response_must_choose_exactly_one_offered_subprotocol() {
        for fields in [
            &[("sec-websocket-protocol", "c")][..],
            &[("sec-websocket-protocol", "a, b")],
            &[("sec-websocket-protocol", "a"), ("sec-websocket-protocol", "b")],
        ] {
            assert_eq!(merged(own(fields)).map(drop), Err(InvalidHandshake::SubprotocolNotOffered));
        }
    }

    #[test]
    fn a_response_must_not_set_reserved_fields_or_a_status() {
        for name in [
            "upgrade",
            "connection",
            "sec-websocket-accept",
            "sec-websocket-extensions",
            "sec-websocket-anything",
            "content-length",
        ] {
            let name = HeaderName::from_static(name);
            let error = merged(own(&[(name.as_str(), "1")])).map(drop);
            assert_eq!(error, Err(InvalidHandshake::ReservedHeader(name)));
        }
        let mut teapot = own(&[]);
        *teapot.status_mut() = StatusCode::IM_A_TEAPOT;
        assert_eq!(merged(teapot).map(drop), Err(InvalidHandshake::Status(StatusCode::IM_A_TEAPOT)));
    }

    #[test]
    fn a_final_response_replaces_fields_that_frame_its_body() {
        let response = Response::builder()
            .status(401)
            .header("content-length", "99")
            .header("transfer-encoding", "chunked")
            .header("connection", "keep-alive")
            .body(Bytes::from_static(b"who?"))
            .expect("valid");
        let bytes = encode_rejection(response).expect("final");
        assert_eq!(
            bytes.escape_ascii().to_string(),
            "HTTP/1.1 401 Unauthorized\\r\\nConnection: close\\r\\nContent-Length: 4\\r\\n\\r\\nwho?"
        );
    }

    #[test]
    fn a_response_without_content_has_no_length() {
        let response = Response::builder().status(204).body(Bytes::from_static(b"x")).expect("valid");
        assert_eq!(
            encode_final(response, ContentMode::Sent),
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
        );
    }

    /// RFC 9110 section 8.6.
    #[test]
    fn the_response_to_a_head_has_the_length_of_the_omitted_body() {
        let encoded = |own: Option<u32>, body: &'static str| {
            let mut response = Response::new(Bytes::from_static(body.as_bytes()));
            own.map(|own| response.headers_mut().insert("content-length", own.into()));
            String::from_utf8(encode_final(response, ContentMode::Omitted)).expect("text")
        };
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
        assert_eq!(encoded(None, "page"), format!("{head}Content-Length: 4\r\n\r\n"));
        assert_eq!(encoded(Some(99), "page"), format!("{head}Content-Length: 4\r\n\r\n"));
        assert_eq!(encoded(Some(99), ""), format!("{head}Content-Length: 99\r\n\r\n"));
        assert_eq!(encoded(None, ""), format!("{head}\r\n"));
    }

    #[test]
    fn row_66_an_added_cookie_is_hidden_in_debug_output() {
        let (response, _) = merged(own(&[("set-cookie", "secret"), ("x", "shown")])).expect("allowed");
        let shown = format!("{response:?}");
        assert!(!shown.contains("secret") && shown.contains("shown"), "{shown}");
    }

    #[test]
    fn an_interim_status_is_not_final() {
        for status in [100, 101, 103, 600, 999] {
            let response = Response::builder().status(status).body(Bytes::new()).expect("valid");
            assert!(encode_rejection(response).is_err(), "{status}");
        }
    }
}
