//! The stream of a connection, with the batch that is being written to it.

use std::{
    future::Future,
    io::{self, IoSlice},
    num::NonZeroU32,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::pool::{self, Scratch};
use crate::proto::{Batch, PayloadMut, SendPath};

/// The maximum number of slices of one vectored write.
const MAX_SLICES: usize = 64;

/// The number of slices that suffice for one large message.
const FEW_SLICES: usize = 4;

/// The queue that a transport writes.
pub(super) trait Source {
    /// Moves the next frames to the batch, which is empty. Returns `true` if there are any.
    ///
    /// Pending if the task's budget is used up before a message is compressed.
    fn poll_stage(&mut self, batch: &mut Option<Box<Batch>>, cx: &mut Context<'_>) -> Poll<bool>;

    /// Discards the queue. Returns `true` if it contained anything.
    fn clear(&mut self) -> bool;
}

impl Source for SendPath {
    #[inline]
    fn poll_stage(&mut self, batch: &mut Option<Box<Batch>>, _: &mut Context<'_>) -> Poll<bool> {
        debug_assert!(!self.has_uncompressed(), "that is for `InStrides`");
        if self.queued_bytes() > 0 {
            let batch = batch.get_or_insert_with(pool::batch);
            pool::with_buffers(|buffers| SendPath::stage(self, batch, buffers));
            return Poll::Ready(batch.has_remaining());
        }
        if let Some(batch) = batch.take() {
            pool::return_batch(batch);
        }
        Poll::Ready(false)
    }

    fn clear(&mut self) -> bool {
        let waited = self.queued_in_order_bytes() > 0;
        pool::with_buffers(|buffers| SendPath::clear(self, buffers));
        waited
    }
}

/// The stream, and the batch that is being written to it.
#[derive(Debug)]
pub(super) struct Transport<S> {
    stream: S,
    /// Taken from the pool while something is being written.
    batch: Option<Box<Batch>>,
    unfinished: Unfinished,
    /// Whether the write side has ended.
    end: WriteEnd,
    /// Bit 0 changes with each flush. The other bits count how often nothing was left to write, or
    /// compression was interrupted; they wrap around.
    turns: u16,
    /// The number of bytes that the stream has accepted; it wraps around.
    written: u32,
}

/// What is left to do although nothing is staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unfinished {
    Nothing,
    /// The stream may hold back bytes that it has accepted.
    Flush,
    /// Compression was interrupted; the task is woken to continue.
    Compression,
}

/// The status of a stream's write side.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransportStatus {
    /// The number of bytes that are staged.
    pub(super) staged: usize,
    /// Whether something staged waits for the stream, or is not compressed yet.
    pub(super) stuck: bool,
    /// Whether compression was interrupted, and nothing waits for the stream.
    pub(super) compressing: bool,
    pub(super) moves: Moves,
    /// The number of bytes that the stream has accepted; it wraps around.
    pub(super) written: u32,
    /// Whether the write side has ended, because we shut it down or it failed.
    pub(super) ended: bool,
}

/// The progress of a stream. It changes whenever the stream accepts bytes or is flushed, when nothing
/// is left to write, and when compression is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moves(u64);

impl Moves {
    pub(super) const NONE: Self = Self(0);

    #[inline]
    pub(super) const fn new(turns: u16, written: u32) -> Self {
        Self((turns as u64) << 32 | written as u64)
    }

    /// Returns whether the stream has accepted `unit` bytes since it had made the progress `before`, or
    /// everything that it was given.
    ///
    /// The bytes of a connection are divided into units of this size, and this returns whether another
    /// unit has begun. So a stream that accepts each unit in time is never too slow, and one that does
    /// not is found to be too slow at the second unit at the latest.
    pub(super) fn has_taken(self, unit: NonZeroU32, before: Self) -> bool {
        let pauses = |Self(moves)| moves >> 33;
        let units = |Self(moves)| moves as u32 / unit;
        pauses(self) != pauses(before) || units(self) != units(before)
    }
}

