//! What is required of a run, and whether it is so.

use crate::{
    child::Counts,
    hostile::{End, UNEXPECTED, end_name},
    limits::{OPEN, THREAD},
    measure::{ABUSE, Phase, QUIET, Results},
    rows::Row,
    server::{ACCEPT_ERRORS, PANICS},
    settings::Settings,
};

/// How many times the quiet one the p99 may be beside hostile clients.
pub const TIMES: f64 = 2.0;

/// Returns the sum of the limits, in bytes: how much memory the server may have.
pub fn bound(results: &Results, settings: &Settings) -> u64 {
    let rows = settings.rows.shares(settings.hostile);
    let hostile: usize = rows.map(|(row, count)| row.bytes() * count).sum();
    results.empty.resident + (THREAD + settings.honest * OPEN + hostile) as u64
}

/// Returns by how many times the p99 grows beside hostile clients.
pub fn times(results: &Results) -> f64 {
    let p99 = |name| {
        let phase = results.phases.iter().find(|phase: &&Phase| phase.name == name);
        phase.map_or(f64::NAN, |phase| phase.latencies.at(0.99).as_secs_f64())
    };
    p99(ABUSE) / p99(QUIET)
}

/// Returns what is not as it has to be. Latency is not part of this: it depends on the machine.
///
/// That honest clients lose nothing, and that the server keeps no connection, is checked before.
pub fn faults(results: &Results, settings: &Settings) -> Vec<String> {
    let mut faults = Vec::new();
    let bound = bound(results, settings);
    if results.most > bound {
        faults.push(format!("{} bytes of memory, and the limits allow {bound}", results.most));
    }
    for (name, count) in &results.hostile {
        if name.starts_with(UNEXPECTED) {
            faults.push(format!("{count} times {name}"));
        }
    }
    for name in [PANICS, ACCEPT_ERRORS] {
        let count = results.server.get(name).copied().unwrap_or_default();
        if count > 0 {
            faults.push(format!("{count} {name}"));
        }
    }
    for row in settings.rows.all().filter(|row| !has_ended(&results.hostile, *row)) {
        faults.push(format!("no connection of row {} has ended", row.number()));
    }
    faults
}

/// Returns whether a connection of a row has ended in any way, after it was accepted.
pub fn has_ended(hostile: &Counts, row: Row) -> bool {
    let not_accepted = [End::Refused(503), End::Late].map(|end| end_name(row, &end));
    let begin = format!("row {}: ", row.number());
    hostile
        .keys()
        .any(|name| name.trim_start_matches(UNEXPECTED).starts_with(&begin) && !not_accepted.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_ended_once_a_connection_was_accepted() {
        let ended = |end: &str, row| has_ended(&Counts::from([(end.to_owned(), 1)]), row);
        assert!(ended("row 33: Close 1009", Row::EndlessFragments));
        assert!(ended("unexpected: row 33: dropped", Row::EndlessFragments));
        assert!(!ended("row 33: not open in time", Row::EndlessFragments));
        assert!(!ended("row 33: refused with 503", Row::EndlessFragments));
        assert!(!ended("row 34: Close 1008", Row::EndlessFragments));
    }
}
