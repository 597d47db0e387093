//! Counters of a connection, for those who ask for them.

use std::time::Duration;

use super::timers::Pings;

/// What has gone over a connection: [`WebSocket::stats`](crate::WebSocket::stats), [`Receiver::stats`](crate::Receiver::stats).
///
/// Messages count once they are complete or queued. Bytes are those of the stream, headers, control frames and compression
/// included, also those that are discarded; those of the opening handshake are not counted.
///
/// ```
/// use fullduplex::{Config, Error, testing};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let (mut client, mut server) = testing::pair(&Config::new().stats(true));
/// client.send("hello").await?;
/// server.recv().await?;
/// let stats = server.stats().expect("it was asked for");
/// assert_eq!((stats.messages_received, stats.bytes_received), (1, 11));
/// assert_eq!(client.stats().expect("it was asked for").messages_sent, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many messages were received.
    pub messages_received: u64,
    /// How many messages were queued for sending.
    pub messages_sent: u64,
    /// How many bytes were read from the stream.
    pub bytes_received: u64,
    /// How many bytes were written to the stream.
    pub bytes_sent: u64,
    /// How long it took from sending the last ping that was answered, a keep-alive ping or one of the application, to
    /// receiving its pong.
    pub round_trip: Option<Duration>,
}

/// The counters of the receiving side.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) round_trip: Option<Duration>,
    /// The pings that wait for their pongs, where no timer keeps them.
    pub(super) pings: Pings,
}

impl Received {
    /// Starts to count, with this many bytes that were read behind the opening handshake.
    pub(super) fn after(unread: usize) -> Self {
        Self { bytes: unread as u64, ..Self::default() }
    }
}

/// The counters of the sending side.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    messages: u64,
    bytes: u64,
    /// The transport's own count when it was last looked at.
    seen: u32,
}

impl Sent {
    pub(super) fn messages(&mut self, count: u64) {
        self.messages += count;
    }

    /// Takes over the transport's count, which wraps around: to be called before 4 GiB more are written.
    pub(super) fn written(&mut self, count: u32) {
        self.bytes += u64::from(count.wrapping_sub(self.seen));
        self.seen = count;
    }
}

impl Stats {
    pub(super) fn new(received: &Received, sent: Sent) -> Self {
        Self {
            messages_received: received.messages,
            messages_sent: sent.messages,
            bytes_received: received.bytes,
            bytes_sent: sent.bytes,
            round_trip: received.round_trip,
        }
    }
}
