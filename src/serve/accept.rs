//! The accept loop, and the task of each connection.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use super::{
    builder::Settings,
    failure::Failure,
    guard::Guard,
    incoming::Incoming,
    limits::{KeyPlace, Place, Places},
    metrics::{Metrics, Refusal},
    opening::Opened,
    session::Session,
    shutdown::Shutdown,
    stream::ServerStream,
};
use crate::Error;

/// The pause after an error of accepting that concerns the whole process.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections over a limit are answered at a time, and for how long.
const REFUSALS: usize = 64;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What the accept loop shares with the tasks of connections.
pub(super) struct Shared<F> {
    settings: Settings,
    shutdown: Shutdown,
    connections: Arc<Places>,
    handshakes: Arc<Places>,
    refusals: Arc<Places>,
    handler: F,
}

impl<F> Shared<F> {
    pub(super) fn new(settings: Settings, handler: F) -> Self {
        let shutdown = settings.shutdown.clone().unwrap_or_default();
        Self {
            shutdown: match &settings.metrics {
                Some(metrics) => shutdown.with_metrics(metrics),
                None => shutdown,
            },
            connections: Places::new(settings.max_connections),
            handshakes: Places::new(settings.max_handshakes),
            refusals: Places::new(REFUSALS),
            settings,
            handler,
        }
    }

    fn metrics(&self) -> Option<&Metrics> {
        self.settings.metrics.as_ref()
    }

    /// Takes the result of a handler.
    fn handled(&self, peer: SocketAddr, result: Result<(), Error>) {
        match result {
            Ok(()) => {}
            // The handler has sent something after our Close: the session completes the closing
            // handshake.
            Err(Error::Closed) if self.shutdown.has_begun() => {}
            Err(error) => self.failed(Failure::Connection { peer, error }),
        }
    }

    /// Counts and reports what went wrong.
    fn failed(&self, failure: Failure) {
        if let Some(metrics) = self.metrics() {
            match &failure {
                Failure::Accept(_) => metrics.accept_error(),
                Failure::Refused { refusal, .. } => metrics.refused(*refusal),
                Failure::ProxyHeader { .. } => metrics.refused(Refusal::ProxyHeader),
                Failure::Opening { error, .. } => metrics.failed_to_open(error),
                Failure::Connection { error, .. } => metrics.ended_with(error),
            }
        }
        if let Some(report) = &self.settings.report {
            report(failure);
        }
    }
}

