//! Memory of an idle connection: the growth of the server's process, divided by the connections.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use crate::{
    child::{Child, Job},
    frames::{Kind, Window},
    load::{self, Connection, Io, OPENING},
    machine,
    peers::{self, Manner, Peer},
    report::{Better, Section, Target, interleave, whole},
    settings::Settings,
};

/// User-space bytes, TCP stream and task included.
const TARGET: f64 = 1200.0;

/// Connections that are opened first, so that one-time allocations are not counted.
pub const FIRST: usize = 16;

/// The time after which the server is idle.
pub const REST: Duration = Duration::from_millis(200);

/// Files that are not connections.
pub const OTHER_FILES: usize = 100;

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    let count = settings.idle_connections.min(machine::raise_file_limit()?.saturating_sub(OTHER_FILES));
    ensure!(count > FIRST, "too few files may be open");
    let peers = [peers::ALL, peers::APART].concat();
    let about = format!(
        "User-space bytes for each of {} idle connections over loopback TCP: task, TCP stream and library, by the \
         plain loop, where it holds less; before and after one echo of 512 bytes. Resident memory (RSS), and what is \
         allocated. The bare loop is a task with a TCP stream and no state.",
        whole(count)
    );
    let mut section = Section::new("Memory of an idle connection", "bytes", &about, &peers);
    section.all_columns = true;
    section.add_row("resident, before the first message", Better::Lower, Target::None, false);
    section.add_row("resident, after an echo", Better::Lower, Target::AtMost(TARGET), true);
    section.add_row("allocated, before the first message", Better::Lower, Target::None, false);
    section.add_row("allocated, after an echo", Better::Lower, Target::AtMost(TARGET), false);
    interleave(settings.rounds, 1, &peers, |_, column| {
        match runtime.block_on(measure(peers[column], count)) {
            Ok(bytes) => {
                for (row, value) in bytes.into_iter().enumerate() {
                    section.record(row, column, value);
                }
            }
            Err(error) => section.fail(0, column, &error),
        }
    });
    Ok(vec![section])
}

/// Returns the bytes of each connection, in the order of the rows.
pub async fn measure(peer: &dyn Peer, count: usize) -> Result<[f64; 4]> {
    let child = Child::start(peer, Job::Count(Manner::Plain))?;
    let address = child.address;
    measure_by(child, count, || Connection::open(address)).await
}

/// Does the same with connections that are opened as `open` does.
pub async fn measure_by<S, F>(mut child: Child, count: usize, open: impl Fn() -> F) -> Result<[f64; 4]>
where
    S: Io,
    F: Future<Output = Result<Connection<S>>>,
{
    let window = Window::new(Kind::Binary, 512, 1);
    let mut first = load::open_many_by(&open, FIRST, OPENING).await?;
    load::warm_up(&mut first, &window).await?;
    let (resident, allocated) = held(&mut child).await?;
    let mut connections = load::open_many_by(&open, count, OPENING).await?;
    let opened = held(&mut child).await?;
    load::warm_up(&mut connections, &window).await?;
    connections.iter_mut().for_each(Connection::forget_room);
    let echoed = held(&mut child).await?;
    let more = |now: f64, before: f64| (now - before) / count as f64;
    Ok([
        more(opened.0, resident),
        more(echoed.0, resident),
        more(opened.1, allocated),
        more(echoed.1, allocated),
    ])
}

/// Returns resident and allocated bytes, once the server is idle.
pub async fn held(child: &mut Child) -> Result<(f64, f64)> {
    sleep(REST).await;
    Ok((child.resident_bytes()? as f64, child.allocated_bytes()? as f64))
}
