//! Tunnels through SOCKS4 proxies, with the names of SOCKS4a.

use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Proxy, ProxyError,
    socks::{CONNECT, Host, check_version, fill},
};
use crate::{
    error::{Error, Socks4Reply},
    handshake::Target,
    opening::write,
};

const VERSION: u8 = 4;
/// The version of a reply.
const REPLY_VERSION: u8 = 0;
const GRANTED: u8 = 90;

/// An invalid address, with which SOCKS4a announces a name at the end of the request.
const NAME_FOLLOWS: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

/// Opens a tunnel, and reads nothing beyond the reply.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    proxy: &Proxy,
    target: &Target,
    io: &mut S,
) -> Result<(), Error> {
    write(io, &request(proxy, target)?).await?;
    // The code is followed by a port and an address, which are not used.
    let mut reply = [0; 8];
    fill(io, &mut reply, |reply| {
        check_version(reply, REPLY_VERSION)?;
        match reply.get(1) {
            Some(&code) if code != GRANTED => Err(ProxyError::Socks4(Socks4Reply::from(code))),
            _ => Ok(()),
        }
    })
    .await
}

/// Encodes the request: port, address, user ID, and a name if the target has one.
fn request(proxy: &Proxy, target: &Target) -> Result<Vec<u8>, ProxyError> {
    let (address, name) = match Host::of(target)? {
        Host::Address(IpAddr::V4(address)) => (address, None),
        Host::Address(IpAddr::V6(_)) => return Err(ProxyError::Ipv6Unsupported),
        Host::Name(name) => (NAME_FOLLOWS, Some(name)),
    };
    let mut request = vec![VERSION, CONNECT];
    request.extend(target.port().to_be_bytes());
    request.extend(address.octets());
    // Neither contains a NUL, which would end it early.
    let user = proxy.userinfo().map(|credentials| &credentials.user[..]).unwrap_or_default();
    for text in [Some(user), name.map(str::as_bytes)].into_iter().flatten() {
        request.extend(text);
        request.push(0);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_of(proxy: &str, target: &str) -> Result<Vec<u8>, ProxyError> {
        request(&proxy.parse().expect("valid"), &target.parse().expect("valid"))
    }

    #[test]
    fn a_request_contains_an_address_or_a_name_and_the_user() {
        for (proxy, target, bytes) in [
            ("socks4://p", "ws://192.0.2.1:8080", &b"\x04\x01\x1F\x90\xC0\x00\x02\x01\x00"[..]),
            ("socks4a://me@p", "ws://192.0.2.1", b"\x04\x01\x00\x50\xC0\x00\x02\x01me\0"),
            ("socks4://p", "wss://a.example", b"\x04\x01\x01\xBB\x00\x00\x00\x01\0a.example\0"),
            ("socks4a://me@p", "ws://a.example", b"\x04\x01\x00\x50\x00\x00\x00\x01me\0a.example\0"),
        ] {
            assert_eq!(request_of(proxy, target).expect("valid"), bytes, "{proxy} {target}");
        }
    }

    #[test]
    fn an_ipv6_address_or_a_long_name_is_an_error() {
        let error = request_of("socks4a://p", "ws://[::1]");
        assert!(matches!(error, Err(ProxyError::Ipv6Unsupported)), "{error:?}");
        let error = request_of("socks4a://p", &format!("ws://{}", "a".repeat(256)));
        assert!(matches!(error, Err(ProxyError::HostTooLong(256))), "{error:?}");
    }
}
