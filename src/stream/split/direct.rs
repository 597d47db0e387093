//! Messages that a sender writes at once, without queueing them.

use std::{
    io,
    task::{Context, Poll},
};

use bytes::Buf;

use super::{
    shared::{SendState, Shared},
    sync::{Guard, Mutex},
    transmit::Transmit,
};
#[cfg(feature = "hub")]
use crate::PreparedMessage;
use crate::{
    Error, Outgoing, Role,
    proto::{Batch, DirectHead, MaskKey},
    stream::{io::mask_key, pool, transport::Source},
};

/// What has become of a message that was written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is written and flushed.
    Flushed,
    /// A flush has to reach this position.
    Until(u64),
}

impl<T: Transmit + ?Sized> Shared<T> {
    /// Writes a message at once, if nothing is queued or staged and no other task is writing.
    /// Returns `None` if the message has to be queued.
    ///
    /// This acquires no room, and only what the stream does not accept occupies any. If others have
    /// acquired all room by then, the write buffer exceeds its capacity by that. The remaining
    /// content of `outgoing` is unspecified once it is staged.
    pub(super) fn write_direct(&self, outgoing: &mut Outgoing<'_>) -> Option<Written> {
        let transport = self.transport.try_lock()?;
        let written = self.write_locked(transport, outgoing);
        self.write_if_requested();
        written
    }

    #[inline]
    fn write_locked(&self, mut transport: Guard<'_, T>, outgoing: &mut Outgoing<'_>) -> Option<Written> {
        let mut state = self.state.lock();
        if !state.send.can_send_direct() || !self.is_clear_for(&state, outgoing.len()) {
            return None;
        }
        let key = mask_key(self.role());
        let mut head = DirectHead::default();
        let Some(frame) = state.send.direct_frame(outgoing, key, &mut head).ok()? else {
            if self.role() == Role::Client && outgoing.is_sequence() {
                return None;
            }
            let batch = transport.batch()?;
            state.send.stage_direct(outgoing, key, batch);
            let target = state.ledger.staged_direct(batch.remaining());
            drop(state);
            let mut cx = Context::from_waker(&self.waker);
            let written = transport.poll_transmit(&mut OnlyBatch(&self.state), &mut cx);
            return Some(self.finish_direct(transport, written, target));
        };
        let len = frame[0].len() + frame[1].len();
        let target = state.ledger.staged_direct(len);
        drop(state);
        let (accepted, written) = self.write_frame(&mut *transport, frame);
        if written.is_pending() && accepted < len {
            self.stage_rest(&mut *transport, outgoing, key, accepted);
        }
        Some(self.finish_direct(transport, written, target))
    }

    /// Writes a prepared message at once, as [`write_direct`](Self::write_direct) does, from the bytes
    /// that it shares with other connections. Returns `None` also if its frame has to be masked.
    #[cfg(feature = "hub")]
    pub(super) fn write_prepared(&self, message: &PreparedMessage) -> Option<Written> {
        let transport = self.transport.try_lock()?;
        let written = self.write_prepared_locked(transport, message);
        self.write_if_requested();
        written
    }

    #[cfg(feature = "hub")]
    #[inline]
    fn write_prepared_locked(
        &self,
        mut transport: Guard<'_, T>,
        message: &PreparedMessage,
    ) -> Option<Written> {
        let mut state = self.state.lock();
        let frame = state.send.direct_prepared(message)?;
        if !self.is_clear_for(&state, message.len()) {
            return None;
        }
        let target = state.ledger.staged_direct(frame.len());
        drop(state);
        let (accepted, written) = self.write_frame(&mut *transport, [frame, &[]]);
        if written.is_pending() && accepted < frame.len() {
            self.stage_rest(&mut *transport, &mut message.into(), MaskKey::default(), accepted);
        }
        Some(self.finish_direct(transport, written, target))
    }

    #[inline]
    fn write_frame(&self, transport: &mut T, frame: [&[u8]; 2]) -> (usize, Poll<io::Result<()>>) {
        let mut cx = Context::from_waker(&self.waker);
        transport.poll_write_frame(frame, &mut OnlyBatch(&self.state), &mut cx)
    }

