//! One run: a server, honest clients, and hostile ones for a part of the time.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::{
    child::{Child, Counts, STAT},
    histogram::Histogram,
    honest::Honest,
    hostile::{HostileArgs, STOP},
    machine,
    server::{OPEN, PORT, ServerArgs, TASKS},
    settings::Settings,
    verdict::has_ended,
};

/// How often the memory of the server is read.
const TICK: Duration = Duration::from_millis(100);

/// How long the server may take until the connections of clients that have gone are gone, too; and
/// hostile clients until each row has ended.
const PATIENCE: Duration = Duration::from_secs(240);

/// The names of the phases.
pub const QUIET: &str = "quiet";
pub const ABUSE: &str = "beside hostile clients";
pub const QUIET_AGAIN: &str = "quiet again";

/// What was measured.
#[derive(Debug)]
pub struct Results {
    /// The phases that are reported, in their order.
    pub phases: Vec<Phase>,
    pub samples: Vec<Sample>,
    /// The messages of the honest clients. All have come back.
    pub messages: u64,
    /// What the server held before there was any client, with the honest ones alone, at most, with
    /// the honest ones alone again, and at the end.
    pub empty: Held,
    pub honest: Held,
    pub most: u64,
    pub honest_again: Held,
    pub end: Held,
    /// How hostile connections have ended, as the server and as the peers have counted.
    pub server: Counts,
    pub hostile: Counts,
}

/// A part of a run.
#[derive(Debug, Clone)]
pub struct Phase {
    pub name: &'static str,
    pub latencies: Histogram,
    /// Processor time per second: of the server, the honest and the hostile clients, and of all other
    /// programs of the machine.
    pub server: f64,
    pub clients: f64,
    pub hostile: f64,
    pub others: f64,
    /// The most resident memory of the server, in bytes.
    pub resident: u64,
}

/// The state of the server at a time.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Since the first phase began.
    pub at: Duration,
    pub phase: &'static str,
    pub resident: u64,
    pub open: u64,
    /// Of the messages since the last sample.
    pub p50: Duration,
    pub p99: Duration,
}

/// What the server holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub resident: u64,
    pub open: u64,
    pub tasks: u64,
    pub files: u64,
}

/// The processes, and what was measured so far.
struct Run {
    settings: Settings,
    server: Child,
    honest: Honest,
    hostile: Option<Child>,
    begun: Instant,
    samples: Vec<Sample>,
    most: u64,
}

/// Measures once.
///
/// # Errors
/// Fails if an honest client loses a message or its connection, or if the server keeps any connection
/// at the end.
pub async fn run(settings: Settings) -> Result<Results> {
    let (server, counts) =
        Child::start(&ServerArgs::of(settings.honest + settings.hostile, settings.deadline))?;
    let port =
        counts.get(PORT).and_then(|port| u16::try_from(*port).ok()).context("the server has no port")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let empty = Held::of(&server).await?;
    let honest = Honest::open(address, settings.honest, settings.every).await?;
    let (begun, samples, most) = (Instant::now(), Vec::new(), 0);
    let mut run = Run { settings, server, honest, hostile: None, begun, samples, most };
    let mut phases = Vec::new();
    run.phase("warm-up", settings.warm_up).await?;
    phases.push(run.phase(QUIET, settings.quiet).await?);
    let honest = Held::of(&run.server).await?;
    let arguments = HostileArgs::of(address, &settings);
    run.hostile = Some(Child::start(&arguments)?.0);
    run.phase("hostile warm-up", settings.hostile_warm_up).await?;
    phases.push(run.phase(ABUSE, settings.abuse).await?);
    run.until_all_rows_have_ended().await?;
    let hostile = run.hostile.take().context("it was started")?.ask(STOP).await?;
    run.until("hostile", |held| held.open == honest.open && held.tasks == honest.tasks).await?;
    run.phase("rest", settings.warm_up).await?;
    phases.push(run.phase(QUIET_AGAIN, settings.quiet).await?);
    let honest_again = Held::of(&run.server).await?;
    run.honest.close().await?;
    let left = |held: Held| (held.open, held.tasks, held.files);
    let end = run.until("honest", |held| left(held) == left(empty)).await?;
    Ok(Results {
        phases,
        messages: run.honest.sent(),
        empty,
        honest,
        most: run.most,
        honest_again,
        end,
        server: run.server.ask(STAT).await?,
        hostile,
        samples: run.samples,
    })
}

