//! The task of a connection: it receives, runs handlers, and passes on answers.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    task::coop::poll_proceed,
    time::{Sleep, sleep},
};

use super::{
    BoxFuture,
    assembly::{Assembly, Whole},
    connect,
    data::Encoded,
    error::Disconnect,
    event::Event,
    io::Inner,
    packet::Kind,
    queue::Queue,
    shared::{Found, Shared},
};
use crate::engine::{Connection, Ending};

/// Runs a connection until it has ended, and all that it has received is handled.
pub(super) fn run(io: Arc<Inner>, session: Connection) -> impl Future<Output = ()> + Send {
    let mut driver = Driver::new(io, session);
    async move {
        let ending = poll_fn(|cx| driver.poll(cx)).await;
        let shared = driver.shared.clone();
        // The connection is not kept while the last handlers run.
        let sockets = shared.take_all();
        // A shutdown waits for them too.
        let _stop = driver.session.take_stop();
        drop(driver);
        for socket in sockets {
            socket.left(Disconnect::from(&ending)).await;
        }
    }
}

/// What a packet violates.
struct Violation;

/// A connection, in one task.
struct Driver {
    session: Connection,
    shared: Arc<Shared>,
    assembly: Assembly,
    /// A client that connects to a namespace. What arrived later waits.
    connecting: Option<BoxFuture<()>>,
    running: Vec<BoxFuture<()>>,
    waiting: Queue,
    /// Until the client is in a namespace.
    deadline: Option<Pin<Box<Sleep>>>,
    ended: Option<Ending>,
    /// Whether the server stops: what has arrived is handled, and nothing else.
    is_stopping: bool,
}

