//! The stream beneath a connection: what is staged for it goes out, what it brings comes in.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Buf;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    task::coop,
};

use super::pool::{self, Scratch};
use crate::proto::{Batch, Lent, PayloadMut, SendPath};

/// The most slices that one vectored write gets.
const MAX_SLICES: usize = 64;

/// How many slices are made room for where a large message stands alone.
const FEW_SLICES: usize = 4;

/// How many bytes of messages are compressed for one unit of the task's budget: at level 6 in about 0.1 ms.
const STRIDE: usize = 4 << 10;

/// Where what is to be written comes from.
pub(super) trait Source {
    /// Moves what goes out next to the batch, which is empty; returns whether there is anything.
    ///
    /// Pending if the task's budget is used up before a message is compressed.
    fn poll_stage(&mut self, batch: &mut Option<Box<Batch>>, cx: &mut Context<'_>) -> Poll<bool>;

    /// Forgets what waits; says whether there was anything.
    fn clear(&mut self) -> bool;
}

impl Source for SendPath {
    #[inline]
    fn poll_stage(&mut self, batch: &mut Option<Box<Batch>>, cx: &mut Context<'_>) -> Poll<bool> {
        if self.queued() > 0 {
            let batch = batch.get_or_insert_with(pool::batch);
            if self.has_uncompressed() {
                return poll_compress(self, batch, cx);
            }
            pool::with_lent(|lent| SendPath::stage(self, batch, lent));
            return Poll::Ready(batch.has_remaining());
        }
        if let Some(batch) = batch.take() {
            pool::return_batch(batch);
        }
        Poll::Ready(false)
    }

    fn clear(&mut self) -> bool {
        let waited = self.queued() > 0;
        pool::with_lent(|lent| SendPath::clear(self, lent));
        waited
    }
}

/// The way out, as who compresses needs it: now and then.
pub(super) trait Path {
    fn with<T>(
        &mut self,
        batch: &mut Batch,
        call: impl FnOnce(&mut SendPath, &mut Batch, &mut Lent) -> T,
    ) -> T;

    /// Whether another stride may be compressed now; pending if others are to have their turn before.
    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_unit(cx)
    }
}

/// Takes a unit of the task's budget.
pub(super) fn poll_unit(cx: &mut Context<'_>) -> Poll<()> {
    coop::poll_proceed(cx).map(|unit| unit.made_progress())
}

impl Path for SendPath {
    fn with<T>(
        &mut self,
        batch: &mut Batch,
        call: impl FnOnce(&mut SendPath, &mut Batch, &mut Lent) -> T,
    ) -> T {
        pool::with_lent(|lent| call(self, batch, lent))
    }
}

/// Stages what goes out next where messages have to be compressed for it, until the batch has no room for more, or the task's
/// budget is used up. Returns whether there is anything to write.
#[inline(never)]
pub(super) fn poll_compress(path: &mut impl Path, batch: &mut Batch, cx: &mut Context<'_>) -> Poll<bool> {
    loop {
        // What needs no compressing is staged by this; pings too, even in the midst of a message.
        let Some(mut deflater) = path.with(batch, |send, batch, lent| send.begin_stage(batch, lent)) else {
            return Poll::Ready(batch.has_remaining());
        };
        let proceed = path.poll_proceed(cx);
        let mut stride = STRIDE;
        let staged = match proceed {
            Poll::Ready(()) => pool::with_lent(|lent| deflater.compress(batch, &mut stride, lent)),
            Poll::Pending => 0,
        };
        path.with(batch, |send, _, lent| send.end_stage(deflater, staged, lent));
        if proceed.is_pending() {
            return if batch.has_remaining() { Poll::Ready(true) } else { Poll::Pending };
        }
    }
}

/// The stream, and the batch that is being written to it.
#[derive(Debug)]
pub(super) struct Transport<S> {
    stream: S,
    /// Borrowed while something is being written.
    batch: Option<Box<Batch>>,
    /// Whether the stream may hold back something it was given: an empty queue is not a flushed stream. Also set if a message is
    /// still to be compressed because the task's budget was used up.
    needs_flush: bool,
    /// Whether the stream takes no more.
    end: WriteEnd,
    /// How often the stream was flushed, or something was compressed for it; it wraps around.
    moves: u8,
    /// How many bytes the stream has taken; it wraps around.
    written: u32,
}