impl Held {
    async fn of(server: &Child) -> Result<Self> {
        let counts = server.ask(STAT).await?;
        let count = |name: &str| counts.get(name).copied().with_context(|| format!("no count of {name}"));
        Ok(Self {
            resident: machine::resident_bytes(server.pid())?,
            open: count(OPEN)?,
            tasks: count(TASKS)?,
            files: machine::open_files(server.pid())?,
        })
    }
}

impl Run {
    /// Measures for a while.
    async fn phase(&mut self, name: &'static str, duration: Duration) -> Result<Phase> {
        let mut phase = Phase::begin(name);
        // What was before does not count.
        self.honest.take_latencies();
        let (begin, cpu) = (Instant::now(), self.cpu_times()?);
        let mut next = self.settings.sample;
        while begin.elapsed() < duration {
            sleep(TICK.min(duration.saturating_sub(begin.elapsed()))).await;
            self.honest.check()?;
            phase.resident = phase.resident.max(machine::resident_bytes(self.server.pid())?);
            if begin.elapsed() >= next {
                next += self.settings.sample;
                self.sample(&mut phase).await?;
            }
        }
        phase.latencies.add(&self.honest.take_latencies());
        let seconds = begin.elapsed().as_secs_f64();
        let now = self.cpu_times()?;
        let shares: [f64; 4] =
            std::array::from_fn(|at| (now[at].as_secs_f64() - cpu[at].as_secs_f64()) / seconds);
        let [server, clients, hostile, all] = shares;
        (phase.server, phase.clients, phase.hostile) = (server, clients, hostile);
        phase.others = (all - server - clients - hostile).max(0.0);
        self.most = self.most.max(phase.resident);
        Ok(phase)
    }

    async fn sample(&mut self, phase: &mut Phase) -> Result<()> {
        let latencies = self.honest.take_latencies();
        phase.latencies.add(&latencies);
        let held = Held::of(&self.server).await?;
        self.samples.push(Sample {
            at: self.begun.elapsed(),
            phase: phase.name,
            resident: held.resident,
            open: held.open,
            p50: latencies.at(0.5),
            p99: latencies.at(0.99),
        });
        Ok(())
    }

    /// Waits until a connection of each row has ended, which takes long if the machine is busy with
    /// something else. That one has not is a fault of the run.
    async fn until_all_rows_have_ended(&self) -> Result<()> {
        let (begin, hostile) = (Instant::now(), self.hostile.as_ref().context("it was started")?);
        while begin.elapsed() < PATIENCE {
            let counts = hostile.ask(STAT).await?;
            if self.settings.rows.all().all(|row| has_ended(&counts, row)) {
                break;
            }
            sleep(TICK).await;
        }
        Ok(())
    }

    /// Waits until the server holds no more than it should. Returns what it holds.
    async fn until(&mut self, clients: &str, is_so: impl Fn(Held) -> bool) -> Result<Held> {
        let begin = Instant::now();
        loop {
            let held = Held::of(&self.server).await?;
            if is_so(held) {
                return Ok(held);
            }
            anyhow::ensure!(
                begin.elapsed() < PATIENCE,
                "all {clients} clients have gone, and the server has {} connections, {} tasks and {} files",
                held.open,
                held.tasks,
                held.files,
            );
            sleep(TICK).await;
        }
    }

    fn cpu_times(&self) -> Result<[Duration; 4]> {
        let hostile = self.hostile.as_ref().map(|hostile| machine::cpu_time(hostile.pid())).transpose()?;
        let own = std::process::id();
        Ok([
            machine::cpu_time(self.server.pid())?,
            machine::cpu_time(own)?,
            hostile.unwrap_or_default(),
            machine::busy_time()?,
        ])
    }
}

impl Phase {
    fn begin(name: &'static str) -> Self {
        let latencies = Histogram::default();
        Self { name, latencies, server: 0.0, clients: 0.0, hostile: 0.0, others: 0.0, resident: 0 }
    }
}
