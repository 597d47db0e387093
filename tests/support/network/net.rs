//! The simulated network: addresses, what listens there, and the links between them.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::pending,
    io,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

use fullduplex::Error;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    end::{End, lock},
    facts::{Fact, Way},
    link::{Effects, Fault, Link},
};

/// The number of last events that a failure shows.
const SHOWN: usize = 200;

/// A program that takes more steps does not end.
const MOST_STEPS: u64 = 3_000_000;

/// A call of the network.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    Connect,
    Read,
    Write,
    ShutDown,
    Drop,
    /// An action of the program.
    Act,
}

/// What happens to new connections to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Up,
    /// The machine answers nothing.
    Lost,
}

/// The network. Clones are handles of the same.
#[derive(Clone)]
pub struct Net(Arc<Shared>);

struct Shared {
    steps: AtomicU64,
    /// A digest of all calls, their times and their results.
    digest: AtomicU64,
    /// The number of ends that exist.
    open: AtomicI64,
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    rng: SmallRng,
    listeners: BTreeMap<(String, u16), mpsc::UnboundedSender<End>>,
    reach: BTreeMap<String, Reach>,
    links: Vec<(String, Weak<Mutex<Link>>)>,
    made: u64,
    /// How many of 100 links have a fault.
    faults: u32,
    counts: BTreeMap<&'static str, u64>,
    log: VecDeque<String>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

impl Net {
    /// Creates a network of which this share of links has a fault, of 100.
    pub fn new(seed: u64, faults: u32) -> Self {
        let inner = Inner {
            rng: SmallRng::seed_from_u64(seed),
            listeners: BTreeMap::new(),
            reach: BTreeMap::new(),
            links: Vec::new(),
            made: 0,
            faults,
            counts: BTreeMap::new(),
            log: VecDeque::new(),
        };
        Self(Arc::new(Shared {
            steps: AtomicU64::new(0),
            digest: AtomicU64::new(0xCBF2_9CE4_8422_2325),
            open: AtomicI64::new(0),
            started: Instant::now(),
            inner: Mutex::new(inner),
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().expect("no panic while it is held")
    }

    // --- steps

    /// Counts a step.
    pub fn step(&self, call: Call, who: u64, result: u64) {
        let steps = self.0.steps.fetch_add(1, Relaxed);
        assert!(steps < MOST_STEPS, "the program does not end");
        let time = self.0.started.elapsed().as_millis() as u64;
        let mut digest = self.0.digest.load(Relaxed);
        for number in [time, call as u64, who, result] {
            digest = (digest ^ number).wrapping_mul(0x0100_0000_01B3);
        }
        self.0.digest.store(digest, Relaxed);
    }

    /// Counts an action of the program, of this kind.
    pub fn act(&self, what: &'static str) {
        self.step(Call::Act, 0, 0);
        self.note(what);
    }

    /// Counts something that has happened.
    pub fn note(&self, what: &'static str) {
        *self.inner().counts.entry(what).or_default() += 1;
    }

    /// Counts an error by its kind.
    pub fn note_error(&self, error: &Error) {
        self.note(match error {
            Error::Timeout(_) => "error: timeout",
            Error::Proxy(_) => "error: proxy",
            _ => "error: disconnected",
        });
    }

    /// Records what a failure shows.
    pub fn log(&self, line: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} s  {line}", self.0.started.elapsed().as_secs_f64());
        let mut inner = self.inner();
        if inner.log.len() == SHOWN {
            inner.log.pop_front();
        }
        inner.log.push_back(line);
    }

    pub fn steps(&self) -> u64 {
        self.0.steps.load(Relaxed)
    }

    pub fn digest(&self) -> u64 {
        self.0.digest.load(Relaxed)
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.inner().counts.clone()
    }

    /// Prints the last events. It is called after a panic, in which a lock may be poisoned.
    pub fn print_log(&self) {
        let inner = self.0.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.log.iter().for_each(|line| eprintln!("  {line}"));
    }

    pub fn opened(&self, change: i64) {
        self.0.open.fetch_add(change, Relaxed);
    }

    /// Returns how many ends exist.
    pub fn open_ends(&self) -> i64 {
        self.0.open.load(Relaxed)
    }

    // --- connecting

    /// Listens at an address.
    pub fn listen(&self, host: &str, port: u16) -> mpsc::UnboundedReceiver<End> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.inner();
        inner.reach.insert(host.to_owned(), Reach::Up);
        inner.listeners.insert((host.to_owned(), port), sender);
        receiver
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// Returns an error if nothing listens there.
    pub async fn connect(&self, way: &Way, host: &str, port: u16) -> io::Result<End> {
        let (link, number, vectored) = {
            let mut inner = self.inner();
            let faults = inner.faults;
            inner.made += 1;
            let link = Link::new(&mut inner.rng, faults, way.clone());
            (link, inner.made, inner.rng.random())
        };
        self.step(Call::Connect, number, u64::from(port));
        sleep(link.round_trip()).await;
        if self.inner().reach.get(host) == Some(&Reach::Lost) {
            way.add(Fact::Unreachable);
            self.note("connect: no answer");
            return pending().await;
        }
        let link = Arc::new(Mutex::new(link));
        let ends = [0, 1].map(|end| End::new(link.clone(), number, end, self.clone(), vectored));
        let [client, server] = ends;
        let mut inner = self.inner();
        let listener = inner.listeners.get(&(host.to_owned(), port)).filter(|listener| !listener.is_closed());
        let Some(listener) = listener.cloned() else {
            drop(inner);
            way.add(Fact::NoServer);
            self.note("connect: refused");
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        inner.links.retain(|(_, link)| link.strong_count() > 0);
        inner.links.push((host.to_owned(), Arc::downgrade(&link)));
        drop(inner);
        // Cannot fail: it was found to be open.
        let _ = listener.send(server);
        Ok(client)
    }

    // --- faults

    /// Wakes tasks, and counts a fault. Must not be called with a link locked, because a waker may
    /// run any code.
    pub fn affect(&self, effects: Effects) {
        if let Some(news) = effects.news {
            self.note(news);
        }
        effects.woken.into_iter().for_each(Waker::wake);
    }

    /// Returns the links of a host, or all.
    fn links(&self, host: Option<&str>) -> Vec<Arc<Mutex<Link>>> {
        let inner = self.inner();
        let wanted = inner.links.iter().filter(|(of, _)| host.is_none_or(|host| host == of));
        wanted.filter_map(|(_, link)| link.upgrade()).collect()
    }

    /// Records a fact about all connections of a host.
    pub fn tell(&self, host: &str, fact: Fact) {
        self.links(Some(host)).iter().for_each(|link| lock(link).way.add(fact));
    }

    /// Stops to listen at all ports of a host.
    pub fn unlisten(&self, host: &str) {
        let removed: Vec<_> = {
            let mut inner = self.inner();
            let ports = inner.listeners.keys().filter(|(of, _)| of == host).cloned().collect::<Vec<_>>();
            ports.iter().filter_map(|port| inner.listeners.remove(port)).collect()
        };
        drop(removed);
    }

    /// Lets the machine of a host fail: it answers nothing any more.
    pub fn crash(&self, host: &str) {
        self.inner().reach.insert(host.to_owned(), Reach::Lost);
        for link in self.links(Some(host)) {
            let mut effects = Effects::default();
            // Also if something else has happened to it before.
            lock(&link).way.add(Fact::Crashed);
            lock(&link).disturb(Fault::Silence, Some(Fact::Crashed), &mut effects);
            self.affect(effects);
        }
    }

    /// Lets a fault happen to one of the open links.
    pub fn disturb_any(&self, rng: &mut SmallRng) {
        let links = self.links(None);
        if !links.is_empty() {
            let mut effects = Effects::default();
            let link = &links[rng.random_range(0..links.len())];
            lock(link).disturb(Fault::random(rng), None, &mut effects);
            self.affect(effects);
        }
    }

    /// Returns whether no further fault happens.
    pub fn is_healed(&self) -> bool {
        self.inner().faults == 0
    }

    /// Lets no further fault happen.
    pub fn heal(&self) {
        self.inner().faults = 0;
        self.links(None).iter().for_each(|link| lock(link).spare());
    }
}
