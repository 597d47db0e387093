//! How a client is configured: the closures of the program, and their arguments.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use http::Response;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    backoff::Backoff,
    classify::{Reason, Verdict},
    driver::Reconnecting,
    queue::QueueLimits,
};
use crate::{Error, Sender, WebSocket};

/// The default deadline of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Connected<S> = (WebSocket<S>, Option<Response<()>>);
pub(super) type Connecting<S> = BoxFuture<Result<Connected<S>, Error>>;
type Classifier = Box<dyn FnMut(&Reason, u32) -> Verdict + Send>;
pub(super) type Hook = BoxFuture<Result<(), Reason>>;

/// The closures of the program.
pub(super) struct Closures<S> {
    pub(super) connect: Box<dyn FnMut(Attempt) -> Connecting<S> + Send>,
    pub(super) on_open: Option<Box<dyn FnMut(Opened) -> Hook + Send>>,
    pub(super) classify: Option<Classifier>,
}

impl<S> Closures<S> {
    /// Adds a hook that runs after the one that is set.
    #[cfg(feature = "calls")]
    pub(super) fn add_on_open<F>(&mut self, mut hook: impl FnMut(Opened) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Reason>> + Send + 'static,
    {
        let mut first = self.on_open.take();
        self.on_open = Some(Box::new(move |opened| {
            let first = first.as_mut().map(|first| first(opened.clone()));
            let then = hook(opened);
            Box::pin(async move {
                if let Some(first) = first {
                    first.await?;
                }
                then.await
            })
        }));
    }
}

/// Configures a [`Reconnecting`] client.
///
/// Created by [`Reconnecting::builder`] or [`Reconnecting::client`].
#[must_use]
pub struct Builder<S> {
    pub(super) closures: Closures<S>,
    pub(super) backoff: Backoff,
    pub(super) limits: QueueLimits,
    pub(super) attempt_timeout: Option<Duration>,
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("backoff", &self.backoff)
            .field("limits", &self.limits)
            .field("attempt_timeout", &self.attempt_timeout)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Builder<S> {
    pub(super) fn new<C, F>(mut connect: impl FnMut(Attempt) -> F + Send + 'static) -> Self
    where
        C: IntoConnection<Stream = S>,
        F: Future<Output = Result<C, Error>> + Send + 'static,
    {
        let connect = move |attempt| -> Connecting<S> {
            let connecting = connect(attempt);
            Box::pin(async move { connecting.await.map(sealed::Sealed::into_parts) })
        };
        Self {
            closures: Closures { connect: Box::new(connect), on_open: None, classify: None },
            backoff: Backoff::new(),
            limits: QueueLimits::new(),
            attempt_timeout: Some(ATTEMPT_TIMEOUT),
        }
    }

    /// Sets how long the client waits before each attempt.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets the limits of the queue of messages.
    pub fn queue(mut self, limits: QueueLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the deadline of the connecting closure and of the hook for a new connection.
    ///
    /// It applies to each of them; 60 seconds by default. `None` disables it. When it passes, the
    /// attempt has failed with [`Timeout::Connect`](crate::Timeout::Connect).
    pub fn attempt_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.attempt_timeout = timeout.into();
        self
    }

    /// Sets a hook that runs on each new connection, before queued messages are sent.
    ///
    /// It can subscribe again, and ask for what was missed. Messages are received while it runs.
    /// The [`Sender`] that it receives sends over this connection alone, and past the queue. If it
    /// returns an error, the connection is dropped, and the error is the reason. The next attempt
    /// counts as one after an attempt that failed, however long the hook has run.
    ///
    /// ```
    /// use fullduplex::{Client, Error, reconnect::Reconnecting};
    ///
    /// # fn example() -> Result<(), Error> {
    /// let client = Reconnecting::client(Client::default(), "ws://localhost:9001/ticks")?
    ///     .on_open(|opened| async move { opened.sender().send("subscribe EURUSD").await })
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_open<F>(mut self, mut hook: impl FnMut(Opened) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.closures.on_open = Some(Box::new(move |opened| {
            let hook = hook(opened);
            Box::pin(async move { hook.await.map_err(|error| Reason::Lost(Arc::new(error))) })
        }));
        self
    }

    /// Sets a function that decides whether the client connects again.
    ///
    /// It receives why a connection ended or could not be opened, and the number of the next
    /// attempt. With [`Verdict::Default`], the reason decides: see [`Reason::is_final`].
    ///
    /// ```
    /// use fullduplex::{Client, CloseCode, Error, reconnect::{Reconnecting, Verdict}};
    ///
    /// # fn example() -> Result<(), Error> {
    /// let client = Reconnecting::client(Client::default(), "ws://localhost:9001")?
    ///     .classify(|why, attempt| match why.close_code() {
    ///         Some(CloseCode::POLICY_VIOLATION) => Verdict::Retry,
    ///         _ if attempt > 20 => Verdict::Stop,
    ///         _ => Verdict::Default,
    ///     })
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn classify(mut self, classify: impl FnMut(&Reason, u32) -> Verdict + Send + 'static) -> Self {
        self.closures.classify = Some(Box::new(classify));
        self
    }

    /// Creates the client. It connects once it is polled.
    #[must_use]
    pub fn build(self) -> Reconnecting<S> {
        Reconnecting::of(self)
    }
}

/// An attempt to connect: the argument of the connecting closure.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub(super) number: u32,
    pub(super) why: Option<Reason>,
}

impl Attempt {
    /// Returns the number of the attempt.
    ///
    /// 0 for the first one. It grows with each, and is 1 after a connection that was open for
    /// [`reset_after`](Backoff::reset_after).
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns why the attempt or connection before it ended; `None` if there was none.
    ///
    /// ```
    /// use fullduplex::reconnect::Attempt;
    ///
    /// fn needs_new_token(attempt: &Attempt) -> bool {
    ///     let error = attempt.why().and_then(|why| why.error());
    ///     error.and_then(|error| error.response()).is_some_and(|response| response.status() == 401)
    /// }
    /// ```
    pub fn why(&self) -> Option<&Reason> {
        self.why.as_ref()
    }
}

/// A new connection: the argument of the hook of [`Builder::on_open`], and of those of other layers.
///
/// ```
/// use fullduplex::{Error, reconnect::Opened};
///
/// async fn resume(opened: Opened) -> Result<(), Error> {
///     let request = if opened.earlier_connections() == 0 { "subscribe" } else { "resume" };
///     opened.sender().send(request).await
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Opened {
    pub(super) sender: Sender,
    pub(super) response: Option<Response<()>>,
    pub(super) subprotocol: Option<Box<str>>,
    pub(super) earlier: u64,
}

impl Opened {
    /// Returns a sender for this connection.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Returns the response of the server, if the connecting closure returned it.
    pub fn response(&self) -> Option<&Response<()>> {
        self.response.as_ref()
    }

