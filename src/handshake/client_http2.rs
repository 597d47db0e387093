//! The request of a client over HTTP/2, and the validation of the response.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};

use super::{
    client::Client,
    deflate,
    invalid::InvalidHandshake,
    negotiate::Negotiated,
    response::ResponseError,
    target::{Target, TargetError},
};

impl Client {
    /// Creates the request of a connection over HTTP/2, an extended CONNECT.
    ///
    /// RFC 8441 section 5. The pseudo-header field `:protocol`, which is `websocket`, is not part
    /// of it: HTTP libraries take it separately. The peer must have allowed such requests
    /// (section 3).
    ///
    /// # Errors
    /// Returns the error of [`check`](Self::check).
    ///
    /// ```
    /// use fullduplex::Client;
    ///
    /// let request = Client::default().subprotocol("chat").request_http2(&"wss://example.com/a".parse()?)?;
    /// assert_eq!((request.method().as_str(), request.uri().to_string()), ("CONNECT", "https://example.com/a".into()));
    /// assert_eq!(request.headers()["sec-websocket-version"], "13");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_http2(&self, target: &Target) -> Result<Request<()>, InvalidHandshake> {
        self.check().map_err(Clone::clone)?;
        // RFC 8441 section 5: the scheme is that of HTTP.
        let uri = Uri::builder()
            .scheme(if target.is_secure() { "https" } else { "http" })
            .authority(target.host_header())
            .path_and_query(target.path_and_query())
            .build()
            // A target that `http` does not accept is longer than 64 KiB.
            .map_err(|_| InvalidHandshake::Target(TargetError::Path))?;
        let mut request = Request::new(());
        (*request.method_mut(), *request.uri_mut()) = (Method::CONNECT, uri);
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let value = |text: &str| HeaderValue::from_str(text).expect("tokens and visible characters");
        if let Some(offer) = self.subprotocol_offer() {
            let mut offer = value(&offer);
            // Hidden in `Debug` output.
            offer.set_sensitive(self.offers_token());
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offer);
        }
        if let Some(offer) = deflate::offer(self.config()) {
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, value(&offer.to_string()));
        }
        match target.authorization() {
            // A field that the program set explicitly takes precedence.
            Some(credentials) if !self.own_headers().contains_key(header::AUTHORIZATION) => {
                let mut credentials = value(credentials);
                credentials.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, credentials);
            }
            _ => {}
        }
        headers.extend(self.own_headers().clone());
        Ok(request)
    }

    /// Validates the response to [`request_http2`](Self::request_http2).
    ///
    /// RFC 8441 section 5; there is no `Sec-WebSocket-Accept`.
    ///
    /// # Errors
    /// Fails if the response does not open a WebSocket connection. The body in
    /// [`ResponseError::Status`] is empty, as it was not read yet.
    ///
    /// ```
    /// use fullduplex::Client;
    /// use http::Response;
    ///
    /// let response = Response::builder().status(200).header("Sec-WebSocket-Protocol", "chat").body(())?;
    /// let negotiated = Client::default().subprotocol("chat").verify_http2(&response)?;
    /// assert_eq!(negotiated.subprotocol(), Some("chat"));
    /// assert!(Client::default().verify_http2(&response).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify_http2(&self, response: &Response<()>) -> Result<Negotiated, ResponseError> {
        // RFC 9113 section 8.5: any 2xx opens the tunnel.
        if !response.status().is_success() {
            return Err(ResponseError::Status(Box::new(response.clone().map(|()| Bytes::new()))));
        }
        self.verify_negotiated(response.headers())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::respond_http2;
    use crate::{Config, Server};

    fn request(client: &Client, target: &str) -> Request<()> {
        client.request_http2(&target.parse().expect("valid")).expect("valid")
    }

    #[test]
    fn a_request_has_the_scheme_of_http_and_the_own_fields() {
        let client =
            Client::default().header("Authorization", "Bearer secret").header("X-A", "1").header("X-A", "2");
        for (target, uri) in [
            ("ws://user:pw@example.com:8080/a?b", "http://example.com:8080/a?b"),
            ("wss://[::1]/", "https://[::1]/"),
            ("wss://example.com", "https://example.com/"),
        ] {
            let request = request(&client, target);
            assert_eq!(request.uri().to_string(), uri);
            assert_eq!(request.version(), Version::HTTP_2);
            assert_eq!(request.headers()["authorization"], "Bearer secret");
            assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
            assert!(!request.headers().contains_key("sec-websocket-key"));
            assert!(!format!("{request:?}").contains("secret"));
        }
    }

    /// RFC 8441 section 5.
    #[test]
    fn a_request_has_no_field_of_http_1() {
        let client = Client::default().subprotocol("a").header("X-A", "1");
        let request = request(&client, "wss://user:pw@example.com/");
        for name in ["connection", "upgrade", "host", "sec-websocket-key"] {
            assert!(!request.headers().contains_key(name), "{name}");
        }
    }

    #[test]
    fn credentials_of_the_target_are_sent_and_hidden() {
        let request = request(&Client::default(), "ws://user:pw@example.com/");
        assert_eq!(request.headers()["authorization"], "Basic dXNlcjpwdw==");
        assert!(request.headers()["authorization"].is_sensitive());
    }

    #[test]
    fn a_bearer_token_is_offered_and_hidden() {
        let client = Client::default().subprotocol("a").bearer_token("bearer.", "hunter2");
        let request = request(&client, "wss://example.com/");
        assert_eq!(request.headers()["sec-websocket-protocol"], "a, bearer.hunter2");
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    #[test]
    fn a_server_accepts_the_request() {
        let client = Client::default().subprotocol("b").subprotocol("a");
        let (parts, ()) = request(&client, "wss://example.com/chat").into_parts();
        let server = Server::new(Config::new()).subprotocols(["a"]).same_origin();
        let (response, accepted) = respond_http2(&parts, Some(b"websocket"), &server).expect("accepted");
        assert_eq!(client.verify_http2(&response).expect("valid"), accepted);
        assert_eq!(accepted.subprotocol(), Some("a"));
    }

    #[test]
    fn only_a_2xx_opens_a_connection() {
        for (status, opens) in
            [(200, true), (204, true), (101, false), (301, false), (404, false), (501, false)]
        {
            let response = Response::builder().status(status).body(()).expect("valid");
            assert_eq!(Client::default().verify_http2(&response).is_ok(), opens, "{status}");
        }
    }
}
