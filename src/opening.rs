//! Reads heads and writes responses during the opening handshake, for both ends.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use crate::{
    Config,
    error::{Error, Timeout},
    handshake::{
        BodyReader, HeadEnd, HeadError, HeadScanner, ResponseError,
        encode::{ContentMode, encode_final},
        response,
    },
};

/// The initial size of the read buffer. Most heads are smaller; a larger head grows the buffer.
const READ_SIZE: usize = 2 << 10;

/// The largest number of interim responses (1xx) before the final one.
const MAX_INTERIM: usize = 8;

/// Limits for draining the input of a rejected peer.
const DRAIN_BYTES: usize = 64 << 10;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A deadline, and the error to report after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    timeout: Timeout,
}

impl Deadline {
    /// Starts the deadline of the opening handshake.
    pub(crate) fn handshake(config: &Config) -> Self {
        Self::after(config.handshake_timeout, Timeout::Handshake)
    }

    /// Starts a deadline; `None` disables it.
    pub(crate) fn after(limit: Option<Duration>, timeout: Timeout) -> Self {
        // A deadline that the clock cannot represent never passes.
        Self { at: limit.and_then(|limit| Instant::now().checked_add(limit)), timeout }
    }

    /// Runs a future until the deadline, then drops it and fails.
    pub(crate) async fn run<T>(self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.at {
            None => work.await,
            Some(at) => timeout_at(at, work).await.unwrap_or(Err(Error::Timeout(self.timeout))),
        }
    }
}

/// Reads heads, and keeps the bytes that follow them.
#[derive(Debug)]
pub(crate) struct HeadReader {
    buffer: BytesMut,
}

impl HeadReader {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::with_capacity(READ_SIZE) }
    }

    /// Reads until a head is complete, and leaves it in the buffer.
    ///
    /// Returns where the head ends, or why the input is not a head.
    pub(crate) async fn find<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        mut scanner: HeadScanner,
    ) -> io::Result<Result<HeadEnd, HeadError>> {
        loop {
            match scanner.scan(&self.buffer) {
                Ok(Some(end)) => return Ok(Ok(end)),
                Ok(None) => self.fill(io).await?,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Reads until a head is complete, and removes it from the buffer.
    pub(crate) async fn read<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        scanner: HeadScanner,
    ) -> io::Result<Result<(BytesMut, HeadEnd), HeadError>> {
        let end = self.find(io, scanner).await?;
        Ok(end.map(|end| (self.buffer.split_to(end.len), end)))
    }

    /// Reads once. The end of the transport is an error because a head is incomplete.
    async fn fill<S: AsyncRead + Unpin>(&mut self, io: &mut S) -> io::Result<()> {
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(READ_SIZE);
        }
        match io.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "peer closed the connection during the opening handshake",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the content of the buffer without copying it.
    pub(crate) fn into_received(self) -> Bytes {
        self.buffer.freeze()
    }

    /// Returns the bytes after the heads as a copy.
    ///
    /// The copy does not keep the read buffer alive for as long as the connection.
    pub(crate) fn into_unread(self) -> Bytes {
        Bytes::copy_from_slice(&self.buffer)
    }
}

/// The reason why there is no final response.
#[derive(Debug)]
pub(crate) enum NoResponse {
    Transport(io::Error),
    Head(HeadError),
    TooManyInterim,
}

impl From<NoResponse> for Error {
    fn from(error: NoResponse) -> Self {
        match error {
            NoResponse::Transport(error) => error.into(),
            NoResponse::Head(error) => ResponseError::Head(error).into(),
            NoResponse::TooManyInterim => ResponseError::TooManyInterim.into(),
        }
    }
}

/// Reads the final response.
///
/// RFC 9110 section 15.2: interim responses (1xx) may precede it. A 101 is final: it switches the
/// protocol.
pub(crate) async fn read_response<S: AsyncRead + Unpin>(
    io: &mut S,
    reader: &mut HeadReader,
    config: &Config,
) -> Result<Response<()>, NoResponse> {
    for _ in 0..=MAX_INTERIM {
        let head = reader.read(io, HeadScanner::response(config)).await.map_err(NoResponse::Transport)?;
        let response = head.and_then(|(head, end)| response::parse_scanned(&head, end));
        let response = response.map_err(NoResponse::Head)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS || !response.status().is_informational() {
            return Ok(response);
        }
    }
    Err(NoResponse::TooManyInterim)
}

/// Reads the body of a refusal until the deadline.
///
/// Errors are ignored: the response is reported with the part of the body that was read.
pub(crate) async fn read_refusal<S: AsyncRead + Unpin>(
    response: Response<()>,
    io: &mut S,
    reader: HeadReader,
    deadline: Deadline,
) -> Response<Bytes> {
    let (parts, ()) = response.into_parts();
    let mut body = BodyReader::new(&parts);
    body.receive(&reader.into_unread());
    let rest = async {
        let mut scratch = [0; 1024];
        while !body.is_done() {
            match io.read(&mut scratch).await? {
                0 => break,
                read => body.receive(&scratch[..read]),
            }
        }
        Ok(())
    };
    let _ = deadline.run(rest).await;
    Response::from_parts(parts, body.into_body())
}

/// Writes all bytes, and flushes the transport.
pub(crate) async fn write<S: AsyncWrite + Unpin>(io: &mut S, bytes: &[u8]) -> Result<(), Error> {
    io.write_all(bytes).await?;
    io.flush().await?;
    Ok(())
}

/// Writes the last response, shuts the write side down, and drains the input.
///
/// RFC 9112 section 9.6: dropping a socket that has unread input resets the connection, which can
/// discard the response before the peer has read it.
pub(crate) async fn write_last<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    response: &[u8],
    deadline: Deadline,
) -> Result<(), Error> {
    let shut_down = async {
        write(io, response).await?;
        Ok(io.shutdown().await?)
    };
    deadline.run(shut_down).await?;
    let brief = Deadline::after(Some(DRAIN_TIMEOUT), Timeout::Handshake);
    // The response is written: an error while draining changes nothing for the caller.
    let _ = deadline.run(brief.run(drain(io))).await;
    Ok(())
}

