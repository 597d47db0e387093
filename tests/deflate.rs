//! Receiving compressed messages (RFC 7692), valid and invalid: rows 25 and 41 to 44 of
//! `HOSTILE.md`.
#![cfg(feature = "deflate")]

mod support;

use std::pin::pin;

use fullduplex::{
    Config, Deflate, Error, Message,
    Role::{self, Client, Server},
    proto::{ProtocolError, ReceivePath},
};
use support::{
    deflate::{self, TAIL, Zip, json, literal, noise, quiet, received, stored, takeovers, zip},
    drive::{Outcome, drive_path},
    finished,
    frames::{Frame, binary, close, continuation, frame, ping, pong, text},
    offence::{assert_close, offence, wire_to},
    pending,
};

const RSV1: u8 = 4;

/// "Hello", and the same as a back-reference to an earlier "Hello" (RFC 7692 section 7.2.3.2).
const HELLO: &[u8] = b"\xF2\x48\xCD\xC9\xC9\x07\x00";
const HELLO_AGAIN: &[u8] = b"\xF2\x00\x11\x00\x00";

/// "Hello" as a block with BFINAL set (RFC 7692 section 7.2.3.4).
const FINAL_HELLO: &[u8] = b"\xF3\x48\xCD\xC9\xC9\x07\x00";

/// Returns the payload data of a compressed message.
type Encoder = fn(&[u8]) -> Vec<u8>;

/// Returns a compressed message in one frame.
fn compressed(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    frame(opcode, payload).rsv(RSV1)
}

/// Returns a compressed message in fragments, with these frames after each of them.
fn fragments(opcode: u8, payload: &[u8], len: usize, between: &[Frame]) -> Vec<Frame> {
    let mut parts: Vec<_> = payload.chunks(len).map(|part| continuation(part).more()).collect();
    parts[0] = compressed(opcode, &payload[..len.min(payload.len())]).more();
    let mut frames: Vec<_> =
        parts.into_iter().flat_map(|part| std::iter::once(part).chain(between.iter().cloned())).collect();
    frames.push(continuation(""));
    frames
}

/// Asserts the outcomes of these frames, for both roles, with and without context takeover.
#[track_caller]
fn assert_outcomes(config: &Config, frames: &[Frame], outcomes: &[Outcome]) {
    for settings in takeovers() {
        for role in [Server, Client] {
            assert_outcomes_for(role, settings, config, frames, outcomes);
        }
    }
}

/// Asserts the outcomes of these frames for one role and these settings.
#[track_caller]
fn assert_outcomes_for(
    role: Role,
    settings: Deflate,
    config: &Config,
    frames: &[Frame],
    outcomes: &[Outcome],
) {
    let received = received(role, config, settings, &wire_to(role, frames));
    assert!(received == outcomes, "{role:?} {settings:?}: {received:?}");
}

/// Asserts that the only outcome of these frames is this error, that the Close is written at once,
/// and that further input is ignored.
#[track_caller]
fn assert_fails(config: &Config, frames: &[Frame], error: ProtocolError) {
    assert_outcomes(config, frames, &[Outcome::Error(error)]);
    let close = error.close_frame().expect("the error has a close code");
    for settings in takeovers() {
        for role in [Server, Client] {
            for at_most in [usize::MAX, 3] {
                let (mut ws, script) =
                    deflate::open(role, &config.clone().ping_interval(None).close_timeout(None), settings);
                script.read_at_most(at_most);
                script.bring(wire_to(role, frames));
                assert!(support::polled(ws.recv(), 1000, || {}).is_none(), "the stream has not ended");
                assert_close(role, &script.take_written(), close.code().into(), close.reason());
                assert!(script.is_shut_down(), "the endpoint that fails the connection shuts down first");
                script.bring(wire_to(role, &[compressed(1, HELLO), text("too late")]));
                script.end();
                let returned = finished(ws.recv());
                assert!(
                    matches!(returned, Err(Error::Protocol(returned)) if returned == error),
                    "{returned:?}"
                );
                assert_eq!(finished(ws.recv()).expect("the error was returned"), None);
                assert_eq!(script.written(), b"", "nothing follows the Close");
            }
        }
    }
}

