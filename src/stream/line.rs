//! What the receiving half of a connection needs of the rest of it: the way out, and the stream.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    pool::{self, Scratch},
    transport::Transport,
};
use crate::{
    Error, Outgoing, Role,
    proto::{Lent, MaskKey, PayloadMut, Received, SendError, SendPath},
};

/// The way out and the stream, owned or shared.
///
/// Receiving is written once, over this: [`Own`] is a connection in one piece, without a lock; a split one shares them
/// with its senders.
pub(super) trait Line {
    /// Calls the way out, with a fresh masking key and, where it may need more than it has borrowed, what the thread lends.
    fn with_send<T>(&mut self, call: impl FnOnce(&mut SendPath, MaskKey, &mut Lent) -> T) -> T;

    /// Queues the answer that is owed to what was received, if one is.
    fn answer(&mut self, received: &Received<'_>) {
        if let Received::Close(_) = received
            && !self.outlook().waiting
        {
            self.verdict(Verdict::excuse_writes);
        }
        self.with_send(|send, key, lent| send.answer(received, key, lent));
    }

    /// What was read is handled, from here on the receiver may have to wait: whoever wants it is to wake it.
    fn park(&mut self, _: &mut Context<'_>) {}

    /// How things stand on the way out.
    fn outlook(&mut self) -> Outlook;

    /// Whether the stream has taken anything since this was last asked.
    fn take_progressed(&mut self) -> bool;

    /// Gives up writing: what waits will never go.
    fn end_write(&mut self);

    /// What ended the connection.
    fn verdict<T>(&mut self, call: impl FnOnce(&mut Verdict) -> T) -> T;

    /// Writes what is queued until all of it is out and flushed, or the stream takes no more.
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the write side, after what was queued is out.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads into the scratch; 0 is the end of the stream.
    fn poll_read(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// Reads into a message's own buffer; 0 is the end of the stream.
    fn poll_read_payload(&mut self, room: PayloadMut<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
}

/// How things stand on the way out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    pub(super) role: Role,
    /// Something staged waits for the stream.
    pub(super) stuck: bool,
    /// Something is queued or staged.
    pub(super) waiting: bool,
    /// Our Close is queued or sent.
    pub(super) close_sent: bool,
    /// The stream takes no more, because we shut it down or it failed.
    pub(super) write_ended: bool,
}

/// What ended the connection, or will: it is told once.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    error: Option<Box<Error>>,
    told: bool,
    /// The peer leaves, and nothing of ours is under way to it: that a write fails is no news.
    writes_excused: bool,
}

impl Verdict {
    /// Keeps what will have ended the connection, until it is told.
    pub(super) fn keep(&mut self, error: Error) {
        let excused = self.writes_excused && matches!(error, Error::Transport(_));
        if !self.told && !excused && self.error.is_none() {
            self.error = Some(Box::new(error));
        }
    }

    /// Hands out what was kept.
    pub(super) fn tell(&mut self) -> Option<Error> {
        let error = self.error.take()?;
        self.told = true;
        Some(*error)
    }

    /// Notes that from here on a failed write loses nothing but our Close.
    pub(super) fn excuse_writes(&mut self) {
        self.writes_excused = true;
    }
}

/// A line in one hand.
#[derive(Debug)]
pub(super) struct Own<S> {
    pub(super) transport: Transport<S>,
    pub(super) send: SendPath,
    pub(super) verdict: Verdict,
}

impl<S> Own<S> {
    #[inline]
    pub(super) fn with_send<T>(&mut self, call: impl FnOnce(&mut SendPath, MaskKey, &mut Lent) -> T) -> T {
        with_path(&mut self.send, call)
    }

    /// Whether nothing is queued or staged.
    #[inline]
    pub(super) fn is_clear(&self) -> bool {
        self.send.is_clear() && self.transport.staged() == 0
    }

    /// Queues a short message at once, where others are queued; whether it did.
    #[inline(always)]
    pub(super) fn send_plain(&mut self, outgoing: &Outgoing<'_>) -> bool {
        // Without a queue it cannot be, and a masking key is not for nothing.
        if !self.send.is_borrowing() || self.transport.is_write_ended() {
            return false;
        }
        let key = mask_key(self.send.role());
        self.send.send_plain(outgoing, key, self.transport.staged())
    }

    /// Stages a message at once, where nothing is queued or staged.
    #[inline]
    pub(super) fn send_staged(&mut self, outgoing: &mut Outgoing<'_>) -> Result<(), SendError> {
        let key = mask_key(self.send.role());
        self.send.send_staged(outgoing, key, self.transport.batch())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line for Own<S> {
    #[inline]
    fn with_send<T>(&mut self, call: impl FnOnce(&mut SendPath, MaskKey, &mut Lent) -> T) -> T {
        Own::with_send(self, call)
    }

    #[inline]
    fn outlook(&mut self) -> Outlook {
        Outlook {
            role: self.send.role(),
            stuck: self.transport.is_stuck(),
            waiting: self.transport.is_stuck() || self.send.queued() > 0,
            close_sent: self.send.is_close_sent(),
            write_ended: self.transport.is_write_ended(),
        }
    }

    fn take_progressed(&mut self) -> bool {
        self.transport.take_progressed()
    }

    fn end_write(&mut self) {
        self.transport.end_write(&mut self.send);
    }

    fn verdict<T>(&mut self, call: impl FnOnce(&mut Verdict) -> T) -> T {
        call(&mut self.verdict)
    }

    #[inline]
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_transmit(&mut self.send, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(&mut self.send, cx)
    }

    #[inline]
    fn poll_read(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.transport.poll_read(scratch, cx)
    }

    fn poll_read_payload(&mut self, room: PayloadMut<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.transport.poll_read_payload(room, cx)
    }
}

/// Calls the way out, with a fresh masking key and, where it may need more than it has borrowed, what the thread lends.
#[inline]
pub(super) fn with_path<T>(
    send: &mut SendPath,
    call: impl FnOnce(&mut SendPath, MaskKey, &mut Lent) -> T,
) -> T {
    let key = mask_key(send.role());
    if send.is_borrowing() {
        call(send, key, &mut Lent::new())
    } else {
        pool::with_lent(|lent| call(send, key, lent))
    }
}

/// A fresh masking key for a client; a server has no use for one.
#[inline(always)]
fn mask_key(role: Role) -> MaskKey {
    match role {
        Role::Client => pool::mask_key(),
        Role::Server => MaskKey::default(),
    }
}
