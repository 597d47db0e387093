//! The part of a connection in a graceful shutdown.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    closable::Closable,
    registry::{Phase, Registry},
    session::Session,
};
use crate::{CloseCode, Error, Message, Stats, Timeout, WebSocket};

/// The part of one connection in a graceful shutdown, returned by
/// [`Shutdown::guard`](super::Shutdown::guard).
///
/// [`attach`](Self::attach) binds it to a connection, which is the simplest way to use it.
/// [`recv`](Self::recv) receives from a connection that the caller holds, whole or split. Anything
/// else can wait for [`begun`](Self::begun).
///
/// Dropping it means that the connection has ended.
pub struct Guard {
    registry: Arc<Registry>,
    index: u32,
    stage: Stage,
    /// Whether a `Serve` counts the errors of the connection, as its handler returns them.
    served: bool,
}

/// What has become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is not open yet, and not counted.
    Opening,
    Open,
    /// It has been closed cleanly.
    Closed,
    /// It has ended otherwise.
    Lost,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("stage", &self.stage)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

impl Guard {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        let index = registry.insert();
        Self { registry, index, stage: Stage::Opening, served: false }
    }

    /// Leaves it to a `Serve` to count the errors of the connection.
    pub(super) fn served(mut self) -> Self {
        self.served = true;
        self
    }

    /// Counts the connection as open.
    pub(super) fn open(&mut self) {
        if self.stage == Stage::Opening {
            self.stage = Stage::Open;
            self.registry.root().tally().open += 1;
            if let Some(metrics) = self.registry.metrics() {
                metrics.opened();
            }
        }
    }

    /// Binds this to a connection, whose `recv` then takes part in the shutdown.
    ///
    /// ```
    /// # async fn example(ws: fullduplex::WebSocket<tokio::net::TcpStream>, shutdown: fullduplex::serve::Shutdown)
    /// # -> Result<(), fullduplex::Error> {
    /// let mut ws = shutdown.guard().attach(ws);
    /// while let Some(message) = ws.recv().await? {
    ///     ws.feed(message).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn attach<S>(self, ws: WebSocket<S>) -> Session<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Session::new(ws, self)
    }

    /// Receives the next message, as [`WebSocket::recv`] and
    /// [`Receiver::recv`](crate::Receiver::recv) do.
    ///
    /// Once the shutdown begins, our Close is queued after the messages that are already queued.
    /// Messages that arrive before the peer's Close are still returned, and then `Ok(None)`. From
    /// our Close on, sending fails with [`Error::Closed`]: a program that answers continues to
    /// receive then, so that the closing handshake is completed.
    ///
    /// The connection is always the same one.
    ///
    /// ```
    /// # use fullduplex::{Error, WebSocket, serve::Shutdown};
    /// # async fn example(ws: WebSocket<tokio::net::TcpStream>, shutdown: Shutdown) -> Result<(), Error> {
    /// let mut guard = shutdown.guard();
    /// let (mut receiver, sender) = ws.split();
    /// while let Some(message) = guard.recv(&mut receiver).await? {
    ///     match sender.send(message).await {
    ///         Ok(()) | Err(Error::Closed) => {}
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the same errors as [`WebSocket::recv`], and
    /// [`Timeout::Shutdown`](crate::Timeout::Shutdown) at the deadline of
    /// [`Shutdown::wait`](super::Shutdown::wait). A split connection has then been
    /// [aborted](crate::Sender::abort); the caller drops a whole one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the guard and the connection.
    pub fn recv<'a, C: Closable>(
        &'a mut self,
        connection: &'a mut C,
    ) -> impl Future<Output = Result<Option<Message>, Error>> {
        Receive { guard: self, connection }
    }

    /// Polls for the next message, as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    pub fn poll_recv<C: Closable>(
        &mut self,
        connection: &mut C,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>> {
        loop {
            let phase = self.phase();
            match phase {
                Phase::Open => {}
                Phase::Closing => {
                    // It has been started before, perhaps by the peer, or the connection has ended.
                    let _ = connection.start_close(self.registry.root().frame().cloned());
                }
                Phase::CutOff => return Poll::Ready(self.end_at_once(connection)),
            }
            match connection.poll_recv(cx) {
                Poll::Ready(Ok(Some(message))) => return Poll::Ready(Ok(Some(message))),
                Poll::Ready(end) => {
                    self.ended(&end, connection);
                    return Poll::Ready(end);
                }
                Poll::Pending => {}
            }
            self.registry.register(self.index, cx.waker());
            if self.phase() == phase {
                return Poll::Pending;
            }
        }
    }

    /// Ends a connection that is cut off. The error that ends a connection is returned once.
    #[cold]
    fn end_at_once(&mut self, connection: &mut impl Closable) -> Result<Option<Message>, Error> {
        connection.abort();
        if matches!(self.stage, Stage::Closed | Stage::Lost) {
            return Ok(None);
        }
        self.end(Stage::Lost, CloseCode::ABNORMAL, connection.stats());
        Err(Error::Timeout(Timeout::Shutdown))
    }

    /// Waits until the shutdown begins.
    ///
    /// ```
    /// # use fullduplex::{CloseCode, Error, WebSocket, serve::Shutdown};
    /// # async fn serve<S>(_: &mut WebSocket<S>) -> Result<(), Error> { Ok(()) }
    /// # async fn example(mut ws: WebSocket<tokio::net::TcpStream>, shutdown: Shutdown) -> Result<(), Error> {
    /// let mut guard = shutdown.guard();
    /// tokio::select! {
    ///     result = serve(&mut ws) => return result,
    ///     () = guard.begun() => {}
    /// }
    /// ws.close(CloseCode::GOING_AWAY, "the server stops").await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn begun(&mut self) -> impl Future<Output = ()> {
        poll_fn(|cx| self.poll_phase(Phase::Closing, cx))
    }

    /// Waits until the deadline of [`Shutdown::wait`](super::Shutdown::wait) has passed, and the
    /// connection is to be dropped.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn cut_off(&mut self) -> impl Future<Output = ()> {
        poll_fn(|cx| self.poll_phase(Phase::CutOff, cx))
    }

    pub(super) fn poll_phase(&mut self, phase: Phase, cx: &Context<'_>) -> Poll<()> {
        if self.phase() < phase {
            self.registry.register(self.index, cx.waker());
            if self.phase() < phase {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Runs a future until the shutdown begins, then drops it and returns `None`.
    pub(super) async fn unless_begun<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match self.poll_phase(Phase::Closing, cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => Poll::Ready(Some(ready!(future.as_mut().poll(cx)))),
        })
        .await
    }

    /// Returns whether the closing handshake of an open connection is this guard's to complete.
    pub(super) fn is_closing(&self) -> bool {
        self.stage == Stage::Open && self.phase() == Phase::Closing
    }

    /// Records how a connection has ended, as its `recv` has returned it.
    #[cold]
    fn ended(&mut self, end: &Result<Option<Message>, Error>, connection: &impl Closable) {
        match end {
            Err(error) => {
                if let Some(metrics) = self.registry.metrics().filter(|_| !self.served) {
                    metrics.ended_with(error);
                }
                let code = error.close_code().unwrap_or(CloseCode::ABNORMAL);
                self.end(Stage::Lost, code, connection.stats());
            }
            Ok(_) => self.closed(connection),
        }
    }

    /// Records that a connection has ended without an error.
    pub(super) fn closed(&mut self, connection: &impl Closable) {
        match connection.code() {
            Some(code) => self.end(Stage::Closed, code, connection.stats()),
            // RFC 6455 section 7.1.5: 1006 is the code of a connection without the peer's Close.
            None => self.end(Stage::Lost, CloseCode::ABNORMAL, connection.stats()),
        }
    }

    /// Records the end of an open connection, once.
    fn end(&mut self, stage: Stage, code: CloseCode, stats: Option<Stats>) {
        if self.stage == Stage::Open {
            self.stage = stage;
            if let Some(metrics) = self.registry.metrics() {
                metrics.closed(code, stats);
            }
        }
    }

    fn phase(&self) -> Phase {
        self.registry.root().phase()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.registry.remove(self.index);
        if self.stage == Stage::Opening {
            return;
        }
        let root = self.registry.root();
        let begun = root.phase() != Phase::Open;
        let mut tally = root.tally();
        tally.open -= 1;
        let last = tally.open == 0;
        if begun {
            let count = if self.stage == Stage::Lost { &mut tally.lost } else { &mut tally.closed };
            *count += 1;
        }
        drop(tally);
        if begun && last {
            root.changed().notify_waiters();
        }
        if self.stage == Stage::Open
            && let Some(metrics) = self.registry.metrics()
        {
            metrics.closed(CloseCode::ABNORMAL, None);
        }
    }
}

/// A future that receives. When dropped, a receiver no longer waits.
struct Receive<'a, C: Closable> {
    guard: &'a mut Guard,
    connection: &'a mut C,
}

impl<C: Closable> Future for Receive<'_, C> {
    type Output = Result<Option<Message>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.guard.poll_recv(this.connection, cx)
    }
}

impl<C: Closable> Drop for Receive<'_, C> {
    fn drop(&mut self) {
        self.connection.stop_waiting();
    }
}
