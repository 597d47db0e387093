//! Limits and deadlines of a connection.

use std::time::Duration;

#[cfg(feature = "deflate")]
use super::deflate::Deflate;

/// Limits and deadlines of a connection.
///
/// Every limit is finite by default, and inclusive.
///
/// | what | default |
/// |---|---|
/// | [`max_message_size`](Self::max_message_size) | 64 MiB |
/// | [`max_frame_size`](Self::max_frame_size) | as `max_message_size` |
/// | [`max_fragments`](Self::max_fragments) | 65,536 |
/// | [`max_write_buffer_size`](Self::max_write_buffer_size) | 1 MiB |
/// | [`max_header_size`](Self::max_header_size) | 16 KiB |
/// | [`max_headers`](Self::max_headers) | 64 |
/// | [`handshake_timeout`](Self::handshake_timeout) | 10 s |
/// | [`close_timeout`](Self::close_timeout) | 5 s |
/// | [`total_close_timeout`](Self::total_close_timeout) | 60 s |
/// | [`write_timeout`](Self::write_timeout) | 30 s |
/// | [`min_write_rate`](Self::min_write_rate) | off |
/// | [`ping_interval`](Self::ping_interval) | 20 s |
/// | [`pong_timeout`](Self::pong_timeout) | 20 s |
/// | [`idle_timeout`](Self::idle_timeout) | off |
/// | [`message_timeout`](Self::message_timeout) | off |
/// | [`automatic_pongs`](Self::automatic_pongs) | on |
/// | [`stats`](Self::stats) | off |
#[cfg_attr(feature = "deflate", doc = "| [`deflate`](Self::deflate) | off |")]
///
/// Deadlines of an open connection have a resolution of one millisecond, which is also the minimum;
/// the maximum is 49 days.
///
/// ```
/// use std::time::Duration;
/// use fullduplex::Config;
///
/// let config = Config::new().max_message_size(1 << 20).ping_interval(Duration::from_secs(30)).idle_timeout(None);
/// assert_eq!(config.effective_max_frame_size(), 1 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The maximum size of a received message, in bytes of payload data over all fragments; of a
    /// compressed message, in bytes after decompression. A larger message fails the connection with
    /// 1009.
    pub max_message_size: usize,
    /// The maximum size of a received frame, in bytes of payload data; `None`:
    /// [`max_message_size`](Self::max_message_size). A frame of a compressed message may be larger
    /// by an eighth and 64 bytes, because incompressible data grows. A larger frame fails the
    /// connection with 1009.
    pub max_frame_size: Option<usize>,
    /// The maximum number of frames of a received message. More fail the connection with 1008.
    pub max_fragments: u32,
    /// The number of bytes that may be queued before [`feed`](crate::WebSocket::feed) waits. A
    /// message that is still to be compressed counts with its uncompressed frame. A message that is
    /// larger than this fits an empty queue.
    pub max_write_buffer_size: usize,
    /// The maximum size of the head of a request or response in the opening handshake, in bytes. If
    /// it is larger, a server answers 431, or 414 if the request line alone is larger; a client
    /// fails.
    pub max_header_size: usize,
    /// The maximum number of header fields of a request or response in the opening handshake. More
    /// are handled like a larger [`max_header_size`](Self::max_header_size).
    pub max_headers: usize,
    /// The deadline of the opening handshake. It applies to all of [`accept`](crate::accept). With
    /// [`Server::read_request`](crate::Server::read_request), it applies to reading the request,
    /// and again to accepting or rejecting it, counted from that call.
    pub handshake_timeout: Option<Duration>,
    /// The time that the peer has to complete the closing handshake and to end the transport,
    /// counted from when our Close has been written. Until then, the time in which the transport
    /// must accept some bytes of our Close and of what is queued before it, counted from when the
    /// Close is queued or from the last byte that was accepted. It applies whether `recv`, `close`,
    /// a [`Sender`](crate::Sender) or a sink closes. [`total_close_timeout`](Self::total_close_timeout)
    /// bounds all of this.
    pub close_timeout: Option<Duration>,
    /// The maximum time of closing in all: from when our Close is queued, or the connection fails, to
    /// its end, whatever the peer does. It bounds a peer that reads so slowly that
    /// [`close_timeout`](Self::close_timeout) restarts again and again. What was queued before the
    /// Close has to be written in this time too: to give it more, flush before closing, or choose a
    /// longer time. It has no effect without a `close_timeout`.
    pub total_close_timeout: Option<Duration>,
    /// The time after which a write fails if the transport accepts no byte, or fewer than
    /// [`min_write_rate`](Self::min_write_rate) requires.
    pub write_timeout: Option<Duration>,
    /// The rate, in bytes per second, at which the transport has to accept what is queued. `None` or
    /// 0: [`write_timeout`](Self::write_timeout) restarts with each byte, so that a peer which reads a
    /// byte now and then keeps what is queued for it in memory.
    ///
    /// The rate is measured over `write_timeout`, or over 30 s if that is `None`, and only while the
    /// transport does not accept everything at once. In each such period it has to accept all that is
    /// queued, or as many bytes of frames as the rate and the period make, at most 4 GiB. Otherwise
    /// the connection ends as it does after `write_timeout`, also while it closes. The first period
    /// may take up to twice as long.
    ///
    /// The buffers of the transport accept bytes in steps. The bytes of one period should be several
    /// times as many as those of a step, and the rate well below that of the slowest peer to be
    /// served.
    pub min_write_rate: Option<usize>,
    /// The time without any frame from the peer after which a keep-alive ping is sent.
    pub ping_interval: Option<Duration>,
    /// The deadline for the pong that answers a keep-alive ping, or any later ping. Any other frame
    /// that arrives meanwhile proves that the peer is alive and restarts it.
    pub pong_timeout: Option<Duration>,
    /// The time after which the connection fails if the peer sends neither a message nor a pong
    /// that answers a ping of ours. A message counts once it is complete: if a single message may
    /// take longer to arrive, enable keep-alive pings too, or choose a longer time. If the deadline
    /// is noticed more than a second late, because the connection was not polled, it restarts once.
    pub idle_timeout: Option<Duration>,
    /// The maximum time from the first byte of a received message to its last, over all frames. A
    /// longer time fails the connection with 1008.
    pub message_timeout: Option<Duration>,
    /// Whether each ping is answered with a pong, as RFC 6455 section 5.5.2 requires. A transparent
    /// proxy disables this: it forwards pings, and sends the pongs that come back with
    /// [`pong`](crate::WebSocket::pong).
    pub automatic_pongs: bool,
    /// Whether the connection counts messages and bytes:
    /// [`WebSocket::stats`](crate::WebSocket::stats). This takes about 150 bytes of heap.
    pub stats: bool,
    /// The settings of compression, which is used if the peer wants it too. `None`, the default: it
    /// is neither offered nor accepted. Compression has a [cost and a risk](Deflate#memory).
    #[cfg(feature = "deflate")]
    pub deflate: Option<Deflate>,
}

