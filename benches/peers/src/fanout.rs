//! One message to thousands of members over loopback TCP, each of which also receives.

use anyhow::{Result, ensure};
use tokio::time::sleep;

use crate::{
    broadcast::{frame, receive_one},
    child::{Child, Job},
    load::{self, OPENING},
    machine,
    memory::{FIRST, OTHER_FILES, REST},
    peers::{self, Peer},
    report::{Better, Section, Target, interleave, whole},
    server::BROADCAST,
    settings::Settings,
};

/// Processor time in all, compared with the bare loop.
const CPU: Target = Target::TimesBare(1.15);

/// Processor time in user mode, compared with the better of the peers.
const USER: Target = Target::TimesBest(0.5);

/// The rows of one number of members.
const ROWS: [(&str, Target); 4] = [
    ("ns of server CPU each", CPU),
    ("ns of it in user mode", USER),
    ("µs until the last member has it", Target::None),
    ("resident bytes each", Target::None),
];

/// The broadcasts before the measured ones.
const WARM_UP: usize = 3;

pub fn run(settings: &Settings) -> Result<Vec<Section>> {
    let runtime = load::runtime()?;
    let most = machine::raise_file_limit()?.saturating_sub(OTHER_FILES);
    let counts = settings.members.map(|members| members.min(most));
    ensure!(counts.iter().all(|&members| members > FIRST), "too few files may be open");
    let about = format!(
        "A binary message of {} bytes to all members over loopback TCP, while a task for each member receives; one \
         thread. Processor time from the order until all have received it, divided by the members, as the mean of about \
         {} messages to members. The kernel samples the part in user mode by its ticks. Memory is user-space bytes \
         before the first message. The bare loop writes a frame to one socket after the other. Targets are for \
         all columns of the hub.",
        BROADCAST.len(),
        whole(settings.fanned_out)
    );
    let by_rooms = "The same with the members spread over 1,000 rooms, and a message to each room. The bare loop writes in \
                    the same order.";
    let mut tables = [
        (section("Members in one room", &about, peers::IN_ONE_ROOM, counts), peers::IN_ONE_ROOM),
        (section("Members in 1,000 rooms", by_rooms, peers::IN_ROOMS, counts), peers::IN_ROOMS),
    ];
    for (section, peers) in &mut tables {
        interleave(settings.rounds, counts.len(), peers, |count, column| {
            let first = count * ROWS.len();
            match runtime.block_on(measure(settings, peers[column], counts[count])) {
                Ok(values) => {
                    for (row, value) in values.into_iter().enumerate() {
                        section.record(first + row, column, value);
                    }
                }
                Err(error) => section.fail(first, column, &error),
            }
        });
    }
    Ok(tables.map(|(section, _)| section).into())
}

/// Returns an empty table.
fn section(title: &str, about: &str, peers: &[&dyn Peer], counts: [usize; 2]) -> Section {
    let mut section = Section::new(title, "as the row says", about, peers);
    section.judges_all = true;
    for members in counts {
        for (label, target) in ROWS {
            let label = format!("{} members, {label}", whole(members));
            section.add_row(label, Better::Lower, target, false);
        }
    }
    section
}

/// Returns the figures in the order of the rows.
async fn measure(settings: &Settings, peer: &dyn Peer, members: usize) -> Result<[f64; ROWS.len()]> {
    let mut child = Child::start(peer, Job::Broadcast(members))?;
    let mut connections = load::open_many(child.address, FIRST, OPENING).await?;
    sleep(REST).await;
    let before = child.resident_bytes()? as f64;
    connections.extend(load::open_many(child.address, members - FIRST, OPENING).await?);
    let joined: usize = child.answer()?.parse()?;
    ensure!(joined == members, "{joined} members have joined");
    sleep(REST).await;
    let resident = (child.resident_bytes()? as f64 - before) / (members - FIRST) as f64;

    let frame = frame();
    for turn in 0..WARM_UP {
        receive_one(&mut child, &mut connections, &frame, turn == 0).await?;
    }
    let broadcasts = settings.fanned_out.div_ceil(members);
    let (cpu, user) = (child.cpu_time()?, child.user_time()?);
    let mut elapsed = 0.0;
    for _ in 0..broadcasts {
        elapsed += receive_one(&mut child, &mut connections, &frame, false).await?.as_nanos() as f64;
    }
    let cpu = child.cpu_time()?.saturating_sub(cpu).as_nanos() as f64;
    let user = child.user_time()?.saturating_sub(user).as_nanos() as f64;
    let messages = (broadcasts * members) as f64;
    Ok([cpu / messages, user / messages, elapsed / 1e3 / broadcasts as f64, resident])
}
