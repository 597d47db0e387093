//! The limits and deadlines of the server: those of a service for short messages.

use std::{net::Ipv4Addr, time::Duration};

use fullduplex::{Config, Deflate};

/// The largest message, in bytes.
pub const MESSAGE: usize = 64 << 10;

/// The frames of a message.
pub const FRAGMENTS: u32 = 1_024;

/// The bytes that may be queued for a connection.
pub const WRITE_BUFFER: usize = 64 << 10;

/// The largest head of a request.
pub const HEADER: usize = 8 << 10;

/// The connections that one address may have.
pub const PER_ADDRESS: usize = 20;

/// The connections that clients open from each address: fewer than it may have, because the server
/// may notice the end of a connection only after the next one has begun.
const OPENED_PER_ADDRESS: usize = 16;

/// What a connection that waits takes: its task, its stream, its timers, and the request until the
/// handler drops it.
pub const OPEN: usize = 4 << 10;

/// The pongs that are queued for a connection.
pub const PONGS: usize = 4 << 10;

/// What connections read ahead of their handlers, on average: 64 KiB, but one of 16 reads up to 256 KiB
/// in a burst of large messages.
pub const READ_AHEAD: usize = (64 << 10) + ((256 - 64) << 10) / 16;

/// What is kept of a read besides a message that the handler works on, if the rest is short.
pub const RETAINED_REST: usize = 4 << 10;

/// What a thread keeps for all of its connections: buffers for reads and writes, and what compresses
/// and inflates.
pub const THREAD: usize = 8 << 20;

/// The size of the server's send buffers in the kernel. By default, each may hold megabytes over
/// loopback, and a peer that does not read would be noticed late.
pub const SEND_BUFFER: u32 = 32 << 10;

/// Returns the configuration of the server's connections. The deadline is that of the opening
/// handshake, of a message, and of a write without progress.
pub fn config(deadline: Duration) -> Config {
    Config::new()
        .max_message_size(MESSAGE)
        .max_fragments(FRAGMENTS)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_header_size(HEADER)
        .handshake_timeout(deadline)
        .message_timeout(deadline)
        .write_timeout(deadline)
        .ping_interval(Duration::from_secs(20))
        .pong_timeout(Duration::from_secs(20))
        .deflate(Deflate::new())
}

/// Returns how many connections the server accepts: a fifth more than clients open.
pub fn max_connections(clients: usize) -> usize {
    clients + clients / 5
}

/// The groups of clients, each with addresses of its own.
#[derive(Debug, Clone, Copy)]
pub enum Group {
    Honest,
    Hostile,
}

impl Group {
    /// Returns the address from which a client connects.
    pub fn address(self, number: usize) -> Ipv4Addr {
        let second = match self {
            Self::Honest => 1,
            Self::Hostile => 2,
        };
        let first = u32::from(Ipv4Addr::new(127, second, 0, 1));
        // 65,536 addresses suffice for a million clients, more than files can be open.
        Ipv4Addr::from_bits(first + (number / OPENED_PER_ADDRESS) as u32)
    }
}
