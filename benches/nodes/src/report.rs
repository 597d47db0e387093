//! The document: the machine, the method, the tables, and what follows from them.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};

use crate::{
    case::Figures,
    growth, machine,
    message::LEN,
    meter::Sample,
    node::HISTORY,
    redis_server,
    settings::{Durability, Settings},
};

/// The lock file, which has the versions that were built.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// A process that uses more of a core than this is at its limit.
const FULL: f64 = 0.9;

pub fn markdown(all: &[Figures], command: &str, settings: &Settings) -> Result<String> {
    let directory = redis_server::directory()?;
    let sync = machine::sync_time(directory.path())?;
    let mut out = head(all, command, settings, sync)?;
    for durability in [Durability::None, Durability::Always] {
        let figures: Vec<&Figures> =
            all.iter().filter(|figures| figures.case.durability == durability).collect();
        if figures.is_empty() {
            continue;
        }
        let options: Vec<String> = durability.options().iter().map(|option| format!("`{option}`")).collect();
        let _ = writeln!(out, "\n## Redis with {}\n", options.join(", "));
        put_rates(&mut out, &figures);
        put_latencies(&mut out, &figures);
    }
    if all.len() == settings.cases().len() {
        out.push('\n');
        out.push_str(&growth::markdown(all, settings, sync)?);
    }
    Ok(out)
}

fn head(all: &[Figures], command: &str, settings: &Settings, sync: Duration) -> Result<String> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    // The day, without its name and the time.
    let day = date.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ");
    let messages: u64 = all.iter().map(|figures| figures.messages).sum();
    Ok(format!(
        "# Two nodes over Redis\n\n\
         Made by `{command}`, {day}.\n\n\
         Machine: {}. Its disk stores 4 KiB at the end of a file in {} µs (`fdatasync`, median).\n\n\
         Versions: {}; Redis {}; redis {}, tokio {}, fullduplex {}.\n\n\
         Node A and node B are processes of one thread, each with a hub on Redis and a WebSocket server; \
         so is the load, which has all clients. Everything is on one machine, over loopback TCP. {} senders are \
         connected to node A, which publishes their messages, one after the other for each connection, and \
         acknowledges each with its offset. A room has one member: on the other node, on the same node as the senders, or \
         one on either. A message has {LEN} bytes. A room keeps {HISTORY} messages.\n\n\
         All {} messages have arrived at all members of their rooms, each once and in the order of the room. The program fails \
         if one has not.\n",
        machine::describe(),
        sync.as_micros(),
        machine::compiler()?,
        redis_server::version()?,
        version("redis")?,
        version("tokio")?,
        version("fullduplex")?,
        settings.senders,
        whole(messages),
    ))
}

fn put_rates(out: &mut String, figures: &[&Figures]) {
    out.push_str(
        "The highest rate: each sender sends its next message once the last one is acknowledged and has arrived at all \
         members. Processor time in cores, and in µs per message. The limit is a core that is used up, or `waiting`: all \
         senders wait for a message that is on its way, and no core is used up.\n\n\
         | | members | messages/s | Redis | node A | node B | load | idle | Redis, µs | node A, µs | node B, µs | limit |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for Figures { case, highest, .. } in figures {
        let _ = write!(out, "| {} | {} | {} |", case.rooms_text(), case.place, whole(highest.rate as u64));
        for cores in highest.used.named().map(|(_, cores)| cores).into_iter().chain([highest.used.idle]) {
            let _ = write!(out, " {cores:.2} |");
        }
        for cores in [highest.used.redis, highest.used.node_a, highest.used.node_b] {
            let _ = write!(out, " {:.1} |", highest.micros(cores));
        }
        let _ = writeln!(out, " {} |", limit(highest, machine::cores() as f64));
    }
}

/// Returns what limits a rate.
fn limit(sample: &Sample, cores: f64) -> String {
    let used = sample.used.named();
    let (name, most) = used.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default();
    let others = cores - sample.used.idle - used.iter().map(|(_, cores)| cores).sum::<f64>();
    if most > FULL {
        format!("the core of {name}")
    } else if sample.used.idle > (1.0 - FULL) * cores {
        format!("waiting; {name} uses most")
    } else if others > 0.25 * cores {
        format!("{others:.2} cores are used by others")
    } else {
        format!("all cores; {name} uses most")
    }
}

fn put_latencies(out: &mut String, figures: &[&Figures]) {
    out.push_str(
        "\nLatency at a given rate, in ms, from the time at which a message was to be sent to its arrival at the member, \
         whether it was sent late or not. `late` is how late it was sent.\n\n\
         | | members | messages/s | p50 | p99 | max | late, p50 | late, p99 |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for Figures { case, paced, .. } in figures {
        for paced in paced {
            let times =
                [paced.latency.p50, paced.latency.p99, paced.latency.max, paced.late.p50, paced.late.p99];
            let _ = write!(out, "| {} | {} | {} |", case.rooms_text(), case.place, whole(paced.rate as u64));
            for time in times {
                let _ = write!(out, " {} |", millis(time));
            }
            out.push('\n');
        }
    }
}

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// Formats a number, with thousands separators.
pub fn whole(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut out = digits[..first].to_owned();
    for at in (first..digits.len()).step_by(3) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&digits[at..at + 3]);
    }
    out
}

/// Returns the version of a package from the lock file.
fn version(package: &str) -> Result<&'static str> {
    let (_, rest) =
        LOCK.split_once(&format!("\nname = \"{package}\"\nversion = \"")).context("no such package")?;
    Ok(rest.split_once('"').context("a version ends")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Cores;

    #[test]
    fn numbers_have_separators() {
        assert_eq!([7, 999, 1_000, 1_234_567].map(whole), ["7", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn versions_are_in_the_lock_file() {
        for package in ["redis", "tokio", "fullduplex"] {
            assert!(version(package).is_ok_and(|version| version.contains('.')), "{package}");
        }
    }

    #[test]
    fn the_limit_is_a_full_core_or_a_full_machine() {
        let limit = |redis, idle| {
            let used = Cores { redis, node_a: 0.5, node_b: 0.2, load: 0.4, idle };
            super::limit(&Sample { rate: 1.0, used }, 2.0)
        };
        assert_eq!(limit(0.95, 0.0), "the core of Redis");
        assert_eq!(limit(0.8, 0.0), "all cores; Redis uses most");
        assert_eq!(limit(0.3, 0.0), "0.60 cores are used by others");
        assert_eq!(limit(0.3, 0.6), "waiting; node A uses most");
    }
}