fn message(message: impl Into<Message>) -> Outcome {
    Outcome::Message(message.into())
}

// --- messages

#[test]
fn a_message_of_any_length_arrives_however_it_is_split_into_reads() {
    for len in [0, 1, 63, 64, 65, 4095, 16_384, 16_385, 150_000] {
        let (words, bytes) = (json(len), noise(len));
        let frames = [compressed(1, zip(&words)), compressed(2, zip(&bytes)), compressed(1, zip(&words))];
        let words = message(words);
        assert_outcomes(&quiet(), &frames, &[words.clone(), message(bytes), words]);
    }
}

#[test]
fn a_large_message_arrives_at_any_compression_ratio() {
    let (words, bytes) = (json(5 << 20), noise(3 << 20));
    for settings in takeovers() {
        for (role, at_most) in [(Server, usize::MAX), (Client, 50_000)] {
            let (mut ws, script) = deflate::open(role, &quiet(), settings);
            script.read_at_most(at_most);
            script.bring(wire_to(role, &[compressed(1, zip(&words)), compressed(2, zip(&bytes)), text("")]));
            assert!(finished(ws.recv()).expect("valid") == Some(Message::text(words.as_str())));
            assert!(finished(ws.recv()).expect("valid") == Some(Message::from(bytes.as_slice())));
            assert_eq!(finished(ws.recv()).expect("valid"), Some(Message::from("")));
        }
    }
}

#[test]
fn a_fragmented_message_arrives_with_pings_between_its_fragments() {
    for (len, fragment) in [(1000, 1), (3000, 7), (200_000, 10_000), (200_000, 40_000)] {
        let words = json(len);
        let frames = fragments(1, &zip(&words), fragment, &[ping("?")]);
        let pings = frames.len() / 2;
        let mut outcomes = vec![Outcome::Ping(b"?".to_vec()); pings];
        outcomes.push(message(words));
        assert_outcomes(&quiet().max_fragments(5000), &frames, &outcomes);
    }
}

/// RFC 7692 section 6.1: RSV1 is set on the first fragment, even if that is empty.
#[test]
fn any_fragment_may_be_empty_including_the_first() {
    let mut frames = vec![compressed(1, "").more()];
    frames.extend([&b""[..], HELLO, b"", b""].map(|part| continuation(part).more()));
    frames.push(continuation(""));
    assert_outcomes(&quiet(), &frames, &[message("Hello")]);
}

/// RFC 7692 section 7.2.3.6, and other empty blocks.
#[test]
fn an_empty_message_arrives() {
    for payload in [&b"\x00"[..], b"\x02\x00", b"\x01\x00\x00\xFF\xFF\x00", b"\x03\x00"] {
        assert_outcomes(
            &quiet(),
            &[compressed(1, payload), compressed(2, payload)],
            &[message(""), message([])],
        );
    }
}

/// RFC 7692 section 6: messages without RSV1 are not compressed.
#[test]
fn uncompressed_messages_between_compressed_ones_do_not_enter_the_window() {
    let (settings, config) = (Deflate::new().context_takeover(true), quiet());
    let frames = [
        compressed(1, HELLO),
        text("Jello"),
        compressed(1, HELLO_AGAIN),
        binary("").more(),
        ping(""),
        continuation("plain"),
        compressed(2, HELLO_AGAIN),
        close(1000, ""),
        compressed(1, HELLO),
        text("too late"),
    ];
    let mut outcomes = vec![message("Hello"), message("Jello"), message("Hello")];
    outcomes.extend([Outcome::Ping(Vec::new()), message(*b"plain"), message(*b"Hello")]);
    for role in [Server, Client] {
        let received = received(role, &config, settings, &wire_to(role, &frames));
        assert_eq!(received[..6], outcomes);
        assert!(matches!(received[6..], [Outcome::Close(Some(_))]), "{received:?}");
    }
}

#[test]
fn with_context_takeover_messages_may_refer_to_earlier_ones() {
    for bits in 9..=15 {
        let settings = Deflate::new().context_takeover(true);
        let settings = settings.server_max_window_bits(bits).client_max_window_bits(bits);
        let mut zip = Zip::with_window(true, bits);
        let words: Vec<_> = (0..60).map(|nth| json(nth * nth * 7)).collect();
        let frames: Vec<_> = words.iter().map(|words| compressed(1, zip.message(words))).collect();
        let outcomes: Vec<_> = words.into_iter().map(message).collect();
        for role in [Server, Client] {
            assert_outcomes_for(role, settings, &quiet(), &frames, &outcomes);
        }
    }
}

