//! The state that the halves of a split connection share.

use std::{
    fmt, mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Buf;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, SemaphorePermit},
};

use super::{
    ledger::{Changes, Ledger, Queued},
    locked::Locked,
    sync::{Guard, Mutex, Request},
    transmit::{Slot, Transmit},
    wait_list::{ReadWaker, Wait, WaitList},
};
use crate::{
    Error, Outgoing, Role,
    error::Timeout,
    proto::{Batch, Buffers, Closing, MaskKey, ReceivePath, SendError, SendPath},
    stream::{
        io::{IoParts, Outcome, OwnedIo, WriteStatus, mask_key, queue_message, with_path},
        pings::Pings,
        stats::SendCounters,
        strides::TURN,
        transport::{Moves, Source, TransportStatus},
        watchdog::Watchdog,
        write_clock::WriteLimits,
    },
    trace::ConnectionEvents,
};

/// The state that the halves share: the queue behind one lock, the stream and its batch behind
/// another.
///
/// The first lock is held briefly, and never while waiting for the second. The second is held for
/// one call of the stream. A task that finds it taken leaves a request, and the task that releases
/// it checks the queue again. No lock is held across an await.
pub(super) struct Shared<T: ?Sized> {
    pub(super) state: Mutex<SendState>,
    /// The bytes that may still be queued. Waiting senders are served in order.
    room: Semaphore,
    capacity: u32,
    role: Role,
    /// Whether a task wants to write, and may have found the transport locked.
    write_requested: Request,
    limits: WriteLimits,
    /// Whether sent messages are counted.
    counts: bool,
    /// Whether messages may be compressed.
    compresses: bool,
    /// The runtime in which the connection was split, because senders may be used outside of it.
    runtime: Option<Handle>,
    pub(super) wait_list: Arc<WaitList>,
    /// Wakes all waiting tasks; for the write half of the stream.
    pub(super) waker: Waker,
    /// Wakes the receiver; for the read half of the stream.
    pub(super) read_waker: Waker,
    /// Notified once nothing more can be sent.
    closed: Notify,
    pub(super) transport: Mutex<T>,
}

impl<T: ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The queue, and the bookkeeping of what has left it.
#[derive(Debug)]
pub(super) struct SendState {
    pub(super) send: SendPath,
    pub(super) outcome: Outcome,
    pub(super) ledger: Ledger,
    /// The program's pings that the receiver does not know of yet.
    pub(super) pings: Pings,
    /// The counters, if enabled.
    sent: Option<Box<SendCounters>>,
}

impl SendState {
    /// Returns `true` if something that is queued now can still be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.send.is_close_sent() && !self.ledger.transport().ended
    }

    /// Tries the fast path for a short message behind others. Returns `true` if it is queued.
    #[inline]
    fn queue_short(&mut self, outgoing: &Outgoing<'_>) -> bool {
        // Without a queue the fast path fails, and a masking key is expensive.
        self.send.has_queue() && self.send.send_short(outgoing, mask_key(self.send.role()), 0)
    }

    /// Returns the status of the sending side.
    #[inline]
    pub(super) fn status(&self) -> WriteStatus {
        WriteStatus::of(&self.send, self.ledger.transport(), self.outcome.is_over())
    }

    /// Records the transport's status after it was used.
    #[inline(always)]
    fn settle(&mut self, transport: TransportStatus) -> Changes {
        if let Some(sent) = &mut self.sent {
            sent.written(transport.written);
        }
        self.ledger.settle(transport, Queued::of(&self.send))
    }

    /// Records that something was moved to the batch.
    pub(super) fn staged(&mut self, batch: Option<&Batch>) {
        self.ledger.staged(Queued::of(&self.send), batch.map_or(0, Buf::remaining));
    }
}

