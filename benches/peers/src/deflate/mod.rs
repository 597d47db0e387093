//! Echo of compressed messages (RFC 7692) over loopback TCP: the server's processor time, messages
//! per second, the compressed size, and the memory of an idle connection.

mod client;
#[path = "../../../support/feed.rs"]
mod feed;

use std::{cell::Cell, rc::Rc};

use anyhow::{Result, ensure};
use tokio::task::{LocalSet, spawn_local};

use self::{
    client::{Client, Window, open_many},
    feed::Feed,
};
use crate::{
    child::{Child, Job},
    echo::{self, Sample},
    load, machine,
    memory::{FIRST, OTHER_FILES, held},
    peers::{self, Compresses, LEVEL, Manner, Peer, Standing, Takeover},
    report::{Better, Section, Target, interleave, whole},
    settings::Settings,
};

const CONNECTIONS: usize = 10;
const IN_FLIGHT: usize = 16;

/// The length of the messages for the memory table.
const KEPT: usize = 1 << 10;

/// The ratio to the compressed size of the best peer up to which the target is reached.
const AS_SMALL: f64 = 1.02;

/// The total length of the messages before they are repeated: far more than a window of DEFLATE, so
/// that a message does not refer to its previous transmission.
const VARIETY: usize = 512 << 10;

struct Load {
    takeover: Takeover,
    size: usize,
    label: &'static str,
    /// The target, as a multiple of the best peer's processor time.
    target: f64,
}

const CELLS: [Load; 6] = [
    Load { takeover: Takeover::None, size: 100, label: "no takeover, 100 B", target: 0.6 },
    Load { takeover: Takeover::None, size: 1 << 10, label: "no takeover, 1 KiB", target: 0.8 },
    Load { takeover: Takeover::None, size: 64 << 10, label: "no takeover, 64 KiB", target: 1.0 },
    Load { takeover: Takeover::Server, size: 100, label: "server takeover, 100 B", target: 0.9 },
    Load { takeover: Takeover::Server, size: 1 << 10, label: "server takeover, 1 KiB", target: 0.9 },
    Load { takeover: Takeover::Server, size: 64 << 10, label: "server takeover, 64 KiB", target: 1.0 },
];

const MODES: [(Takeover, &str); 2] = [(Takeover::None, "no takeover"), (Takeover::Server, "server takeover")];

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    let peers: Vec<&dyn Peer> =
        peers::active().into_iter().filter(|peer| peer.standing() != Standing::Baseline).collect();
    let mut tables = tables(&peers);
    // Leaked, because the tasks that send them need `'static`.
    let loads: Vec<&'static [Window]> = CELLS.iter().map(|cell| windows(cell.size)).collect();
    interleave(settings.rounds, CELLS.len(), &peers, |row, column| {
        let (peer, cell) = (peers[column], &CELLS[row]);
        if peer.compresses(cell.takeover) == Compresses::No {
            return;
        }
        match LocalSet::new().block_on(&runtime, measure(settings, peer, cell.takeover, loads[row])) {
            Ok((sample, bytes)) => {
                tables[0].record(row, column, sample.cpu_nanoseconds);
                tables[1].record(row, column, sample.messages_per_second);
                tables[2].record(row, column, bytes);
            }
            Err(error) => tables[0].fail(row, column, &error),
        }
    });
    let memory = memory(settings, &peers)?;
    Ok(tables.into_iter().chain([memory]).collect())
}

fn tables(peers: &[&dyn Peer]) -> [Section; 3] {
    let about = format!(
        "JSON messages of a market feed, all of them different, over loopback TCP: {CONNECTIONS} connections, \
         {IN_FLIGHT} messages in flight on each; level {LEVEL}, windows of 32 KiB, by the best loop. Each end compresses \
         for itself, the load generator without context takeover: the server inflates and compresses each message, \
         either without context takeover or with it. All answers came compressed. A dash: it has no compression."
    );
    let table = |title: &str, unit| section(title, unit, &about, peers);
    let mut tables = [
        table("permessage-deflate, echo: server CPU", "ns of server CPU per message"),
        table("permessage-deflate, echo: messages per second", "messages per second"),
        table(
            "permessage-deflate, echo: compressed size",
            "bytes of payload data that the server sends per message",
        ),
    ];
    for cell in &CELLS {
        tables[0].add_row(cell.label, Better::Lower, Target::TimesBest(cell.target), true);
        tables[1].add_row(cell.label, Better::Higher, Target::None, false);
        tables[2].add_row(cell.label, Better::Lower, Target::TimesBest(AS_SMALL), false);
    }
    tables
}

/// Creates a table with a column for each peer. Those with a level of their own are not compared.
fn section(title: &str, unit: &'static str, about: &str, peers: &[&dyn Peer]) -> Section {
    let mut section = Section::new(title, unit, about, peers);
    section.all_columns = true;
    for (column, peer) in section.columns.iter_mut().zip(peers) {
        if MODES.iter().any(|&(takeover, _)| peer.compresses(takeover) == Compresses::AtItsOwnLevel) {
            column.standing = Standing::Apart;
        }
    }
    section
}

