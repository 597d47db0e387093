//! Random programs on two connected ends: whatever is sent, dropped, split, stalled and closed, in
//! any order, each message arrives once, complete and in order, no task waits for a lost wake-up,
//! and both ends reach the end. A message whose reader is dropped is skipped; a writer that is
//! dropped unfinished ends the connection, if anything of its message was queued. With the feature
//! `deflate`, one connection in eight is compressed, with random settings.
//!
//! The seed alone determines a program. `PROGRAM_SEED` runs the one that failed. `PROGRAM_STEPS`
//! runs for longer, and `PROGRAM_FROM` begins at another seed. A step is an operation or a poll.

#[path = "support/program/mod.rs"]
mod program;

use program::Program;

/// Takes about 10 seconds in a debug build, or 20 with compression.
const STEPS: u64 = 1_000_000;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
}

#[test]
fn messages_of_random_programs_arrive_once_in_order_and_no_task_waits_forever() {
    if let Some(seed) = number("PROGRAM_SEED") {
        Program::new(seed).run();
        return;
    }
    let (steps, from) = (number("PROGRAM_STEPS").unwrap_or(STEPS), number("PROGRAM_FROM").unwrap_or(0));
    let (mut taken, mut programs) = (0, 0);
    while taken < steps {
        taken += Program::new(from + programs).run();
        programs += 1;
    }
    println!("{taken} steps in {programs} programs");
}
