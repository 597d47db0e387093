//! A router attached to a connection: the loop that receives and runs handlers.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

#[cfg(feature = "reconnect")]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::poll_proceed;

use super::{
    connection::{Connection, sealed::Wire as _},
    context::{self, Connected},
    parse::{Frame, Malformed, parse},
    peer::Peer,
    queue::Queue,
    routes::{Arrival, BoxFuture, Content, Data, Routes},
};
use crate::Message;
#[cfg(feature = "reconnect")]
use crate::{
    Error,
    calls::CallError,
    reconnect::{Opened, Reason, Reconnecting},
};

/// A router attached to a connection, returned by [`Router::attach`](super::Router::attach).
///
/// Nothing is received before it is [run](Self::run). Dropping it drops the connection without a
/// Close, and fails the calls that wait.
#[must_use = "nothing is received before it is run"]
pub struct Attached<S, C: Connection> {
    wire: C::Wire,
    routes: Arc<Routes<S>>,
    connected: Arc<Connected<S>>,
    /// The name of what is not a valid event.
    no_name: Arc<str>,
    /// The middleware of the new connection, until it completes. Until then no event is handled.
    connecting: Option<BoxFuture<bool>>,
    running: Vec<BoxFuture<()>>,
    waiting: Queue<Arrival<S>>,
    /// Whether the connection was refused: events are discarded.
    refused: bool,
    /// How the connection has ended. Nothing is received any more.
    ended: Option<Result<(), C::Error>>,
}

impl<S, C: Connection> fmt::Debug for Attached<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached")
            .field("peer", &self.connected.peer)
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static, C: Connection> Attached<S, C> {
    pub(super) fn new(routes: Arc<Routes<S>>, connection: C, state: S) -> Self {
        let wire = connection.into_wire();
        let peer = wire.peer(&routes.limits);
        let waiting = Queue::new(routes.limits);
        let connected = Arc::new(Connected { state, peer });
        let no_name: Arc<str> = Arc::from("");
        let connecting = (!routes.on_connect.is_empty()).then(|| {
            let context = context::Context::new(connected.clone(), no_name.clone(), None);
            Box::pin(routes.clone().connect(context)) as BoxFuture<bool>
        });
        Self {
            wire,
            routes,
            connected,
            no_name,
            connecting,
            running: Vec::new(),
            waiting,
            refused: false,
            ended: None,
        }
    }

    /// Returns the peer, to emit to it or to call it.
    pub fn peer(&self) -> &Peer {
        &self.connected.peer
    }

    /// Runs the connection until it has ended and all events that it has received are handled.
    ///
    /// Receives, answers pings, passes answers to the calls that wait, and runs handlers, all in the
    /// task of the caller. The [module](super) documents the order of events and what happens when
    /// too many wait.
    ///
    /// Calls that wait fail with [`CallError::Lost`](super::CallError::Lost) as soon as the
    /// connection has ended. Handlers that run then complete first, and so do the handlers of the
    /// events that wait.
    ///
    /// # Errors
    /// Returns the error that ended the connection: for a client that reconnects, the reason why it
    /// has ended.
    ///
    /// # Panics
    /// Panics if a handler or middleware panics. The connection is then dropped, without a Close.
    /// Panics outside a tokio runtime, or if its timers are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection without a Close, and the handlers that run.
    pub async fn run(mut self) -> Result<(), C::Error> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        // Handlers first: receiving writes what they have queued before it reads.
        self.poll_handlers(cx);
        if self.ended.is_none() {
            self.poll_receive(cx);
        }
        if self.connecting.is_some() || !self.running.is_empty() || !self.waiting.is_empty() {
            return Poll::Pending;
        }
        self.ended.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Polls the handlers that run, and starts those of events that wait.
    fn poll_handlers(&mut self, cx: &mut Context<'_>) {
        if let Some(connecting) = &mut self.connecting {
            let Poll::Ready(accepted) = connecting.as_mut().poll(cx) else { return };
            self.connecting = None;
            if !accepted {
                self.refused = true;
                self.waiting.clear();
            }
        }
        self.running.retain_mut(|handling| handling.as_mut().poll(cx).is_pending());
        self.start_handlers(cx);
    }

    fn start_handlers(&mut self, cx: &mut Context<'_>) {
        while self.connecting.is_none()
            && self.running.len() < self.routes.limits.concurrency
            && !self.waiting.is_empty()
        {
            // A burst of events must not keep other tasks of the thread waiting.
            let Poll::Ready(budget) = poll_proceed(cx) else { return };
            budget.made_progress();
            let Some(arrival) = self.waiting.pop() else { return };
            let mut handling: BoxFuture<()> = Box::pin(self.routes.clone().handle(arrival));
            if handling.as_mut().poll(cx).is_pending() {
                self.running.push(handling);
            }
        }
    }

    /// Receives until nothing more has arrived, too many events wait, or the connection has ended.
    fn poll_receive(&mut self, cx: &mut Context<'_>) {
        while self.may_receive(cx) {
            let Poll::Ready(budget) = poll_proceed(cx) else { return };
            let Poll::Ready(received) = self.wire.poll_recv(cx) else { return };
            budget.made_progress();
            match received {
                Ok(Some(message)) => self.received(message),
                Ok(None) => {
                    let cause = self.peer().pending().take_cause();
                    return self.end(cause.map_or(Ok(()), |error| Err(C::Wire::failure(error))));
                }
                Err(error) => return self.end(Err(error)),
            }
            self.start_handlers(cx);
        }
        self.wire.poll_write(cx);
    }

    /// Returns whether there is room for another event. If not, the task is woken when a call begins
    /// to wait, or when something is queued, which it then has to write.
    fn may_receive(&self, cx: &mut Context<'_>) -> bool {
        let pending = self.peer().pending();
        if self.waiting.has_room(pending.is_waited_for()) {
            return true;
        }
        pending.pause(cx.waker());
        // A call may have begun in the meantime.
        self.waiting.has_room(pending.is_waited_for())
    }

    fn end(&mut self, result: Result<(), C::Error>) {
        self.ended = Some(result);
        // Handlers that wait for answers continue.
        self.peer().pending().end();
    }

    /// Passes on a message: an answer to its call, an event to its handler.
    fn received(&mut self, message: Message) {
        let len = message.len();
        let (context, content) = match message.into_text() {
            None => self.malformed(Malformed::message("binary messages are not supported")),
            Some(text) => match parse(&text) {
                Err(malformed) => self.malformed(malformed),
                Ok(Frame::Event { name, id, data }) => {
                    let data = data.map(|raw| raw.get());
                    self.event(&name, id, Data::new(text.clone(), data))
                }
                Ok(Frame::Answer { id, answer }) => {
                    let answer = || answer.map(|data| data.map(ToOwned::to_owned));
                    return self.peer().pending().resolve(id, answer);
                }
                Ok(Frame::Notice(text)) => {
                    if let Some(on_notice) = &self.routes.on_notice {
                        on_notice(&self.context(self.no_name.clone(), None), &text);
                    }
                    return;
                }
            },
        };
        if !self.refused {
            self.waiting.push(len, Arrival { context, content, number: self.wire.number() });
        }
    }

    fn event(&self, name: &str, id: Option<u64>, data: Data) -> (context::Context<S>, Content<S>) {
        match self.routes.handlers.get_key_value(name) {
            Some((name, handle)) => (self.context(name.clone(), id), Content::Known(handle.clone(), data)),
            None => (self.context(name.into(), id), Content::Unknown),
        }
    }

    fn malformed(&self, malformed: Malformed) -> (context::Context<S>, Content<S>) {
        let Malformed { id, why } = malformed;
        (self.context(self.no_name.clone(), id), Content::Malformed(why))
    }

    fn context(&self, name: Arc<str>, id: Option<u64>) -> context::Context<S> {
        context::Context::new(self.connected.clone(), name, id)
    }
}