impl Driver {
    fn new(io: Arc<Inner>, session: Connection) -> Self {
        let deadline = Some(Box::pin(sleep(io.limits().connect_timeout)));
        Self {
            shared: Shared::new(io, &session),
            session,
            assembly: Assembly::new(),
            connecting: None,
            running: Vec::new(),
            waiting: Queue::default(),
            deadline,
            ended: None,
            is_stopping: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.shared.resume();
        self.poll_stop(cx);
        // Handlers first: receiving writes what they have queued before it reads.
        self.poll_handlers(cx);
        if self.is_stopping && self.is_idle() {
            self.session.end(Ending::Stopped);
        }
        if self.ended.is_none() {
            self.poll_deadline(cx);
            self.poll_receive(cx);
        }
        if !self.is_idle() {
            return Poll::Pending;
        }
        self.ended.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Returns whether nothing runs, or waits to run.
    fn is_idle(&self) -> bool {
        self.connecting.is_none() && self.running.is_empty() && self.waiting.is_empty()
    }

    /// Notices that the server stops, and drops what runs when its time has passed.
    fn poll_stop(&mut self, cx: &mut Context<'_>) {
        self.is_stopping = self.session.is_stopping();
        if self.is_stopping && self.session.poll_cut_off(cx).is_ready() {
            self.connecting = None;
            self.running.clear();
            while self.waiting.pop().is_some() {}
        }
    }

    /// Polls the handlers that run, and starts those of packets that wait.
    fn poll_handlers(&mut self, cx: &mut Context<'_>) {
        if let Some(connecting) = &mut self.connecting
            && connecting.as_mut().poll(cx).is_ready()
        {
            self.connecting = None;
        }
        self.running.retain_mut(|handling| handling.as_mut().poll(cx).is_pending());
        self.start_handlers(cx);
    }

    fn start_handlers(&mut self, cx: &mut Context<'_>) {
        while self.connecting.is_none()
            && self.running.len() < self.shared.io().limits().concurrency
            && !self.waiting.is_empty()
        {
            // A burst of events must not keep other tasks of the thread waiting.
            let Poll::Ready(budget) = poll_proceed(cx) else { return };
            budget.made_progress();
            let Some(whole) = self.waiting.pop() else { return };
            if self.start(whole, cx).is_err() {
                self.violated();
            }
        }
    }

    /// Starts what a packet demands.
    fn start(&mut self, whole: Whole, cx: &mut Context<'_>) -> Result<(), Violation> {
        match whole.packet.kind() {
            Kind::Connect => self.start_connecting(whole, cx),
            Kind::Event => match self.shared.find(whole.packet.namespace()) {
                Found::Open(socket) => {
                    let event = Event::new(socket.clone(), whole);
                    if let Some(handling) = socket.handling(event) {
                        self.spawn(handling, cx);
                    }
                    Ok(())
                }
                Found::Left => Ok(()),
                Found::Nothing => Err(Violation),
            },
            Kind::Disconnect => match self.shared.find(whole.packet.namespace()) {
                Found::Open(socket) => {
                    self.shared.remove(whole.packet.namespace());
                    self.spawn(Box::pin(socket.left(Disconnect::ByClient)), cx);
                    Ok(())
                }
                Found::Left => Ok(()),
                Found::Nothing => Err(Violation),
            },
            // Answers do not wait, and only servers refuse.
            Kind::Ack | Kind::ConnectError => Err(Violation),
        }
    }

    fn start_connecting(&mut self, whole: Whole, cx: &mut Context<'_>) -> Result<(), Violation> {
        let shared = self.shared.clone();
        let mut connecting: BoxFuture<()> = match connect::place(&shared, &whole) {
            Ok(()) => Box::pin(connect::connect(shared, whole)),
            Err(Some(refusal)) => {
                let text = refusal.encode(whole.packet.namespace());
                Box::pin(async move {
                    // It fails only if the connection has ended.
                    let _ = shared.send(Encoded { text, attachments: Vec::new() }).await;
                })
            }
            Err(None) => return Err(Violation),
        };
        if connecting.as_mut().poll(cx).is_pending() {
            self.connecting = Some(connecting);
        }
        Ok(())
    }

    fn spawn(&mut self, mut handling: BoxFuture<()>, cx: &mut Context<'_>) {
        if handling.as_mut().poll(cx).is_pending() {
            self.running.push(handling);
        }
    }

    /// Receives until nothing more has arrived, too many events wait, or the session has ended.
    fn poll_receive(&mut self, cx: &mut Context<'_>) {
        while self.waiting.has_room(self.shared.io().limits(), self.shared.is_awaited()) {
            let Poll::Ready(budget) = poll_proceed(cx) else { return };
            let Poll::Ready(received) = self.session.poll_receive(cx) else { return };
            budget.made_progress();
            let message = match received {
                Ok(message) => message,
                Err(ending) => return self.end(ending),
            };
            let limits = *self.shared.io().limits();
            let received = match self.assembly.receive(message, &limits) {
                Ok(Some(whole)) => self.received(whole),
                Ok(None) => Ok(()),
                Err(_) => Err(Violation),
            };
            match received {
                Ok(()) => self.start_handlers(cx),
                Err(Violation) => self.violated(),
            }
        }
        self.shared.pause(cx.waker());
        // An acknowledgement may be waited for since the check.
        if self.waiting.has_room(self.shared.io().limits(), self.shared.is_awaited()) {
            cx.waker().wake_by_ref();
        }
    }

    /// Passes an answer on at once, because the handlers that run may wait for it, and lets all else
    /// wait for its turn.
    fn received(&mut self, whole: Whole) -> Result<(), Violation> {
        if whole.packet.kind() != Kind::Ack {
            if !self.is_stopping {
                self.waiting.push(whole);
            }
            return Ok(());
        }
        match (self.shared.find(whole.packet.namespace()), whole.packet.id()) {
            (Found::Open(socket), Some(id)) => {
                socket.answered(id, whole);
                Ok(())
            }
            (Found::Left, _) => Ok(()),
            (Found::Open(_) | Found::Nothing, _) => Err(Violation),
        }
    }

    /// Closes the connection of a client that is in no namespace in time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) {
        let Some(deadline) = &mut self.deadline else { return };
        if self.shared.was_accepted() {
            self.deadline = None;
        } else if deadline.as_mut().poll(cx).is_ready() {
            self.deadline = None;
            self.session.end(Ending::ClosedHere);
        }
    }

    /// Closes the connection of a client that has violated the protocol. What it has sent since is not
    /// handled.
    fn violated(&mut self) {
        while self.waiting.pop().is_some() {}
        self.session.end(Ending::InvalidPacket);
    }

    fn end(&mut self, ending: Ending) {
        self.ended = Some(ending);
        self.shared.end_acks();
    }
}

/// Breaks the circle of sockets and what they share, also if the task is dropped.
impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.end_acks();
        drop(self.shared.take_all());
    }
}
