//! Any bytes, received in both roles: nothing panics, the limits hold, and an error is returned
//! once, at the end.

#![no_main]

use fullduplex::{Config, Role};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/drive.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod drive;

use drive::{Outcome, drive};

const MAX_MESSAGE: usize = 1 << 17;

fuzz_target!(|wire: &[u8]| {
    let config =
        Config::new().max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE / 2).max_fragments(100);
    for role in [Role::Client, Role::Server] {
        let outcomes = drive(role, &config, wire, &[usize::MAX]);
        for (at, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Outcome::Message(message) => assert!(message.len() <= MAX_MESSAGE),
                Outcome::Ping(payload) | Outcome::Pong(payload) => assert!(payload.len() <= 125),
                Outcome::Close(_) | Outcome::Error(_) => assert_eq!(at, outcomes.len() - 1),
            }
        }
    }
});
