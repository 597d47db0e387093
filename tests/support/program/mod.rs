//! A random program on two connected ends, and the required results.
#![allow(unreachable_pub, reason = "as in the other shared modules of the tests")]

mod action;
mod content;
#[cfg(feature = "deflate")]
mod deflate;
mod end;
mod learn;
mod ledger;
mod operations;
mod pipe;
mod reading;
mod side;
mod task;
mod wire;
mod writing;

use std::{collections::VecDeque, task::Poll, thread};

use bytes::Bytes;
#[cfg(not(feature = "deflate"))]
use fullduplex::handshake::Negotiated;
use fullduplex::{Config, Role, WebSocket};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use self::{
    action::Done,
    ledger::Ledger,
    pipe::Pipe,
    side::{Actor, Side, What},
};

/// The number of last steps that a failure shows.
const SHOWN: usize = 60;

/// The program of one seed.
pub struct Program {
    seed: u64,
    rng: SmallRng,
    pipe: Pipe,
    sides: [Side; 2],
    /// The messages that each side sent.
    ledgers: [Ledger; 2],
    /// Whether the other side received each side's ping, and whether this side received the pong.
    pings: [Vec<(bool, bool)>; 2],
    /// The first step at which the sides may close.
    closes_in: u64,
    /// Whether a side has begun to close.
    closing: bool,
    /// Whether a message that had begun may have been dropped, or was too long; either closes too.
    perhaps_closing: bool,
    /// Whether a side began to close without a code.
    without_code: bool,
    /// Whether a stream may be dropped without a Close.
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
            .max_write_buffer_size(room)
            .ping_interval(None)
            .close_timeout(None)
            .write_timeout(None)
            .idle_timeout(None);
        let (pipe, ends) = Pipe::new(&mut rng);
        #[cfg(feature = "deflate")]
        let agreed = deflate::agree(&mut rng);
        let mut roles = [Role::Client, Role::Server].into_iter().enumerate();
        let sides = ends.map(|end| {
            let (_nth, role) = roles.next().expect("two ends");
            #[cfg(not(feature = "deflate"))]
            let (config, negotiated) = (&config, Negotiated::default());
            #[cfg(feature = "deflate")]
            let (config, negotiated) = &deflate::configure(&mut rng, agreed, &config);
            #[cfg(feature = "deflate")]
            if let Some(settings) = agreed {
                pipe.inflate(_nth, deflate::Unzip::new(role, settings));
            }
            Side::new(WebSocket::from_raw(end, Bytes::new(), role, config, negotiated.clone()))
        });
        let may_end_abruptly = rng.random_ratio(1, 3);
        Self {
            seed,
            rng,
            pipe,
            sides,
            ledgers: Default::default(),
            pings: Default::default(),
            closes_in: u64::MAX,
            closing: false,
            perhaps_closing: false,
            without_code: false,
            may_end_abruptly,
            step: 0,
            log: VecDeque::new(),
        }
    }

    /// Runs the program. Returns the number of steps.
    pub fn run(mut self) -> u64 {
        let steps = 1_u64 << self.rng.random_range(4..13);
        // Few programs close while they run: most faults are possible on an open connection only.
        if self.rng.random_ratio(1, 3) {
            self.closes_in = self.rng.random_range(1..steps);
        }
        while self.step < steps {
            self.step += 1;
            if self.may_close() && self.rng.random_ratio(1, 8) {
                self.begin_to_close();
            } else {
                self.any_step();
            }
        }
        self.drain();
        self.step
    }

    /// Takes a random step.
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
                if let Some(task) = self.any_task(end)
                    && self.may_give_up(end, task)
                {
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

    // --- polling

    fn any_task(&mut self, end: usize) -> Option<usize> {
        let count = self.sides[end].tasks.len();
        (count > 0).then(|| self.rng.random_range(0..count))
    }

    /// Polls a task that an executor would poll. Returns whether there was one.
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
            Poll::Pending => {
                self.note(format_args!("side {end}: {op:?} is pending"));
                if let What::Write { id } = op.what {
                    self.look_at_writing(end, op, id);
                }
            }
            Poll::Ready(done) => {
                self.note(format_args!("side {end}: {op:?} returns {}", brief(&done)));
                self.sides[end].tasks.swap_remove(task);
                self.learn(end, op, done);
            }
        }
    }

    /// Records the possible effects of the first poll of a future.
    fn note_start(&mut self, end: usize, task: usize) {
        let under_way = &mut self.sides[end].tasks[task];
        if !under_way.was_polled() {
            under_way.op.started = self.step;
            let discards = under_way.op.actor == Actor::Whole;
            match under_way.op.what {
                What::Message { id, .. } | What::Sink { id, .. } | What::Write { id } => {
                    self.ledgers[end].start(id, self.step);
                }
                What::SinkClose => (self.closing, self.without_code) = (true, true),
                What::Close => {
                    self.closing = true;
                    self.sides[end].discards |= discards;
                }
                _ => {}
            }
        }
    }

    /// Returns whether a future may be dropped now: dropping an unfinished message that has begun
    /// ends the connection.
    fn may_give_up(&self, end: usize, task: usize) -> bool {
        let What::Write { id } = self.sides[end].tasks[task].op.what else { return true };
        let begun = self.sides[end].writing(id).is_some_and(|writing| writing.borrow().may_be_begun);
        !begun || self.may_close() || self.may_be_closed()
    }

    /// Returns whether the sides may close already.
    fn may_close(&self) -> bool {
        self.step > self.closes_in
    }

    /// Drops a future.
    fn give_up(&mut self, end: usize, task: usize) {
        let op = self.sides[end].tasks.swap_remove(task).op;
        self.note(format_args!("side {end}: {op:?} is dropped"));
        match op.what {
            What::Message { id, .. } => self.ledgers[end].given_up(id, self.step),
            What::Sink { id, .. } if op.started < u64::MAX => self.keep(end, op.actor, id, false),
            What::Sink { id, .. } => self.ledgers[end].never(id),
            What::Write { id } => self.learn_unfinished(end, id),
            What::Read => self.learn_read(end, None),
            _ => {}
        }
    }

    /// Adds a line to the log that a failure shows.
    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        if self.log.len() == SHOWN {
            self.log.pop_front();
        }
        self.log.push_back(format!("{}: {line}", self.step));
    }
}

/// Formats a result without most of its payload data.
fn brief(done: &Done) -> String {
    let mut text = format!("{done:?}");
    if text.len() > 200 {
        text.truncate((0..=200).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    text
}
