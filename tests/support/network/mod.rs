//! A random program over the whole crate, on a simulated network and clock.
//!
//! Clients connect to servers that come and go: over TLS or not, through proxies, by HTTP/2, and
//! again once a connection is lost. The bytes between them are delayed, divided, cut off at any
//! place, or vanish without a word. A [`Ledger`] knows what has to arrive, and a [`Way`] what has
//! happened to a connection, so that each end has to fit.
//!
//! All tasks of a program run on one thread, in a runtime whose clock is paused: it moves on when
//! all tasks wait. So the seed determines each byte and each time.
#![allow(unreachable_pub, reason = "as in the other shared modules of the tests")]

mod again;
mod clients;
mod content;
pub mod coverage;
mod end;
mod facts;
mod handlers;
mod ledger;
mod link;
mod member;
mod net;
mod proxies;
mod routes;
mod site;
mod talk;
mod tasks;

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::Future,
    panic,
    sync::{Arc, Once},
    thread,
    time::Duration,
};

use fullduplex::{CloseCode, Config, Deflate, hub::Memory};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    runtime::{self, Handle},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use self::{
    ledger::Ledger,
    member::{Publishing, RoomOf},
    net::Net,
    routes::Tls,
    site::Site,
    tasks::{Tasks, resume},
};

/// How long an actor may take, in simulated time, once nothing disturbs it any more. It is less than
/// the time after which the system gives up sending: deadlines of the crate have to end each wait.
const FINISHES: Duration = Duration::from_secs(1800);

/// How long tasks may remain, in simulated time: the system gives up sending after an hour.
const REMAINS: Duration = Duration::from_secs(7200);

/// The age of messages in the history of a room, which no program reaches.
const AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the actors of a program share.
#[derive(Clone)]
pub struct World {
    net: Net,
    ledger: Ledger,
    tls: Tls,
    hosts: Vec<String>,
    config: Config,
    /// Whether write buffers are so short that members of a room are closed for being slow.
    is_slow: bool,
}

/// What a program has done.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    pub steps: u64,
    /// A digest of all calls of the network, with their times and results.
    pub digest: u64,
    pub counts: BTreeMap<&'static str, u64>,
}

/// Shows the seed and the last events of a program that fails.
struct Failing {
    seed: u64,
    net: Net,
}

impl Drop for Failing {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the last events before the failure:");
            self.net.print_log();
            eprintln!(
                "NETWORK_PROGRAM_SEED={} failed; to repeat it:\n  \
                 NETWORK_PROGRAM_SEED={0} cargo test --all-features --test network_program -- --nocapture",
                self.seed
            );
        }
    }
}

thread_local! {
    /// How many panics the tasks of this thread have had, also those that nobody awaits.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            others(info);
        }));
    });
}

/// Runs the program of a seed.
pub fn run(seed: u64) -> Report {
    count_panics();
    PANICS.set(0);
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let report = runtime.expect("a runtime").block_on(program(seed));
    assert_eq!(PANICS.get(), 0, "a task has panicked");
    report
}

async fn program(seed: u64) -> Report {
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World::random(&mut rng);
    let _failing = Failing { seed, net: world.net.clone() };
    let proxies = Tasks::default();
    proxies::start(&world, &proxies, &mut rng);
    let (history, is_short) =
        if rng.random_ratio(1, 3) { (rng.random_range(2..10), true) } else { (1 << 20, false) };
    let backplane = Memory::history(history, AGE);
    let hosts = world.hosts.clone();
    let mut sites: Vec<_> =
        hosts.iter().map(|host| Site::new(&world, host, backplane.clone(), &mut rng)).collect();
    let actors = start_actors(&world, is_short, &mut rng);

    direct(&world, &mut sites, &mut rng).await;
    actors.finish().await;
    for site in &mut sites {
        site.stop(CloseCode::GOING_AWAY).await;
    }
    drop(sites);
    proxies.kill().await;
    ended(&world).await;
    Report { steps: world.net.steps(), digest: world.net.digest(), counts: world.net.counts() }
}

