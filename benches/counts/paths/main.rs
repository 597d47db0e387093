//! The counted paths, one module for each part of the API. Each function is a path for each of its
//! `bench` attributes. Only its body is counted, after its setup has done the same at least once,
//! so that pools and caches are warm.

// The items that the macros generate need no documentation.
#![allow(missing_docs)]

mod deflate;
mod echo;
mod hub;
mod opening;
mod receive;
mod send;
mod split;

use bytes::Bytes;
use fullduplex::{Config, Role, WebSocket, handshake::Negotiated};
use gungraun::{Callgrind, prelude::*};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    deflate::deflate_paths, echo::echo_paths, hub::hub_paths, opening::opening_paths, receive::receive_paths,
    send::send_paths, split::split_paths,
};

/// Returns a configuration without timers, which would need a runtime.
fn quiet() -> Config {
    Config::new().ping_interval(None)
}

fn open<S: AsyncRead + AsyncWrite + Unpin>(io: S, role: Role) -> WebSocket<S> {
    WebSocket::from_raw(io, Bytes::new(), role, &quiet(), Negotiated::default())
}

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["cache-sim=no"])),
    library_benchmark_groups =
        [receive_paths, send_paths, split_paths, echo_paths, hub_paths, deflate_paths, opening_paths]
);
