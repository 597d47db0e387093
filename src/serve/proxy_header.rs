//! The PROXY protocol, versions 1 and 2: the header with which a proxy passes on the address of the
//! peer.
//!
//! Specification: <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest length of a header of version 1, with its CRLF (section 2.1).
const MAX_V1: usize = 107;

/// The largest length of the addresses and TLVs in a header of version 2, in bytes.
///
/// The specification allows 64 KiB; proxies send a few hundred bytes at most.
const MAX_V2: usize = 4 << 10;

/// The length of the shortest header of version 1, `PROXY UNKNOWN` and CRLF.
const SHORTEST: usize = 15;

/// The length of a header of version 2 without addresses.
const V2_FIXED: usize = 16;

/// The first bytes of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The type of the TLV that contains a checksum of the header.
const CRC32C: u8 = 0x03;

/// The addresses that a proxy passes on at the beginning of a connection, before TLS.
///
/// The header is part of the PROXY protocol, version 1 or 2. It is required: a port that expects it
/// must be reachable by the proxy alone, because any other peer could claim any address.
///
/// [`Serve::proxy_protocol`](super::Serve::proxy_protocol) reads it for each connection. Servers
/// with an accept loop of their own call [`read`](Self::read) first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeader {
    /// The proxy has opened the connection itself, for a health check for example, or does not
    /// know the address of the peer.
    Local,
    /// The proxy has relayed a connection.
    Relayed {
        /// The address of the peer that has connected to the proxy.
        source: SocketAddr,
        /// The address of the proxy that it has connected to.
        destination: SocketAddr,
    },
}

/// Why a header of the PROXY protocol is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxyHeader {
    /// The connection does not begin with a header.
    #[error("no header of the PROXY protocol")]
    Missing,
    /// A header of version 1 has no CRLF within 107 bytes.
    #[error("PROXY header longer than 107 bytes")]
    TooLong,
    /// A header of version 1 does not have the prescribed fields.
    #[error("malformed PROXY header")]
    Malformed,
    /// A field is not an address of the family that the header names.
    #[error("invalid address in the PROXY header")]
    Address,
    /// A field is not a port.
    #[error("invalid port in the PROXY header")]
    Port,
    /// The version or the command is unknown.
    #[error("unknown version or command {0:#04x} of the PROXY protocol")]
    Command(u8),
    /// The family of the addresses is not TCP over IPv4 or IPv6.
    #[error("unsupported address family {0:#04x} of the PROXY protocol")]
    Family(u8),
    /// The length of a header of version 2 is too small for its addresses, or exceeds 4 KiB.
    #[error("invalid length {0} of the PROXY header")]
    Length(u16),
    /// The additional fields (TLVs) do not fit into the header.
    #[error("malformed TLV in the PROXY header")]
    Tlv,
    /// The checksum of the header is wrong.
    #[error("wrong checksum of the PROXY header")]
    Checksum,
}

/// Wraps the error, with the kind [`InvalidData`](io::ErrorKind::InvalidData).
impl From<InvalidProxyHeader> for io::Error {
    fn from(error: InvalidProxyHeader) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl ProxyHeader {
    /// Reads a header, and nothing that follows it.
    ///
    /// This has no deadline: the caller sets one.
    ///
    /// # Errors
    /// Returns an error of the kind [`InvalidData`](io::ErrorKind::InvalidData) that wraps an
    /// [`InvalidProxyHeader`], or the error of the stream.
    ///
    /// # Cancel safety
    /// If the future is dropped, an unknown part of the header has been read.
    ///
    /// ```
    /// use fullduplex::serve::ProxyHeader;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let mut io = &b"PROXY TCP4 192.0.2.1 192.0.2.9 51234 443\r\nGET / HTTP/1.1\r\n"[..];
    /// let header = ProxyHeader::read(&mut io).await?;
    /// assert_eq!(header.source(), Some(([192, 0, 2, 1], 51234).into()));
    /// assert!(io.starts_with(b"GET"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read<S: AsyncRead + Unpin>(io: &mut S) -> io::Result<Self> {
        let mut start = [0; V2_FIXED];
        io.read_exact(&mut start[..1]).await?;
        // Another protocol may begin with fewer bytes than a header, and wait for an answer.
        let known = match start[0] {
            b'P' => 6,
            b'\r' => SIGNATURE.len(),
            _ => return Err(InvalidProxyHeader::Missing.into()),
        };
        io.read_exact(&mut start[1..known]).await?;
        if start[..known] == b"PROXY "[..] {
            io.read_exact(&mut start[known..SHORTEST]).await?;
            return Self::read_v1(io, &start[..SHORTEST]).await;
        }
        if start[..known] != SIGNATURE[..] {
            return Err(InvalidProxyHeader::Missing.into());
        }
        io.read_exact(&mut start[known..]).await?;
        let len = usize::from(check_v2(&start)?);
        let mut header = vec![0; V2_FIXED + len];
        header[..V2_FIXED].copy_from_slice(&start);
        io.read_exact(&mut header[V2_FIXED..]).await?;
        Ok(parse_v2(&mut header)?)
    }