impl Config {
    /// Creates the default configuration, as the table above lists it.
    pub const fn new() -> Self {
        Self {
            max_message_size: 64 << 20,
            max_frame_size: None,
            max_fragments: 65_536,
            max_write_buffer_size: 1 << 20,
            max_header_size: 16 << 10,
            max_headers: 64,
            handshake_timeout: Some(Duration::from_secs(10)),
            close_timeout: Some(Duration::from_secs(5)),
            total_close_timeout: Some(Duration::from_secs(60)),
            write_timeout: Some(Duration::from_secs(30)),
            min_write_rate: None,
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Some(Duration::from_secs(20)),
            idle_timeout: None,
            message_timeout: None,
            automatic_pongs: true,
            stats: false,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// Sets the maximum size of a message. It also limits single frames, unless
    /// [`max_frame_size`](Self::max_frame_size) is set, before or after.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sets the maximum size of a frame; `None`: that of a message.
    pub fn max_frame_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_frame_size = bytes.into();
        self
    }

    /// Returns the limit for single frames: [`max_frame_size`](Self::max_frame_size), or
    /// [`max_message_size`](Self::max_message_size) if that is `None`.
    pub const fn effective_max_frame_size(&self) -> usize {
        match self.max_frame_size {
            Some(bytes) => bytes,
            None => self.max_message_size,
        }
    }

    /// Sets the maximum number of frames of a message.
    pub fn max_fragments(mut self, frames: u32) -> Self {
        self.max_fragments = frames;
        self
    }

    /// Sets the number of bytes that may be queued.
    pub fn max_write_buffer_size(mut self, bytes: usize) -> Self {
        self.max_write_buffer_size = bytes;
        self
    }

    /// Sets the maximum size of a head in the opening handshake.
    pub fn max_header_size(mut self, bytes: usize) -> Self {
        self.max_header_size = bytes;
        self
    }

    /// Sets the maximum number of header fields in the opening handshake.
    pub fn max_headers(mut self, fields: usize) -> Self {
        self.max_headers = fields;
        self
    }

    /// Sets the deadline of the opening handshake; `None` disables it.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake_timeout = timeout.into();
        self
    }

