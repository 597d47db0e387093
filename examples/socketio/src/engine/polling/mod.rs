//! A session that polls: what its requests and its stream share.
//!
//! ```text
//!   POST ── frames ──▶ inbox ──▶ SessionStream ──▶ WebSocket ──▶ the session's task
//!   GET ◀── payload ── outbox ◀── SessionStream ◀── WebSocket ◀── Sender, from any task
//! ```
//!
//! The stream is that of a WebSocket connection, whose frames the requests carry. So a session has the
//! same sender, the same limits and the same deadlines with both transports, and an upgrade changes
//! the stream below the connection: nothing is sent twice, and nothing is lost.

mod frames;
mod outbox;
mod stream;

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use fullduplex::{hyper::UpgradedStream, proto::Opcode};

use self::outbox::Outbox;
pub(crate) use self::stream::SessionStream;
use super::{
    packet::Packet,
    payload::{InvalidPayload, Piece, decode_payload},
};

/// The payload of a Close with code 1000, which the client's packet `1` stands for.
const NORMAL_CLOSE: [u8; 2] = 1000_u16.to_be_bytes();

/// A session that polls.
#[derive(Debug)]
pub(crate) struct Polling {
    state: Mutex<State>,
    /// The number of bytes that wait for a poll before writing waits.
    capacity: usize,
    /// The number of packets that a POST may have.
    max_packets: usize,
}

#[derive(Debug, Default)]
struct State {
    inbox: BytesMut,
    outbox: Outbox,
    /// Who reads the stream, who writes to it, and who waits until the inbox is empty.
    reader: Option<Waker>,
    writer: Option<Waker>,
    poster: Option<Waker>,
    poll: Poller,
    is_posting: bool,
    is_probing: bool,
    end: Option<End>,
    /// The WebSocket connection of an upgrade, until the stream takes it.
    upgrade: Option<Box<Upgraded>>,
}

/// The GET that waits for data.
#[derive(Debug, Default)]
enum Poller {
    #[default]
    None,
    Waits(Option<Waker>),
    /// It has to end without data.
    Interrupted,
}

/// How a session has ended, or changed its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has sent the packet `1`.
    ByClient,
    /// The client has violated the protocol, or the session's task has ended.
    Failed,
    Upgraded,
}

/// A WebSocket connection of an upgrade.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) io: UpgradedStream,
    /// What was read from it behind the packet that completed the upgrade.
    pub(crate) unread: Bytes,
}

/// What a request violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Another request of its kind is under way.
    Concurrent,
    /// The session has ended, or does not poll any more.
    Ended,
}

