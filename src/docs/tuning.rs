//! Tuning: fewer system calls, copies and bytes per connection.
//!
//! The defaults are made for many connections that are mostly idle and for bursts of small
//! messages. Measure before changing anything: `benches/peers.md` in the repository compares
//! columns of one run, and times of different runs do not compare.
//!
//! # System calls
//! Over sockets they cost the most: a read and a write together take more time than the rest of a
//! small echo.
//!
//! - Reply with [`feed`](WebSocket::feed) and let [`recv`](WebSocket::recv) write. Echoing bursts
//!   of 32 messages of 64 bytes takes 383 ns of CPU time per message this way, and 6,055 ns with
//!   [`send`](WebSocket::send).
//! - Use `send`, or `feed` several times and then [`flush`](WebSocket::flush), if the task does not
//!   receive next.
//! - Set `TCP_NODELAY` on accepted streams; [`connect`](crate::connect) does so itself.
//! - In a [split](WebSocket::split) connection, [`Sender::feed`] wakes a waiting receiver once for
//!   a whole burst. [`Sender::send`] writes itself, under a lock. A connection that is not split
//!   takes no lock.
//!
//! # Copies
//! - A message of up to 4 KiB is copied into the write buffer, which allocates nothing: send `&str`
//!   and `&[u8]` as they are.
//! - A longer message is sent from where it is if it is owned (`String`, `Vec<u8>`,
//!   [`Bytes`](bytes::Bytes)), and copied once if it is borrowed. A client masks owned data in
//!   place if no one else holds it, and a copy otherwise.
//! - For many receivers, use one [`PreparedMessage`]: encoded once, compressed once for each set of
//!   parameters, and not copied by a server above 256 bytes.
//! - A received message owns its memory. Keeping it retains no read buffer.
//! - [`reader`](WebSocket::reader) and [`writer`](WebSocket::writer) stream messages that need not
//!   be in memory as a whole.
//!
//! # Memory of an idle connection
//! A connection holds at most 192 bytes beside its stream, plus one box of at most 320 bytes with
//! keep-alive or an idle timeout. Read buffers, write queues and compressors belong to a pool of
//! each thread and are returned while a connection waits. So most of the memory of an idle
//! connection is its task:
//!
//! - `async move { serve(ws).await }` holds the connection twice. Spawn `serve(ws)` itself.
//! - A task is as large as its largest state. Box a future that is large and ends early, such as an
//!   opening handshake with your own checks: `Box::pin(open(tcp)).await`. The functions of this
//!   crate do so already.
//! - `let Some(message) = ws.recv().await? else { .. }` makes a smaller future than `while let` if
//!   the body awaits.
//! - With `ping_interval(None)` and no idle timeout, an idle connection has no timer: 1,130 instead
//!   of 1,248 bytes of resident memory, task and TCP stream included.
//! - A split connection shares at most 512 bytes of heap between its halves.
//!
//! # Compression
//! - Compressing and inflating take far more CPU time than the rest: 6.2 µs for an echo of 100
//!   bytes of JSON, 17 µs for 1 KiB. Enable it where bandwidth is scarce.
//! - Without context takeover, the default, an idle connection holds no window. With it, similar
//!   small messages shrink far more, and each connection holds a decompressor of 48 KB and a
//!   compressor of 137 to 495 KB.
//! - `threshold`, 64 bytes by default, leaves short messages uncompressed, and
//!   `Outgoing::compress(false)` leaves single ones, such as images, uncompressed.
//! - A `memory_level` above 6 hardly makes messages smaller, and has no effect on those of at most 4
//!   KiB without context takeover.
//!
//! # Latency and fairness
//! - `recv` takes one unit of the task's budget (tokio's cooperative scheduling) for each 64
//!   frames. A flood leaves other tasks their turns.
//! - Compressing a large message proceeds in strides of 16 KiB, for one unit of the budget each.
//! - A handler that blocks delays pongs and deadlines of its connection. Move long work to
//!   `spawn_blocking`.
//!
//! # Build
//! The figures in `benches/` are measured with `lto = "fat"` and `codegen-units = 1`. AVX2 and
//! AVX-512 are detected at run time, without `target-cpu=native`.

#[allow(unused_imports, reason = "links refer to them")]
use crate::{PreparedMessage, Sender, WebSocket};
