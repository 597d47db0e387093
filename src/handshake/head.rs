//! Finds the head of an HTTP/1.1 message as its bytes arrive.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::{is_credential, is_token_byte};
use crate::proto::Config;

/// The reason why the input is not an acceptable head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The first line exceeds [`max_header_size`](Config::max_header_size).
    #[error("first line exceeds {limit} bytes")]
    FirstLineTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The head exceeds [`max_header_size`](Config::max_header_size).
    #[error("head exceeds {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The number of header fields exceeds [`max_headers`](Config::max_headers).
    #[error("more than {limit} header fields")]
    TooManyFields {
        /// The limit, in header fields.
        limit: usize,
    },
    /// The input begins with a TLS record: the peer uses TLS, and this end does not.
    #[error("TLS instead of plain HTTP")]
    Tls,
    /// The first line is not the request line, or the status line, of HTTP/1.
    #[error("not HTTP/1.1")]
    NotHttp,
    /// A line ends in LF without CR.
    #[error("line feed without carriage return")]
    BareLf,
    /// A CR is not followed by LF.
    #[error("carriage return without line feed")]
    BareCr,
    /// The head contains NUL or another control byte, or begins with white space.
    #[error("control byte")]
    ControlByte,
    /// A header field continues on the next line.
    #[error("folded header field")]
    Folded,
    /// A part of the head violates the grammar of HTTP/1.1.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The HTTP version is neither 1.0 nor 1.1.
    #[error("unsupported HTTP version")]
    Version,
    /// The input ends before the head, or continues after it.
    #[error("input is not exactly one head")]
    Incomplete,
}

/// The end of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadEnd {
    /// The length of the head in bytes, including the empty line that ends it.
    pub len: usize,
    /// The number of header fields.
    pub fields: usize,
}

/// A scanner that finds the end of a head in a growing buffer.
///
/// Call [`scan`](Self::scan) after each read, with all bytes received so far. Each call continues
/// where the previous one stopped: each byte is examined once, for any size of reads.
///
/// Input that cannot become a valid head, such as another protocol, HTTP/0.9 or a field without a
/// colon, is refused at the first invalid byte, at the latest at the end of the line. The result
/// does not depend on how the input is split into reads. [`parse_request`](super::parse_request)
/// and [`parse_response`](super::parse_response) then check what is beyond the grammar of lines,
/// such as the request target.
///
/// RFC 9112 section 2.2 allows a recipient to accept a bare LF, and to skip leading empty lines.
/// This scanner does neither, because differences between two parsers make request smuggling
/// possible.
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
/// assert_eq!(buffer[end.len..], *b"\x81\x80", "not examined: the rest belongs to the connection");
/// # Ok::<(), fullduplex::handshake::Rejection>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeadScanner {
    max_bytes: usize,
    max_fields: usize,
    kind: HeadKind,
    scanned: usize,
    /// The number of complete lines.
    lines: usize,
    other_version: bool,
    state: ScanState,
}

/// The kind of message that the head belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadKind {
    Request,
    Response,
}

/// The element of the head that the next byte belongs to.
///
/// ```text
/// request:   Start ─▶ Method ─▶ TargetStart ─▶ Target ─▶ Version ─┐
/// response:  Start ─▶ Version ─▶ Status ─▶ Reason ────────────────┴▶ Cr ─▶ LineStart
/// field:     LineStart ─▶ Name ─▶ Value ─▶ Cr ─▶ LineStart
/// end:       LineStart ─▶ LastCr ─▶ End
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanState {
    Start,
    Method,
    TargetStart,
    Target,
    /// The number of bytes of the version received.
    Version(u8),
    /// The number of digits of the status received.
    Status(u8),
    Reason,
    LineStart,
    Name,
    Value,
    /// Expects the LF that ends a line.
    Cr,
    /// Expects the LF of the empty line.
    LastCr,
    End,
}

/// The version; each `0` stands for any digit.
const VERSION: &[u8; 8] = b"HTTP/0.0";
const VERSION_LEN: u8 = VERSION.len() as u8;
const STATUS_LEN: u8 = 3;

