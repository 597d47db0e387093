//! A stream whose other end is the test, which determines what it yields and how much it accepts.
//! It counts reads and writes.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use fullduplex::{Config, Receiver, Role, Sender, WebSocket, handshake::Negotiated};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop,
};

/// The stream that a connection uses.
#[derive(Debug)]
pub struct Scripted(Arc<Mutex<State>>);

/// The end of the stream that the test uses.
#[derive(Debug, Clone)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Debug)]
enum Read {
    Data(Vec<u8>),
    /// Is pending once, and wakes the task at once.
    Pending,
    Error(io::ErrorKind),
    Eof,
    /// Yields these bytes repeatedly.
    Endless(Vec<u8>),
}

#[derive(Debug)]
struct State {
    reads: VecDeque<Read>,
    /// The maximum size of a read.
    read_at_most: usize,
    /// Whether reads use the task's budget, as those of tokio's streams do.
    cooperative: bool,
    /// The maximum size of a write.
    write_at_most: usize,
    /// The number of bytes that writes accept before they are pending; `None` for no limit.
    write_room: Option<usize>,
    write_error: Option<io::ErrorKind>,
    /// Whether every other write and flush is pending twice: a connection tries a pending write
    /// once more.
    stutter: bool,
    stuttered: u8,
    /// Whether a flush is pending.
    flush_blocked: bool,
    vectored: bool,
    written: Vec<u8>,
    reads_with_data: usize,
    read_polls: usize,
    writes: usize,
    flushes: usize,
    shut_down: bool,
    dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Creates a stream that yields nothing yet and accepts everything.
pub fn scripted() -> (Scripted, Script) {
    let state = Arc::new(Mutex::new(State {
        reads: VecDeque::new(),
        read_at_most: usize::MAX,
        cooperative: false,
        write_at_most: usize::MAX,
        write_room: None,
        write_error: None,
        stutter: false,
        stuttered: 0,
        flush_blocked: false,
        vectored: true,
        written: Vec::new(),
        reads_with_data: 0,
        read_polls: 0,
        writes: 0,
        flushes: 0,
        shut_down: false,
        dropped: false,
        reader: None,
        writer: None,
    }));
    (Scripted(state.clone()), Script(state))
}

/// Opens a connection over a scripted stream.
pub fn open(role: Role, config: &Config) -> (WebSocket<Scripted>, Script) {
    let (io, script) = scripted();
    (WebSocket::from_raw(io, Bytes::new(), role, config, Negotiated::default()), script)
}

/// Opens a server without keep-alive, over a scripted stream.
pub fn server() -> (WebSocket<Scripted>, Script) {
    open(Role::Server, &Config::new().ping_interval(None))
}

/// Opens a split server over a scripted stream.
pub fn split_server(config: Config) -> (Receiver<Scripted>, Sender, Script) {
    let (ws, script) = open(Role::Server, &config);
    let (receiver, sender) = ws.split();
    (receiver, sender, script)
}

/// Opens a client without keep-alive, over a scripted stream.
pub fn client() -> (WebSocket<Scripted>, Script) {
    open(Role::Client, &Config::new().ping_interval(None))
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the lock")
    }

    fn push(&self, read: Read) {
        let mut state = self.state();
        state.reads.push_back(read);
        state.reader.take().map(Waker::wake).unwrap_or_default();
    }

    /// Yields these bytes, in one read if the buffer has room.
    pub fn bring(&self, bytes: impl Into<Vec<u8>>) {
        self.push(Read::Data(bytes.into()));
    }

    /// Makes the next read pending once.
    pub fn pause(&self) {
        self.push(Read::Pending);
    }

    /// Yields these bytes repeatedly, one read each, and is never pending, like a peer that is
    /// faster than this end.
    pub fn bring_endlessly(&self, bytes: impl Into<Vec<u8>>) {
        self.cooperate();
        self.push(Read::Endless(bytes.into()));
    }

    /// Makes reads use the task's budget, as those of tokio's streams do.
    pub fn cooperate(&self) {
        self.state().cooperative = true;
    }

    /// Ends the stream, after what was to be read before.
    pub fn end(&self) {
        self.push(Read::Eof);
    }

    /// Makes reads fail, after what was to be read before.
    pub fn fail_reads(&self, kind: io::ErrorKind) {
        self.push(Read::Error(kind));
    }

