//! An in-memory pipe whose room, chunks, stalls and flushes are decided by the program.
//!
//! It keeps one waker for each direction, the last one it saw, as a socket does.

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

/// How a direction treats those who use it.
#[derive(Debug)]
struct Conditions {
    /// How many bytes are under way at most.
    capacity: usize,
    write_at_most: usize,
    read_at_most: usize,
    /// Whether what was written reaches the reader only once it is flushed.
    holds: bool,
    writes_stalled: bool,
    reads_stalled: bool,
    /// How many of 256 calls are pending, and woken at once.
    hiccups: u32,
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
            hiccups: if rng.random_ratio(1, 3) { rng.random_range(0..128) } else { 0 },
            vectored: rng.random(),
        }
    }
}

/// A size of any order of magnitude.
fn size(rng: &mut SmallRng, most: usize) -> usize {
    let bits = rng.random_range(0..18);
    rng.random_range(1..=(2_usize << bits)).min(most)
}

/// One direction.
#[derive(Debug)]
struct Way {
    bytes: VecDeque<u8>,
    /// How many of them, at the end, the reader does not see before a flush.
    held: usize,
    /// What the reader has been shown.
    shown: Frames,
    conditions: Conditions,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The writer brings no more.
    ended: bool,
    /// There is no reader.
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

    fn hiccups(&mut self, cx: &Context<'_>) -> bool {
        let hiccup = self.conditions.hiccups > 0 && self.rng.random_ratio(self.conditions.hiccups, 256);
        if hiccup {
            cx.waker().wake_by_ref();
        }
        hiccup
    }

    /// Shows the reader what was held back.
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
            // What fills the pipe is pushed out of it: else it would wait for a flush that waits for it.
            return (Poll::Pending, if room == 0 { self.release() } else { None });
        }
        if self.hiccups(cx) {
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
        if self.hiccups(cx) {
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
        if self.hiccups(cx) {
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

/// Both directions, as the program sees them.
#[derive(Debug)]
pub struct Pipe([Arc<Mutex<Way>>; 2]);

impl Pipe {
    /// A pipe, and its two ends.
    pub fn new(rng: &mut SmallRng) -> (Self, [End; 2]) {
        let ways = [(); 2].map(|()| Arc::new(Mutex::new(Way::new(rng))));
        let end = |out: usize| End { outgoing: ways[out].clone(), incoming: ways[1 - out].clone() };
        let ends = [end(0), end(1)];
        (Self(ways), ends)
    }

    /// Treats those who use it otherwise from here on.
    pub fn vary(&self, rng: &mut SmallRng) {
        let way = rng.random_range(0..2);
        self.treat(way, Conditions::new(rng));
    }

    /// Nothing is in the way any more: it is only as narrow as it was.
    pub fn unstall(&self) {
        for way in 0..2 {
            let old = lock(&self.0[way]);
            let Conditions { capacity, write_at_most, read_at_most, holds, vectored, .. } = old.conditions;
            drop(old);
            let (writes_stalled, reads_stalled, hiccups) = (false, false, 0);
            // A byte at a time, the rest would take for ever.
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
                hiccups,
            };
            self.treat(way, conditions);
        }
    }

    /// Whether what this end wrote is kept from the other until it is flushed.
    pub fn holds_back(&self, end: usize) -> bool {
        let way = lock(&self.0[end]);
        way.held > 0 && !way.gone
    }

    /// Has what this end sends inflated, before anybody looks at it.
    #[cfg(feature = "deflate")]
    pub fn inflate(&self, end: usize, unzip: super::deflate::Unzip) {
        lock(&self.0[end]).shown.unzip = Some(unzip);
    }

    /// How many whole messages of this end the other has been shown.
    pub fn messages_shown(&self, end: usize) -> usize {
        lock(&self.0[end]).shown.messages()
    }

    /// What this end has begun to show the other.
    pub fn begun(&self, end: usize) -> Vec<Begun> {
        lock(&self.0[end]).shown.begun().to_vec()
    }

    /// The last of that.
    pub fn last_begun(&self, end: usize) -> Option<Begun> {
        lock(&self.0[end]).shown.begun().last().cloned()
    }

    /// As a socket: who waited is woken where it is worth a look.
    fn treat(&self, way: usize, conditions: Conditions) {
        let mut way = lock(&self.0[way]);
        let writer = if conditions.writes_stalled { None } else { way.writer.take() };
        let reader = if conditions.reads_stalled { None } else { way.reader.take() };
        way.conditions = conditions;
        drop(way);
        wake([writer, reader]);
    }
}

/// One end. Dropped, it ends both directions; what it wrote and did not flush is lost.
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

/// Never with a direction locked: a waker may do anything.
fn wake(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}