    /// Returns the subprotocol agreed on in the opening handshake, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Returns how many connections the client had before this one.
    pub fn earlier_connections(&self) -> u64 {
        self.earlier
    }
}

/// What a connecting closure returns: a connection, or a connection and the response of the server.
///
/// Implemented for [`WebSocket<S>`](WebSocket) and for `(WebSocket<S>, Response<()>)`, which
/// [`Client::connect`](crate::Client::connect) returns. It cannot be implemented for other types.
pub trait IntoConnection: sealed::Sealed<Io = Self::Stream> {
    /// The stream of the connection.
    type Stream;
}

impl<S> IntoConnection for WebSocket<S> {
    type Stream = S;
}

impl<S> IntoConnection for (WebSocket<S>, Response<()>) {
    type Stream = S;
}

mod sealed {
    use http::Response;

    use crate::WebSocket;

    /// The stream is a parameter here too, because the public trait cannot name it in a method.
    pub trait Sealed {
        type Io;

        fn into_parts(self) -> (WebSocket<Self::Io>, Option<Response<()>>);
    }

    impl<S> Sealed for WebSocket<S> {
        type Io = S;

        fn into_parts(self) -> (WebSocket<S>, Option<Response<()>>) {
            (self, None)
        }
    }

    impl<S> Sealed for (WebSocket<S>, Response<()>) {
        type Io = S;

        fn into_parts(self) -> (WebSocket<S>, Option<Response<()>>) {
            (self.0, Some(self.1))
        }
    }
}
