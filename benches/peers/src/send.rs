//! Send, in memory: messages queued and flushed by the library, into a stream that discards them.

use anyhow::Result;
use bytes::Bytes;

use crate::{
    frames::Kind,
    load, machine,
    memory_stream::Memory,
    peers::{self, Manner, Peer, Role, Sending},
    receive::messages_in,
    report::{Better, Section, Target, interleave},
    settings::Settings,
};

const CELLS: [(Role, usize, &str, f64, bool); 4] = [
    (Role::Server, 16, "server, 16 B", 1.2, true),
    (Role::Server, 16 << 10, "server, 16 KiB", 1.0, false),
    (Role::Client, 16, "client, 16 B", 1.0, true),
    (Role::Client, 16 << 10, "client, 16 KiB", 1.0, true),
];

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let plain = measure_all(
        settings,
        Manner::Plain,
        "Send, in memory, each message flushed",
        "Binary messages, each sent and flushed by itself, into a stream that takes everything at once.",
    )?;
    let best = measure_all(
        settings,
        Manner::Best,
        "Send, in memory, a flush for 32 messages",
        "Binary messages, 32 fed and then flushed, into a stream that takes everything at once.",
    )?;
    Ok(vec![plain, best])
}

fn measure_all(settings: &Settings, manner: Manner, title: &str, about: &str) -> Result<Section> {
    let runtime = load::runtime()?;
    let peers = peers::active();
    let mut section = Section::new(title, "ns per message", about, &peers);
    let mut payloads = Vec::new();
    for (_, size, label, target, plotted) in CELLS {
        // The targets apply to messages that are flushed one by one.
        let target = if manner == Manner::Plain { Target::TimesBest(target) } else { Target::None };
        section.add_row(label, Better::Lower, target, plotted && manner == Manner::Plain);
        payloads.push(Bytes::from(Kind::Binary.payload(size)));
    }
    interleave(settings.rounds, CELLS.len(), &peers, |row, column| {
        let payload = payloads[row].clone();
        let messages = messages_in(settings, payload.len());
        let sending = Sending { role: CELLS[row].0, payload, messages, manner };
        match runtime.block_on(measure(peers[column], sending)) {
            Ok(Some(nanoseconds)) => section.record(row, column, nanoseconds),
            Ok(None) => {}
            Err(error) => section.fail(row, column, &error),
        }
    });
    Ok(section)
}

async fn measure(peer: &dyn Peer, sending: Sending) -> Result<Option<f64>> {
    let messages = sending.batches() * sending.batch();
    let Some(work) = peer.send(Memory::discard(), sending) else { return Ok(None) };
    let begin = machine::thread_time();
    work.await?;
    Ok(Some((machine::thread_time() - begin).as_nanos() as f64 / messages as f64))
}