impl Polling {
    /// Creates a session, for which this many bytes may wait.
    pub(crate) fn new(capacity: usize, max_packets: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), capacity, max_packets })
    }

    /// Begins a poll.
    ///
    /// # Errors
    /// A second poll ends the session.
    pub(crate) fn begin_poll(self: &Arc<Self>) -> Result<PollTurn, Violation> {
        let mut state = self.lock();
        match (state.end, &state.poll) {
            (Some(_), _) => Err(Violation::Ended),
            (None, Poller::None) => {
                state.poll = Poller::Waits(None);
                Ok(PollTurn { polling: self.clone(), is_done: false })
            }
            (None, _) => {
                state.fail();
                Err(Violation::Concurrent)
            }
        }
    }

    /// Begins a POST.
    ///
    /// # Errors
    /// A second POST ends the session.
    pub(crate) fn begin_post(self: &Arc<Self>) -> Result<PostTurn, Violation> {
        let mut state = self.lock();
        if state.end.is_some() {
            return Err(Violation::Ended);
        }
        if std::mem::replace(&mut state.is_posting, true) {
            state.fail();
            return Err(Violation::Concurrent);
        }
        Ok(PostTurn(self.clone()))
    }

    /// Begins an upgrade: a poll that waits ends, and later ones do not wait for long.
    ///
    /// # Errors
    /// Only one upgrade is attempted at a time.
    pub(crate) fn begin_probe(self: &Arc<Self>) -> Result<ProbeTurn, Violation> {
        let mut state = self.lock();
        if state.end.is_some() {
            return Err(Violation::Ended);
        }
        if std::mem::replace(&mut state.is_probing, true) {
            return Err(Violation::Concurrent);
        }
        Ok(ProbeTurn(self.clone()))
    }

    /// Returns whether an upgrade is attempted.
    pub(crate) fn is_probing(&self) -> bool {
        self.lock().is_probing
    }

    /// Ends the session, because the client has violated the protocol or has gone.
    pub(crate) fn fail(&self) {
        self.lock().fail();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic leaves the state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self) {
        self.end.get_or_insert(End::Failed);
        self.wake_all();
    }

    fn wake_all(&mut self) {
        self.wake_poll();
        for waker in [self.reader.take(), self.writer.take(), self.poster.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    fn wake_poll(&mut self) {
        if let Poller::Waits(waker) = &mut self.poll
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }

    /// Ends a poll that waits, with nothing.
    fn interrupt(&mut self) {
        let Poller::Waits(waker) = &mut self.poll else { return };
        let waker = waker.take();
        self.poll = Poller::Interrupted;
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        if self.end == Some(End::ByClient) {
            // It expects nothing more.
            return Poll::Ready("6".to_owned());
        }
        if let Some(fetched) = self.outbox.fetch() {
            if let Some(writer) = self.writer.take() {
                writer.wake();
            }
            if fetched.is_closed {
                // The client answers no Close: what it was sent ends the session.
                self.close();
            }
            return Poll::Ready(fetched.payload);
        }
        match (self.end, &mut self.poll) {
            (Some(End::Failed | End::ByClient), _) => Poll::Ready("1".to_owned()),
            (None, Poller::Waits(waker)) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            (Some(End::Upgraded), _) | (None, _) => Poll::Ready("6".to_owned()),
        }
    }

    /// Adds the Close of the client, behind which nothing arrives.
    fn close(&mut self) {
        if self.end.is_none() {
            self.end = Some(End::ByClient);
            frames::put(&mut self.inbox, Opcode::Close, &NORMAL_CLOSE);
        }
        self.wake_all();
    }
}

/// The turn of a poll. If it is dropped while it waits, the client has gone, and the session ends.
#[derive(Debug)]
pub(crate) struct PollTurn {
    polling: Arc<Polling>,
    is_done: bool,
}

impl PollTurn {
    /// Waits for packets.
    pub(crate) async fn fetch(&mut self) -> String {
        let polled = poll_fn(|cx| self.polling.lock().poll_fetch(cx)).await;
        self.is_done = true;
        polled
    }

    /// Ends the poll without packets, unless there are some.
    pub(crate) fn give_up(&mut self) {
        self.polling.lock().interrupt();
    }
}

impl Drop for PollTurn {
    fn drop(&mut self) {
        let mut state = self.polling.lock();
        state.poll = Poller::None;
        if !self.is_done {
            state.fail();
        }
    }
}

/// The turn of a POST.
#[derive(Debug)]
pub(crate) struct PostTurn(Arc<Polling>);

impl PostTurn {
    /// Waits until the session has received what was posted before.
    ///
    /// # Errors
    /// Fails if the session has ended.
    pub(crate) async fn ready(&mut self) -> Result<(), Violation> {
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.end.is_some() {
                return Poll::Ready(Err(Violation::Ended));
            }
            if state.inbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
            state.poster = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Passes a payload to the session. Returns whether its last packet is the end of the session.
    ///
    /// # Errors
    /// A payload that is not valid is not passed on, and ends the session.
    pub(crate) fn post(&mut self, payload: &str) -> Result<bool, InvalidPayload> {
        let mut posted = BytesMut::with_capacity(payload.len() + 16);
        let mut is_closed = false;
        for (count, piece) in decode_payload(payload).enumerate() {
            let piece = if count < self.0.max_packets { piece } else { Err(InvalidPayload::TooMany) };
            match piece.inspect_err(|_| self.0.fail())? {
                Piece::Binary(data) => frames::put(&mut posted, Opcode::Binary, &data),
                Piece::Text(Packet::Close) => {
                    is_closed = true;
                    break;
                }
                Piece::Text(packet) => {
                    // Written as it was: a packet has only one form.
                    frames::put(&mut posted, Opcode::Text, packet.to_string().as_bytes());
                }
            }
        }
        let mut state = self.0.lock();
        if state.end.is_some() {
            return Ok(false);
        }
        state.inbox.unsplit(posted);
        if is_closed {
            state.close();
        } else if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Ok(is_closed)
    }
}

impl Drop for PostTurn {
    fn drop(&mut self) {
        self.0.lock().is_posting = false;
    }
}

/// An attempt to upgrade. If it is dropped, the session continues to poll.
#[derive(Debug)]
pub(crate) struct ProbeTurn(Arc<Polling>);

impl ProbeTurn {
    /// Ends a poll that waits: the client has sent its probe.
    pub(crate) fn probed(&self) {
        self.0.lock().interrupt();
    }

    /// Replaces the transport of the session. Returns `false` if the session has ended.
    pub(crate) fn complete(self, upgraded: Upgraded) -> bool {
        let mut state = self.0.lock();
        if state.end.is_some() {
            return false;
        }
        state.end = Some(End::Upgraded);
        state.upgrade = Some(Box::new(upgraded));
        state.wake_all();
        true
    }
}

impl Drop for ProbeTurn {
    fn drop(&mut self) {
        self.0.lock().is_probing = false;
    }
}
