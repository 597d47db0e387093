//! An in-memory pipe whose buffer size, chunks, stalls and flushes are chosen by the program.
//!
//! It keeps one waker for each direction, the last one it was polled with, as a socket does.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::{Begun, Frames};

/// How a direction behaves.
#[derive(Debug)]
struct Conditions {
    /// The size of its buffer.
    capacity: usize,
    write_at_most: usize,
    read_at_most: usize,
    /// Whether written data reaches the reader only after a flush.
    holds: bool,
    writes_stalled: bool,
    reads_stalled: bool,
    /// How many of 256 calls are pending, and wake the task at once.
    delays: u32,
    vectored: bool,
}

impl Conditions {
    fn new(rng: &mut SmallRng) -> Self {
        Self {
            capacity: size(rng, 200_000),
            write_at_most: size(rng, 200_000),
            read_at_most: size(rng, 200_000),
            holds: rng.random_ratio(1, 4),
            writes_stalled: rng.random_ratio(1, 4),
            reads_stalled: rng.random_ratio(1, 4),
            delays: if rng.random_ratio(1, 3) { rng.random_range(0..128) } else { 0 },
            vectored: rng.random(),
        }
    }
}

/// Returns a size of any order of magnitude.
fn size(rng: &mut SmallRng, most: usize) -> usize {
    let bits = rng.random_range(0..18);
    rng.random_range(1..=(2_usize << bits)).min(most)
}

/// One direction.
#[derive(Debug)]
struct Way {
    bytes: VecDeque<u8>,
    /// How many bytes at the end the reader does not see before a flush.
    held: usize,
    /// What was shown to the reader.
    shown: Frames,
    conditions: Conditions,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Whether the writer has shut down.
    ended: bool,
    /// Whether the reader was dropped.
    gone: bool,
    rng: SmallRng,
}

impl Way {
    fn new(rng: &mut SmallRng) -> Self {
        Self {
            bytes: VecDeque::new(),
            held: 0,
            shown: Frames::default(),
            conditions: Conditions::new(rng),
            reader: None,
            writer: None,
            ended: false,
            gone: false,
            rng: SmallRng::seed_from_u64(rng.random()),
        }
    }

    /// Returns whether this call is pending although it could make progress.
    fn delays(&mut self, cx: &Context<'_>) -> bool {
        let delayed = self.conditions.delays > 0 && self.rng.random_ratio(self.conditions.delays, 256);
        if delayed {
            cx.waker().wake_by_ref();
        }
        delayed
    }

    /// Shows held-back data to the reader.
    fn release(&mut self) -> Option<Waker> {
        self.shown.take(&self.bytes, self.bytes.len() - self.held);
        self.held = 0;
        self.reader.take()
    }

    fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        cx: &Context<'_>,
    ) -> (Poll<io::Result<usize>>, Option<Waker>) {
        if self.gone || self.ended {
            return (Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())), None);
        }
        let room = self.conditions.capacity.saturating_sub(self.bytes.len());
        if self.conditions.writes_stalled || room == 0 {
            self.writer = Some(cx.waker().clone());
            // A full pipe flushes itself, because otherwise a write would wait for a flush that
            // waits for the write.
            return (Poll::Pending, if room == 0 { self.release() } else { None });
        }
        if self.delays(cx) {
            return (Poll::Pending, None);
        }
        let mut room = room.min(self.conditions.write_at_most);
        let before = self.bytes.len();
        for slice in slices {
            let part = &slice[..slice.len().min(room)];
            self.bytes.extend(part);
            room -= part.len();
        }
        let written = self.bytes.len() - before;
        self.held += written;
        if self.conditions.holds {
            return (Poll::Ready(Ok(written)), None);
        }
        (Poll::Ready(Ok(written)), self.release())
    }

    fn flush(&mut self, cx: &Context<'_>) -> (Poll<io::Result<()>>, Option<Waker>) {
        if self.gone {
            return (Poll::Ready(Ok(())), None);
        }
        if self.conditions.writes_stalled {
            self.writer = Some(cx.waker().clone());
            return (Poll::Pending, None);
        }
        if self.delays(cx) {
            return (Poll::Pending, None);
        }
        (Poll::Ready(Ok(())), self.release())
    }

    fn read(&mut self, buffer: &mut ReadBuf<'_>, cx: &Context<'_>) -> (Poll<io::Result<()>>, Option<Waker>) {
        let seen = self.bytes.len() - self.held;
        if self.conditions.reads_stalled || (seen == 0 && !self.ended) {
            self.reader = Some(cx.waker().clone());
            return (Poll::Pending, None);
        }
        if self.delays(cx) {
            return (Poll::Pending, None);
        }
        let len = seen.min(self.conditions.read_at_most).min(buffer.remaining());
        let (first, second) = self.bytes.as_slices();
        let first = &first[..first.len().min(len)];
        buffer.put_slice(first);
        buffer.put_slice(&second[..len - first.len()]);
        self.bytes.drain(..len);
        (Poll::Ready(Ok(())), self.writer.take())
    }
}

