//! What connections hold and allocate, counted by the allocator.

use std::{
    borrow::Cow,
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use fullduplex::{
    Config, Error, Message, PreparedMessage, Role, Sender, WebSocket, handshake::Negotiated, proto::Closing,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

mod support;

use support::frames::{binary, continuation, frame, ping, text, wire};

/// A stream that brings its input in reads of at most `chunk` bytes and discards what it takes; it allocates nothing.
#[derive(Debug)]
struct Replay<'a> {
    input: &'a [u8],
    chunk: usize,
}

impl AsyncRead for Replay<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Poll::Pending;
        }
        let (part, rest) = self.input.split_at(self.input.len().min(buffer.remaining()).min(self.chunk));
        buffer.put_slice(part);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Receives until nothing more comes for now; each message is handed to `handle`.
fn receive_all<'a>(
    ws: &mut WebSocket<Replay<'a>>,
    mut handle: impl FnMut(&mut WebSocket<Replay<'a>>, Message),
) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(message) = ws.poll_recv(&mut cx) {
        handle(ws, message.expect("nothing is wrong").expect("no Close came"));
    }
}

fn server<'a>(config: &Config, input: &'a [u8], chunk: usize) -> WebSocket<Replay<'a>> {
    WebSocket::from_raw(Replay { input, chunk }, Bytes::new(), Role::Server, config, Negotiated::default())
}

fn quiet() -> Config {
    Config::new().ping_interval(None)
}

/// What a connection that has received this input, and echoed its messages, still holds, and what it allocated on the way;
/// earlier connections have warmed the thread's pool.
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
fn a_connection_is_at_most_192_bytes_beyond_its_stream() {
    assert!(size_of::<WebSocket<TcpStream>>() - size_of::<TcpStream>() <= 192);
    assert!(size_of::<WebSocket<u64>>() - size_of::<u64>() <= 192);
}

#[test]
fn an_idle_connection_holds_no_heap() {
    assert_eq!(after_echoing(&quiet(), &[], usize::MAX).bytes_current, 0);
}

#[test]
fn an_idle_connection_holds_no_heap_after_a_small_message() {
    assert_eq!(after_echoing(&quiet(), &text("hello").masked().build(), usize::MAX).bytes_current, 0);
}

#[test]
fn an_idle_connection_holds_no_heap_after_a_message_of_1_mib() {
    let input = binary(vec![1; 1 << 20]).masked().build();
    for chunk in [usize::MAX, 1000] {
        assert_eq!(after_echoing(&quiet(), &input, chunk).bytes_current, 0);
    }
}

#[test]
fn an_idle_connection_holds_no_heap_after_a_ping_however_it_was_cut() {
    let input = ping("are you there?").masked().build();
    for chunk in [usize::MAX, 1, 5] {
        assert_eq!(after_echoing(&quiet(), &input, chunk).bytes_current, 0);
    }
}

