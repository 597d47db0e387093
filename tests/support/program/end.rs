//! Checks when no task is woken any more, and at the end of a program.

use std::task::Poll;

use rand::RngExt;

use super::{
    Program,
    action::Action,
    brief,
    side::{Actor, Kind, Side, What},
};

impl Program {
    /// Polls tasks as long as any of them is woken. Then asserts that no other task can make
    /// progress.
    pub(super) fn settle(&mut self) {
        self.pipe.unstall();
        self.run_woken();
        for end in 0..2 {
            for task in 0..self.sides[end].tasks.len() {
                self.poll_unwoken(end, task);
            }
            // That may have written fed messages, and woken the other side.
            self.run_woken();
        }
    }

    /// Polls tasks as long as any of them is woken.
    pub(super) fn run_woken(&mut self) {
        let started = self.step;
        while self.poll_a_woken_one() {
            assert!(self.step - started < 1_000_000, "the tasks are woken without end");
        }
    }

    /// Polls a task that was not woken, and those of its side that are woken by that. If one of
    /// them completes, it would have waited for ever.
    pub(super) fn poll_unwoken(&mut self, end: usize, task: usize) {
        self.step += 1;
        let op = self.sides[end].tasks[task].op;
        let moves = self.sides[end].moves(op.what);
        let tasks = &mut self.sides[end].tasks;
        if let Poll::Ready(done) = tasks[task].poll(false) {
            panic!("lost wake-up: side {end}: {op:?} returns {}, and was not woken", brief(&done));
        }
        let moved = self.sides[end].moves(op.what) > moves;
        assert!(!moved, "lost wake-up: side {end}: {op:?} continues, and was not woken");
        let tasks = &mut self.sides[end].tasks;
        for other in tasks {
            if other.is_woken()
                && let Poll::Ready(done) = other.poll(false)
            {
                let late = other.op;
                panic!("lost wake-up: side {end}: {late:?} returns {}, once {op:?} is polled", brief(&done));
            }
        }
    }

    /// Receives everything, closes the connection if it is open, and checks the results.
    pub(super) fn drain(&mut self) {
        self.note(format_args!("draining"));
        if self.may_end_abruptly && self.rng.random_ratio(1, 4) {
            let end = self.rng.random_range(0..2);
            self.drop_stream(end);
        }
        self.receive_all();
        let closed = self.closing || self.sides.iter().any(|side| side.dropped);
        if !closed && !self.sides.iter().all(Side::is_over) {
            self.close_in_the_end();
            self.receive_all();
        }
        self.check();
    }

    /// Asserts that both sides reached the end, and that all due messages arrived.
    pub(super) fn check(&mut self) {
        for end in 0..2 {
            let side = &self.sides[end];
            assert!(side.over || !side.has_stream(), "side {end} does not reach the end");
            if let Some(left) = side.tasks.first() {
                panic!("side {end}: {:?} waits, though the connection has ended", left.op);
            }
            let abrupt = self.sides[1 - end].dropped;
            if abrupt && side.has_stream() && !side.got_close() && !self.without_code {
                assert!(side.errors == 1, "side {end}: no error, though the stream ended without a Close");
            }
            let excused = side.dropped || side.discards;
            if !excused {
                self.ledgers[1 - end].check(abrupt, &self.pipe.begun(1 - end));
            }
        }
    }

    /// Receives on both sides until nothing arrives any more.
    pub(super) fn receive_all(&mut self) {
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
            if !began && !self.resolve_mutual_wait() {
                break;
            }
        }
        for (end, side) in self.sides.iter().enumerate() {
            if let Some(stuck) = side.tasks.iter().find(|task| !task.op.may_wait()) {
                panic!("side {end}: {:?} is pending, though everything was read", stuck.op);
            }
        }
    }

    /// Drops an operation if both ends send and do not receive, because they could wait for each
    /// other for ever. Returns whether that was so.
    pub(super) fn resolve_mutual_wait(&mut self) -> bool {
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

    /// Closes with any part that can close, or drops a stream if none can.
    pub(super) fn close_in_the_end(&mut self) {
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
}