impl<S> Shared<Slot<S>> {
    pub(super) fn new(io: OwnedIo<S>, limits: WriteLimits) -> Self {
        let IoParts { transport, send, outcome, pings, sent } = io.into_parts();
        let wait_list = Arc::new(WaitList::default());
        let capacity =
            u32::try_from(send.max_write_buffer_size()).unwrap_or(u32::MAX).clamp(1, (1 << 29) - 1);
        let (queued, status) = (Queued::of(&send), transport.status());
        let ledger = Ledger::new(queued, status, transport.has_lost(), capacity as usize);
        let room = Semaphore::new(capacity as usize - ledger.held());
        if send.is_close_sent() || status.ended {
            room.close();
        }
        let (role, counts, compresses) = (send.role(), sent.is_some(), send.compresses());
        let state = SendState { send, outcome, ledger, pings, sent: sent.map(Box::new) };
        Self {
            state: Mutex::new(state),
            room,
            capacity,
            role,
            write_requested: Request::default(),
            limits,
            counts,
            compresses,
            runtime: Handle::try_current().ok(),
            waker: Waker::from(wait_list.clone()),
            read_waker: Waker::from(Arc::new(ReadWaker(wait_list.clone()))),
            closed: Notify::new(),
            wait_list,
            transport: Mutex::new(Slot(Some(transport))),
        }
    }

    /// Takes the stream and the queue.
    pub(super) fn take(&self) -> Option<IoParts<S>> {
        // Locked until the ledger knows that the stream is gone.
        let mut slot = self.transport.lock();
        let transport = slot.0.take()?;
        let mut state = self.state.lock();
        let (outcome, pings) = (mem::take(&mut state.outcome), mem::take(&mut state.pings));
        let sent = state.sent.take().map(|sent| *sent);
        let send = state.send.take();
        state.ledger.end();
        drop(state);
        drop(slot);
        self.close();
        Some(IoParts { transport, send, outcome, pings, sent })
    }
}

impl<T: ?Sized> Shared<T> {
    /// Wakes all waiting tasks once nothing more can be sent. The receiver is woken because a
    /// deadline starts.
    fn close(&self) {
        self.room.close();
        self.closed.notify_waiters();
        self.wait_list.wake_all();
    }

    /// Waits until nothing more can be sent.
    pub(super) async fn closed(&self) {
        let mut closed = pin!(self.closed.notified());
        closed.as_mut().enable();
        if !self.room.is_closed() {
            closed.await;
        }
    }
}

impl<T: Transmit + ?Sized> Shared<T> {
    /// Returns how much room a message of this length needs. A message that is larger than all the
    /// room needs all of it.
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

    /// Returns the state of the closing handshake.
    pub(super) fn closing(&self, receive: &ReceivePath) -> Closing {
        let state = self.state.lock();
        match Closing::of(&state.send, receive) {
            Closing::Open | Closing::CloseSent if state.outcome.is_over() => Closing::Failed,
            closing => closing,
        }
    }

    /// Calls a function with the sending path. What it queues in order occupies `room`, which the
    /// caller has acquired.
    pub(super) fn with_send<R>(
        &self,
        room: usize,
        call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> R,
    ) -> R {
        self.with_state(self.state.lock(), room, call).0
    }

    /// Calls a function with the sending path, unless the connection has closed since the caller
    /// acquired its room. Returns the position that a flush has to reach.
    ///
    /// The error that ended the connection is not taken: see [`error`](Self::error).
    pub(super) fn with_open(
        &self,
        room: usize,
        call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> Result<(), SendError>,
    ) -> Result<u64, SendError> {
        let state = self.state.lock();
        if !state.is_open() {
            return Err(SendError::Closing);
        }
        let (result, target) = self.with_state(state, room, call);
        result.map(|()| target)
    }

    /// Queues a message, unless the connection has closed since the caller acquired its room. Returns the
    /// position that a flush has to reach. If this fails, the message is unchanged.
    pub(super) fn queue(
        &self,
        outgoing: &mut Outgoing<'_>,
        room: SemaphorePermit<'_>,
    ) -> Result<u64, SendError> {
        let mut state = self.state.lock();
        if !state.is_open() {
            return Err(SendError::Closing);
        }
        let acquired = room.num_permits();
        // The room is released when the message has been written.
        room.forget();
        if acquired == self.need(outgoing.len()) as usize && state.queue_short(outgoing) {
            return Ok(state.ledger.queued_short(acquired));
        }
        let (result, target) = self
            .with_state(state, acquired, |send, key, buffers| queue_message(send, outgoing, key, buffers));
        result.map(|()| target)
    }

    /// Converts an error for the program. Takes the error that ended the connection, if that is the
    /// reason.
    pub(super) fn error(&self, error: SendError) -> Error {
        match error {
            SendError::Closing => self.why_closed(),
            other => Error::Send(other),
        }
    }

