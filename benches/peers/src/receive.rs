//! Receive, in memory: masked frames to whole verified messages, in the server role, without
//! sockets.

use anyhow::Result;
use bytes::Bytes;

use crate::{
    frames::{Kind, wire_of},
    load, machine,
    memory_stream::Memory,
    peers::{self, Peer, Tally},
    report::{Better, Section, Target, interleave},
    settings::Settings,
};

/// Size, kind, label, target, and whether the row is plotted.
const CELLS: [(usize, Kind, &str, f64, bool); 8] = [
    (16, Kind::Binary, "16 B binary", 0.4, true),
    (128, Kind::Ascii, "128 B text", 0.4, true),
    (1 << 10, Kind::Ascii, "1 KiB text, ASCII", 0.65, true),
    (1 << 10, Kind::Mixed, "1 KiB text, mixed UTF-8", 0.8, false),
    (16 << 10, Kind::Binary, "16 KiB binary", 0.95, false),
    (16 << 10, Kind::Ascii, "16 KiB text, ASCII", 0.9, true),
    (128 << 10, Kind::Binary, "128 KiB binary", 1.0, false),
    (128 << 10, Kind::Ascii, "128 KiB text, ASCII", 0.85, true),
];

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    let peers = peers::active();
    let mut section = Section::new(
        "Receive, in memory",
        "ns per message",
        "Server role: masked frames in, whole messages out, text checked, no sockets.",
        &peers,
    );
    let mut wires = Vec::new();
    for (size, kind, label, target, plotted) in CELLS {
        section.add_row(label, Better::Lower, Target::TimesBest(target), plotted);
        let payload = Bytes::from(kind.payload(size));
        wires.push((wire_of(kind, &payload), payload, kind));
    }
    interleave(settings.rounds, CELLS.len(), &peers, |row, column| {
        let (wire, payload, kind) = &wires[row];
        let messages = messages_in(settings, payload.len());
        let tally = Tally::new(payload.clone(), messages, kind.is_text());
        let measured = runtime.block_on(measure(peers[column], wire.clone(), tally));
        match measured {
            Ok(Some(nanoseconds)) => section.record(row, column, nanoseconds),
            Ok(None) => {}
            Err(error) => section.fail(row, column, &error),
        }
    });
    Ok(vec![section])
}

/// Returns the number of messages that take about the time of one sample.
pub fn messages_in(settings: &Settings, size: usize) -> u64 {
    let nanoseconds = 40.0 + size as f64 / 16.0;
    ((settings.in_memory.as_nanos() as f64 / nanoseconds) as u64).max(64)
}

async fn measure(peer: &dyn Peer, wire: Bytes, tally: Tally) -> Result<Option<f64>> {
    let Some(work) = peer.receive(Memory::replay(wire), tally) else { return Ok(None) };
    let begin = machine::thread_time();
    let tally = work.await?;
    Ok(Some((machine::thread_time() - begin).as_nanos() as f64 / tally.messages as f64))
}