    /// Reads the rest of a header of version 1, in steps that never exceed its end.
    async fn read_v1<S: AsyncRead + Unpin>(io: &mut S, start: &[u8]) -> io::Result<Self> {
        let mut header = [0; MAX_V1];
        header[..start.len()].copy_from_slice(start);
        let mut len = start.len();
        while !header[..len].contains(&b'\n') {
            let next = len + missing_v1(&header[..len]);
            let step = header.get_mut(len..next).ok_or(InvalidProxyHeader::TooLong)?;
            io.read_exact(step).await?;
            len = next;
        }
        Ok(parse_v1(&header[..len])?)
    }

    /// Returns the address of the peer; `None` if the proxy does not pass it on.
    pub fn source(&self) -> Option<SocketAddr> {
        match self {
            Self::Local => None,
            Self::Relayed { source, .. } => Some(*source),
        }
    }
}

/// Returns how many bytes a header of version 1 lacks at least.
fn missing_v1(header: &[u8]) -> usize {
    if header.ends_with(b"\r") {
        return 1;
    }
    if header.starts_with(b"PROXY TCP") {
        // Five spaces precede fields of at least one byte.
        let spaces = header.iter().filter(|byte| **byte == b' ').count();
        let begun = usize::from(spaces <= 5 && header.ends_with(b" "));
        return 5_usize.saturating_sub(spaces) * 2 + begun + 2;
    }
    2
}

/// Parses a header of version 1, with its CRLF (section 2.1).
fn parse_v1(header: &[u8]) -> Result<ProxyHeader, InvalidProxyHeader> {
    use InvalidProxyHeader::{Address, Malformed};
    let line = header.strip_prefix(b"PROXY ").and_then(|line| line.strip_suffix(b"\r\n")).ok_or(Malformed)?;
    // Everything after UNKNOWN is ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(ProxyHeader::Local);
    }
    let line = str::from_utf8(line).map_err(|_| Malformed)?;
    let fields: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = fields[..] else {
        return Err(Malformed);
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Address),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Address),
        _ => Err(Malformed),
    };
    Ok(ProxyHeader::Relayed {
        source: (address(source)?, port(source_port)?).into(),
        destination: (address(destination)?, port(destination_port)?).into(),
    })
}

/// Parses a port in decimal digits, without a sign or leading zeros.
fn port(text: &str) -> Result<u16, InvalidProxyHeader> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical).ok_or(InvalidProxyHeader::Port)
}

/// Checks the fixed part of a header of version 2 (section 2.2), and returns the length of the rest.
fn check_v2(start: &[u8; V2_FIXED]) -> Result<u16, InvalidProxyHeader> {
    let [.., command, family, high, low] = *start;
    if !matches!(command, 0x20 | 0x21) {
        return Err(InvalidProxyHeader::Command(command));
    }
    let len = u16::from_be_bytes([high, low]);
    let needed = match family {
        // The addresses of a local connection are ignored, of any family. So are those of an
        // unspecified one.
        _ if command == 0x20 => 0,
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        _ => return Err(InvalidProxyHeader::Family(family)),
    };
    if usize::from(len) > MAX_V2 || usize::from(len) < needed {
        return Err(InvalidProxyHeader::Length(len));
    }
    Ok(len)
}

/// Parses a header of version 2 whose fixed part has been checked.
fn parse_v2(header: &mut [u8]) -> Result<ProxyHeader, InvalidProxyHeader> {
    let (command, family) = (header[12], header[13]);
    let rest = &header[V2_FIXED..];
    let (parsed, tlvs) = match (command, family) {
        (0x21, 0x11) => (relayed::<4>(rest).ok_or(InvalidProxyHeader::Tlv)?, 12),
        (0x21, 0x21) => (relayed::<16>(rest).ok_or(InvalidProxyHeader::Tlv)?, 36),
        // What follows is not necessarily TLVs, and is skipped.
        _ => return Ok(ProxyHeader::Local),
    };
    check_tlvs(header, V2_FIXED + tlvs)?;
    Ok(parsed)
}

