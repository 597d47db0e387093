//! The address of a client, also behind a proxy.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, request::Parts},
};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the peer of the TCP connection, which the server adds to each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Whether `X-Forwarded-For` is believed: only if all requests come from a proxy that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustForwardedFor(pub bool);

/// The address of a client, as an extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl<S> FromRequestParts<S> for ClientAddress
where
    S: Sync,
    TrustForwardedFor: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        // A request without a peer comes from a test of a route.
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0; 4]), |peer| peer.0.ip());
        let TrustForwardedFor(trusted) = FromRef::from_ref(state);
        let forwarded = trusted.then(|| forwarded_for(&parts.headers)).flatten();
        Ok(Self(forwarded.unwrap_or(peer)))
    }
}

/// Returns the address that the proxy has added: the last one. The client may have written those
/// before it.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let value = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
    let last = value.rsplit(',').next()?.trim();
    // Some proxies add the port.
    let with_port = || last.parse::<SocketAddr>().ok().map(|address| address.ip());
    last.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    impl FromRef<bool> for TrustForwardedFor {
        fn from_ref(trusted: &bool) -> Self {
            Self(*trusted)
        }
    }

    async fn address(trusted: bool, values: &[&'static str]) -> String {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.extensions.insert(Peer(([127, 0, 0, 1], 9).into()));
        for value in values {
            parts.headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(&mut parts, &trusted).await;
        address.to_string()
    }

    #[tokio::test]
    async fn the_address_that_the_proxy_has_added_counts() {
        for (values, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["203.0.113.7, 192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.7", "192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["unknown"], "127.0.0.1"),
            (&[""], "127.0.0.1"),
            (&[], "127.0.0.1"),
        ] {
            assert_eq!(address(true, values).await, expected, "{values:?}");
        }
    }

    #[tokio::test]
    async fn without_the_option_the_field_is_ignored() {
        assert_eq!(address(false, &["192.0.2.1"]).await, "127.0.0.1");
    }
}