    fn with_state<R>(
        &self,
        mut state: Guard<'_, SendState>,
        room: usize,
        call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> R,
    ) -> (R, u64) {
        let before = Queued::of(&state.send);
        let result = with_path(&mut state.send, call);
        let after = Queued::of(&state.send);
        let released = state.ledger.queued(before, after, room);
        let (closing, target) = (state.send.is_close_sent(), state.ledger.flush_target());
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

    /// Writes what is queued, unless another task is writing, which then checks the queue again.
    pub(super) fn drive(&self) {
        while let Some(transport) = self.lock_or_request() {
            let _pending = self.transmit(transport);
            if !self.write_requested.take() {
                return;
            }
        }
    }

    /// Locks the transport. If another task has, leaves it a request to write.
    fn lock_or_request(&self) -> Option<Guard<'_, T>> {
        self.transport.try_lock().or_else(|| {
            self.write_requested.set();
            self.transport.try_lock()
        })
    }

    /// Compresses and writes one turn of what is queued, if there is as much.
    pub(super) fn compress_full_turn(&self) {
        if self.compresses && self.state.lock().send.uncompressed_bytes() >= TURN {
            self.drive();
        }
    }

    /// Writes for the tasks that found the transport locked. Called after it was unlocked. Returns
    /// `true` if there were any.
    #[inline]
    pub(super) fn write_if_requested(&self) -> bool {
        let requested = self.write_requested.take();
        if requested {
            self.drive();
        }
        requested
    }

    /// Writes what is queued, and returns the status after it. If that fails, the error is returned by
    /// the first call that encounters it.
    pub(super) fn transmit(&self, mut transport: Guard<'_, T>) -> (Poll<()>, WriteStatus) {
        let mut queue = Locked::new(&self.state);
        let written = transport.poll_transmit(&mut queue, &mut Context::from_waker(&self.waker));
        let mut state = queue.lock();
        let written = written.map(|result| {
            if let Err(error) = result {
                state.outcome.record(Error::from(error));
            }
        });
        let (changes, status) = (state.settle(transport.status()), state.status());
        drop(state);
        self.unlock_after(transport, changes);
        // Wakes the waiting tasks to continue, after other tasks have had their turn.
        queue.strides.poll_yield(&self.waker);
        (written, status)
    }

    /// Uses the transport, updates the ledger, and after unlocking wakes the tasks that wait for a
    /// change.
    pub(super) fn with_transport<R>(
        &self,
        mut transport: Guard<'_, T>,
        call: impl FnOnce(&mut T, &mut Context<'_>) -> R,
    ) -> R {
        let result = call(&mut transport, &mut Context::from_waker(&self.waker));
        self.unlock(transport);
        result
    }

    /// Updates the ledger after the transport was used, unlocks it, and wakes the tasks that wait for
    /// a change.
    pub(super) fn unlock(&self, transport: Guard<'_, T>) {
        let changes = self.state.lock().settle(transport.status());
        self.unlock_after(transport, changes);
    }

    // Always inlined: the changes then stay in registers.
    #[inline(always)]
    fn unlock_after(&self, transport: Guard<'_, T>, changes: Changes) {
        drop(transport);
        self.room.add_permits(changes.released);
        if changes.ended {
            self.close();
        }
        if changes.flushed {
            self.wait_list.wake_for(Wait::Flush);
        }
        if changes.control {
            self.wait_list.wake_for(Wait::Control);
        }
        if changes.released > 0 {
            self.wake_for_room();
        }
        if changes.stopped {
            self.wait_list.wake_receiver();
        }
    }

    /// Releases the room that is no longer occupied.
    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        let queued = Queued::of(&state.send);
        let released = state.ledger.release(queued);
        drop(state);
        self.room.add_permits(released);
        self.wake_for_room();
    }

    /// Wakes the senders that wait for room outside of the semaphore, if there is any.
    pub(super) fn wake_for_room(&self) {
        if self.room.available_permits() > 0 {
            self.wait_list.wake_for_room();
        }
    }

    /// Returns the runtime in which the connection was split.
    #[cfg(feature = "hub")]
    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    /// Returns the capacity of the write buffer.
    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Evaluates a condition on the sending path and the number of staged bytes. Returns an error
    /// if nothing more can be sent.
    pub(super) fn check(&self, condition: impl FnOnce(&SendPath, usize) -> bool) -> Result<bool, Error> {
        let state = self.state.lock();
        if !state.is_open() {
            drop(state);
            return Err(self.why_closed());
        }
        Ok(condition(&state.send, state.ledger.transport().staged))
    }