/// Both directions, as the program uses them.
#[derive(Debug)]
pub struct Pipe([Arc<Mutex<Way>>; 2]);

impl Pipe {
    /// Creates a pipe and its two ends.
    pub fn new(rng: &mut SmallRng) -> (Self, [End; 2]) {
        let ways = [(); 2].map(|()| Arc::new(Mutex::new(Way::new(rng))));
        let end = |out: usize| End { outgoing: ways[out].clone(), incoming: ways[1 - out].clone() };
        let ends = [end(0), end(1)];
        (Self(ways), ends)
    }

    /// Changes the behaviour from here on.
    pub fn vary(&self, rng: &mut SmallRng) {
        let way = rng.random_range(0..2);
        self.set_conditions(way, Conditions::new(rng));
    }

    /// Removes all stalls; the buffer keeps its size.
    pub fn unstall(&self) {
        for way in 0..2 {
            let old = lock(&self.0[way]);
            let Conditions { capacity, write_at_most, read_at_most, holds, vectored, .. } = old.conditions;
            drop(old);
            let (writes_stalled, reads_stalled, delays) = (false, false, 0);
            // With one byte at a time, the rest would take too long.
            let [capacity, write_at_most, read_at_most] =
                [capacity, write_at_most, read_at_most].map(|most| most.max(1000));
            let conditions = Conditions {
                capacity,
                write_at_most,
                read_at_most,
                holds,
                vectored,
                writes_stalled,
                reads_stalled,
                delays,
            };
            self.set_conditions(way, conditions);
        }
    }

    /// Returns whether data of this end is held back until it is flushed.
    pub fn holds_back(&self, end: usize) -> bool {
        let way = lock(&self.0[end]);
        way.held > 0 && !way.gone
    }

    /// Inflates what this end sends before it is examined.
    #[cfg(feature = "deflate")]
    pub fn inflate(&self, end: usize, unzip: super::deflate::Unzip) {
        lock(&self.0[end]).shown.unzip = Some(unzip);
    }

    /// Returns how many complete messages of this end were shown to the other.
    pub fn messages_shown(&self, end: usize) -> usize {
        lock(&self.0[end]).shown.messages()
    }

    /// Returns the messages of this end whose beginning was shown to the other.
    pub fn begun(&self, end: usize) -> Vec<Begun> {
        lock(&self.0[end]).shown.begun().to_vec()
    }

    /// Returns the last of these messages.
    pub fn last_begun(&self, end: usize) -> Option<Begun> {
        lock(&self.0[end]).shown.begun().last().cloned()
    }

    /// Changes how a direction behaves, and wakes the tasks that can make progress, as a socket
    /// does.
    fn set_conditions(&self, way: usize, conditions: Conditions) {
        let mut way = lock(&self.0[way]);
        let writer = if conditions.writes_stalled { None } else { way.writer.take() };
        let reader = if conditions.reads_stalled { None } else { way.reader.take() };
        way.conditions = conditions;
        drop(way);
        wake([writer, reader]);
    }
}

/// One end. Dropping it ends both directions; unflushed data is lost.
#[derive(Debug)]
pub struct End {
    outgoing: Arc<Mutex<Way>>,
    incoming: Arc<Mutex<Way>>,
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (result, woken) = lock(&self.incoming).read(buffer, cx);
        wake([woken]);
        result
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (result, woken) = lock(&self.outgoing).write(slices, cx);
        wake([woken]);
        result
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.outgoing).conditions.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (result, woken) = lock(&self.outgoing).flush(cx);
        wake([woken]);
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut way = lock(&self.outgoing);
        let (result, woken) = way.flush(cx);
        way.ended |= result.is_ready();
        drop(way);
        wake([woken]);
        result
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut way = lock(&self.outgoing);
        let seen = way.bytes.len() - way.held;
        way.bytes.truncate(seen);
        way.held = 0;
        way.ended = true;
        let reader = way.release();
        drop(way);
        let mut way = lock(&self.incoming);
        way.gone = true;
        way.bytes.clear();
        way.held = 0;
        let writer = way.writer.take();
        drop(way);
        wake([reader, writer]);
    }
}

fn lock(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().expect("no panic while it is held")
}

/// Wakes tasks. Must not be called with a direction locked, because a waker may run any code.
fn wake(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}
