//! A simulated TCP connection: two lanes of bytes, and what happens to them.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    task::{Context, Poll, Waker},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{io::ReadBuf, time::Instant};

use super::facts::{Fact, Way};

/// How long the system sends bytes again that the peer does not acknowledge.
const GIVES_UP: Duration = Duration::from_secs(3600);

/// The least number of bytes under way. With fewer, which no socket has, both ends of TLS may wait until
/// the other one reads: a server sends its tickets while the client sends its request.
const LEAST_CAPACITY: usize = 4096;

/// What may happen to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    End,
    Reset,
    Silence,
    Stall(Duration),
}

impl Fault {
    pub fn random(rng: &mut SmallRng) -> Self {
        match rng.random_range(0..10) {
            0..3 => Self::End,
            3..6 => Self::Reset,
            6..8 => Self::Silence,
            _ => Self::Stall(Duration::from_millis(rng.random_range(100..25_000))),
        }
    }
}

/// A fault that happens once an end has sent this many bytes.
#[derive(Debug, Clone, Copy)]
struct Plan {
    end: usize,
    at: u64,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Reset,
    /// Since when nothing passes.
    Silent(Instant),
}

/// What an operation returns besides its result, for once the link is unlocked.
#[derive(Debug, Default)]
pub struct Effects {
    /// The tasks to wake.
    pub woken: Vec<Waker>,
    /// The fault that has happened.
    pub news: Option<&'static str>,
}

/// A result, or until when to wait, if that is known.
pub enum Progress<T> {
    Ready(T),
    Wait(Option<Instant>),
}

/// One direction.
#[derive(Debug)]
struct Lane {
    /// The bytes under way, and when they arrive.
    chunks: VecDeque<(Instant, VecDeque<u8>)>,
    /// How many bytes the writer has to keep.
    len: usize,
    /// How many bytes were accepted in all.
    passed: u64,
    /// When the last of them arrives.
    last: Instant,
    capacity: usize,
    write_at_most: usize,
    read_at_most: usize,
    /// The range of the delay, in milliseconds.
    delay: (u64, u64),
    /// Whether nothing follows.
    ended: bool,
    /// Whether the reader was dropped.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Returns a size of any order of magnitude.
fn size(rng: &mut SmallRng, bits: u32) -> usize {
    let bits = rng.random_range(0..bits);
    rng.random_range(1..=(2_usize << bits))
}

impl Lane {
    fn new(rng: &mut SmallRng, delay: (u64, u64)) -> Self {
        Self {
            chunks: VecDeque::new(),
            len: 0,
            passed: 0,
            last: Instant::now(),
            // No deadline passes on a link to which nothing happens.
            capacity: size(rng, 17).max(LEAST_CAPACITY).max(delay.1 as usize * 200),
            write_at_most: size(rng, 17),
            read_at_most: size(rng, 17),
            delay,
            ended: false,
            gone: false,
            reader: None,
            writer: None,
        }
    }

    /// Limits a read, a write or what is under way. Tiny ones would take too long once much has passed.
    fn limited(&self, limit: usize) -> usize {
        limit.max((self.passed / 64) as usize)
    }

    fn accept(&mut self, slices: &[IoSlice<'_>], most: usize, rng: &mut SmallRng) -> usize {
        let mut bytes = VecDeque::new();
        for slice in slices {
            let room = most - bytes.len();
            bytes.extend(&slice[..slice.len().min(room)]);
        }
        let len = bytes.len();
        let delay = Duration::from_millis(rng.random_range(self.delay.0..=self.delay.1));
        self.last = self.last.max(Instant::now() + delay);
        self.chunks.push_back((self.last, bytes));
        self.len += len;
        self.passed += len as u64;
        len
    }

    /// Reads what has arrived.
    fn read(&mut self, buffer: &mut ReadBuf<'_>) -> usize {
        let mut room = self.limited(self.read_at_most).min(buffer.remaining());
        let before = room;
        let now = Instant::now();
        while room > 0
            && let Some((arrives, bytes)) = self.chunks.front_mut()
            && *arrives <= now
        {
            let part = bytes.as_slices().0;
            let part = &part[..part.len().min(room)];
            buffer.put_slice(part);
            let len = part.len();
            bytes.drain(..len);
            room -= len;
            if bytes.is_empty() {
                self.chunks.pop_front();
            }
        }
        self.len -= before - room;
        before - room
    }

    fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }

