//! Limits and deadlines of a connection.

use std::time::Duration;

#[cfg(feature = "deflate")]
use super::deflate::Deflate;

/// Limits and deadlines of a connection. Every limit is finite by default, and inclusive: what equals it passes.
///
/// | what | default |
/// |---|---|
/// | [`max_message_size`](Self::max_message_size) | 64 MiB |
/// | [`max_frame_size`](Self::max_frame_size) | as `max_message_size` |
/// | [`max_fragments`](Self::max_fragments) | 65,536 |
/// | [`max_write_buffer`](Self::max_write_buffer) | 1 MiB |
/// | [`max_header_bytes`](Self::max_header_bytes) | 16 KiB |
/// | [`max_headers`](Self::max_headers) | 64 |
/// | [`handshake_timeout`](Self::handshake_timeout) | 10 s |
/// | [`close_timeout`](Self::close_timeout) | 5 s |
/// | [`write_timeout`](Self::write_timeout) | 30 s |
/// | [`ping_interval`](Self::ping_interval) | 20 s |
/// | [`pong_timeout`](Self::pong_timeout) | 20 s |
/// | [`idle_timeout`](Self::idle_timeout) | off |
/// | [`message_timeout`](Self::message_timeout) | off |
/// | [`automatic_pongs`](Self::automatic_pongs) | on |
/// | [`stats`](Self::stats) | off |
#[cfg_attr(feature = "deflate", doc = "| [`deflate`](Self::deflate) | off |")]
///
/// Deadlines of an open connection are kept in milliseconds: shorter ones count as one, and 49 days are the longest.
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
    /// The largest message that is received, in bytes of payload data over all its fragments; of a compressed one, in bytes
    /// that it inflates to. Beyond: 1009.
    pub max_message_size: usize,
    /// The largest single frame that is received, in bytes of payload data; `None`: as
    /// [`max_message_size`](Self::max_message_size). A frame of a compressed message may be an eighth and 64 bytes longer, for
    /// what does not shrink grows. Beyond: 1009.
    pub max_frame_size: Option<usize>,
    /// The most frames that one received message may have. Beyond: 1008.
    pub max_fragments: u32,
    /// How many bytes may be queued for sending before [`feed`](crate::WebSocket::feed) waits; a message that is to be
    /// compressed counts with its uncompressed frame. One message that is larger still fits an empty queue.
    pub max_write_buffer: usize,
    /// The largest head of a request or response in the opening handshake, in bytes. Beyond: a server
    /// answers 431, or 414 where the request line alone is longer; a client gives up.
    pub max_header_bytes: usize,
    /// The most header fields of a request or response in the opening handshake. Beyond: as
    /// [`max_header_bytes`](Self::max_header_bytes).
    pub max_headers: usize,
    /// How long the whole opening handshake may take. [`accept`](crate::accept) has this long for all of it; with
    /// [`Server::read_request`](crate::Server::read_request), reading the request has this long, and so has accepting or rejecting
    /// it, counted from that call.
    pub handshake_timeout: Option<Duration>,
    /// How long the peer has to finish the closing handshake and to end the transport, counted from when our Close has been
    /// written. Before that, how long the transport may take nothing of our Close and what is queued before it, counted from
    /// when the Close is queued or from the last byte that the transport took. It holds for whoever closes: `recv`, `close`,
    /// a [`Sender`](crate::Sender) or a sink.
    pub close_timeout: Option<Duration>,
    /// How long a write may be stuck without the transport taking one byte.
    pub write_timeout: Option<Duration>,
    /// How long nothing may come from the peer before a keep-alive ping is sent.
    pub ping_interval: Option<Duration>,
    /// How long the pong that answers a keep-alive ping may take, or that of any later ping; any other frame that comes
    /// meanwhile proves that the peer lives, and gives it as long again.
    pub pong_timeout: Option<Duration>,
    /// How long the peer may send neither a message nor a pong that answers a ping of ours. A deadline that is noticed more
    /// than a second late, because the connection was not polled, starts again, once.
    pub idle_timeout: Option<Duration>,
    /// How long a message may take from its first byte to its last, however many frames it has. Beyond: 1008.
    pub message_timeout: Option<Duration>,
    /// Whether each ping is answered with a pong, as RFC 6455 section 5.5.2 demands. A transparent proxy, which passes pings
    /// on and sends the pongs that come back with [`pong`](crate::WebSocket::pong), turns this off.
    pub automatic_pongs: bool,
    /// Whether the connection counts messages and bytes: [`WebSocket::stats`](crate::WebSocket::stats). It takes some 150
    /// bytes of heap.
    pub stats: bool,
    /// How messages are compressed, where the peer wants it too. `None`, the default: it is neither offered nor accepted.
    /// Compression has a [cost and a risk](Deflate#memory).
    #[cfg(feature = "deflate")]
    pub deflate: Option<Deflate>,
}