impl World {
    fn random(rng: &mut SmallRng) -> Self {
        let faults = [0, 20, 50, 80][rng.random_range(0..4)];
        let is_slow = rng.random_ratio(1, 4);
        let config = Config::new().max_write_buffer_size(if is_slow { 2000 } else { 1 << 20 });
        let deflate = rng.random_ratio(1, 4).then(|| Deflate::new().threshold(0));
        let hosts = ["a.test", "b.test"].map(str::to_owned);
        Self {
            net: Net::new(rng.random(), faults),
            ledger: Ledger::default(),
            tls: Tls::new(),
            hosts: hosts[..rng.random_range(1..=2)].to_vec(),
            config: config.deflate(deflate),
            is_slow,
        }
    }
}

/// The clients of a program, with their names.
struct Actors {
    tasks: JoinSet<&'static str>,
    unfinished: BTreeMap<&'static str, usize>,
}

impl Actors {
    fn spawn(&mut self, name: &'static str, actor: impl Future<Output = ()> + Send + 'static) {
        *self.unfinished.entry(name).or_default() += 1;
        self.tasks.spawn(async move {
            actor.await;
            name
        });
    }

    /// Waits for all actors.
    async fn finish(mut self) {
        let deadline = Instant::now() + FINISHES;
        while let Ok(Some(ended)) = timeout_at(deadline, self.tasks.join_next()).await {
            match ended {
                Ok(name) => *self.unfinished.entry(name).or_default() -= 1,
                Err(error) => resume(error),
            }
        }
        self.unfinished.retain(|_, count| *count > 0);
        assert!(self.unfinished.is_empty(), "these wait for ever: {:?}", self.unfinished);
    }
}

fn start_actors(world: &World, is_short: bool, rng: &mut SmallRng) -> Actors {
    let mut actors = Actors { tasks: JoinSet::new(), unfinished: BTreeMap::new() };
    let mut forked = || SmallRng::seed_from_u64(rng.random());
    let mut chance = forked();
    for _ in 0..chance.random_range(0..4) {
        actors.spawn("plain", clients::plain(world.clone(), forked()));
    }
    for _ in 0..chance.random_range(0..3) {
        actors.spawn("HTTP/2", clients::http2(world.clone(), forked()));
    }
    for _ in 0..chance.random_range(0..3) {
        actors.spawn("again", again::run(world.clone(), forked()));
    }
    for name in &["red", "green"][..chance.random_range(0..3)] {
        let members = chance.random_range(1..5);
        let room =
            RoomOf { name: (*name).to_owned(), publishing: Arc::new(Publishing::new(members)), is_short };
        for number in 0..members {
            actors.spawn("member", member::run(world.clone(), room.clone(), number, forked()));
        }
    }
    actors
}

/// Disturbs the network, and lets the servers come and go. Then nothing is disturbed any more.
async fn direct(world: &World, sites: &mut [Site], rng: &mut SmallRng) {
    let net = &world.net;
    for _ in 0..rng.random_range(0..8) {
        sleep(Duration::from_millis(rng.random_range(0..8000))).await;
        if rng.random_ratio(1, 2) {
            net.act("network: disturbed");
            net.disturb_any(rng);
            continue;
        }
        let site = rng.random_range(0..sites.len());
        let site = &mut sites[site];
        match rng.random_range(0..3) {
            0 => {
                net.act("server: stopped");
                let code = if rng.random() { CloseCode::GOING_AWAY } else { CloseCode::SERVICE_RESTART };
                site.stop(code).await;
            }
            1 => {
                net.act("server: killed");
                site.kill().await;
            }
            _ => {
                net.act("server: crashed");
                site.crash().await;
            }
        }
        sleep(Duration::from_millis(rng.random_range(0..15_000))).await;
        if rng.random_ratio(3, 4) {
            net.act("server: restarted");
            site.start();
        }
    }
    sites.iter_mut().for_each(Site::start);
    net.heal();
    net.log(format_args!("nothing is disturbed any more"));
}

/// Waits until no task and no end of a connection remains.
async fn ended(world: &World) {
    let began = Instant::now();
    loop {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let ends = world.net.open_ends();
        if tasks == 0 && ends == 0 {
            return;
        }
        assert!(began.elapsed() < REMAINS, "{tasks} tasks and {ends} ends of connections remain");
        sleep(Duration::from_secs(1)).await;
    }
}
