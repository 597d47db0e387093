//! The client: a state machine that connects, runs a connection, and waits.

use std::{
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use futures_core::Stream;
use http::Response;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    backlog::Shutdown,
    backoff::Backoff,
    builder::{Attempt, BoxFuture, Builder, Closures, Connecting, IntoConnection, Opened},
    classify::{Reason, Verdict},
    handle::{Handle, Shared, State},
    live::{Held, Live},
};
use crate::{
    Client, ClientStream, CloseCode, Error, InvalidHandshake, Message, Target, TargetError, Timeout,
    Utf8Bytes, WebSocket,
};

/// A client that connects again after a connection is lost.
///
/// See the [module](super) for an example and for what it guarantees.
///
/// # When it makes progress
/// No task is spawned: the client connects, receives, writes and waits while it is polled, by
/// [`recv`](Self::recv), by [`drive`](Self::drive), or as a [`Stream`]. Handles only queue messages,
/// and wake the task that polls. A program that only sends calls `recv` as well.
///
/// # Dropping
/// Dropping the client drops the connection without a Close, and ends the handles. Messages that
/// have no outcome yet are [`Unknown`](super::Delivery::Unknown) if the connection had accepted
/// them, and [`Dropped`](super::Delivery::Dropped) otherwise.
pub struct Reconnecting<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    closures: Closures<S>,
    backoff: Backoff,
    attempt_timeout: Option<Duration>,
    shared: Arc<Shared>,
    phase: Phase<S>,
    /// The number of the current or next attempt.
    attempt: u32,
    /// The number of connections that were opened.
    connections: u64,
    /// Why there is no connection; `None` before the first attempt ends.
    why: Option<Reason>,
    held: Held,
    /// Why the client has ended, if that is an error and was not returned yet.
    error: Option<Reason>,
}

/// What the client is doing.
enum Phase<S> {
    /// Nothing yet: the next attempt starts when the client is polled.
    Start,
    Connecting(Connecting<S>),
    Open(Box<Live<S>>),
    Waiting(Pin<Box<Sleep>>),
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> fmt::Debug for Reconnecting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting")
            .field("state", &*self.shared.state.borrow())
            .field("attempt", &self.attempt)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Reconnecting<ClientStream> {
    /// Configures a client that connects with the same settings each time.
    ///
    /// # Errors
    /// Returns [`Error::InvalidHandshake`] if the target is not a URI or [`Client::check`] fails.
    ///
    /// ```
    /// use fullduplex::{Client, Error, reconnect::Reconnecting};
    ///
    /// # fn example() -> Result<(), Error> {
    /// let client = Reconnecting::client(Client::default(), "ws://localhost:9001/ticks")?.build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn client<T>(client: Client, target: T) -> Result<Builder<ClientStream>, Error>
    where
        T: TryInto<Target>,
        T::Error: Into<TargetError>,
    {
        let target = target.try_into().map_err(|error| InvalidHandshake::Target(error.into()))?;
        client.check().map_err(Clone::clone)?;
        Ok(Builder::new(move |_attempt| {
            let (client, target) = (client.clone(), target.clone());
            async move { client.connect(target).await }
        }))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Reconnecting<S> {
    /// Creates a client that opens each connection with this closure.
    ///
    /// This is [`builder`](Self::builder) with the default settings.
    pub fn new<C, F>(connect: impl FnMut(Attempt) -> F + Send + 'static) -> Self
    where
        C: IntoConnection<Stream = S>,
        F: Future<Output = Result<C, Error>> + Send + 'static,
    {
        Self::builder(connect).build()
    }

    /// Configures a client that opens each connection with this closure.
    ///
    /// The closure is called for each attempt, so that it can obtain a new token or choose another
    /// server. It may open a connection over any stream.
    ///
    /// ```
    /// use fullduplex::{Client, Error, reconnect::Reconnecting};
    ///
    /// # async fn new_token() -> Result<String, Error> { Ok(String::new()) }
    /// # fn example() {
    /// let client = Reconnecting::builder(|_attempt| async {
    ///     let token = new_token().await?;
    ///     let client = Client::default().header("Authorization", format!("Bearer {token}"));
    ///     client.connect("ws://localhost:9001/ticks").await
    /// })
    /// .build();
    /// # }
    /// ```
    pub fn builder<C, F>(connect: impl FnMut(Attempt) -> F + Send + 'static) -> Builder<S>
    where
        C: IntoConnection<Stream = S>,
        F: Future<Output = Result<C, Error>> + Send + 'static,
    {
        Builder::new(connect)
    }

    pub(super) fn of(builder: Builder<S>) -> Self {
        let Builder { closures, backoff, limits, attempt_timeout } = builder;
        Self {
            closures,
            backoff,
            attempt_timeout,
            shared: Arc::new(Shared::new(limits)),
            phase: Phase::Start,
            attempt: 0,
            connections: 0,
            why: None,
            held: Held::new(limits.max_bytes),
            error: None,
        }
    }

    /// Returns a handle, which sends, observes the state, and closes the client.
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Receives the next message, over as many connections as that takes.
    ///
    /// Connects, runs the connection and writes what is queued meanwhile. Returns `Ok(None)` once
    /// the client has ended cleanly: the program closed it, or the server closed the connection
    /// with code 1000.
    ///
    /// # Errors
    /// Returns why the client has ended, if that is an error. It is returned once; after that,
    /// this returns `Ok(None)`.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the client. A connection that is
    /// being opened stays so until the next call.
    pub async fn recv(&mut self) -> Result<Option<Message>, Reason> {
        let guard = PollGuard(self);
        poll_fn(|cx| guard.0.poll_recv(cx)).await
    }

    /// Polls for the next message, as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Reason>> {
        loop {
            if let Some(message) = self.held.pop() {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.is_ended() {
                return Poll::Ready(self.error.take().map_or(Ok(None), Err));
            }
            ready!(self.poll_progress(cx));
        }
    }

    /// Runs the client until a future completes, and returns its output.
    ///
    /// A task that polls the client uses this to wait for something that needs its progress, such
    /// as room in the queue or a receipt. Messages that are received meanwhile are held for
    /// [`recv`](Self::recv), until 1024 messages or [`max_bytes`](super::QueueLimits::max_bytes) of
    /// them are; from then on, nothing is received, and a connection that is lost is not replaced,
    /// until `recv` is called.
    ///
    /// ```
    /// # use fullduplex::{Error, ClientStream, reconnect::Reconnecting};
    /// # async fn example(mut client: Reconnecting<ClientStream>) -> Result<(), Box<dyn std::error::Error>> {
    /// let handle = client.handle();
    /// while let Some(message) = client.recv().await? {
    ///     let receipt = client.drive(handle.send(message)).await?;
    ///     println!("{:?}", client.drive(receipt).await);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the inner one, and loses nothing of the client.
    pub async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let guard = PollGuard(self);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(output);
                }
                if guard.0.is_ended() {
                    return Poll::Pending;
                }
                ready!(guard.0.poll_progress(cx));
            }
        })
        .await
    }

