//! Messages that a sender writes at once, without queueing them.

#[cfg(feature = "hub")]
use std::task::{Context, Poll};

use bytes::Buf;
#[cfg(feature = "hub")]
use bytes::Bytes;

use super::shared::{Shared, Transmit};
#[cfg(feature = "hub")]
use super::{locked::Locked, sync::Guard};
#[cfg(feature = "hub")]
use crate::{Error, PreparedMessage};
use crate::{Outgoing, stream::io::mask_key};

impl<T: Transmit + ?Sized> Shared<T> {
    /// Writes a message at once, if nothing is queued or staged and no other task is writing.
    /// Returns the position that a flush has to reach; `None` if the message has to be queued.
    ///
    /// The message occupies `room`, which the caller has acquired. The remaining content of
    /// `outgoing` is unspecified once it is staged.
    pub(super) fn write_direct(&self, outgoing: &mut Outgoing<'_>, room: usize) -> Option<u64> {
        let mut transport = self.transport.try_lock()?;
        let target = self.stage_direct(&mut transport, outgoing, room);
        match target {
            Some(_) => drop(self.transmit(transport)),
            None => drop(transport),
        }
        self.write_if_requested();
        target
    }

    fn stage_direct(&self, transport: &mut T, outgoing: &mut Outgoing<'_>, room: usize) -> Option<u64> {
        let mut state = self.state.lock();
        if !state.is_open() || state.ledger.transport().stuck || !state.send.can_send_direct() {
            return None;
        }
        let batch = transport.batch()?;
        // Fails while a message in parts is open.
        state.send.send_direct(outgoing, mask_key(self.role()), batch).ok()?;
        let staged = batch.remaining();
        state.ledger.staged_direct(staged, room);
        Some(state.ledger.flush_target())
    }

    /// Reads from each part of the memory that `write_prepared` uses. Returns a number that depends on
    /// all that was read.
    #[cfg(feature = "hub")]
    #[inline]
    pub(super) fn preload(&self) -> usize {
        let flags =
            [self.state.is_poisoned(), self.transport.is_poisoned(), self.wait_list.may_have_senders()];
        self.room().available_permits() + flags.map(usize::from).iter().sum::<usize>()
    }

    /// Writes a prepared message at once, as the bytes that it shares with other connections.
    /// Returns `false` if it has to be queued: something is queued or staged, another task is
    /// writing, or its frame has to be masked or compressed.
    ///
    /// This acquires no room, and only what the stream does not accept occupies any. If others have
    /// acquired all room by then, the write buffer exceeds its capacity by that.
    #[cfg(feature = "hub")]
    pub(super) fn write_prepared(&self, message: &PreparedMessage) -> bool {
        let Some(transport) = self.transport.try_lock() else { return false };
        let frame = self.begin_direct(message);
        match frame {
            Some(frame) => self.write_frame(transport, frame),
            None => drop(transport),
        }
        self.write_if_requested();
        frame.is_some()
    }

    /// Returns the frame of a message that may be written at once, after recording that it is staged.
    #[cfg(feature = "hub")]
    fn begin_direct<'a>(&self, message: &'a PreparedMessage) -> Option<&'a Bytes> {
        let mut state = self.state.lock();
        if !state.is_open() || state.ledger.transport().stuck {
            return None;
        }
        let frame = state.send.direct_frame(message)?;
        // Less is available while others are about to queue: this one does not overtake them.
        if self.room().available_permits() < self.need(message.len()) as usize {
            return None;
        }
        state.ledger.staged_direct(frame.len(), 0);
        Some(frame)
    }

    #[cfg(feature = "hub")]
    fn write_frame(&self, mut transport: Guard<'_, T>, frame: &Bytes) {
        let (queue, cx) = (&mut Locked::new(&self.state), &mut Context::from_waker(&self.waker));
        match transport.poll_write_frame(frame, queue, cx) {
            Poll::Ready(Ok(())) => self.unlock(transport),
            Poll::Ready(Err(error)) => {
                self.state.lock().outcome.record(Error::from(error));
                self.unlock(transport);
            }
            Poll::Pending => {
                let rest = transport.status().staged.min(self.capacity() as usize);
                let room = self.room().forget_permits(rest);
                self.state.lock().ledger.hold(room);
                let _pending = self.transmit(transport);
            }
        }
    }
}

#[cfg(all(test, feature = "hub", not(fullduplex_loom)))]
mod tests {
    use std::{
        io,
        sync::Arc,
        task::{Wake, Waker},
    };

    use super::{
        super::{
            shared::Slot,
            sync::Flag,
            wait_list::{Ticket, Wait},
        },
        *,
    };
    use crate::{
        Config, Role,
        proto::SendPath,
        stream::{io::OwnedIo, test_stream::TestStream, timers::Timeouts},
    };

    const CAPACITY: usize = 100;

    fn shared(stream: &TestStream, role: Role) -> Shared<Slot<TestStream>> {
        let config = Config::new().max_write_buffer_size(CAPACITY);
        let io = OwnedIo::new(stream.clone(), SendPath::new(role, &config), false);
        Shared::new(io, Timeouts::new(&config))
    }

