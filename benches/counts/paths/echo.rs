//! Echoes, with a whole connection and with the halves of a split one, in one task.

use std::task::{Context, Poll, Waker};

use counts::{Replay, masked, now};
use fullduplex::{Message, Receiver, Role, Sender, WebSocket, proto::Opcode};
use gungraun::prelude::*;

use crate::open;

/// How an echo answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// Each message is queued; the receiver writes all of them when it waits.
    Feed,
    /// Each message is sent and flushed by itself.
    Send,
}

/// An end that echoes bursts of messages.
pub(crate) trait Echo {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Message>;
    fn answer(&mut self, message: Message, answer: Answer);
}

impl Echo for WebSocket<Replay> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        self.poll_recv(cx).map(|message| message.expect("valid").expect("no Close comes"))
    }

    fn answer(&mut self, message: Message, answer: Answer) {
        match answer {
            Answer::Feed => now(self.feed(message)),
            Answer::Send => now(self.send(message)),
        }
        .expect("open");
    }
}

impl Echo for (Receiver<Replay>, Sender) {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        self.0.poll_recv(cx).map(|message| message.expect("valid").expect("no Close comes"))
    }

    fn answer(&mut self, message: Message, answer: Answer) {
        match answer {
            Answer::Feed => now(self.1.feed(message)),
            Answer::Send => now(self.1.send(message)),
        }
        .expect("open");
    }
}

/// Echoes as many bursts, each of which the stream returns with one read.
fn echo_all(end: &mut impl Echo, answer: Answer, bursts: usize) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..bursts {
        while let Poll::Ready(message) = end.poll(&mut cx) {
            end.answer(message, answer);
        }
    }
}

fn burst(of: usize) -> WebSocket<Replay> {
    open(Replay::new(masked(Opcode::Binary, &[0x55; 64]).repeat(of)), Role::Server)
}

fn whole(of: usize, answer: Answer) -> (WebSocket<Replay>, Answer) {
    let mut ws = burst(of);
    echo_all(&mut ws, answer, 2);
    (ws, answer)
}

fn halves(of: usize, answer: Answer) -> ((Receiver<Replay>, Sender), Answer) {
    let mut halves = burst(of).split();
    echo_all(&mut halves, answer, 2);
    (halves, answer)
}

#[library_benchmark]
#[bench::feed_1(whole(1, Answer::Feed))]
#[bench::feed_32(whole(32, Answer::Feed))]
#[bench::send_1(whole(1, Answer::Send))]
fn whole_echo((mut ws, answer): (WebSocket<Replay>, Answer)) -> WebSocket<Replay> {
    echo_all(&mut ws, answer, 64);
    ws
}

#[library_benchmark]
#[bench::feed_1(halves(1, Answer::Feed))]
#[bench::feed_32(halves(32, Answer::Feed))]
#[bench::send_1(halves(1, Answer::Send))]
fn split_echo((mut halves, answer): ((Receiver<Replay>, Sender), Answer)) -> (Receiver<Replay>, Sender) {
    echo_all(&mut halves, answer, 64);
    halves
}

library_benchmark_group!(name = echo_paths, benchmarks = [whole_echo, split_echo]);