#[cfg(feature = "reconnect")]
#[cfg_attr(docsrs, doc(cfg(feature = "reconnect")))]
impl<S, Io> Attached<S, Reconnecting<Io>>
where
    S: Send + Sync + 'static,
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Sets a hook that runs on each new connection, before calls and events that wait are sent.
    ///
    /// It can log in or join a room, and wait for the answer. The [`Peer`] that it receives sends over
    /// this connection alone, and past the queue. Any other peer of the client must not be waited for
    /// in the hook: its calls are sent once the hook has completed.
    ///
    /// While the hook runs, messages are received, handlers run, and their answers are sent. The hook
    /// has the deadline of [`Builder::attempt_timeout`](crate::reconnect::Builder::attempt_timeout),
    /// together with the hook of the [builder](crate::reconnect::Builder::on_open) and others that are
    /// set here: they run before it, in the order in which they were set. A connection that the client
    /// has opened before has no hook of this kind.
    ///
    /// # Errors of the hook
    /// The connection is dropped, and the attempt counts as one that failed: the client waits for as
    /// long as its [`Backoff`](crate::reconnect::Backoff) demands, and tries again. The reason is
    /// [`Reason::Hook`], which a classifier can examine. [`CallError::Closed`] and [`CallError::Lost`]
    /// give way to the reason why the connection has ended, and a value that cannot be serialized is
    /// final, as it is [elsewhere](crate::reconnect::Reason::is_final).
    ///
    /// ```no_run
    /// use fullduplex::{
    ///     Client, Error,
    ///     calls::{CallError, Router},
    ///     reconnect::{Reason, Reconnecting, Verdict},
    /// };
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Reconnecting::client(Client::default(), "ws://127.0.0.1:9001/ann")?
    ///     // A server that refuses to let the client join would do so again.
    ///     .classify(|why, _attempt| match why {
    ///         Reason::Hook(error) if matches!(error.downcast_ref(), Some(CallError::Refused(_))) => Verdict::Stop,
    ///         _ => Verdict::Default,
    ///     })
    ///     .build();
    /// let attached = Router::new().attach(client, ()).on_open(|peer, opened| async move {
    ///     let room: String = peer.call("join", "room 7").await?;
    ///     println!("joined {room} over connection {}", opened.earlier_connections() + 1);
    ///     Ok(())
    /// });
    /// let peer = attached.peer().clone();
    /// tokio::spawn(attached.run());
    /// // Sent after the answer to `join`.
    /// peer.call::<(), _>("post", "hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_open<F>(mut self, mut hook: impl FnMut(Peer, Opened) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), CallError>> + Send + 'static,
    {
        let peer = self.peer().clone();
        self.wire.add_on_open(move |opened| {
            let (peer, sender) = (peer.clone(), opened.sender().clone());
            let number = opened.earlier_connections() + 1;
            let running = hook(peer.over(sender.clone()), opened);
            async move {
                let _hooked = peer.pending().hooked(number, sender);
                running.await.map_err(|error| match error {
                    CallError::Closed | CallError::Lost => Reason::Lost(Arc::new(Error::Closed)),
                    CallError::Serialize(error) => Reason::Lost(Arc::new(error.into())),
                    error => Reason::Hook(Arc::new(error)),
                })
            }
        });
        self
    }
}

impl<S, C: Connection> Drop for Attached<S, C> {
    fn drop(&mut self) {
        self.connected.peer.pending().end();
    }
}
