//! A transport under TLS that is read in large parts.

use std::{
    cell::Cell,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::delegate::delegate_write;

/// The number of bytes that one read may bring. With 16 KiB, a message of 1 MB costs more than
/// without this module.
const LEN: usize = 64 << 10;

thread_local! {
    /// A buffer that the connections of the thread share, so that an idle one holds none.
    static SPARE: Cell<Option<Box<Bytes>>> = const { Cell::new(None) };
}

/// A transport that reads more than it is asked for, because rustls asks for 4 KiB at a time.
///
/// Short messages are read as without it: only after a read that was filled is more expected.
pub(super) struct ReadAhead<S> {
    io: S,
    /// What was read and not yet returned; `None` if that is nothing.
    ahead: Option<Box<Bytes>>,
    /// Whether the last read of the transport was filled.
    expects_more: bool,
}

struct Bytes {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Bytes {
    fn new() -> Self {
        Self { bytes: vec![0; LEN].into(), start: 0, end: 0 }
    }

    /// Moves as much as has room into `buffer`. Returns `true` if everything is moved.
    fn move_into(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let len = buffer.remaining().min(self.end - self.start);
        buffer.put_slice(&self.bytes[self.start..self.start + len]);
        self.start += len;
        self.start == self.end
    }
}

impl<S> ReadAhead<S> {
    pub(super) fn new(io: S) -> Self {
        Self { io, ahead: None, expects_more: false }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.io
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    /// Reads no more than is asked for.
    fn poll_exact(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.expects_more = buffer.remaining() == 0;
        Poll::Ready(Ok(()))
    }

    /// Reads as much as there is room for. Returns the bytes, or `None` at the end of the transport.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Box<Bytes>>>> {
        // The thread may be ending, and its buffer gone.
        let mut ahead = SPARE.try_with(Cell::take).ok().flatten().unwrap_or_else(|| Box::new(Bytes::new()));
        let mut room = ReadBuf::new(&mut ahead.bytes);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut room);
        let len = room.filled().len();
        (ahead.start, ahead.end) = (0, len);
        self.expects_more = len == LEN;
        if len == 0 {
            keep(ahead);
            return read.map_ok(|()| None);
        }
        read.map_ok(|()| Some(ahead))
    }
}

/// Keeps a buffer for the next read of any connection of this thread.
fn keep(bytes: Box<Bytes>) {
    // If the thread is ending, the buffer is freed.
    let _ = SPARE.try_with(|spare| spare.set(Some(bytes)));
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ahead = match self.ahead.take() {
            Some(ahead) => Some(ahead),
            None if self.expects_more => ready!(self.poll_ahead(cx))?,
            None => return self.poll_exact(cx, buffer),
        };
        if let Some(mut ahead) = ahead {
            if ahead.move_into(buffer) {
                keep(ahead);
            } else {
                self.ahead = Some(ahead);
            }
        }
        Poll::Ready(Ok(()))
    }
}

delegate_write!(ReadAhead);

/// Redacts the bytes.
impl<S: fmt::Debug> fmt::Debug for ReadAhead<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.end - ahead.start);
        f.debug_struct("ReadAhead").field("io", &self.io).field("ahead", &ahead).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// A transport that counts how often it was read.
    struct Counted<S>(S, usize);

    impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    /// Reads `len` bytes in parts of 4 KiB, as rustls does.
    async fn read(io: &mut (impl AsyncRead + Unpin), len: usize) -> Vec<u8> {
        let mut received = vec![0; len];
        for part in received.chunks_mut(4096) {
            io.read_exact(part).await.expect("open");
        }
        received
    }

    #[tokio::test]
    async fn a_filled_read_is_followed_by_a_large_one() {
        let sent: Vec<u8> = (0..4096 + LEN).map(|i| (i % 251) as u8).collect();
        let (mut peer, io) = duplex(2 * LEN);
        peer.write_all(&sent).await.expect("room");
        let mut io = ReadAhead::new(Counted(io, 0));
        assert!(read(&mut io, sent.len()).await == sent);
        assert_eq!(io.get_ref().1, 2);
        assert!(io.ahead.is_none());
    }

    #[tokio::test]
    async fn a_rest_comes_before_what_arrives_later() {
        let (mut peer, io) = duplex(64);
        let mut io = ReadAhead::new(io);
        let mut part = [0; 3];
        peer.write_all(b"abcdefg").await.expect("room");
        io.read_exact(&mut part).await.expect("open");
        io.read_exact(&mut part).await.expect("open");
        assert_eq!(&part, b"def");
        assert!(io.ahead.is_some());
        peer.write_all(b"hi").await.expect("room");
        drop(peer);
        io.read_exact(&mut part).await.expect("open");
        assert_eq!(&part, b"ghi");
        assert_eq!(io.read(&mut part).await.expect("the end"), 0);
        assert!(io.ahead.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_waits_holds_no_buffer() {
        let (mut peer, io) = duplex(64);
        let mut io = ReadAhead::new(io);
        let mut byte = [0];
        for expects_more in [false, true] {
            io.expects_more = expects_more;
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(Pin::new(&mut io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending());
            assert!(io.ahead.is_none());
            peer.write_all(b"a").await.expect("room");
            assert_eq!(io.read(&mut byte).await.expect("open"), 1);
            assert!(io.ahead.is_none());
        }
    }

    #[test]
    fn nothing_is_printed_of_what_was_read() {
        let ahead = Bytes { bytes: b"secret".as_slice().into(), start: 2, end: 6 };
        let io = ReadAhead { io: (), ahead: Some(Box::new(ahead)), expects_more: false };
        assert_eq!(format!("{io:?}"), "ReadAhead { io: (), ahead: 4 }");
    }
}
