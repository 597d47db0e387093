//! Receiving with a whole connection: bursts of messages that are available at once.

use std::{
    hint::black_box,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use counts::{ASCII, MIXED, Replay, fragments, masked, text, unmasked};
use fullduplex::{Config, Role, WebSocket, handshake::Negotiated, proto::Opcode};
use gungraun::prelude::*;
use tokio::runtime::Runtime;

use crate::open;

fn receive_burst(ws: &mut WebSocket<Replay>) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(message) = ws.poll_recv(&mut cx) {
        black_box(message.expect("valid").expect("no Close comes"));
    }
}

/// Returns a connection that has received its burst twice.
fn warm(io: Replay, role: Role) -> WebSocket<Replay> {
    let mut ws = open(io, role);
    receive_burst(&mut ws);
    receive_burst(&mut ws);
    ws
}

fn server(count: usize, frame: Vec<u8>) -> WebSocket<Replay> {
    warm(Replay::new(frame.repeat(count)), Role::Server)
}

fn binary(count: usize, len: usize) -> WebSocket<Replay> {
    server(count, masked(Opcode::Binary, &vec![0x55; len]))
}

fn text_of(count: usize, len: usize, pattern: &str) -> WebSocket<Replay> {
    server(count, masked(Opcode::Text, text(pattern, len).as_bytes()))
}

fn client(count: usize, len: usize) -> WebSocket<Replay> {
    let frame = unmasked(Opcode::Text, text(ASCII, len).as_bytes());
    warm(Replay::new(frame.repeat(count)), Role::Client)
}

fn in_fragments(count: usize, len: usize) -> WebSocket<Replay> {
    server(count, fragments(text(ASCII, len).as_bytes()))
}

/// Returns a connection on which each read returns a ping and a message. With more in one read, the
/// number of pongs written at once would depend on the time.
fn with_pings(count: usize, len: usize) -> WebSocket<Replay> {
    let mut frames = masked(Opcode::Ping, b"is there");
    frames.extend(masked(Opcode::Text, text(ASCII, len).as_bytes()));
    warm(Replay::in_chunks(frames.repeat(count), frames.len()), Role::Server)
}

/// Returns a connection on which frames end anywhere in a read.
fn cut(count: usize, len: usize) -> WebSocket<Replay> {
    let frame = masked(Opcode::Text, text(ASCII, len).as_bytes());
    warm(Replay::in_chunks(frame.repeat(count), 1460), Role::Server)
}

#[library_benchmark]
#[bench::binary_16(binary(256, 16))]
#[bench::text_128(text_of(256, 128, ASCII))]
#[bench::ascii_1k(text_of(32, 1 << 10, ASCII))]
#[bench::mixed_1k(text_of(32, 1 << 10, MIXED))]
#[bench::binary_16k(binary(16, 16 << 10))]
#[bench::binary_128k(binary(4, 128 << 10))]
#[bench::client_128(client(256, 128))]
#[bench::fragments_4x64(in_fragments(64, 256))]
#[bench::ping_in_each_read_128(with_pings(128, 128))]
#[bench::cut_128(cut(256, 128))]
fn recv(mut ws: WebSocket<Replay>) -> WebSocket<Replay> {
    receive_burst(&mut ws);
    ws
}

/// A connection with keep-alive, and the runtime of its timers.
struct KeptAlive {
    runtime: Runtime,
    ws: WebSocket<Replay>,
}

fn kept_alive(count: usize, len: usize) -> KeptAlive {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let guard = runtime.enter();
    let io = Replay::new(masked(Opcode::Text, text(ASCII, len).as_bytes()).repeat(count));
    let mut ws = WebSocket::from_raw(io, Bytes::new(), Role::Server, &Config::new(), Negotiated::default());
    receive_burst(&mut ws);
    receive_burst(&mut ws);
    drop(guard);
    KeptAlive { runtime, ws }
}

#[library_benchmark]
#[bench::text_128(kept_alive(256, 128))]
fn recv_kept_alive(mut kept: KeptAlive) -> KeptAlive {
    let guard = kept.runtime.enter();
    receive_burst(&mut kept.ws);
    drop(guard);
    kept
}

fn echo_burst(ws: &mut WebSocket<Replay>) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(message) = ws.poll_recv(&mut cx) {
        let message = message.expect("valid").expect("no Close comes");
        counts::now(ws.feed(message)).expect("open");
    }
}

fn echoing(count: usize, len: usize) -> WebSocket<Replay> {
    let mut ws = open(Replay::new(masked(Opcode::Binary, &vec![0x55; len]).repeat(count)), Role::Server);
    echo_burst(&mut ws);
    echo_burst(&mut ws);
    ws
}

// Eight bursts, each answered by one write.
#[library_benchmark]
#[bench::burst_32x64(echoing(32, 64))]
fn echo(mut ws: WebSocket<Replay>) -> WebSocket<Replay> {
    for _ in 0..8 {
        echo_burst(&mut ws);
    }
    ws
}

library_benchmark_group!(name = receive_paths, benchmarks = [recv, recv_kept_alive, echo]);
