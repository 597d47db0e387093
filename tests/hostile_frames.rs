//! Hostile frames, rows 23 to 41 of `HOSTILE.md`: what a peer must not send, the Close that
//! answers it, and the error that the application receives.
//!
//! RFC 6455 sections 5 (framing), 7 (closing) and 8 (UTF-8).

mod support;

use std::pin::pin;

use fullduplex::{
    Config, Error, Event, Message,
    Role::{self, Client, Server},
    proto::ProtocolError,
};
use support::{
    frames::{self, binary, close, close_empty, continuation, frame, ping, pong, text},
    offence::{assert_close, offence, sent_to, wire_to},
    pending, script,
};

const BOTH: [Role; 2] = [Server, Client];

// --- RFC 6455 section 5.1: masking

#[tokio::test]
async fn row_23_an_unmasked_frame_to_a_server_fails_with_1002() {
    for frame in [text("hello"), binary([0; 300]), text(""), ping(""), close(1000, ""), close_empty()] {
        let input = [text("before").masked().build(), frame.build()].concat();
        offence(Server, input)
            .after(&["before"])
            .fails(ProtocolError::UnmaskedFrame, 1002, "frame not masked")
            .await;
    }
}

#[tokio::test]
async fn row_24_a_masked_frame_to_a_client_fails_with_1002() {
    for frame in [text("hello"), binary([0; 300]), text(""), ping(""), close(1000, ""), close_empty()] {
        for key in [frames::KEY, [0; 4]] {
            let input = [text("before").build(), frame.clone().masked_with(key).build()].concat();
            offence(Client, input)
                .after(&["before"])
                .fails(ProtocolError::MaskedFrame, 1002, "frame masked")
                .await;
        }
    }
}

// --- RFC 6455 section 5.2: reserved bits, opcodes, lengths