/// RFC 7692 section 7.2.2: without a smaller agreement, the window has 32,768 bytes.
#[test]
fn a_message_may_refer_to_what_is_32_kib_back() {
    // Three bytes from a distance of 32,768, in a block with fixed codes.
    let far = b"\x02\xDE\xFF\x0F\x00";
    let bytes = noise(32 << 10);
    let frames = [compressed(2, stored(&bytes, 30_000)), compressed(2, far)];
    let outcomes = [message(bytes.as_slice()), message(&bytes[..3])];
    for role in [Server, Client] {
        assert_outcomes_for(role, Deflate::new().context_takeover(true), &quiet(), &frames, &outcomes);
    }
}

// --- row 25: RFC 7692 section 6, RSV1

#[tokio::test]
async fn row_25_rsv1_fails_the_connection_without_negotiation() {
    for role in [Server, Client] {
        for opcode in [1, 2] {
            let wire = wire_to(role, &[text("before"), compressed(opcode, HELLO)]);
            let offence = offence(role, wire).after(&["before"]);
            offence.fails(ProtocolError::ReservedBit, 1002, "reserved bit set").await;
        }
    }
}

/// RFC 7692 section 6.1: RSV1 is set on the first fragment of a message only.
#[test]
fn row_25_rsv1_fails_the_connection_on_a_continuation_and_on_control_frames() {
    for first in [compressed(1, &HELLO[..3]).more(), text("H").more()] {
        let frames = [first, continuation(&HELLO[3..]).rsv(RSV1)];
        assert_fails(&quiet(), &frames, ProtocolError::ReservedBit);
    }
    for control in [ping(""), pong(""), close(1000, "")] {
        assert_fails(&quiet(), &[control.rsv(RSV1)], ProtocolError::ReservedBit);
    }
    for bits in [1, 2, 5, 6, 7] {
        assert_fails(&quiet(), &[frame(1, HELLO).rsv(bits)], ProtocolError::ReservedBit);
    }
}

// --- inflating

#[test]
fn text_is_validated_after_inflating() {
    let long = format!("x{}", "\u{20ac}".repeat(100_000));
    assert_outcomes(&quiet(), &[compressed(1, zip(&long))], &[message(long.as_str())]);
    for (words, bad) in
        [("", &b"\xFF"[..]), ("abc", b"\xE2\x82"), (&long, b"\xE2\x82"), (&long, b"\xED\xA0\x80")]
    {
        let payload = zip([words.as_bytes(), bad].concat());
        assert_fails(&quiet(), &[compressed(1, &payload)], ProtocolError::InvalidUtf8);
        assert_fails(
            &quiet(),
            &fragments(1, &payload, 1 + payload.len() / 3, &[]),
            ProtocolError::InvalidUtf8,
        );
        let bytes = [words.as_bytes(), bad].concat();
        assert_outcomes(&quiet(), &[compressed(2, payload)], &[message(bytes)]);
    }
}

#[test]
fn invalid_text_fails_the_connection_before_its_message_is_complete() {
    let payload = zip([b"\xFF", &noise(40_000)[..]].concat());
    let config = quiet().max_message_size(100_000);
    assert_fails(&config, &[compressed(1, &payload).more()], ProtocolError::InvalidUtf8);
}

#[test]
fn row_43_invalid_deflate_data_fails_the_connection() {
    let words = zip(json(300));
    let truncated = (0..words.len()).step_by(7).map(|len| words[..len].to_vec());
    let broken = [
        &b""[..],
        b"\x06",
        b"\x00\x05\x00\x00\x00Hello\x00",
        b"\x00\x05\x00\xFA\xFFHell",
        b"\x00\x00\x00\xFF\xFF",
        b"\x4A\x04\x41\x00\x00",
        HELLO_AGAIN,
        &[FINAL_HELLO, b"\x06"].concat(),
        &[HELLO, b"\x00\x00\xFE"].concat(),
    ];
    for payload in broken.iter().map(|payload| payload.to_vec()).chain(truncated) {
        assert_fails(&quiet(), &[compressed(2, payload)], ProtocolError::InvalidDeflate);
    }
}

