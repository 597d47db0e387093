//! Passes messages and control frames between two connections.

use std::pin::pin;

use fullduplex::{
    CloseCode, CloseFrame, Error, Event, Receiver, Sender, Utf8Bytes, WebSocket, proto::ProtocolError,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accept_loop::Stopped;

/// Passes everything on until both connections have ended. Returns the first error.
pub(crate) async fn run<D, U>(
    downstream: WebSocket<D>,
    upstream: WebSocket<U>,
    stopped: &Stopped,
) -> Result<(), Error>
where
    D: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut from_client, to_client) = downstream.split();
    let (mut from_server, to_server) = upstream.split();
    let both = async {
        tokio::join!(
            pass(&mut from_client, &to_server, CloseCode::GOING_AWAY),
            pass(&mut from_server, &to_client, CloseCode::BAD_GATEWAY),
        )
    };
    let mut both = pin!(both);
    let (one, other) = tokio::select! {
        ended = &mut both => ended,
        () = stopped.cancelled() => {
            // Both directions continue to receive, which completes the closing handshakes.
            for sender in [&to_client, &to_server] {
                close(sender, CloseCode::GOING_AWAY, "the proxy stops");
            }
            both.await
        }
    };
    one.and(other)
}

/// Passes everything that is received to the other connection, until this one has ended. If it ends
/// without a Close of its peer, the other one is closed with `lost`.
async fn pass<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    from: &mut Receiver<S>,
    to: &Sender,
    lost: CloseCode,
) -> Result<(), Error> {
    let passed = pass_all(from, to).await;
    let reason = match &passed {
        Err(Error::Protocol(fault)) if *fault != ProtocolError::EofWithoutClose => {
            "the other end violated the protocol"
        }
        _ => "the other end is gone",
    };
    // Nothing happens if a Close was passed on before.
    close(to, lost, reason);
    // If the other connection has failed, this one is being closed: the closing handshake is
    // completed here, within `close_timeout`.
    while !matches!(from.recv().await, Ok(None)) {}
    passed
}

async fn pass_all<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    from: &mut Receiver<S>,
    to: &Sender,
) -> Result<(), Error> {
    let mut queued = false;
    loop {
        let event = tokio::select! {
            // What has arrived is passed on first, so that a burst is written at once.
            biased;
            event = from.recv_event() => event?,
            flushed = to.flush(), if queued => {
                queued = false;
                unless_closed(flushed)?;
                continue;
            }
        };
        // These wait while the other end is slow. Nothing is received meanwhile, which slows this
        // end down.
        let passed = match event {
            Some(Event::Message(message)) => {
                queued = true;
                to.feed(message).await
            }
            Some(Event::Ping(payload)) => to.ping(payload).await,
            Some(Event::Pong(payload)) => to.pong(payload).await,
            // It has been answered already, with the same code.
            Some(Event::Close(frame)) => to.start_close(frame),
            Some(_) => Ok(()),
            None => return Ok(()),
        };
        unless_closed(passed)?;
    }
}

/// Ignores that the other connection is closing: what is left of this one is received and
/// discarded.
fn unless_closed(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Closed) => Ok(()),
        other => other,
    }
}

/// Queues a Close, unless there is one.
fn close(to: &Sender, code: CloseCode, reason: &'static str) {
    // The code and the reason are valid, and the connection may be closing already.
    if let Ok(frame) = CloseFrame::new(code, Utf8Bytes::from_static(reason)) {
        let _closing = to.start_close(Some(frame));
    }
}