impl Config {
    /// The defaults, as the table above lists them.
    pub const fn new() -> Self {
        Self {
            max_message_size: 64 << 20,
            max_frame_size: None,
            max_fragments: 65_536,
            max_write_buffer: 1 << 20,
            max_header_bytes: 16 << 10,
            max_headers: 64,
            handshake_timeout: Some(Duration::from_secs(10)),
            close_timeout: Some(Duration::from_secs(5)),
            write_timeout: Some(Duration::from_secs(30)),
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

    /// Sets the largest message. It is the limit for single frames too, unless
    /// [`max_frame_size`](Self::max_frame_size) sets another, before or after.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sets the largest frame; `None`: as large as the largest message.
    pub fn max_frame_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_frame_size = bytes.into();
        self
    }

    /// Returns the limit for single frames: [`max_frame_size`](Self::max_frame_size), or
    /// [`max_message_size`](Self::max_message_size) where that is `None`.
    pub const fn effective_max_frame_size(&self) -> usize {
        match self.max_frame_size {
            Some(bytes) => bytes,
            None => self.max_message_size,
        }
    }

    /// Sets the most frames of one message.
    pub fn max_fragments(mut self, frames: u32) -> Self {
        self.max_fragments = frames;
        self
    }

    /// Sets how many bytes may be queued for sending.
    pub fn max_write_buffer(mut self, bytes: usize) -> Self {
        self.max_write_buffer = bytes;
        self
    }

    /// Sets the largest head of the opening handshake.
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.max_header_bytes = bytes;
        self
    }

    /// Sets the most header fields of the opening handshake.
    pub fn max_headers(mut self, fields: usize) -> Self {
        self.max_headers = fields;
        self
    }

    /// Sets how long the opening handshake may take; `None`: for ever.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake_timeout = timeout.into();
        self
    }

    /// Sets how long closing may take; `None`: for ever.
    pub fn close_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.close_timeout = timeout.into();
        self
    }

    /// Sets how long a write may be stuck; `None`: for ever.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into();
        self
    }

    /// Sets the silence before a keep-alive ping; `None`: no such pings.
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into();
        self
    }

    /// Sets how long a keep-alive ping may go unanswered; `None`: for ever.
    pub fn pong_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.pong_timeout = timeout.into();
        self
    }

    /// Sets how long the peer may send neither a message nor a pong; `None`: for ever.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Sets how long a message may take from its first byte to its last; `None`: for ever.
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

    /// Sets how messages are compressed; `None`: they are not.
    ///
    /// A compressed message may take up to 1,032 times as much memory as the peer has sent, within
    /// [`max_message_size`](Self::max_message_size); one that is not complete takes at most 16 times as much. The length of a
    /// compressed message can reveal a secret in it, as the attacks CRIME and BREACH do. [`Deflate`] says more of both.
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
    fn a_frame_limit_stays_whichever_limit_is_set_first() {
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
}
