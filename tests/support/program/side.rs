//! One end of the connection: whole, in halves or gone, and what is under way on it.

use std::{future::Future, pin::Pin};

use fullduplex::{CloseCode, Error, Event, Outgoing, Receiver, Sender, WebSocket};

use super::{
    pipe::End,
    task::{Lease, Slot, Task, pause},
};

/// What an operation is given.
#[derive(Debug)]
pub enum Action {
    Feed(Outgoing),
    Send(Outgoing),
    Reserve { room: usize, message: Option<Outgoing>, pauses: u32 },
    Flush,
    Ping(String),
    Close,
    Closed,
    Recv,
    RecvEvent,
}

/// What came of an operation.
#[derive(Debug)]
pub enum Done {
    Ok,
    /// The permit was dropped.
    Unused,
    Got(Option<Event>),
    Failed(Error),
}

impl Done {
    fn of(result: Result<(), Error>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Ok)
    }

    fn got(result: Result<Option<Event>, Error>) -> Self {
        result.map_or_else(Self::Failed, Self::Got)
    }
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Whole,
    Receiver,
    Sender(usize),
}

/// What an operation is to the one who keeps the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Message { id: usize, sends: bool },
    Flush,
    Ping,
    Close,
    Closed,
    Receive,
}

#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub actor: Actor,
    pub what: What,
    /// The step of its first poll.
    pub started: u64,
}

impl Op {
    /// Whether it may wait for the peer, or for a close, and not only for the stream.
    pub fn may_wait(&self) -> bool {
        match self.what {
            What::Receive | What::Closed => true,
            What::Close => self.actor == Actor::Whole,
            _ => false,
        }
    }
}

pub enum Kind {
    Whole(Slot<WebSocket<End>>),
    /// Without a receiver: it was dropped.
    Halves(Option<Slot<Receiver<End>>>, Vec<(usize, Sender)>),
    Gone,
}

/// One end.
pub struct Side {
    pub kind: Kind,
    pub tasks: Vec<Task<Done, Op>>,
    /// How many senders there ever were.
    pub senders_made: usize,
    /// How many errors were told, `Closed` aside.
    pub told: usize,
    /// `Ok(None)` was received.
    pub over: bool,
    /// It was dropped before that.
    pub dropped: bool,
    /// `close` was called, which discards what still comes.
    pub discards: bool,
}

impl Side {
    pub fn new(ws: WebSocket<End>) -> Self {
        Self {
            kind: Kind::Whole(Slot::new(ws)),
            tasks: Vec::new(),
            senders_made: 0,
            told: 0,
            over: false,
            dropped: false,
            discards: false,
        }
    }

    /// Who may begin something.
    pub fn idle(&self) -> Vec<Actor> {
        let is_busy =
            |actor| self.tasks.iter().any(|task| task.op.actor == actor && task.op.what != What::Closed);
        let mut actors = match &self.kind {
            Kind::Whole(_) => vec![Actor::Whole],
            Kind::Halves(receiver, senders) => {
                let receiver = receiver.iter().map(|_| Actor::Receiver);
                receiver.chain(senders.iter().map(|(id, _)| Actor::Sender(*id))).collect()
            }
            Kind::Gone => Vec::new(),
        };
        actors.retain(|actor| !is_busy(*actor));
        actors
    }

    pub fn sender(&self, id: usize) -> &Sender {
        let Kind::Halves(_, senders) = &self.kind else { panic!("there are no senders") };
        &senders.iter().find(|(known, _)| *known == id).expect("it is there").1
    }

    /// Begins an operation of one who is idle.
    pub fn begin(&mut self, actor: Actor, what: What, action: Action) {
        let future: Pin<Box<dyn Future<Output = Done>>> = match (&self.kind, actor) {
            (Kind::Whole(slot), _) => Box::pin(of_whole(slot.lease().expect("idle"), action)),
            (Kind::Halves(Some(slot), _), Actor::Receiver) => {
                Box::pin(of_receiver(slot.lease().expect("idle"), action))
            }
            (_, Actor::Sender(id)) => Box::pin(of_sender(self.sender(id).clone(), action)),
            _ => panic!("{actor:?} is not there"),
        };
        self.tasks.push(Task::new(Op { actor, what, started: u64::MAX }, future));
    }

