//! What connections hold and allocate, counted by the allocator.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use fullduplex::{Config, Message, PreparedMessage, Role, WebSocket, handshake::Negotiated, proto::Closing};
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
        assert_eq!(ws.queued(), 0);
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

#[test]
fn echoing_a_small_message_allocates_once_and_a_ping_never() {
    let messages = wire(&vec![text("a small message").masked(); 1000]);
    assert!(after_echoing(&quiet(), &messages, usize::MAX).count_total <= 1000);
    let pings = wire(&vec![ping("now").masked(); 1000]);
    assert_eq!(after_echoing(&quiet(), &pings, usize::MAX).count_total, 0);
}

#[test]
fn an_idle_split_connection_holds_one_allocation_for_what_its_halves_share_and_one_for_their_wakers() {
    static HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
    let echo_split = |keep: bool| {
        let (mut receiver, sender) = server(&quiet(), HELLO, usize::MAX).split();
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(message) = receiver.poll_recv(&mut cx) else { panic!("a message came") };
        sender.try_send(message.expect("valid").expect("no Close came")).expect("room");
        assert!(receiver.poll_recv(&mut cx).is_pending());
        assert_eq!(sender.queued(), 0);
        keep.then_some((receiver, sender))
    };
    (0..4).for_each(|_| drop(echo_split(false)));
    let mut kept = None;
    let held = measure(|| kept = echo_split(true));
    assert_eq!(held.count_current, 2);
    assert!(held.bytes_current <= 400, "{}", held.bytes_current);
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
        let queued = members.iter().map(|(_, sender)| sender.queued()).sum::<usize>();
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

#[test]
fn the_future_of_the_handshake_adds_little_to_the_task() {
    let accept = pin!(fullduplex::accept(tokio::io::empty()));
    fn size_of_future<F: Future>(_: &F) -> usize {
        size_of::<F>()
    }
    assert!(size_of_future(&*accept) <= 64, "{}", size_of_future(&*accept));
}
