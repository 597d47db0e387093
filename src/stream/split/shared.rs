//! What the halves of a split connection share.

use std::{
    fmt,
    future::Future,
    io, mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Buf;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    sync::{Notify, Semaphore},
    task::yield_now,
};

use super::{
    parked::{OnRead, Parked},
    sync::{Flag, Guard, Mutex},
};
use crate::{
    Error, Role,
    error::Timeout,
    proto::{Batch, Buffers, Closing, MaskKey, PayloadMut, ReceivePath, SendError, SendPath},
    stream::{
        line::{Line, LineParts, Outlook, Own, Verdict, with_path},
        pool::{self, Scratch},
        stats::Sent,
        timers::{Pings, Timeouts},
        transport::{Path, Source, Transport, poll_compress, poll_unit},
        watchdog::Watchdog,
    },
};

/// What the halves share: the queue behind one lock, the stream and the batch being written behind another.
///
/// The first is held for moments, and never while the second is waited for. The second is held for one call of the
/// stream; who finds it taken leaves a note, and who releases it looks at the queue again. No lock is held over an await.
pub(super) struct Shared<T: ?Sized> {
    state: Mutex<State>,
    /// The bytes that may still be queued: waiters are served first come first served.
    room: Semaphore,
    capacity: u32,
    role: Role,
    /// Somebody wants to write, and may have found the transport taken.
    wanted: Flag,
    timeouts: Timeouts,
    /// Whether what is sent is counted.
    counts: bool,
    /// The runtime in which the connection was split: senders may be used outside of it.
    runtime: Option<Handle>,
    pub(super) parked: Arc<Parked>,
    /// Wakes all that are parked: for the write half of the stream.
    waker: Waker,
    /// Wakes the receiver: for the read half.
    read_waker: Waker,
    /// Notified when nothing can be sent any more.
    closed: Notify,
    transport: Mutex<T>,
}

impl<T: ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The queue, and how things stand with what left it.
#[derive(Debug)]
struct State {
    send: SendPath,
    verdict: Verdict,
    /// How many bytes have been queued in order.
    fed: u64,
    /// How many of them are staged at the latest.
    staged_through: u64,
    /// How many of them the stream has taken, and holds none of back.
    flushed: u64,
    /// Up to where those who wait for it know of it.
    told: u64,
    /// How many bytes of room are taken.
    held: usize,
    /// How the transport stands.
    staged: usize,
    stuck: bool,
    /// The transport's own count of that.
    taken: u64,
    /// How often the stream has taken something, or has got stuck; it wraps around.
    moves: u32,
    /// How many bytes of pings and pongs wait.
    overtaking: usize,
    write_ended: bool,
    /// The pings of the application that the receiver does not know of yet.
    pings: Pings,
    /// There if somebody wants to know.
    sent: Option<Box<Sent>>,
}

/// The stream, whatever its type.
pub(super) trait Transmit: Send {
    fn poll_transmit(&mut self, source: &mut dyn Source, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn end_write(&mut self, source: &mut dyn Source);
    fn standing(&mut self) -> Standing;

    /// Takes the stream, of whatever type, to drop it.
    fn abort(&mut self) -> Option<Box<dyn Send>>;
}

/// How a transport stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    staged: usize,
    stuck: bool,
    taken: u64,
    written: u32,
    write_ended: bool,
}

/// A transport until the receiver is dropped, and the stream with it.
pub(super) struct Slot<S>(Option<Transport<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transmit for Slot<S> {
    fn poll_transmit(&mut self, source: &mut dyn Source, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |transport| transport.poll_transmit(source, cx))
    }

    fn end_write(&mut self, source: &mut dyn Source) {
        if let Some(transport) = &mut self.0 {
            transport.end_write(source);
        }
    }

    fn standing(&mut self) -> Standing {
        match &mut self.0 {
            Some(transport) => Standing {
                staged: transport.staged(),
                stuck: transport.is_stuck(),
                taken: transport.moves(),
                written: transport.written(),
                write_ended: transport.is_write_ended(),
            },
            None => Standing { staged: 0, stuck: false, taken: 0, written: 0, write_ended: true },
        }
    }

    fn abort(&mut self) -> Option<Box<dyn Send>> {
        self.0.take().map(|transport| Box::new(transport) as Box<dyn Send>)
    }
}

