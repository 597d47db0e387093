//! What the measured costs mean for a cluster, on paper.

use std::{fmt::Write, time::Duration};

use anyhow::{Context, Result};

use crate::{
    case::Figures,
    meter::Sample,
    report::whole,
    settings::{Durability, Place, Settings},
};

const SHARDS: [usize; 5] = [1, 2, 4, 8, 16];

/// About how many messages Redis 7.0 reads from the connection of a node before it stores them.
const PER_TURN: f64 = 40.0;

/// Processor time per message, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Costs {
    redis: f64,
    publishing: f64,
    passing: f64,
    /// What a further node with members of the room costs Redis.
    further: f64,
}

impl Costs {
    fn of(other: &Sample, both: &Sample) -> Self {
        let redis = other.micros(other.used.redis);
        Self {
            redis,
            publishing: other.micros(other.used.node_a),
            passing: other.micros(other.used.node_b),
            further: (both.micros(both.used.redis) - redis).max(0.0),
        }
    }
}

pub fn markdown(all: &[Figures], settings: &Settings, sync: Duration) -> Result<String> {
    let find = |durability, rooms, place| {
        let is_it = |figures: &&Figures| {
            let case = figures.case;
            (case.durability, case.rooms, case.place) == (durability, rooms, place)
        };
        all.iter().find(is_it).map(|figures| &figures.highest).context("a case is missing")
    };
    let costs = |rooms| {
        let find = |place| find(Durability::None, rooms, place);
        Ok::<_, anyhow::Error>(Costs::of(find(Place::Other)?, find(Place::Both)?))
    };
    let (one, many) = (costs(1)?, costs(settings.rooms)?);
    let durable = find(Durability::Always, settings.rooms, Place::Other)?;
    let mut out = "## On paper: the shards of a cluster\n\n".to_owned();
    put_cores(&mut out, one, many, settings.rooms);
    put_one(&mut out, one);
    put_many(&mut out, many, settings.rooms);
    put_nodes(&mut out, many);
    put_disk(&mut out, durable, sync);
    Ok(out)
}

/// Returns how many messages per second a core bears.
fn per_core(micros: f64) -> f64 {
    1e6 / micros
}

fn rounded(number: f64) -> String {
    whole(number.round() as u64)
}

fn put_cores(out: &mut String, one: Costs, many: Costs, rooms: usize) {
    out.push_str(
        "These figures follow from the processor time per message, without a file on the disk and with members on the \
         other node; they were not measured. A shard is a `redis-server`, which runs all scripts in one thread. \
         A core that does nothing else bears 1,000,000 / µs messages per second:\n\n\
         | | a shard | a node that publishes | a node that passes on |\n|---|---|---|---|\n",
    );
    for (what, costs) in [("1 room".to_owned(), one), (format!("{} rooms", whole(rooms as u64)), many)] {
        let _ = write!(out, "| {what} |");
        for micros in [costs.redis, costs.publishing, costs.passing] {
            let _ = write!(out, " 1,000,000 / {micros:.1} = {} |", rounded(per_core(micros)));
        }
        out.push('\n');
    }
}

fn put_one(out: &mut String, one: Costs) {
    let (shard, passing) = (per_core(one.redis), per_core(one.passing));
    let (name, least) =
        if shard < passing { ("its shard", shard) } else { ("a node that passes it on", passing) };
    let _ = write!(
        out,
        "\n**One room** is in one shard, whatever the number of shards, because its order is that of one stream. Each node \
         with members passes its messages on in that order, in one task. Only those who publish can be \
         spread over more nodes. So one room bears {} messages per second, which {name} limits, and further shards \
         do not change this.\n",
        rounded(least),
    );
}

fn put_many(out: &mut String, many: Costs, rooms: usize) {
    let _ = write!(
        out,
        "\n**{} rooms** are spread over the shards by the hashes of their names. How many a shard has is \
         a binomial distribution; the fullest one has about three standard deviations more than the mean. It is the first \
         that reaches its limit. Nodes are counted as cores, of which each node has one here:\n\n\
         | shards | rooms of a shard, mean | of the fullest | messages/s | cores of nodes that publish | that pass on |\n\
         |---|---|---|---|---|---|\n",
        whole(rooms as u64),
    );
    for shards in SHARDS {
        let (mean, fullest) = (rooms as f64 / shards as f64, fullest(rooms, shards));
        let rate = per_core(many.redis) * rooms as f64 / fullest;
        let _ = writeln!(
            out,
            "| {shards} | {} | {} | {} | {:.1} | {:.1} |",
            rounded(mean),
            rounded(fullest),
            rounded(rate),
            rate * many.publishing / 1e6,
            rate * many.passing / 1e6,
        );
    }
}

/// Returns how many rooms the fullest shard has, about.
fn fullest(rooms: usize, shards: usize) -> f64 {
    let (rooms, share) = (rooms as f64, 1.0 / shards as f64);
    (rooms * share + 3.0 * (rooms * share * (1.0 - share)).sqrt()).min(rooms)
}

fn put_nodes(out: &mut String, many: Costs) {
    let ten = many.redis + 9.0 * many.further;
    let _ = write!(
        out,
        "\n**Nodes.** Redis publishes a message to each node that has members of its room. By the rows `both nodes`, a \
         further one costs {:.1} µs. If all rooms have members on ten nodes, a message costs {:.1} + 9 × {:.1} = {ten:.1} µs, \
         and a shard bears {} messages per second. A node passes on all messages of the rooms that have members there: \
         more nodes help those who publish, and help members only if they have different rooms.\n",
        many.further,
        many.redis,
        many.further,
        rounded(per_core(ten)),
    );
}

fn put_disk(out: &mut String, durable: &Sample, sync: Duration) {
    let (sync, redis) = (sync.as_secs_f64() * 1e6, durable.micros(durable.used.redis));
    let turn = sync + PER_TURN * redis;
    let _ = write!(
        out,
        "\n**The disk.** With `appendfsync always`, Redis stores in each turn of its loop all that it has executed, once, and \
         then answers. In a turn it reads some 20 KiB of each connection. A message takes about 570 bytes as a request, \
         and a node publishes over one connection: it brings up to about {PER_TURN} messages in a turn, however many are in flight. \
         A turn takes {sync:.0} + {PER_TURN} × {redis:.1} = {turn:.0} µs, so one node publishes about {PER_TURN} / {turn:.0} µs = {} \
         messages per second. Two nodes that publish bring twice as many in a turn, which takes {PER_TURN} × {redis:.1} µs more. \
         Shards on disks of their own do not wait for one another.\n",
        rounded(PER_TURN * 1e6 / turn),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_shard_has_more_than_the_mean_and_not_more_than_all() {
        assert_eq!(fullest(1000, 1), 1000.0);
        assert_eq!(fullest(1000, 4).round(), 291.0);
        assert_eq!(fullest(1, 4), 1.0);
    }
}
