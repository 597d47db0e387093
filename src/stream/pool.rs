//! The buffer pool of a thread: buffers that its connections share, so that an idle connection
//! holds none.
//!
//! A connection may outlive the pool, if another thread-local variable owns it and is destroyed
//! later. Buffers are then allocated when they are needed and freed when they are returned.

use std::{
    cell::{Cell, RefCell},
    fmt,
    hint::black_box,
    sync::Once,
};

use rand::{
    Rng, SeedableRng, TryRng,
    rngs::{StdRng, SysRng},
};
use tokio::time::Instant;

use crate::proto::{Batch, Buffers, MaskKey};

/// The number of bytes that one read may bring.
const NARROW: usize = 64 << 10;

/// The same for some reads after one that filled a narrow scratch, so that a burst of large
/// messages is read, and answered, at once.
const WIDE: usize = 256 << 10;

/// Half of the freed memory that the heap keeps once a large message has been received.
const LARGE: usize = 4 << 20;

/// The size of the small scratch that each thread keeps, for the unhandled rest of a read.
const SHORT: usize = 4 << 10;

/// The number of times that a wide scratch may be missing before another is allocated.
///
/// The thread's own may have moved to another thread with its connection. Until then a narrow one
/// is used, so that of many connections that hold a scratch only few hold a wide one.
const MISSES: u8 = 16;

/// The same for a short scratch. Other connections use a box of the size that they need.
const SHORT_MISSES: u8 = 255;

/// The maximum number of buffers of each kind that are kept. Of wide scratches one is kept.
const KEPT: usize = 8;

thread_local! {
    static POOL: Pool = const {
        Pool {
            buffers: Cell::new(Buffers::new()),
            scratch: Cell::new(None),
            wide: Cell::new(None),
            short: Cell::new(None),
            missed: Cell::new(0),
            missed_short: Cell::new(0),
            batch: Cell::new(None),
            more: RefCell::new(More { scratches: Vec::new(), batches: Vec::new() }),
        }
    };
}

thread_local! {
    /// Created when the first masking key is needed: the threads of a server need none.
    static KEYS: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// The buffers of one thread. The first of each kind has a place of its own; most threads never
/// need a second.
struct Pool {
    buffers: Cell<Buffers>,
    scratch: Cell<Option<Box<Scratch>>>,
    wide: Cell<Option<Box<Scratch>>>,
    short: Cell<Option<Box<Scratch>>>,
    /// The number of times that a wide scratch was missing.
    missed: Cell<u8>,
    /// The number of times that a short scratch was missing.
    missed_short: Cell<u8>,
    batch: Cell<Option<Box<Batch>>>,
    more: RefCell<More>,
}

impl Pool {
    #[inline(never)]
    fn wide(&self) -> Option<Box<Scratch>> {
        self.wide.take().or_else(|| miss(&self.missed, MISSES).then(|| Box::new(Scratch::wide())))
    }

    #[inline]
    fn short(&self) -> Option<Box<Scratch>> {
        let make = || Box::new(Scratch::with_len(SHORT));
        self.short.take().or_else(|| miss(&self.missed_short, SHORT_MISSES).then(make))
    }
}

/// Counts a miss. Returns `true` for the first of every `of` misses.
fn miss(missed: &Cell<u8>, of: u8) -> bool {
    let count = missed.get();
    missed.set((count + 1) % of);
    count == 0
}

#[allow(clippy::vec_box, reason = "connections hold the boxes: their contents are too large for an idle one")]
struct More {
    scratches: Vec<Box<Scratch>>,
    batches: Vec<Box<Batch>>,
}

/// A read buffer, with the position up to which its bytes are handled.
pub(super) struct Scratch {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// When the bytes were read.
    read_at: Instant,
    /// The maximum length of an unread rest that does not stay here.
    short_rest: usize,
}

/// Redacts the contents, which may be those of other connections.
impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("unread", &self.unread().len()).finish_non_exhaustive()
    }
}

impl Scratch {
    fn with_len(len: usize) -> Self {
        let short_rest = if len > SHORT { SHORT } else { 0 };
        Self { bytes: vec![0; len].into(), start: 0, end: 0, read_at: Instant::now(), short_rest }
    }

    fn narrow() -> Self {
        Self::with_len(NARROW)
    }

    fn wide() -> Self {
        // Without this, a burst of large messages costs page faults each time: 5 us instead of 3 us
        // for each of 16 messages of 16 KiB.
        keep_freed(WIDE);
        Self::with_len(WIDE)
    }

