//! Opening handshakes: TCP connection, request, response and end of the connection, each with the
//! library's own handshake.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{
    task::{LocalSet, spawn_local},
    time::sleep,
};

use crate::{
    child::{Child, Job},
    load::{self, Connection, OPENING, PATIENCE},
    peers::{self, Peer},
    report::{Better, Section, Target, interleave},
    settings::Settings,
};

/// Columns without an opening handshake of their own, or with that of another column.
const LEFT_OUT: [&str; 3] = ["bare loop", "fullduplex, split", "web-socket"];

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    let peers: Vec<_> =
        peers::over_tcp().into_iter().filter(|peer| !LEFT_OUT.contains(&peer.name())).collect();
    let about = format!(
        "Over loopback TCP, {OPENING} at a time, from accepting the TCP connection to its end; the request has no \
         header that is not needed. fastwebsockets and yawc open connections by hyper; web-socket has no handshake."
    );
    let mut section = Section::new("Opening handshakes", "as the row says", &about, &peers);
    section.all_columns = true;
    section.add_row("ns of server CPU per handshake", Better::Lower, Target::None, true);
    section.add_row("handshakes per second", Better::Higher, Target::None, false);
    interleave(settings.rounds, 1, &peers, |_, column| {
        match LocalSet::new().block_on(&runtime, measure(settings, peers[column])) {
            Ok((cpu, rate)) => {
                section.record(0, column, cpu);
                section.record(1, column, rate);
            }
            Err(error) => section.fail(0, column, &error),
        }
    });
    Ok(vec![section])
}

pub async fn measure(settings: &Settings, peer: &dyn Peer) -> Result<(f64, f64)> {
    let child = Child::start(peer, Job::Open)?;
    let address = child.address;
    measure_by(settings, &child, move |_| Connection::open(address)).await
}

/// Measures the server by connections that are opened as `open` does, which takes the number of the
/// loop. Returns the processor time of a handshake in nanoseconds, and handshakes per second.
pub async fn measure_by<S, F>(
    settings: &Settings,
    child: &Child,
    open: impl Fn(usize) -> F + Clone + 'static,
) -> Result<(f64, f64)>
where
    F: Future<Output = Result<Connection<S>>> + 'static,
{
    // The first one is a check, and causes the one-time allocations.
    open(0).await?;
    let opened = Rc::new(Cell::new(0_u64));
    let failed = Rc::new(Cell::new(false));
    for number in 0..OPENING {
        let (opened, failed, open) = (opened.clone(), failed.clone(), open.clone());
        spawn_local(async move {
            while open(number).await.is_ok() {
                opened.set(opened.get() + 1);
            }
            failed.set(true);
        });
    }
    sleep(settings.warm_up).await;
    let (begin, cpu, before) = (Instant::now(), child.cpu_time()?, opened.get());
    while begin.elapsed() < settings.measured || (opened.get() - before < 200 && begin.elapsed() < PATIENCE) {
        sleep(settings.measured / 8).await;
    }
    let (elapsed, cpu) = (begin.elapsed(), child.cpu_time()?.saturating_sub(cpu));
    ensure!(!failed.get(), "an opening handshake failed");
    Ok(rates(opened.get() - before, cpu, elapsed))
}

fn rates(count: u64, cpu: Duration, elapsed: Duration) -> (f64, f64) {
    (cpu.as_nanos() as f64 / count as f64, count as f64 / elapsed.as_secs_f64())
}
