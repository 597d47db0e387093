//! One end of the connection: whole, split or dropped, and its pending operations.

use fullduplex::{Receiver, Sender, SenderSink, WebSocket};

use super::{
    action::{Action, Done, Work, of_receiver, of_sender, of_sink, of_whole},
    pipe::End,
    reading,
    task::{Slot, Task},
    writing,
};

/// The part of an end that runs an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Whole,
    Receiver,
    Sender(usize),
}

/// What an operation does, as far as the ledger has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Message {
        id: usize,
        sends: bool,
    },
    Flush,
    Ping,
    Close,
    /// Queues a Close and flushes.
    SinkClose,
    Closed,
    Receive,
    /// Passes a message to the sink, which may keep it and queue it later.
    Sink {
        id: usize,
        flushes: bool,
    },
    Read,
    Write {
        id: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Op {
    pub actor: Actor,
    pub what: What,
    /// The step of its first poll.
    pub started: u64,
}

impl Op {
    /// Returns whether it may wait for the peer or for a close, not only for the stream.
    pub fn may_wait(&self) -> bool {
        match self.what {
            What::Receive | What::Read | What::Closed => true,
            What::Close => self.actor == Actor::Whole,
            _ => false,
        }
    }
}

pub enum Kind {
    Whole(Slot<WebSocket<End>>),
    /// Split; without a receiver if that was dropped.
    Halves(Option<Slot<Receiver<End>>>, Vec<(usize, Slot<SenderSink>)>),
    Gone,
}

/// A message that was passed to a sender as a sink, and may not be queued yet.
#[derive(Debug)]
pub struct Kept {
    pub sender: usize,
    pub id: usize,
    /// Whether the sink certainly accepted it.
    pub sure: bool,
}

/// One end.
pub struct Side {
    pub kind: Kind,
    pub tasks: Vec<Task<Done, Op>>,
    /// The number of senders so far.
    pub senders_made: usize,
    /// The number of errors that were returned, except `Closed`.
    pub errors: usize,
    /// Whether `Ok(None)` was received.
    pub over: bool,
    /// Whether it was dropped before that.
    pub dropped: bool,
    /// Whether `close` was called, which discards further messages.
    pub discards: bool,
    /// Whether a reader had a limit that messages may exceed.
    pub limited: bool,
    /// The messages that are being read and written in parts.
    pub reading: Option<reading::Record>,
    pub writings: Vec<writing::Record>,
    pub kept: Vec<Kept>,
}

impl Side {
    pub fn new(ws: WebSocket<End>) -> Self {
        Self {
            kind: Kind::Whole(Slot::new(ws)),
            tasks: Vec::new(),
            senders_made: 0,
            errors: 0,
            over: false,
            dropped: false,
            discards: false,
            limited: false,
            reading: None,
            writings: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Returns the parts that may begin an operation.
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

    /// Returns a clone of this sender, if it exists and is not in use as a sink.
    pub fn sender(&self, id: usize) -> Option<Sender> {
        self.slot(id)?.look(|sink| sink.get_ref().clone())
    }

    /// Returns whether it exists and is not in use.
    pub fn has_sender(&self, id: usize) -> bool {
        self.slot(id).is_some()
    }

    fn slot(&self, id: usize) -> Option<&Slot<SenderSink>> {
        let Kind::Halves(_, senders) = &self.kind else { return None };
        senders.iter().find(|(known, _)| *known == id).map(|(_, slot)| slot)
    }

    /// Begins an operation of an idle part.
    pub fn begin(&mut self, actor: Actor, what: What, action: Action) {
        let future: Work = match (&self.kind, actor) {
            (Kind::Whole(slot), _) => Box::pin(of_whole(slot.lease().expect("idle"), action)),
            (Kind::Halves(Some(slot), _), Actor::Receiver) => {
                Box::pin(of_receiver(slot.lease().expect("idle"), action))
            }
            (_, Actor::Sender(id)) if is_sink(what) => {
                let slot = self.slot(id).expect("a sender");
                Box::pin(of_sink(slot.lease().expect("idle"), action))
            }
            (_, Actor::Sender(id)) => Box::pin(of_sender(self.sender(id).expect("idle"), action)),
            _ => panic!("{actor:?} does not exist"),
        };
        self.tasks.push(Task::new(Op { actor, what, started: u64::MAX }, future));
    }

    /// Returns whether it is in use as a sink.
    pub fn is_sinking(&self, id: usize) -> bool {
        self.tasks.iter().any(|task| task.op.actor == Actor::Sender(id) && is_sink(task.op.what))
    }

    /// Returns the number of sender handles. A sink uses an existing handle.
    fn handles(&self) -> usize {
        let holds = |op: &Op| match op.actor {
            Actor::Sender(id) => !is_sink(op.what) || !self.has_sender(id),
            _ => false,
        };
        let held = self.tasks.iter().filter(|task| holds(&task.op)).count();
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
        self.kind =
            Kind::Halves(Some(Slot::new(receiver)), vec![(self.senders_made, Slot::new(sender.sink()))]);
    }

    pub fn clone_sender(&mut self) {
        let Kind::Halves(_, senders) = &mut self.kind else { return };
        let Some(clone) = senders.iter().find_map(|(_, slot)| slot.look(|sink| sink.get_ref().sink())) else {
            return;
        };
        if senders.len() < 4 {
            self.senders_made += 1;
            senders.push((self.senders_made, Slot::new(clone)));
        }
    }

    /// Returns the number of the sender that was dropped.
    pub fn drop_sender(&mut self, nth: usize) -> Option<usize> {
        let Kind::Halves(_, senders) = &mut self.kind else { return None };
        (nth < senders.len()).then(|| senders.swap_remove(nth).0)
    }

    /// Reunites the halves, which must work if there is a single sender handle. Returns the number
    /// of the sender.
    pub fn reunite(&mut self) -> Option<usize> {
        let only_one = self.handles() == 1;
        let Kind::Halves(Some(slot), senders) = &mut self.kind else { return None };
        let (id, sender) = senders.first()?;
        let id = *id;
        // Both may be in use.
        let clone = sender.look(|sink| sink.get_ref().clone())?;
        let receiver = slot.take()?;
        if !only_one {
            let (receiver, _) = *receiver.reunite(clone).expect_err("there are other senders");
            *slot = Slot::new(receiver);
            return None;
        }
        drop(clone);
        let sink = senders.swap_remove(0).1.take().expect("it is not in use");
        let ws = receiver.reunite(sink.into_inner()).expect("it was the only sender");
        self.kind = Kind::Whole(Slot::new(ws));
        Some(id)
    }

    /// Drops the stream, which nothing borrows any more.
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

    /// Returns what is known of a message that is being written in parts.
    pub fn writing(&self, id: usize) -> Option<&writing::Record> {
        self.writings.iter().find(|writing| writing.borrow().id == id)
    }

    /// Takes what is known of a message that was being written in parts.
    pub fn take_writing(&mut self, id: usize) -> writing::Writing {
        let at = self.writings.iter().position(|writing| writing.borrow().id == id);
        self.writings.swap_remove(at.expect("a message that was being written")).take()
    }

    /// Returns the number of reads and writes in parts that made progress.
    pub fn moves(&self, what: What) -> u64 {
        match what {
            What::Read => self.reading.as_ref().map_or(0, |reading| reading.borrow().moves),
            What::Write { id } => self.writing(id).map_or(0, |writing| writing.borrow().moves),
            _ => 0,
        }
    }

    /// Records that an error was returned.
    pub fn record_error(&mut self) {
        self.errors += 1;
        assert!(self.errors == 1, "an error is returned twice");
    }

    /// Returns whether the end of the connection was returned to it: nothing is queued after that.
    pub fn is_at_end(&self) -> bool {
        self.over || self.errors > 0
    }

    /// Returns whether the connection is over for it.
    pub fn is_over(&self) -> bool {
        self.over || !self.has_stream()
    }

    /// Returns whether a Close with a code was received.
    pub fn got_close(&self) -> bool {
        match &self.kind {
            Kind::Whole(slot) => slot.lease().is_some_and(|ws| ws.close_frame().is_some()),
            Kind::Halves(Some(slot), _) => slot.lease().is_some_and(|half| half.close_frame().is_some()),
            _ => false,
        }
    }
}

/// Returns whether a sender itself runs it, not a clone.
fn is_sink(what: What) -> bool {
    matches!(what, What::Sink { .. } | What::SinkClose)
}