/// The first byte of a TLS record: a handshake message, or an alert (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
const TLS_ALERT: u8 = 0x15;

impl HeadScanner {
    /// Creates a scanner for the head of a request.
    ///
    /// The limits are [`max_header_size`](Config::max_header_size) and
    /// [`max_headers`](Config::max_headers).
    pub fn request(config: &Config) -> Self {
        Self::new(config, HeadKind::Request)
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
        Self::new(config, HeadKind::Response)
    }

    pub(super) fn new(config: &Config, kind: HeadKind) -> Self {
        Self {
            max_bytes: config.max_header_size,
            max_fields: config.max_headers,
            kind,
            scanned: 0,
            lines: 0,
            other_version: false,
            state: ScanState::Start,
        }
    }

    /// Examines the bytes that were added since the last call.
    ///
    /// `buffer` contains all bytes received so far.
    ///
    /// Returns the end of the head, once it is complete. The bytes after it belong to the
    /// connection.
    ///
    /// # Errors
    /// Fails if the input cannot become a valid head, or exceeds a limit. The scanner must not be
    /// used after an error.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<HeadEnd>, HeadError> {
        let within = &buffer[..buffer.len().min(self.max_bytes)];
        while self.state != ScanState::End {
            let rest = within.get(self.scanned..).unwrap_or_default();
            let plain = self.state.count_plain(rest);
            #[cfg(test)]
            EXAMINED.with(|examined| examined.set(examined.get() + rest.len().min(plain + 1)));
            let Some(&byte) = rest.get(plain) else {
                self.scanned += plain;
                break;
            };
            self.state = self.receive(byte)?;
            self.scanned += plain + 1;
        }
        if self.state != ScanState::End && buffer.len() > self.max_bytes {
            let limit = self.max_bytes;
            return Err(match self.lines {
                0 => HeadError::FirstLineTooLong { limit },
                _ => HeadError::TooLong { limit },
            });
        }
        let end = HeadEnd { len: self.scanned, fields: self.lines.saturating_sub(1) };
        Ok((self.state == ScanState::End).then_some(end))
    }

    fn receive(&mut self, byte: u8) -> Result<ScanState, HeadError> {
        match (self.state, byte) {
            (ScanState::Cr, b'\n') => {
                self.lines += 1;
                Ok(ScanState::LineStart)
            }
            (ScanState::LastCr, b'\n') => Ok(ScanState::End),
            (ScanState::Cr | ScanState::LastCr, _) => Err(HeadError::BareCr),
            (_, b'\n') => Err(HeadError::BareLf),
            (ScanState::Start, TLS_HANDSHAKE | TLS_ALERT) => Err(HeadError::Tls),
            (_, byte) if is_control(byte) && byte != b'\r' => Err(HeadError::ControlByte),
            (ScanState::LineStart | ScanState::Name | ScanState::Value, byte) => self.receive_field(byte),
            (_, byte) => self.receive_first_line(byte),
        }
    }

    /// Examines a byte of the request line or status line (RFC 9112 sections 3 and 4).
    fn receive_first_line(&mut self, byte: u8) -> Result<ScanState, HeadError> {
        match (self.state, byte) {
            (ScanState::Start, b'\r' | b' ' | b'\t') => Err(HeadError::ControlByte),
            (ScanState::Start, byte) if self.kind == HeadKind::Response => self.receive_version(0, byte),
            (ScanState::Start | ScanState::Method, byte) if is_token_byte(byte) => Ok(ScanState::Method),
            (ScanState::Method, b' ') => Ok(ScanState::TargetStart),
            (ScanState::Target, b' ') => Ok(ScanState::Version(0)),
            // HTTP/0.9 has no version, and neither has a greeting such as `HELO x`.
            (ScanState::TargetStart | ScanState::Target, b' ' | b'\t' | b'\r') => Err(HeadError::NotHttp),
            (ScanState::TargetStart | ScanState::Target, _) => Ok(ScanState::Target),
            (ScanState::Version(seen), byte) => self.receive_version(seen, byte),
            (ScanState::Status(seen), b'0'..=b'9') if seen < STATUS_LEN => Ok(ScanState::Status(seen + 1)),
            (ScanState::Status(STATUS_LEN), b' ') => Ok(ScanState::Reason),
            (ScanState::Status(STATUS_LEN) | ScanState::Reason, b'\r') => Ok(ScanState::Cr),
            (ScanState::Status(_), _) => Err(HeadError::Malformed("status")),
            (ScanState::Reason, _) => Ok(ScanState::Reason),
            _ => Err(HeadError::NotHttp),
        }
    }

    /// Examines a byte of the version (RFC 9112 section 2.3): `HTTP/`, a digit, a dot, a digit.
    fn receive_version(&mut self, seen: u8, byte: u8) -> Result<ScanState, HeadError> {
        let behind = match self.kind {
            HeadKind::Request => (b'\r', ScanState::Cr),
            HeadKind::Response => (b' ', ScanState::Status(0)),
        };
        match VERSION.get(usize::from(seen)) {
            Some(b'0') if byte.is_ascii_digit() => {
                let major = seen + 1 < VERSION_LEN;
                self.other_version |= if major { byte != b'1' } else { byte > b'1' };
                Ok(ScanState::Version(seen + 1))
            }
            Some(expected) if *expected == byte && byte != b'0' => Ok(ScanState::Version(seen + 1)),
            // Another version is reported only if the line continues as an HTTP line does.
            None if byte == behind.0 && self.other_version => Err(HeadError::Version),
            None if byte == behind.0 => Ok(behind.1),
            _ => Err(HeadError::NotHttp),
        }
    }

    /// Examines a byte of a field or of the empty line (RFC 9112 section 5).
    fn receive_field(&mut self, byte: u8) -> Result<ScanState, HeadError> {
        match (self.state, byte) {
            (ScanState::LineStart, b'\r') => Ok(ScanState::LastCr),
            // RFC 9112 section 5.2: a server rejects a folded line.
            (ScanState::LineStart, b' ' | b'\t') => Err(HeadError::Folded),
            (ScanState::LineStart, _) if self.lines > self.max_fields => {
                Err(HeadError::TooManyFields { limit: self.max_fields })
            }
            (ScanState::LineStart | ScanState::Name, byte) if is_token_byte(byte) => Ok(ScanState::Name),
            (ScanState::Name, b':') => Ok(ScanState::Value),
            (ScanState::Value, b'\r') => Ok(ScanState::Cr),
            (ScanState::Value, _) => Ok(ScanState::Value),
            // RFC 9112 section 5.1: no space before the colon. Section 5: the colon is required.
            _ => Err(HeadError::Malformed("header name")),
        }
    }

    /// Returns the number of bytes examined so far.
    pub fn scanned(&self) -> usize {
        self.scanned
    }
}

