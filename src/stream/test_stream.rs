//! A stream whose input and output the unit tests of this directory specify.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that contains reads, and accepts as many bytes as it is allowed to. Clones are handles
/// to the same stream. It wakes no task.
#[derive(Debug, Clone, Default)]
pub(super) struct TestStream(Arc<Mutex<TestStreamState>>);

#[derive(Debug, Default)]
pub(super) struct TestStreamState {
    /// What is read, one entry per read; an empty one is the end of the stream.
    pub(super) input: VecDeque<Vec<u8>>,
    pub(super) written: Vec<u8>,
    /// The number of bytes that are still accepted; `None` for all.
    pub(super) room: Option<usize>,
    /// Whether vectored writes are supported.
    pub(super) vectored: bool,
    pub(super) writes: usize,
    /// Whether the next write panics.
    pub(super) panics: bool,
    /// The error of the next write.
    pub(super) write_error: Option<io::ErrorKind>,
    pub(super) flushes: usize,
    /// Whether flushes are pending.
    pub(super) holds_back: bool,
    pub(super) is_shut_down: bool,
}

impl TestStream {
    pub(super) fn state(&self) -> MutexGuard<'_, TestStreamState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts at most `room` bytes from now on.
    pub(super) fn limited(room: usize) -> Self {
        let stream = Self::default();
        stream.state().room = Some(room);
        stream
    }

    /// Contains one read.
    pub(super) fn containing(input: impl Into<Vec<u8>>) -> Self {
        let stream = Self::default();
        stream.state().input.push_back(input.into());
        stream
    }

    /// Returns what has been written since the last call.
    pub(super) fn take_written(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().written)
    }
}

impl TestStreamState {
    fn accept(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut self.panics) {
            std::panic::resume_unwind(Box::new("a stream that panics"));
        }
        if let Some(error) = self.write_error.take() {
            return Poll::Ready(Err(error.into()));
        }
        let accepted = self.room.unwrap_or(usize::MAX).min(bytes.len());
        if accepted == 0 {
            return Poll::Pending;
        }
        self.writes += 1;
        self.room = self.room.map(|room| room - accepted);
        self.written.extend_from_slice(&bytes[..accepted]);
        Poll::Ready(Ok(accepted))
    }
}

impl AsyncRead for TestStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(read) = self.state().input.pop_front() else { return Poll::Pending };
        buffer.put_slice(&read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TestStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.state().accept(bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.state().accept(&bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.state().vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.flushes += 1;
        if state.holds_back { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().is_shut_down = true;
        Poll::Ready(Ok(()))
    }
}
