//! The protocol core without a stream: the result is the same however the input is split.

mod support;

use bytes::BufMut;
use fullduplex::{
    CloseFrame, Config, Message, Role,
    proto::{ProtocolError, ReceivePath, Received, Want},
};
use proptest::prelude::*;
use support::{
    drive::{Outcome, drive, drive_in_parts},
    frames::{Frame, binary, close, close_empty, continuation, frame, ping, pong, text},
};

/// Generates frames that are mostly valid.
fn any_frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        8 => proptest::collection::vec(any::<u8>(), 0..140),
        8 => any::<String>().prop_map(String::into_bytes),
        1 => (0_usize..90_000, any::<u8>()).prop_map(|(len, byte)| vec![byte & 0x7F; len]),
    ];
    let opcode =
        prop_oneof![6 => Just(0), 6 => Just(1), 6 => Just(2), 3 => Just(9), 3 => Just(10), 1 => 0_u8..16];
    (opcode, payload, any::<[u8; 4]>(), 0_u8..100).prop_map(|(opcode, mut payload, key, odd)| {
        if opcode >= 8 {
            payload.truncate(125);
        }
        let frame = frame(opcode, payload).masked_with(key);
        match odd {
            0 => frame.rsv(4),
            1 => frame.length_bits(64),
            2..60 if opcode < 8 => frame.more(),
            _ => frame,
        }
    })
}

proptest! {
    #[test]
    fn the_result_is_the_same_however_the_input_is_split(
        frames in proptest::collection::vec(any_frame(), 0..12),
        cut in proptest::collection::vec(0_usize..300, 1..60),
        end in 0_usize..20,
    ) {
        let mut wire: Vec<u8> = frames.iter().flat_map(Frame::build).collect();
        wire.truncate(wire.len().saturating_sub(end));
        let config = Config::new().max_message_size(100_000).max_fragments(8);
        let whole = drive(Role::Server, &config, &wire, &[usize::MAX]);
        prop_assert_eq!(&whole, &drive(Role::Server, &config, &wire, &[1]));
        prop_assert_eq!(&whole, &drive(Role::Server, &config, &wire, &cut));
        prop_assert_eq!(&whole, &drive(Role::Server, &config, &wire, &[64 << 10]));
    }
}

proptest! {
    #[test]
    fn the_result_is_the_same_in_parts_and_whole(
        frames in proptest::collection::vec(any_frame(), 0..12),
        cut in proptest::collection::vec(0_usize..300, 1..60),
        parts in proptest::collection::vec(any::<bool>(), 1..20),
    ) {
        let wire: Vec<u8> = frames.iter().flat_map(Frame::build).collect();
        // Only the limit of the whole message applies to a reader.
        let config = Config::new().max_message_size(100_000).max_frame_size(usize::MAX).max_fragments(u32::MAX);
        let whole = drive(Role::Server, &config, &wire, &[usize::MAX]);
        prop_assert_eq!(&whole, &drive_in_parts(Role::Server, &config, &wire, &cut, &[true]));
        prop_assert_eq!(&whole, &drive_in_parts(Role::Server, &config, &wire, &cut, &parts));
    }
}

/// Returns what a client receives from these frames.
fn received(frames: &[Frame]) -> Vec<Outcome> {
    drive(Role::Client, &Config::new(), &support::frames::wire(frames), &[usize::MAX])
}

// RFC 6455 section 5.4.
#[test]
fn fragments_become_one_message_with_control_frames_handled_between_them() {
    assert_eq!(
        received(&[
            text("a").more(),
            ping("p"),
            continuation("b").more(),
            pong("q"),
            continuation("c"),
            close_empty()
        ]),
        [
            Outcome::Ping(b"p".to_vec()),
            Outcome::Pong(b"q".to_vec()),
            Outcome::Message(Message::from("abc")),
            Outcome::Close(None)
        ]
    );
}

// RFC 6455 section 1.4: data after a Close is discarded.
#[test]
fn nothing_is_received_after_a_close() {
    assert_eq!(
        received(&[close(1000, "bye"), text("late"), frame(3, "")]),
        [Outcome::Close(Some(CloseFrame::new(1000.into(), "bye").expect("valid")))]
    );
}

// RFC 6455 section 7.1.7.
#[test]
fn nothing_is_received_after_an_error() {
    assert_eq!(
        received(&[binary("ok"), continuation("x"), text("late")]),
        [Outcome::Message(Message::binary("ok")), Outcome::Error(ProtocolError::UnexpectedContinuation)]
    );
}

// RFC 6455 section 7.1.5.
#[test]
fn the_end_of_the_input_without_a_close_is_an_error() {
    assert_eq!(received(&[]), [Outcome::Error(ProtocolError::EofWithoutClose)]);
}

/// Receives the header and four bytes of a masked message of 100,000 bytes. Returns the rest of its
/// payload data, too.
fn begin_message(message: impl Fn(Vec<u8>) -> Frame) -> (ReceivePath, Vec<u8>) {
    let mut path = ReceivePath::new(Role::Server, &Config::new().max_message_size(100_000));
    let mut rest = message(vec![b'a'; 100_000]).masked().build();
    let mut start: Vec<u8> = rest.drain(..18).collect();
    assert_eq!(path.receive(&mut start).expect("valid").received, None);
    (path, rest)
}

#[test]
fn payload_data_without_a_call_of_payload_received_is_discarded() {
    let (mut path, mut rest) = begin_message(text);
    let Want::Payload(mut room) = path.want() else { panic!("a large frame is read into its own buffer") };
    room.put_slice(b"\xFF\xFF\xFF\xFF");
    let step = path.receive(&mut rest).expect("valid");
    let Some(Received::Message(message)) = step.received else { panic!("the message is complete") };
    assert_eq!(message, Message::from("a".repeat(100_000)));
}

#[test]
fn the_room_for_payload_data_ends_with_the_frame_however_often_it_is_requested() {
    let (mut path, _) = begin_message(binary);
    let mut len = 4;
    while len < 100_000 {
        for _ in 0..3 {
            let Want::Payload(mut room) = path.want() else { break };
            let more = room.remaining_mut();
            room.put_bytes(0, more);
        }
        let Want::Payload(mut room) = path.want() else { break };
        let more = room.remaining_mut();
        room.put_bytes(0, more);
        len += more;
        assert!(len <= 100_000, "{len}");
        assert!(path.payload_received().is_ok_and(|whole| whole.is_none_or(|whole| whole.len() == 100_000)));
    }
    assert_eq!(len, 100_000);
}