    /// Creates a scratch with bytes that were read before the connection had one.
    pub(super) fn holding(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), start: 0, end: bytes.len(), read_at: Instant::now(), short_rest: 0 }
    }

    /// Returns the whole buffer, to read into. It is initialised, because some streams clear an
    /// uninitialised buffer for each read.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Records that `len` bytes have just been read.
    pub(super) fn filled(&mut self, len: usize) {
        (self.start, self.end) = (0, len);
        self.read_at = Instant::now();
    }

    /// Returns when the bytes were read.
    pub(super) fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Returns `true` if the read brought at least as much as a narrow scratch holds, so that more
    /// is likely to follow.
    pub(super) fn is_full_read(&self) -> bool {
        self.end >= NARROW
    }

    /// Marks `len` bytes as handled. Returns `true` if everything is handled, or if the unread rest
    /// is short and need not stay here.
    #[inline]
    pub(super) fn consume(&mut self, len: usize) -> bool {
        self.start += len;
        self.end - self.start <= self.short_rest
    }

    #[inline]
    pub(super) fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

/// Calls a function with the buffers of the pool that the protocol core needs.
///
/// They are taken out of the pool for the call: payload data of any type may be dropped meanwhile,
/// which can run any code.
#[inline]
pub(super) fn with_buffers<T>(use_it: impl FnOnce(&mut Buffers) -> T) -> T {
    // One access to the pool: two would be a percent of a short `send`.
    let mut work = Some(use_it);
    let done = POOL.try_with(|pool| {
        let mut buffers = pool.buffers.take();
        let result = work.take().map(|use_it| use_it(&mut buffers));
        pool.buffers.set(buffers);
        result
    });
    match (done, work) {
        (Ok(Some(result)), _) => result,
        // The pool is destroyed.
        (_, Some(use_it)) => use_it(&mut Buffers::new()),
        // `try_with` fails without a call of its closure, which alone takes the function.
        (_, None) => unreachable!("the function is called once"),
    }
}

/// Returns a fresh masking key from the thread's CSPRNG (RFC 6455 section 5.3).
///
/// This does not use [`rand::rng`], which panics once it is destroyed.
// Not inlined: a server does not use it.
#[inline(never)]
pub(super) fn mask_key() -> MaskKey {
    let key = KEYS.try_with(|keys| {
        let mut bytes = [0; 4];
        keys.borrow_mut().get_or_insert_with(seeded).fill_bytes(&mut bytes);
        bytes
    });
    MaskKey::from(key.unwrap_or_else(|_destroyed| last_key()))
}

#[cold]
fn seeded() -> StdRng {
    StdRng::try_from_rng(&mut SysRng).expect("the system has a source of randomness")
}

/// Returns a masking key for a thread that is ending. A panic would abort the process, so without a
/// source of randomness the key is zero.
#[cold]
fn last_key() -> [u8; 4] {
    SysRng.try_next_u32().unwrap_or_default().to_ne_bytes()
}

/// Takes a scratch from the pool: a wide one if that is requested and available.
#[inline]
pub(super) fn scratch(wide: bool) -> Box<Scratch> {
    let kept = POOL.try_with(|pool| {
        let wide = if wide { pool.wide() } else { None };
        wide.or_else(|| pool.scratch.take()).or_else(|| pool.more.borrow_mut().scratches.pop())
    });
    kept.unwrap_or_default().unwrap_or_else(|| Box::new(Scratch::narrow()))
}

/// Lets the heap keep the memory of freed messages for the next ones, because a large message is
/// being received. Without this, each may cost a page fault for every 4 KiB.
#[inline]
pub(super) fn expect_large() {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| keep_freed(LARGE));
}

/// Lets the heap keep freed memory of up to twice this size.
///
/// glibc remembers the size of a freed block (mallopt(3), M_MMAP_THRESHOLD), and from then on keeps
/// twice as much at the end of its heap before it returns memory to the system.
#[cold]
fn keep_freed(size: usize) {
    drop(black_box(Vec::<u8>::with_capacity(size)));
}

/// Creates a small scratch with the unread bytes of `of`, which must be short.
pub(super) fn short_scratch(of: &Scratch) -> Box<Scratch> {
    let rest = of.unread();
    let kept = POOL.try_with(Pool::short).unwrap_or_default();
    let mut scratch = kept.unwrap_or_else(|| Box::new(Scratch::holding(rest)));
    scratch.bytes[..rest.len()].copy_from_slice(rest);
    (scratch.start, scratch.end, scratch.read_at) = (0, rest.len(), of.read_at);
    scratch
}

#[inline]
pub(super) fn return_scratch(scratch: Box<Scratch>) {
    let _destroyed = match scratch.bytes.len() {
        SHORT => POOL.try_with(|pool| pool.short.set(Some(scratch))),
        NARROW => POOL.try_with(|pool| {
            if let Some(other) = pool.scratch.replace(Some(scratch)) {
                keep(&mut pool.more.borrow_mut().scratches, other);
            }
        }),
        WIDE => POOL.try_with(|pool| pool.wide.set(Some(scratch))),
        _ => Ok(()),
    };
}

