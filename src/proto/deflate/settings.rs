//! Settings of permessage-deflate.

use super::params::{DeflateParams, MAX_WINDOW_BITS, MIN_WINDOW_BITS};

/// How messages are compressed with permessage-deflate (RFC 7692), and what the opening handshake
/// asks of the peer.
///
/// Both ends have to want it: a client offers it, a server accepts the offer or declines it. What
/// came out of that is [`Negotiated::deflate`](crate::handshake::Negotiated::deflate).
///
/// | what | default |
/// |---|---|
/// | [`level`](Self::level) | 6 |
/// | [`memory_level`](Self::memory_level) | 6 |
/// | [`threshold`](Self::threshold) | 64 bytes |
/// | [`server_no_context_takeover`](Self::server_no_context_takeover) | true |
/// | [`client_no_context_takeover`](Self::client_no_context_takeover) | true |
/// | [`server_max_window_bits`](Self::server_max_window_bits) | 15 |
/// | [`client_max_window_bits`](Self::client_max_window_bits) | 15 |
///
/// # Memory
/// Without context takeover, each message is compressed without reference to others, with a
/// compressor that the connections of a thread share. An idle connection has neither a compressor
/// nor a window. The compressor for messages of at most 4 KiB takes 35 KB for each thread; those for
/// longer ones have the sizes of the table below, and a thread keeps up to twelve.
///
/// A received message grows up to 1,032 times when it is decompressed: 65 KB become 64 MiB. It is
/// therefore kept compressed until it is complete, or until a sixteenth of
/// [`max_message_size`](crate::Config::max_message_size) has been received. An incomplete message,
/// with its decompressor, takes at most 16 times the memory of what the peer has sent of it. A
/// complete message takes up to `max_message_size`. Set that to the size that the program expects,
/// and to less than the memory of the machine divided by the number of connections.
///
/// With [`context_takeover`](Self::context_takeover), a message may refer to earlier ones, and
/// similar small messages become much smaller. Each connection then has, from the first compressed
/// message in a direction to its end, a decompressor of 48 KB for received messages, whatever the
/// window, and a compressor for sent messages. The size of a compressor in KB, which is the same at
/// each level:
///
/// | memory level | window bits: 9 | 10 | 11 | 12 | 13 | 14 | 15 |
/// |---|---|---|---|---|---|---|---|
/// | 1 | 137 | 139 | 143 | 152 | 168 | 201 | 266 |
/// | 6 | 165 | 167 | 171 | 179 | 196 | 228 | 294 |
/// | 8 | 251 | 253 | 257 | 265 | 282 | 314 | 380 |
/// | 9 | 366 | 368 | 372 | 380 | 396 | 429 | 495 |
///
/// # Time
/// At level 6, compression takes about 20 ms for each MiB; without context takeover, 3 µs for 100
/// bytes of JSON and 11 µs for 1 KiB. Messages are compressed when they are
/// written, in strides of a few KiB. Each stride takes a unit of the budget of the task, so that a
/// large message does not keep other tasks from running.
///
/// # Security
/// If a secret and data that an attacker controls are compressed together, the length of the result
/// reveals information about the secret: an observer of the encrypted connection can guess it byte
/// by byte. CRIME and BREACH are such attacks, on TLS and HTTP. With context takeover they extend
/// to other messages of the connection; without it, to the same message only. Send messages that
/// contain tokens, passwords or other secrets with
/// [`Outgoing::compress(false)`](crate::Outgoing::compress), or do not enable compression.
///
/// ```
/// use fullduplex::{Config, Deflate};
///
/// let config = Config::new().deflate(Deflate::new().level(9).context_takeover(true));
/// assert!(config.deflate.is_some_and(|deflate| !deflate.get_server_no_context_takeover()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// The effort of the compressor, from 1, the fastest, to 9, the smallest result.
    level: u8,
    /// The memory of the compressor while it works, from 1 to 9: each step doubles a part of its
    /// tables. Beyond 6, the result is hardly smaller.
    memory_level: u8,
    /// Messages with fewer bytes of payload data are sent uncompressed.
    threshold: usize,
    /// Whether the server compresses messages without context takeover (RFC 7692 section 7.1.1.1).
    server_no_context_takeover: bool,
    /// Whether the client compresses messages without context takeover (RFC 7692 section 7.1.1.2).
    client_no_context_takeover: bool,
    /// The maximum window of the server's compressor, as a power of two in bytes, from 8 to 15 (RFC
    /// 7692 section 7.1.2.1).
    server_max_window_bits: u8,
    /// The maximum window of the client's compressor, likewise (RFC 7692 section 7.1.2.2). A server
    /// can limit it only for clients that offer this.
    client_max_window_bits: u8,
}