/// The status of a stream's write side.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransportStatus {
    /// How many bytes are staged.
    pub(super) staged: usize,
    /// Whether something staged waits for the stream, or is still to be compressed.
    pub(super) stuck: bool,
    /// A number that changes whenever the stream takes something or is flushed.
    pub(super) moves: u64,
    /// How many bytes the stream has taken; it wraps around.
    pub(super) written: u32,
    /// Whether the stream takes no more, because we shut it down or it failed.
    pub(super) ended: bool,
}

/// Whether a stream still takes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteEnd {
    Open,
    /// We shut it down, or it failed.
    Ended,
    /// The same, and something waited for it.
    Lost,
}

impl<S> Transport<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, batch: None, needs_flush: false, end: WriteEnd::Open, moves: 0, written: 0 }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream, and what was staged for it and not written.
    pub(super) fn into_parts(self) -> (S, Option<Box<Batch>>) {
        (self.stream, self.batch)
    }

    /// What is being written, to stage in.
    #[inline]
    pub(super) fn batch(&mut self) -> &mut Batch {
        self.batch.get_or_insert_with(pool::batch)
    }

    /// How many bytes are staged and not yet written.
    #[inline]
    pub(super) fn staged(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.remaining())
    }

    /// Whether anything staged waits for the stream, or is still to be compressed.
    pub(super) fn is_stuck(&self) -> bool {
        self.end == WriteEnd::Open && (self.needs_flush || self.staged() > 0)
    }

    /// Returns the status of the write side.
    #[inline]
    pub(super) fn status(&self) -> TransportStatus {
        TransportStatus {
            staged: self.staged(),
            stuck: self.is_stuck(),
            moves: self.moves(),
            written: self.written,
            ended: self.is_write_ended(),
        }
    }

    pub(super) fn is_write_ended(&self) -> bool {
        self.end != WriteEnd::Open
    }

    /// Whether something that was queued will never go.
    pub(super) fn has_lost(&self) -> bool {
        self.end == WriteEnd::Lost
    }

    /// Returns a number that changes whenever the stream takes something or is flushed.
    pub(super) fn moves(&self) -> u64 {
        u64::from(self.moves) << 32 | u64::from(self.written)
    }

    /// Returns how many bytes the stream has taken; it wraps around.
    pub(super) fn written(&self) -> u32 {
        self.written
    }

    /// Gives up writing: what waits will never go.
    pub(super) fn end_write<Q: Source + ?Sized>(&mut self, source: &mut Q) {
        let staged = self.needs_flush || self.staged() > 0;
        let lost = source.clear() | staged | self.has_lost();
        self.end = if lost { WriteEnd::Lost } else { WriteEnd::Ended };
        self.needs_flush = false;
        if let Some(mut batch) = self.batch.take() {
            batch.clear();
            pool::return_batch(batch);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport<S> {
    /// Writes what is queued until all of it is out and flushed, or the stream takes no more.
    ///
    /// After an error nothing more is written, and this is ready.
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

    /// Ends the write side, after what was queued is out.
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

    /// Reads into the scratch; 0 is the end of the stream.
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

    /// Reads into a message's own buffer; 0 is the end of the stream.
    pub(super) fn poll_read_payload(
        &mut self,
        mut room: PayloadMut<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        // The future holds nothing but the two borrows, so nothing is lost when it goes after one poll.
        pin!(self.stream.read_buf(&mut room)).poll(cx)
    }

    fn poll_write_out<Q: Source + ?Sized>(
        &mut self,
        source: &mut Q,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(batch) = self.batch.as_mut().filter(|batch| batch.has_remaining()) {
                let written = ready!(poll_write_batch(&mut self.stream, batch, cx))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                batch.advance(written);
                self.written = self.written.wrapping_add(written as u32);
                self.needs_flush = true;
            }
            // Batch by batch, so that a flush ends also while others go on queueing.
            if self.needs_flush {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                self.needs_flush = false;
                self.moves = self.moves.wrapping_add(1);
            }
            if !ready!(self.poll_stage(source, cx)) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    #[inline]
    fn poll_stage<Q: Source + ?Sized>(&mut self, source: &mut Q, cx: &mut Context<'_>) -> Poll<bool> {
        let staged = source.poll_stage(&mut self.batch, cx);
        if staged.is_pending() {
            // The stream has all its time once it is given something.
            self.needs_flush = true;
            self.moves = self.moves.wrapping_add(1);
        }
        staged
    }
}

/// One write: of all that is staged where the stream takes several slices.
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