#[inline]
pub(super) fn batch() -> Box<Batch> {
    let kept = POOL.try_with(|pool| pool.batch.take().or_else(|| pool.more.borrow_mut().batches.pop()));
    kept.unwrap_or_default().unwrap_or_default()
}

#[inline]
pub(super) fn return_batch(batch: Box<Batch>) {
    let _destroyed = POOL.try_with(|pool| {
        if let Some(other) = pool.batch.replace(Some(batch)) {
            keep(&mut pool.more.borrow_mut().batches, other);
        }
    });
}

#[cold]
#[allow(clippy::vec_box, reason = "as in `More`")]
fn keep<T>(kept: &mut Vec<Box<T>>, one_more: Box<T>) {
    if kept.len() < KEPT {
        kept.push(one_more);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use tokio::io::DuplexStream;

    use super::*;
    use crate::{Config, MessageKind, Role, WebSocket, handshake::Negotiated};

    #[test]
    fn only_a_few_connections_hold_a_wide_scratch() {
        let held: Vec<_> = (0..32).map(|_| scratch(true)).collect();
        let lens: Vec<_> = held.iter().map(|scratch| scratch.bytes.len()).collect();
        assert_eq!((lens[0], lens[16]), (WIDE, WIDE));
        assert_eq!(lens.iter().filter(|len| **len == NARROW).count(), 30);
        held.into_iter().for_each(return_scratch);
        assert_eq!((scratch(true).bytes.len(), scratch(false).bytes.len()), (WIDE, NARROW));
    }

    /// A connection that is used once more while the thread-local variable that owns it is
    /// destroyed.
    struct Last(WebSocket<DuplexStream>, Option<Box<dyn Send>>);

    impl Drop for Last {
        fn drop(&mut self) {
            assert!(POOL.try_with(|_| ()).is_err(), "the pool is destroyed");
            let mut cx = Context::from_waker(Waker::noop());
            self.0.start_send("short").expect("open");
            self.0.start_send(vec![1; 5000]).expect("open");
            assert!(self.0.poll_flush(&mut cx).is_ready());
            // Receiving allocates its own buffers as well.
            assert!(self.0.poll_recv(&mut cx).is_pending());
            // A writer that is dropped before it is finished sends a Close.
            self.1 = None;
        }
    }

    thread_local! {
        static OWNERS: RefCell<Vec<Last>> = const { RefCell::new(Vec::new()) };
    }

    // Runs in a process of its own: once another test of the process has paused tokio's clock,
    // reading the clock in the destructor of a thread-local variable panics. Only tokio's
    // `test-util` does that.
    #[test]
    fn row_72_connections_and_writers_may_outlive_the_pool_of_their_thread() {
        const ALONE: &str = "FULLDUPLEX_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return use_connections_while_the_thread_ends();
        }
        let name = std::thread::current().name().expect("named after the test").to_owned();
        let program = std::env::current_exe().expect("the test program");
        let child = std::process::Command::new(program)
            .args(["--exact", &name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .expect("started");
        let output = String::from_utf8_lossy(&child.stdout);
        let errors = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{}: {output}{errors}", child.status);
        assert!(output.contains("1 passed"), "{name} ran: {output}");
    }

    fn use_connections_while_the_thread_ends() {
        let config = Config::new().ping_interval(None).write_timeout(None).close_timeout(None);
        let thread = std::thread::spawn(move || {
            // Created first, destroyed last.
            OWNERS.with(|owners| owners.borrow_mut().clear());
            for role in [Role::Client, Role::Server] {
                let open = || {
                    let (ours, theirs) = tokio::io::duplex(100_000);
                    // The peer stays connected.
                    Box::leak(Box::new(theirs));
                    WebSocket::from_raw(ours, Default::default(), role, &config, Negotiated::default())
                };
                let mut cx = Context::from_waker(Waker::noop());
                let mut writer = Box::leak(Box::new(open())).writer(MessageKind::Binary).expect("open");
                assert!(pin!(writer.feed_part("a part")).poll(&mut cx).is_ready());
                let mut ws = open();
                ws.start_send("queued").expect("open");
                OWNERS.with(|owners| owners.borrow_mut().push(Last(ws, Some(Box::new(writer)))));
                let sender = Box::leak(Box::new(open().split()));
                let Poll::Ready(writer) = pin!(sender.1.writer(MessageKind::Text)).poll(&mut cx) else {
                    panic!("no other writer")
                };
                let mut writer = writer.expect("open");
                assert!(pin!(writer.feed_part("a part")).poll(&mut cx).is_ready());
                OWNERS.with(|owners| owners.borrow_mut().push(Last(open(), Some(Box::new(writer)))));
            }
        });
        // A panic in the destructor of a thread-local variable aborts the process.
        thread.join().expect("no panic");
    }
}
