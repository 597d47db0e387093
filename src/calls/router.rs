//! The router: what a program does with events.

use std::{
    fmt,
    future::{Future, ready},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    attached::Attached,
    connection::Connection,
    context::Context,
    data, encode,
    error::{CallError, Refusal},
    limits::Limits,
    parse::MAX_NAME,
    routes::{BoxFuture, Routes},
};

/// The handlers of events, and what runs before them.
///
/// `S` is the state of one connection: the name of a user, or the handle of a database. The same
/// router serves any number of connections: cloning it is cheap.
///
/// ```
/// use fullduplex::{CloseCode, Error, WebSocket, calls::{CallError, Context, InvalidData, Refusal, Router}};
/// use serde::{Deserialize, Serialize};
/// use tokio::net::TcpStream;
///
/// struct Member {
///     name: String,
///     muted: bool,
/// }
///
/// #[derive(Deserialize)]
/// struct Post {
///     text: String,
/// }
///
/// #[derive(Serialize)]
/// struct Posted {
///     id: u64,
/// }
///
/// async fn post(context: Context<Member>, post: Post) -> Result<Posted, CallError> {
///     if post.text.is_empty() {
///         return Err(InvalidData::new("data.text", "empty").into());
///     }
///     println!("{}: {}", context.state().name, post.text);
///     Ok(Posted { id: 1 })
/// }
///
/// let router = Router::new()
///     .on_connect(|context: Context<Member>| async move {
///         match context.state().name.is_empty() {
///             true => Err(Refusal::new(CloseCode::from(4000), "a name, please")),
///             false => Ok(()),
///         }
///     })
///     .before_each(|context| async move {
///         if context.state().muted { Err(CallError::refused("you are muted")) } else { Ok(()) }
///     })
///     .on("post", post)
///     .on("ping", |_context, (): ()| async { Ok("pong") });
/// # let _ = router;
/// ```
pub struct Router<S = ()> {
    routes: Arc<Routes<S>>,
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self { routes: self.routes.clone() }
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("events", &self.routes.handlers.keys())
            .field("limits", &self.routes.limits)
            .finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> Default for Router<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Send + Sync + 'static> Router<S> {
    /// Creates a router without handlers.
    pub fn new() -> Self {
        Self { routes: Arc::new(Routes::new()) }
    }

    fn routes(&mut self) -> &mut Routes<S> {
        Arc::make_mut(&mut self.routes)
    }

