//! Graceful shutdown: closes all connections of a server, and waits for them.

use std::{future::poll_fn, mem, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    runtime::Handle,
    spawn,
    time::{Instant, timeout},
};

use super::{
    guard::Guard,
    metrics::Metrics,
    registry::{Phase, Registry, Root},
};
use crate::{CloseCode, CloseFrame, InvalidClose, Utf8Bytes};

/// Blocks of guards that [`Shutdown::begin`] wakes itself. A task wakes the others.
const WOKEN_AT_ONCE: usize = 4;

/// Closes the connections of a server, and waits for them.
///
/// Each connection has a [`Guard`]. Once [`begin`](Self::begin) is called, the guards start the
/// closing handshake with its code; [`wait`](Self::wait) waits for the connections to end, and cuts
/// off those that take too long. [`Serve`](super::Serve) creates the guards itself. With an accept
/// loop of one's own, axum or hyper, the task of each connection creates one:
///
/// ```no_run
/// use std::time::Duration;
/// use fullduplex::{CloseCode, Error, WebSocket, serve::Shutdown};
/// use tokio::net::TcpStream;
///
/// async fn echo(ws: WebSocket<TcpStream>, shutdown: Shutdown) -> Result<(), Error> {
///     let mut ws = shutdown.guard().attach(ws);
///     while let Some(message) = ws.recv().await? {
///         ws.feed(message).await?;
///     }
///     Ok(())
/// }
///
/// # async fn stop(shutdown: Shutdown) -> Result<(), Error> {
/// // When the server stops:
/// shutdown.begin(CloseCode::GOING_AWAY, "the server stops")?;
/// let drained = shutdown.wait(Duration::from_secs(10)).await;
/// println!("{} closed, {} lost, {} cut off", drained.closed, drained.lost, drained.cut_off);
/// # Ok(())
/// # }
/// ```
///
/// Clones refer to the same shutdown. It may be used from several threads and runtimes.
///
/// # Memory
/// A guard takes 16 bytes, and 16 bytes for its waker, which are allocated for 256 guards at a
/// time. They are reused and not released before the shutdown is dropped.
#[derive(Debug, Clone)]
pub struct Shutdown {
    registry: Arc<Registry>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// How connections have ended after a shutdown began, returned by [`Shutdown::wait`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were closed cleanly. Those of a guard that does not receive count as
    /// closed once it is dropped.
    pub closed: usize,
    /// Connections that ended otherwise: the peer vanished, violated the protocol, or did not
    /// answer the Close within [`close_timeout`](crate::Config::close_timeout).
    pub lost: usize,
    /// Connections that were open at the deadline.
    pub cut_off: usize,
}

impl Shutdown {
    /// Creates a shutdown that has not begun.
    pub fn new() -> Self {
        Self { registry: Registry::new(Arc::new(Root::new()), None) }
    }

    /// Returns a handle to the same shutdown, whose guards count their connections in `metrics`.
    ///
    /// Each guard of this handle counts as a connection that was opened. When it ends, its close
    /// code is counted, and its [`Stats`](crate::Stats) if they are enabled.
    ///
    /// ```
    /// use fullduplex::{Config, serve::{Metrics, Shutdown}, testing};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (metrics, shutdown) = (Metrics::new(), Shutdown::new());
    /// let counted = shutdown.with_metrics(&metrics);
    /// # let (_client, ws) = testing::pair(&Config::new());
    /// let ws = counted.guard().attach(ws);
    /// assert_eq!(metrics.snapshot().open, 1);
    /// drop(ws);
    /// assert_eq!(metrics.snapshot().open, 0);
    /// # }
    /// ```
    pub fn with_metrics(&self, metrics: &Metrics) -> Self {
        Self { registry: Registry::new(self.root().clone(), Some(metrics.clone())) }
    }

    /// Creates the guard of a connection that is open.
    ///
    /// [`wait`](Self::wait) waits until it is dropped.
    pub fn guard(&self) -> Guard {
        let mut guard = self.idle_guard();
        guard.open();
        guard
    }

    /// Creates a guard that does not count as a connection yet.
    pub(super) fn idle_guard(&self) -> Guard {
        Guard::new(self.registry.clone())
    }