    fn wake(&mut self, effects: &mut Effects) {
        effects.woken.extend(self.reader.take());
        effects.woken.extend(self.writer.take());
    }
}

#[derive(Debug)]
pub struct Link {
    /// What each end sends: the client, and the server.
    lanes: [Lane; 2],
    state: State,
    plan: Option<Plan>,
    pub way: Way,
    rng: SmallRng,
    /// How many of 256 calls are pending, and wake the task at once.
    pauses: u32,
    /// Whether what arrives for a dropped end resets the link, so that the other end loses what it
    /// has not read.
    resets: bool,
}

impl Link {
    /// Creates a link. A fault happens to this share of them, of 100.
    pub fn new(rng: &mut SmallRng, faults: u32, way: Way) -> Self {
        let most = [0, 0, 3, 30, 200][rng.random_range(0..5)];
        let delay = (rng.random_range(0..=most), most);
        let lanes = [Lane::new(rng, delay), Lane::new(rng, delay)];
        let plan = rng.random_ratio(faults, 100).then(|| Plan {
            end: rng.random_range(0..2),
            at: size(rng, 17) as u64 - 1,
            fault: Fault::random(rng),
        });
        Self {
            lanes,
            state: State::Open,
            plan,
            way,
            pauses: if rng.random_ratio(1, 3) { rng.random_range(0..96) } else { 0 },
            resets: rng.random(),
            rng: SmallRng::seed_from_u64(rng.random()),
        }
    }

    /// Returns the delay of the first answer.
    pub fn round_trip(&self) -> Duration {
        Duration::from_millis(self.lanes[0].delay.0 + self.lanes[1].delay.0)
    }

    /// Removes the fault that is planned.
    pub fn spare(&mut self) {
        self.plan = None;
    }

    /// Lets a fault happen now.
    pub fn disturb(&mut self, fault: Fault, fact: Option<Fact>, effects: &mut Effects) {
        if self.state != State::Open {
            return;
        }
        self.plan = None;
        let (of_fault, news) = match fault {
            Fault::End => (Fact::Ended, "fact: both directions ended"),
            Fault::Reset => (Fact::Reset, "fact: reset"),
            Fault::Silence => (Fact::Silent, "fact: silent"),
            Fault::Stall(_) => (Fact::Stalled, "fact: stalled"),
        };
        self.way.add(fact.unwrap_or(of_fault));
        effects.news = Some(news);
        match fault {
            Fault::End => self.lanes.iter_mut().for_each(|lane| lane.ended = true),
            Fault::Reset => self.reset(),
            Fault::Silence => self.state = State::Silent(Instant::now()),
            Fault::Stall(time) => {
                for lane in &mut self.lanes {
                    lane.last = lane.last.max(Instant::now() + time);
                }
            }
        }
        self.lanes.iter_mut().for_each(|lane| lane.wake(effects));
    }

    fn reset(&mut self) {
        self.state = State::Reset;
        self.lanes.iter_mut().for_each(Lane::clear);
    }

    /// Returns whether this call is pending although it could make progress.
    fn pauses(&mut self, cx: &Context<'_>) -> bool {
        let pauses = self.pauses > 0 && self.rng.random_ratio(self.pauses, 256);
        if pauses {
            cx.waker().wake_by_ref();
        }
        pauses
    }

    /// Returns when the system gives up to send, if the link is silent.
    fn gives_up(&self, end: usize) -> Option<Instant> {
        match self.state {
            State::Silent(since) if self.lanes[end].len > 0 => Some(since + GIVES_UP),
            _ => None,
        }
    }