#[test]
fn row_43_invalid_data_fails_the_connection_before_its_message_is_complete() {
    let payload = [b"\x06", &noise(40_000)[..]].concat();
    let config = quiet().max_message_size(100_000);
    assert_fails(&config, &[compressed(2, &payload).more()], ProtocolError::InvalidDeflate);
}

#[test]
fn inflating_begins_at_the_same_byte_however_the_input_is_split_into_reads() {
    let payload = [b"\x06", &noise(150_000)[..]].concat();
    // A sixteenth of the limit and of a decompressor's size; at least 16 KiB, or the limit of the
    // whole message.
    for (limit, gathered) in [(1000, 1189), (100_000, 16_384), (1 << 20, 69_632)] {
        let config = quiet().max_message_size(limit).max_fragments(1000);
        let mut outcomes = vec![Outcome::Ping(b"?".to_vec()); (gathered - 1) / 700];
        outcomes.push(Outcome::Error(ProtocolError::InvalidDeflate));
        for role in [Server, Client] {
            let wire = wire_to(role, &fragments(2, &payload, 700, &[ping("?")]));
            // In parts, a message is inflated as it is received.
            for reads in [&[usize::MAX][..], &[1], &[700], &[16_384], &[3, 70_001, 5]] {
                let path = ReceivePath::new(role, &config).with_deflate(Deflate::new().into());
                let received = drive_path(path, 0, &wire, reads, &[false]);
                assert!(received == outcomes, "{limit} {reads:?}: {}", received.len());
            }
        }
    }
}

#[test]
fn messages_inflated_in_strides_arrive_however_they_are_split_into_reads() {
    // More than is gathered before inflating begins, in one frame and in fragments.
    let (words, bytes) = (json(900_000), noise(200_000));
    let config = quiet().max_message_size(1 << 20);
    let mut frames = vec![compressed(1, zip(&words)), compressed(2, zip(&bytes))];
    frames.extend(fragments(2, &zip(&bytes), 30_000, &[ping("?")]));
    let mut outcomes = vec![message(words), message(bytes.as_slice())];
    outcomes.extend(vec![Outcome::Ping(b"?".to_vec()); (frames.len() - 3) / 2]);
    outcomes.push(message(bytes));
    assert_outcomes(&config, &frames, &outcomes);
}

/// RFC 7692 section 7.2.3.4: blocks with BFINAL set are allowed.
#[test]
fn row_43_a_final_block_is_accepted_at_any_position() {
    let hello = |payloads: &[&[u8]]| compressed(1, payloads.concat());
    for (frame, words) in [
        (hello(&[FINAL_HELLO, b"\x00"]), "Hello"),
        (hello(&[FINAL_HELLO]), "Hello"),
        (hello(&[FINAL_HELLO, FINAL_HELLO, HELLO]), "HelloHelloHello"),
        (hello(&[HELLO, &TAIL, FINAL_HELLO]), "HelloHello"),
    ] {
        let frames = [frame, compressed(1, HELLO), text("plain"), compressed(1, HELLO)];
        let outcomes = [words, "Hello", "plain", "Hello"].map(message);
        assert_outcomes(&quiet(), &frames, &outcomes);
    }
}

/// RFC 7692 section 7.1.1: without context takeover each message begins with an empty window.
#[test]
fn row_44_without_context_takeover_no_message_may_refer_to_another() {
    let frames = [compressed(1, HELLO), compressed(1, HELLO_AGAIN)];
    let [alone, takeover] = takeovers();
    let outcomes = [message("Hello"), Outcome::Error(ProtocolError::InvalidDeflate)];
    for role in [Server, Client] {
        assert_outcomes_for(role, alone, &quiet(), &frames, &outcomes);
        assert_outcomes_for(role, takeover, &quiet(), &frames, &[message("Hello"), message("Hello")]);
    }
    // Context takeover of the other direction does not matter here.
    let mixed = takeover.client_no_context_takeover(true);
    assert_outcomes_for(Server, mixed, &quiet(), &frames, &outcomes);
    assert_outcomes_for(Client, mixed, &quiet(), &frames, &[message("Hello"), message("Hello")]);
}