impl ScanState {
    /// Counts the leading bytes that do not change the state, which are most bytes of a head.
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

/// Counts the leading bytes that are allowed inside a line.
fn count_text(rest: &[u8]) -> usize {
    // Most bytes of a head are in values. The loop over a chunk has no early exit, and so the
    // compiler vectorizes it.
    const CHUNK: usize = 16;
    let has_control = |chunk: &&[u8]| chunk.iter().fold(false, |found, &byte| found | is_control(byte));
    let text = rest.chunks_exact(CHUNK).take_while(|chunk| !has_control(chunk)).count() * CHUNK;
    let rest = &rest[text..];
    text + rest.iter().position(|&byte| is_control(byte)).unwrap_or(rest.len())
}

/// Returns whether no line can contain this byte. A tab counts as white space.
const fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7F
}

/// Scans a buffer that must contain exactly one head.
pub(super) fn scan_whole(head: &[u8], config: &Config, kind: HeadKind) -> Result<HeadEnd, HeadError> {
    match HeadScanner::new(config, kind).scan(head)? {
        Some(end) if end.len == head.len() => Ok(end),
        _ => Err(HeadError::Incomplete),
    }
}

/// Converts an error of httparse.
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

/// Converts the header fields, in order, and marks credentials as sensitive.
pub(super) fn header_map(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let too_many = |_| HeadError::TooManyFields { limit: fields.len() };
    let mut headers = HeaderMap::try_with_capacity(fields.len()).map_err(too_many)?;
    for field in fields {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Malformed("header name"))?;
        let mut value =
            HeaderValue::from_bytes(field.value).map_err(|_| HeadError::Malformed("header value"))?;
        // Hidden in `Debug` output, which ends up in logs.
        value.set_sensitive(is_credential(&name));
        headers.try_append(name, value).map_err(too_many)?;
    }
    Ok(headers)
}

