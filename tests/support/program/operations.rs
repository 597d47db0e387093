//! The operations that an end can begin.

use fullduplex::{CloseCode, CloseFrame, TrySendError};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    Program,
    action::Action,
    content, reading,
    side::{Actor, Kind, What},
    writing::{self, Plan},
};

impl Program {
    pub(super) fn begin_any(&mut self, end: usize) {
        let idle = self.sides[end].idle();
        if idle.is_empty() {
            return;
        }
        let actor = idle[self.rng.random_range(0..idle.len())];
        let receives = match actor {
            Actor::Whole => self.rng.random(),
            Actor::Receiver => true,
            Actor::Sender(_) => false,
        };
        if receives {
            return self.begin_receive(end, actor);
        }
        if let Actor::Sender(id) = actor {
            match self.rng.random_range(0..10) {
                0 => return self.begin(end, actor, What::Closed, Action::Closed),
                1..3 => return self.try_send(end, id),
                3 => return self.begin_sink(end, actor),
                _ => {}
            }
        }
        match self.rng.random_range(0..12) {
            10 => self.begin_write(end, actor),
            0 => self.begin(end, actor, What::Flush, Action::Flush),
            1 => {
                let payload = self.next_ping(end);
                self.begin(end, actor, What::Ping, Action::Ping(payload));
            }
            _ => self.begin_message(end, actor),
        }
    }

    pub(super) fn begin_message(&mut self, end: usize, actor: Actor) {
        let sends = self.rng.random_ratio(1, 3);
        let (id, message) = self.ledgers[end].compose(&mut self.rng, sends);
        let action = if actor == Actor::Whole && self.rng.random_ratio(1, 6) {
            let message = self.ledgers[end].content(id);
            Action::Sink { message, pauses: self.rng.random_range(0..3), flushes: sends }
        } else if sends {
            Action::Send(message)
        } else if self.rng.random() {
            Action::Feed(message)
        } else {
            let room = message.len() + if self.rng.random() { 0 } else { self.rng.random_range(0..300) };
            let message = self.rng.random_ratio(4, 5).then_some(message);
            Action::Reserve { room, message, pauses: self.rng.random_range(0..4) }
        };
        self.begin(end, actor, What::Message { id, sends }, action);
    }

    pub(super) fn begin_receive(&mut self, end: usize, actor: Actor) {
        let action = match self.rng.random_range(0..7) {
            0..2 => Action::Recv,
            2..4 => Action::RecvEvent,
            4 => Action::Next,
            _ => return self.begin_read(end, actor),
        };
        self.begin(end, actor, What::Receive, action);
    }

    pub(super) fn begin_read(&mut self, end: usize, actor: Actor) {
        const ENOUGH: u64 = (content::NAME + content::LARGEST) as u64;
        let mut limit = if self.rng.random() { u64::MAX } else { ENOUGH };
        if self.may_close() && self.rng.random_ratio(1, 8) {
            limit = self.rng.random_range(0..300);
            self.sides[end].limited = true;
            self.perhaps_closing = true;
        }
        let record = reading::Record::default();
        record.borrow_mut().limit = limit;
        self.sides[end].reading = Some(record.clone());
        let dropped = self.rng.random_ratio(1, 4).then(|| self.rng.random_range(0..3));
        let rng = SmallRng::seed_from_u64(self.rng.random());
        self.begin(end, actor, What::Read, Action::Read { limit, dropped, rng, record });
    }

    pub(super) fn begin_write(&mut self, end: usize, actor: Actor) {
        let id = self.ledgers[end].compose_in_parts(&mut self.rng);
        let content = self.ledgers[end].content(id);
        let leaves_at = (self.may_close() && self.rng.random_ratio(1, 8))
            .then(|| self.rng.random_range(0..=content.len()));
        let record = writing::Record::default();
        record.borrow_mut().id = id;
        self.sides[end].writings.push(record.clone());
        let (kind, content) = (content.kind(), content.into_bytes());
        let rng = SmallRng::seed_from_u64(self.rng.random());
        let plan = Plan { content, leaves_at, ping: self.next_ping(end), rng, record };
        self.begin(end, actor, What::Write { id }, Action::Write(kind, plan));
    }