#[test]
fn a_message_that_ends_with_many_final_blocks_is_received() {
    let mut payload = zip(noise(32 << 10));
    payload.extend(TAIL);
    payload.extend(b"\x03\x00".repeat(1 << 19));
    let mut frames = vec![compressed(2, payload)];
    frames.push(compressed(1, HELLO));
    for role in [Server, Client] {
        let (mut ws, script) = deflate::open(role, &quiet(), Deflate::new());
        script.bring(wire_to(role, &frames));
        assert_eq!(finished(ws.recv()).expect("valid"), Some(Message::from(noise(32 << 10))));
        assert_eq!(finished(ws.recv()).expect("valid"), Some(Message::from("Hello")));
    }
}

// --- limits

#[test]
fn a_message_at_the_size_limit_is_accepted_however_poorly_it_is_compressed() {
    for limit in [1, 1000, 80_000] {
        let high: Vec<u8> = noise(limit + 1).into_iter().map(|byte| byte | 0xC0).collect();
        let config = quiet().max_message_size(limit).max_frame_size(limit);
        let encoders: [Encoder; 4] =
            [|data| zip(data), literal, |data| stored(data, 65_535), |data| stored(data, 1000)];
        for encode in encoders {
            assert_outcomes(&config, &[compressed(2, encode(&high[..limit]))], &[message(&high[..limit])]);
            assert_fails(
                &config,
                &[compressed(2, encode(&high))],
                ProtocolError::MessageTooBig { limit: limit as u64 },
            );
        }
        // Stored blocks make the data larger; the fragments are small enough.
        let payload = stored(&high[..limit], 1);
        let frames = fragments(2, &payload, limit + 64, &[]);
        assert_outcomes(&config, &frames, &[message(&high[..limit])]);
    }
}

#[test]
fn a_message_over_the_size_limit_fails_the_connection_however_well_it_is_compressed() {
    let (limit, config) = (100_000, quiet().max_message_size(100_000));
    let error = ProtocolError::MessageTooBig { limit };
    for data in [noise(100_001), vec![0; 100_001], vec![0; 10 << 20]] {
        assert_fails(&config, &fragments(2, &zip(data), 50_000, &[]), error);
    }
    let zeros = vec![0; 100_000];
    assert_outcomes(&config, &fragments(2, &zip(&zeros), 10, &[]), &[message(zeros)]);
}

#[test]
fn a_compressed_frame_may_be_an_eighth_larger_than_an_uncompressed_one() {
    let config = quiet().max_message_size(1 << 20).max_frame_size(8000);
    let declaring = |len| [compressed(2, "").declaring(len).length_bits(16)];
    let error = ProtocolError::FrameTooBig { limit: 8000 };
    for (len, outcomes) in [(9064, vec![]), (9065, vec![Outcome::Error(error)])] {
        let path = ReceivePath::new(Client, &config).with_deflate(Deflate::new().into());
        let mut received = drive_path(path, 0, &wire_to(Client, &declaring(len)), &[1], &[false]);
        received.retain(|outcome| *outcome != Outcome::Error(ProtocolError::EofWithoutClose));
        assert_eq!(received, outcomes);
    }
}

#[test]
fn too_many_empty_fragments_fail_the_connection() {
    let config = quiet().max_fragments(100).close_timeout(None);
    let mut frames = vec![continuation("").more(); 200];
    frames[0] = compressed(1, "").more();
    for role in [Server, Client] {
        let (mut ws, script) = deflate::open(role, &config, Deflate::new());
        script.bring(wire_to(role, &frames[..100]));
        pending(pin!(ws.recv()), "the message has not ended");
        assert!(!ws.is_closed());
        script.bring(wire_to(role, &frames[100..]));
        script.end();
        let returned = finished(ws.recv());
        assert!(
            matches!(returned, Err(Error::Protocol(ProtocolError::TooManyFragments { limit: 100 }))),
            "{returned:?}"
        );
        assert_close(role, &script.written(), 1008, "too many fragments");
    }
}
