//! The document around the tables: the machine, the method, the versions, and notes on each column.

use std::fmt::Write;

use crate::{machine, peers, report::Section, settings::Settings};

/// The lock file, which has the versions that were built.
const LOCK: &str = include_str!("../Cargo.lock");

pub fn markdown(sections: &[&Section], command: &str, settings: &Settings) -> String {
    let mut out = format!(
        "# fullduplex and its peers\n\n\
         Made by `{command}` in `benches/peers`, {}.\n\n\
         Machine: {}. The server has one core, the load generator another; in memory there is one thread.\n\n\
         A figure is the median of the rounds; behind it in brackets, how many times the best peer that is. Lower is \
         better, except for what is per second. Targets are judged by the column `fullduplex`, those of memory by \
         the one without keep-alive, unless the table says otherwise. A dash: it has no such thing, or failed, which is said below its table. \
         A tilde: the largest of the rounds is more than 1.2 times the smallest, so that small differences mean nothing.\n\n",
        rounds(settings),
        machine::describe()
    );
    for section in sections {
        out.push_str(&section.to_markdown());
        out.push('\n');
    }
    put_columns(sections, &mut out);
    put_rules(&mut out);
    out
}

/// Returns the subtitle of the plot.
pub fn subtitle(settings: &Settings) -> String {
    format!("{}; medians, {}", machine::describe(), rounds(settings))
}

fn rounds(settings: &Settings) -> String {
    match settings.rounds {
        1 => "one round".to_owned(),
        rounds => format!("{rounds} rounds, the peers in turn"),
    }
}

/// Describes the columns of the tables.
fn put_columns(sections: &[&Section], out: &mut String) {
    out.push_str("## Columns\n\n| | version | |\n|---|---|---|\n");
    let occurs =
        |name| sections.iter().flat_map(|section| &section.columns).any(|column| column.name == name);
    for peer in peers::all().filter(|peer| occurs(peer.name())) {
        let version = peer.version().or_else(|| peer.package().and_then(version)).unwrap_or("");
        let _ = writeln!(out, "| {} | {version} | {} |", peer.name(), peer.notes());
    }
    out.push('\n');
}

fn put_rules(out: &mut String) {
    out.push_str(
        "All have the same runtime (tokio, one thread), accept loop, `TCP_NODELAY`, allocator (the system's), compiler \
         flags and profile (release, fat LTO, one codegen unit), and the defaults of their own configuration, unless the \
         column's line says otherwise. The load generator uses no WebSocket library; it checks the first answer of each \
         connection byte for byte, and the length of all others; compressed ones it inflates for that, and of the others \
         it sees that they are compressed. In memory, the first message is checked so. \
         uWebSockets is a program of its own, on the same core and with `TCP_NODELAY`.\n",
    );
}

/// Returns the version of a package from the lock file. If there are several, the last is the newest.
fn version(package: &str) -> Option<&'static str> {
    let (_, rest) = LOCK.rsplit_once(&format!("\nname = \"{package}\"\nversion = \""))?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_version() {
        for package in peers::all().filter_map(|peer| peer.package()) {
            assert!(version(package).is_some_and(|version| version.contains('.')), "{package}");
        }
    }
}