/// Whether the write side of a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteEnd {
    Open,
    /// We shut it down, or it failed.
    Ended,
    /// It has ended, and something that was queued was lost.
    Lost,
}

impl<S> Transport<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            batch: None,
            unfinished: Unfinished::Nothing,
            end: WriteEnd::Open,
            turns: 0,
            written: 0,
        }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream, and what was staged but not written.
    pub(super) fn into_parts(self) -> (S, Option<Box<Batch>>) {
        (self.stream, self.batch)
    }

    /// Returns the batch, to stage frames in it.
    #[inline]
    pub(super) fn batch(&mut self) -> &mut Batch {
        self.batch.get_or_insert_with(pool::batch)
    }

    /// Returns how many bytes are staged and not yet written.
    #[inline]
    pub(super) fn staged(&self) -> usize {
        match &self.batch {
            Some(batch) => batch.remaining(),
            None => 0,
        }
    }

    /// Returns `true` if something staged waits for the stream, or is not compressed yet.
    pub(super) fn is_stuck(&self) -> bool {
        self.end == WriteEnd::Open && self.is_unfinished()
    }

    /// Returns `true` if compression was interrupted, and nothing waits for the stream.
    pub(super) fn is_compressing(&self) -> bool {
        self.end == WriteEnd::Open && self.unfinished == Unfinished::Compression
    }

    /// Returns the status of the write side.
    #[inline]
    pub(super) fn status(&self) -> TransportStatus {
        TransportStatus {
            staged: self.staged(),
            stuck: self.is_stuck(),
            compressing: self.is_compressing(),
            moves: self.moves(),
            written: self.written,
            ended: self.is_write_ended(),
        }
    }

    pub(super) fn is_write_ended(&self) -> bool {
        self.end != WriteEnd::Open
    }

    /// Returns `true` if something that was queued will never be written.
    pub(super) fn has_lost(&self) -> bool {
        self.end == WriteEnd::Lost
    }

    /// Returns whether something is staged, or left to do although nothing is.
    #[inline]
    fn is_unfinished(&self) -> bool {
        self.unfinished != Unfinished::Nothing || self.staged() > 0
    }

    /// Returns the progress of the stream.
    #[inline]
    pub(super) fn moves(&self) -> Moves {
        Moves::new(self.turns, self.written)
    }

    /// Returns how many bytes the stream has accepted; the number wraps around.
    pub(super) fn written(&self) -> u32 {
        self.written
    }

    /// Ends the write side. What is queued and staged is discarded.
    pub(super) fn end_write<Q: Source + ?Sized>(&mut self, source: &mut Q) {
        let lost = source.clear() | self.is_unfinished() | self.has_lost();
        self.end = if lost { WriteEnd::Lost } else { WriteEnd::Ended };
        self.unfinished = Unfinished::Nothing;
        if let Some(mut batch) = self.batch.take() {
            batch.clear();
            pool::return_batch(batch);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport<S> {
    /// Writes and flushes what is queued, until everything is written or the stream accepts no
    /// more.
    ///
    /// After an error nothing more is written, and this returns ready.
    #[inline]
    pub(super) fn poll_transmit<Q: Source + ?Sized>(
        &mut self,
        source: &mut Q,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_write_ended() || (!self.is_stuck() && !ready!(self.poll_stage(source, cx))) {
            return Poll::Ready(Ok(()));
        }
        let done = ready!(self.poll_write_out(source, cx));
        if done.is_err() {
            self.end_write(source);
        }
        Poll::Ready(done)
    }

    /// Writes the two parts of a frame, and flushes the stream if it accepts all of it. Nothing may be
    /// staged, and the write side may not have ended.
    ///
    /// Also returns the number of accepted bytes. If this is pending, the caller has to stage those
    /// that were not, and to transmit, because the task might not be woken.
    #[inline]
    pub(super) fn poll_write_frame<Q: Source + ?Sized>(
        &mut self,
        parts: [&[u8]; 2],
        source: &mut Q,
        cx: &mut Context<'_>,
    ) -> (usize, Poll<io::Result<()>>) {
        debug_assert!(!self.is_write_ended() && !self.is_stuck());
        // Until the stream returns: if it panics, what is left of the frame is lost.
        self.end = WriteEnd::Lost;
        let written = poll_write_parts(&mut self.stream, parts, cx);
        let accepted = match written {
            Poll::Ready(Ok(accepted)) if accepted > 0 => accepted,
            Poll::Pending => 0,
            failed => return (0, Poll::Ready(Err(self.write_failed(failed, source)))),
        };
        self.end = WriteEnd::Open;
        self.accepted(accepted);
        if accepted < parts[0].len() + parts[1].len() {
            return (accepted, Poll::Pending);
        }
        let flushed = self.poll_flush(cx);
        match flushed {
            Poll::Ready(Ok(())) => self.paused(),
            Poll::Ready(Err(_)) => self.end_write(source),
            Poll::Pending => {}
        }
        (accepted, flushed)
    }

    /// Ends the write side after a failed write. Returns the error.
    #[cold]
    fn write_failed<Q: Source + ?Sized>(
        &mut self,
        failed: Poll<io::Result<usize>>,
        source: &mut Q,
    ) -> io::Error {
        self.end_write(source);
        match failed {
            Poll::Ready(Err(error)) => error,
            _ => io::ErrorKind::WriteZero.into(),
        }
    }

    /// Records that the stream has accepted bytes.
    #[inline]
    fn accepted(&mut self, written: usize) {
        self.written = self.written.wrapping_add(written as u32);
        if written > 0 {
            self.unfinished = Unfinished::Flush;
        }
    }

    /// Records that nothing is left to write, or that compression was interrupted.
    #[inline]
    fn paused(&mut self) {
        self.turns = self.turns.wrapping_add(2);
    }

    /// Flushes the stream, if it may hold back bytes.
    #[inline]
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unfinished != Unfinished::Nothing {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unfinished = Unfinished::Nothing;
            self.turns ^= 1;
        }
        Poll::Ready(Ok(()))
    }

    /// Shuts down the write side. What is still queued is discarded.
    pub(super) fn poll_shutdown<Q: Source + ?Sized>(
        &mut self,
        source: &mut Q,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_write_ended() {
            let done = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
            self.end_write(source);
            done?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into the scratch; returns 0 at the end of the stream.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        scratch: &mut Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch.space());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let len = buffer.filled().len();
        scratch.filled(len);
        Poll::Ready(Ok(len))
    }

    /// Reads into a message's own buffer; returns 0 at the end of the stream.
    pub(super) fn poll_read_payload(
        &mut self,
        mut room: PayloadMut<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        // The future holds only the two borrows, so nothing is lost if it is dropped after one
        // poll.
        pin!(self.stream.read_buf(&mut room)).poll(cx)
    }

    fn poll_write_out<Q: Source + ?Sized>(
        &mut self,
        source: &mut Q,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(batch) = &mut self.batch
                && batch.has_remaining()
            {
                let written = ready!(poll_write_batch(&mut self.stream, batch, cx))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                batch.advance(written);
                self.accepted(written);
            }
            // Flushed after each batch, so that a flush completes even while others keep queueing.
            ready!(self.poll_flush(cx))?;
            if !ready!(self.poll_stage(source, cx)) {
                self.paused();
                return Poll::Ready(Ok(()));
            }
        }
    }

    #[inline]
    fn poll_stage<Q: Source + ?Sized>(&mut self, source: &mut Q, cx: &mut Context<'_>) -> Poll<bool> {
        let staged = source.poll_stage(&mut self.batch, cx);
        if staged.is_pending() {
            // Compressing counts as progress: the write deadline runs only once the stream is given
            // bytes.
            self.unfinished = Unfinished::Compression;
            self.paused();
        }
        staged
    }
}

