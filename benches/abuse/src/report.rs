//! The document: the machine, the method and the tables; and the samples as CSV.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};

use crate::{
    honest::LEN,
    limits::{FRAGMENTS, HEADER, MESSAGE, OPEN, PER_ADDRESS, SEND_BUFFER, THREAD, WRITE_BUFFER},
    machine,
    measure::{Held, Phase, Results, Sample},
    rows::Row,
    server::{end_name, refused_name},
    settings::Settings,
    verdict::{self, TIMES},
};

/// The lock file, which has the versions that were built.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// At most this many samples are shown in the table of a long run.
const SHOWN: usize = 24;

/// Returns the tables. `plot` is the name of the file with the plot, if there is one.
pub fn markdown(results: &Results, settings: &Settings, command: &str, plot: Option<&str>) -> Result<String> {
    let mut out = head(settings, command)?;
    put_honest(&mut out, results, settings);
    put_hostile(&mut out, results, settings);
    put_memory(&mut out, results, settings);
    put_time(&mut out, results, settings, plot);
    Ok(out)
}

fn head(settings: &Settings, command: &str) -> Result<String> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    // The day, without its name and the time.
    let day = date.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ");
    Ok(format!(
        "# Abuse beside honest load\n\n\
         Made by `{command}`, {day}.\n\n\
         Machine: {}. Versions: {}; tokio {}, fullduplex {}.\n\n\
         An echo server (`serve::Serve`, one thread) has one core. {} honest clients, each with one connection for the whole \
         run, send a message of {LEN} B each {} and check its echo; they have the other core. Latency is from before the \
         write to after the read. {} hostile clients do {} rows of [tests/HOSTILE.md](../tests/HOSTILE.md), each row an equal \
         share: each has one connection, and opens the next as soon as it is dropped, but at most one each {}. They have the \
         core of the honest clients, at a low priority, so that the time that they take is not measured as latency of \
         the server.\n\n\
         The server has the limits of a service for short messages: {} for a message, in at most {} fragments; {} queued for a \
         connection; {} for the head of a request; {} for an opening handshake, for a message from its first to its last byte, \
         and for a write without progress; {PER_ADDRESS} connections for each address (loopback has many); compression \
         without context takeover; keep-alive pings. The kernel's send buffers have {}. All else is the default.\n",
        machine::describe(),
        machine::compiler()?,
        version("tokio")?,
        version("fullduplex")?,
        whole(settings.honest as u64),
        span(settings.every),
        whole(settings.hostile as u64),
        settings.rows.all().count(),
        span(settings.pace),
        kib(MESSAGE),
        whole(FRAGMENTS.into()),
        kib(WRITE_BUFFER),
        kib(HEADER),
        span(settings.deadline),
        kib(SEND_BUFFER as usize),
    ))
}

fn put_honest(out: &mut String, results: &Results, settings: &Settings) {
    let _ = write!(
        out,
        "\n## Honest clients\n\n\
         All {} messages have come back, each as it was sent, and none of the {} connections has ended before it was closed. \
         The program fails otherwise.\n\n",
        whole(results.messages),
        whole(settings.honest as u64),
    );
    let phases = &results.phases;
    let mut line = |label: &str, cell: &dyn Fn(&Phase) -> String| {
        let cells: Vec<String> = phases.iter().map(cell).collect();
        let _ = writeln!(out, "| {label} | {} |", cells.join(" | "));
    };
    line("", &|phase| phase.name.to_owned());
    line("---", &|_| "---".to_owned());
    line("messages", &|phase| whole(phase.latencies.total()));
    for (label, share) in [("µs, p50", 0.5), ("µs, p99", 0.99), ("µs, p99.9", 0.999)] {
        line(label, &|phase| micros(phase.latencies.at(share)));
    }
    line("µs, max", &|phase| micros(phase.latencies.max()));
    line("processor time of the server", &|phase| percent(phase.server));
    line("of the honest clients", &|phase| percent(phase.clients));
    line("of the hostile clients", &|phase| percent(phase.hostile));
    line("of all other programs", &|phase| percent(phase.others));
    line("MB resident, server, at most", &|phase| megabytes(phase.resident));
    let times = verdict::times(results);
    let met = if times <= TIMES { "met" } else { "missed" };
    let _ = write!(
        out,
        "\nThe p99 beside hostile clients is {times:.2} times the quiet one; target: at most {TIMES}, {met}. Processor time is in \
         shares of a core; other programs delay all of these, so that the figures are those of the server only where there \
         is next to none.\n"
    );
}

