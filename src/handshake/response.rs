//! Parses the head of a response and the body of a refusal.

use std::fmt;

use bytes::Bytes;
use http::{Response, StatusCode, Version, header, response::Parts};

use super::{
    head::{HeadEnd, HeadError, HeadKind, header_map, malformed, scan_whole},
    headers::{Single, has_token, single},
};
use crate::proto::Config;

/// The reason why a response does not open a WebSocket connection.
///
/// The server refused, or sent an invalid response. RFC 6455 section 4.1: the client fails the
/// connection.
///
/// Neither `Display` nor `Debug` shows the body of a response, or the value of a field with
/// credentials.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The server answered with another status than 101.
    ///
    /// Contains the response, with the first 16 KiB of its body.
    #[error("server answered with status {} instead of 101", .0.status())]
    Status(Box<Response<Bytes>>),
    /// The server redirects, and the client does not follow.
    ///
    /// Contains the response, like [`Status`](Self::Status), and the reason.
    #[error("redirect not followed: {1}")]
    Redirect(Box<Response<Bytes>>, RedirectFault),
    /// The input is not the head of an HTTP/1.1 response, or exceeds a limit.
    #[error("invalid response")]
    Head(#[from] HeadError),
    /// The server sent too many interim responses (1xx).
    #[error("invalid response: too many interim responses")]
    TooManyInterim,
    /// `Upgrade` is missing, duplicate, or not `websocket`.
    #[error("invalid response: Upgrade is not websocket")]
    Upgrade,
    /// `Connection` is missing, or does not contain `Upgrade`.
    #[error("invalid response: Connection does not contain Upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` is missing, duplicate, or does not match the key of the request.
    #[error("invalid response: Sec-WebSocket-Accept is {0}")]
    Accept(Fault),
    /// `Sec-WebSocket-Protocol` is duplicate, or was not offered.
    #[error("invalid response: Sec-WebSocket-Protocol is {0}")]
    Subprotocol(Fault),
    /// `Sec-WebSocket-Extensions` is malformed, duplicate, or does not match the offer.
    #[error("invalid response: Sec-WebSocket-Extensions is {0}")]
    Extension(Fault),
    /// The server does not accept WebSocket connections over HTTP/2 (RFC 8441 section 3).
    #[error("server does not accept WebSocket over HTTP/2")]
    Http2,
}

impl ResponseError {
    /// Returns the response of a server that refused or redirects, from [`Status`](Self::Status)
    /// and [`Redirect`](Self::Redirect).
    pub fn response(&self) -> Option<&Response<Bytes>> {
        match self {
            Self::Status(response) | Self::Redirect(response, _) => Some(response),
            _ => None,
        }
    }
}

impl fmt::Debug for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(response) => debug_response(&mut f.debug_struct("Status"), response).finish(),
            Self::Redirect(response, fault) => {
                debug_response(&mut f.debug_struct("Redirect"), response).field("fault", fault).finish()
            }
            Self::Head(error) => f.debug_tuple("Head").field(error).finish(),
            Self::TooManyInterim => f.write_str("TooManyInterim"),
            Self::Upgrade => f.write_str("Upgrade"),
            Self::Connection => f.write_str("Connection"),
            Self::Accept(fault) => f.debug_tuple("Accept").field(fault).finish(),
            Self::Subprotocol(fault) => f.debug_tuple("Subprotocol").field(fault).finish(),
            Self::Extension(fault) => f.debug_tuple("Extension").field(fault).finish(),
            Self::Http2 => f.write_str("Http2"),
        }
    }
}

fn debug_response<'a, 'b, 'c>(
    f: &'a mut fmt::DebugStruct<'b, 'c>,
    response: &Response<Bytes>,
) -> &'a mut fmt::DebugStruct<'b, 'c> {
    f.field("status", &response.status())
        .field("headers", response.headers())
        .field("body", &format_args!("[{} bytes]", response.body().len()))
}

/// The reason why a client does not follow a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectFault {
    /// There were more redirects than the client follows.
    #[error("too many redirects")]
    TooMany,
    /// The server redirects from `wss` to `ws`, which would end the encryption.
    #[error("it leads from wss to ws")]
    Downgrade,
    /// `Location` is missing, duplicate, or not a valid target.
    #[error("missing or invalid Location")]
    Location,
}

/// A fault of a header field in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The field is missing.
    Missing,
    /// The field, or a parameter in it, occurs more than once.
    Duplicate,
    /// The value violates the grammar of the field.
    Malformed,
    /// The value does not match the request.
    Wrong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Duplicate => "duplicate",
            Self::Malformed => "malformed",
            Self::Wrong => "not what was requested",
        })
    }
}