/// Writes the parts of a frame, each once: with one write if the stream supports vectored writes.
#[inline]
fn poll_write_parts<S: AsyncWrite + Unpin>(
    io: &mut S,
    [head, payload]: [&[u8]; 2],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if payload.is_empty() {
        return Pin::new(io).poll_write(cx, head);
    }
    if head.is_empty() {
        return Pin::new(io).poll_write(cx, payload);
    }
    if io.is_write_vectored() {
        return Pin::new(io).poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(payload)]);
    }
    let written = ready!(Pin::new(&mut *io).poll_write(cx, head))?;
    if written < head.len() {
        return Poll::Ready(Ok(written));
    }
    match Pin::new(io).poll_write(cx, payload)? {
        Poll::Ready(more) => Poll::Ready(Ok(written + more)),
        Poll::Pending => Poll::Ready(Ok(written)),
    }
}

/// Writes once: all that is staged if the stream supports vectored writes.
#[inline]
fn poll_write_batch<S: AsyncWrite + Unpin>(
    io: &mut S,
    batch: &Batch,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let first = batch.chunk();
    if first.len() == batch.remaining() || !io.is_write_vectored() {
        return Pin::new(io).poll_write(cx, first);
    }
    poll_write_vectored(io, batch, cx)
}

#[inline(never)]
fn poll_write_vectored<S: AsyncWrite + Unpin>(
    io: &mut S,
    batch: &Batch,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if batch.chunks_at_most() <= FEW_SLICES {
        return poll_write_slices::<S, FEW_SLICES>(io, batch, cx);
    }
    poll_write_slices::<S, MAX_SLICES>(io, batch, cx)
}