/// What has changed with the use of a transport.
#[derive(Debug)]
struct News {
    /// Bytes of room that are free again.
    released: usize,
    /// A flush may be complete, or never will be.
    for_senders: bool,
    /// There is a deadline to watch.
    for_receiver: bool,
}

impl State {
    /// Keeps the books after the transport was used.
    fn settle(&mut self, standing: Standing) -> News {
        let before = (self.told, self.overtaking, self.stuck, self.write_ended);
        let progressed = mem::replace(&mut self.taken, standing.taken) != standing.taken;
        self.staged = standing.staged;
        self.stuck = standing.stuck;
        // To get stuck counts too: from then on the stream has all its time.
        self.moves = self.moves.wrapping_add(u32::from(progressed || (self.stuck && !before.2)));
        if let Some(sent) = &mut self.sent {
            sent.written(standing.written);
        }
        self.write_ended |= standing.write_ended;
        let waiting = self.send.queued_in_order_bytes();
        if !self.stuck && !self.write_ended {
            self.flushed = self.fed - waiting as u64;
        }
        self.overtaking = self.send.queued_bytes() - waiting;
        self.told = self.flushed;
        News {
            released: self.release(),
            for_senders: self.flushed != before.0 || self.overtaking < before.1 || self.write_ended,
            for_receiver: (self.stuck && !before.2) || (self.write_ended && !before.3),
        }
    }

    /// Notes that something was moved to the batch.
    fn note_staged(&mut self, batch: Option<&Batch>) {
        self.staged_through = self.fed - self.send.queued_in_order_bytes() as u64;
        self.staged = batch.map_or(0, Buf::remaining);
    }

    /// How many bytes of room are free again: those of what has been written. Whoever sends a message in parts keeps all
    /// of it to the end.
    fn release(&mut self) -> usize {
        if self.send.is_message_open() {
            return 0;
        }
        let held = self.held.min(self.send.queued_in_order_bytes() + self.staged);
        let released = self.held - held;
        self.held = held;
        released
    }
}

/// How many strides are compressed while the transport is locked, so that the receiver does not wait for long to read.
const STRIDES: u8 = 16;

/// The queue as a transport finds it, which locks it for each look. Messages are compressed while it is not locked.
struct Locked<'a> {
    state: &'a Mutex<State>,
    /// How many strides may still be compressed.
    strides: u8,
    /// Whether there are more to compress.
    exhausted: bool,
}

impl<'a> Locked<'a> {
    fn new(state: &'a Mutex<State>) -> Self {
        Self { state, strides: STRIDES, exhausted: false }
    }
}

impl Source for Locked<'_> {
    fn poll_stage(&mut self, batch: &mut Option<Box<Batch>>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state.lock();
        // What was staged before is all taken and flushed.
        state.flushed = state.staged_through;
        if state.send.has_uncompressed() {
            drop(state);
            return poll_compress(self, batch.get_or_insert_with(pool::batch), cx);
        }
        let staged = state.send.poll_stage(batch, cx);
        state.note_staged(batch.as_deref());
        staged
    }

    fn clear(&mut self) -> bool {
        Source::clear(&mut self.state.lock().send)
    }
}

impl Path for Locked<'_> {
    fn with<T>(
        &mut self,
        batch: &mut Batch,
        call: impl FnOnce(&mut SendPath, &mut Batch, &mut Buffers) -> T,
    ) -> T {
        let mut state = self.state.lock();
        let result = state.send.with(batch, call);
        state.note_staged(Some(batch));
        result
    }

    fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(left) = self.strides.checked_sub(1) else {
            self.exhausted = true;
            return Poll::Pending;
        };
        self.strides = left;
        poll_unit(cx)
    }
}