/// Parses the head of a response.
///
/// The input ends with the empty line; bytes after it are an error.
///
/// [`Client::verify`](super::Client::verify) checks whether the response opens a WebSocket
/// connection.
///
/// # Errors
/// Fails if the input is not the head of an HTTP/1 response, or exceeds a limit of `config`.
///
/// ```
/// use fullduplex::{Config, handshake::parse_response};
///
/// let response = parse_response(b"HTTP/1.1 403 Forbidden\r\nServer: a\r\n\r\n", &Config::default())?;
/// assert_eq!(response.status(), 403);
/// # Ok::<(), fullduplex::handshake::HeadError>(())
/// ```
pub fn parse_response(head: &[u8], config: &Config) -> Result<Response<()>, HeadError> {
    let end = scan_whole(head, config, HeadKind::Response)?;
    parse_scanned(head, end)
}

/// Parses a head that a [`HeadScanner`](super::HeadScanner) has accepted.
pub(crate) fn parse_scanned(head: &[u8], end: HeadEnd) -> Result<Response<()>, HeadError> {
    let mut fields = vec![httparse::EMPTY_HEADER; end.fields];
    let mut parsed = httparse::Response::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(HeadError::Incomplete),
        Err(error) => return Err(malformed(error)),
    }
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| HeadError::Malformed("status"))?;
    *response.version_mut() = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    *response.headers_mut() = header_map(parsed.headers)?;
    // RFC 9110 section 7.8: HTTP/1.0 has no upgrade.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && parsed.version != Some(1) {
        return Err(HeadError::Version);
    }
    Ok(response)
}

/// The maximum number of bytes kept of the body of a refusal.
pub const MAX_BODY: usize = 16 << 10;

/// The maximum length of a line with a chunk size, in bytes.
const MAX_CHUNK_LINE: usize = 256;

/// A reader for the body of a refusal, which keeps at most [`MAX_BODY`] bytes.
///
/// An invalid body ends early, without an error: the response is reported with what was read.
///
/// ```
/// use fullduplex::handshake::BodyReader;
/// use http::Response;
///
/// let (response, ()) = Response::builder().status(403).header("content-length", 3).body(())?.into_parts();
/// let mut body = BodyReader::new(&response);
/// body.receive(b"no");
/// assert!(!body.is_done());
/// body.receive(b"!\n");
/// assert!(body.is_done());
/// assert_eq!(body.into_body(), "no!");
/// # Ok::<(), http::Error>(())
/// ```
pub struct BodyReader {
    framing: Framing,
    body: Vec<u8>,
    line: Vec<u8>,
}

/// Redacted: prints only the length of the body.
impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyReader")
            .field("framing", &self.framing)
            .field("body", &format_args!("[{} bytes]", self.body.len()))
            .finish_non_exhaustive()
    }
}

/// How the body is delimited, and the position in it (RFC 9112 section 6.3).
#[derive(Debug)]
enum Framing {
    Length(u64),
    UntilEof,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Done,
}