// The number of bytes that all scanners of this thread have examined.
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
    fn row_03_each_byte_is_examined_once_for_any_size_of_reads() {
        let fields = format!("A: {}\r\n\r\n", "x".repeat(8000));
        for (kind, first) in [(HeadKind::Request, FIRST), (HeadKind::Response, "HTTP/1.1 101 Go\r\n")] {
            let head = format!("{first}{fields}");
            let mut scanner = HeadScanner::new(&Config::default(), kind);
            EXAMINED.set(0);
            let mut buffer = Vec::new();
            for byte in head.bytes() {
                // Examining an earlier byte again would fail: NUL is not allowed.
                buffer.fill(b'\0');
                buffer.push(byte);
                let end = HeadEnd { len: head.len(), fields: 1 };
                assert_eq!(scanner.scan(&buffer), Ok((buffer.len() == head.len()).then_some(end)));
                assert_eq!((scanner.scanned(), EXAMINED.get()), (buffer.len(), buffer.len()));
            }
        }
    }

    #[test]
    fn bytes_after_the_head_are_not_examined() {
        let mut scanner = HeadScanner::request(&Config::default());
        let end = Ok(Some(HeadEnd { len: 18, fields: 0 }));
        assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\n\r\n\0\n"), end);
        assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\n\r\n\0\n\n"), end);
        assert_eq!(scanner.scanned(), 18);
    }

    /// Asserts that the input is refused at its last byte.
    fn assert_refused_at_the_end(
        scan: fn(&[u8]) -> Result<Option<HeadEnd>, HeadError>,
        input: &[u8],
        error: HeadError,
    ) {
        assert_eq!(scan(input), Err(error), "{}", input.escape_ascii());
        assert_eq!(scan(&input[..input.len() - 1]), Ok(None), "{}", input.escape_ascii());
    }

    #[test]
    fn an_invalid_line_is_refused_at_its_first_invalid_byte() {
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
    fn row_67_an_invalid_first_line_is_refused_at_its_first_invalid_byte() {
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
    fn row_67_an_invalid_field_is_refused_at_its_first_invalid_byte() {
        for field in [&b"A\r"[..], b":", b"A ", b"A\t", b"A(", b"\xC3", b"A\xC3"] {
            let input = [FIRST.as_bytes(), field].concat();
            assert_refused_at_the_end(scan, &input, HeadError::Malformed("header name"));
        }
    }

    #[test]
    fn a_control_byte_is_found_at_any_position() {
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
    fn a_long_first_line_is_distinguished_from_a_long_head() {
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
        fn the_result_does_not_depend_on_how_the_input_is_split(
            first in "|GET / HTTP/1.1\r\n|HTTP/1.1 200 OK\r\n|G|GET |GET /|GET / HTTP/1|HTTP/1.1 2",
            pieces in proptest::collection::vec("[AG:/ \r\n\t\0]{0,6}|\r\n|A: b\r\n|\r\n\r\n", 0..12),
            max_bytes in 0..60usize,
            max_headers in 0..4usize,
            response: bool,
        ) {
            let config = Config::new().max_header_size(max_bytes).max_headers(max_headers);
            let kind = if response { HeadKind::Response } else { HeadKind::Request };
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

    #[test]
    fn a_whole_head_is_all_of_its_buffer() {
        let scan = |head: &[u8]| scan_whole(head, &Config::default(), HeadKind::Request);
        assert_eq!(scan(b"GET / HTTP/1.1\r\n\r\n"), Ok(HeadEnd { len: 18, fields: 0 }));
        for other in [&b"GET / HTTP/1.1\r\n\r"[..], b"GET / HTTP/1.1\r\n\r\n\n"] {
            assert_eq!(scan(other), Err(HeadError::Incomplete));
        }
    }
}
