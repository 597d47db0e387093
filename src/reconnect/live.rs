//! An open connection of a client, and the messages that it is writing.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    backlog::{Backlog, Entry, Shutdown, Unresolved},
    builder::Hook,
    classify::Reason,
    queue::Delivery,
};
use crate::{Error, Message, Outgoing, Receiver, stream::TrackedSender};

/// The most messages that are held for the program, whatever their length.
const MAX_HELD: usize = 1024;

/// An open connection.
pub(super) struct Live<S> {
    receiver: Receiver<S>,
    sender: TrackedSender,
    /// The hook for the new connection, until it completes. Until then nothing of the queue is
    /// sent.
    hook: Option<Hook>,
    in_flight: VecDeque<InFlight>,
    /// Since when the connection is open and its hook has completed.
    ready: Option<Instant>,
    /// Whether our Close is queued.
    closing: bool,
}

/// A message that the connection has accepted and not flushed.
struct InFlight {
    position: u64,
    /// The message itself, if it is sent again after the connection is lost.
    copy: Option<Outgoing<'static>>,
    unresolved: Unresolved,
}

/// The messages that were received and not returned yet.
///
/// While the program receives, it is at most one. More are held only while it waits for something
/// else.
#[derive(Default)]
pub(super) struct Held {
    messages: VecDeque<Message>,
    bytes: usize,
    limit: usize,
    /// Whether there is no room for more, whatever the limits are.
    paused: bool,
}

impl Held {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    fn has_room(&self) -> bool {
        !self.paused && self.messages.len() < MAX_HELD && self.bytes < self.limit
    }

    #[cfg(feature = "calls")]
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    fn push(&mut self, message: Message) {
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Live<S> {
    pub(super) fn new(receiver: Receiver<S>, hook: Option<Hook>) -> Self {
        let sender = TrackedSender::new(receiver.sender());
        let ready = hook.is_none().then(Instant::now);
        Self { receiver, sender, hook, in_flight: VecDeque::new(), ready, closing: false }
    }

    /// Runs the connection. Returns `None` if a message was received, and otherwise why the
    /// connection has ended.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        backlog: &Backlog,
        shutdown: &Shutdown,
        held: &mut Held,
    ) -> Poll<Option<Reason>> {
        if let Shutdown::Requested(_) = shutdown
            && self.hook.take().is_some()
        {
            // The server does not expect them before what the hook would have sent.
            backlog.drop_waiting();
        }
        if let Some(reason) = self.poll_hook(cx) {
            return Poll::Ready(Some(reason));
        }
        // The queue first: receiving writes what was queued before it reads.
        self.feed(cx, backlog, shutdown);
        let received = if held.has_room() {
            self.poll_receive(cx, held)
        } else {
            self.sender.watch(cx);
            Poll::Pending
        };
        self.settle(cx, backlog);
        received
    }

    /// Runs the hook. Returns a reason if it ends the connection.
    fn poll_hook(&mut self, cx: &mut Context<'_>) -> Option<Reason> {
        let Poll::Ready(result) = self.hook.as_mut()?.as_mut().poll(cx) else { return None };
        self.hook = None;
        match result {
            Ok(()) => {
                self.ready = Some(Instant::now());
                None
            }
            // The connection has ended already, and the receiver will return why.
            Err(Reason::Lost(error)) if matches!(*error, Error::Closed) && self.receiver.is_closed() => None,
            Err(reason) => Some(reason),
        }
    }

    /// Moves messages from the queue to the connection, as long as there is room; then the Close,
    /// if the program closes.
    fn feed(&mut self, cx: &mut Context<'_>, backlog: &Backlog, shutdown: &Shutdown) {
        if self.hook.is_some() || self.closing {
            return;
        }
        while let Some(entry) = backlog.pop() {
            let (mut outgoing, retry, unresolved) = entry.into_parts();
            match self.sender.poll_feed(&mut outgoing, retry, cx) {
                Poll::Ready(Ok((position, copy))) => {
                    self.in_flight.push_back(InFlight { position, copy, unresolved });
                }
                // No room yet, or nothing more can be sent: for the next connection.
                _ => return backlog.push_front(Entry::new(outgoing, retry, unresolved)),
            }
        }
        if let Shutdown::Requested(frame) = shutdown {
            self.closing = true;
            // It fails only if the connection is closing already.
            let _ = self.sender.get_ref().start_close(Some(frame.clone()));
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, held: &mut Held) -> Poll<Option<Reason>> {
        self.receiver.poll_recv(cx).map(|received| match received {
            Ok(Some(message)) => {
                held.push(message);
                None
            }
            Ok(None) => Some(self.ended()),
            Err(error) => Some(Reason::Lost(Arc::new(error))),
        })
    }

    /// Returns how a connection ended that has no error.
    fn ended(&self) -> Reason {
        match self.receiver.closing() {
            crate::Closing::Complete => Reason::Closed(self.receiver.close_frame().cloned()),
            // A sender that the hook has kept has aborted the connection, or has returned its error.
            _ => Reason::Lost(Arc::new(Error::Closed)),
        }
    }

    /// Resolves what has been flushed, or never will be.
    fn settle(&mut self, cx: &mut Context<'_>, backlog: &Backlog) {
        while let Some(first) = self.in_flight.front() {
            match self.sender.poll_flushed(first.position, cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return self.lose(backlog),
                Poll::Pending => return,
            }
            if let Some(sent) = self.in_flight.pop_front() {
                backlog.resolve(sent.unresolved, Delivery::Sent);
            }
        }
    }

    /// Resolves all messages that the connection has accepted, which has ended: nothing more will
    /// be flushed.
    pub(super) fn lose(&mut self, backlog: &Backlog) {
        // From the last to the first, so that those that are sent again keep their order.
        for InFlight { position, copy, unresolved } in mem::take(&mut self.in_flight).into_iter().rev() {
            match copy {
                _ if self.sender.is_flushed(position) => backlog.resolve(unresolved, Delivery::Sent),
                Some(outgoing) => backlog.push_front(Entry::new(outgoing, true, unresolved.lost())),
                None => backlog.resolve(unresolved, Delivery::Unknown),
            }
        }
    }

    /// Returns whether the connection was ready for this long.
    pub(super) fn was_ready_for(&self, time: Duration) -> bool {
        self.ready.is_some_and(|ready| ready.elapsed() >= time)
    }

    /// Ends the wait of a task that no longer polls the connection.
    pub(super) fn stop_waiting(&mut self) {
        self.receiver.stop_waiting();
    }
}
