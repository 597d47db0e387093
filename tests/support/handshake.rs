//! Scripted transports and peers for the opening handshake.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A request as a browser sends it.
pub(crate) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\r\n";

/// The response to [`REQUEST`].
pub(crate) const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What a [`Script`] does when it is read from.
#[derive(Debug)]
pub(crate) enum Step {
    /// Yields these bytes, in one read if the buffer has room.
    Bytes(Vec<u8>),
    /// Fails.
    Fails(io::ErrorKind),
    /// Is always pending.
    Hangs,
}

/// A transport whose reads are scripted. After the last step, it has ended.
#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    written: Arc<Mutex<Vec<u8>>>,
    fails_behind: Option<(usize, io::ErrorKind)>,
    drips: bool,
    paused: bool,
}

/// What was written to a [`Script`], and whether the transport still exists.
#[derive(Debug)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Script {
    /// Creates a transport that performs these steps in order.
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> (Self, Written) {
        let written = Arc::default();
        let steps = steps.into_iter().collect();
        let script =
            Self { steps, written: Arc::clone(&written), fails_behind: None, drips: false, paused: false };
        (script, Written(written))
    }

    /// Makes writes fail once this many bytes are written.
    pub(crate) fn writes_fail_behind(self, len: usize, kind: io::ErrorKind) -> Self {
        Self { fails_behind: Some((len, kind)), ..self }
    }

    /// Reads and writes one byte per call, and makes every other call pending.
    pub(crate) fn drips(self) -> Self {
        Self { drips: true, ..self }
    }

    /// Returns whether this call is pending, which every other one is.
    fn pauses(&mut self, cx: &Context<'_>) -> bool {
        self.paused = self.drips && !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
        }
        self.paused
    }

    fn at_most(&self, len: usize) -> usize {
        if self.drips { len.min(1) } else { len }
    }
}

impl Written {
    /// Returns the bytes as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }

    /// Returns a response without its date.
    pub(crate) fn undated(&self) -> String {
        undated(&self.text())
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no panic").clone()
    }

    /// Returns whether the transport was dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pauses(cx) {
            return Poll::Pending;
        }
        let room = self.at_most(buffer.remaining());
        match self.steps.front_mut() {
            Some(Step::Bytes(bytes)) => {
                let rest = bytes.split_off(bytes.len().min(room));
                buffer.put_slice(bytes);
                *bytes = rest;
                if bytes.is_empty() {
                    self.steps.pop_front();
                }
            }
            Some(Step::Fails(kind)) => return Poll::Ready(Err((*kind).into())),
            Some(Step::Hangs) => return Poll::Pending,
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.pauses(cx) {
            return Poll::Pending;
        }
        let mut written = self.written.lock().expect("no panic");
        let mut len = self.at_most(bytes.len());
        if let Some((end, kind)) = self.fails_behind {
            if written.len() == end {
                return Poll::Ready(Err(kind.into()));
            }
            len = len.min(end - written.len());
        }
        written.extend_from_slice(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pauses(cx) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Splits bytes at these positions.
pub(crate) fn cut(bytes: &[u8], places: &[usize]) -> Vec<Step> {
    let mut places: Vec<_> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.sort_unstable();
    places.dedup();
    let mut start = 0;
    let mut pieces = Vec::new();
    for place in places.into_iter().chain([bytes.len()]) {
        if place > start {
            pieces.push(Step::Bytes(bytes[start..place].to_vec()));
            start = place;
        }
    }
    pieces
}

/// Polls a future once, with a waker that does nothing, and outside of the task's budget.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    pin!(tokio::task::coop::unconstrained(future)).poll(&mut Context::from_waker(Waker::noop()))
}

/// Starts a future over a transport that yields one byte per call, and asserts that it releases the
/// transport when it is dropped after any number of polls. Returns its output, and what was written
/// by then.
pub(crate) fn released_at_every_poll<F: Future>(
    input: &[u8],
    start: impl Fn(Script) -> F,
) -> (F::Output, String) {
    for polls in 0.. {
        let (io, written) = Script::new([Step::Bytes(input.to_vec())]);
        let mut future = Box::pin(start(io.drips()));
        for _ in 0..polls {
            if let Poll::Ready(output) = poll_once(future.as_mut()) {
                assert!(
                    polls > input.len(),
                    "completed after {polls} polls, which are too few for one byte per call"
                );
                return (output, written.text());
            }
        }
        drop(future);
        assert!(written.is_dropped(), "after {polls} polls");
    }
    unreachable!("it completes after some number of polls")
}

/// The response after an error of the application.
pub(crate) const SERVER_ERROR: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\n\
    Connection: close\r\nContent-Length: 22\r\n\r\ninternal server error\n";

/// Asserts that a response has one date, in the format of RFC 9110 section 5.6.7. Returns the
/// response without it.
pub(crate) fn undated(response: &str) -> String {
    let (front, rest) = response.split_once("\r\nDate: ").expect("a date");
    let (date, rest) = rest.split_once("\r\n").expect("a complete line");
    let pattern = "Www, 99 Www 9999 99:99:99 GMT";
    let fits = |(byte, like): (u8, u8)| match like {
        b'9' => byte.is_ascii_digit(),
        b'W' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_lowercase(),
        like => byte == like,
    };
    assert!(date.len() == pattern.len() && date.bytes().zip(pattern.bytes()).all(fits), "{date}");
    assert!(!rest.contains("\r\nDate: "), "{response}");
    format!("{front}\r\n{rest}")
}

/// Returns the request with a part of it replaced.
pub(crate) fn request(old: &str, new: &str) -> Vec<u8> {
    assert!(REQUEST.contains(old), "{old}");
    REQUEST.replacen(old, new, 1).into_bytes()
}