impl BodyReader {
    /// Creates a reader for the body of this response.
    pub fn new(response: &Parts) -> Self {
        let headers = &response.headers;
        let framing = match single(headers, &header::CONTENT_LENGTH) {
            _ if response.status.is_informational()
                || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) =>
            {
                Framing::Done
            }
            _ if has_token(headers, &header::TRANSFER_ENCODING, "chunked") => Framing::ChunkSize,
            Single::Once(length) => match str::from_utf8(length).ok().and_then(|text| text.parse().ok()) {
                Some(0) => Framing::Done,
                Some(length) => Framing::Length(length),
                None => Framing::UntilEof,
            },
            Single::Missing | Single::Duplicate => Framing::UntilEof,
        };
        Self { framing, body: Vec::new(), line: Vec::new() }
    }

    /// Receives bytes of the body.
    pub fn receive(&mut self, mut input: &[u8]) {
        while !input.is_empty() && !self.is_done() {
            let used = match self.framing {
                Framing::Length(left) => self.take(left, input),
                Framing::UntilEof => self.take(u64::MAX, input),
                Framing::Chunk(left) => self.take(left, input),
                Framing::ChunkSize => self.take_chunk_size(input),
                Framing::ChunkEnd => self.take_chunk_end(input),
                Framing::Done => 0,
            };
            input = input.get(used..).unwrap_or_default();
        }
    }

    fn take(&mut self, left: u64, input: &[u8]) -> usize {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(MAX_BODY - self.body.len());
        let taken = wanted.min(input.len());
        self.body.extend_from_slice(&input[..taken]);
        let left = left - taken as u64;
        self.framing = match self.framing {
            _ if self.body.len() == MAX_BODY => Framing::Done,
            Framing::Length(_) if left > 0 => Framing::Length(left),
            Framing::Chunk(_) if left > 0 => Framing::Chunk(left),
            Framing::Chunk(_) => Framing::ChunkEnd,
            Framing::UntilEof => Framing::UntilEof,
            _ => Framing::Done,
        };
        taken
    }

    /// Searches only the new bytes for the end of the line: each byte is examined once.
    fn take_chunk_size(&mut self, input: &[u8]) -> usize {
        let end = input.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(input.len(), |end| end + 1);
        if self.line.len() + used > MAX_CHUNK_LINE {
            self.framing = Framing::Done;
            return used;
        }
        self.line.extend_from_slice(&input[..used]);
        if end.is_some() {
            self.framing = match httparse::parse_chunk_size(&self.line) {
                Ok(httparse::Status::Complete((_, size))) if size > 0 => Framing::Chunk(size),
                _ => Framing::Done,
            };
            self.line.clear();
        }
        used
    }

    fn take_chunk_end(&mut self, input: &[u8]) -> usize {
        self.framing = match input.first() {
            Some(b'\r') => Framing::ChunkEnd,
            Some(b'\n') => Framing::ChunkSize,
            _ => Framing::Done,
        };
        1
    }

    /// Returns whether the body is complete, invalid, or at its limit.
    pub fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    /// Returns the part of the body that was read.
    pub fn into_body(self) -> Bytes {
        self.body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(status: u16, fields: &[(&'static str, &'static str)]) -> Parts {
        let builder = Response::builder().status(status);
        let builder = fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).expect("valid").into_parts().0
    }

    fn read(fields: &[(&'static str, &'static str)], input: &[u8], cut: usize) -> (Bytes, bool) {
        let mut reader = BodyReader::new(&parts(200, fields));
        input.chunks(cut).for_each(|piece| reader.receive(piece));
        let done = reader.is_done();
        (reader.into_body(), done)
    }

    fn assert_body(fields: &[(&'static str, &'static str)], input: &[u8], body: &[u8], done: bool) {
        for cut in 1..=input.len().min(40) {
            assert_eq!(read(fields, input, cut), (body.to_vec().into(), done), "cut {cut}");
        }
    }

    #[test]
    fn a_body_with_a_length_ends_at_its_length() {
        assert_body(&[("content-length", "3")], b"abcdef", b"abc", true);
        assert_body(&[("content-length", "3")], b"ab", b"ab", false);
        assert_body(&[("content-length", "0")], b"ab", b"", true);
    }

    #[test]
    fn a_chunked_body_ends_with_the_empty_chunk() {
        let chunked = [("transfer-encoding", "chunked"), ("content-length", "1")];
        assert_body(&chunked, b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nmore", b"abc0123456789", true);
        assert_body(&chunked, b"3\r\nabc\r\n2\r\na", b"abca", false);
        assert_body(&chunked, b"3\r\nabcX", b"abc", true);
        assert_body(&chunked, b"x\r\nabc", b"", true);
        assert_body(&chunked, &[b'1'; 1000], b"", true);
    }

    #[test]
    fn a_body_is_kept_up_to_the_limit() {
        for fields in [&[][..], &[("content-length", "18446744073709551615")], &[("content-length", "-1")]] {
            assert_eq!(read(fields, &[b'x'; 20_000], 7), (vec![b'x'; MAX_BODY].into(), true));
        }
        let chunk = [b"FFFFFFFFFFFFFFFF\r\n", &[b'x'; 20_000][..]].concat();
        assert_eq!(read(&[("transfer-encoding", "chunked")], &chunk, 7), (vec![b'x'; MAX_BODY].into(), true));
    }

    #[test]
    fn row_66_debug_output_of_a_body_reader_shows_only_the_length() {
        let chunked = [("transfer-encoding", "chunked")];
        for (fields, input) in
            [(&[][..], &b"secret"[..]), (&chunked, b"6\r\nsecret\r\n1;secret"), (&chunked, b"1;secret")]
        {
            let mut reader = BodyReader::new(&parts(403, fields));
            reader.receive(input);
            let shown = format!("{reader:?}");
            // As the Debug output of a byte slice, and as text.
            assert!(!shown.contains("115, 101") && !shown.contains("secret"), "{shown}");
            assert!(shown.contains(&format!("[{} bytes]", reader.into_body().len())), "{shown}");
        }
    }

    #[test]
    fn a_status_without_content_has_no_body() {
        for status in [101, 204, 304] {
            assert!(BodyReader::new(&parts(status, &[])).is_done(), "{status}");
        }
    }

    #[test]
    fn only_the_head_of_an_http_1_response_is_parsed() {
        let status = |head: &[u8]| parse_response(head, &Config::default()).map(|response| response.status());
        assert_eq!(status(b"HTTP/1.1 101\r\n\r\n"), Ok(StatusCode::SWITCHING_PROTOCOLS));
        assert_eq!(status(b"HTTP/1.0 404 Not Found\r\n\r\n"), Ok(StatusCode::NOT_FOUND));
        assert_eq!(status(b"HTTP/1.0 101 Nope\r\n\r\n"), Err(HeadError::Version));
        assert_eq!(status(b"HTTP/2.0 200 OK\r\n\r\n"), Err(HeadError::Version));
        assert_eq!(status(b"HTTP/1.1 000 Zero\r\n\r\n"), Err(HeadError::Malformed("status")));
        assert_eq!(status(b"HTTP/1.1 20 OK\r\n\r\n"), Err(HeadError::Malformed("status")));
        assert_eq!(status(b"SSH-2.0-OpenSSH\r\n\r\n"), Err(HeadError::NotHttp));
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n\r\nbody"), Err(HeadError::Incomplete));
    }
}
