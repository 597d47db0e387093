//! Random programs over the whole crate, on a simulated network and clock: clients over TLS, proxies
//! and HTTP/2, clients that connect again, members of rooms, and servers that come and go, while the
//! network delays, divides, loses and cuts off. What was acknowledged has arrived once, in order; no
//! message is delivered that was not sent; each connection ends in a way that fits what has happened
//! to it; and no task, connection, room or member remains.
//!
//! The seed alone determines a program. `NETWORK_PROGRAM_SEED` runs the one that failed.
//! `NETWORK_PROGRAM_STEPS` runs for longer, and `NETWORK_PROGRAM_FROM` begins at another seed. A step
//! is a call of the network or an action of an actor.
#![cfg(all(
    feature = "deflate",
    feature = "http2",
    feature = "hub",
    feature = "proxy",
    feature = "reconnect",
    feature = "serve",
    feature = "tls"
))]

#[path = "support/network/mod.rs"]
mod network;

use std::{
    collections::BTreeMap,
    process, thread,
    time::{Duration, Instant},
};

/// Takes about half a minute in a debug build, on an idle machine.
const STEPS: u64 = 1_000_000;

/// The longest time of a program, which takes less than two seconds in a debug build. Simulated time
/// stands still while a task spins, so only this ends it.
const SPINS: Duration = Duration::from_secs(1200);

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
}

/// Runs a program, and ends the process if it spins.
fn run(seed: u64) -> network::Report {
    let program = thread::spawn(move || network::run(seed));
    let began = Instant::now();
    while !program.is_finished() {
        if began.elapsed() > SPINS {
            eprintln!("NETWORK_PROGRAM_SEED={seed} spins: a task is woken for ever, and no time passes");
            process::abort();
        }
        thread::sleep(Duration::from_millis(2));
    }
    program.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[test]
fn what_was_acknowledged_arrives_once_in_order_and_nothing_remains() {
    if let Some(seed) = number("NETWORK_PROGRAM_SEED") {
        println!("{:#?}", run(seed));
        return;
    }
    let steps = number("NETWORK_PROGRAM_STEPS").unwrap_or(STEPS);
    let from = number("NETWORK_PROGRAM_FROM").unwrap_or(0);
    let (mut taken, mut programs, mut counts) = (0, 0, BTreeMap::new());
    while taken < steps {
        let report = run(from + programs);
        taken += report.steps;
        programs += 1;
        for (what, count) in report.counts {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    println!("{taken} steps in {programs} programs: {counts:#?}");
    if steps >= STEPS {
        network::coverage::assert_complete(&counts);
    }
}

#[test]
fn a_seed_determines_each_step() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
