//! What a server and a client of hyper receive, over a stream in memory.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, ready},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use hyper::{client, rt, server, service::service_fn};

use crate::head_input::{HeadInput, MAX_FIELDS};

/// More than any input takes: hyper yields after some work.
const POLLS: usize = 100;

/// Returns the request that a server of hyper receives; `None` if it rejects the input.
#[allow(dead_code, reason = "used by one of the targets")]
pub(crate) fn request(input: &HeadInput) -> Option<Request<()>> {
    let received = Cell::new(None);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        received.set(Some(request.map(drop)));
        ready(Ok::<_, Infallible>(Response::new(String::new())))
    });
    let mut connection = pin!(
        server::conn::http1::Builder::new()
            .max_headers(MAX_FIELDS)
            .keep_alive(false)
            .serve_connection(Memory::of(input, true), service)
    );
    let mut context = Context::from_waker(Waker::noop());
    // Nothing but the stream is waited for, and it is always ready; what does not end has its
    // request.
    for _ in 0..POLLS {
        if let Some(request) = received.take() {
            return Some(request);
        }
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    received.take()
}

/// Returns the final response that a client of hyper receives; `None` if it rejects the input.
#[allow(dead_code, reason = "used by one of the targets")]
pub(crate) fn response(input: &HeadInput) -> Option<Response<()>> {
    let mut context = Context::from_waker(Waker::noop());
    let mut builder = client::conn::http1::Builder::new();
    let handshake = pin!(builder.max_headers(MAX_FIELDS).handshake(Memory::of(input, false)));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.poll(&mut context) else {
        panic!("nothing is sent yet");
    };
    let request = Request::get("/")
        .header("host", "a")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .body(String::new())
        .expect("valid");
    let mut response = pin!(sender.send_request(request));
    let mut connection = pin!(connection);
    let mut ended = false;
    for _ in 0..POLLS {
        if let Poll::Ready(response) = response.as_mut().poll(&mut context) {
            return response.ok().map(|response| response.map(drop));
        }
        ended = ended || connection.as_mut().poll(&mut context).is_ready();
    }
    panic!("no response, and the connection has ended: {ended}");
}

/// A stream that returns the input in reads and then ends, and accepts anything.
struct Memory<'a> {
    input: &'a [u8],
    step: usize,
    /// Whether it returns anything. A response follows the request.
    is_ready: bool,
}

impl<'a> Memory<'a> {
    fn of(input: &'a HeadInput, is_ready: bool) -> Self {
        Self { input: &input.bytes, step: input.step, is_ready }
    }
}

impl rt::Read for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_ready {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (part, rest) = self.input.split_at(self.step.min(self.input.len()).min(buffer.remaining()));
        buffer.put_slice(part);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Memory<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.is_ready = true;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