    /// Creates such a guard, for a connection whose handler returns the errors to count.
    pub(super) fn served_guard(&self) -> Guard {
        self.idle_guard().served()
    }

    /// Returns whether the deadline of [`wait`](Self::wait) has passed.
    pub(super) fn is_cut_off(&self) -> bool {
        self.root().phase() == Phase::CutOff
    }

    /// Begins to close all connections, with this code and reason.
    ///
    /// [`CloseCode::GOING_AWAY`] (1001) is the code for a server that stops, and
    /// [`CloseCode::SERVICE_RESTART`] (1012) for one that starts again. Only the first call has an
    /// effect. Guards that are created later close their connections at once.
    ///
    /// The tasks of 1,024 connections are woken by this call. The others are woken by a task, 256 at
    /// a time, so that the tasks of other work have their turns; if this is called outside of a
    /// tokio runtime, it wakes all of them.
    ///
    /// # Errors
    /// Returns an error, without any effect, if the code or the reason cannot be sent (RFC 6455
    /// sections 5.5.1 and 7.4).
    pub fn begin(&self, code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<(), InvalidClose> {
        if self.root().begin(CloseFrame::new(code, reason)?) {
            self.wake_guards();
        }
        Ok(())
    }

    /// Wakes some guards now, and the others in a task.
    fn wake_guards(&self) {
        let waking = Waking(self.root().clone());
        for _ in 0..WOKEN_AT_ONCE {
            if !self.root().wake_block() {
                return;
            }
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(waking.run());
        }
    }

    /// Returns whether [`begin`](Self::begin) has been called.
    pub fn has_begun(&self) -> bool {
        self.root().phase() > Phase::Open
    }

    /// Waits until the shutdown begins.
    ///
    /// This is for tasks that are not connections, such as accept loops.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn begun(&self) {
        let mut changed = pin!(self.root().changed().notified());
        changed.as_mut().enable();
        if !self.has_begun() {
            changed.await;
        }
    }

    /// Waits for all connections to end once the shutdown has begun, at most for `limit`.
    ///
    /// Then the connections that are left are cut off: [`Guard::recv`] and [`Session::recv`] fail
    /// with [`Timeout::Shutdown`](crate::Timeout::Shutdown), and the tasks of a
    /// [`Serve`](super::Serve) are dropped. This does not wait for them to end.
    ///
    /// [`Session::recv`]: super::Session::recv
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// If the future is dropped, no connection is cut off. A later call waits again.
    pub async fn wait(&self, limit: Duration) -> Drained {
        self.begun().await;
        let begun = Instant::now();
        // The task of `begin` may be on a runtime that is no longer driven.
        if self.root().wake_block() {
            spawn(Waking(self.root().clone()).run());
        }
        let _ = timeout(limit.saturating_sub(begun.elapsed()), self.ended()).await;
        let tally = *self.root().tally();
        if tally.open > 0 {
            self.root().cut_off();
            // In a task, because the future of `block_on` is polled before tasks that were woken.
            let waking = spawn(Waking(self.root().clone()).run());
            // It neither panics nor is it cancelled while this runtime runs.
            let _ = waking.await;
        }
        Drained { closed: tally.closed, lost: tally.lost, cut_off: tally.open }
    }

    /// Waits until no connection is open.
    async fn ended(&self) {
        loop {
            let mut changed = pin!(self.root().changed().notified());
            changed.as_mut().enable();
            if self.root().tally().open == 0 {
                return;
            }
            changed.await;
        }
    }

    fn root(&self) -> &Arc<Root> {
        self.registry.root()
    }
}

/// Yields until the tasks that were woken before have been polled.
///
/// tokio's `yield_now` returns earlier if many are queued, so that ever more would be.
async fn requeue() {
    let mut queued = false;
    poll_fn(|cx| {
        if mem::replace(&mut queued, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Wakes all guards. If it is dropped, the ones that are left are woken at once.
struct Waking(Arc<Root>);

impl Waking {
    async fn run(self) {
        while self.0.wake_block() {
            requeue().await;
        }
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        while self.0.wake_block() {}
    }
}