    /// Returns the position that a flush which begins now has to reach.
    pub(super) fn flush_target(&self) -> u64 {
        self.state.lock().ledger.flush_target()
    }

    /// Returns whether everything up to `target` is flushed; an error if it never will be.
    pub(super) fn is_flushed(&self, target: u64) -> Result<bool, Error> {
        let state = self.state.lock();
        let flushed = state.ledger.is_flushed(target);
        if flushed || !state.ledger.transport().ended {
            return Ok(flushed);
        }
        drop(state);
        Err(self.why_closed())
    }

    /// Ends the connection by dropping the stream.
    pub(super) fn abort(&self) {
        let stream = self.with_transport(self.transport.lock(), |transport, _| {
            let mut state = self.state.lock();
            // The program ends the connection itself, so the receiver has no error to return.
            state.outcome.dismiss();
            drop(state);
            Locked::new(&self.state).clear();
            transport.abort()
        });
        // Dropped after all locks are released, because dropping the stream may run any code.
        drop(stream);
    }

    /// Counts queued messages, if counters are enabled.
    pub(super) fn count_sent(&self, messages: u64) {
        if self.counts
            && let Some(sent) = &mut self.state.lock().sent
        {
            sent.messages(messages);
        }
    }

    /// Returns the counters of the sending side, if enabled.
    pub(super) fn sent(&self) -> Option<SendCounters> {
        self.state.lock().sent.as_deref().copied()
    }

    /// Records a ping that the program has sent.
    pub(super) fn pinged(&self, payload: &[u8]) {
        self.state.lock().pings.sent(payload);
    }

    /// Checks the deadlines of a waiting sender. If one has passed, ends the connection, which wakes all
    /// waiting tasks.
    pub(super) fn watch(&self, watchdog: &mut Watchdog, cx: &mut Context<'_>) {
        loop {
            let status = self.state.lock().status();
            match watchdog.poll(&self.limits, &status, self.runtime.as_ref(), cx) {
                Poll::Ready(timeout) => self.end_if_stuck_since(status.transport.moves, timeout),
                Poll::Pending => return,
            }
        }
    }

    /// Ends the connection if the stream is stuck and has made no progress since it had made this one.
    fn end_if_stuck_since(&self, moves: Moves, timeout: Timeout) {
        // Locked before the check, because another task may be writing.
        let transport = self.transport.lock();
        let state = self.state.lock();
        let TransportStatus { stuck, moves: now, .. } = state.ledger.transport();
        drop(state);
        if stuck && now == moves {
            let error = Error::Timeout(timeout);
            let counts = self.with_transport(transport, |transport, _| {
                let mut state = self.state.lock();
                let counts = state.outcome.accepts(&error);
                state.outcome.time_out(timeout);
                drop(state);
                transport.end_write(&mut Locked::new(&self.state));
                counts
            });
            // The receiver has the span. No lock is held, because a subscriber may run any code.
            ConnectionEvents::default().failed(&error, || counts);
        } else {
            drop(transport);
            self.write_if_requested();
        }
    }

    /// Returns the error that ended the connection, unless it has been returned or is left to the
    /// receiver.
    pub(super) fn why_closed(&self) -> Error {
        let mut state = self.state.lock();
        let error = if state.ledger.transport().ended { state.outcome.take_error() } else { None };
        error.unwrap_or(Error::Closed)
    }

    pub(super) fn queued_bytes(&self) -> usize {
        let state = self.state.lock();
        state.send.queued_bytes() + state.ledger.transport().staged
    }
}

#[cfg(all(test, not(fullduplex_loom)))]
mod tests {
    use std::{future::Future, io, time::Duration};

    use tokio::time::advance;

    use super::{
        super::wait_list::{Ticket, Woken},
        *,
    };
    use crate::{Config, proto::CloseCode, proto::CloseFrame, stream::test_stream::TestStream};

    const CAPACITY: usize = 100;
    const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

    fn shared(stream: &TestStream) -> Shared<Slot<TestStream>> {
        let config = Config::new().max_write_buffer_size(CAPACITY).write_timeout(WRITE_TIMEOUT);
        let io = OwnedIo::new(stream.clone(), SendPath::new(Role::Server, &config), false);
        Shared::new(io, WriteLimits::new(&config))
    }