    pub fn read_at_most(&self, len: usize) {
        self.state().read_at_most = len;
    }

    pub fn write_at_most(&self, len: usize) {
        self.state().write_at_most = len;
    }

    /// Accepts this many more bytes, then is pending; `None` for no limit.
    pub fn allow_writes(&self, room: impl Into<Option<usize>>) {
        let mut state = self.state();
        state.write_room = room.into();
        state.writer.take().map(Waker::wake).unwrap_or_default();
    }

    /// Makes writes fail.
    pub fn fail_writes(&self, kind: io::ErrorKind) {
        let mut state = self.state();
        state.write_error = Some(kind);
        state.writer.take().map(Waker::wake).unwrap_or_default();
    }

    /// Makes every other write and flush pending twice.
    pub fn stutter(&self) {
        self.state().stutter = true;
    }

    /// Makes flushes pending, or lets them complete again.
    pub fn block_flush(&self, blocked: bool) {
        let mut state = self.state();
        state.flush_blocked = blocked;
        state.writer.take().map(Waker::wake).unwrap_or_default();
    }

    pub fn no_vectored_writes(&self) {
        self.state().vectored = false;
    }

    /// Returns everything that was written.
    pub fn written(&self) -> Vec<u8> {
        self.state().written.clone()
    }

    /// Returns everything that was written since the last call.
    pub fn take_written(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().written)
    }

    /// Returns the number of reads that yielded data.
    pub fn reads(&self) -> usize {
        self.state().reads_with_data
    }

    /// Returns the number of calls to read.
    pub fn read_polls(&self) -> usize {
        self.state().read_polls
    }

    /// Returns the number of writes that accepted data.
    pub fn writes(&self) -> usize {
        self.state().writes
    }

    pub fn flushes(&self) -> usize {
        self.state().flushes
    }

    pub fn is_shut_down(&self) -> bool {
        self.state().shut_down
    }

    /// Returns whether the connection has dropped its stream.
    pub fn is_dropped(&self) -> bool {
        self.state().dropped
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.state().dropped = true;
    }
}

impl Scripted {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the lock")
    }
}

impl State {
    /// Returns whether this write or flush is pending.
    fn stutters(&mut self, cx: &Context<'_>) -> bool {
        self.stuttered = if self.stutter { (self.stuttered + 1) % 3 } else { 0 };
        let stutters = self.stuttered > 0;
        if stutters {
            cx.waker().wake_by_ref();
        }
        stutters
    }

    fn write(&mut self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.write_error {
            return Poll::Ready(Err(kind.into()));
        }
        if self.shut_down {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.stutters(cx) {
            return Poll::Pending;
        }
        let mut room = self.write_at_most.min(self.write_room.unwrap_or(usize::MAX));
        if room == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut taken = 0;
        for slice in slices {
            let len = slice.len().min(room);
            self.written.extend_from_slice(&slice[..len]);
            room -= len;
            taken += len;
        }
        if let Some(left) = &mut self.write_room {
            *left -= taken;
        }
        self.writes += 1;
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.read_polls += 1;
        if state.cooperative {
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        let at_most = state.read_at_most.min(buffer.remaining());
        match state.reads.pop_front() {
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(Read::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Read::Error(kind)) => {
                state.reads.push_front(Read::Error(kind));
                Poll::Ready(Err(kind.into()))
            }
            Some(Read::Eof) => {
                state.reads.push_front(Read::Eof);
                Poll::Ready(Ok(()))
            }
            Some(Read::Endless(data)) => {
                assert!(data.len() <= at_most, "an endless read fits into the buffer");
                buffer.put_slice(&data);
                state.reads.push_front(Read::Endless(data));
                state.reads_with_data += 1;
                Poll::Ready(Ok(()))
            }
            Some(Read::Data(mut data)) => {
                let rest = data.split_off(data.len().min(at_most));
                buffer.put_slice(&data);
                if !rest.is_empty() {
                    state.reads.push_front(Read::Data(rest));
                }
                state.reads_with_data += usize::from(!data.is_empty());
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.state().write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state().write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.state().vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.flush_blocked {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if state.stutters(cx) {
            return Poll::Pending;
        }
        state.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().shut_down = true;
        Poll::Ready(Ok(()))
    }
}