impl<S> Shared<Slot<S>> {
    pub(super) fn new(line: Own<S>, timeouts: Timeouts) -> Self {
        let LineParts { transport, send, verdict, pings, sent } = line.into_parts();
        let parked = Arc::new(Parked::default());
        let capacity =
            u32::try_from(send.max_write_buffer_size()).unwrap_or(u32::MAX).clamp(1, (1 << 29) - 1);
        let waiting = send.queued_in_order_bytes() + transport.staged();
        let held = waiting.min(capacity as usize);
        let room = Semaphore::new(capacity as usize - held);
        if send.is_close_sent() || transport.is_write_ended() {
            room.close();
        }
        let (staged, stuck, counts) = (transport.staged(), transport.is_stuck(), sent.is_some());
        // One more than what waits, where the stream holds something back or something is lost: so a flush is not done.
        let fed = waiting as u64 + u64::from(stuck || transport.has_lost());
        let role = send.role();
        let state = State {
            staged_through: transport.staged() as u64,
            flushed: 0,
            told: 0,
            write_ended: transport.is_write_ended(),
            taken: transport.moves(),
            moves: 0,
            pings,
            sent: sent.map(Box::new),
            overtaking: send.queued_bytes() - send.queued_in_order_bytes(),
            send,
            verdict,
            fed,
            held,
            staged,
            stuck,
        };
        Self {
            state: Mutex::new(state),
            room,
            capacity,
            role,
            wanted: Flag::default(),
            timeouts,
            counts,
            runtime: Handle::try_current().ok(),
            waker: Waker::from(parked.clone()),
            read_waker: Waker::from(Arc::new(OnRead(parked.clone()))),
            closed: Notify::new(),
            parked,
            transport: Mutex::new(Slot(Some(transport))),
        }
    }

    /// Takes the stream and the queue back out.
    fn take(&self) -> Option<LineParts<S>> {
        let transport = self.transport.lock().0.take()?;
        let mut state = self.state.lock();
        let (verdict, pings) = (mem::take(&mut state.verdict), mem::take(&mut state.pings));
        let sent = state.sent.take().map(|sent| *sent);
        let send = state.send.take();
        (state.staged, state.stuck) = (0, false);
        drop(state);
        self.close();
        Some(LineParts { transport, send, verdict, pings, sent })
    }
}

impl<T: ?Sized> Shared<T> {
    /// Nothing more can be sent: whoever waits learns it. The receiver too, for a deadline runs from here on.
    fn close(&self) {
        self.room.close();
        self.closed.notify_waiters();
        self.parked.wake_all();
    }

    /// Waits until nothing can be sent any more.
    pub(super) async fn closed(&self) {
        let mut closed = pin!(self.closed.notified());
        closed.as_mut().enable();
        if !self.room.is_closed() {
            closed.await;
        }
    }
}

impl<T: Transmit + ?Sized> Shared<T> {
    /// How much room a message of this length needs: one that is larger than all the room needs all of it.
    pub(super) fn need(&self, payload_len: usize) -> u32 {
        let frame = SendPath::frame_len(payload_len, self.role);
        u32::try_from(frame).map_or(self.capacity, |frame| frame.min(self.capacity))
    }