#[inline]
fn poll_write_slices<S: AsyncWrite + Unpin, const N: usize>(
    io: &mut S,
    batch: &Batch,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); N];
    let count = batch.chunks_vectored(&mut slices);
    Pin::new(io).poll_write_vectored(cx, &slices[..count])
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::{
        Config, Outgoing, Role,
        proto::{CloseCode, CloseFrame, MaskKey},
        stream::test_stream::TestStream,
    };

    fn server() -> SendPath {
        SendPath::new(Role::Server, &Config::new())
    }

    fn queue(path: &mut SendPath, message: impl Into<Outgoing<'static>>) {
        pool::with_buffers(|buffers| path.send(message.into(), MaskKey::default(), buffers)).expect("open");
    }

    fn transmit(transport: &mut Transport<TestStream>, path: &mut SendPath) -> Poll<io::Result<()>> {
        transport.poll_transmit(path, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn everything_queued_is_written_and_then_flushed() {
        let (stream, mut path) = (TestStream::default(), server());
        let mut transport = Transport::new(stream.clone());
        queue(&mut path, "a");
        queue(&mut path, "b");
        assert!(matches!(transmit(&mut transport, &mut path), Poll::Ready(Ok(()))));
        assert_eq!(stream.take_written(), b"\x81\x01a\x81\x01b");
        assert_eq!((stream.state().flushes, transport.written(), transport.staged()), (1, 6, 0));
        assert!(!transport.is_stuck() && transport.batch.is_none());
        assert!(matches!(transmit(&mut transport, &mut path), Poll::Ready(Ok(()))));
        assert_eq!(stream.state().flushes, 1, "nothing was written since");
    }

    #[test]
    fn a_batch_that_is_partly_accepted_is_continued_where_it_stopped() {
        let (stream, mut path) = (TestStream::limited(4), server());
        let mut transport = Transport::new(stream.clone());
        queue(&mut path, "abc");
        assert!(transmit(&mut transport, &mut path).is_pending());
        let before = transport.status();
        assert_eq!((before.staged, before.stuck, before.written), (1, true, 4));
        assert!(transmit(&mut transport, &mut path).is_pending());
        assert_eq!(transport.moves(), before.moves, "the stream has accepted nothing more");
        stream.state().room = None;
        // RFC 6455 section 5.4: a control frame is not injected into a frame.
        pool::with_buffers(|buffers| path.ping(b"?", MaskKey::default(), buffers)).expect("open");
        assert!(matches!(transmit(&mut transport, &mut path), Poll::Ready(Ok(()))));
        assert_eq!(stream.take_written(), b"\x81\x03abc\x89\x01?");
        assert!(transport.moves() != before.moves && !transport.is_stuck());
    }

    #[test]
    fn a_failed_write_is_returned_once_and_ends_the_write_side() {
        let (stream, mut path) = (TestStream::default(), server());
        let mut transport = Transport::new(stream.clone());
        stream.state().write_error = Some(io::ErrorKind::BrokenPipe);
        queue(&mut path, "lost");
        let Poll::Ready(Err(error)) = transmit(&mut transport, &mut path) else { panic!("it fails") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(transport.has_lost() && transport.status().ended && !transport.is_stuck());
        assert_eq!((path.queued_bytes(), transport.staged()), (0, 0));
        queue(&mut path, "ignored");
        assert!(matches!(transmit(&mut transport, &mut path), Poll::Ready(Ok(()))));
        assert_eq!(stream.take_written(), b"");
    }

    #[test]
    fn ending_the_write_side_loses_what_is_queued_and_nothing_else() {
        let mut path = server();
        let mut transport = Transport::new(TestStream::default());
        transport.end_write(&mut path);
        assert!(transport.is_write_ended() && !transport.has_lost());

        let mut transport = Transport::new(TestStream::default());
        pool::with_buffers(|buffers| path.pong(b"", MaskKey::default(), buffers)).expect("open");
        transport.end_write(&mut path);
        assert!(!transport.has_lost(), "no flush waits for a pong");

        let mut transport = Transport::new(TestStream::default());
        let close = CloseFrame::from_static(CloseCode::NORMAL, "");
        pool::with_buffers(|buffers| path.close(Some(&close), MaskKey::default(), buffers)).expect("open");
        transport.end_write(&mut path);
        assert!(transport.has_lost());
    }

    #[test]
    fn shutting_down_ends_the_write_side_once() {
        let (stream, mut path) = (TestStream::default(), server());
        let mut transport = Transport::new(stream.clone());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(transport.poll_shutdown(&mut path, &mut cx), Poll::Ready(Ok(()))));
        assert!(std::mem::take(&mut stream.state().is_shut_down) && transport.is_write_ended());
        assert!(matches!(transport.poll_shutdown(&mut path, &mut cx), Poll::Ready(Ok(()))));
        assert!(!stream.state().is_shut_down, "not shut down again");
    }

    #[test]
    fn a_read_fills_the_scratch() {
        let mut transport = Transport::new(TestStream::containing("abc"));
        let mut cx = Context::from_waker(Waker::noop());
        let mut scratch = pool::scratch(false);
        assert!(matches!(transport.poll_read(&mut scratch, &mut cx), Poll::Ready(Ok(3))));
        assert_eq!(scratch.unread(), b"abc");
        assert!(transport.poll_read(&mut scratch, &mut cx).is_pending());
        pool::return_scratch(scratch);
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn compression_that_is_interrupted_counts_as_progress_and_not_as_a_stream_that_accepts_nothing() {
        use crate::{
            Deflate,
            stream::strides::{InStrides, Strides, TURN},
        };

        let (stream, settings) = (TestStream::default(), Deflate::new());
        let mut path = server().with_deflate(settings, settings.into());
        let mut transport = Transport::new(stream.clone());
        queue(&mut path, vec![0; 2 * TURN + 1]);
        let mut cx = Context::from_waker(Waker::noop());
        for turn in 1..=2 {
            let before = transport.moves();
            let mut source = InStrides { path: &mut path, strides: Strides::new() };
            assert!(transport.poll_transmit(&mut source, &mut cx).is_pending(), "turn {turn}");
            assert!(transport.is_compressing() && transport.is_stuck(), "turn {turn}");
            assert_ne!(transport.moves(), before, "turn {turn}");
            assert_eq!(stream.take_written(), b"", "turn {turn}");
        }
        let mut source = InStrides { path: &mut path, strides: Strides::new() };
        assert!(matches!(transport.poll_transmit(&mut source, &mut cx), Poll::Ready(Ok(()))));
        assert!(!transport.is_compressing() && !stream.take_written().is_empty());
    }
}
