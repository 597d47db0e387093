//! The I/O side of a receiver: what it shares with the senders.

use std::{
    io, mem,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{locked::Locked, shared::Shared, transmit::Slot};
use crate::{
    Role,
    proto::{Buffers, MaskKey, PayloadMut, SendPath},
    stream::{
        io::{Io, IoParts, Outcome, WriteStatus},
        pings::Pings,
        pool::Scratch,
        transport::Transport,
    },
};

/// The I/O side of a receiver. Dropping it drops the stream.
#[derive(Debug)]
pub(super) struct SharedIo<S> {
    pub(super) shared: Arc<Shared<Slot<S>>>,
    /// Whether the receiver is registered as waiting, or has been woken.
    registered: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> SharedIo<S> {
    pub(super) fn new(shared: Arc<Shared<Slot<S>>>) -> Self {
        Self { shared, registered: false }
    }

    /// Deregisters the receiver. If a sender relied on it, writes what is queued, as far as that is
    /// possible without waiting.
    #[inline]
    pub(super) fn stop_waiting(&mut self) {
        if mem::take(&mut self.registered) {
            self.deregister();
        }
    }

    #[inline(never)]
    fn deregister(&self) {
        if self.shared.wait_list.deregister_receiver() && self.shared.queued_bytes() > 0 {
            self.shared.drive();
        }
    }

    /// Calls a function with the stream, unless that has been dropped.
    pub(super) fn with_ref<T>(&self, call: impl FnOnce(&S) -> T) -> Option<T> {
        let slot = self.shared.transport.lock();
        let result = slot.0.as_ref().map(|transport| call(transport.get_ref()));
        drop(slot);
        // A sender may have tried to write meanwhile.
        self.shared.write_if_requested();
        result
    }

    /// Takes the stream and the queue.
    pub(super) fn take(&self) -> Option<IoParts<S>> {
        self.shared.take()
    }

    /// Uses the transport, then writes for the senders that found it locked. Returns `None` if the
    /// stream has been dropped.
    fn with_transport<R>(&self, call: impl FnOnce(&mut Transport<S>, &mut Context<'_>) -> R) -> Option<R> {
        let slot = self.shared.transport.lock();
        let result =
            self.shared.with_transport(slot, |slot, cx| slot.0.as_mut().map(|transport| call(transport, cx)));
        self.shared.write_if_requested();
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> SharedIo<S> {
    /// Reads from the stream, then writes for the senders that found it locked. Reading does not change
    /// what the ledger knows of the stream. Returns 0 if the stream has been dropped.
    #[inline]
    fn read_with(
        &self,
        read: impl FnOnce(&mut Transport<S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut slot = self.shared.transport.lock();
        let read = match &mut slot.0 {
            Some(transport) => read(transport, &mut Context::from_waker(&self.shared.read_waker)),
            None => Poll::Ready(Ok(0)),
        };
        drop(slot);
        self.shared.write_if_requested();
        read
    }
}

impl<S> Drop for SharedIo<S> {
    fn drop(&mut self) {
        let taken = self.shared.take();
        self.shared.state.lock().ledger.end();
        self.shared.wait_list.wake_all();
        drop(taken);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for SharedIo<S> {
    fn register_receiver(&mut self, cx: &mut Context<'_>) {
        self.registered = true;
        self.shared.wait_list.register_receiver(cx.waker());
    }

    fn with_send<T>(&mut self, call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> T) -> T {
        self.shared.with_send(0, call)
    }

    fn write_status(&mut self) -> WriteStatus {
        self.shared.state.lock().status()
    }

    fn role(&self) -> Role {
        self.shared.role()
    }

    fn take_pings(&mut self) -> Pings {
        mem::take(&mut self.shared.state.lock().pings)
    }

    fn end_write(&mut self) {
        let shared = &self.shared;
        self.with_transport(|transport, _| transport.end_write(&mut Locked::new(&shared.state)));
    }

    fn outcome<T>(&mut self, call: impl FnOnce(&mut Outcome) -> T) -> T {
        call(&mut self.shared.state.lock().outcome)
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> (Poll<io::Result<()>>, WriteStatus) {
        let status = self.write_status();
        if !status.pending {
            return (Poll::Ready(Ok(())), status);
        }
        let (written, status) = self.shared.transmit(self.shared.transport.lock());
        let changed = self.shared.write_if_requested();
        (written.map(Ok), if changed { self.write_status() } else { status })
    }

    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transmit(cx).0
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = &self.shared;
        self.with_transport(|transport, cx| transport.poll_shutdown(&mut Locked::new(&shared.state), cx))
            .unwrap_or(Poll::Ready(Ok(())))
    }

    fn poll_read(&mut self, scratch: &mut Scratch, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read_with(|transport, cx| transport.poll_read(scratch, cx))
    }

    fn poll_read_payload(&mut self, room: PayloadMut<'_>, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.read_with(|transport, cx| transport.poll_read_payload(room, cx))
    }
}
