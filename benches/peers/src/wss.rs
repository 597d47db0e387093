//! WebSocket over TLS: echo, handshakes, and the memory of an idle connection.

use std::rc::Rc;

use anyhow::{Result, ensure};
use tokio::task::LocalSet;
use tokio_rustls::rustls::client::Resumption;

use crate::{
    child::{Child, Job},
    echo::{self, Sample},
    frames::{Kind, Window},
    handshakes,
    load::{self, OPENING},
    machine,
    memory::{self, FIRST, OTHER_FILES},
    peers::{self, Manner, Peer},
    report::{Better, Section, Target, interleave, whole},
    settings::Settings,
    tls::{Connector, Identity},
};

/// A column that differs from another one only after the handshakes.
const SAME_HANDSHAKES: &str = "fullduplex, split";

/// What all tables have in common.
const TLS: &str = "TLS 1.3 by tokio-rustls with ring, with the same settings for all, over loopback TCP. fullduplex calls it \
                   by its own acceptor, which reads more from the socket at a time. The bare loop is TLS without a \
                   WebSocket library. fastwebsockets, sockudo-ws, web-socket and soketto are not measured over TLS.";

struct Load {
    connections: usize,
    in_flight: usize,
    size: usize,
    label: &'static str,
    target: f64,
}

const CELLS: [Load; 3] = [
    Load { connections: 50, in_flight: 1, size: 64, label: "50 x 1 x 64 B", target: 1.0 },
    Load { connections: 50, in_flight: 32, size: 64, label: "50 x 32 x 64 B", target: 0.8 },
    Load { connections: 4, in_flight: 1, size: 1_000_000, label: "4 x 1 x 1 MB", target: 1.0 },
];

/// The target for memory, as a multiple of the best peer.
const MEMORY: f64 = 0.7;

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let identity = Identity::new()?;
    let [cpu, rate] = echoes(settings, &identity)?;
    Ok(vec![cpu, rate, handshakes(settings, &identity)?, memory(settings, &identity)?])
}

/// Returns the libraries that are measured over TLS.
fn over_tls(peers: Vec<&'static dyn Peer>) -> Vec<&'static dyn Peer> {
    peers.into_iter().filter(|peer| peer.serve_tls().is_some()).collect()
}

fn echoes(settings: &Settings, identity: &Identity) -> Result<[Section; 2]> {
    let runtime = load::runtime()?;
    let peers = over_tls(peers::active());
    let about = format!(
        "Connections x messages in flight on each x size; binary messages, each by the best loop that its API allows. {TLS}"
    );
    let table = |title: &str, unit| Section::new(title, unit, &about, &peers);
    let mut tables = [
        table("Over TLS, echo: server CPU", "ns of server CPU per message"),
        table("Over TLS, echo: messages per second", "messages per second"),
    ];
    for cell in &CELLS {
        tables[0].add_row(cell.label, Better::Lower, Target::TimesBest(cell.target), false);
        tables[1].add_row(cell.label, Better::Higher, Target::None, false);
    }
    let windows = CELLS.map(|cell| Window::new(Kind::Binary, cell.size, cell.in_flight));
    let connector = identity.connector(Resumption::disabled())?;
    interleave(settings.rounds, CELLS.len(), &peers, |row, column| {
        let work = echo(settings, peers[column], identity, &connector, CELLS[row].connections, &windows[row]);
        match LocalSet::new().block_on(&runtime, work) {
            Ok(sample) => {
                tables[0].record(row, column, sample.cpu_nanoseconds);
                tables[1].record(row, column, sample.messages_per_second);
            }
            Err(error) => tables[0].fail(row, column, &error),
        }
    });
    Ok(tables)
}

async fn echo(
    settings: &Settings,
    peer: &dyn Peer,
    identity: &Identity,
    connector: &Connector,
    count: usize,
    window: &Window,
) -> Result<Sample> {
    let child = Child::start_over_tls(peer, Job::Echo(Manner::Best), identity)?;
    let open = || connector.clone().open(child.address);
    let connections = load::open_many_by(open, count, OPENING).await?;
    echo::measure_over(settings, &child, connections, window).await
}

/// Whether a TLS handshake continues an earlier session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Full,
    Resumed,
}

