//! The head of an HTTP/1.1 message: found as its bytes arrive, then parsed once.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::{is_credential, is_token_byte};
use crate::proto::Config;

/// Why the bytes are not a head that can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The first line alone has more bytes than [`max_header_size`](Config::max_header_size).
    #[error("first line of more than {limit} bytes")]
    FirstLineTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More bytes than [`max_header_size`](Config::max_header_size).
    #[error("head of more than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More header fields than [`max_headers`](Config::max_headers).
    #[error("more than {limit} header fields")]
    TooManyFields {
        /// The limit, in header fields.
        limit: usize,
    },
    /// A TLS record in place of the first line: the peer uses TLS, and this end does not.
    #[error("TLS where plain HTTP was expected")]
    Tls,
    /// The first line is not the request line, or the status line, of HTTP/1.
    #[error("not HTTP/1.1")]
    NotHttp,
    /// A line that ends in LF alone.
    #[error("line feed without carriage return")]
    BareLf,
    /// A CR that no LF follows.
    #[error("carriage return without line feed")]
    BareCr,
    /// A NUL or another control byte, or white space in front of the first line.
    #[error("control byte")]
    ControlByte,
    /// A header field that continues on the next line.
    #[error("folded header field")]
    Folded,
    /// Not in the grammar of HTTP/1.1.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A version of HTTP other than 1.0 and 1.1.
    #[error("HTTP version not supported")]
    Version,
    /// The bytes end before the head does, or continue behind it.
    #[error("not exactly one head")]
    Incomplete,
}

/// Where a head ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadEnd {
    /// The length of the head in bytes, including the empty line that ends it.
    pub len: usize,
    /// The number of header fields.
    pub fields: usize,
}

/// Finds the end of a head in a buffer that grows.
///
/// Call [`scan`](Self::scan) after each read, with everything that was received so far. Each call continues where the
/// previous one stopped, so each byte is examined once, however small the reads are.
///
/// What can never become a head is refused at the byte that shows it, at the latest at the end of the line, however the
/// input is cut into reads: another protocol, HTTP/0.9, a field without a colon. A valid head passes
/// [`parse_request`](super::parse_request) or [`parse_response`](super::parse_response) except for what these check
/// beyond the grammar of lines, such as the request target.
///
/// RFC 9112 section 2.2 allows a recipient to accept a bare LF, and to skip empty lines in front; this scanner does
/// neither, because differences between two parsers make request smuggling possible.
///
/// ```
/// use fullduplex::{
///     Config,
///     handshake::{HeadScanner, parse_request},
/// };
///
/// let (config, mut buffer) = (Config::default(), Vec::new());
/// let mut scanner = HeadScanner::request(&config);
/// let mut reads = [&b"GET / HTTP/1.1\r\nHo"[..], b"st: a\r\n\r\n\x81\x80"].into_iter();
/// let end = loop {
///     buffer.extend_from_slice(reads.next().expect("the head is complete by now"));
///     if let Some(end) = scanner.scan(&buffer)? {
///         break end;
///     }
/// };
/// let request = parse_request(&buffer[..end.len], &config)?;
/// assert_eq!(request.headers()["host"], "a");
/// assert_eq!(buffer[end.len..], *b"\x81\x80", "not examined: it belongs to the connection");
/// # Ok::<(), fullduplex::handshake::Rejection>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeadScanner {
    max_bytes: usize,
    max_fields: usize,
    kind: Kind,
    scanned: usize,
    /// How many lines are complete.
    lines: usize,
    other_version: bool,
    at: At,
}

/// What the head is the head of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// What the next byte belongs to.
///
/// ```text
/// request:   Start ─▶ Method ─▶ TargetStart ─▶ Target ─▶ Version ─┐
/// response:  Start ─▶ Version ─▶ Status ─▶ Reason ────────────────┴▶ Cr ─▶ LineStart
/// field:     LineStart ─▶ Name ─▶ Value ─▶ Cr ─▶ LineStart
/// end:       LineStart ─▶ LastCr ─▶ End
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Method,
    TargetStart,
    Target,
    /// This many bytes of the version have come.
    Version(u8),
    /// This many digits of the status have come.
    Status(u8),
    Reason,
    LineStart,
    Name,
    Value,
    /// The LF that ends a line.
    Cr,
    /// The LF of the empty line.
    LastCr,
    End,
}

/// The version, with any digit for each `0`.
const VERSION: &[u8; 8] = b"HTTP/0.0";
const VERSION_LEN: u8 = VERSION.len() as u8;
const STATUS_LEN: u8 = 3;