#[test]
fn an_idle_connection_holds_no_heap_after_fragments() {
    let input = wire(&[text("a").more().masked(), ping("").masked(), continuation("b").masked()]);
    for chunk in [usize::MAX, 1] {
        assert_eq!(after_echoing(&quiet(), &input, chunk).bytes_current, 0);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn keep_alive_holds_one_box_of_at_most_320_bytes() {
    let config = Config::new().ping_interval(Duration::from_secs(60));
    let held = after_echoing(&config, &text("hello").masked().build(), usize::MAX);
    assert_eq!(held.count_current, 1);
    assert!(held.bytes_current <= 320, "{}", held.bytes_current);
}

#[test]
fn a_kept_message_of_20_bytes_pins_no_read_buffer() {
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
fn a_kept_large_message_pins_at_most_twice_its_size() {
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
        let len = kept.expect("a message came").len() as i64;
        assert!(held.bytes_current <= 2 * len + 64, "{} for {len}", held.bytes_current);
    }
}

#[test]
fn row_26_a_reserved_opcode_with_a_huge_length_allocates_nothing_for_it() {
    let input = frame(0x3, "").declaring((1 << 63) - 1).masked().build();
    let fail = || {
        let mut ws = server(&quiet().close_timeout(None), &input, usize::MAX);
        assert!(ws.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending(), "the stream goes on");
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
fn row_29_what_is_allocated_for_a_large_frame_follows_what_has_arrived() {
    let config = quiet().max_message_size(2 << 30);
    let mut input = binary("").declaring(1 << 30).masked().build();
    input.resize(input.len() + 100_000, 0);
    let allocated = after_echoing(&config, &input, 1500);
    assert!(allocated.bytes_max <= 450_000, "{}", allocated.bytes_max);
}

#[test]
fn row_35_a_large_message_in_fragments_of_one_byte_takes_few_allocations_and_twice_its_size() {
    let count = 60_000;
    let mut frames = vec![continuation("x").more().masked(); count];
    frames[0] = binary("x").more().masked();
    frames.push(continuation("").masked());
    let allocated = after_echoing(&quiet().max_message_size(count), &wire(&frames), usize::MAX);
    assert!(allocated.count_total <= 40, "{}", allocated.count_total);
    assert!(allocated.bytes_max <= 4 * count as u64, "{}", allocated.bytes_max);
}

// On a clock that stands still: what is queued for a while is written in between, by other buffers.
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
fn row_63_a_byte_beyond_a_message_pins_no_read_buffer() {
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
                let Poll::Ready(message) = ws.poll_recv(&mut cx) else { panic!("a message came") };
                drop(message.expect("valid").expect("no Close came"));
                kept.push(ws);
            }
        });
        let each = (held.bytes_current as usize).saturating_sub(100 << 10) / CONNECTIONS;
        assert!(each <= rest + 256, "{each} bytes each for a rest of {rest}");
        // And nothing of it is lost.
        for ws in kept {
            assert_eq!(ws.into_inner().unread, next[..rest]);
        }
    }
}