/// Parses two addresses of `N` bytes, and two ports.
fn relayed<const N: usize>(bytes: &[u8]) -> Option<ProxyHeader>
where
    [u8; N]: Into<IpAddr>,
{
    let (source, bytes) = bytes.split_first_chunk::<N>()?;
    let (destination, bytes) = bytes.split_first_chunk::<N>()?;
    let ports = bytes.first_chunk::<4>()?;
    Some(ProxyHeader::Relayed {
        source: ((*source).into(), u16::from_be_bytes([ports[0], ports[1]])).into(),
        destination: ((*destination).into(), u16::from_be_bytes([ports[2], ports[3]])).into(),
    })
}

/// Skips the TLVs that begin at an offset, and verifies the checksum if one of them contains it.
fn check_tlvs(header: &mut [u8], mut at: usize) -> Result<(), InvalidProxyHeader> {
    while at < header.len() {
        let Some(&[kind, high, low]) = header[at..].first_chunk::<3>() else {
            return Err(InvalidProxyHeader::Tlv);
        };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([high, low]));
        let bytes = header.get(value.clone()).ok_or(InvalidProxyHeader::Tlv)?;
        if kind == CRC32C {
            let sent: [u8; 4] = bytes.try_into().map_err(|_| InvalidProxyHeader::Tlv)?;
            // Section 2.2.3: computed over the whole header, with zeros in the place of itself.
            header[value.clone()].fill(0);
            if crc32c(header) != u32::from_be_bytes(sent) {
                return Err(InvalidProxyHeader::Checksum);
            }
            header[value.clone()].copy_from_slice(&sent);
        }
        at = value.end;
    }
    Ok(())
}

