//! Routes of axum: axum's own WebSocket, and this crate's.

use anyhow::{Result, ensure};
use tokio::task::LocalSet;

use crate::{
    echo,
    frames::{Kind, Window},
    handshakes, load, machine,
    memory::{self, FIRST, OTHER_FILES},
    peers::{self, Manner, Peer, Standing},
    report::{Better, Section, Target, interleave, whole},
    settings::Settings,
};

struct Load {
    connections: usize,
    in_flight: usize,
    size: usize,
    label: &'static str,
    target: Target,
}

const CELLS: [Load; 3] = [
    Load { connections: 50, in_flight: 1, size: 64, label: "50 x 1 x 64 B", target: Target::TimesBest(0.85) },
    Load {
        connections: 50,
        in_flight: 32,
        size: 64,
        label: "50 x 32 x 64 B",
        target: Target::TimesBest(0.06),
    },
    Load { connections: 20, in_flight: 16, size: 1 << 10, label: "20 x 16 x 1 KiB", target: Target::None },
];

/// Bytes of an idle connection, after the upgrade and an echo.
const IDLE: f64 = 3000.0;

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let peers = peers::on_axum();
    let about = "Connections x messages in flight on each x size, over loopback TCP and HTTP/1.1. axum's own WebSocket is \
                 that of its feature `ws`, on tokio-tungstenite. Its column is the plain loop, with which targets are \
                 compared; the column `fullduplex` is without axum. Idle: user-space bytes of a connection after one \
                 echo of 512 bytes, by the plain loop.";
    let mut table = Section::new("Routes of axum: server", "as the row says", about, peers);
    for cell in &CELLS {
        let label = format!("{}, ns of CPU per message", cell.label);
        table.add_row(label, Better::Lower, cell.target, false);
    }
    table.add_row("handshakes, ns of CPU each", Better::Lower, Target::TimesBest(1.0), false);
    table.add_row("idle, resident bytes", Better::Lower, Target::AtMost(IDLE), false);
    table.add_row("idle, allocated bytes", Better::Lower, Target::AtMost(IDLE), false);
    echoes(settings, peers, &mut table)?;
    opening(settings, peers, &mut table)?;
    idle(settings, peers, &mut table)?;
    Ok(vec![table])
}

fn echoes(settings: &Settings, peers: &[&dyn Peer], table: &mut Section) -> Result<()> {
    let runtime = load::runtime()?;
    let windows = CELLS.map(|cell| Window::new(Kind::Binary, cell.size, cell.in_flight));
    interleave(settings.rounds, CELLS.len(), peers, |row, column| {
        let work =
            echo::measure(settings, peers[column], Manner::Best, CELLS[row].connections, &windows[row]);
        match LocalSet::new().block_on(&runtime, work) {
            Ok(sample) => table.record(row, column, sample.cpu_nanoseconds),
            Err(error) => table.fail(row, column, &error),
        }
    });
    Ok(())
}

fn opening(settings: &Settings, peers: &[&dyn Peer], table: &mut Section) -> Result<()> {
    let (runtime, row) = (load::runtime()?, CELLS.len());
    interleave(settings.rounds, 1, peers, |_, column| {
        // The same handshake as that of the column before.
        if peers[column].standing() == Standing::Apart {
            return;
        }
        match LocalSet::new().block_on(&runtime, handshakes::measure(settings, peers[column])) {
            Ok((cpu, _)) => table.record(row, column, cpu),
            Err(error) => table.fail(row, column, &error),
        }
    });
    Ok(())
}

fn idle(settings: &Settings, peers: &[&dyn Peer], table: &mut Section) -> Result<()> {
    let (runtime, row) = (load::runtime()?, CELLS.len() + 1);
    let count = settings.idle_connections.min(machine::raise_file_limit()?.saturating_sub(OTHER_FILES));
    ensure!(count > FIRST, "too few files may be open");
    eprintln!("{} idle connections", whole(count));
    interleave(settings.rounds, 1, peers, |_, column| {
        match runtime.block_on(memory::measure(peers[column], count)) {
            Ok([_, resident, _, allocated]) => {
                table.record(row, column, resident);
                table.record(row + 1, column, allocated);
            }
            Err(error) => table.fail(row, column, &error),
        }
    });
    Ok(())
}