    /// How many handles of senders there are.
    pub fn handles(&self) -> usize {
        let held = self.tasks.iter().filter(|task| matches!(task.op.actor, Actor::Sender(_))).count();
        match &self.kind {
            Kind::Halves(_, senders) => senders.len() + held,
            _ => held,
        }
    }

    pub fn split(&mut self) {
        let Kind::Whole(slot) = &self.kind else { return };
        let Some(ws) = slot.take() else { return };
        let (receiver, sender) = ws.split();
        self.senders_made += 1;
        self.kind = Kind::Halves(Some(Slot::new(receiver)), vec![(self.senders_made, sender)]);
    }

    pub fn clone_sender(&mut self) {
        let Kind::Halves(_, senders) = &mut self.kind else { return };
        let Some(clone) = senders.last().map(|(_, sender)| sender.clone()) else { return };
        if senders.len() < 4 {
            self.senders_made += 1;
            senders.push((self.senders_made, clone));
        }
    }

    pub fn drop_sender(&mut self, nth: usize) {
        let Kind::Halves(_, senders) = &mut self.kind else { return };
        if nth < senders.len() {
            senders.swap_remove(nth);
        }
    }

    /// Puts the halves together, which has to work where there is one handle of a sender.
    pub fn reunite(&mut self) {
        let only_one = self.handles() == 1;
        let Kind::Halves(Some(slot), senders) = &mut self.kind else { return };
        if senders.is_empty() {
            return;
        }
        let Some(receiver) = slot.take() else { return };
        let (id, sender) = senders.swap_remove(0);
        match receiver.reunite(sender) {
            Ok(ws) => {
                assert!(only_one, "reunited, though there are other senders");
                self.kind = Kind::Whole(Slot::new(ws));
            }
            Err(halves) => {
                assert!(!only_one, "not reunited, though it was the only sender");
                let (receiver, sender) = *halves;
                *slot = Slot::new(receiver);
                senders.push((id, sender));
            }
        }
    }

    /// Drops the stream, once nothing borrows it any more.
    pub fn drop_stream(&mut self) {
        match &mut self.kind {
            Kind::Halves(receiver, _) => *receiver = None,
            kind => *kind = Kind::Gone,
        }
        self.dropped |= !self.over;
    }

    pub fn has_stream(&self) -> bool {
        matches!(self.kind, Kind::Whole(_) | Kind::Halves(Some(_), _))
    }

    /// Whether a Close came, which in these programs has a code always.
    pub fn got_close(&self) -> bool {
        match &self.kind {
            Kind::Whole(slot) => slot.lease().is_some_and(|ws| ws.close_frame().is_some()),
            Kind::Halves(Some(slot), _) => slot.lease().is_some_and(|half| half.close_frame().is_some()),
            _ => false,
        }
    }
}

/// Senders and whole connections have the same methods, but on other kinds of borrows.
macro_rules! sending {
    ($from:ident, $action:expr) => {
        match $action {
            Action::Feed(message) => Done::of($from.feed(message).await),
            Action::Send(message) => Done::of($from.send(message).await),
            Action::Reserve { room, message, pauses } => match $from.reserve(room).await {
                Err(error) => Done::Failed(error),
                Ok(permit) => {
                    pause(pauses).await;
                    message.map_or(Done::Unused, |message| Done::of(permit.feed(message)))
                }
            },
            Action::Flush => Done::of($from.flush().await),
            Action::Ping(payload) => Done::of($from.ping(payload).await),
            Action::Close => Done::of($from.close(CloseCode::NORMAL, "bye").await),
            other => panic!("{other:?} is for others"),
        }
    };
}

async fn of_whole(mut ws: Lease<WebSocket<End>>, action: Action) -> Done {
    match action {
        Action::Recv => Done::got(ws.recv().await.map(|message| message.map(Event::Message))),
        Action::RecvEvent => Done::got(ws.recv_event().await),
        action => sending!(ws, action),
    }
}

async fn of_receiver(mut receiver: Lease<Receiver<End>>, action: Action) -> Done {
    match action {
        Action::Recv => Done::got(receiver.recv().await.map(|message| message.map(Event::Message))),
        _ => Done::got(receiver.recv_event().await),
    }
}

async fn of_sender(sender: Sender, action: Action) -> Done {
    match action {
        Action::Closed => {
            sender.closed().await;
            Done::Ok
        }
        action => sending!(sender, action),
    }
}
