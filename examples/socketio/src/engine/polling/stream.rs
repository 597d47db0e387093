//! The stream of a session that begins with polling, and may be upgraded.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use fullduplex::hyper::UpgradedStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{End, Polling, Upgraded};

/// The stream of a session that begins with polling: frames, which the requests of the client carry,
/// and later the WebSocket connection of an upgrade.
#[derive(Debug)]
pub(crate) struct SessionStream(Inner);

#[derive(Debug)]
enum Inner {
    Polling(Arc<Polling>),
    Upgraded {
        io: UpgradedStream,
        /// What the client sent before, by either transport, and was not read yet.
        unread: Bytes,
        /// What was written before and not fetched.
        unsent: Bytes,
        /// Who waits until `unsent` is written. The task that reads may write it.
        writer: Option<Waker>,
    },
}

impl SessionStream {
    pub(crate) fn new(polling: Arc<Polling>) -> Self {
        Self(Inner::Polling(polling))
    }

    /// Takes the WebSocket connection of an upgrade, if there is one.
    fn take_upgrade(&mut self) {
        let Inner::Polling(polling) = &self.0 else { return };
        let mut state = polling.lock();
        let Some(upgrade) = state.upgrade.take() else { return };
        let Upgraded { io, unread } = *upgrade;
        // What was posted precedes what the client sends over the new connection.
        let mut posted = std::mem::take(&mut state.inbox);
        posted.extend_from_slice(&unread);
        let unsent = state.outbox.take_all();
        drop(state);
        self.0 = Inner::Upgraded { io, unread: posted.freeze(), unsent, writer: None };
    }
}

impl AsyncRead for SessionStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Nobody else may have anything to write.
        if let Poll::Ready(written) = self.poll_unsent(cx) {
            written?;
            self.wake_writer();
        }
        match &mut self.0 {
            Inner::Polling(polling) => {
                let mut state = polling.lock();
                if !state.inbox.is_empty() {
                    take(&mut state.inbox, buf);
                    if state.inbox.is_empty()
                        && let Some(poster) = state.poster.take()
                    {
                        poster.wake();
                    }
                    return Poll::Ready(Ok(()));
                }
                if state.end.is_some() {
                    return Poll::Ready(Ok(()));
                }
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Inner::Upgraded { unread, .. } if !unread.is_empty() => {
                take(unread, buf);
                if unread.is_empty() {
                    *unread = Bytes::new();
                }
                Poll::Ready(Ok(()))
            }
            Inner::Upgraded { io, .. } => Pin::new(io).poll_read(cx, buf),
        }
    }
}

/// Moves what fits into a buffer.
fn take(from: &mut impl Buf, buf: &mut ReadBuf<'_>) {
    let len = from.remaining().min(buf.remaining());
    buf.put_slice(&from.chunk()[..len]);
    from.advance(len);
}

impl AsyncWrite for SessionStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before(cx))?;
        match &mut self.0 {
            Inner::Polling(polling) => {
                let mut state = polling.lock();
                if state.end == Some(End::Failed) {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                let mut written = 0;
                for buf in bufs {
                    let len = buf.len().min(state.outbox.room(polling.capacity));
                    state.outbox.push(&buf[..len]);
                    written += len;
                    if len < buf.len() {
                        break;
                    }
                }
                if written == 0 && bufs.iter().any(|buf| !buf.is_empty()) {
                    state.writer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                state.wake_poll();
                Poll::Ready(Ok(written))
            }
            Inner::Upgraded { io, .. } => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Polling(_) => true,
            Inner::Upgraded { io, .. } => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_before(cx))?;
        match &mut self.0 {
            // Whatever is fetched was written: there is nothing between the two.
            Inner::Polling(_) => Poll::Ready(Ok(())),
            Inner::Upgraded { io, .. } => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_before(cx))?;
        match &mut self.0 {
            // What is written last is a Close, which ends the session once it is fetched.
            Inner::Polling(_) => Poll::Ready(Ok(())),
            Inner::Upgraded { io, .. } => Pin::new(io).poll_shutdown(cx),
        }
    }
}

impl SessionStream {
    /// Waits, in order to write, until what precedes is written.
    fn poll_before(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.poll_unsent(cx);
        if before.is_pending()
            && let Inner::Upgraded { writer, .. } = &mut self.0
        {
            *writer = Some(cx.waker().clone());
        }
        before
    }

    fn wake_writer(&mut self) {
        if let Inner::Upgraded { writer, .. } = &mut self.0
            && let Some(writer) = writer.take()
        {
            writer.wake();
        }
    }

    /// Writes what precedes all that is written from now on.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_upgrade();
        let Inner::Upgraded { io, unsent, .. } = &mut self.0 else { return Poll::Ready(Ok(())) };
        while !unsent.is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            unsent.advance(written);
            if unsent.is_empty() {
                *unsent = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Ends the session: its task has ended.
impl Drop for SessionStream {
    fn drop(&mut self) {
        if let Inner::Polling(polling) = &self.0 {
            polling.fail();
        }
    }
}
