//! The memory that connections hold and allocate, counted by the allocator.

use std::{
    borrow::Cow,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use fullduplex::{
    Config, Error, Message, PreparedMessage, Role, Sender, WebSocket, handshake::Negotiated, proto::Closing,
};
use tokio::net::TcpStream;

mod support;

use support::{
    frames::{binary, continuation, frame, ping, text, wire},
    replay::{Replay, Stuck, quiet, receive_all, server},
};

/// Returns what a connection holds after it has received this input and echoed its messages, and
/// what it allocated meanwhile. Earlier connections have filled the buffer pool of the thread.
fn after_echoing(config: &Config, input: &[u8], chunk: usize) -> AllocationInfo {
    let echo = |ws: &mut WebSocket<_>, message| ws.start_send(message).expect("open");
    for _ in 0..4 {
        receive_all(&mut server(config, input, chunk), echo);
    }
    let mut kept = None;
    measure(|| {
        let mut ws = server(config, input, chunk);
        receive_all(&mut ws, echo);
        assert_eq!(ws.queued_bytes(), 0);
        kept = Some(ws);
    })
}

#[test]
fn a_connection_is_at_most_192_bytes_larger_than_its_stream() {
    assert!(size_of::<WebSocket<TcpStream>>() - size_of::<TcpStream>() <= 192);
    assert!(size_of::<WebSocket<u64>>() - size_of::<u64>() <= 192);
}

#[test]
fn an_idle_connection_holds_no_heap_memory() {
    assert_eq!(after_echoing(&quiet(), &[], usize::MAX).bytes_current, 0);
}

#[test]
fn an_idle_connection_holds_no_heap_memory_after_a_small_message() {
    assert_eq!(after_echoing(&quiet(), &text("hello").masked().build(), usize::MAX).bytes_current, 0);
}

#[test]
fn an_idle_connection_holds_no_heap_memory_after_a_message_of_1_mib() {
    let input = binary(vec![1; 1 << 20]).masked().build();
    for chunk in [usize::MAX, 1000] {
        assert_eq!(after_echoing(&quiet(), &input, chunk).bytes_current, 0);
    }
}

#[test]
fn an_idle_connection_holds_no_heap_memory_after_a_ping_in_any_number_of_reads() {
    let input = ping("are you there?").masked().build();
    for chunk in [usize::MAX, 1, 5] {
        assert_eq!(after_echoing(&quiet(), &input, chunk).bytes_current, 0);
    }
}

#[test]
fn an_idle_connection_holds_no_heap_memory_after_fragments() {
    let input = wire(&[text("a").more().masked(), ping("").masked(), continuation("b").masked()]);
    for chunk in [usize::MAX, 1] {
        assert_eq!(after_echoing(&quiet(), &input, chunk).bytes_current, 0);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn keep_alive_holds_one_box_of_at_most_240_bytes() {
    let config = Config::new().ping_interval(Duration::from_secs(60));
    let held = after_echoing(&config, &text("hello").masked().build(), usize::MAX);
    assert_eq!(held.count_current, 1);
    assert!(held.bytes_current <= 240, "{}", held.bytes_current);
}

#[test]
fn a_stored_message_of_20_bytes_retains_no_read_buffer() {
    let input = wire(&[text("x".repeat(20)).masked(), text("y".repeat(3000)).masked()]);
    for chunk in [usize::MAX, 7] {
        receive_all(&mut server(&quiet(), &input, chunk), |_, _| ());
        let mut kept = None;
        let held = measure(|| {
            let mut ws = server(&quiet(), &input, chunk);
            receive_all(&mut ws, |_, message| kept = kept.take().or(Some(message)));
        });
        assert_eq!(kept, Some(Message::text("x".repeat(20))));
        assert_eq!(held.bytes_current, 20, "reads of {chunk}");
    }
}

#[test]
fn a_stored_large_message_retains_at_most_twice_its_size() {
    for input in [
        binary(vec![1; 300_000]).masked().build(),
        wire(&[binary(vec![1; 1000]).more().masked(), continuation(vec![1; 65]).masked()]),
        wire(
            &vec![binary([1]).more().masked(); 1]
                .into_iter()
                .chain(vec![continuation([1]).more().masked(); 998])
                .chain([continuation([1]).masked()])
                .collect::<Vec<_>>(),
        ),
    ] {
        let mut kept = None;
        receive_all(&mut server(&quiet(), &input, 5000), |_, _| ());
        let held = measure(|| {
            let mut ws = server(&quiet(), &input, 5000);
            receive_all(&mut ws, |_, message| kept = Some(message));
        });
        let len = kept.expect("a message was received").len() as i64;
        assert!(held.bytes_current <= 2 * len + 64, "{} for {len}", held.bytes_current);
    }
}

#[test]
fn row_26_a_reserved_opcode_with_a_huge_length_allocates_no_payload_buffer() {
    let input = frame(0x3, "").declaring((1 << 63) - 1).masked().build();
    let fail = || {
        let mut ws = server(&quiet().close_timeout(None), &input, usize::MAX);
        assert!(
            ws.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending(),
            "the stream has not ended"
        );
        assert_eq!(ws.closing(), Closing::Failed);
    };
    (0..4).for_each(|_| fail());
    let allocated = measure(fail);
    assert!(allocated.bytes_max <= 200, "{}", allocated.bytes_max);
}

#[test]
fn row_29_a_header_that_declares_1_gib_allocates_nothing() {
    let config = quiet().max_message_size(2 << 30);
    let input = binary("").declaring(1 << 30).masked().build();
    for chunk in [usize::MAX, 1] {
        let allocated = after_echoing(&config, &input, chunk);
        assert_eq!((allocated.count_total, allocated.bytes_current), (0, 0));
    }
}

#[test]
fn row_29_the_buffer_of_a_large_frame_grows_with_the_data_received() {
    let config = quiet().max_message_size(2 << 30);
    let mut input = binary("").declaring(1 << 30).masked().build();
    input.resize(input.len() + 100_000, 0);
    let allocated = after_echoing(&config, &input, 1500);
    assert!(allocated.bytes_max <= 450_000, "{}", allocated.bytes_max);
}

#[test]
fn row_35_a_large_message_in_fragments_of_one_byte_takes_few_allocations_and_at_most_4_times_its_size() {
    let count = 60_000;
    let mut frames = vec![continuation("x").more().masked(); count];
    frames[0] = binary("x").more().masked();
    frames.push(continuation("").masked());
    let allocated = after_echoing(&quiet().max_message_size(count), &wire(&frames), usize::MAX);
    assert!(allocated.count_total <= 40, "{}", allocated.count_total);
    assert!(allocated.bytes_max <= 4 * count as u64, "{}", allocated.bytes_max);
}

// The clock is paused, because what is queued for longer is written in between, with other buffers.
#[tokio::test(start_paused = true)]
async fn echoing_a_small_message_allocates_once_and_a_ping_never() {
    let echoed = tokio::task::coop::unconstrained(async {
        let messages = wire(&vec![text("a small message").masked(); 1000]);
        let pings = wire(&vec![ping("now").masked(); 1000]);
        [messages, pings].map(|input| after_echoing(&quiet(), &input, usize::MAX).count_total)
    });
    let [messages, pings] = echoed.await;
    assert!(messages <= 1000, "{messages}");
    assert_eq!(pings, 0);
}

#[test]
fn row_63_a_byte_after_a_message_retains_no_read_buffer() {
    const CONNECTIONS: usize = 1000;
    for rest in [1, 7, 4096] {
        // A message, and a part of the next one.
        let next = binary(vec![7; 10_000]).masked().build();
        let input = [text("a message").masked().build(), next[..rest].to_vec()].concat();
        let mut kept = Vec::with_capacity(CONNECTIONS);
        let held = measure(|| {
            for _ in 0..CONNECTIONS {
                let mut ws = server(&quiet(), &input, usize::MAX);
                let mut cx = Context::from_waker(Waker::noop());
                let Poll::Ready(message) = ws.poll_recv(&mut cx) else { panic!("no message was received") };
                drop(message.expect("valid").expect("no Close was received"));
                kept.push(ws);
            }
        });
        let each = (held.bytes_current as usize).saturating_sub(100 << 10) / CONNECTIONS;
        assert!(each <= rest + 256, "{each} bytes each for a rest of {rest}");
        // None of it is lost.
        for ws in kept {
            assert_eq!(ws.into_inner().unread, next[..rest]);
        }
    }
}

#[test]
fn row_63_a_byte_after_the_last_of_several_messages_retains_no_read_buffer() {
    let messages = wire(&[text("a").masked(), binary(vec![7; 5000]).masked(), text("c").masked()]);
    let input = &messages[..messages.len() - 6];
    let mut kept = Vec::with_capacity(1000);
    let held = measure(|| {
        for _ in 0..1000 {
            let mut ws = server(&quiet(), input, usize::MAX);
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..2 {
                let Poll::Ready(message) = ws.poll_recv(&mut cx) else { panic!("no message was received") };
                drop(message.expect("valid").expect("no Close was received"));
            }
            kept.push(ws);
        }
    });
    let each = (held.bytes_current as usize).saturating_sub(100 << 10) / 1000;
    assert!(each <= 256, "{each} bytes each");
}

#[test]
fn an_idle_split_connection_holds_one_allocation_for_what_its_halves_share_and_two_for_their_wakers() {
    static HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
    let echo_split = |keep: bool| {
        let (mut receiver, sender) = server(&quiet(), HELLO, usize::MAX).split();
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(message) = receiver.poll_recv(&mut cx) else { panic!("no message was received") };
        sender.try_send(message.expect("valid").expect("no Close was received")).expect("room");
        assert!(receiver.poll_recv(&mut cx).is_pending());
        assert_eq!(sender.queued_bytes(), 0);
        keep.then_some((receiver, sender))
    };
    (0..4).for_each(|_| drop(echo_split(false)));
    let mut kept = None;
    let held = measure(|| kept = echo_split(true));
    assert_eq!(held.count_current, 3);
    assert!(held.bytes_current <= 488, "{}", held.bytes_current);
}

#[test]
fn sending_a_prepared_message_to_a_split_connection_allocates_nothing() {
    let message = PreparedMessage::new("to everybody");
    let mut members: Vec<_> = (0..1000)
        .map(|_| {
            let (mut receiver, sender) = server(&quiet(), &[], usize::MAX).split();
            assert!(receiver.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
            (receiver, sender)
        })
        .collect();
    let mut broadcast = || {
        for _ in 0..3 {
            members.iter().for_each(|(_, sender)| sender.try_send(&message).expect("room"));
        }
        let queued = members.iter().map(|(_, sender)| sender.queued_bytes()).sum::<usize>();
        for (receiver, _) in &mut members {
            assert!(receiver.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        queued
    };
    for _ in 0..4 {
        broadcast();
    }
    let mut queued = 0;
    let allocated = measure(|| queued = broadcast());
    assert_eq!(queued, 1000 * 3 * 14, "the receivers write the messages");
    assert_eq!(allocated.count_total, 0);
}

/// Sends a message once in each way, and polls each future by hand.
fn send_all(ws: &mut WebSocket<Replay<'_>>, sender: &Sender, vec: &mut Vec<u8>, long: bool) {
    let now = |future: Pin<&mut dyn Future<Output = Result<(), Error>>>| {
        let sent = future.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(sent, Poll::Ready(Ok(()))), "the stream accepts everything");
    };
    let text = if long { LONG } else { "some words" };
    now(pin!(ws.send(text)));
    now(pin!(ws.feed(text.as_bytes())));
    now(pin!(ws.flush()));
    ws.start_send(Cow::Borrowed(text)).expect("open");
    now(pin!(ws.flush()));
    now(pin!(sender.send(text)));
    now(pin!(sender.feed(text)));
    now(pin!(sender.flush()));
    sender.try_send(text.as_bytes()).expect("room");
    if !long {
        // Its capacity exceeds its length, as that of a buffer that was written to does.
        now(pin!(ws.send(std::mem::take(vec))));
    }
}

static LONG: &str = {
    const BYTES: [u8; 10_000] = [b'x'; 10_000];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => unreachable!(),
    }
};

/// Returns what sending borrowed messages allocates, once the buffer pool is filled.
fn sending(role: Role, long: bool) -> AllocationInfo {
    let open = || {
        let io = Replay { input: &[], chunk: usize::MAX };
        WebSocket::from_raw(io, Bytes::new(), role, &quiet(), Negotiated::default())
    };
    let mut ws = open();
    let (mut receiver, sender) = open().split();
    assert!(receiver.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut allocated = AllocationInfo::default();
    for _ in 0..4 {
        let mut vec = Vec::with_capacity(100);
        vec.extend_from_slice(b"some data");
        allocated = measure(|| {
            send_all(&mut ws, &sender, &mut vec, long);
            assert!(receiver.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
        });
    }
    allocated
}

#[test]
fn sending_a_short_borrowed_message_allocates_nothing() {
    for role in [Role::Client, Role::Server] {
        assert_eq!(sending(role, false).count_total, 0);
    }
}

#[test]
fn a_long_borrowed_message_is_copied_once_if_it_is_queued_or_masked() {
    // A server does not copy the two that are sent while nothing is queued.
    for (role, copies) in [(Role::Client, 6), (Role::Server, 4)] {
        let allocated = sending(role, true);
        assert_eq!(allocated.count_total, copies, "{role:?}");
        assert!(allocated.bytes_total < copies * 10_100, "{}", allocated.bytes_total);
    }
}

#[test]
fn row_64_small_prepared_messages_occupy_at_most_4_times_max_write_buffer_size() {
    const ROOM: usize = 1 << 20;
    let config = quiet().max_write_buffer_size(ROOM).write_timeout(None);
    for lens in [[0, 0], [2, 2], [20, 20], [125, 126], [256, 256], [257, 257], [2, 257], [5000, 1]] {
        for role in [Role::Server, Role::Client] {
            let messages = lens.map(|len| PreparedMessage::new("x".repeat(len)));
            let (mut queued, mut kept) = (0, None);
            let held = measure(|| {
                let ws = WebSocket::from_raw(Stuck, Bytes::new(), role, &config, Negotiated::default());
                let (receiver, sender) = ws.split();
                let mut next = messages.iter().cycle().take(1_000_000);
                while next.next().is_some_and(|message| sender.try_send(message).is_ok()) {}
                queued = sender.queued_bytes();
                kept = Some((receiver, sender));
            });
            assert!(queued > ROOM - 10_000, "{queued}");
            assert!(held.bytes_max <= 4 * ROOM as u64, "{lens:?} {role:?}: {}", held.bytes_max);
        }
    }
}

#[test]
fn the_future_of_accept_is_at_most_64_bytes() {
    let accept = pin!(fullduplex::accept(tokio::io::empty()));
    fn size_of_future<F: Future>(_: &F) -> usize {
        size_of::<F>()
    }
    assert!(size_of_future(&*accept) <= 64, "{}", size_of_future(&*accept));
}
