//! Any bytes as the payload data of compressed messages, divided into frames and reads in any way,
//! whole or in parts: nothing panics, it terminates, the limit holds, and the result does not
//! depend on the division.

#![no_main]

use arbitrary::Arbitrary;
use fullduplex::{
    Config, Deflate, Role,
    proto::{ProtocolError, ReceivePath},
};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/drive.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod drive;
#[path = "../../tests/support/frames.rs"]
#[allow(dead_code, reason = "shared with other targets")]
mod frames;

use drive::{Outcome, drive_path};
use frames::{Frame, continuation, frame};

const MAX_MESSAGE: usize = 1 << 18;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    takeover: bool,
    text: bool,
    reads: [u16; 4],
    frames: [u16; 3],
    parts: u8,
    /// How often the payload data is repeated in a message.
    repeat: u8,
    /// Where the second message begins.
    second: u16,
    payloads: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let settings = Deflate::new().context_takeover(input.takeover);
    let config =
        Config::new().max_message_size(MAX_MESSAGE).max_frame_size(usize::MAX).max_fragments(u32::MAX);
    let opcode = if input.text { 1 } else { 2 };
    let (first, second) = input.payloads.split_at(input.payloads.len().min(input.second.into()));
    let payloads = [first, second].map(|payload| payload.repeat(1 + usize::from(input.repeat)));
    let receive = |cuts: &[u16], reads: &[usize], parts: &[bool]| {
        let frames: Vec<_> = payloads.iter().flat_map(|payload| fragments(opcode, payload, cuts)).collect();
        let path = ReceivePath::new(Role::Client, &config).with_deflate(settings.into());
        let outcomes = drive_path(path, MAX_MESSAGE as u64, &frames::wire(&frames), reads, parts);
        let (last, messages) = outcomes.split_last().expect("at least the end");
        let messages: Vec<_> = messages
            .iter()
            .map(|outcome| match outcome {
                Outcome::Message(message) => message.clone(),
                other => panic!("{other:?} before the end"),
            })
            .collect();
        assert!(messages.iter().all(|message| message.len() <= MAX_MESSAGE));
        let Outcome::Error(error) = last else { panic!("{last:?} at the end") };
        // Which of the two errors of one message is returned depends on the division.
        (messages, *error != ProtocolError::EofWithoutClose)
    };
    let whole = receive(&[], &[usize::MAX], &[false]);
    let reads = input.reads.map(usize::from);
    assert_eq!(whole, receive(&[], &reads, &[false]));
    assert_eq!(whole, receive(&input.frames, &reads, &[false]));
    let parts = [true, input.parts & 1 == 1, input.parts & 2 == 2];
    assert_eq!(whole, receive(&input.frames, &reads, &parts));
});

/// Returns a compressed message in frames of these lengths, followed by one with the rest.
fn fragments(opcode: u8, mut payload: &[u8], cuts: &[u16]) -> Vec<Frame> {
    let Some((first, cuts)) = cuts.split_first() else { return vec![frame(opcode, payload).rsv(4)] };
    let mut next = |len: u16| {
        let (part, rest) = payload.split_at(payload.len().min(len.into()));
        payload = rest;
        part
    };
    let mut frames = vec![frame(opcode, next(*first)).rsv(4).more()];
    frames.extend(cuts.iter().map(|len| continuation(next(*len)).more()));
    frames.push(continuation(payload));
    frames
}