fn handshakes(settings: &Settings, identity: &Identity) -> Result<Section> {
    let runtime = load::runtime()?;
    let mut peers = over_tls(peers::active());
    peers.retain(|peer| peer.name() != SAME_HANDSHAKES);
    let about = format!(
        "TCP connection, TLS handshake, and the library's own opening handshake, {OPENING} at a time, to the end of the \
         connection. Full: the server signs by ECDSA (P-256); resumed: by a ticket of an earlier connection, without a \
         signature. The load generator verifies the certificate on its core, which may limit the rate. yawc opens \
         connections by hyper. {TLS}"
    );
    let mut section = Section::new("Over TLS, handshakes", "as the row says", &about, &peers);
    for kind in ["full", "resumed"] {
        let cpu = format!("{kind}, ns of server CPU per handshake");
        section.add_row(cpu, Better::Lower, Target::None, false);
        section.add_row(format!("{kind}, handshakes per second"), Better::Higher, Target::None, false);
    }
    interleave(settings.rounds, 2, &peers, |kind, column| {
        let session = if kind == 0 { Session::Full } else { Session::Resumed };
        match LocalSet::new().block_on(&runtime, shake_hands(settings, peers[column], identity, session)) {
            Ok((cpu, rate)) => {
                section.record(2 * kind, column, cpu);
                section.record(2 * kind + 1, column, rate);
            }
            Err(error) => section.fail(2 * kind, column, &error),
        }
    });
    Ok(section)
}

async fn shake_hands(
    settings: &Settings,
    peer: &dyn Peer,
    identity: &Identity,
    session: Session,
) -> Result<(f64, f64)> {
    let child = Child::start_over_tls(peer, Job::Open, identity)?;
    let connectors = Rc::new(connectors(identity, session)?);
    let (address, all) = (child.address, connectors.clone());
    let rates = handshakes::measure_by(settings, &child, move |number| all[number].clone().open(address));
    let rates = rates.await?;
    for connector in connectors.iter() {
        let opened = connector.opened();
        // The first one has no ticket; of the first loop, a check comes before it.
        let as_asked = match session {
            Session::Full => opened.resumed.get() == 0,
            Session::Resumed => opened.full.get() <= 1,
        };
        ensure!(as_asked, "not {session:?}: {opened:?}");
    }
    Ok(rates)
}

/// Creates a connector for each loop that opens connections. If sessions are resumed, each has
/// tickets of its own: rustls stores eight per server, fewer than there are loops.
fn connectors(identity: &Identity, session: Session) -> Result<Vec<Connector>> {
    let resumption = || match session {
        Session::Full => Resumption::disabled(),
        Session::Resumed => Resumption::in_memory_sessions(1),
    };
    (0..OPENING).map(|_| identity.connector(resumption())).collect()
}

fn memory(settings: &Settings, identity: &Identity) -> Result<Section> {
    let runtime = load::runtime()?;
    let count = settings.idle_connections.min(machine::raise_file_limit()?.saturating_sub(OTHER_FILES));
    ensure!(count > FIRST, "too few files may be open");
    let peers = over_tls(peers::ALL.to_vec());
    let about = format!(
        "User-space bytes for each of {} idle connections: task, TCP stream, TLS and library, by the plain loop, after \
         one echo of 512 bytes. Resident memory (RSS), and what is allocated. The column `bare loop` tells what TLS alone \
         keeps, with a task and its TCP stream. The target is judged by the column `fullduplex`, which has keep-alive. {TLS}",
        whole(count)
    );
    let mut section = Section::new("Over TLS, memory of an idle connection", "bytes", &about, &peers);
    section.add_row("resident, after an echo", Better::Lower, Target::TimesBest(MEMORY), false);
    section.add_row("allocated, after an echo", Better::Lower, Target::TimesBest(MEMORY), false);
    let connector = identity.connector(Resumption::disabled())?;
    interleave(settings.rounds, 1, &peers, |_, column| {
        match runtime.block_on(hold(peers[column], identity, &connector, count)) {
            Ok([_, resident, _, allocated]) => {
                section.record(0, column, resident);
                section.record(1, column, allocated);
            }
            Err(error) => section.fail(0, column, &error),
        }
    });
    Ok(section)
}

async fn hold(peer: &dyn Peer, identity: &Identity, connector: &Connector, count: usize) -> Result<[f64; 4]> {
    let child = Child::start_over_tls(peer, Job::Count(Manner::Plain), identity)?;
    let address = child.address;
    memory::measure_by(child, count, || connector.clone().open(address)).await
}
