//! A request as the closures of a program see it, and what they decide.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};

use crate::request_parts::RedactedRequest;

/// A request to a [`Serve`](super::Serve), and the address that it came from.
///
/// It is boxed: a handler that holds it needs one pointer for it, and the memory of the header
/// fields is released when it is dropped.
pub struct Incoming {
    inner: Box<Inner>,
}

struct Inner {
    request: Request<()>,
    peer: SocketAddr,
}

/// Redacted: prints neither the query nor the offered subprotocols, which can contain tokens.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("peer", &self.inner.peer)
            .field("request", &RedactedRequest(&self.inner.request))
            .finish()
    }
}

impl Incoming {
    pub(super) fn new(request: Request<()>, peer: SocketAddr) -> Self {
        Self { inner: Box::new(Inner { request, peer }) }
    }

    /// Accepts the request.
    ///
    /// What the closure has stored in the [extensions](Self::extensions_mut) is passed to the
    /// handler.
    pub fn accept(self) -> Decision {
        Decision::Accept { incoming: self, response: None }
    }

    /// Accepts the request, with header fields or a subprotocol of the program.
    ///
    /// See [`IncomingRequest::accept_with`](crate::IncomingRequest::accept_with). A response that
    /// is invalid there is an error of the connection.
    ///
    /// ```
    /// use fullduplex::serve::{Decision, Incoming};
    ///
    /// fn decide(incoming: Incoming) -> Decision {
    ///     match http::Response::builder().header("Set-Cookie", "seen=1").body(()) {
    ///         Ok(response) => incoming.accept_with(response),
    ///         Err(_) => incoming.refuse(http::StatusCode::INTERNAL_SERVER_ERROR, "no cookie"),
    ///     }
    /// }
    /// ```
    pub fn accept_with(self, response: Response<()>) -> Decision {
        Decision::Accept { incoming: self, response: Some(response) }
    }

    /// Rejects the request with a response.
    ///
    /// See [`IncomingRequest::reject`](crate::IncomingRequest::reject).
    pub fn reject<B: Into<Bytes>>(self, response: Response<B>) -> Decision {
        Decision::Reject(response.map(Into::into))
    }

    /// Rejects the request with a status, and a text as the body.
    pub fn refuse(self, status: StatusCode, why: &'static str) -> Decision {
        Decision::Reject(refusal(status, why))
    }

    /// Returns the extensions of the request, for data of the program.
    ///
    /// ```
    /// use fullduplex::serve::{Decision, Incoming};
    ///
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// fn decide(mut incoming: Incoming) -> Decision {
    ///     incoming.extensions_mut().insert(User("ann".to_owned()));
    ///     incoming.accept()
    /// }
    ///
    /// fn user(incoming: &Incoming) -> Option<&User> {
    ///     incoming.request().extensions().get()
    /// }
    /// ```
    pub fn extensions_mut(&mut self) -> &mut http::Extensions {
        self.inner.request.extensions_mut()
    }

    /// Returns the address of the peer: with the PROXY protocol, the one that the proxy passes on.
    pub fn peer(&self) -> SocketAddr {
        self.inner.peer
    }

    /// Returns the network of the peer, as a key for
    /// [`max_connections_per`](super::Serve::max_connections_per).
    ///
    /// This is the address of the [`peer`](Self::peer) without its port, and of IPv6 the first 64 bits
    /// alone, because a host often has all addresses that begin with them. An IPv4 address that is
    /// mapped to IPv6 is returned as that of IPv4.
    ///
    /// ```
    /// use fullduplex::serve::{Incoming, Serve};
    ///
    /// # async fn run() -> std::io::Result<()> {
    /// let serve = Serve::bind("[::]:9001").await?.max_connections_per(20, Incoming::network);
    /// # Ok(())
    /// # }
    /// ```
    pub fn network(&self) -> IpAddr {
        match self.peer().ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
            ip => ip,
        }
    }

    /// Returns the request, with its method, target and header fields.
    pub fn request(&self) -> &Request<()> {
        &self.inner.request
    }

    /// Returns the path of the target.
    pub fn path(&self) -> &str {
        self.inner.request.uri().path()
    }

    /// Returns the header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.request.headers()
    }

    /// Returns the text of a header field; `None` if it is missing or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }
}

/// What to do with a request for a connection, returned by the closure of
/// [`Serve::decide`](super::Serve::decide).
///
/// [`Incoming::accept`], [`accept_with`](Incoming::accept_with), [`reject`](Incoming::reject) and
/// [`refuse`](Incoming::refuse) create it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision {
    /// Opens the connection.
    Accept {
        /// The request, for the handler.
        incoming: Incoming,
        /// Header fields and a subprotocol of the program.
        response: Option<Response<()>>,
    },
    /// Answers with this response, and closes the connection.
    Reject(Response<Bytes>),
}

/// Returns the response of a refusal.
pub(super) fn refusal(status: StatusCode, why: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(why.as_bytes()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Returns the response to a connection that exceeds a limit.
pub(super) fn unavailable() -> Response<Bytes> {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many connections\n");
    // RFC 9110 section 10.2.3, in seconds.
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_no_token() {
        let request = Request::get("/chat?token=hunter2")
            .header("sec-websocket-protocol", "hunter2")
            .header("x-room", "7")
            .body(())
            .expect("valid");
        let incoming = Incoming::new(request, ([192, 0, 2, 1], 80).into());
        let shown = format!("{incoming:?} {:?}", incoming.header("x-room"));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("192.0.2.1:80") && shown.contains("/chat") && shown.contains("Some(\"7\")"));
    }

    #[test]
    fn the_network_of_an_address_is_a_prefix_of_64_bits_of_ipv6_and_all_of_ipv4() {
        for (peer, network) in [
            ("192.0.2.1:51234", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:51234", "192.0.2.1"),
            ("[2001:db8:1:2:3:4:5:6]:51234", "2001:db8:1:2::"),
            ("[2001:db8:1:2:ffff::]:443", "2001:db8:1:2::"),
            ("[2001:db8:1:3::1]:443", "2001:db8:1:3::"),
        ] {
            let incoming = Incoming::new(Request::new(()), peer.parse().expect("an address"));
            assert_eq!(incoming.network(), network.parse::<IpAddr>().expect("an address"), "{peer}");
        }
    }
}