#[tokio::test]
async fn row_25_every_reserved_bit_on_every_kind_of_frame_fails_with_1002() {
    for role in BOTH {
        for bits in 1..=7 {
            for frame in [text("hello"), binary("x").more(), ping(""), pong("x"), close(1000, "")] {
                let input = wire_to(role, &[text("before"), frame.rsv(bits)]);
                offence(role, input)
                    .after(&["before"])
                    .fails(ProtocolError::ReservedBit, 1002, "reserved bit set")
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn row_25_a_reserved_bit_on_a_continuation_fails_with_1002() {
    for role in BOTH {
        for bits in 1..=7 {
            let input = wire_to(role, &[text("Hel").more(), continuation("lo").rsv(bits)]);
            offence(role, input).fails(ProtocolError::ReservedBit, 1002, "reserved bit set").await;
        }
    }
}

#[tokio::test]
async fn row_26_a_reserved_opcode_with_a_huge_length_fails_with_1002_at_its_header() {
    for role in BOTH {
        for opcode in (0x3..=0x7).chain(0xB..=0xF) {
            for frame in [frame(opcode, "").declaring((1 << 63) - 1), frame(opcode, "")] {
                let input = sent_to(role, frame).build();
                offence(role, input)
                    .fails(ProtocolError::ReservedOpcode(opcode), 1002, "reserved opcode")
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn row_26_a_reserved_opcode_fails_with_1002_at_its_first_byte() {
    offence(Server, [0x83]).fails(ProtocolError::ReservedOpcode(3), 1002, "reserved opcode").await;
}

#[tokio::test]
async fn row_27_a_length_that_is_not_in_its_shortest_form_fails_with_1002() {
    for role in BOTH {
        for (bits, len) in [(16, 0), (16, 1), (16, 125), (64, 0), (64, 125), (64, 126), (64, 0xFFFF)] {
            for opcode in [0x1, 0x2] {
                let input = sent_to(role, frame(opcode, vec![b'x'; len]).length_bits(bits)).build();
                offence(role, input)
                    .fails(ProtocolError::LengthNotMinimal, 1002, "length not in its shortest form")
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn row_27_lengths_at_the_bounds_of_each_form_are_received_in_their_shortest_form() {
    for role in BOTH {
        let (mut ws, script) = script::open(role, &Config::new());
        for len in [0, 1, 125, 126, 127, 0xFFFE, 0xFFFF, 0x1_0000, 0x1_0001] {
            script.bring(sent_to(role, binary(vec![7; len])).build());
            assert_eq!(ws.recv().await.expect("well-formed"), Some(Message::binary(vec![7; len])));
        }
    }
}

#[tokio::test]
async fn row_28_a_length_of_2_to_the_63_and_more_fails_with_1002() {
    for role in BOTH {
        for len in [1 << 63, (1 << 63) + 1, u64::MAX - 13, u64::MAX] {
            for opcode in [0x1, 0x2] {
                let input = sent_to(role, frame(opcode, "").declaring(len)).build();
                offence(role, input)
                    .fails(ProtocolError::LengthTooLarge, 1002, "length of 2^63 or more")
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn row_28_the_greatest_legal_length_exceeds_the_limit_even_after_other_fragments() {
    let error = ProtocolError::FrameTooBig { limit: usize::MAX >> 2 };
    let config = Config::new().max_message_size(usize::MAX >> 2);
    let huge = continuation("").declaring((1 << 63) - 1);
    let input = wire_to(Server, &[text("Hel").more(), huge]);
    offence(Server, input).with(config).fails(error, 1009, "frame too big").await;

    let limit = usize::MAX >> 1;
    let config = Config::new().max_message_size(limit);
    let huge = continuation("").declaring((1 << 63) - 1);
    let input = wire_to(Server, &[text("Hel").more(), huge]);
    let error = ProtocolError::MessageTooBig { limit: limit as u64 };
    offence(Server, input).with(config).fails(error, 1009, "message too big").await;
}

#[tokio::test]
async fn row_29_a_declared_length_beyond_the_limit_fails_with_1009_before_any_payload_data() {
    let error = ProtocolError::FrameTooBig { limit: 64 << 20 };
    for role in BOTH {
        let input = sent_to(role, binary("").declaring(1 << 30)).build();
        offence(role, input).fails(error, 1009, "frame too big").await;
    }
}

// --- RFC 6455 section 5.5: control frames

#[tokio::test]
async fn row_30_a_control_frame_of_more_than_125_bytes_fails_with_1002_at_its_header() {
    for role in BOTH {
        for opcode in [0x8, 0x9, 0xA] {
            for len in [126, 0xFFFF, 0x1_0000] {
                let whole = sent_to(role, frame(opcode, vec![b'x'; len])).build();
                for input in [&whole[..], &whole[..2]] {
                    offence(role, input)
                        .at_once()
                        .fails(ProtocolError::ControlFrameTooLong, 1002, "control frame too long")
                        .await;
                }
            }
        }
    }
}

#[tokio::test]
async fn row_30_a_ping_of_125_bytes_is_answered() {
    for at_most in [usize::MAX, 1] {
        let (mut ws, script) = script::server();
        script.read_at_most(at_most);
        script.bring(ping([b'x'; 125]).masked().build());
        pending(pin!(ws.recv()), "no message was received");
        assert_eq!(script.written(), pong([b'x'; 125]).build());
    }
}

#[tokio::test]
async fn row_31_a_fragmented_control_frame_fails_with_1002() {
    for role in BOTH {
        for control in [ping("x"), pong("x"), ping(""), close(1000, "bye"), close_empty()] {
            let input = wire_to(role, &[text("before"), control.more()]);
            offence(role, input)
                .after(&["before"])
                .fails(ProtocolError::FragmentedControlFrame, 1002, "fragmented control frame")
                .await;
        }
    }
}

// --- RFC 6455 section 5.4: fragmentation

#[tokio::test]
async fn row_32_a_continuation_outside_of_a_message_fails_with_1002() {
    for role in BOTH {
        for orphan in [continuation("x"), continuation(""), continuation("x").more()] {
            for start in [vec![text("before")], vec![text("bef").more(), continuation("ore")]] {
                let input = wire_to(role, &[&start[..], std::slice::from_ref(&orphan)].concat());
                offence(role, input)
                    .after(&["before"])
                    .fails(ProtocolError::UnexpectedContinuation, 1002, "no message to continue")
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn row_32_a_new_data_frame_inside_a_fragmented_message_fails_with_1002() {
    for role in BOTH {
        for start in [text("Hel").more(), text("").more(), binary("Hel").more()] {
            for intruder in [text("x"), text(""), binary("x"), binary("x").more()] {
                let input = wire_to(role, &[text("before"), start.clone(), intruder]);
                offence(role, input)
                    .after(&["before"])
                    .fails(ProtocolError::ExpectedContinuation, 1002, "message not finished")
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn row_33_fragments_up_to_max_message_size_are_received_and_one_byte_more_fails_with_1009() {
    let config = Config::new().max_message_size(10);
    for role in BOTH {
        let (mut ws, script) = script::open(role, &config);
        script.bring(wire_to(role, &[text("01234").more(), continuation("56789"), text("0123456789")]));
        for _ in 0..2 {
            assert_eq!(ws.recv().await.expect("ten bytes"), Some(Message::from("0123456789")));
        }

        let error = ProtocolError::MessageTooBig { limit: 10 };
        let ten = [text("01234").more(), continuation("56789").more()];
        let input = [wire_to(role, &ten), sent_to(role, continuation("!")).build()].concat();
        offence(role, &input[..]).with(config.clone()).fails(error, 1009, "message too big").await;
        // The header suffices, without its payload data.
        offence(role, &input[..input.len() - 1])
            .with(config.clone())
            .fails(error, 1009, "message too big")
            .await;
    }
}

#[tokio::test]
async fn row_33_a_frame_up_to_max_frame_size_is_received_and_one_byte_more_fails_with_1009() {
    let config = Config::new().max_message_size(20).max_frame_size(10);
    for role in BOTH {
        let (mut ws, script) = script::open(role, &config);
        script.bring(wire_to(role, &[text("0123456789").more(), continuation("0123456789")]));
        assert_eq!(ws.recv().await.expect("20 bytes"), Some(Message::from("01234567890123456789")));

        let error = ProtocolError::FrameTooBig { limit: 10 };
        let input = sent_to(role, text("0123456789!")).build();
        offence(role, input).with(config.clone()).fails(error, 1009, "frame too big").await;
    }
}

#[tokio::test]
async fn row_33_control_frames_do_not_count_towards_the_message_limits() {
    let (mut ws, script) = script::open(Server, &Config::new().max_message_size(2).max_fragments(2));
    let long = ping([b'x'; 125]);
    script
        .bring(wire_to(Server, &[text("a").more(), long.clone(), pong("unasked"), long, continuation("b")]));
    assert_eq!(ws.recv().await.expect("two bytes"), Some(Message::from("ab")));
}

#[tokio::test]
async fn row_34_empty_fragments_up_to_the_limit_are_received_and_one_more_fails_with_1008() {
    let config = Config::new().max_fragments(4);
    for role in BOTH {
        let mut frames = vec![text("").more(), continuation("").more(), continuation("").more()];
        let (mut ws, script) = script::open(role, &config);
        script.bring(wire_to(role, &[&frames[..], &[continuation("")]].concat()));
        assert_eq!(ws.recv().await.expect("four fragments"), Some(Message::from("")));

        let error = ProtocolError::TooManyFragments { limit: 4 };
        frames.extend([continuation("").more(), continuation("")]);
        offence(role, wire_to(role, &frames))
            .with(config.clone())
            .fails(error, 1008, "too many fragments")
            .await;
    }
}

#[tokio::test]
async fn row_34_a_single_frame_is_one_fragment() {
    let config = Config::new().max_fragments(1);
    let (mut ws, script) = script::open(Server, &config);
    script.bring(wire_to(Server, &[text("a"), binary("b")]));
    assert_eq!(ws.recv().await.expect("one fragment"), Some(Message::from("a")));
    assert_eq!(ws.recv().await.expect("one fragment"), Some(Message::binary("b")));
}

#[tokio::test]
async fn row_34_the_default_limit_is_65536_fragments() {
    let (mut ws, script) = script::server();
    let mut input = text("").more().masked().build();
    input.extend(continuation("").more().masked().build().repeat(65_534));
    script.bring(input);
    pending(pin!(ws.recv()), "the message is incomplete");
    script.bring(continuation("").masked().build());
    assert_eq!(ws.recv().await.expect("65,536 fragments"), Some(Message::from("")));
}

#[tokio::test]
async fn row_36_control_frames_between_fragments_are_handled_at_once_and_the_message_stays_intact() {
    for role in BOTH {
        for at_most in [usize::MAX, 1] {
            let (mut ws, script) = script::open(role, &Config::new().ping_interval(None));
            script.read_at_most(at_most);
            script.bring(wire_to(
                role,
                &[text("H\u{20AC}").more(), ping("1"), continuation("l").more(), pong("2")],
            ));
            assert_eq!(ws.recv_event().await.expect("a ping"), Some(Event::Ping("1".into())));
            assert_eq!(ws.recv_event().await.expect("a pong"), Some(Event::Pong("2".into())));
            pending(pin!(ws.recv_event()), "the message is incomplete");
            assert_eq!(
                frames::parse(&script.written()),
                [(0x8A, b"1".to_vec())],
                "the ping is answered at once"
            );
            script.bring(wire_to(role, &[continuation("lo")]));
            assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("H\u{20AC}llo")));
        }
    }
}

#[tokio::test]
async fn row_36_a_close_between_fragments_ends_the_connection_and_the_message_is_not_delivered() {
    let (mut ws, script) = script::server();
    script.bring(wire_to(Server, &[text("Hel").more(), close(1000, "bye"), continuation("lo")]));
    script.end();
    assert_eq!(ws.recv().await.expect("closed cleanly"), None);
    assert_eq!(script.written(), close(1000, "bye").build());
}

// --- RFC 6455 section 8.1: UTF-8

/// Text whose last byte is the first invalid one.
const NOT_UTF8: &[&[u8]] = &[
    b"\x80",                                          // a continuation byte, alone
    b"abc\xBF",                                       //
    b"\xFE",                                          // never in UTF-8
    b"\xFF",                                          //
    b"\xC0",                                          // overlong, two bytes
    b"\xC1",                                          //
    b"\xE0\x80",                                      // overlong, three bytes
    b"\xE0\x9F",                                      //
    b"\xF0\x80",                                      // overlong, four bytes
    b"\xF0\x8F",                                      //
    b"\xED\xA0",                                      // surrogates, from the first ...
    b"\xED\xBF",                                      // ... to the last
    b"\xF4\x90",                                      // beyond U+10FFFF
    b"\xF5",                                          //
    b"\xC3(",                                         // a code point that ASCII interrupts
    b"\xE2\x82(",                                     //
    b"\xE2\x28",                                      //
    b"\xF0\x9F\x98(",                                 //
    b"\xF0\x9F\xC3",                                  // a code point that another interrupts
    b"\xE2\xE2",                                      //
    b"gr\xC3\xBCezi \xF0\x9F\x98\x80 \xED\xB0",       // a low surrogate after valid text
    b"0123456789012345678901234567890123456789\xFF",  // beyond one vector
    b"\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82:", //
];

#[tokio::test]
async fn row_37_text_fails_with_1007_at_its_first_invalid_byte_and_not_before() {
    for role in BOTH {
        for bad in NOT_UTF8 {
            // The frame would continue after the invalid byte, which is the last that arrives.
            let whole = sent_to(role, text([bad, &b"and the rest"[..]].concat())).build();
            let good = whole.len() - b"and the rest".len() - 1;
            let (mut ws, script) = script::open(role, &Config::new());
            script.bring(&whole[..good]);
            pending(pin!(ws.recv()), "the text is valid so far");
            assert_eq!(script.written(), b"", "{bad:x?} is valid up to its last byte");
            script.bring(&whole[good..=good]);
            pending(pin!(ws.recv()), "the stream has not ended");
            assert_close(role, &script.written(), 1007, "invalid UTF-8");

            offence(role, &whole[..=good]).fails(ProtocolError::InvalidUtf8, 1007, "invalid UTF-8").await;
        }
    }
}

#[tokio::test]
async fn row_37_text_that_is_not_utf8_fails_however_it_is_split_over_fragments() {
    for bad in NOT_UTF8 {
        for at in 0..=bad.len() {
            let frames = [text("before"), text(&bad[..at]).more(), continuation(&bad[at..]).more()];
            offence(Server, wire_to(Server, &frames))
                .after(&["before"])
                .fails(ProtocolError::InvalidUtf8, 1007, "invalid UTF-8")
                .await;
        }
        let whole = wire_to(Server, &[text("before"), text(bad)]);
        offence(Server, whole)
            .after(&["before"])
            .fails(ProtocolError::InvalidUtf8, 1007, "invalid UTF-8")
            .await;
    }
}

#[tokio::test]
async fn row_37_text_that_ends_inside_a_code_point_fails_with_1007() {
    for cut in
        [&b"a\xC3"[..], b"\xE2", b"\xE2\x82", b"\xF0", b"\xF0\x9F", b"\xF0\x9F\x98", b"\xED", b"\xF4\x8F"]
    {
        for frames in [
            vec![text(cut)],
            vec![text(cut).more(), continuation("")],
            vec![text(&cut[..cut.len() - 1]).more(), continuation(&cut[cut.len() - 1..])],
        ] {
            let input = wire_to(Server, &frames);
            offence(Server, input).fails(ProtocolError::InvalidUtf8, 1007, "invalid UTF-8").await;
        }
    }
}

#[tokio::test]
async fn row_37_a_code_point_may_be_split_over_fragments_and_binary_data_is_not_validated() {
    for at_most in [usize::MAX, 1] {
        let (mut ws, script) = script::server();
        script.read_at_most(at_most);
        let good = "\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFF}\u{10000}\u{10FFFF}";
        let mut frames = vec![text("").more()];
        frames.extend(good.bytes().map(|byte| continuation([byte]).more()));
        frames.extend([continuation(""), binary(b"\xFF\xED\xA0")]);
        script.bring(wire_to(Server, &frames));
        assert_eq!(ws.recv().await.expect("valid"), Some(Message::from(good)));
        assert_eq!(ws.recv().await.expect("binary"), Some(Message::binary(&b"\xFF\xED\xA0"[..])));
    }
}

#[tokio::test]
async fn row_37_a_large_text_read_into_its_own_buffer_fails_before_its_end() {
    let mut payload = vec![b'x'; 200_000];
    payload[150_000] = 0xFF;
    let whole = text(payload).masked().build();
    let first = &whole[..100_000];
    let (mut ws, script) = script::server();
    script.bring(first);
    pending(pin!(ws.recv()), "the text is valid so far");
    assert_eq!(script.written(), b"");
    script.bring(&whole[100_000..151_000]);
    pending(pin!(ws.recv()), "the stream has not ended");
    assert_close(Server, &script.written(), 1007, "invalid UTF-8");
}

// --- RFC 6455 sections 5.5.1 and 7.4: Close

#[tokio::test]
async fn row_38_a_close_with_one_byte_fails_with_1002() {
    for role in BOTH {
        let input = wire_to(role, &[text("before"), frame(0x8, [3])]);
        offence(role, input)
            .after(&["before"])
            .fails(ProtocolError::CloseTooShort, 1002, "close payload of one byte")
            .await;
    }
}

#[tokio::test]
async fn row_39_codes_that_must_not_be_sent_fail_with_1002_and_all_others_are_echoed() {
    for code in 0..=u16::MAX {
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let (mut ws, script) = script::server();
        script.bring(close(code, "why").masked().build());
        script.end();
        match ws.recv().await {
            Ok(None) if allowed => assert_eq!(script.written(), close(code, "why").build()),
            Err(Error::Protocol(ProtocolError::InvalidCloseCode(invalid))) if !allowed => {
                assert_eq!(invalid.get(), code);
                assert_eq!(script.written(), close(1002, "invalid close code").build());
                assert_eq!(ws.close_frame(), None);
            }
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(ws.recv().await.expect("the connection has ended"), None);
    }
}

#[tokio::test]
async fn row_39_codes_outside_each_allowed_range_fail_with_1002_for_both_roles() {
    for role in BOTH {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 0xFFFF] {
            let error = ProtocolError::InvalidCloseCode(code.into());
            offence(role, wire_to(role, &[close(code, "")])).fails(error, 1002, "invalid close code").await;
        }
    }
}

#[tokio::test]
async fn row_40_a_close_reason_that_is_not_utf8_fails_with_1007() {
    for role in BOTH {
        for bad in NOT_UTF8.iter().copied().chain([&b"cut \xE2\x82"[..]]) {
            let input = sent_to(role, frame(0x8, [&1000_u16.to_be_bytes(), bad].concat())).build();
            offence(role, input).fails(ProtocolError::InvalidUtf8, 1007, "invalid UTF-8").await;
        }
    }
}

#[tokio::test]
async fn row_41_data_after_a_close_is_ignored() {
    for role in BOTH {
        for at_most in [usize::MAX, 1] {
            let (mut ws, script) = script::open(role, &Config::new());
            script.read_at_most(at_most);
            script.bring(wire_to(role, &[text("before"), close(1001, "bye"), text("after"), ping("after")]));
            script.bring(b"\xFF\xFF no frames at all");
            script.bring(wire_to(role, &[close(1000, "again"), binary("after")]));
            script.end();
            assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("before")));
            for _ in 0..3 {
                assert_eq!(ws.recv().await.expect("closed cleanly"), None);
            }
            assert_close(role, &script.written(), 1001, "bye");
            assert_eq!(ws.close_frame().map(|frame| frame.code().get()), Some(1001));
        }
    }
}

#[tokio::test]
async fn row_41_recv_event_returns_none_after_the_close() {
    let (mut ws, script) = script::server();
    script.bring(wire_to(Server, &[close_empty(), ping("after"), text("after")]));
    script.end();
    assert_eq!(ws.recv_event().await.expect("a Close"), Some(Event::Close(None)));
    assert_eq!(ws.recv_event().await.expect("closed cleanly"), None);
    assert_eq!(script.written(), close_empty().build());
}