    /// A task that records that it was woken.
    #[derive(Default)]
    struct Woken(Flag);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.set();
        }
    }

    /// Returns the room that is available, and the bytes that are queued or staged.
    fn rooms(shared: &Shared<Slot<TestStream>>) -> (usize, usize) {
        (shared.room().available_permits(), shared.queued_bytes())
    }

    #[test]
    fn a_prepared_message_is_written_and_flushed_at_once() {
        let stream = TestStream::default();
        let shared = shared(&stream, Role::Server);
        assert!(shared.write_prepared(&"a".into()) && shared.write_prepared(&"b".into()));
        assert_eq!((stream.take_written(), stream.state().flushes), (b"\x81\x01a\x81\x01b".to_vec(), 2));
        assert_eq!(rooms(&shared), (CAPACITY, 0));
        assert!(shared.is_flushed(shared.flush_target()).expect("open"));
    }

    #[test]
    fn what_the_stream_does_not_accept_occupies_room_until_it_is_written() {
        for accepted in [0, 4] {
            let stream = TestStream::limited(accepted);
            let shared = shared(&stream, Role::Server);
            assert!(shared.write_prepared(&"12345678".into()));
            assert_eq!(rooms(&shared), (CAPACITY - 10 + accepted, 10 - accepted));
            let target = shared.flush_target();
            assert!(!shared.is_flushed(target).expect("open"));
            assert!(!shared.write_prepared(&"behind it".into()), "it would overtake the rest");
            stream.state().room = None;
            shared.drive();
            assert_eq!(rooms(&shared), (CAPACITY, 0));
            assert!(shared.is_flushed(target).expect("open"));
            assert_eq!(stream.take_written(), b"\x81\x0812345678");
        }
    }

    #[test]
    fn a_message_that_is_larger_than_the_buffer_occupies_all_of_it() {
        let stream = TestStream::limited(1);
        let shared = shared(&stream, Role::Server);
        assert!(shared.write_prepared(&vec![0; 1000].into()));
        assert_eq!(rooms(&shared), (0, 1003));
        stream.state().room = None;
        shared.drive();
        assert_eq!(rooms(&shared), (CAPACITY, 0));
        assert_eq!(stream.take_written().len(), 1004);
    }

    #[test]
    fn a_message_that_has_to_wait_is_declined_and_nothing_is_written() {
        let declines = |role, prepare: &dyn Fn(&Shared<Slot<TestStream>>)| {
            let stream = TestStream::default();
            let shared = shared(&stream, role);
            prepare(&shared);
            let before = rooms(&shared);
            !shared.write_prepared(&"12345678".into())
                && stream.take_written().is_empty()
                && before == rooms(&shared)
        };
        let send = |shared: &Shared<Slot<TestStream>>, call: fn(&mut SendPath, _, &mut _)| {
            shared.with_send(0, call);
        };
        assert!(declines(Role::Client, &|_| {}), "it has to be masked");
        assert!(declines(Role::Server, &|shared| send(shared, |send, key, buffers| {
            send.ping(b"", key, buffers).expect("open");
        })));
        assert!(declines(Role::Server, &|shared| send(shared, |send, _, _| {
            send.begin_message(crate::MessageKind::Text).expect("none is open");
        })));
        assert!(declines(Role::Server, &|shared| send(shared, |send, key, buffers| {
            send.close(None, key, buffers).expect("open");
        })));
        assert!(declines(Role::Server, &|shared| {
            assert_eq!(shared.room().forget_permits(CAPACITY - 9), CAPACITY - 9);
        }));
        assert!(declines(Role::Server, &|shared| drop(shared.take())), "the stream is gone");
    }

    #[test]
    fn a_task_that_writes_declines_it() {
        let stream = TestStream::default();
        let shared = shared(&stream, Role::Server);
        let transport = shared.transport.lock();
        assert!(!shared.write_prepared(&"a".into()));
        drop(transport);
        assert!(shared.write_prepared(&"a".into()));
    }

    #[test]
    fn a_failed_write_ends_the_connection_and_is_returned_once() {
        for error in [io::ErrorKind::BrokenPipe, io::ErrorKind::WriteZero] {
            let stream = TestStream::default();
            let shared = shared(&stream, Role::Server);
            stream.state().write_error = Some(error);
            assert!(shared.write_prepared(&"lost".into()), "it need not be queued");
            assert!(shared.room().is_closed());
            assert!(matches!(shared.why_closed(), Error::Transport(_)));
            assert!(matches!(shared.why_closed(), Error::Closed));
            assert!(!shared.write_prepared(&"late".into()));
        }
    }

    #[test]
    fn a_sender_that_waits_for_a_flush_is_woken() {
        let stream = TestStream::default();
        let shared = shared(&stream, Role::Server);
        let mut ticket = Ticket::default();
        let woken = Arc::new(Woken::default());
        shared.wait_list.register_sender(&mut ticket, &Waker::from(woken.clone()), Wait::Flush);
        assert!(shared.write_prepared(&"a".into()));
        assert!(woken.0.is_set());
    }
}
