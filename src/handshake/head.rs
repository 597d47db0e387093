//! The head of an HTTP/1.1 message: found as its bytes arrive, then parsed once.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::headers::is_credential;
use crate::proto::Config;

/// Why the bytes are no head that can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// More bytes than [`max_header_bytes`](Config::max_header_bytes).
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
    /// A line that ends in LF alone.
    #[error("line feed without carriage return")]
    BareLf,
    /// A CR that no LF follows.
    #[error("carriage return without line feed")]
    BareCr,
    /// A NUL or another control byte, or anything but text where the first line should begin.
    #[error("control byte")]
    ControlByte,
    /// A header field that goes on in the next line.
    #[error("folded header field")]
    Folded,
    /// No head in the grammar of HTTP/1.1.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A version of HTTP other than 1.0 and 1.1.
    #[error("HTTP version not supported")]
    Version,
    /// The bytes end before the head does, or go on behind it.
    #[error("not exactly one head")]
    Incomplete,
}

/// Where a head ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadEnd {
    /// How many bytes the head has, with the empty line that ends it.
    pub len: usize,
    /// How many header fields it has.
    pub fields: usize,
}

/// Looks for the end of a head in a buffer that grows.
///
/// Each call goes on where the one before stopped: however small the reads, each byte is looked at once. What can
/// never become a head is refused at the byte that shows it, wherever the reads were cut.
///
/// RFC 9112 section 2.2 lets a recipient take a bare LF, or skip empty lines in front; this one does neither, for what
/// two parsers read differently is how requests are smuggled.
///
/// ```
/// use fullduplex::{Config, handshake::HeadScanner};
///
/// let mut scanner = HeadScanner::new(&Config::default());
/// assert_eq!(scanner.scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r"), Ok(None));
/// let end = scanner.scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\x81\x80")?.expect("the empty line is there");
/// assert_eq!((end.len, end.fields), (27, 1));
/// # Ok::<(), fullduplex::handshake::HeadError>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeadScanner {
    max_bytes: usize,
    max_fields: usize,
    scanned: usize,
    lines: usize,
    at: At,
}

/// What the scanner has just seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    InLine,
    /// The CR that ends a line.
    Cr,
    /// The CR of the empty line.
    LastCr,
    End,
}

impl HeadScanner {
    /// A scanner with the limits [`max_header_bytes`](Config::max_header_bytes) and
    /// [`max_headers`](Config::max_headers).
    pub fn new(config: &Config) -> Self {
        Self {
            max_bytes: config.max_header_bytes,
            max_fields: config.max_headers,
            scanned: 0,
            lines: 0,
            at: At::LineStart,
        }
    }

    /// Looks at the bytes that are new since the last call; `buffer` is everything received so far.
    ///
    /// `Some` is where the head ends; what is behind it belongs to the connection.
    ///
    /// # Errors
    /// What is no head, or a limit. There is no going on after one.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<HeadEnd>, HeadError> {
        let within = &buffer[..buffer.len().min(self.max_bytes)];
        while self.at != At::End {
            let rest = within.get(self.scanned..).unwrap_or_default();
            // Most bytes are text inside a line, and change nothing.
            let text = match self.at {
                At::InLine => rest.iter().position(|&byte| is_control(byte)).unwrap_or(rest.len()),
                _ => 0,
            };
            #[cfg(test)]
            EXAMINED.with(|examined| examined.set(examined.get() + rest.len().min(text + 1)));
            let Some(&byte) = rest.get(text) else {
                self.scanned += text;
                break;
            };
            self.at = self.receive(byte)?;
            self.scanned += text + 1;
        }
        if self.at != At::End && buffer.len() > self.max_bytes {
            return Err(HeadError::TooLong { limit: self.max_bytes });
        }
        let end = HeadEnd { len: self.scanned, fields: self.lines.saturating_sub(1) };
        Ok((self.at == At::End).then_some(end))
    }

    fn receive(&mut self, byte: u8) -> Result<At, HeadError> {
        match (self.at, byte) {
            (At::Cr, b'\n') => Ok(At::LineStart),
            (At::LastCr, b'\n') => Ok(At::End),
            (At::Cr | At::LastCr, _) => Err(HeadError::BareCr),
            (_, b'\n') => Err(HeadError::BareLf),
            (At::LineStart, b'\r') if self.lines > 0 => Ok(At::LastCr),
            (At::InLine, b'\r') => Ok(At::Cr),
            (_, byte) if is_control(byte) => Err(HeadError::ControlByte),
            (At::LineStart, b' ' | b'\t') if self.lines == 0 => Err(HeadError::ControlByte),
            // RFC 9112 section 5.2: a server refuses a folded line.
            (At::LineStart, b' ' | b'\t') => Err(HeadError::Folded),
            (At::LineStart, _) if self.lines > self.max_fields => {
                Err(HeadError::TooManyFields { limit: self.max_fields })
            }
            (At::LineStart, _) => {
                self.lines += 1;
                Ok(At::InLine)
            }
            (_, _) => Ok(At::InLine),
        }
    }

    /// How many bytes have been looked at.
    pub fn scanned(&self) -> usize {
        self.scanned
    }
}