    /// Closes the client and waits until it has ended.
    ///
    /// Messages that are received meanwhile are discarded; [`Handle::close`] and
    /// [`recv`](Self::recv) return them. [`Handle::closed`] returns how the client has ended.
    ///
    /// # Errors
    /// Returns [`Error::InvalidClose`] if the code or reason cannot be sent, and [`Error::Closed`]
    /// if the client was closed before or has ended.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// The client is closed before the first await; the next call of [`recv`](Self::recv)
    /// continues.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<(), Error> {
        self.handle().close(code, reason)?;
        while let Ok(Some(_)) = self.recv().await {}
        Ok(())
    }

    /// Writes what is queued, and receives nothing. For a task that cannot hold another message.
    #[cfg(feature = "calls")]
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) {
        self.held.pause(true);
        while !self.is_ended() && self.poll_progress(cx).is_ready() {}
        self.held.pause(false);
    }

    /// Returns the number of the connection that the last message was received from.
    ///
    /// Messages are held only by [`drive`](Self::drive), which the caller must not use.
    #[cfg(feature = "calls")]
    pub(crate) fn connection(&self) -> u64 {
        self.connections
    }

    /// Adds a hook that runs on each new connection, after that of the builder.
    #[cfg(feature = "calls")]
    pub(crate) fn add_on_open<F>(&mut self, hook: impl FnMut(Opened) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Reason>> + Send + 'static,
    {
        self.closures.add_on_open(hook);
    }

    fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Makes progress. Returns ready after a change of the phase or a message.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shutdown = self.shared.backlog.register(cx.waker());
        let is_closing = !matches!(shutdown, Shutdown::No);
        match &mut self.phase {
            Phase::Open(live) => {
                let ended = ready!(live.poll(cx, &self.shared.backlog, &shutdown, &mut self.held));
                if let Some(why) = ended {
                    self.lost(why, is_closing);
                }
            }
            Phase::Ended => return Poll::Pending,
            _ if is_closing => self.end(Reason::Requested, None),
            Phase::Start => self.connect(),
            Phase::Waiting(timer) => {
                ready!(timer.as_mut().poll(cx));
                self.connect();
            }
            Phase::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                Ok((ws, response)) => self.opened(ws, response),
                Err(error) => self.disconnected(Reason::Failed(Arc::new(error))),
            },
        }
        Poll::Ready(())
    }

    /// Starts an attempt.
    fn connect(&mut self) {
        let attempt = Attempt { number: self.attempt, why: self.why.clone() };
        let connecting = (self.closures.connect)(attempt);
        let late = || Error::Timeout(Timeout::Connect);
        self.phase = Phase::Connecting(limited(self.attempt_timeout, connecting, late));
        self.shared.state.send_replace(State::Connecting { attempt: self.attempt });
    }

    /// Continues with a new connection.
    fn opened(&mut self, ws: WebSocket<S>, response: Option<Response<()>>) {
        let subprotocol = ws.subprotocol().map(Into::into);
        let (receiver, sender) = ws.split();
        let opened = Opened { sender, response, subprotocol, earlier: self.connections };
        let late = || Reason::Lost(Arc::new(Error::Timeout(Timeout::Connect)));
        let hook =
            self.closures.on_open.as_mut().map(|hook| limited(self.attempt_timeout, hook(opened), late));
        self.connections += 1;
        self.shared.backlog.opened(self.connections);
        self.phase = Phase::Open(Box::new(Live::new(receiver, hook)));
        self.shared.state.send_replace(State::Open);
    }

    /// Drops a connection that has ended.
    fn lost(&mut self, why: Reason, is_closing: bool) {
        if let Phase::Open(mut live) = mem::replace(&mut self.phase, Phase::Start) {
            live.lose(&self.shared.backlog);
            if live.was_ready_for(self.backoff.reset_after) {
                self.attempt = 0;
            }
        }
        match why {
            // The server answers with the code of the program.
            Reason::Closed(_) if is_closing => self.end(why, None),
            _ if is_closing => self.end(why.clone(), Some(why)),
            _ => self.disconnected(why),
        }
    }

    /// Waits for the next attempt, unless the reason is final.
    fn disconnected(&mut self, why: Reason) {
        self.attempt = self.attempt.saturating_add(1);
        let classify = self.closures.classify.as_mut();
        let verdict = classify.map_or(Verdict::Default, |classify| classify(&why, self.attempt));
        if verdict.is_stop(&why) {
            let error = Some(why.clone()).filter(|why| !why.is_clean());
            return self.end(why, error);
        }
        let delay = self.backoff.delay(self.attempt, &why, SystemTime::now(), rand::random());
        let until = Instant::now() + delay;
        self.phase = Phase::Waiting(Box::pin(sleep_until(until)));
        self.why = Some(why.clone());
        self.shared.state.send_replace(State::Waiting { until, attempt: self.attempt, why });
    }

    /// Ends the client. `error` is returned to the program.
    fn end(&mut self, why: Reason, error: Option<Reason>) {
        self.phase = Phase::Ended;
        self.shared.backlog.end();
        self.error = error;
        self.shared.state.send_replace(State::Closed { why });
    }
}

/// Adds a deadline to what a closure of the program returned.
fn limited<T: Send + 'static, E: Send + 'static>(
    limit: Option<Duration>,
    future: BoxFuture<Result<T, E>>,
    late: fn() -> E,
) -> BoxFuture<Result<T, E>> {
    let Some(limit) = limit else { return future };
    Box::pin(async move { timeout(limit, future).await.unwrap_or_else(|_elapsed| Err(late())) })
}

/// A future that polls the client: when dropped, senders no longer rely on the receiver.
struct PollGuard<'a, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&'a mut Reconnecting<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for PollGuard<'_, S> {
    fn drop(&mut self) {
        if let Phase::Open(live) = &mut self.0.phase {
            live.stop_waiting();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Reconnecting<S> {
    fn drop(&mut self) {
        if self.is_ended() {
            return;
        }
        if let Phase::Open(live) = &mut self.phase {
            live.lose(&self.shared.backlog);
        }
        self.end(Reason::Requested, None);
    }
}

/// Yields the messages that [`recv`](Reconnecting::recv) returns, and ends when it returns
/// `Ok(None)`.
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for Reconnecting<S> {
    type Item = Result<Message, Reason>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}