    /// Stages the rest of a frame that the stream has not accepted as a whole.
    #[cold]
    fn stage_rest(&self, transport: &mut T, outgoing: &mut Outgoing<'_>, key: MaskKey, accepted: usize) {
        if let Some(batch) = transport.batch() {
            self.state.lock().send.stage_begun(outgoing, key, batch);
            batch.advance(accepted);
        }
    }

    /// Returns whether nothing is ahead of a message of this length, except for what may be queued.
    #[inline]
    fn is_clear_for(&self, state: &SendState, payload_len: usize) -> bool {
        state.is_open()
            && !state.send.is_message_open()
            && !state.ledger.transport().stuck
            // Less is available while others are about to queue: this one does not overtake them.
            && self.room().available_permits() >= self.need(payload_len) as usize
    }

    /// Records what has become of a message that was written, and unlocks the transport.
    #[inline]
    fn finish_direct(&self, transport: Guard<'_, T>, written: Poll<io::Result<()>>, target: u64) -> Written {
        match written {
            Poll::Ready(Ok(())) => {
                self.unlock(transport);
                return Written::Flushed;
            }
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
        Written::Until(target)
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
}

/// The queue, of which nothing is staged: only the batch is written.
struct OnlyBatch<'a>(&'a Mutex<SendState>);

impl Source for OnlyBatch<'_> {
    fn poll_stage(&mut self, batch: &mut Option<Box<Batch>>, _: &mut Context<'_>) -> Poll<bool> {
        if let Some(batch) = batch.take() {
            pool::return_batch(batch);
        }
        Poll::Ready(false)
    }

    fn clear(&mut self) -> bool {
        Source::clear(&mut self.0.lock().send)
    }
}