/// The first byte of a TLS record: a handshake message, or an alert (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: u8 = 0x15;

impl HeadScanner {
    /// Creates a scanner for the head of a request.
    ///
    /// The limits are [`max_header_size`](Config::max_header_size) and [`max_headers`](Config::max_headers).
    pub fn request(config: &Config) -> Self {
        Self::new(config, Kind::Request)
    }

    /// Creates a scanner for the head of a response, with the same limits.
    ///
    /// ```
    /// use fullduplex::{
    ///     Config,
    ///     handshake::{HeadError, HeadScanner},
    /// };
    ///
    /// let mut scanner = HeadScanner::response(&Config::default());
    /// assert_eq!(scanner.scan(b"SSH-2.0-OpenSSH_9.6"), Err(HeadError::NotHttp));
    /// ```
    pub fn response(config: &Config) -> Self {
        Self::new(config, Kind::Response)
    }

    pub(super) fn new(config: &Config, kind: Kind) -> Self {
        Self {
            max_bytes: config.max_header_size,
            max_fields: config.max_headers,
            kind,
            scanned: 0,
            lines: 0,
            other_version: false,
            at: At::Start,
        }
    }

    /// Examines the bytes that are new since the last call; `buffer` is everything received so far.
    ///
    /// Returns where the head ends, once it is complete. What is behind it belongs to the connection.
    ///
    /// # Errors
    /// What can never become a head, or exceeds a limit. The scanner must not be used after an error.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<HeadEnd>, HeadError> {
        let within = &buffer[..buffer.len().min(self.max_bytes)];
        while self.at != At::End {
            let rest = within.get(self.scanned..).unwrap_or_default();
            let plain = self.at.count_plain(rest);
            #[cfg(test)]
            EXAMINED.with(|examined| examined.set(examined.get() + rest.len().min(plain + 1)));
            let Some(&byte) = rest.get(plain) else {
                self.scanned += plain;
                break;
            };
            self.at = self.receive(byte)?;
            self.scanned += plain + 1;
        }
        if self.at != At::End && buffer.len() > self.max_bytes {
            let limit = self.max_bytes;
            return Err(match self.lines {
                0 => HeadError::FirstLineTooLong { limit },
                _ => HeadError::TooLong { limit },
            });
        }
        let end = HeadEnd { len: self.scanned, fields: self.lines.saturating_sub(1) };
        Ok((self.at == At::End).then_some(end))
    }

    fn receive(&mut self, byte: u8) -> Result<At, HeadError> {
        match (self.at, byte) {
            (At::Cr, b'\n') => {
                self.lines += 1;
                Ok(At::LineStart)
            }
            (At::LastCr, b'\n') => Ok(At::End),
            (At::Cr | At::LastCr, _) => Err(HeadError::BareCr),
            (_, b'\n') => Err(HeadError::BareLf),
            (At::Start, TLS_HANDSHAKE | TLS_ALERT) => Err(HeadError::Tls),
            (_, byte) if is_control(byte) && byte != b'\r' => Err(HeadError::ControlByte),
            (At::LineStart | At::Name | At::Value, byte) => self.receive_field(byte),
            (_, byte) => self.receive_first_line(byte),
        }
    }

    /// RFC 9112 sections 3 and 4: the request line, or the status line.
    fn receive_first_line(&mut self, byte: u8) -> Result<At, HeadError> {
        match (self.at, byte) {
            (At::Start, b'\r' | b' ' | b'\t') => Err(HeadError::ControlByte),
            (At::Start, byte) if self.kind == Kind::Response => self.receive_version(0, byte),
            (At::Start | At::Method, byte) if is_token_byte(byte) => Ok(At::Method),
            (At::Method, b' ') => Ok(At::TargetStart),
            (At::Target, b' ') => Ok(At::Version(0)),
            // HTTP/0.9 has no version, and a greeting such as `HELO x` has none either.
            (At::TargetStart | At::Target, b' ' | b'\t' | b'\r') => Err(HeadError::NotHttp),
            (At::TargetStart | At::Target, _) => Ok(At::Target),
            (At::Version(seen), byte) => self.receive_version(seen, byte),
            (At::Status(seen), b'0'..=b'9') if seen < STATUS_LEN => Ok(At::Status(seen + 1)),
            (At::Status(STATUS_LEN), b' ') => Ok(At::Reason),
            (At::Status(STATUS_LEN) | At::Reason, b'\r') => Ok(At::Cr),
            (At::Status(_), _) => Err(HeadError::Malformed("status")),
            (At::Reason, _) => Ok(At::Reason),
            _ => Err(HeadError::NotHttp),
        }
    }

    /// RFC 9112 section 2.3: `HTTP/`, a digit, a dot, a digit.
    fn receive_version(&mut self, seen: u8, byte: u8) -> Result<At, HeadError> {
        let behind = match self.kind {
            Kind::Request => (b'\r', At::Cr),
            Kind::Response => (b' ', At::Status(0)),
        };
        match VERSION.get(usize::from(seen)) {
            Some(b'0') if byte.is_ascii_digit() => {
                let major = seen + 1 < VERSION_LEN;
                self.other_version |= if major { byte != b'1' } else { byte > b'1' };
                Ok(At::Version(seen + 1))
            }
            Some(expected) if *expected == byte && byte != b'0' => Ok(At::Version(seen + 1)),
            // The line has to go on as one of HTTP does, to be one of another version.
            None if byte == behind.0 && self.other_version => Err(HeadError::Version),
            None if byte == behind.0 => Ok(behind.1),
            _ => Err(HeadError::NotHttp),
        }
    }

    /// RFC 9112 section 5: a field, or the empty line.
    fn receive_field(&mut self, byte: u8) -> Result<At, HeadError> {
        match (self.at, byte) {
            (At::LineStart, b'\r') => Ok(At::LastCr),
            // RFC 9112 section 5.2: a server refuses a folded line.
            (At::LineStart, b' ' | b'\t') => Err(HeadError::Folded),
            (At::LineStart, _) if self.lines > self.max_fields => {
                Err(HeadError::TooManyFields { limit: self.max_fields })
            }
            (At::LineStart | At::Name, byte) if is_token_byte(byte) => Ok(At::Name),
            (At::Name, b':') => Ok(At::Value),
            (At::Value, b'\r') => Ok(At::Cr),
            (At::Value, _) => Ok(At::Value),
            // RFC 9112 section 5.1: no space before the colon; and there has to be a colon.
            _ => Err(HeadError::Malformed("header name")),
        }
    }

    /// How many bytes have been examined.
    pub fn scanned(&self) -> usize {
        self.scanned
    }
}