/// Returns windows of messages of this length, at least [`VARIETY`] bytes in total.
fn windows(size: usize) -> &'static [Window] {
    let mut feed = Feed::new();
    let count = VARIETY.div_ceil(size * IN_FLIGHT).max(2);
    let windows: Vec<Window> = (0..count).map(|_| Window::new(&mut feed, size, IN_FLIGHT)).collect();
    windows.leak()
}

/// Returns the first window of a connection, so that connections send different messages.
fn first_of(connection: usize, windows: &[Window]) -> usize {
    connection * windows.len() / CONNECTIONS
}

/// Runs a load and measures the server. Also returns the number of payload bytes received per
/// message.
async fn measure(
    settings: &Settings,
    peer: &dyn Peer,
    takeover: Takeover,
    windows: &'static [Window],
) -> Result<(Sample, f64)> {
    let child = Child::start(peer, Job::Compressed(takeover, Manner::Best))?;
    let first = |connection| &windows[first_of(connection, windows)];
    let clients = open_many(child.address, takeover, CONNECTIONS, first).await?;
    let (done, bytes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let mut tasks = Vec::new();
    for (connection, client) in clients.into_iter().enumerate() {
        let next = first_of(connection, windows) + 1;
        tasks.push(spawn_local(repeat(client, windows, next, done.clone(), bytes.clone())));
    }
    let sample = echo::observe(settings, &child, tasks, &done, IN_FLIGHT).await?;
    Ok((sample, bytes.get() as f64 / (done.get() * IN_FLIGHT as u64) as f64))
}

/// Exchanges and counts one window after the other until it is aborted.
async fn repeat(
    mut client: Client,
    windows: &'static [Window],
    next: usize,
    done: Rc<Cell<u64>>,
    bytes: Rc<Cell<u64>>,
) -> Result<()> {
    for window in windows.iter().cycle().skip(next) {
        let received = client.exchange(window).await?;
        bytes.set(bytes.get() + received);
        done.set(done.get() + 1);
    }
    Ok(())
}

fn memory(settings: &Settings, peers: &[&dyn Peer]) -> Result<Section> {
    let runtime = load::runtime()?;
    let files = machine::raise_file_limit()?.saturating_sub(OTHER_FILES);
    let count = settings.idle_compressed.min(files);
    ensure!(count > FIRST, "too few files may be open");
    let about = format!(
        "User-space bytes for each of {} idle connections over loopback TCP, by the plain loop, after one compressed echo \
         of 1 KiB on each: task, TCP stream and library. Resident memory (RSS), and what is allocated. A dash: it has no \
         compression.",
        whole(count)
    );
    let mut table = section("permessage-deflate: memory of an idle connection", "bytes", &about, peers);
    for (_, mode) in MODES {
        table.add_row(format!("{mode}, resident"), Better::Lower, Target::None, false);
        table.add_row(format!("{mode}, allocated"), Better::Lower, Target::None, false);
    }
    let window: &'static Window = Box::leak(Box::new(Window::new(&mut Feed::new(), KEPT, 1)));
    interleave(settings.rounds, MODES.len(), peers, |mode, column| {
        let (peer, takeover) = (peers[column], MODES[mode].0);
        if peer.compresses(takeover) == Compresses::No {
            return;
        }
        match runtime.block_on(measure_idle(peer, takeover, count, window)) {
            Ok((resident, allocated)) => {
                table.record(2 * mode, column, resident);
                table.record(2 * mode + 1, column, allocated);
            }
            Err(error) => table.fail(2 * mode, column, &error),
        }
    });
    Ok(table)
}

/// Returns the resident and allocated bytes of each connection.
async fn measure_idle(
    peer: &dyn Peer,
    takeover: Takeover,
    count: usize,
    window: &'static Window,
) -> Result<(f64, f64)> {
    let mut child = Child::start(peer, Job::CountCompressed(takeover, Manner::Plain))?;
    let _first = open_many(child.address, takeover, FIRST, |_| window).await?;
    let before = held(&mut child).await?;
    let mut clients = open_many(child.address, takeover, count, |_| window).await?;
    clients.iter_mut().for_each(Client::forget_room);
    let after = held(&mut child).await?;
    let more = |now: f64, before: f64| (now - before) / count as f64;
    Ok((more(after.0, before.0), more(after.1, before.1)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn messages_are_as_long_as_asked_and_all_different() {
        for cell in &CELLS {
            let messages: Vec<&String> =
                windows(cell.size).iter().flat_map(|window| &window.messages).collect();
            assert!(messages.iter().all(|message| message.len() == cell.size));
            assert_eq!(messages.iter().collect::<HashSet<_>>().len(), messages.len());
            assert!(messages.len() * cell.size >= VARIETY);
        }
    }
}
