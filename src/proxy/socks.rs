//! What SOCKS4 and SOCKS5 have in common.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{ProxyError, read_failed, uri::MAX_SOCKS_FIELD};
use crate::{error::Error, handshake::Target};

/// The command CONNECT.
pub(super) const CONNECT: u8 = 1;

/// The host of a target, as SOCKS expresses it.
#[derive(Debug)]
pub(super) enum Host<'a> {
    /// A name of 1 to 255 bytes.
    Name(&'a str),
    Address(IpAddr),
}

impl<'a> Host<'a> {
    pub(super) fn of(target: &'a Target) -> Result<Self, ProxyError> {
        let host = target.host();
        match host.parse() {
            Ok(address) => Ok(Self::Address(address)),
            // RFC 1928 section 5: the length of a name is a single byte.
            Err(_) if host.len() > MAX_SOCKS_FIELD => Err(ProxyError::HostTooLong(host.len())),
            Err(_) => Ok(Self::Name(host)),
        }
    }
}

/// Fills a buffer with a part of a reply, and does not read beyond it.
///
/// What follows the reply belongs to the tunnel. After each read, `check` examines the bytes that
/// were received so far: an invalid reply fails at once, also if it is shorter than the buffer.
pub(super) async fn fill<S: AsyncRead + Unpin>(
    io: &mut S,
    buffer: &mut [u8],
    check: impl Fn(&[u8]) -> Result<(), ProxyError>,
) -> Result<(), Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        match io.read(&mut buffer[filled..]).await.map_err(read_failed)? {
            0 => return Err(ProxyError::UnexpectedEof.into()),
            read => filled += read,
        }
        check(&buffer[..filled])?;
    }
    Ok(())
}

/// Checks the first byte of a reply.
pub(super) fn check_version(reply: &[u8], expected: u8) -> Result<(), ProxyError> {
    match reply.first() {
        Some(&received) if received != expected => Err(ProxyError::Version { expected, received }),
        _ => Ok(()),
    }
}

/// Encodes a length.
///
/// # Panics
/// Panics if the length exceeds 255, which the constructors of all such fields exclude.
pub(super) fn length(field: &[u8]) -> u8 {
    u8::try_from(field.len()).expect("the field was limited to 255 bytes when it was created")
}