impl At {
    /// How many bytes at the front do not change the state: most bytes of a head.
    fn count_plain(self, rest: &[u8]) -> usize {
        let end = match self {
            Self::Method | Self::Name => rest.iter().position(|&byte| !is_token_byte(byte)),
            Self::Target => rest.iter().position(|&byte| byte <= b' ' || byte == 0x7F),
            Self::Reason | Self::Value => return count_text(rest),
            _ => return 0,
        };
        end.unwrap_or(rest.len())
    }
}

/// How many bytes at the front may be part of a line.
fn count_text(rest: &[u8]) -> usize {
    // Most of a head are values. The compiler makes a few instructions of a whole chunk, for nothing leaves its loop early.
    const CHUNK: usize = 16;
    let has_control = |chunk: &&[u8]| chunk.iter().fold(false, |found, &byte| found | is_control(byte));
    let text = rest.chunks_exact(CHUNK).take_while(|chunk| !has_control(chunk)).count() * CHUNK;
    let rest = &rest[text..];
    text + rest.iter().position(|&byte| is_control(byte)).unwrap_or(rest.len())
}

/// Whether no line may hold this byte. A tab is space, not control.
const fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7F
}

/// Scans a buffer that should be one head and nothing else.
pub(super) fn scan_whole(head: &[u8], config: &Config, kind: Kind) -> Result<HeadEnd, HeadError> {
    match HeadScanner::new(config, kind).scan(head)? {
        Some(end) if end.len == head.len() => Ok(end),
        _ => Err(HeadError::Incomplete),
    }
}

/// Why httparse does not take a head.
pub(super) fn malformed(error: httparse::Error) -> HeadError {
    use httparse::Error;
    HeadError::Malformed(match error {
        Error::HeaderName => "header name",
        Error::HeaderValue => "header value",
        Error::Status => "status",
        Error::Version => return HeadError::Version,
        _ => "first line",
    })
}

/// Returns the header fields, in order; credentials are marked as sensitive.
pub(super) fn header_map(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let too_many = |_| HeadError::TooManyFields { limit: fields.len() };
    let mut headers = HeaderMap::try_with_capacity(fields.len()).map_err(too_many)?;
    for field in fields {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Malformed("header name"))?;
        let mut value =
            HeaderValue::from_bytes(field.value).map_err(|_| HeadError::Malformed("header value"))?;
        // `Debug` output ends up in logs.
        value.set_sensitive(is_credential(&name));
        headers.try_append(name, value).map_err(too_many)?;
    }
    Ok(headers)
}

