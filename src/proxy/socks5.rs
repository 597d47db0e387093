//! Tunnels through SOCKS5 proxies (RFC 1928), with the authentication of RFC 1929.
//!
//! ```text
//! client                               proxy
//!   methods offered            ──▶
//!                              ◀──     method selected
//!   user and password          ──▶                          if that method was selected
//!                              ◀──     status
//!   CONNECT host and port      ──▶
//!                              ◀──     reply, bound address
//!   the tunnel                 ◀─▶     the tunnel
//! ```

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Proxy, ProxyError,
    socks::{CONNECT, Host, check_version, fill, length},
};
use crate::{
    error::{Error, Socks5Reply},
    handshake::{Target, target::UserInfo},
    opening::write,
};

const VERSION: u8 = 5;
/// The version of the authentication (RFC 1929 section 2).
const AUTHENTICATION_VERSION: u8 = 1;

/// Methods of authentication (RFC 1928 section 3).
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xFF;

/// Types of addresses (RFC 1928 section 5).
const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;

const SUCCEEDED: u8 = 0;

/// Opens a tunnel, and reads nothing beyond the reply.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    proxy: &Proxy,
    target: &Target,
    io: &mut S,
) -> Result<(), Error> {
    // Encoded first: an error of the caller is returned before anything is written.
    let request = request(target)?;
    authenticate(proxy.userinfo(), io).await?;
    write(io, &request).await?;
    read_reply(io).await
}

/// Negotiates the method of authentication, and authenticates with it.
async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    credentials: Option<&UserInfo>,
    io: &mut S,
) -> Result<(), Error> {
    let offer: &[u8] = match credentials {
        None => &[VERSION, 1, NO_AUTHENTICATION],
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
    };
    write(io, offer).await?;
    let mut selection = [0; 2];
    fill(io, &mut selection, |reply| check_version(reply, VERSION)).await?;
    match (selection[1], credentials) {
        (NO_AUTHENTICATION, _) => Ok(()),
        (USER_AND_PASSWORD, Some(credentials)) => send_credentials(credentials, io).await,
        // RFC 1928 section 3: the client must then close the connection.
        (NO_ACCEPTABLE_METHOD, _) => Err(ProxyError::NoAcceptableMethod.into()),
        (other, _) => Err(ProxyError::MethodNotOffered(other).into()),
    }
}

/// Sends user and password, and reads whether the proxy accepts them (RFC 1929 section 2).
async fn send_credentials<S: AsyncRead + AsyncWrite + Unpin>(
    UserInfo { user, password }: &UserInfo,
    io: &mut S,
) -> Result<(), Error> {
    let request = [&[AUTHENTICATION_VERSION, length(user)][..], user, &[length(password)], password].concat();
    write(io, &request).await?;
    let mut reply = [0; 2];
    fill(io, &mut reply, |reply| check_version(reply, AUTHENTICATION_VERSION)).await?;
    // RFC 1929 section 2: any status but 0 is a failure, and the connection must be closed.
    match reply[1] {
        0 => Ok(()),
        _ => Err(ProxyError::CredentialsRejected.into()),
    }
}

/// Encodes the request for a tunnel (RFC 1928 section 4).
fn request(target: &Target) -> Result<Vec<u8>, ProxyError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match Host::of(target)? {
        Host::Address(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Host::Name(name) => {
            request.extend([DOMAIN_NAME, length(name.as_bytes())]);
            request.extend(name.bytes());
        }
    }
    request.extend(target.port().to_be_bytes());
    Ok(request)
}

/// Reads the reply, including the bound address, whose value is not needed (RFC 1928 section 6).
async fn read_reply<S: AsyncRead + Unpin>(io: &mut S) -> Result<(), Error> {
    let mut head = [0; 4];
    // The reserved byte is ignored, as RFC 1928 requires nothing of a client that receives it.
    fill(io, &mut head, |reply| {
        check_version(reply, VERSION)?;
        match reply.get(1) {
            // Some proxies end the connection here, without a bound address.
            Some(&code) if code != SUCCEEDED => Err(ProxyError::Socks5(Socks5Reply::from(code))),
            _ => Ok(()),
        }
    })
    .await?;
    let address = match head[3] {
        IPV4 => 4,
        IPV6 => 16,
        DOMAIN_NAME => {
            let mut length = [0];
            fill(io, &mut length, |_| Ok(())).await?;
            usize::from(length[0])
        }
        other => return Err(ProxyError::AddressType(other).into()),
    };
    // At most 255 bytes of address, and the port.
    let mut bound = [0; 255 + 2];
    fill(io, &mut bound[..address + 2], |_| Ok(())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_of(target: &str) -> Result<Vec<u8>, ProxyError> {
        request(&target.parse().expect("valid"))
    }

    /// RFC 1928 sections 4 and 5.
    #[test]
    fn a_request_contains_a_name_or_an_address_and_the_port() {
        for (target, bytes) in [
            ("ws://a.example/", &b"\x05\x01\x00\x03\x09a.example\x00\x50"[..]),
            ("wss://a.example/", b"\x05\x01\x00\x03\x09a.example\x01\xBB"),
            ("ws://192.0.2.1:8080", b"\x05\x01\x00\x01\xC0\x00\x02\x01\x1F\x90"),
            (
                "ws://[2001:db8::1]",
                b"\x05\x01\x00\x04\x20\x01\x0D\xB8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50",
            ),
        ] {
            assert_eq!(request_of(target).expect("valid"), bytes, "{target}");
        }
    }

    /// RFC 1928 section 5: the length is one byte.
    #[test]
    fn a_name_has_at_most_255_bytes() {
        let request = request_of(&format!("ws://{}/", "a".repeat(255))).expect("valid");
        assert_eq!(request[..6], *b"\x05\x01\x00\x03\xFFa");
        assert_eq!(request.len(), 5 + 255 + 2);
        let error = request_of(&format!("ws://{}/", "a".repeat(256)));
        assert!(matches!(error, Err(ProxyError::HostTooLong(256))), "{error:?}");
    }
}