impl Deflate {
    /// Creates the default settings, as the table above lists them.
    pub const fn new() -> Self {
        Self {
            level: 6,
            memory_level: 6,
            threshold: 64,
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: MAX_WINDOW_BITS,
            client_max_window_bits: MAX_WINDOW_BITS,
        }
    }

    /// Sets the effort of the compressor, clamped to 1 to 9.
    pub fn level(mut self, level: u8) -> Self {
        self.level = level.clamp(1, 9);
        self
    }

    /// Sets how much memory the compressor takes, clamped to 1 to 9.
    ///
    /// It has no effect on messages of at most 4 KiB without context takeover.
    pub fn memory_level(mut self, level: u8) -> Self {
        self.memory_level = level.clamp(1, 9);
        self
    }

    /// Sets the least number of bytes of payload data from which messages are compressed.
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Sets whether messages may refer to earlier ones, for both ends: the opposite of both
    /// `no_context_takeover` settings.
    pub fn context_takeover(self, wanted: bool) -> Self {
        self.server_no_context_takeover(!wanted).client_no_context_takeover(!wanted)
    }

    /// Sets whether the server compresses messages without context takeover.
    pub fn server_no_context_takeover(mut self, wanted: bool) -> Self {
        self.server_no_context_takeover = wanted;
        self
    }

    /// Sets whether the client compresses messages without context takeover.
    pub fn client_no_context_takeover(mut self, wanted: bool) -> Self {
        self.client_no_context_takeover = wanted;
        self
    }

    /// Sets the maximum window of the server's compressor, clamped to 8 to 15.
    ///
    /// With 8, a server of this crate compresses only messages of at most 4 KiB that are not sent in
    /// parts, each by itself.
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.server_max_window_bits = bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        self
    }

    /// Sets the maximum window of the client's compressor, clamped to 8 to 15.
    ///
    /// With 8, a client of this crate compresses only messages of at most 4 KiB that are not sent in
    /// parts, each by itself.
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.client_max_window_bits = bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
        self
    }

    /// Returns the effort of the compressor, from 1 to 9.
    pub const fn get_level(&self) -> u8 {
        self.level
    }

    /// Returns how much memory the compressor takes, from 1 to 9.
    pub const fn get_memory_level(&self) -> u8 {
        self.memory_level
    }

    /// Returns the least number of bytes of payload data from which messages are compressed.
    pub const fn get_threshold(&self) -> usize {
        self.threshold
    }

    /// Returns whether the server compresses messages without context takeover.
    pub const fn get_server_no_context_takeover(&self) -> bool {
        self.server_no_context_takeover
    }

    /// Returns whether the client compresses messages without context takeover.
    pub const fn get_client_no_context_takeover(&self) -> bool {
        self.client_no_context_takeover
    }

    /// Returns the largest window of the server's compressor, as a power of two, from 8 to 15.
    pub const fn get_server_max_window_bits(&self) -> u8 {
        self.server_max_window_bits
    }

    /// Returns the largest window of the client's compressor, as a power of two, from 8 to 15.
    pub const fn get_client_max_window_bits(&self) -> u8 {
        self.client_max_window_bits
    }
}

impl From<Deflate> for DeflateParams {
    fn from(settings: Deflate) -> Self {
        Self {
            server_no_context_takeover: settings.get_server_no_context_takeover(),
            client_no_context_takeover: settings.get_client_no_context_takeover(),
            server_max_window_bits: settings.get_server_max_window_bits(),
            client_max_window_bits: settings.get_client_max_window_bits(),
        }
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_clamped() {
        let all = |number| {
            let set = Deflate::new().level(number).memory_level(number);
            let set = set.server_max_window_bits(number).client_max_window_bits(number);
            (set.level, set.memory_level, set.server_max_window_bits, set.client_max_window_bits)
        };
        assert_eq!(all(0), (1, 1, 8, 8));
        assert_eq!(all(9), (9, 9, 9, 9));
        assert_eq!(all(255), (9, 9, 15, 15));
    }

    #[test]
    fn the_threshold_is_set_and_nothing_else() {
        let set = Deflate::new().level(3).threshold(77);
        assert_eq!((set.get_threshold(), set.level), (77, 3));
    }

    #[test]
    fn context_takeover_sets_both_parameters_to_the_opposite() {
        for wanted in [false, true] {
            let set = Deflate::new().context_takeover(wanted);
            assert_eq!((set.server_no_context_takeover, set.client_no_context_takeover), (!wanted, !wanted));
        }
        assert_eq!(Deflate::new(), Deflate::new().context_takeover(false));
    }
}