    impl Shared<Slot<TestStream>> {
        /// Acquires room and queues a message, as a sender does. Returns what a flush has to reach.
        fn feed(&self, message: impl Into<Outgoing<'static>>) -> Result<u64, SendError> {
            let mut outgoing = message.into();
            let room = self.room.try_acquire_many(self.need(outgoing.len())).expect("room");
            self.queue(&mut outgoing, room)
        }

        fn close_with(&self, code: CloseCode) -> Result<u64, SendError> {
            let frame = CloseFrame::from_static(code, "");
            self.with_open(0, |send, key, buffers| send.close(Some(&frame), key, buffers))
        }
    }

    /// Registers a sender that waits for `wait`.
    fn waiting(shared: &Shared<Slot<TestStream>>, wait: Wait) -> (Arc<Woken>, Ticket) {
        let (woken, mut ticket) = (Arc::new(Woken::default()), Ticket::default());
        shared.wait_list.register_sender(&mut ticket, &Waker::from(woken.clone()), wait);
        (woken, ticket)
    }

    #[test]
    fn a_message_occupies_room_until_it_is_written() {
        let stream = TestStream::limited(0);
        let shared = shared(&stream);
        let target = shared.feed("12345678").expect("open");
        assert_eq!(shared.room.available_permits(), CAPACITY - 10);
        shared.drive();
        assert_eq!((shared.room.available_permits(), shared.queued_bytes()), (CAPACITY - 10, 10));
        assert!(!shared.is_flushed(target).expect("open"));

        let (flush, _ticket) = waiting(&shared, Wait::Flush);
        let (ping, _ticket) = waiting(&shared, Wait::Control);
        stream.state().room = None;
        shared.drive();
        assert_eq!((shared.room.available_permits(), shared.queued_bytes()), (CAPACITY, 0));
        assert!(shared.is_flushed(target).expect("open"));
        assert!(flush.0.is_set() && !ping.0.is_set(), "only the flush is complete");
    }

    #[test]
    fn a_short_message_behind_another_occupies_room_until_it_is_written() {
        let stream = TestStream::limited(0);
        let shared = shared(&stream);
        assert_eq!(shared.feed("first").expect("open"), 7);
        assert_eq!(shared.feed("second").expect("open"), 15);
        assert_eq!((shared.room.available_permits(), shared.queued_bytes()), (CAPACITY - 15, 15));
        shared.drive();
        assert!(!shared.is_flushed(15).expect("open"));
        // The third is queued behind what is staged, for which a permit for more was acquired.
        let room = shared.room.try_acquire_many(50).expect("room");
        assert_eq!(shared.queue(&mut "third".into(), room).expect("open"), 22);
        let room = shared.room.try_acquire_many(50).expect("room");
        assert_eq!(shared.queue(&mut "fourth".into(), room).expect("open"), 30);
        assert_eq!((shared.room.available_permits(), shared.queued_bytes()), (CAPACITY - 30, 30));
        stream.state().room = None;
        shared.drive();
        assert_eq!((shared.room.available_permits(), shared.queued_bytes()), (CAPACITY, 0));
        assert!(shared.is_flushed(30).expect("open"));
        assert_eq!(stream.take_written(), b"\x81\x05first\x81\x06second\x81\x05third\x81\x06fourth");
    }

    #[test]
    fn a_message_behind_one_in_parts_or_a_close_is_declined_and_unchanged() {
        let shared = shared(&TestStream::limited(0));
        shared.feed("first").expect("open");
        let rooms = [9, 9].map(|room| shared.room.try_acquire_many(room).expect("room"));
        let mut message = Outgoing::from("between");
        let errors = [SendError::MessageOpen, SendError::Closing];
        for (room, expected) in rooms.into_iter().zip(errors) {
            if expected == SendError::MessageOpen {
                shared.with_send(0, |send, _, _| send.begin_message(crate::MessageKind::Text)).expect("open");
            } else {
                shared.with_send(0, |send, key, buffers| send.abandon_message(key, buffers));
                shared.close_with(CloseCode::NORMAL).expect("open");
            }
            assert_eq!(shared.queue(&mut message, room), Err(expected));
            assert_eq!(message, Outgoing::from("between"));
        }
    }

    #[test]
    fn a_message_that_is_larger_than_the_buffer_needs_all_the_room() {
        let shared = shared(&TestStream::default());
        assert_eq!(shared.need(CAPACITY - 2), CAPACITY as u32);
        assert_eq!(shared.need(usize::MAX), CAPACITY as u32);
    }