#[cfg(all(test, not(fullduplex_loom)))]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Arc,
        task::Waker,
    };

    use super::{
        super::{
            transmit::Slot,
            wait_list::{Ticket, Wait, Woken},
        },
        *,
    };
    use crate::{
        Config, Role,
        proto::SendPath,
        stream::{io::OwnedIo, test_stream::TestStream, write_clock::WriteLimits},
    };

    const CAPACITY: usize = 100;

    type TestShared = Shared<Slot<TestStream>>;

    fn shared(stream: &TestStream, role: Role) -> TestShared {
        let config = Config::new().max_write_buffer_size(CAPACITY);
        let io = OwnedIo::new(stream.clone(), SendPath::new(role, &config), false);
        Shared::new(io, WriteLimits::new(&config))
    }

    /// Calls a test with each way to write at once.
    fn each_way(test: impl Fn(&dyn Fn(&TestShared, &[u8]) -> Option<Written>)) {
        test(&|shared, message| shared.write_direct(&mut message.into()));
        #[cfg(feature = "hub")]
        test(&|shared, message| shared.write_prepared(&message.into()));
    }

    /// Returns the room that is available, and the bytes that are queued or staged.
    fn rooms(shared: &TestShared) -> (usize, usize) {
        (shared.room().available_permits(), shared.queued_bytes())
    }

    #[test]
    fn a_message_is_written_and_flushed_at_once() {
        each_way(|write| {
            let stream = TestStream::default();
            let shared = shared(&stream, Role::Server);
            assert_eq!(write(&shared, b"a"), Some(Written::Flushed));
            assert_eq!(write(&shared, b"b"), Some(Written::Flushed));
            assert_eq!((stream.take_written(), stream.state().flushes), (b"\x82\x01a\x82\x01b".to_vec(), 2));
            assert_eq!(rooms(&shared), (CAPACITY, 0));
            assert!(shared.is_flushed(shared.flush_target()).expect("open"));
        });
    }

    #[test]
    fn what_the_stream_does_not_accept_occupies_room_until_it_is_written() {
        for accepted in [0, 4] {
            each_way(|write| {
                let stream = TestStream::limited(accepted);
                let shared = shared(&stream, Role::Server);
                assert_eq!(write(&shared, b"12345678"), Some(Written::Until(10)));
                assert_eq!(rooms(&shared), (CAPACITY - 10 + accepted, 10 - accepted));
                assert!(!shared.is_flushed(10).expect("open"));
                assert_eq!(write(&shared, b"behind it"), None, "it would overtake the rest");
                stream.state().room = None;
                shared.drive();
                assert_eq!(rooms(&shared), (CAPACITY, 0));
                assert!(shared.is_flushed(10).expect("open"));
                assert_eq!(stream.take_written(), b"\x82\x0812345678");
            });
        }
    }

    #[test]
    fn a_frame_is_whole_wherever_the_stream_stops_accepting() {
        for len in [1, 112, 113, 4096, 4097] {
            let message = vec![7; len];
            let frame_len = SendPath::frame_len(len, Role::Server);
            for accepted in [0, 1, 4, 5, frame_len / 2, frame_len - 1].map(|most| most.min(frame_len - 1)) {
                each_way(|write| {
                    let stream = TestStream::limited(accepted);
                    stream.state().vectored = true;
                    let shared = shared(&stream, Role::Server);
                    assert_eq!(write(&shared, &message), Some(Written::Until(frame_len as u64)));
                    stream.state().room = None;
                    shared.drive();
                    let written = stream.take_written();
                    assert!(written.len() == frame_len && written.ends_with(&message), "{len} {accepted}");
                    assert_eq!(rooms(&shared), (CAPACITY, 0));
                });
            }
        }
    }

    #[test]
    fn a_stream_that_panics_ends_the_connection() {
        each_way(|write| {
            let stream = TestStream::default();
            let shared = shared(&stream, Role::Server);
            stream.state().panics = true;
            catch_unwind(AssertUnwindSafe(|| write(&shared, b"lost"))).expect_err("the stream panics");
            let target = shared.flush_target();
            shared.drive();
            assert!(matches!(shared.is_flushed(target), Err(Error::Closed)) && shared.room().is_closed());
            assert_eq!((write(&shared, b"late"), stream.take_written()), (None, Vec::new()));
        });
    }

    #[test]
    fn a_message_that_is_larger_than_the_buffer_occupies_all_of_it() {
        each_way(|write| {
            let stream = TestStream::limited(1);
            let shared = shared(&stream, Role::Server);
            assert_eq!(write(&shared, &[0; 1000]), Some(Written::Until(1004)));
            assert_eq!(rooms(&shared), (0, 1003));
            stream.state().room = None;
            shared.drive();
            assert_eq!(rooms(&shared), (CAPACITY, 0));
            assert_eq!(stream.take_written().len(), 1004);
        });
    }

    #[test]
    fn a_message_that_has_to_wait_is_declined_and_nothing_is_written() {
        type Prepare<'a> = &'a dyn Fn(&TestShared);
        let cases: [(&str, Prepare<'_>); 5] = [
            ("a ping is queued", &|shared| {
                shared.with_send(0, |send, key, buffers| send.ping(b"", key, buffers)).expect("open");
            }),
            ("a message in parts is open", &|shared| {
                shared.with_send(0, |send, _, _| send.begin_message(crate::MessageKind::Text)).expect("open");
            }),
            ("a Close is queued", &|shared| {
                shared.with_send(0, |send, key, buffers| send.close(None, key, buffers)).expect("open");
            }),
            ("others have acquired the room", &|shared| {
                assert_eq!(shared.room().forget_permits(CAPACITY - 9), CAPACITY - 9);
            }),
            ("the stream is gone", &|shared| drop(shared.take())),
        ];
        for (case, prepare) in cases {
            each_way(|write| {
                let stream = TestStream::default();
                let shared = shared(&stream, Role::Server);
                prepare(&shared);
                let before = rooms(&shared);
                assert_eq!(write(&shared, b"12345678"), None, "{case}");
                assert_eq!((stream.take_written(), rooms(&shared)), (Vec::new(), before), "{case}");
                let batch = shared.take().and_then(|parts| parts.transport.into_parts().1);
                assert!(batch.is_none(), "{case}");
            });
        }
    }

    #[cfg(feature = "hub")]
    #[test]
    fn a_client_does_not_send_the_bytes_of_a_prepared_message() {
        let stream = TestStream::default();
        let shared = shared(&stream, Role::Client);
        assert_eq!(shared.write_prepared(&"a".into()), None);
        assert_eq!(stream.take_written(), b"");
    }

    #[test]
    fn a_message_is_declined_while_another_task_writes() {
        each_way(|write| {
            let shared = shared(&TestStream::default(), Role::Server);
            let transport = shared.transport.lock();
            assert_eq!(write(&shared, b"a"), None);
            drop(transport);
            assert_eq!(write(&shared, b"a"), Some(Written::Flushed));
        });
    }

    #[test]
    fn a_failed_write_ends_the_connection_and_its_error_is_returned_once() {
        each_way(|write| {
            let stream = TestStream::default();
            let shared = shared(&stream, Role::Server);
            stream.state().write_error = Some(io::ErrorKind::BrokenPipe);
            assert_eq!(write(&shared, b"lost"), Some(Written::Until(6)));
            assert!(shared.room().is_closed());
            assert!(matches!(shared.is_flushed(6), Err(Error::Transport(_))));
            assert!(matches!(shared.why_closed(), Error::Closed));
            assert_eq!(write(&shared, b"late"), None);
            assert_eq!(shared.queued_bytes(), 0, "nothing is kept of it");
        });
    }

    #[test]
    fn a_sender_that_waits_for_a_flush_is_woken() {
        each_way(|write| {
            let shared = shared(&TestStream::default(), Role::Server);
            let (woken, mut ticket) = (Arc::new(Woken::default()), Ticket::default());
            shared.wait_list.register_sender(&mut ticket, &Waker::from(woken.clone()), Wait::Flush);
            assert_eq!(write(&shared, b"a"), Some(Written::Flushed));
            assert!(woken.0.is_set());
        });
    }

    #[test]
    fn no_batch_is_kept() {
        each_way(|write| {
            let shared = shared(&TestStream::default(), Role::Server);
            assert_eq!(write(&shared, b"a"), Some(Written::Flushed));
            let transport = shared.take().expect("it was not taken").transport;
            assert!(transport.into_parts().1.is_none());
        });
    }

    #[test]
    fn a_frame_that_is_accepted_and_not_flushed_is_not_staged() {
        each_way(|write| {
            let stream = TestStream::default();
            let shared = shared(&stream, Role::Server);
            stream.state().holds_back = true;
            assert_eq!(write(&shared, b"a"), Some(Written::Until(3)));
            assert_eq!((stream.take_written(), rooms(&shared)), (b"\x82\x01a".to_vec(), (CAPACITY, 0)));
            assert!(!shared.is_flushed(3).expect("open"));
            stream.state().holds_back = false;
            shared.drive();
            assert!(shared.is_flushed(3).expect("open"));
        });
        each_way(|write| {
            let stream = TestStream::default();
            let shared = shared(&stream, Role::Server);
            stream.state().holds_back = true;
            assert_eq!(write(&shared, b"a"), Some(Written::Until(3)));
            let transport = shared.take().expect("it was not taken").transport;
            assert!(transport.into_parts().1.is_none());
        });
    }

    #[cfg(feature = "hub")]
    #[test]
    fn preloading_reads_the_room_and_whether_a_sender_may_wait() {
        let shared = shared(&TestStream::default(), Role::Server);
        assert_eq!(shared.preload(), CAPACITY);
        shared.room().forget_permits(CAPACITY);
        assert_eq!(shared.preload(), 0);
        let (mut ticket, waker) = (Ticket::default(), Waker::from(Arc::new(Woken::default())));
        shared.wait_list.register_sender(&mut ticket, &waker, Wait::AnyRoom);
        assert_eq!(shared.preload(), 1);
    }
}