    /// Sets the deadline of the closing handshake; `None` disables it.
    pub fn close_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.close_timeout = timeout.into();
        self
    }

    /// Sets the maximum time of closing in all; `None` disables it.
    pub fn total_close_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.total_close_timeout = timeout.into();
        self
    }

    /// Sets the time after which a stuck write fails; `None` disables it.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into();
        self
    }

    /// Sets the rate at which the transport has to accept what is queued, in bytes per second; `None`
    /// or 0 disables it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fullduplex::Config;
    ///
    /// // Ends a connection that takes less than 15,000 bytes in 30 s, although more is queued for it.
    /// let config = Config::new().write_timeout(Duration::from_secs(30)).min_write_rate(500);
    /// assert_eq!(config.min_write_rate, Some(500));
    /// ```
    pub fn min_write_rate(mut self, bytes_per_second: impl Into<Option<usize>>) -> Self {
        self.min_write_rate = bytes_per_second.into();
        self
    }

    /// Sets the silence before a keep-alive ping; `None` disables such pings.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into();
        self
    }

    /// Sets the deadline for the pong of a keep-alive ping; `None` disables it.
    pub fn pong_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.pong_timeout = timeout.into();
        self
    }

    /// Sets the maximum time without a message or pong; `None` disables it.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Sets the maximum time that a message takes to arrive; `None` disables it.
    pub fn message_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.message_timeout = timeout.into();
        self
    }

    /// Sets whether each ping is answered with a pong.
    pub fn automatic_pongs(mut self, wanted: bool) -> Self {
        self.automatic_pongs = wanted;
        self
    }

    /// Sets whether the connection counts messages and bytes.
    pub fn stats(mut self, wanted: bool) -> Self {
        self.stats = wanted;
        self
    }

    /// Sets how messages are compressed; `None` disables compression.
    ///
    /// A compressed message may take up to 1,032 times as much memory as the peer has sent, within
    /// [`max_message_size`](Self::max_message_size); an incomplete one takes at most 16 times as
    /// much. The length of a compressed message can reveal a secret in it, as in the attacks CRIME
    /// and BREACH. [`Deflate`] describes both.
    ///
    /// ```
    /// use fullduplex::{Config, Deflate};
    ///
    /// let config = Config::new().deflate(Deflate::new());
    /// assert_eq!(config.deflate, Some(Deflate::new()));
    /// assert_eq!(config.deflate(None), Config::new());
    /// ```
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, deflate: impl Into<Option<Deflate>>) -> Self {
        self.deflate = deflate.into();
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_limit_does_not_depend_on_the_order_of_setters() {
        let limits = |config: Config| (config.max_message_size, config.effective_max_frame_size());
        assert_eq!(limits(Config::new()), (64 << 20, 64 << 20));
        assert_eq!(limits(Config::new().max_message_size(20)), (20, 20));
        assert_eq!(limits(Config::new().max_frame_size(10).max_message_size(20)), (20, 10));
        assert_eq!(limits(Config::new().max_message_size(20).max_frame_size(10)), (20, 10));
        assert_eq!(
            limits(Config::new().max_frame_size(10).max_message_size(20).max_frame_size(None)),
            (20, 20)
        );
    }

    #[test]
    fn counters_are_enabled_and_nothing_else() {
        let config = Config::new().max_message_size(20).stats(true);
        assert_eq!((config.stats, config.max_message_size, Config::new().stats), (true, 20, false));
    }
}
