//! A random program on two connected ends, and what has to come of it.
#![allow(unreachable_pub, reason = "as in the rest of what the tests share")]

mod ledger;
mod pipe;
mod side;
mod task;
mod wire;

use std::{collections::VecDeque, task::Poll, thread};

use bytes::Bytes;
use fullduplex::{
    CloseCode, CloseFrame, Config, Error, Event, Role, TrySendError, WebSocket, handshake::Negotiated,
    proto::ProtocolError,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use self::{
    ledger::Ledger,
    pipe::Pipe,
    side::{Action, Actor, Done, Kind, Op, Side, What},
};

/// How many of the last steps are shown when one goes wrong.
const SHOWN: usize = 60;

/// The program of one seed.
pub struct Program {
    seed: u64,
    rng: SmallRng,
    pipe: Pipe,
    sides: [Side; 2],
    /// What each side sent.
    ledgers: [Ledger; 2],
    /// Whether the other side saw each side's ping, and whether it saw the pong.
    pings: [Vec<(bool, bool)>; 2],
    /// A side has begun to close.
    closing: bool,
    /// Whether a stream may be dropped unclosed.
    may_end_abruptly: bool,
    step: u64,
    log: VecDeque<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("PROGRAM_SEED={} failed at step {}; before it:", self.seed, self.step);
            self.log.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

impl Program {
    pub fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let room = [0, 1, 16, 200, 5000, 1 << 20][rng.random_range(0..6)];
        let config = Config::new()
            .max_write_buffer(room)
            .ping_interval(None)
            .close_timeout(None)
            .write_timeout(None)
            .idle_timeout(None);
        let (pipe, ends) = Pipe::new(&mut rng);
        let mut roles = [Role::Client, Role::Server].into_iter();
        let sides = ends.map(|end| {
            let role = roles.next().expect("two ends");
            Side::new(WebSocket::from_raw(end, Bytes::new(), role, &config, Negotiated::default()))
        });
        let may_end_abruptly = rng.random_ratio(1, 3);
        Self {
            seed,
            rng,
            pipe,
            sides,
            ledgers: Default::default(),
            pings: Default::default(),
            closing: false,
            may_end_abruptly,
            step: 0,
            log: VecDeque::new(),
        }
    }

    /// Runs all of it; gives the number of steps.
    pub fn run(mut self) -> u64 {
        let steps = 1_u64 << self.rng.random_range(4..13);
        // Few close at all while they run: most of what may go wrong is on an open connection.
        let closes_in = if self.rng.random_ratio(1, 3) { self.rng.random_range(1..steps) } else { u64::MAX };
        while self.step < steps {
            self.step += 1;
            if self.step > closes_in && self.rng.random_ratio(1, 8) {
                self.begin_to_close();
            } else {
                self.any_step();
            }
        }
        self.drain();
        self.step
    }

    fn any_step(&mut self) {
        let end = self.rng.random_range(0..2);
        match self.rng.random_range(0..1000) {
            0..480 => self.poll_woken(),
            480..520 => {
                if let Some(task) = self.any_task(end) {
                    self.poll(end, task);
                }
            }
            520..570 => {
                if let Some(task) = self.any_task(end) {
                    self.give_up(end, task);
                }
            }
            570..900 => self.begin_any(end),
            900..960 => self.pipe.vary(&mut self.rng),
            960..990 => self.restructure(end),
            990..993 => self.settle(),
            _ if self.may_end_abruptly && self.rng.random_ratio(1, 20) => self.drop_stream(end),
            _ => {}
        }
    }

    // --- operations

    fn begin_any(&mut self, end: usize) {
        let idle = self.sides[end].idle();
        if idle.is_empty() {
            return;
        }
        let actor = idle[self.rng.random_range(0..idle.len())];
        let receives = match actor {
            Actor::Whole => self.rng.random_ratio(1, 2),
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
                _ => {}
            }
        }
        match self.rng.random_range(0..10) {
            0 => self.begin(end, actor, What::Flush, Action::Flush),
            1 => {
                let payload = self.pings[end].len().to_string();
                self.pings[end].push((false, false));
                self.begin(end, actor, What::Ping, Action::Ping(payload));
            }
            _ => self.begin_message(end, actor),
        }
    }

    fn begin_message(&mut self, end: usize, actor: Actor) {
        let sends = self.rng.random_ratio(1, 3);
        let (id, message) = self.ledgers[end].compose(&mut self.rng, sends);
        let action = if sends {
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

    fn begin_receive(&mut self, end: usize, actor: Actor) {
        let action = if self.rng.random() { Action::Recv } else { Action::RecvEvent };
        self.begin(end, actor, What::Receive, action);
    }

    fn begin(&mut self, end: usize, actor: Actor, what: What, action: Action) {
        self.note(format_args!("side {end}: {actor:?} begins {what:?}"));
        self.sides[end].begin(actor, what, action);
        if self.rng.random_ratio(9, 10) {
            self.poll(end, self.sides[end].tasks.len() - 1);
        }
    }

    fn try_send(&mut self, end: usize, id: usize) {
        let (message, outgoing) = self.ledgers[end].compose(&mut self.rng, false);
        self.step += 1;
        self.ledgers[end].start(message, self.step);
        let side = &self.sides[end];
        let sender = side.sender(id);
        let others = side.tasks.iter().any(|task| matches!(task.op.what, What::Message { .. } | What::Ping));
        let must_fit = sender.queued() == 0 && !others;
        let result = sender.try_send(outgoing);
        self.note(format_args!("side {end}: try_send of message {message}: {}", result.is_ok()));
        let back = match result {
            Ok(()) => return self.ledgers[end].queued(message, self.step),
            Err(TrySendError::Full(back)) => {
                assert!(!must_fit, "no room in an empty queue");
                back
            }
            Err(TrySendError::Closed(back)) => {
                assert!(self.may_be_closed(), "nobody closed");
                back
            }
        };
        assert!(self.ledgers[end].is_its_own(message, &back), "another message came back");
        self.ledgers[end].never(message);
    }

    /// Begins to close, by one who can.
    fn begin_to_close(&mut self) {
        let end = self.rng.random_range(0..2);
        let actor = self.sides[end].idle().into_iter().find(|actor| *actor != Actor::Receiver);
        let Some(actor) = actor else { return };
        if actor == Actor::Whole && self.rng.random_ratio(2, 3) {
            self.start_close(end);
        } else {
            self.begin(end, actor, What::Close, Action::Close);
        }
    }

    fn start_close(&mut self, end: usize) {
        let Kind::Whole(slot) = &self.sides[end].kind else { return };
        let Some(mut ws) = slot.lease() else { return };
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, "away").expect("it can be sent");
        let result = ws.start_close(Some(frame));
        self.note(format_args!("side {end}: start_close: {result:?}"));
        self.closing = true;
    }

    fn restructure(&mut self, end: usize) {
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
                side.drop_sender(self.rng.random_range(0..6));
                "drop a sender"
            }
            _ => {
                side.reunite();
                "reunite"
            }
        };
        self.note(format_args!("side {end}: {what}"));
    }

    fn drop_stream(&mut self, end: usize) {
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

    // --- polling

    fn any_task(&mut self, end: usize) -> Option<usize> {
        let count = self.sides[end].tasks.len();
        (count > 0).then(|| self.rng.random_range(0..count))
    }

    /// Polls one that an executor would poll; says whether there was one.
    fn poll_a_woken_one(&mut self) -> bool {
        let woken = |end: usize| {
            let tasks = self.sides[end].tasks.iter().enumerate();
            tasks.filter(|(_, task)| task.is_woken()).map(move |(task, _)| (end, task))
        };
        let woken: Vec<_> = woken(0).chain(woken(1)).collect();
        if woken.is_empty() {
            return false;
        }
        let (end, task) = woken[self.rng.random_range(0..woken.len())];
        self.poll(end, task);
        true
    }

    fn poll_woken(&mut self) {
        self.poll_a_woken_one();
    }

    fn poll(&mut self, end: usize, task: usize) {
        self.step += 1;
        self.note_start(end, task);
        let under_way = &mut self.sides[end].tasks[task];
        let result = under_way.poll(self.rng.random_ratio(1, 4));
        let op = under_way.op;
        match result {
            Poll::Pending => self.note(format_args!("side {end}: {op:?} is pending")),
            Poll::Ready(done) => {
                self.note(format_args!("side {end}: {op:?} gives {}", brief(&done)));
                self.sides[end].tasks.swap_remove(task);
                self.learn(end, op, done);
            }
        }
    }

    /// Notes what the first poll of a future may bring about.
    fn note_start(&mut self, end: usize, task: usize) {
        let under_way = &mut self.sides[end].tasks[task];
        if !under_way.was_polled() {
            under_way.op.started = self.step;
            let discards = under_way.op.actor == Actor::Whole;
            match under_way.op.what {
                What::Message { id, .. } => self.ledgers[end].start(id, self.step),
                What::Close => {
                    self.closing = true;
                    self.sides[end].discards |= discards;
                }
                _ => {}
            }
        }
    }

    /// Drops a future.
    fn give_up(&mut self, end: usize, task: usize) {
        let op = self.sides[end].tasks.swap_remove(task).op;
        self.note(format_args!("side {end}: {op:?} is dropped"));
        if let What::Message { id, .. } = op.what {
            self.ledgers[end].given_up(id, self.step);
        }
    }

    // --- what has to come of it

    fn learn(&mut self, end: usize, op: Op, done: Done) {
        match (op.what, done) {
            (What::Message { id, sends }, Done::Ok) => {
                self.ledgers[end].queued(id, self.step);
                if sends {
                    self.learn_flushed(end, op);
                    self.ledgers[end].flushed_one(id);
                }
            }
            (What::Message { id, .. }, Done::Unused) => self.ledgers[end].never(id),
            (What::Message { id, .. }, Done::Failed(error)) => {
                self.ledgers[end].given_up(id, self.step);
                self.learn_error(end, &error);
            }
            (What::Flush, Done::Ok) => self.learn_flushed(end, op),
            (What::Close, Done::Ok) if op.actor == Actor::Whole => self.sides[end].over = true,
            (What::Close, Done::Ok) => self.learn_flushed(end, op),
            (What::Closed, Done::Ok) => assert!(self.may_be_closed(), "nobody closed"),
            (What::Receive, Done::Got(Some(event))) => self.learn_event(end, &event),
            (What::Receive, Done::Got(None)) => {
                assert!(self.may_be_closed(), "nobody closed");
                self.sides[end].over = true;
            }
            (_, Done::Failed(error)) => self.learn_error(end, &error),
            _ => {}
        }
    }

    /// A flush is done: all that was queued before it is on the other side, though more may be held back behind it.
    fn learn_flushed(&mut self, end: usize, op: Op) {
        let held = self.pipe.holds_back(end);
        assert!(!held || op.actor != Actor::Whole, "the stream was not flushed");
        let due = self.ledgers[end].flushed(op.started);
        assert!(self.pipe.messages_shown(end) >= due, "a flush is done, and its messages are not out");
    }

    fn learn_event(&mut self, end: usize, event: &Event) {
        assert!(!self.sides[end].over, "something came after the end");
        let number = |payload: &Bytes| {
            let payload = std::str::from_utf8(payload).expect("a torn ping or pong");
            payload.parse::<usize>().expect("a torn ping or pong")
        };
        match event {
            Event::Message(message) => self.ledgers[1 - end].receive(message),
            Event::Ping(payload) => {
                let seen = &mut self.pings[1 - end][number(payload)].0;
                assert!(!std::mem::replace(seen, true), "a ping is doubled");
            }
            Event::Pong(payload) => {
                let seen = &mut self.pings[end][number(payload)].1;
                assert!(!std::mem::replace(seen, true), "a pong is doubled");
            }
            _ => assert!(self.may_be_closed(), "nobody closed"),
        }
    }

    fn learn_error(&mut self, end: usize, error: &Error) {
        match error {
            Error::Closed => assert!(self.may_be_closed(), "closed, though nobody did"),
            Error::Transport(_) | Error::Protocol(ProtocolError::EofWithoutClose) => {
                assert!(self.sides[1 - end].dropped, "{error}, though nothing went wrong");
                self.sides[end].told += 1;
                assert!(self.sides[end].told == 1, "an error is told twice");
            }
            other => panic!("{other:?}"),
        }
    }

    fn may_be_closed(&self) -> bool {
        self.closing || self.sides.iter().any(|side| side.dropped)
    }

    // --- wake-ups

    /// Lets all go on for as long as somebody is woken; then nobody may be left who could go on.
    fn settle(&mut self) {
        self.pipe.unstall();
        self.run_woken();
        for end in 0..2 {
            for task in 0..self.sides[end].tasks.len() {
                self.poll_unwoken(end, task);
            }
            // What was only fed may have moved by that, and the other side be woken.
            self.run_woken();
        }
    }

    fn run_woken(&mut self) {
        let started = self.step;
        while self.poll_a_woken_one() {
            assert!(self.step - started < 1_000_000, "it never rests");
        }
    }

    /// Polls one that nobody woke, and those of its side who are woken by that: if one is done, then it would have waited
    /// for ever.
    fn poll_unwoken(&mut self, end: usize, task: usize) {
        self.step += 1;
        let tasks = &mut self.sides[end].tasks;
        let op = tasks[task].op;
        if let Poll::Ready(done) = tasks[task].poll(false) {
            panic!("lost wake-up: side {end}: {op:?} gives {}, and was not woken", brief(&done));
        }
        for other in tasks {
            if other.is_woken()
                && let Poll::Ready(done) = other.poll(false)
            {
                let late = other.op;
                panic!("lost wake-up: side {end}: {late:?} gives {}, once {op:?} is polled", brief(&done));
            }
        }
    }

    // --- the end

    fn drain(&mut self) {
        self.note(format_args!("it drains"));
        if self.may_end_abruptly && self.rng.random_ratio(1, 4) {
            let end = self.rng.random_range(0..2);
            self.drop_stream(end);
        }
        self.receive_all();
        if !self.may_be_closed() {
            self.close_in_the_end();
            self.receive_all();
        }
        self.check();
    }

    /// Both sides saw the end, and all arrived that had to.
    fn check(&self) {
        for end in 0..2 {
            let side = &self.sides[end];
            assert!(side.over || !side.has_stream(), "side {end} does not see the end");
            if let Some(left) = side.tasks.first() {
                panic!("side {end}: {:?} waits, though all is over", left.op);
            }
            let abrupt = self.sides[1 - end].dropped;
            if abrupt && side.has_stream() && !side.got_close() {
                assert!(side.told == 1, "side {end} was not told that the stream ended without a Close");
            }
            let excused = side.dropped || side.discards;
            if !excused {
                self.ledgers[1 - end].check(abrupt);
            }
        }
    }

    /// Receives on both sides until nothing comes any more.
    fn receive_all(&mut self) {
        loop {
            self.settle();
            let mut began = false;
            for end in 0..2 {
                let idle = self.sides[end].idle();
                let receives = |actor: &&Actor| matches!(actor, Actor::Whole | Actor::Receiver);
                if let Some(actor) = idle.iter().find(receives)
                    && !self.sides[end].over
                {
                    self.begin_receive(end, *actor);
                    began = true;
                }
            }
            if !began && !self.part_two_who_only_send() {
                break;
            }
        }
        for (end, side) in self.sides.iter().enumerate() {
            if let Some(stuck) = side.tasks.iter().find(|task| !task.op.may_wait()) {
                panic!("side {end}: {:?} hangs, though all is read", stuck.op);
            }
        }
    }

    /// Two who send and do not receive wait for each other for ever, as they may: one gives up.
    fn part_two_who_only_send(&mut self) -> bool {
        let stuck = |side: &Side| {
            side.tasks.iter().position(|task| task.op.actor == Actor::Whole && !task.op.may_wait())
        };
        let (Some(first), Some(second)) = (stuck(&self.sides[0]), stuck(&self.sides[1])) else {
            return false;
        };
        let end = self.rng.random_range(0..2);
        self.give_up(end, [first, second][end]);
        true
    }

    /// One who can closes; where nobody can, a stream is dropped.
    fn close_in_the_end(&mut self) {
        let first = self.rng.random_range(0..2);
        if self.may_end_abruptly && self.rng.random() {
            return self.drop_stream(first);
        }
        for end in [first, 1 - first] {
            match &self.sides[end].kind {
                Kind::Whole(_) => {
                    (0..self.sides[end].tasks.len()).rev().for_each(|task| self.give_up(end, task));
                    return self.start_close(end);
                }
                Kind::Halves(_, senders) if !senders.is_empty() => {
                    let actor = Actor::Sender(senders[0].0);
                    return self.begin(end, actor, What::Close, Action::Close);
                }
                _ => {}
            }
        }
        self.drop_stream(first);
    }

    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        if self.log.len() == SHOWN {
            self.log.pop_front();
        }
        self.log.push_back(format!("{}: {line}", self.step));
    }
}

/// Without the payload data.
fn brief(done: &Done) -> String {
    let mut text = format!("{done:?}");
    if text.len() > 200 {
        text.truncate((0..=200).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    text
}
