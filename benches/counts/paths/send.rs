//! Sending with a whole connection.

use std::hint::black_box;

use bytes::Bytes;
use counts::{Replay, now};
use fullduplex::{Role, WebSocket};
use gungraun::prelude::*;

use crate::open;

/// A connection, and messages without other references, which a client masks in place.
pub(crate) struct Sending {
    ws: WebSocket<Replay>,
    messages: Vec<Bytes>,
}

fn messages(count: usize, len: usize) -> Vec<Bytes> {
    (0..count).map(|_| Bytes::from(vec![0x55; len])).collect()
}

fn send_all(ws: &mut WebSocket<Replay>, messages: &mut Vec<Bytes>) {
    for message in messages.drain(..) {
        now(ws.send(message)).expect("open");
    }
}

fn sending(role: Role, count: usize, len: usize) -> Sending {
    let mut ws = open(Replay::silent(), role);
    send_all(&mut ws, &mut messages(count, len));
    Sending { ws, messages: messages(count, len) }
}

#[library_benchmark]
#[bench::server_16(sending(Role::Server, 256, 16))]
#[bench::client_16(sending(Role::Client, 256, 16))]
#[bench::server_16k(sending(Role::Server, 64, 16 << 10))]
#[bench::client_16k(sending(Role::Client, 64, 16 << 10))]
fn send_each(mut sending: Sending) -> Sending {
    send_all(&mut sending.ws, &mut sending.messages);
    sending
}

fn feed_all(ws: &mut WebSocket<Replay>, messages: &mut Vec<Bytes>) {
    for message in messages.drain(..) {
        now(ws.feed(message)).expect("open");
    }
    now(ws.flush()).expect("open");
}

fn feeding(role: Role, count: usize, len: usize) -> Sending {
    let mut ws = open(Replay::silent(), role);
    feed_all(&mut ws, &mut messages(count, len));
    feed_all(&mut ws, &mut messages(count, len));
    Sending { ws, messages: messages(count, len) }
}

// All of them are written by one flush.
#[library_benchmark]
#[bench::server_64(feeding(Role::Server, 256, 64))]
#[bench::client_64(feeding(Role::Client, 256, 64))]
fn feed(mut sending: Sending) -> Sending {
    feed_all(&mut sending.ws, &mut sending.messages);
    sending
}

/// A connection, and a message that it borrows.
struct Lending {
    ws: WebSocket<Replay>,
    message: Vec<u8>,
}

impl Lending {
    fn send(&mut self, count: usize) {
        for _ in 0..count {
            now(self.ws.send(black_box(&self.message))).expect("open");
        }
    }
}

fn lending(role: Role, len: usize) -> Lending {
    let mut lending = Lending { ws: open(Replay::silent(), role), message: vec![0x55; len] };
    lending.send(2);
    lending
}

#[library_benchmark]
#[bench::server_16(lending(Role::Server, 16))]
#[bench::client_16(lending(Role::Client, 16))]
#[bench::server_32(lending(Role::Server, 32))]
#[bench::client_32(lending(Role::Client, 32))]
#[bench::server_1k(lending(Role::Server, 1 << 10))]
#[bench::client_1k(lending(Role::Client, 1 << 10))]
#[bench::server_16k(lending(Role::Server, 16 << 10))]
#[bench::client_16k(lending(Role::Client, 16 << 10))]
fn send_borrowed(mut lending: Lending) -> Lending {
    lending.send(256);
    lending
}

library_benchmark_group!(name = send_paths, benchmarks = [send_each, feed, send_borrowed]);
