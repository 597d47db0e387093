//! Bytes divided into reads in any way, and messages received whole or in parts: the results are
//! the same, also of compressed messages.

#![no_main]

use std::array;

use arbitrary::Arbitrary;
use fullduplex::{Config, Deflate, Role, proto::ReceivePath};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/drive.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod drive;

use drive::{Outcome, drive_path};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// 1: permessage-deflate was negotiated; 2: with context takeover.
    compression: u8,
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
    let receive = |config: &Config, reads: &[usize], parts: &[bool]| -> Vec<Outcome> {
        let mut path = ReceivePath::new(role, config);
        if input.compression & 1 == 1 {
            let settings = Deflate::new().context_takeover(input.compression & 2 == 2);
            path = path.with_deflate(settings.into());
        }
        drive_path(path, config.max_message_size as u64, &wire, reads, parts)
    };
    let whole = receive(&config, &[usize::MAX], &[false]);
    assert_eq!(whole, receive(&config, &[1], &[false]));
    let reads = input.reads.map(usize::from);
    assert_eq!(whole, receive(&config, &reads, &[false]));

    // Of a message in parts, only the total length is limited.
    let config = config.max_frame_size(usize::MAX).max_fragments(u32::MAX);
    let whole = receive(&config, &[usize::MAX], &[false]);
    let parts: [bool; 8] = array::from_fn(|bit| input.repeat >> bit & 1 == 1);
    assert_same(&whole, &receive(&config, &reads, &[true]), input.compression);
    assert_same(&whole, &receive(&config, &reads, &parts), input.compression);
});

/// Asserts that a message in parts makes no difference. In parts, a compressed message is decompressed
/// as its fragments arrive, and so its error precedes what came between them, and its end.
fn assert_same(whole: &[Outcome], parts: &[Outcome], compression: u8) {
    use fullduplex::proto::ProtocolError::{InvalidDeflate, InvalidUtf8, MessageTooBig};
    match parts {
        [before @ .., Outcome::Error(InvalidDeflate | InvalidUtf8 | MessageTooBig { .. })]
            if compression & 1 == 1 && whole != parts =>
        {
            let (same, rest) = whole.split_at(before.len());
            assert_eq!(same, before);
            assert!(
                !rest.iter().any(|outcome| matches!(outcome, Outcome::Message(_))),
                "{rest:?}, {parts:?}"
            );
        }
        _ => assert_eq!(whole, parts),
    }
}