    pub(super) fn room(&self) -> &Semaphore {
        &self.room
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Returns where the closing handshake stands.
    pub(super) fn closing(&self, receive: &ReceivePath) -> Closing {
        Closing::of(&self.state.lock().send, receive)
    }

    /// Calls the way out. What is queued in order by it takes `room` that the caller has acquired.
    pub(super) fn with_send<R>(
        &self,
        room: usize,
        call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> R,
    ) -> R {
        self.with_state(self.state.lock(), room, call).0
    }

    /// Calls the way out, unless what is queued now would never go: the caller may have got its room before. Gives up to
    /// where a flush of it has to get. What ended the connection is told only by who asks for it: [`error`](Self::error).
    pub(super) fn with_open(
        &self,
        room: usize,
        call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> Result<(), SendError>,
    ) -> Result<u64, SendError> {
        let state = self.state.lock();
        if state.write_ended || state.send.is_close_sent() {
            return Err(SendError::Closing);
        }
        let (result, target) = self.with_state(state, room, call);
        result.map(|()| target)
    }

    /// What to tell of this: what ended the connection, where that is why.
    pub(super) fn error(&self, error: SendError) -> Error {
        match error {
            SendError::Closing => self.why_closed(),
            other => Error::Send(other),
        }
    }

    fn with_state<R>(
        &self,
        mut state: Guard<'_, State>,
        room: usize,
        call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> R,
    ) -> (R, u64) {
        let before = state.send.queued_in_order_bytes();
        let result = with_path(&mut state.send, call);
        state.fed += (state.send.queued_in_order_bytes() - before) as u64;
        state.overtaking = state.send.queued_bytes() - state.send.queued_in_order_bytes();
        state.held += room;
        let (closing, target) = (state.send.is_close_sent(), state.fed);
        // The room of a permit may be more than the message takes.
        let released = state.release();
        drop(state);
        if released > 0 {
            self.room.add_permits(released);
            self.wake_for_room();
        }
        if closing && !self.room.is_closed() {
            self.close();
        }
        (result, target)
    }

    /// Writes what is queued, unless somebody does: who does looks again afterwards.
    pub(super) fn drive(&self) {
        self.wanted.set();
        self.serve();
    }

    /// Writes for those who found the transport taken.
    fn serve(&self) {
        while self.wanted.is_set() {
            let Some(transport) = self.transport.try_lock() else { return };
            self.wanted.clear();
            let _pending = self.transmit(transport);
        }
    }

    /// Writes what is queued. Where that fails, the error goes to who hears of it first.
    fn transmit(&self, transport: Guard<'_, T>) -> Poll<()> {
        let mut queue = Locked::new(&self.state);
        let transmitted = self.with_transport(transport, |transport, cx| {
            transport.poll_transmit(&mut queue, cx).map(|result| {
                if let Err(error) = result {
                    self.state.lock().verdict.keep(Error::Transport(error));
                }
            })
        });
        if queue.exhausted {
            // Whoever waits is woken to continue, once others had their turn, at the transport too.
            let _pending = pin!(yield_now()).poll(&mut Context::from_waker(&self.waker));
        }
        transmitted
    }

    /// Uses the transport and keeps the books; once it is released, wakes those for whom something has changed.
    fn with_transport<R>(
        &self,
        mut transport: Guard<'_, T>,
        call: impl FnOnce(&mut T, &mut Context<'_>) -> R,
    ) -> R {
        let result = call(&mut transport, &mut Context::from_waker(&self.waker));
        let standing = transport.standing();
        let news = self.state.lock().settle(standing);
        drop(transport);
        self.room.add_permits(news.released);
        if standing.write_ended && !self.room.is_closed() {
            self.close();
        }
        if news.for_senders {
            self.parked.wake_senders();
        } else if news.released > 0 {
            self.wake_for_room();
        }
        if news.for_receiver {
            self.parked.wake_receiver();
        }
        result
    }

    /// Gives back the room that nobody needs any more.
    pub(super) fn release(&self) {
        let released = self.state.lock().release();
        self.room.add_permits(released);
        self.wake_for_room();
    }

    /// Wakes those who wait for room and whom the semaphore does not know, where there is some.
    pub(super) fn wake_for_room(&self) {
        if self.room.available_permits() > 0 {
            self.parked.wake_for_room();
        }
    }

    /// All the room that there is.
    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Asks the way out, unless nothing can be sent any more.
    pub(super) fn ask(&self, ask: impl FnOnce(&SendPath, usize) -> bool) -> Result<bool, Error> {
        let state = self.state.lock();
        if state.send.is_close_sent() || state.write_ended {
            drop(state);
            return Err(self.why_closed());
        }
        Ok(ask(&state.send, state.staged))
    }

    /// Up to where a flush that begins now has to get.
    pub(super) fn flush_target(&self) -> u64 {
        self.state.lock().fed
    }

    /// Whether all up to there is flushed; an error where it never will be.
    pub(super) fn is_flushed(&self, target: u64) -> Result<bool, Error> {
        let state = self.state.lock();
        let flushed = state.flushed >= target;
        if flushed || !state.write_ended {
            return Ok(flushed);
        }
        drop(state);
        Err(self.why_closed())
    }

    /// Ends the connection: takes the stream away.
    pub(super) fn abort(&self) {
        let stream = self.with_transport(self.transport.lock(), |transport, _| {
            let mut state = self.state.lock();
            // What the program does itself is no error that the receiver has to report.
            state.verdict.settle();
            drop(state);
            Locked::new(&self.state).clear();
            transport.abort()
        });
        // Dropped once no lock is held, for that may run code of any kind.
        drop(stream);
    }

    /// Counts messages that were queued, if anybody wants to know.
    pub(super) fn count_sent(&self, messages: u64) {
        if self.counts
            && let Some(sent) = &mut self.state.lock().sent
        {
            sent.messages(messages);
        }
    }

    /// Returns the counters of this side, if they were asked for.
    pub(super) fn sent(&self) -> Option<Sent> {
        self.state.lock().sent.as_deref().copied()
    }

    /// Records a ping that the application has sent.
    pub(super) fn pinged(&self, payload: &[u8]) {
        self.state.lock().pings.sent(payload);
    }

    /// Judges the deadline of a sender that has to wait: where the stream has taken nothing for too long, this ends the
    /// connection, which wakes whoever waits.
    pub(super) fn watch(&self, watchdog: &mut Watchdog, cx: &mut Context<'_>) {
        loop {
            let state = self.state.lock();
            let (moves, closing) = (state.moves, state.send.is_close_sent());
            drop(state);
            let Some((limit, timeout)) = self.timeouts.of_sender(closing) else { return };
            if watchdog.poll(limit, moves.into(), self.runtime.as_ref(), cx).is_pending() {
                return;
            }
            self.end_if_stuck_since(moves, timeout);
            watchdog.restart();
        }
    }

    /// Ends the connection if the stream is stuck, and has taken nothing since it had moved so often.
    fn end_if_stuck_since(&self, moves: u32, timeout: Timeout) {
        let state = self.state.lock();
        let stuck = state.stuck && state.moves == moves;
        drop(state);
        if stuck {
            self.with_transport(self.transport.lock(), |transport, _| {
                self.state.lock().verdict.keep(Error::Timeout(timeout));
                transport.end_write(&mut Locked::new(&self.state));
            });
        }
    }

    /// What ended the connection, if that has not been told and is not for the receiver to tell.
    pub(super) fn why_closed(&self) -> Error {
        let mut state = self.state.lock();
        let told = if state.write_ended { state.verdict.tell() } else { None };
        told.unwrap_or(Error::Closed)
    }

    pub(super) fn queued(&self) -> usize {
        let state = self.state.lock();
        state.send.queued_bytes() + state.staged
    }
}

/// The receiver's hold on what is shared. Dropped, it takes the stream along.
#[derive(Debug)]
pub(super) struct Half<S> {
    pub(super) shared: Arc<Shared<Slot<S>>>,
    /// Whether it is known to wait, or to be on its way.
    parked: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Half<S> {
    pub(super) fn new(shared: Arc<Shared<Slot<S>>>) -> Self {
        Self { shared, parked: false }
    }

    /// Nobody is to count on the receiver; what somebody did count on is written now, as far as that goes.
    #[inline]
    pub(super) fn leave(&mut self) {
        if mem::take(&mut self.parked) {
            self.leave_parked();
        }
    }

    #[inline(never)]
    fn leave_parked(&self) {
        if self.shared.parked.receiver_leaves() && self.shared.queued() > 0 {
            self.shared.drive();
        }
    }

    /// Calls a function with the stream, if it is still there.
    pub(super) fn with_ref<T>(&self, call: impl FnOnce(&S) -> T) -> Option<T> {
        let slot = self.shared.transport.lock();
        let result = slot.0.as_ref().map(|transport| call(transport.get_ref()));
        drop(slot);
        // Somebody may have wanted to write meanwhile.
        self.shared.serve();
        result
    }

    /// Takes the stream and the queue back out.
    pub(super) fn take(&self) -> Option<LineParts<S>> {
        self.shared.take()
    }

    /// Uses the transport, then writes for those who found it taken; `None` where it is gone.
    fn with_transport<R>(&self, call: impl FnOnce(&mut Transport<S>, &mut Context<'_>) -> R) -> Option<R> {
        let slot = self.shared.transport.lock();
        let result =
            self.shared.with_transport(slot, |slot, cx| slot.0.as_mut().map(|transport| call(transport, cx)));
        self.shared.serve();
        result
    }
}

impl<S> Drop for Half<S> {
    fn drop(&mut self) {
        let taken = self.shared.take();
        self.shared.state.lock().write_ended = true;
        self.shared.parked.wake_all();
        drop(taken);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Line for Half<S> {
    fn park(&mut self, cx: &mut Context<'_>) {
        self.parked = true;
        self.shared.parked.park_receiver(cx.waker());
    }

    fn with_send<T>(&mut self, call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> T) -> T {
        self.shared.with_send(0, call)
    }

    fn outlook(&mut self) -> Outlook {
        let state = self.shared.state.lock();
        Outlook {
            role: state.send.role(),
            stuck: state.stuck,
            waiting: state.stuck || state.send.queued_bytes() > 0,
            owes_pong: state.send.owes_pong(),
            moves: state.moves.into(),
            close_sent: state.send.is_close_sent(),
            write_ended: state.write_ended,
        }
    }

    fn take_pings(&mut self) -> Pings {
        mem::take(&mut self.shared.state.lock().pings)
    }

    fn end_write(&mut self) {
        let shared = &self.shared;
        self.with_transport(|transport, _| transport.end_write(&mut Locked::new(&shared.state)));
    }

    fn verdict<T>(&mut self, call: impl FnOnce(&mut Verdict) -> T) -> T {
        call(&mut self.shared.state.lock().verdict)
    }

    fn poll_transmit(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = self.shared.state.lock();
        let idle = !state.stuck && state.send.queued_bytes() == 0;
        drop(state);
        if idle {
            return Poll::Ready(Ok(()));
        }
        let result = self.shared.transmit(self.shared.transport.lock());
        self.shared.serve();
        result.map(Ok)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = &self.shared;
        self.with_transport(|transport, cx| transport.poll_shutdown(&mut Locked::new(&shared.state), cx))
            .unwrap_or(Poll::Ready(Ok(())))
    }

    fn poll_read(&mut self, scratch: &mut Scratch, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(&self.shared.read_waker);
        self.with_transport(|transport, _| transport.poll_read(scratch, &mut cx))
            .unwrap_or(Poll::Ready(Ok(0)))
    }

    fn poll_read_payload(&mut self, room: PayloadMut<'_>, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(&self.shared.read_waker);
        self.with_transport(|transport, _| transport.poll_read_payload(room, &mut cx))
            .unwrap_or(Poll::Ready(Ok(0)))
    }
}