/// Accepts connections until the shutdown begins.
pub(super) async fn all<F, Fut>(listener: &TcpListener, shared: Arc<Shared<F>>)
where
    F: Fn(Session<ServerStream>, Incoming) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + Send + 'static,
{
    let mut guard = shared.shutdown.idle_guard();
    while let Some(accepted) = guard.unless_begun(listener.accept()).await {
        match accepted {
            Ok((tcp, peer)) => admit(&shared, tcp, peer),
            // The peer has gone before it was accepted.
            Err(error) if is_of_the_peer(&error) => shared.failed(Failure::Accept(error)),
            // The process may have no file descriptors left, until connections end.
            Err(error) => {
                shared.failed(Failure::Accept(error));
                guard.unless_begun(sleep(PAUSE)).await;
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Starts the task of a connection, or refuses it.
fn admit<F, Fut>(shared: &Arc<Shared<F>>, tcp: TcpStream, peer: SocketAddr)
where
    F: Fn(Session<ServerStream>, Incoming) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + Send + 'static,
{
    let Some(place) = shared.connections.take() else {
        return refuse(shared, tcp, peer, Refusal::Connections);
    };
    let Some(handshake) = shared.handshakes.take() else {
        return refuse(shared, tcp, peer, Refusal::Handshakes);
    };
    // Boxed, and freed once the connection is open.
    let opening = Box::pin(open(shared.clone(), tcp, peer, handshake));
    let shared = InTask { shared: shared.clone(), _place: place };
    tokio::spawn(Connection { shared, peer, of_key: None, state: State::Opening { opening } });
}

/// What a task holds of the server: it notices if the task panics.
struct InTask<F> {
    shared: Arc<Shared<F>>,
    _place: Place,
}

impl<F> Deref for InTask<F> {
    type Target = Shared<F>;

    fn deref(&self) -> &Shared<F> {
        &self.shared
    }
}

impl<F> Drop for InTask<F> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(metrics) = self.metrics()
        {
            metrics.panicked();
        }
    }
}

/// An open connection that has not been passed to the handler.
struct Accepted {
    session: Session<ServerStream>,
    incoming: Incoming,
    peer: SocketAddr,
    of_key: Option<KeyPlace>,
}

pin_project! {
    /// The task of a connection: opens it and runs its handler, until the deadline of the shutdown.
    ///
    /// It is not an `async fn`, which would be larger. Most of the memory of an idle connection is
    /// its task.
    struct Connection<F, O, Fut> {
        shared: InTask<F>,
        peer: SocketAddr,
        of_key: Option<KeyPlace>,
        #[pin]
        state: State<O, Fut>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<O, Fut> {
        Opening { opening: Pin<Box<O>> },
        Handling { #[pin] handling: Fut },
    }
}

impl<F, O, Fut> Future for Connection<F, O, Fut>
where
    F: Fn(Session<ServerStream>, Incoming) -> Fut,
    O: Future<Output = Option<Accepted>>,
    Fut: Future<Output = Result<(), Error>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Opening { opening } => {
                    let Some(accepted) = ready!(opening.as_mut().poll(cx)) else { return Poll::Ready(()) };
                    let Accepted { session, incoming, peer, of_key } = accepted;
                    (*this.peer, *this.of_key) = (peer, of_key);
                    let handling = (this.shared.handler)(session, incoming);
                    this.state.set(State::Handling { handling });
                }
                // The guard of the session has the waker of this task since the connection was
                // opened. The task is therefore woken at the deadline, whatever the handler waits for.
                StateProjection::Handling { .. } if this.shared.shutdown.is_cut_off() => {
                    return Poll::Ready(());
                }
                StateProjection::Handling { handling } => {
                    let handled = ready!(handling.poll(cx));
                    this.shared.handled(*this.peer, handled);
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// Opens a connection. Returns `None` if it was refused or answered, which has been reported.
async fn open<F>(
    shared: Arc<Shared<F>>,
    tcp: TcpStream,
    peer: SocketAddr,
    _handshake: Place,
) -> Option<Accepted> {
    let mut guard: Guard = shared.shutdown.served_guard();
    match guard.unless_begun(shared.settings.open(tcp, peer)).await {
        Some(Opened::Connection { ws, incoming, of_key }) => {
            guard.open();
            let peer = incoming.peer();
            Some(Accepted { session: guard.attach(ws), incoming, peer, of_key })
        }
        Some(Opened::Answered) => None,
        Some(Opened::Rejected(status)) => {
            if let Some(metrics) = shared.metrics() {
                metrics.refused(Refusal::Status(status));
            }
            None
        }
        Some(Opened::Failed(failure)) => {
            shared.failed(failure);
            None
        }
        None => {
            if let Some(metrics) = shared.metrics() {
                metrics.refused(Refusal::Shutdown);
            }
            None
        }
    }
}

/// Answers a connection that exceeds a limit, if that is cheap, and drops it otherwise.
fn refuse<F: Send + Sync + 'static>(
    shared: &Arc<Shared<F>>,
    tcp: TcpStream,
    peer: SocketAddr,
    refusal: Refusal,
) {
    shared.failed(Failure::Refused { peer, refusal });
    // With TLS, an answer would take a handshake.
    if shared.settings.is_secure() {
        return;
    }
    if let Some(place) = shared.refusals.take() {
        let shared = shared.clone();
        tokio::spawn(async move {
            let _place = place;
            // The connection is refused, whether the peer reads the answer or not.
            let _ = timeout(REFUSAL_TIMEOUT, shared.settings.refuse(tcp)).await;
        });
    }
}