    #[test]
    fn a_task_that_finds_the_transport_locked_leaves_a_request() {
        let stream = TestStream::default();
        let shared = shared(&stream);
        let transport = shared.transport.lock();
        shared.feed("a").expect("open");
        shared.drive();
        assert_eq!(stream.take_written(), b"");
        drop(transport);
        shared.write_if_requested();
        assert_eq!(stream.take_written(), b"\x81\x01a");
        assert!(!shared.write_requested.take());
    }

    #[test]
    fn a_close_wakes_all_and_nothing_is_queued_after_it() {
        let shared = shared(&TestStream::limited(0));
        let (waits, _ticket) = waiting(&shared, Wait::Room);
        let mut closed = pin!(shared.closed());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(closed.as_mut().poll(&mut cx).is_pending());
        shared.close_with(CloseCode::NORMAL).expect("open");
        assert!(waits.0.is_set() && closed.poll(&mut cx).is_ready());
        assert_eq!(shared.close_with(CloseCode::NORMAL), Err(SendError::Closing));
        assert!(matches!(shared.error(SendError::Closing), Error::Closed));
        assert!(matches!(shared.check(|_, _| true), Err(Error::Closed)));
    }

    #[test]
    fn the_first_call_after_a_failed_write_returns_its_error() {
        let stream = TestStream::default();
        let shared = shared(&stream);
        stream.state().write_error = Some(io::ErrorKind::BrokenPipe);
        let target = shared.feed("lost").expect("open");
        shared.drive();
        assert!(shared.room.is_closed());
        assert!(matches!(shared.is_flushed(target), Err(Error::Transport(_))));
        assert!(matches!(shared.is_flushed(target), Err(Error::Closed)));
        assert!(shared.is_flushed(0).expect("nothing was queued before"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_accepts_nothing_for_the_timeout_ends_the_connection() {
        let stream = TestStream::limited(0);
        let shared = shared(&stream);
        shared.feed("stuck").expect("open");
        shared.drive();
        let (mut watchdog, mut cx) = (Watchdog::default(), Context::from_waker(Waker::noop()));
        shared.watch(&mut watchdog, &mut cx);
        advance(WRITE_TIMEOUT - Duration::from_secs(1)).await;
        stream.state().room = Some(1);
        shared.drive();
        shared.watch(&mut watchdog, &mut cx);
        advance(WRITE_TIMEOUT - Duration::from_secs(1)).await;
        shared.watch(&mut watchdog, &mut cx);
        assert!(!shared.room.is_closed(), "the stream has accepted a byte");
        advance(Duration::from_secs(1)).await;
        shared.watch(&mut watchdog, &mut cx);
        assert!(shared.room.is_closed());
        assert!(matches!(shared.why_closed(), Error::Timeout(Timeout::Write)));
        assert!(matches!(shared.why_closed(), Error::Closed), "the error is returned once");
    }

    #[test]
    fn abort_drops_the_stream_and_what_is_queued() {
        let stream = TestStream::limited(0);
        let shared = shared(&stream);
        let target = shared.feed("lost").expect("open");
        shared.abort();
        assert!(shared.transport.lock().0.is_none());
        assert_eq!(shared.queued_bytes(), 0);
        assert!(matches!(shared.is_flushed(target), Err(Error::Closed)));
        assert!(shared.state.lock().outcome.take_error().is_none(), "the receiver returns no error");
    }

    #[test]
    fn the_stream_is_taken_once_with_what_was_queued() {
        let shared = shared(&TestStream::limited(0));
        shared.feed("a").expect("open");
        let parts = shared.take().expect("it was not taken before");
        assert_eq!(parts.send.queued_bytes(), 3);
        assert!(shared.take().is_none() && shared.room.is_closed());
    }

    #[test]
    fn a_sender_outside_of_the_queue_is_woken_once_there_is_room() {
        let shared = shared(&TestStream::default());
        let room = shared.room.try_acquire_many(CAPACITY as u32).expect("room");
        let (woken, _ticket) = waiting(&shared, Wait::AnyRoom);
        shared.wake_for_room();
        assert!(!woken.0.is_set(), "there is no room");
        drop(room);
        shared.wake_for_room();
        assert!(woken.0.is_set());
    }
}