/// Computes the CRC32c (RFC 4960 appendix B). Headers are short, so it needs no table.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a header, and returns what is left of the input.
    fn read(input: &[u8]) -> Result<(ProxyHeader, &[u8]), Option<InvalidProxyHeader>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut rest = input;
        match runtime.block_on(ProxyHeader::read(&mut rest)) {
            Ok(header) => Ok((header, rest)),
            Err(error) => Err(error.get_ref().and_then(|error| error.downcast_ref()).copied()),
        }
    }

    fn relayed(source: &str, destination: &str) -> ProxyHeader {
        let parse = |address: &str| address.parse().expect("an address");
        ProxyHeader::Relayed { source: parse(source), destination: parse(destination) }
    }

    /// Encodes a header of version 2.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family][..], &len, rest].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 9, 0xC8, 0x22, 0x01, 0xBB];

    /// Section 2.1.
    #[test]
    fn version_1_is_read_up_to_its_crlf() {
        for (header, expected) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.9 51234 443\r\n", relayed("192.0.2.1:51234", "192.0.2.9:443")),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                relayed("255.255.255.255:65535", "255.255.255.255:65535"),
            ),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 0 1\r\n", relayed("1.1.1.1:0", "1.1.1.1:1")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", relayed("[2001:db8::1]:1", "[::1]:2")),
            ("PROXY TCP6 :: :: 1 2\r\n", relayed("[::]:1", "[::]:2")),
            ("PROXY UNKNOWN\r\n", ProxyHeader::Local),
            ("PROXY UNKNOWN anything at all\r\n", ProxyHeader::Local),
        ] {
            for rest in ["", "GET / HTTP/1.1\r\n\r\n", "\r\n", "\n"] {
                let input = format!("{header}{rest}");
                assert_eq!(read(input.as_bytes()), Ok((expected, rest.as_bytes())), "{input:?}");
            }
        }
    }

    #[test]
    fn anything_else_in_version_1_is_refused() {
        use InvalidProxyHeader::*;
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(long.len(), 108);
        for (input, error) in [
            ("GET / HTTP/1.1\r\n\r\n", Missing),
            ("PUT / HTTP/1.1\r\n\r\n", Missing),
            ("proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Missing),
            ("\r\nPROXY UNKNOWN\r\n\r\n", Missing),
            ("PROXY UNKNOWNx\r\n\r\n", Malformed),
            ("PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", Malformed),
            ("PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", Malformed),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", Malformed),
            ("PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", Malformed),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n\r\n", Malformed),
            ("PROXY UNKNOWN\n\r\n", Malformed),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", Port),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", Port),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", Port),
            ("PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n", Address),
            ("PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n", Address),
            ("PROXY TCP4 ::1 ::1 1 1\r\n", Address),
            ("PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", Address),
            ("PROXY TCP6 fe80::1%1 ::1 1 1\r\n", Address),
            ("PROXY TCP6 [::1] ::1 1 1\r\n", Address),
            (&long, TooLong),
        ] {
            assert_eq!(read(input.as_bytes()), Err(Some(error)), "{input:?}");
        }
    }

    /// Section 2.2.
    #[test]
    fn version_2_is_read_with_its_addresses_and_tlvs() {
        let v4 = relayed("192.0.2.1:51234", "192.0.2.9:443");
        let v6 = [&[0x20, 0x01, 0x0D, 0xB8][..], &[0; 11], &[1], &[0; 15], &[2], &[0, 80, 1, 187]].concat();
        let tlvs = [V4, &[0xEA, 0, 2, b'a', b'b', 0x04, 0, 0]].concat();
        for (header, expected) in [
            (v2(0x21, 0x11, V4), v4),
            (v2(0x21, 0x11, &tlvs), v4),
            (v2(0x21, 0x21, &v6), relayed("[2001:db8::1]:80", "[::2]:443")),
            (v2(0x20, 0x00, &[]), ProxyHeader::Local),
            (v2(0x20, 0x11, V4), ProxyHeader::Local),
            (v2(0x20, 0x31, &[0; 216]), ProxyHeader::Local),
            (v2(0x21, 0x00, b"skipped"), ProxyHeader::Local),
        ] {
            let input = [&header[..], b"behind"].concat();
            assert_eq!(read(&input), Ok((expected, &b"behind"[..])), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn anything_else_in_version_2_is_refused() {
        use InvalidProxyHeader::*;
        let with = |tlvs: &[u8]| v2(0x21, 0x11, &[V4, tlvs].concat());
        let mut signature = v2(0x21, 0x11, V4);
        signature[11] = b'\r';
        for (input, error) in [
            (signature, Missing),
            (v2(0x11, 0x11, V4), Command(0x11)),
            (v2(0x22, 0x11, V4), Command(0x22)),
            (v2(0x21, 0x12, V4), Family(0x12)),
            (v2(0x21, 0x31, &[0; 216]), Family(0x31)),
            (v2(0x21, 0x11, &V4[1..]), Length(11)),
            (v2(0x21, 0x21, V4), Length(12)),
            (v2(0x20, 0x00, &[0; 4097]), Length(4097)),
            (with(&[0xEA]), Tlv),
            (with(&[0xEA, 0]), Tlv),
            (with(&[0xEA, 0, 1]), Tlv),
            (with(&[CRC32C, 0, 3, 0, 0, 0]), Tlv),
            (with(&[CRC32C, 0, 4, 0, 0, 0, 0]), Checksum),
        ] {
            assert_eq!(read(&input), Err(Some(error)), "{}", input.escape_ascii());
        }
    }

    /// Section 2.2.3.
    #[test]
    fn a_checksum_is_verified() {
        // The check value of CRC-32C.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        let mut header = v2(0x21, 0x11, &[V4, &[CRC32C, 0, 4, 0, 0, 0, 0, 0x04, 0, 0]].concat());
        let checksum = crc32c(&header).to_be_bytes();
        header[31..35].copy_from_slice(&checksum);
        assert!(read(&header).is_ok());
        header[19] ^= 1;
        assert_eq!(read(&header), Err(Some(InvalidProxyHeader::Checksum)));
    }

    #[test]
    fn a_header_that_ends_early_is_an_error_of_the_stream() {
        for header in [&b"PROXY TCP4 192.0.2.1 192.0.2.9 51234 443\r\n"[..], &v2(0x21, 0x11, V4)] {
            for len in 0..header.len() {
                assert_eq!(read(&header[..len]), Err(None), "{len}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written_and_nothing_behind_it(
            source: SocketAddr,
            port: u16,
            version_2: bool,
            tlv in prop::collection::vec(any::<u8>(), 0..300),
            behind in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let source = SocketAddr::new(source.ip(), source.port());
            let destination = SocketAddr::new(source.ip(), port);
            let header = if version_2 {
                let (family, ip) = match source.ip() {
                    IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
                    IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
                };
                let len = u16::try_from(tlv.len()).expect("short").to_be_bytes();
                let ports = [source.port().to_be_bytes(), port.to_be_bytes()].concat();
                v2(0x21, family, &[&ip[..], &ip, &ports, &[0xEB], &len, &tlv].concat())
            } else {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                let ip = source.ip();
                format!("PROXY {family} {ip} {ip} {} {port}\r\n", source.port()).into_bytes()
            };
            let input = [header, behind.clone()].concat();
            prop_assert_eq!(read(&input), Ok((ProxyHeader::Relayed { source, destination }, &behind[..])));
        }

        #[test]
        fn any_input_is_read_or_refused(
            start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let input = [start, &rest].concat();
            if let Ok((_, left)) = read(&input) {
                prop_assert!(input.ends_with(left) && left.len() < input.len());
            }
        }
    }
}