    /// Sets the limits of each connection.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.routes().limits = limits;
        self
    }

    /// Adds the handler of an event.
    ///
    /// The handler is an async function. It receives the context and the data of the event, of a type
    /// that serde parses. Data that is missing is parsed as `null`, so `()` and `Option` accept it.
    /// What the handler returns is the answer to the call. If the event is not acknowledged, an error
    /// is still sent, as `{"ok":false,"error":"..."}`.
    ///
    /// # Panics
    /// Panics if the event has a handler already, or if its name is empty or longer than 256 bytes.
    #[must_use]
    #[track_caller]
    pub fn on<D, R, F, Fut>(mut self, event: &str, handler: F) -> Self
    where
        D: DeserializeOwned,
        R: Serialize,
        F: Fn(Context<S>, D) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, CallError>> + Send + 'static,
    {
        assert!((1..=MAX_NAME).contains(&event.len()), "the name of an event has 1 to 256 bytes");
        let handle = move |context: Context<S>, data: Option<&str>| -> BoxFuture<_> {
            let data = match data::parse(data) {
                Ok(data) => data,
                Err(invalid) => return Box::pin(ready(Err(invalid.into()))),
            };
            let id = context.id();
            let handling = handler(context, data);
            Box::pin(async move {
                let answer = handling.await?;
                id.map(|id| encode::answer(id, &answer)).transpose().map_err::<CallError, _>(Into::into)
            })
        };
        let before = self.routes().handlers.insert(event.into(), Arc::new(handle));
        assert!(before.is_none(), "event {event:?} has a handler already");
        self
    }

    /// Adds a function that accepts or refuses each new connection.
    ///
    /// Several run in the order in which they were added, before the first event is handled. Events
    /// that arrive meanwhile wait. A connection that is refused is closed. For a client that
    /// reconnects, they run once, and not for each of its connections.
    ///
    /// ```
    /// use fullduplex::{CloseCode, calls::{Context, Refusal, Router}};
    ///
    /// struct Member {
    ///     barred: bool,
    /// }
    ///
    /// let router = Router::new().on_connect(|context: Context<Member>| async move {
    ///     match context.state().barred {
    ///         true => Err(Refusal::new(CloseCode::from(4001), "you were removed from the room")),
    ///         false => Ok(()),
    ///     }
    /// });
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn on_connect<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.routes().on_connect.push(Arc::new(move |context| Box::pin(middleware(context))));
        self
    }

    /// Adds a function that accepts or refuses each event, before its data is parsed.
    ///
    /// Several run in the order in which they were added. An event that is refused is answered with
    /// the error, and its handler does not run. This includes unknown events, and messages that are
    /// not valid, whose [name](Context::event) is empty, so that a rate limit counts all of them. It
    /// does not include answers to calls.
    ///
    /// ```
    /// use fullduplex::calls::{CallError, Context, Router};
    ///
    /// struct Member {
    ///     is_teacher: bool,
    /// }
    ///
    /// let router = Router::new().before_each(|context: Context<Member>| async move {
    ///     if context.event().starts_with("teacher:") && !context.state().is_teacher {
    ///         return Err(CallError::refused("only a teacher may do this"));
    ///     }
    ///     Ok(())
    /// });
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn before_each<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), CallError>> + Send + 'static,
    {
        self.routes().before_each.push(Arc::new(move |context| Box::pin(middleware(context))));
        self
    }

    /// Sets a function that is called for each error with which a message is answered, to log or
    /// count it.
    ///
    /// These are errors of handlers and of middleware, unknown events, and invalid messages. It must
    /// not block.
    ///
    /// ```
    /// use fullduplex::calls::Router;
    ///
    /// let router = Router::<()>::new().on_failure(|context, error| eprintln!("{}: {error}", context.event()));
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn on_failure(mut self, report: impl Fn(&Context<S>, &CallError) + Send + Sync + 'static) -> Self {
        self.routes().on_failure = Some(Arc::new(report));
        self
    }

    /// Sets a function that is called for each error of the peer that answers no call.
    ///
    /// The peer sends `{"ok":false,"error":"..."}` if an event that was only emitted fails, or if it
    /// received something that it cannot answer otherwise. By default, these are ignored. It must
    /// not block.
    #[must_use]
    pub fn on_notice(mut self, report: impl Fn(&Context<S>, &str) + Send + Sync + 'static) -> Self {
        self.routes().on_notice = Some(Arc::new(report));
        self
    }

    /// Serves a connection until it has ended and all events that it has received are handled.
    ///
    /// This is [`attach`](Self::attach) and [`run`](Attached::run).
    ///
    /// # Errors
    /// Returns the error that ended the connection, as [`run`](Attached::run) does.
    ///
    /// # Panics
    /// Panics if a handler or middleware panics, which ends the connection.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection without a Close, and the handlers that run.
    pub fn serve<C: Connection>(
        &self,
        connection: C,
        state: S,
    ) -> impl Future<Output = Result<(), C::Error>> + use<S, C> {
        self.attach(connection, state).run()
    }

    /// Attaches the router to a connection, whose peer can then be used before it is run.
    ///
    /// A connection is a [`WebSocket`](crate::WebSocket), its halves, a `Session` of the feature
    /// `serve`, or a `Reconnecting` client of the feature `reconnect`.
    ///
    /// ```
    /// use fullduplex::{Error, Sender, WebSocket, calls::Router};
    /// use tokio::net::TcpStream;
    ///
    /// async fn serve(ws: WebSocket<TcpStream>, router: &Router<String>, members: &mut Vec<Sender>) -> Result<(), Error> {
    ///     let attached = router.attach(ws, "ann".to_owned());
    ///     members.extend(attached.peer().sender().cloned());
    ///     attached.run().await
    /// }
    /// ```
    pub fn attach<C: Connection>(&self, connection: C, state: S) -> Attached<S, C> {
        Attached::new(self.routes.clone(), connection, state)
    }
}