    pub(super) fn begin_sink(&mut self, end: usize, actor: Actor) {
        let (id, _) = self.ledgers[end].compose(&mut self.rng, true);
        let (message, flushes) = (self.ledgers[end].content(id), self.rng.random());
        let action = Action::Sink { message, pauses: self.rng.random_range(0..4), flushes };
        self.begin(end, actor, What::Sink { id, flushes }, action);
    }

    pub(super) fn next_ping(&mut self, end: usize) -> String {
        self.pings[end].push((false, false));
        (self.pings[end].len() - 1).to_string()
    }

    pub(super) fn begin(&mut self, end: usize, actor: Actor, what: What, action: Action) {
        self.note(format_args!("side {end}: {actor:?} begins {what:?}"));
        self.sides[end].begin(actor, what, action);
        if self.rng.random_ratio(9, 10) {
            self.poll(end, self.sides[end].tasks.len() - 1);
        }
    }

    pub(super) fn try_send(&mut self, end: usize, id: usize) {
        let (message, outgoing) = self.ledgers[end].compose(&mut self.rng, false);
        self.step += 1;
        self.ledgers[end].start(message, self.step);
        let side = &self.sides[end];
        let sender = side.sender(id).expect("idle");
        let takes_room =
            |what| matches!(what, What::Message { .. } | What::Sink { .. } | What::Write { .. } | What::Ping);
        let others = side.tasks.iter().any(|task| takes_room(task.op.what));
        let must_fit = sender.queued_bytes() == 0 && !others;
        let result = sender.try_send(outgoing);
        self.note(format_args!("side {end}: try_send of message {message}: {}", result.is_ok()));
        let back = match result {
            Ok(()) => {
                assert!(!self.sides[end].is_at_end(), "message {message} was queued after the end");
                return self.ledgers[end].queued(message, self.step);
            }
            Err(TrySendError::Full(back)) => {
                assert!(!must_fit, "no room in an empty queue");
                back
            }
            Err(TrySendError::Closed(back)) => {
                assert!(self.may_be_closed(), "no side closed");
                back
            }
        };
        assert!(self.ledgers[end].is_its_own(message, &back), "another message was returned");
        self.ledgers[end].never(message);
    }

    /// Begins to close with any part that can close.
    pub(super) fn begin_to_close(&mut self) {
        let end = self.rng.random_range(0..2);
        let actor = self.sides[end].idle().into_iter().find(|actor| *actor != Actor::Receiver);
        let Some(actor) = actor else { return };
        if self.rng.random_ratio(1, 4) {
            self.begin(end, actor, What::SinkClose, Action::SinkClose);
        } else if actor == Actor::Whole && self.rng.random_ratio(2, 3) {
            self.start_close(end);
        } else {
            self.begin(end, actor, What::Close, Action::Close);
        }
    }

    pub(super) fn start_close(&mut self, end: usize) {
        let Kind::Whole(slot) = &self.sides[end].kind else { return };
        let Some(mut ws) = slot.lease() else { return };
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, "away").expect("it can be sent");
        let frame = Some(frame).filter(|_| self.rng.random());
        self.without_code |= frame.is_none();
        let result = ws.start_close(frame);
        self.note(format_args!("side {end}: start_close: {result:?}"));
        self.closing = true;
    }

    pub(super) fn restructure(&mut self, end: usize) {
        let side = &mut self.sides[end];
        let what = match self.rng.random_range(0..8) {
            0..2 => {
                side.split();
                "split"
            }
            2..4 => {
                side.clone_sender();
                "clone"
            }
            4 => {
                if let Some(sender) = side.drop_sender(self.rng.random_range(0..6))
                    && !side.is_sinking(sender)
                {
                    self.resolve(end, Actor::Sender(sender), false);
                }
                "drop a sender"
            }
            _ => {
                if let Some(sender) = side.reunite() {
                    self.resolve(end, Actor::Sender(sender), false);
                }
                "reunite"
            }
        };
        self.note(format_args!("side {end}: {what}"));
    }

    pub(super) fn drop_stream(&mut self, end: usize) {
        self.note(format_args!("side {end}: the stream is dropped"));
        for task in (0..self.sides[end].tasks.len()).rev() {
            if matches!(self.sides[end].tasks[task].op.actor, Actor::Whole | Actor::Receiver) {
                self.give_up(end, task);
            }
        }
        if self.sides[end].has_stream() {
            self.sides[end].drop_stream();
        }
    }
}
