//! The memory that connections with compression hold and allocate, counted by the allocator.
#![cfg(feature = "deflate")]

use std::{
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use fullduplex::{
    Config, Deflate, Message, Outgoing, PreparedMessage, Role, WebSocket, handshake::Negotiated,
};

mod support;

use support::{
    deflate::{Zip, agreed, json, noise, takeovers, zip},
    frames::{binary, continuation, frame, ping, wire},
    replay::{Replay, Stuck, quiet, receive_all},
};

/// Returns the bytes of a compressed binary message.
fn compressed(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(2, payload).rsv(4).masked().build()
}

/// Opens a server that has negotiated these settings, and that receives this input.
fn server<'a>(config: &Config, settings: Deflate, input: &'a [u8], chunk: usize) -> WebSocket<Replay<'a>> {
    let config = config.clone().deflate(settings);
    WebSocket::from_raw(Replay { input, chunk }, Bytes::new(), Role::Server, &config, agreed(settings))
}

/// Polls until everything is compressed and written; compression yields repeatedly.
fn write_all(ws: &mut WebSocket<Replay<'_>>) {
    for _ in 0..1000 {
        assert!(ws.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
        if ws.queued_bytes() == 0 {
            return;
        }
    }
    panic!("{} bytes are queued", ws.queued_bytes());
}

/// Returns what a connection holds after it has received this input, and what it allocated
/// meanwhile. `handle` is called with each message.
fn after(
    config: &Config,
    settings: Deflate,
    input: &[u8],
    chunk: usize,
    mut handle: impl FnMut(&mut WebSocket<Replay<'_>>, Message),
) -> AllocationInfo {
    for _ in 0..4 {
        let mut ws = server(config, settings, input, chunk);
        receive_all(&mut ws, &mut handle);
        write_all(&mut ws);
    }
    let mut kept = None;
    let held = measure(|| {
        let mut ws = server(config, settings, input, chunk);
        receive_all(&mut ws, &mut handle);
        write_all(&mut ws);
        kept = Some(ws);
    });
    let freed = measure(|| drop(kept));
    assert_eq!(freed.bytes_current, -held.bytes_current, "dropping it frees everything");
    held
}

/// Sends a message back.
fn echo(ws: &mut WebSocket<Replay<'_>>, message: Message) {
    ws.start_send(message).expect("open");
}

/// The maximum number of bytes for what was negotiated, and for the state of both directions.
const AGREED: i64 = 192;

#[test]
fn a_waiting_connection_without_takeover_holds_no_compressor_and_no_window() {
    let large = json(300_000);
    let mut traffic = Vec::new();
    for message in [json(100), large.clone(), String::new(), json(3000)] {
        traffic.extend(compressed(zip(message)));
    }
    let payload = zip(large);
    traffic.extend(wire(&[
        frame(2, &payload[..9000]).rsv(4).more().masked(),
        ping("").masked(),
        continuation(&payload[9000..]).masked(),
    ]));
    for chunk in [usize::MAX, 1000] {
        let idle = after(&quiet(), Deflate::new(), b"", chunk, echo);
        let held = after(&quiet(), Deflate::new(), &traffic, chunk, echo);
        assert_eq!(held.bytes_current, idle.bytes_current);
        assert!((1..=AGREED).contains(&held.bytes_current), "{}", held.bytes_current);
        assert!(held.count_current <= 5, "{}", held.count_current);
    }
}

#[test]
fn with_takeover_a_connection_holds_a_compressor_and_a_decompressor_once_each_is_used() {
    let settings = Deflate::new().context_takeover(true);
    let input = compressed(zip(json(1000)));
    let idle = after(&quiet(), settings, b"", usize::MAX, |_, _| ()).bytes_current;
    assert!((1..=AGREED).contains(&idle), "{idle}");
    let plain = binary(json(1000)).masked().build();
    let plain = after(&quiet(), settings, &plain, usize::MAX, |ws, message| {
        ws.start_send(Outgoing::from(message).compress(false)).expect("open");
    });
    assert_eq!(plain.bytes_current, idle, "nothing was compressed");
    let received = after(&quiet(), settings, &input, usize::MAX, |_, _| ()).bytes_current;
    assert!((32 << 10..=50_000).contains(&(received - idle)), "{}", received - idle);
    let both = after(&quiet(), settings, &input, usize::MAX, echo).bytes_current;
    assert!((100_000..=390_000).contains(&(both - received)), "{}", both - received);
    let small = settings.memory_level(1).server_max_window_bits(9);
    let small = after(&quiet(), small, &input, usize::MAX, echo).bytes_current;
    assert!(small - received <= 140_000, "{}", small - received);
}

#[test]
fn an_incomplete_message_holds_the_received_data_and_no_window() {
    let payload = zip(noise(10 << 10));
    let mut input = compressed(&payload);
    input.truncate(input.len() - 100);
    for settings in takeovers() {
        for chunk in [usize::MAX, 1000] {
            receive_all(&mut server(&quiet(), settings, &input, chunk), |_, _| ());
            let mut all = Vec::with_capacity(1000);
            let held = measure(|| {
                for _ in 0..1000 {
                    all.push(server(&quiet(), settings, &input, chunk));
                    receive_all(all.last_mut().expect("pushed"), |_, _| ());
                }
            });
            assert!(held.bytes_current <= 1000 * (20 << 10), "{} each", held.bytes_current / 1000);
        }
    }
}

#[test]
fn row_58_an_incomplete_message_holds_at_most_16_times_what_has_been_received() {
    const LIMIT: usize = 1 << 20;
    // The beginning cannot be compressed; then zeros follow, up to the limit.
    let noise = noise(60_000);
    let zeros = vec![0; LIMIT - noise.len()];
    let payload = zip([&noise[..], &zeros].concat());
    // Only zeros, up to the default limit.
    let bomb = zip(vec![0; 64 << 20]);
    let held = |config: &Config, settings, input: &[u8]| {
        after(config, settings, input, 30_000, |_, _| panic!("the message is not complete")).bytes_current
    };
    for settings in takeovers() {
        for (config, payload) in [(quiet().max_message_size(LIMIT), &payload), (quiet(), &bomb)] {
            let idle = held(&config, settings, b"");
            let wire = compressed([&payload[..], &[0; 100_000]].concat());
            for len in
                [100, 1000, 16_383, 16_384, 16_385, 30_000, 50_000, 60_100, payload.len(), 70_000, 85_000]
            {
                let held =
                    held(&config, settings, &wire[..wire.len() - payload.len() - 100_000 + len]) - idle;
                assert!(held <= 16 * len as i64 + 1000, "{held} for {len}, {settings:?}");
            }
        }
    }
}

/// Returns a compressed message of about ten mebibytes that inflates to a gibibyte.
fn bomb() -> Vec<u8> {
    let mebibyte = vec![0; 1 << 20];
    let mut zip = Zip::new(true);
    let mut payload: Vec<u8> = (0..1023).flat_map(|_| zip.part(&mebibyte)).collect();
    payload.extend(zip.message(&mebibyte));
    payload
}

const LIMIT: usize = 4 << 20;
/// The size of a window, a read buffer, and a step by which a buffer grows.
const OVERHEAD: u64 = 300 << 10;

#[test]
fn row_42_a_bomb_fails_at_the_size_limit_with_bounded_memory() {
    // Static, because the halves of a connection own their stream.
    static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| compressed(zip(vec![0; 16 * LIMIT])));
    let bomb: &'static [u8] = &BOMB;
    assert!(bomb.len() < LIMIT, "its frame is not too large");
    let config = quiet().max_message_size(LIMIT).close_timeout(None);
    let fail = |in_parts: bool, split: bool| {
        let mut cx = Context::from_waker(Waker::noop());
        let ws = server(&config, Deflate::new(), bomb, usize::MAX);
        let mut polls = 0;
        if split {
            let (mut receiver, sender) = ws.split();
            while !sender.is_closed() {
                assert!(receiver.poll_recv(&mut cx).is_pending());
                polls += 1;
                assert!(polls < 10_000);
            }
        } else if in_parts {
            let mut ws = ws;
            let mut reading = pin!(tokio::task::coop::unconstrained(async {
                let mut reader = ws.reader(LIMIT as u64).await.expect("valid").expect("a message");
                while reader.recv_part().await.expect("valid").is_some() {}
            }));
            assert!(reading.as_mut().poll(&mut cx).is_pending(), "the peer has not ended the stream");
        } else {
            let mut ws = ws;
            while !ws.is_closed() {
                assert!(ws.poll_recv(&mut cx).is_pending());
                polls += 1;
                assert!(polls < 10_000);
            }
        }
    };
    for (in_parts, split) in [(false, false), (false, true), (true, false)] {
        (0..2).for_each(|_| fail(in_parts, split));
        let allocated = measure(|| fail(in_parts, split));
        // A message that grows, and the compressed data that is gathered before it is decompressed.
        let most = if in_parts { 0 } else { (2 * LIMIT + LIMIT / 16) as u64 };
        assert!(allocated.bytes_max <= most + OVERHEAD, "{}", allocated.bytes_max);
        assert_eq!(allocated.bytes_current, 0);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn row_42_a_gibibyte_of_zeros_is_read_in_constant_memory_while_other_tasks_run() {
    let input = compressed(bomb());
    let turns = std::rc::Rc::new(std::cell::Cell::new(0));
    let local = tokio::task::LocalSet::new();
    let counted = turns.clone();
    local.spawn_local(async move {
        loop {
            counted.set(counted.get() + 1);
            tokio::task::yield_now().await;
        }
    });
    let mut ws = server(&quiet(), Deflate::new(), &input, usize::MAX);
    let mut read = 0_u64;
    local
        .run_until(async {
            let mut reader = ws.reader(1 << 30).await.expect("valid").expect("a message");
            while let Some(part) = reader.recv_part().await.expect("valid") {
                read += part.len() as u64;
            }
        })
        .await;
    assert_eq!(read, 1 << 30);
    assert!(turns.get() > 50, "{}", turns.get());

    let allocated = measure(|| {
        let mut ws = server(&quiet(), Deflate::new(), &input, usize::MAX);
        let mut cx = Context::from_waker(Waker::noop());
        let mut reading = pin!(tokio::task::coop::unconstrained(async {
            let mut reader = ws.reader(1 << 30).await.expect("valid").expect("a message");
            while reader.recv_part().await.expect("valid").is_some() {}
        }));
        assert!(matches!(reading.as_mut().poll(&mut cx), Poll::Ready(())));
    });
    assert!(allocated.bytes_max <= OVERHEAD, "{}", allocated.bytes_max);
}

#[tokio::test(flavor = "current_thread")]
async fn row_42_other_tasks_run_while_a_bomb_is_inflated() {
    let input = compressed(bomb());
    let config = quiet().max_message_size(128 << 20).close_timeout(None);
    let mut ws = server(&config, Deflate::new(), &input, usize::MAX);
    let (mut cx, mut turns) = (Context::from_waker(Waker::noop()), 0);
    // Polled by hand, within the budget of a task.
    while !ws.is_closed() {
        let mut once = pin!(tokio::task::coop::cooperative(std::future::poll_fn(|cx| ws.poll_recv(cx))));
        assert!(once.as_mut().poll(&mut cx).is_pending());
        turns += 1;
        tokio::task::yield_now().await;
    }
    assert!(turns >= 4, "{turns}");
}

#[test]
fn a_hundred_mebibytes_are_written_in_constant_memory() {
    for settings in takeovers() {
        let part = json(1 << 20);
        let write = || {
            let mut ws = server(&quiet(), settings, b"", usize::MAX);
            let mut cx = Context::from_waker(Waker::noop());
            let mut writing = pin!(tokio::task::coop::unconstrained(async {
                use tokio::io::AsyncWriteExt;
                let mut writer = ws.writer(fullduplex::MessageKind::Binary).expect("open");
                for _ in 0..100 {
                    writer.write_all(part.as_bytes()).await.expect("open");
                }
                writer.finish().await.expect("open");
            }));
            // Compression yields repeatedly.
            let turns = (0..100_000).take_while(|_| writing.as_mut().poll(&mut cx).is_pending()).count();
            assert!((1..100_000).contains(&turns), "{turns}");
        };
        let allocated = measure(write);
        assert!(allocated.bytes_max <= 3 << 20, "{}", allocated.bytes_max);
    }
}

#[test]
fn a_prepared_message_is_compressed_once_for_all_connections_with_the_same_parameters() {
    let message = PreparedMessage::new(json(500_000));
    let send = |settings| {
        let mut ws = server(&quiet(), settings, b"", usize::MAX);
        ws.start_send(&message).expect("open");
        write_all(&mut ws);
    };
    let [alone, takeover] = takeovers();
    send(alone);
    for settings in [alone, takeover, alone.threshold(0), alone.context_takeover(true).level(6)] {
        let again = measure(|| send(settings));
        assert!(again.bytes_total <= 1000, "{}", again.bytes_total);
    }
}

#[test]
fn a_client_masks_an_uncompressed_message_in_place() {
    let send = |message: &mut Option<Outgoing>| {
        let negotiated = Negotiated::default().with_deflate(Deflate::new().into());
        let io = Replay { input: b"", chunk: usize::MAX };
        let config = quiet().max_write_buffer_size(4 << 20);
        let ws = WebSocket::from_raw(io, Bytes::new(), Role::Client, &config, negotiated);
        let (_receiver, sender) = ws.split();
        sender.try_send(message.take().expect("sent once")).expect("room");
    };
    let message = || Some(Outgoing::from(noise(1 << 20)).compress(false));
    send(&mut message());
    let mut message = message();
    let allocated = measure(|| send(&mut message));
    assert!(allocated.bytes_max <= 10_000, "{}", allocated.bytes_max);
}

#[test]
fn empty_fragments_and_empty_blocks_require_few_allocations() {
    let count = 50_000;
    let mut fragments = vec![continuation("").more().masked(); count];
    fragments[0] = frame(2, "").rsv(4).more().masked();
    fragments.push(continuation(b"\xF2\x48\xCD\xC9\xC9\x07\x00").masked());
    let mut blocks = vec![continuation(b"\x00\x00\x00\xFF\xFF\x03\x00").more().masked(); count];
    blocks[0] = frame(2, b"\xF3\x48\xCD\xC9\xC9\x07\x00").rsv(4).more().masked();
    blocks.push(continuation(b"\x00").masked());
    for frames in [fragments, blocks] {
        let mut received = 0;
        let allocated = after(&quiet(), Deflate::new(), &wire(&frames), usize::MAX, |_, message| {
            assert_eq!(message.as_bytes(), b"Hello");
            received += 1;
        });
        assert_eq!(received, 5);
        // Received data is collected in a buffer that doubles.
        let gathered = 2 * wire(&frames).len() as u64;
        assert!(allocated.bytes_max <= OVERHEAD + gathered, "{}", allocated.bytes_max);
        assert!(allocated.count_total <= 2000, "{}", allocated.count_total);
    }
}

#[test]
fn row_63_a_byte_after_a_compressed_message_retains_no_read_buffer() {
    let next = binary(vec![7; 10_000]).masked().build();
    let input = [compressed(zip(json(1000))), next[..1].to_vec()].concat();
    let mut kept = Vec::with_capacity(1000);
    let receive = |kept: &mut Vec<_>| {
        let io = Replay { input: &input, chunk: usize::MAX };
        let mut ws = WebSocket::from_raw(io, Bytes::new(), Role::Server, &quiet(), agreed(Deflate::new()));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(message) = ws.poll_recv(&mut cx) else { panic!("no message was received") };
        drop(message.expect("valid").expect("no Close was received"));
        kept.push(ws);
    };
    receive(&mut kept);
    let held = measure(|| (0..900).for_each(|_| receive(&mut kept)));
    let each = (held.bytes_current as usize).saturating_sub(100 << 10) / 900;
    assert!(each <= 512, "{each} bytes each");
}

#[test]
fn row_64_small_prepared_messages_to_be_compressed_occupy_at_most_4_times_max_write_buffer_size() {
    const ROOM: usize = 1 << 20;
    let settings = Deflate::new();
    let config = quiet().max_write_buffer_size(ROOM).write_timeout(None);
    for len in [0, 1, 16, 48, 49, 100, 300] {
        let message = PreparedMessage::new("x".repeat(len));
        let mut kept = None;
        let held = measure(|| {
            let mut ws = WebSocket::from_raw(Stuck, Bytes::new(), Role::Server, &config, agreed(settings));
            let mut cx = Context::from_waker(Waker::noop());
            while ws.poll_ready(&mut cx, len).is_ready() {
                ws.start_send(Outgoing::from(&message).compress(true)).expect("open");
                if ws.queued_bytes() + len + 2 > ROOM {
                    break;
                }
            }
            kept = Some(ws);
        });
        assert!(held.bytes_max <= 4 * ROOM as u64, "{len}: {}", held.bytes_max);
        let queued = kept.expect("it was opened").queued_bytes();
        assert!(queued + len + 2 > ROOM, "{len}: only {queued} bytes are queued");
    }
}