#[test]
fn row_63_a_byte_beyond_the_last_of_several_messages_pins_no_read_buffer() {
    let messages = wire(&[text("a").masked(), binary(vec![7; 5000]).masked(), text("c").masked()]);
    let input = &messages[..messages.len() - 6];
    let mut kept = Vec::with_capacity(1000);
    let held = measure(|| {
        for _ in 0..1000 {
            let mut ws = server(&quiet(), input, usize::MAX);
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..2 {
                let Poll::Ready(message) = ws.poll_recv(&mut cx) else { panic!("a message came") };
                drop(message.expect("valid").expect("no Close came"));
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
        let Poll::Ready(message) = receiver.poll_recv(&mut cx) else { panic!("a message came") };
        sender.try_send(message.expect("valid").expect("no Close came")).expect("room");
        assert!(receiver.poll_recv(&mut cx).is_pending());
        assert_eq!(sender.queued_bytes(), 0);
        keep.then_some((receiver, sender))
    };
    (0..4).for_each(|_| drop(echo_split(false)));
    let mut kept = None;
    let held = measure(|| kept = echo_split(true));
    assert_eq!(held.count_current, 3);
    assert!(held.bytes_current <= 512, "{}", held.bytes_current);
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
    assert_eq!(queued, 1000 * 3 * 14, "the receivers write it");
    assert_eq!(allocated.count_total, 0);
}

/// Sends each of these once, by hand.
fn send_all(ws: &mut WebSocket<Replay<'_>>, sender: &Sender, vec: &mut Vec<u8>, long: bool) {
    let now = |future: Pin<&mut dyn Future<Output = Result<(), Error>>>| {
        let sent = future.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(sent, Poll::Ready(Ok(()))), "nothing is in its way");
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
        // It has more room than it needs, as what was written to has.
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

/// What sending borrowed messages allocates, once the pool is warm.
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
fn to_send_a_short_message_that_is_borrowed_allocates_nothing() {
    for role in [Role::Client, Role::Server] {
        assert_eq!(sending(role, false).count_total, 0);
    }
}

#[test]
fn a_long_message_that_is_borrowed_is_copied_once() {
    for role in [Role::Client, Role::Server] {
        let allocated = sending(role, true);
        assert_eq!(allocated.count_total, 6, "one for each message");
        assert!(allocated.bytes_total < 6 * 10_100, "{}", allocated.bytes_total);
    }
}

/// A stream that neither brings nor takes anything.
#[derive(Debug)]
struct Stuck;

impl AsyncRead for Stuck {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[test]
fn row_64_small_prepared_messages_take_at_most_4_times_max_write_buffer() {
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
fn the_future_of_the_handshake_adds_little_to_the_task() {
    let accept = pin!(fullduplex::accept(tokio::io::empty()));
    fn size_of_future<F: Future>(_: &F) -> usize {
        size_of::<F>()
    }
    assert!(size_of_future(&*accept) <= 64, "{}", size_of_future(&*accept));
}

// --- compressed messages

#[cfg(feature = "deflate")]
mod deflated {
    use std::{sync::LazyLock, task::Poll};

    use fullduplex::{Deflate, Outgoing};

    use super::{
        support::deflate::{Zip, agreed, json, noise, takeovers, zip},
        *,
    };

    fn compressed(payload: impl AsRef<[u8]>) -> Vec<u8> {
        frame(2, payload).rsv(4).masked().build()
    }

    /// A server that agreed to what it wants.
    fn server<'a>(
        config: &Config,
        settings: Deflate,
        input: &'a [u8],
        chunk: usize,
    ) -> WebSocket<Replay<'a>> {
        let config = config.clone().deflate(settings);
        WebSocket::from_raw(Replay { input, chunk }, Bytes::new(), Role::Server, &config, agreed(settings))
    }

    /// As for an uncompressed one, with `handle` for each message in place of an echo.
    fn after(
        config: &Config,
        settings: Deflate,
        input: &[u8],
        chunk: usize,
        mut handle: impl FnMut(&mut WebSocket<Replay<'_>>, Message),
    ) -> AllocationInfo {
        for _ in 0..4 {
            receive_all(&mut server(config, settings, input, chunk), &mut handle);
        }
        let mut kept = None;
        let held = measure(|| {
            let mut ws = server(config, settings, input, chunk);
            receive_all(&mut ws, &mut handle);
            assert_eq!(ws.queued_bytes(), 0);
            kept = Some(ws);
        });
        let freed = measure(|| drop(kept));
        assert_eq!(freed.bytes_current, -held.bytes_current, "dropped, it frees all");
        held
    }

    fn echo(ws: &mut WebSocket<Replay<'_>>, message: Message) {
        ws.start_send(message).expect("open");
    }

    /// What was agreed on, and how it sends and receives.
    const AGREED: i64 = 192;

    #[test]
    fn a_connection_that_waits_holds_no_compressor_and_no_window_without_takeover() {
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
    fn a_message_that_has_come_in_part_holds_what_has_come_of_it_and_no_window() {
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
        // Most that inflating starts with does not shrink; then zeros follow, up to the limit.
        let noise = noise(60_000);
        let zeros = vec![0; LIMIT - noise.len()];
        let payload = zip([&noise[..], &zeros].concat());
        // Nothing but zeros, up to the default limit.
        let bomb = zip(vec![0; 64 << 20]);
        let held = |config: &Config, settings, input: &[u8]| {
            after(config, settings, input, 30_000, |_, _| panic!("it is not complete")).bytes_current
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

    /// A mebibyte that inflates to a gibibyte.
    fn bomb() -> Vec<u8> {
        let mebibyte = vec![0; 1 << 20];
        let mut zip = Zip::new(true);
        let mut payload: Vec<u8> = (0..1023).flat_map(|_| zip.part(&mebibyte)).collect();
        payload.extend(zip.message(&mebibyte));
        payload
    }

    const LIMIT: usize = 4 << 20;
    /// A window, a read, and a step of room.
    const BESIDE: u64 = 300 << 10;

    #[test]
    fn row_42_a_bomb_ends_at_the_limit_with_little_more_memory_than_that() {
        // The halves of a connection own their stream.
        static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| compressed(bomb()));
        let bomb: &'static [u8] = &BOMB;
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
                assert!(reading.as_mut().poll(&mut cx).is_pending(), "the peer is to end the stream");
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
            let most = if in_parts { 0 } else { 2 * LIMIT as u64 };
            assert!(allocated.bytes_max <= most + BESIDE, "{}", allocated.bytes_max);
            assert_eq!(allocated.bytes_current, 0);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn row_42_a_gibibyte_of_zeros_is_read_in_constant_memory_and_leaves_others_their_turns() {
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
        assert!(allocated.bytes_max <= BESIDE, "{}", allocated.bytes_max);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn row_42_a_bomb_leaves_others_their_turns() {
        let input = compressed(bomb());
        let config = quiet().max_message_size(128 << 20).close_timeout(None);
        let mut ws = server(&config, Deflate::new(), &input, usize::MAX);
        let (mut cx, mut turns) = (Context::from_waker(Waker::noop()), 0);
        // Polled by hand, within what a task is allowed in one turn.
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
                assert!(writing.as_mut().poll(&mut cx).is_ready(), "nothing is in its way");
            };
            let allocated = measure(write);
            assert!(allocated.bytes_max <= 3 << 20, "{}", allocated.bytes_max);
        }
    }

    #[test]
    fn a_prepared_message_is_compressed_once_for_all_who_compress_alike() {
        let message = PreparedMessage::new(json(500_000));
        let send = |settings| {
            let mut ws = server(&quiet(), settings, b"", usize::MAX);
            ws.start_send(&message).expect("open");
            assert!(ws.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(ws.queued_bytes(), 0);
        };
        let [alone, takeover] = takeovers();
        send(alone);
        for settings in [alone, takeover, alone.threshold(0), alone.context_takeover(true).level(6)] {
            let again = measure(|| send(settings));
            assert!(again.bytes_total <= 1000, "{}", again.bytes_total);
        }
    }

    #[test]
    fn a_client_masks_in_place_what_is_not_to_be_compressed() {
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
    fn empty_fragments_and_empty_blocks_take_few_allocations() {
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
            // What has been received is gathered, in a buffer that doubles.
            let gathered = 2 * wire(&frames).len() as u64;
            assert!(allocated.bytes_max <= BESIDE + gathered, "{}", allocated.bytes_max);
            assert!(allocated.count_total <= 2000, "{}", allocated.count_total);
        }
    }

    #[test]
    fn row_63_a_byte_beyond_a_compressed_message_pins_no_read_buffer() {
        let next = binary(vec![7; 10_000]).masked().build();
        let input = [compressed(zip(json(1000))), next[..1].to_vec()].concat();
        let mut kept = Vec::with_capacity(1000);
        let receive = |kept: &mut Vec<_>| {
            let io = Replay { input: &input, chunk: usize::MAX };
            let mut ws =
                WebSocket::from_raw(io, Bytes::new(), Role::Server, &quiet(), agreed(Deflate::new()));
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(message) = ws.poll_recv(&mut cx) else { panic!("a message came") };
            drop(message.expect("valid").expect("no Close came"));
            kept.push(ws);
        };
        receive(&mut kept);
        let held = measure(|| (0..900).for_each(|_| receive(&mut kept)));
        let each = (held.bytes_current as usize).saturating_sub(100 << 10) / 900;
        assert!(each <= 512, "{each} bytes each");
    }

    #[test]
    fn row_64_small_prepared_messages_to_be_compressed_take_at_most_4_times_max_write_buffer() {
        const ROOM: usize = 1 << 20;
        let settings = Deflate::new();
        let config = quiet().max_write_buffer_size(ROOM).write_timeout(None);
        for len in [0, 1, 16, 48, 49, 100, 300] {
            let message = PreparedMessage::new("x".repeat(len));
            let mut kept = None;
            let held = measure(|| {
                let mut ws =
                    WebSocket::from_raw(Stuck, Bytes::new(), Role::Server, &config, agreed(settings));
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
        }
    }
}
