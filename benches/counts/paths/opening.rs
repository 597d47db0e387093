//! The opening handshake of both ends, and the lifetime of an idle connection.

use std::{
    hint::black_box,
    task::{Context, Waker},
};

use bytes::Bytes;
use counts::{Acceptor, Replay, now};
use fullduplex::{Client, Config, Role, WebSocket, handshake::Negotiated};
use gungraun::prelude::*;
use tokio::runtime::Runtime;

use crate::quiet;

/// The request of a browser.
const REQUEST: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\nConnection: Upgrade\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\nUpgrade: websocket\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Origin: https://server.example.com\r\nSec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// The number of connections in one run.
const HANDSHAKES: usize = 16;
const IDLE: usize = 256;

/// Returns a runtime with timers, which deadlines need.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

fn warm(run: fn(Runtime) -> Runtime) -> Runtime {
    run(run(runtime()))
}

fn accept_all(runtime: Runtime) -> Runtime {
    let guard = runtime.enter();
    for _ in 0..HANDSHAKES {
        black_box(now(fullduplex::accept(Replay::new(REQUEST)))).expect("a request");
    }
    drop(guard);
    runtime
}

fn connect_all(runtime: Runtime) -> Runtime {
    let guard = runtime.enter();
    let client = Client::default();
    for _ in 0..HANDSHAKES {
        let opened = now(client.handshake("ws://server.example.com/chat", Acceptor::default()));
        black_box(opened).expect("accepted");
    }
    drop(guard);
    runtime
}

#[library_benchmark]
#[bench::server(warm(accept_all))]
fn handshake_accept(runtime: Runtime) -> Runtime {
    accept_all(runtime)
}

#[library_benchmark]
#[bench::client(warm(connect_all))]
fn handshake_connect(runtime: Runtime) -> Runtime {
    connect_all(runtime)
}

/// Creates connections, polls each once, and drops them.
fn idle_all(runtime: &Runtime, config: &Config) {
    let guard = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..IDLE {
        let mut ws =
            WebSocket::from_raw(Replay::silent(), Bytes::new(), Role::Server, config, Negotiated::default());
        assert!(black_box(&mut ws).poll_recv(&mut cx).is_pending());
    }
    drop(guard);
}

fn idle_warm(config: Config) -> (Runtime, Config) {
    let runtime = runtime();
    idle_all(&runtime, &config);
    (runtime, config)
}

#[library_benchmark]
#[bench::quiet(idle_warm(quiet()))]
#[bench::keep_alive(idle_warm(Config::new()))]
fn idle((runtime, config): (Runtime, Config)) -> (Runtime, Config) {
    idle_all(&runtime, &config);
    (runtime, config)
}

library_benchmark_group!(name = opening_paths, benchmarks = [handshake_accept, handshake_connect, idle]);
