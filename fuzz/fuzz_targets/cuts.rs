//! Bytes divided into reads in any way, and messages received whole or in parts: the results are
//! the same.

#![no_main]

use std::array;

use arbitrary::Arbitrary;
use fullduplex::{Config, Role};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/drive.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod drive;

use drive::{drive, drive_in_parts};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    server: bool,
    /// How often the second half of the input is repeated, so that small inputs make large frames.
    repeat: u8,
    reads: [u16; 4],
    wire: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let role = if input.server { Role::Server } else { Role::Client };
    let config = Config::new().max_message_size(1 << 18).max_fragments(100);
    let mut wire = input.wire.to_vec();
    let tail = &input.wire[input.wire.len() / 2..];
    for _ in 0..input.repeat {
        wire.extend_from_slice(tail);
    }
    let whole = drive(role, &config, &wire, &[usize::MAX]);
    assert_eq!(whole, drive(role, &config, &wire, &[1]));
    let reads = input.reads.map(usize::from);
    assert_eq!(whole, drive(role, &config, &wire, &reads));

    // Of a message in parts, only the total length is limited.
    let config = config.max_frame_size(usize::MAX).max_fragments(u32::MAX);
    let whole = drive(role, &config, &wire, &[usize::MAX]);
    let parts: [bool; 8] = array::from_fn(|bit| input.repeat >> bit & 1 == 1);
    assert_eq!(whole, drive_in_parts(role, &config, &wire, &reads, &[true]));
    assert_eq!(whole, drive_in_parts(role, &config, &wire, &reads, &parts));
});