/// Whether no line may hold this byte. A tab is space, not control.
const fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7F
}

/// Scans a buffer that should be one head and nothing else.
pub(super) fn scan_whole(head: &[u8], config: &Config) -> Result<HeadEnd, HeadError> {
    match HeadScanner::new(config).scan(head)? {
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
        _ => "first line",
    })
}

/// The header fields, in order; credentials are marked as sensitive.
pub(super) fn header_map(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, HeadError> {
    let too_many = |_| HeadError::TooManyFields { limit: fields.len() };
    let mut headers = HeaderMap::try_with_capacity(fields.len()).map_err(too_many)?;
    for field in fields {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Malformed("header name"))?;
        let mut value =
            HeaderValue::from_bytes(field.value).map_err(|_| HeadError::Malformed("header value"))?;
        // Not to be shown by `Debug`, where it would end up in a log.
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

    fn scan(input: &[u8]) -> Result<Option<HeadEnd>, HeadError> {
        HeadScanner::new(&Config::default()).scan(input)
    }

    #[test]
    fn row_03_each_byte_is_looked_at_once_however_small_the_reads() {
        let head = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(8000));
        let mut scanner = HeadScanner::new(&Config::default());
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

    #[test]
    fn what_is_behind_the_head_is_not_looked_at() {
        let mut scanner = HeadScanner::new(&Config::default());
        let end = Ok(Some(HeadEnd { len: 5, fields: 0 }));
        assert_eq!(scanner.scan(b"X\r\n\r\n\0\n"), end);
        assert_eq!(scanner.scan(b"X\r\n\r\n\0\n\n"), end);
        assert_eq!(scanner.scanned(), 5);
    }

    #[test]
    fn what_can_never_become_a_head_is_refused_at_the_byte_that_shows_it() {
        for (input, error) in [
            (&b"\n"[..], HeadError::BareLf),
            (b"GET / HTTP/1.1\n", HeadError::BareLf),
            (b"X\r\nA: b\n", HeadError::BareLf),
            (b"X\r\r", HeadError::BareCr),
            (b"X\r\n\rA", HeadError::BareCr),
            (b"X\r\nA: b\rc", HeadError::BareCr),
            (b"X\r\nA: \0", HeadError::ControlByte),
            (b"X\r\nA: \x7F", HeadError::ControlByte),
            (b"\r", HeadError::ControlByte),
            (b" ", HeadError::ControlByte),
            (b"\x16", HeadError::ControlByte),
            (b"X\r\nA: b\r\n ", HeadError::Folded),
            (b"X\r\n\t", HeadError::Folded),
        ] {
            assert_eq!(scan(input), Err(error), "{}", input.escape_ascii());
            assert_eq!(scan(&input[..input.len() - 1]), Ok(None), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn limits_are_inclusive() {
        let head = b"X\r\nA: 1\r\nB: 2\r\n\r\n";
        let exact = Config::new().max_header_bytes(head.len()).max_headers(2);
        assert!(matches!(HeadScanner::new(&exact).scan(head), Ok(Some(_))));
        let short = exact.clone().max_header_bytes(head.len() - 1);
        assert_eq!(HeadScanner::new(&short).scan(head), Err(HeadError::TooLong { limit: head.len() - 1 }));
        let few = exact.max_headers(1);
        assert_eq!(HeadScanner::new(&few).scan(head), Err(HeadError::TooManyFields { limit: 1 }));
    }

    proptest::proptest! {
        #[test]
        fn however_the_input_is_cut_the_result_is_the_same(
            pieces in proptest::collection::vec("[AG:/ \r\n\t\0]{0,6}|\r\n|A: b\r\n|\r\n\r\n", 0..12),
            max_bytes in 0..40usize,
            max_headers in 0..4usize,
        ) {
            let config = Config::new().max_header_bytes(max_bytes).max_headers(max_headers);
            let whole = HeadScanner::new(&config).scan(pieces.concat().as_bytes());
            let (mut scanner, mut buffer, mut cut) = (HeadScanner::new(&config), Vec::new(), Ok(None));
            for piece in &pieces {
                buffer.extend_from_slice(piece.as_bytes());
                cut = scanner.scan(&buffer);
                if cut != Ok(None) {
                    break;
                }
            }
            proptest::prop_assert_eq!(cut, whole);
        }
    }
}