fn put_hostile(out: &mut String, results: &Results, settings: &Settings) {
    out.push_str(
        "\n## Hostile connections\n\n\
         How connections have ended, as the server counts: by its close code and error, or because the client has gone. \
         The peers verify the codes, and that no end is another than the row requires.\n\n\
         | row | connections | what each does | ended |\n|---|---|---|---|\n",
    );
    for (row, share) in settings.rows.shares(settings.hostile) {
        let begins = end_name(Some(row), "");
        let counts = results.server.iter();
        let mut ends: Vec<String> = counts
            .filter_map(|(name, count)| Some(format!("{}: {}", name.strip_prefix(&begins)?, whole(*count))))
            .collect();
        if row == Row::SlowHandshake {
            ends.push(format!(
                "handshake timeout: {}",
                whole(count(results, &refused_name("handshake_timeout")))
            ));
        }
        let (number, share) = (row.number(), whole(share as u64));
        let _ = writeln!(out, "| {number} | {share} | {} | {} |", row.what(), ends.join("; "));
    }
    let refused: Vec<String> = ["connections", "connections_per_key", "handshakes", "status", "transport"]
        .into_iter()
        .filter_map(|reason| {
            Some((reason, count(results, &refused_name(reason)))).filter(|(_, count)| *count > 0)
        })
        .map(|(reason, count)| format!("`{reason}`: {}", whole(count)))
        .collect();
    if !refused.is_empty() {
        let _ = write!(out, "\nRefused before they were open: {}.\n", refused.join(", "));
    }
}

fn count(results: &Results, name: &str) -> u64 {
    results.server.get(name).copied().unwrap_or_default()
}

fn put_memory(out: &mut String, results: &Results, settings: &Settings) {
    let bound = verdict::bound(results, settings);
    let _ = write!(
        out,
        "\n## Memory\n\n\
         | server | connections | tasks | open files | MB resident |\n|---|---|---|---|---|\n",
    );
    let mut line = |name: &str, held: &Held| {
        let [open, tasks, files] = [held.open, held.tasks, held.files].map(whole);
        let _ = writeln!(out, "| {name} | {open} | {tasks} | {files} | {} |", megabytes(held.resident));
    };
    line("without clients", &results.empty);
    line("honest clients", &results.honest);
    line("hostile clients have gone", &results.honest_again);
    line("all have gone", &results.end);
    let met = if results.most <= bound { "met" } else { "missed" };
    let _ = write!(
        out,
        "\nAt most {} MB were resident, between samples each 100 ms. The limits allow {} MB: {met}. That is the sum of the \
         following, of {} MB for a server without clients, and of {} MB for the buffers of a thread.\n\n\
         | connections | KiB each | which are | MB |\n|---|---|---|---|\n",
        megabytes(results.most),
        megabytes(bound),
        megabytes(results.empty.resident),
        megabytes(THREAD as u64),
    );
    let mut line = |count: usize, what: String, bytes: usize, limits: &str| {
        let and = if limits.is_empty() { "" } else { ", and " };
        let _ = writeln!(
            out,
            "| {} {what} | {} | {} KiB for the task{and}{limits} | {} |",
            whole(count as u64),
            bytes.div_ceil(1 << 10),
            OPEN >> 10,
            megabytes((bytes * count) as u64),
        );
    };
    line(settings.honest, "honest".to_owned(), OPEN, "");
    for (row, share) in settings.rows.shares(settings.hostile) {
        line(share, format!("of row {}", row.number()), row.bytes(), row.limits());
    }
}

fn put_time(out: &mut String, results: &Results, settings: &Settings, plot: Option<&str>) {
    out.push_str("\n## Over time\n");
    if let Some(plot) = plot {
        let _ = write!(out, "\n![Memory of the server and latency of honest clients over time]({plot})\n");
    }
    let _ = write!(
        out,
        "\nSamples each {}, of which some are shown. The percentiles are those of the messages since the sample before.\n\n\
         | s |  | connections | MB resident | µs, p50 | µs, p99 |\n|---|---|---|---|---|---|\n",
        span(settings.sample),
    );
    let step = results.samples.len().div_ceil(SHOWN).max(1);
    for sample in results.samples.iter().step_by(step) {
        let _ = writeln!(
            out,
            "| {:.0} | {} | {} | {} | {} | {} |",
            sample.at.as_secs_f64(),
            sample.phase,
            whole(sample.open),
            megabytes(sample.resident),
            micros(sample.p50),
            micros(sample.p99),
        );
    }
}

/// Returns all samples, one per line.
pub fn csv(samples: &[Sample]) -> String {
    let mut out = "seconds,phase,connections,resident_bytes,p50_us,p99_us\n".to_owned();
    for Sample { at, phase, resident, open, p50, p99 } in samples {
        let (at, p50, p99) = (at.as_secs_f64(), p50.as_micros(), p99.as_micros());
        let _ = writeln!(out, "{at:.1},{phase},{open},{resident},{p50},{p99}");
    }
    out
}

fn micros(time: Duration) -> String {
    whole(time.as_micros() as u64)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

fn kib(bytes: usize) -> String {
    format!("{} KiB", bytes >> 10)
}

/// Formats a duration of whole seconds or milliseconds.
fn span(time: Duration) -> String {
    match time.as_millis() {
        1_000 => "second".to_owned(),
        millis if millis % 1_000 == 0 => format!("{} s", millis / 1_000),
        millis => format!("{millis} ms"),
    }
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

    #[test]
    fn numbers_have_separators() {
        assert_eq!([7, 999, 1_000, 1_234_567].map(whole), ["7", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn versions_are_in_the_lock_file() {
        for package in ["tokio", "fullduplex"] {
            assert!(version(package).is_ok_and(|version| version.contains('.')), "{package}");
        }
    }
}
