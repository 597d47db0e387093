//! Back-pressure: full buffers, slow readers, broadcasts.
//!
//! Every buffer is bounded. What happens when one is full is the program's choice: wait, drop the
//! message, or drop the peer.
//!
//! # The write buffer
//! [`Config::max_write_buffer_size`](crate::Config::max_write_buffer_size), 1 MiB by default, bounds the
//! bytes that are queued for one connection. One message that is larger is accepted if nothing else
//! is queued.
//!
//! | call | when there is no room |
//! |---|---|
//! | [`feed`](WebSocket::feed), [`send`](WebSocket::send) | waits |
//! | [`reserve`](WebSocket::reserve) | waits, without a message in hand |
//! | [`poll_ready`](WebSocket::poll_ready) | is pending |
//! | [`Sender::try_send`] | returns the message in [`TrySendError::Full`] |
//!
//! A receiver that replies with `feed` therefore slows down to the speed of its peer: while `feed`
//! waits, nothing is received, the kernel's buffers fill, and TCP stops the peer.
//!
//! # Two peers that both wait
//! While [`WebSocket::feed`] waits, the connection receives nothing. If both ends send without
//! receiving, each waits for the other until [`write_timeout`](crate::Config::write_timeout).
//! Programs that send much without being asked should [`split`](WebSocket::split): the [`Receiver`]
//! continues to receive while a [`Sender`] waits.
//!
//! # Deadlines for slow readers
//! `write_timeout`, 30 s by default, ends a connection whose stream takes no byte for that long,
//! while bytes wait. One that takes a byte from time to time restarts it, unless
//! [`min_write_rate`](crate::Config::min_write_rate) is set: then it has to take bytes at that rate,
//! measured over `write_timeout`. The write buffer bounds the memory of such a peer in any case, and
//! the policy below bounds its delay. A connection that closes ends after
//! [`total_close_timeout`](crate::Config::total_close_timeout), 60 s by default, however slowly its
//! peer reads.
//!
//! # A broadcast with a policy
//! [`try_send`](Sender::try_send) never waits, so one slow member delays no one else. Encode the
//! message once, and disconnect a member that does not keep up:
//!
//! ```
//! use fullduplex::{CloseCode, CloseFrame, PreparedMessage, Sender, TrySendError};
//!
//! fn publish(members: &mut Vec<Sender>, text: &str) {
//!     let message = PreparedMessage::new(text);
//!     members.retain(|member| match member.try_send(&message) {
//!         Ok(()) => true,
//!         Err(TrySendError::Full(_)) => {
//!             // Queued behind the unread messages, and bounded by `total_close_timeout`. `abort` is immediate.
//!             let frame = CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "too slow").ok();
//!             let _ = member.start_close(frame);
//!             false
//!         }
//!         Err(_) => false, // closed
//!     });
//! }
//! # assert!(CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "too slow").is_ok());
//! ```
//!
//! For data that becomes stale, such as prices or positions, ignore `Full` and send the next value
//! instead. A small `max_write_buffer_size` keeps the delay of such data short. The example `broadcast`
//! closes slow members, and the example `push` skips messages.
//!
//! # Reading slowly
//! What has not been received stays in the kernel: a connection reads at most 64 KiB ahead, or 256
//! KiB in a burst of large messages; TLS adds at most 64 KiB and the records that rustls holds. A
//! program that stops calling `recv` thereby stops its peer. It also answers no ping meanwhile, so
//! a peer with keep-alive may disconnect it: hand long work to another task, with a bounded channel
//! in between, and keep receiving.
//!
//! # Control frames
//! Pings and pongs do not wait for room and have small bounds of their own. At most 4 KiB of pongs
//! are queued; beyond that the newest replaces the last one (RFC 6455 section 5.5.3). So a peer
//! that sends pings and reads nothing costs no more.
//!
//! # Large messages
//! [`reader`](WebSocket::reader) and [`writer`](WebSocket::writer) stream one message through
//! constant memory, with the same back-pressure: a [`MessageReader`] that is not read stops the
//! peer, and a [`MessageWriter`] waits for room.

#[allow(unused_imports, reason = "links refer to them")]
use crate::{MessageReader, MessageWriter, Receiver, Sender, TrySendError, WebSocket};
