//! permessage-deflate, with and without context takeover: messages of 1 KiB of JSON.

use std::{
    hint::black_box,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use counts::{Recorder, Replay, now};
use fullduplex::{Deflate, Role, WebSocket, handshake::Negotiated};
use gungraun::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite};

use self::feed::Feed;
use crate::quiet;

#[path = "../../support/feed.rs"]
mod feed;

/// The number of messages in one run.
const COUNT: usize = 16;

fn open<S: AsyncRead + AsyncWrite + Unpin>(io: S, role: Role, takeover: bool) -> WebSocket<S> {
    let settings = Deflate::new().context_takeover(takeover);
    let negotiated = Negotiated::default().with_deflate(settings.into());
    WebSocket::from_raw(io, Bytes::new(), role, &quiet().deflate(settings), negotiated)
}

fn messages(feed: &mut Feed) -> Vec<String> {
    (0..COUNT).map(|_| feed.message(1 << 10)).collect()
}

fn send_all<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocket<S>, messages: &mut Vec<String>) {
    for message in messages.drain(..) {
        now(ws.send(message)).expect("open");
    }
}

struct Sending {
    ws: WebSocket<Replay>,
    messages: Vec<String>,
}

fn sending(takeover: bool) -> Sending {
    let (mut ws, mut feed) = (open(Replay::silent(), Role::Server, takeover), Feed::new());
    send_all(&mut ws, &mut messages(&mut feed));
    Sending { ws, messages: messages(&mut feed) }
}

#[library_benchmark]
#[bench::alone_1k(sending(false))]
#[bench::takeover_1k(sending(true))]
fn deflate_send(mut sending: Sending) -> Sending {
    send_all(&mut sending.ws, &mut sending.messages);
    sending
}

fn receive_burst(ws: &mut WebSocket<Replay>) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(message) = ws.poll_recv(&mut cx) {
        black_box(message.expect("valid").expect("no Close comes"));
    }
}

/// Returns a client that receives the recorded output of a server. Messages refer only to data
/// within the replay, so that it can begin again.
fn receiving(takeover: bool) -> WebSocket<Replay> {
    let mut recorded = open(Recorder::default(), Role::Server, takeover);
    send_all(&mut recorded, &mut messages(&mut Feed::new()));
    let input = recorded.get_ref().recorded().to_vec();
    let mut ws = open(Replay::new(input), Role::Client, takeover);
    receive_burst(&mut ws);
    receive_burst(&mut ws);
    ws
}

#[library_benchmark]
#[bench::alone_1k(receiving(false))]
#[bench::takeover_1k(receiving(true))]
fn deflate_recv(mut ws: WebSocket<Replay>) -> WebSocket<Replay> {
    receive_burst(&mut ws);
    ws
}

library_benchmark_group!(name = deflate_paths, benchmarks = [deflate_send, deflate_recv]);
