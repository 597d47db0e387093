//! Optional counters of a connection.

use std::time::Duration;

use super::pings::Pings;

/// Counters of a connection, returned by [`WebSocket::stats`](crate::WebSocket::stats) and
/// [`Receiver::stats`](crate::Receiver::stats).
///
/// Received messages are counted when they are complete, sent messages when they are queued. Bytes
/// are counted as they are on the stream, compressed, with frame headers and control frames, and
/// also if they are discarded. The opening handshake is not counted.
///
/// ```
/// use fullduplex::{Config, Error, testing};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let (mut client, mut server) = testing::pair(&Config::new().stats(true));
/// client.send("hello").await?;
/// server.recv().await?;
/// let stats = server.stats().expect("enabled");
/// assert_eq!((stats.messages_received, stats.bytes_received), (1, 11));
/// assert_eq!(client.stats().expect("enabled").messages_sent, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of messages received.
    pub messages_received: u64,
    /// The number of messages queued for sending. A [`Sequence`](crate::Sequence) counts as one.
    pub messages_sent: u64,
    /// The number of bytes read from the stream.
    pub bytes_received: u64,
    /// The number of bytes written to the stream.
    pub bytes_sent: u64,
    /// The time from sending the last answered ping to receiving its pong.
    ///
    /// The ping may be a keep-alive ping or one sent by the program.
    pub round_trip: Option<Duration>,
}

/// The counters of the receiving side.
#[derive(Debug, Default)]
pub(super) struct ReceiveCounters {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) round_trip: Option<Duration>,
    /// Pings that wait for their pongs, unless a timer keeps them.
    pub(super) pings: Pings,
}

impl ReceiveCounters {
    /// Creates counters that include the bytes that were read after the opening handshake.
    pub(super) fn after(unread: usize) -> Self {
        Self { bytes: unread as u64, ..Self::default() }
    }
}

/// The counters of the sending side.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SendCounters {
    messages: u64,
    bytes: u64,
    /// The transport's counter when it was last read.
    seen: u32,
}

impl SendCounters {
    pub(super) fn messages(&mut self, count: u64) {
        self.messages += count;
    }

    /// Adds what the transport has written since the last call. Its counter wraps around, so this
    /// must be called before another 4 GiB are written.
    pub(super) fn written(&mut self, count: u32) {
        self.bytes += u64::from(count.wrapping_sub(self.seen));
        self.seen = count;
    }
}

impl Stats {
    pub(super) fn new(received: &ReceiveCounters, sent: SendCounters) -> Self {
        Self {
            messages_received: received.messages,
            messages_sent: sent.messages,
            bytes_received: received.bytes,
            bytes_sent: sent.bytes,
            round_trip: received.round_trip,
        }
    }
}