// How many bytes all scanners of this thread have looked at.
#[cfg(test)]
thread_local! {
    pub(crate) static EXAMINED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "GET / HTTP/1.1\r\n";

    fn scan(input: &[u8]) -> Result<Option<HeadEnd>, HeadError> {
        HeadScanner::request(&Config::default()).scan(input)
    }

    fn scan_response(input: &[u8]) -> Result<Option<HeadEnd>, HeadError> {
        HeadScanner::response(&Config::default()).scan(input)
    }

    #[test]
    fn row_03_each_byte_is_looked_at_once_however_small_the_reads() {
        let fields = format!("A: {}\r\n\r\n", "x".repeat(8000));
        for (kind, first) in [(Kind::Request, FIRST), (Kind::Response, "HTTP/1.1 101 Go\r\n")] {
            let head = format!("{first}{fields}");
            let mut scanner = HeadScanner::new(&Config::default(), kind);
            EXAMINED.set(0);
            let mut buffer = Vec::new();
            for byte in head.bytes() {
                // Whoever looked again at what came before would find bytes that no head has.
                buffer.fill(b'\0');
                buffer.push(byte);
                let end = HeadEnd { len: head.len(), fields: 1 };
                assert_eq!(scanner.scan(&buffer), Ok((buffer.len() == head.len()).then_some(end)));
                assert_eq!((scanner.scanned(), EXAMINED.get()), (buffer.len(), buffer.len()));
            }
        }
    }

    #[test]
    fn what_is_behind_the_head_is_not_looked_at() {
        let mut scanner = HeadScanner::request(&Config::default());
        let end = Ok(Some(HeadEnd { len: 18, fields: 0 }));
        assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\n\r\n\0\n"), end);
        assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\n\r\n\0\n\n"), end);
        assert_eq!(scanner.scanned(), 18);
    }

    /// Asserts that the last byte is what shows it.
    fn assert_refused_at_the_end(
        scan: fn(&[u8]) -> Result<Option<HeadEnd>, HeadError>,
        input: &[u8],
        error: HeadError,
    ) {
        assert_eq!(scan(input), Err(error), "{}", input.escape_ascii());
        assert_eq!(scan(&input[..input.len() - 1]), Ok(None), "{}", input.escape_ascii());
    }

    #[test]
    fn what_can_never_become_a_head_is_refused_at_the_byte_that_shows_it() {
        for (fields, error) in [
            (&b"A: b\n"[..], HeadError::BareLf),
            (b"\rA", HeadError::BareCr),
            (b"A: b\rc", HeadError::BareCr),
            (b"A: \0", HeadError::ControlByte),
            (b"A: \x7F", HeadError::ControlByte),
            (b"A: b\r\n ", HeadError::Folded),
            (b"\t", HeadError::Folded),
        ] {
            assert_refused_at_the_end(scan, &[FIRST.as_bytes(), fields].concat(), error);
        }
        for (input, error) in [
            (&b"\n"[..], HeadError::BareLf),
            (b"GET / HTTP/1.1\n", HeadError::BareLf),
            (b"GET / HTTP/1.1\r\r", HeadError::BareCr),
            (b"\r", HeadError::ControlByte),
            (b" ", HeadError::ControlByte),
            (b"\0", HeadError::ControlByte),
        ] {
            assert_refused_at_the_end(scan, input, error);
        }
    }

    #[test]
    fn row_67_a_first_line_that_is_none_is_refused_at_the_byte_that_shows_it() {
        for (input, error) in [
            (&b"\x16"[..], HeadError::Tls),
            (b"HELO x\r", HeadError::NotHttp),
            (b"EHLO\r", HeadError::NotHttp),
            (b"SSH-2.0-OpenSSH_9.6\r", HeadError::NotHttp),
            (b"GET /\r", HeadError::NotHttp),
            (b"GET  ", HeadError::NotHttp),
            (b"GET / a", HeadError::NotHttp),
            (b"GET / HTTPS", HeadError::NotHttp),
            (b"GET / HTTP/1.1 ", HeadError::NotHttp),
            (b"GET / HTTP/1.10", HeadError::NotHttp),
            (b"GET / HTTP/x", HeadError::NotHttp),
            (b"GET / HTTP/1.\r", HeadError::NotHttp),
            (b"GET /\t", HeadError::NotHttp),
            (b"G(", HeadError::NotHttp),
            (b"{", HeadError::NotHttp),
            (b"\x80", HeadError::NotHttp),
            (b"GET / HTTP/2.0\r", HeadError::Version),
            (b"GET / HTTP/0.9\r", HeadError::Version),
            (b"GET / HTTP/1.2\r", HeadError::Version),
        ] {
            assert_refused_at_the_end(scan, input, error);
        }
        for (input, error) in [
            (&b"\x15"[..], HeadError::Tls),
            (b"\x16", HeadError::Tls),
            (b"S", HeadError::NotHttp),
            (b"2", HeadError::NotHttp),
            (b"HTTP/1.1\r", HeadError::NotHttp),
            (b"HTTP/1.1 2x", HeadError::Malformed("status")),
            (b"HTTP/1.1 20 ", HeadError::Malformed("status")),
            (b"HTTP/1.1 2000", HeadError::Malformed("status")),
            (b"HTTP/2.0 ", HeadError::Version),
        ] {
            assert_refused_at_the_end(scan_response, input, error);
        }
    }

    #[test]
    fn row_67_a_field_that_is_none_is_refused_at_the_byte_that_shows_it() {
        for field in [&b"A\r"[..], b":", b"A ", b"A\t", b"A(", b"\xC3", b"A\xC3"] {
            let input = [FIRST.as_bytes(), field].concat();
            assert_refused_at_the_end(scan, &input, HeadError::Malformed("header name"));
        }
    }

    #[test]
    fn a_control_byte_is_found_wherever_it_stands() {
        for len in 0..50 {
            let text = vec![b'x'; len];
            assert_eq!(count_text(&text), len);
            for at in 0..len {
                for byte in [0, 0x1F, b'\r', 0x7F] {
                    let mut text = text.clone();
                    text[at] = byte;
                    assert_eq!(count_text(&text), at);
                }
                for byte in [b'\t', b' ', b'~', 0x80, 0xFF] {
                    let mut text = text.clone();
                    text[at] = byte;
                    assert_eq!(count_text(&text), len);
                }
            }
        }
    }

    #[test]
    fn limits_are_inclusive() {
        let head = b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n";
        let exact = Config::new().max_header_size(head.len()).max_headers(2);
        assert!(matches!(HeadScanner::request(&exact).scan(head), Ok(Some(_))));
        let limit = head.len() - 1;
        let short = exact.clone().max_header_size(limit);
        assert_eq!(HeadScanner::request(&short).scan(head), Err(HeadError::TooLong { limit }));
        let few = exact.max_headers(1);
        assert_eq!(HeadScanner::request(&few).scan(head), Err(HeadError::TooManyFields { limit: 1 }));
    }

    #[test]
    fn a_first_line_that_is_too_long_is_told_from_a_head_that_is() {
        for limit in 0..FIRST.len() {
            let mut scanner = HeadScanner::request(&Config::new().max_header_size(limit));
            assert_eq!(scanner.scan(FIRST.as_bytes()), Err(HeadError::FirstLineTooLong { limit }));
        }
        let limit = FIRST.len();
        let mut scanner = HeadScanner::request(&Config::new().max_header_size(limit));
        assert_eq!(scanner.scan(FIRST.as_bytes()), Ok(None));
        assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\n\r"), Err(HeadError::TooLong { limit }));
    }

    proptest::proptest! {
        #[test]
        fn however_the_input_is_cut_the_result_is_the_same(
            first in "|GET / HTTP/1.1\r\n|HTTP/1.1 200 OK\r\n|G|GET |GET /|GET / HTTP/1|HTTP/1.1 2",
            pieces in proptest::collection::vec("[AG:/ \r\n\t\0]{0,6}|\r\n|A: b\r\n|\r\n\r\n", 0..12),
            max_bytes in 0..60usize,
            max_headers in 0..4usize,
            response: bool,
        ) {
            let config = Config::new().max_header_size(max_bytes).max_headers(max_headers);
            let kind = if response { Kind::Response } else { Kind::Request };
            let input = first + &pieces.concat();
            let whole = HeadScanner::new(&config, kind).scan(input.as_bytes());
            let (mut scanner, mut cut) = (HeadScanner::new(&config, kind), Ok(None));
            for end in 0..=input.len() {
                cut = scanner.scan(&input.as_bytes()[..end]);
                if cut != Ok(None) {
                    break;
                }
            }
            proptest::prop_assert_eq!(cut, whole);
        }
    }
}