/// Encodes the last response of a connection, and adds `Date` if it is missing.
pub(crate) fn encode_last(mut response: Response<Bytes>, content: ContentMode) -> Vec<u8> {
    // RFC 9110 section 6.6.1: an origin server with a clock sends the date with each final
    // response.
    if let header::Entry::Vacant(entry) = response.headers_mut().entry(header::DATE)
        && let Some(date) = date(SystemTime::now())
    {
        entry.insert(date);
    }
    encode_final(response, content)
}

/// Returns the value of `Date`.
///
/// `None` if the clock is before 1970 or after 9999, which `Date` cannot express.
fn date(now: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: u64 = 253_402_300_800;
    let since_1970 = now.duration_since(UNIX_EPOCH).ok()?;
    if since_1970.as_secs() >= YEAR_10000 {
        return None;
    }
    HeaderValue::try_from(httpdate::fmt_http_date(now)).ok()
}

async fn drain<S: AsyncRead + Unpin>(io: &mut S) -> Result<(), Error> {
    let mut scratch = [0; 1024];
    let mut left = DRAIN_BYTES;
    while left > 0 {
        match io.read(&mut scratch).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::EXAMINED;

    fn scanner() -> HeadScanner {
        HeadScanner::request(&Config::default())
    }

    #[tokio::test]
    async fn bytes_after_a_head_are_kept_in_order_without_the_read_buffer() {
        let (mut near, mut io) = tokio::io::duplex(1 << 16);
        near.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nA: b\r\n\r\n\x81\x00\x82\x00")
            .await
            .expect("fits");
        let mut reader = HeadReader::new();
        for head in [&b"GET /1 HTTP/1.1\r\n\r\n"[..], b"GET /2 HTTP/1.1\r\nA: b\r\n\r\n"] {
            let (read, end) = reader.read(&mut io, scanner()).await.expect("open").expect("a head");
            assert_eq!((&read[..], end.len), (head, head.len()));
        }
        assert_eq!(reader.into_unread(), &b"\x81\x00\x82\x00"[..]);
    }

    #[tokio::test]
    async fn row_03_each_byte_of_a_head_is_examined_once_for_any_size_of_reads() {
        let (mut near, mut io) = tokio::io::duplex(1);
        let head = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(14_000));
        let mut reader = HeadReader::new();
        EXAMINED.set(0);
        let (written, read) = tokio::join!(near.write_all(head.as_bytes()), reader.read(&mut io, scanner()));
        written.expect("open");
        assert_eq!(read.expect("open").expect("a head").0, head.as_bytes());
        assert_eq!(EXAMINED.get(), head.len());
    }

    #[tokio::test]
    async fn a_head_of_any_size_within_the_limit_is_read() {
        for len in [23, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 3 * READ_SIZE, 16 << 10] {
            let (mut near, mut io) = tokio::io::duplex(1 << 16);
            let head = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(len - 23));
            near.write_all(head.as_bytes()).await.expect("fits");
            let read = HeadReader::new().read(&mut io, scanner()).await.expect("open").expect("a head");
            assert_eq!(read.0, head.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_deadline_that_the_clock_cannot_represent_never_passes() {
        let deadline = Deadline::after(Some(Duration::MAX), Timeout::Handshake);
        assert!(deadline.run(async { Ok(()) }).await.is_ok());
    }

    /// RFC 9110 section 6.6.1.
    #[test]
    fn a_date_is_written_if_the_clock_is_plausible() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(784_111_777).expect("a date"), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(253_402_300_799).expect("a date"), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(at(253_402_300_800), None);
        assert_eq!(date(UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    /// RFC 9110 section 6.6.1.
    #[test]
    fn a_date_of_the_application_is_kept() {
        let response = Response::builder().header("date", "then").body(Bytes::new()).expect("valid");
        let text = String::from_utf8(encode_last(response, ContentMode::Sent)).expect("text");
        assert!(text.contains("\r\nDate: then\r\n") && text.matches("Date").count() == 1, "{text}");
    }
}