    pub fn write(
        &mut self,
        end: usize,
        slices: &[IoSlice<'_>],
        cx: &Context<'_>,
        effects: &mut Effects,
    ) -> Progress<io::Result<usize>> {
        self.meet_plan(end, effects);
        if self.state == State::Reset {
            return Progress::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if let Some(error) = self.timed_out(end) {
            return Progress::Ready(Err(error));
        }
        let gone = self.lanes[end].gone && self.state == State::Open;
        if self.lanes[end].ended || (gone && !self.resets) {
            return Progress::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if self.pauses(cx) {
            return Progress::Wait(None);
        }
        let gives_up = self.gives_up(end);
        let lane = &mut self.lanes[end];
        let room = lane.limited(lane.capacity).saturating_sub(lane.len);
        if room == 0 && !gone {
            lane.writer = Some(cx.waker().clone());
            return Progress::Wait(gives_up);
        }
        let mut most = room.min(lane.limited(lane.write_at_most));
        if let Some(plan) = self.plan
            && plan.end == end
        {
            most = most.min((plan.at - lane.passed) as usize);
        }
        if gone {
            // The system has accepted it, and the answer is a reset.
            let len = slices.iter().map(|slice| slice.len()).sum::<usize>().min(most.max(1));
            self.reset();
            self.lanes.iter_mut().for_each(|lane| lane.wake(effects));
            return Progress::Ready(Ok(len));
        }
        let written = lane.accept(slices, most, &mut self.rng);
        if matches!(self.state, State::Silent(_)) {
            // It is kept by the sender, and never arrives.
            lane.chunks.pop_back();
        }
        effects.woken.extend(lane.reader.take());
        self.meet_plan(end, effects);
        Progress::Ready(Ok(written))
    }

    /// Lets the fault happen that is planned for what an end has sent by now.
    fn meet_plan(&mut self, end: usize, effects: &mut Effects) {
        if let Some(plan) = self.plan
            && plan.end == end
            && plan.at == self.lanes[end].passed
        {
            self.disturb(plan.fault, None, effects);
        }
    }

    fn timed_out(&self, end: usize) -> Option<io::Error> {
        let passed = self.gives_up(end).is_some_and(|at| at <= Instant::now());
        passed.then(|| ErrorKind::TimedOut.into())
    }

    pub fn read(
        &mut self,
        end: usize,
        buffer: &mut ReadBuf<'_>,
        cx: &Context<'_>,
        effects: &mut Effects,
    ) -> Progress<io::Result<usize>> {
        if self.state == State::Reset {
            return Progress::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let now = Instant::now();
        let lane = &self.lanes[1 - end];
        let arrives = lane.chunks.front().map(|(arrives, _)| *arrives);
        let until = match arrives {
            Some(arrives) if arrives <= now => {
                if self.pauses(cx) {
                    return Progress::Wait(None);
                }
                let lane = &mut self.lanes[1 - end];
                let len = lane.read(buffer);
                effects.woken.extend(lane.writer.take());
                return Progress::Ready(Ok(len));
            }
            Some(arrives) => Some(arrives),
            None if lane.ended && lane.last <= now => return Progress::Ready(Ok(0)),
            None if lane.ended => Some(lane.last),
            None => {
                if let Some(error) = self.timed_out(end) {
                    return Progress::Ready(Err(error));
                }
                self.gives_up(end)
            }
        };
        self.lanes[1 - end].reader = Some(cx.waker().clone());
        Progress::Wait(until)
    }

    /// Ends what an end sends.
    pub fn shut_down(&mut self, end: usize, effects: &mut Effects) {
        if self.state == State::Open {
            let lane = &mut self.lanes[end];
            // It arrives behind what was sent before.
            lane.ended = true;
            effects.woken.extend(lane.reader.take());
        }
    }

    /// Drops an end.
    pub fn drop_end(&mut self, end: usize, effects: &mut Effects) {
        self.shut_down(end, effects);
        let lane = &mut self.lanes[1 - end];
        let unread = lane.len > 0;
        lane.gone = true;
        if self.state == State::Open {
            lane.clear();
            if unread && self.resets {
                self.reset();
            }
        }
        self.lanes.iter_mut().for_each(|lane| lane.wake(effects));
    }
}

/// A result of a poll, as [`Progress`].
impl<T> Progress<T> {
    pub fn map_ready<U>(self, map: impl FnOnce(T) -> U) -> Result<Poll<U>, Instant> {
        match self {
            Self::Ready(value) => Ok(Poll::Ready(map(value))),
            Self::Wait(None) => Ok(Poll::Pending),
            Self::Wait(Some(until)) => Err(until),
        }
    }
}
