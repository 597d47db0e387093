//! The halves of a split connection.

use std::{
    hint::black_box,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use counts::{ASCII, Replay, masked, now, text};
use fullduplex::{PreparedMessage, Receiver, Role, Sender, proto::Opcode};
use gungraun::prelude::*;

use crate::open;

type Halves = (Receiver<Replay>, Sender);

/// Receives all available messages; the receiver then waits, and nothing is queued.
fn receive_burst(receiver: &mut Receiver<Replay>) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(message) = receiver.poll_recv(&mut cx) {
        black_box(message.expect("valid").expect("no Close comes"));
    }
}

fn halves(input: Vec<u8>) -> Halves {
    let (mut receiver, sender) = open(Replay::new(input), Role::Server).split();
    receive_burst(&mut receiver);
    receive_burst(&mut receiver);
    (receiver, sender)
}

fn receiving(count: usize, len: usize) -> Halves {
    halves(masked(Opcode::Text, text(ASCII, len).as_bytes()).repeat(count))
}

#[library_benchmark]
#[bench::text_128(receiving(256, 128))]
fn split_recv((mut receiver, sender): Halves) -> Halves {
    receive_burst(&mut receiver);
    (receiver, sender)
}

struct Sending {
    halves: Halves,
    messages: Vec<Bytes>,
}

fn messages(count: usize, len: usize) -> Vec<Bytes> {
    (0..count).map(|_| Bytes::from(vec![0x55; len])).collect()
}

fn send_all(sender: &Sender, messages: &mut Vec<Bytes>) {
    for message in messages.drain(..) {
        now(sender.send(message)).expect("open");
    }
}

fn feed_all(sender: &Sender, messages: &mut Vec<Bytes>) {
    for message in messages.drain(..) {
        now(sender.feed(message)).expect("open");
    }
    now(sender.flush()).expect("open");
}

fn sending(count: usize, len: usize, all: fn(&Sender, &mut Vec<Bytes>)) -> Sending {
    let halves = halves(Vec::new());
    all(&halves.1, &mut messages(count, len));
    all(&halves.1, &mut messages(count, len));
    Sending { halves, messages: messages(count, len) }
}

#[library_benchmark]
#[bench::server_16(sending(256, 16, send_all))]
fn split_send(mut sending: Sending) -> Sending {
    send_all(&sending.halves.1, &mut sending.messages);
    sending
}

// All of them are written by one flush.
#[library_benchmark]
#[bench::server_64(sending(256, 64, feed_all))]
fn split_feed(mut sending: Sending) -> Sending {
    feed_all(&sending.halves.1, &mut sending.messages);
    sending
}

struct Lending {
    halves: Halves,
    message: Vec<u8>,
}

impl Lending {
    fn send(&mut self, count: usize) {
        for _ in 0..count {
            now(self.halves.1.send(black_box(&self.message))).expect("open");
        }
    }
}

fn lending(role: Role, len: usize) -> Lending {
    let (mut receiver, sender) = open(Replay::silent(), role).split();
    receive_burst(&mut receiver);
    let mut lending = Lending { halves: (receiver, sender), message: vec![0x55; len] };
    lending.send(2);
    lending
}

#[library_benchmark]
#[bench::server_16(lending(Role::Server, 16))]
#[bench::client_16(lending(Role::Client, 16))]
#[bench::server_16k(lending(Role::Server, 16 << 10))]
#[bench::client_16k(lending(Role::Client, 16 << 10))]
fn split_send_borrowed(mut lending: Lending) -> Lending {
    lending.send(256);
    lending
}

struct Broadcast {
    message: PreparedMessage,
    members: Vec<Halves>,
}

impl Broadcast {
    /// Queues the message for each member, and lets each receiver write it.
    fn send(&mut self) {
        for (_, sender) in &self.members {
            sender.try_send(&self.message).expect("room");
        }
        for (receiver, _) in &mut self.members {
            receive_burst(receiver);
        }
    }
}

fn broadcast(members: usize, len: usize) -> Broadcast {
    let message = PreparedMessage::new(Bytes::from(vec![0x55; len]));
    let members = (0..members).map(|_| halves(Vec::new())).collect();
    let mut broadcast = Broadcast { message, members };
    broadcast.send();
    broadcast.send();
    broadcast
}

#[library_benchmark]
#[bench::to_64_of_128(broadcast(64, 128))]
#[bench::to_64_of_8k(broadcast(64, 8 << 10))]
fn prepared(mut broadcast: Broadcast) -> Broadcast {
    broadcast.send();
    broadcast
}

library_benchmark_group!(
    name = split_paths,
    benchmarks = [split_recv, split_send, split_feed, split_send_borrowed, prepared]
);
