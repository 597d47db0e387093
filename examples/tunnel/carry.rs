//! Carries bytes between a TCP connection and a WebSocket connection.

use std::{io, pin::pin, time::Duration};

use fullduplex::{CloseCode, Config, Error, WebSocket};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, sink, split},
    net::TcpStream,
    time::timeout,
};

use crate::accept_loop::Stopped;

/// The size of the buffer of each direction, in bytes. It is also the longest message.
const BUFFER: usize = 32 << 10;

/// How many bytes wait for a slow WebSocket peer at most.
const QUEUE: usize = 256 << 10;

/// How long a TCP peer has to end its side, once nothing it sends can arrive.
const LINGER: Duration = Duration::from_secs(3);

/// Returns the configuration of both ends. Memory is bounded, because payload data is passed on as
/// it arrives, however long a message is.
pub(crate) fn config() -> Config {
    Config::new().max_write_buffer_size(QUEUE)
}

/// Carries bytes in both directions until both have ended, or the program stops.
pub(crate) async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    ws: WebSocket<S>,
    mut tcp: TcpStream,
    stopped: &Stopped,
) -> io::Result<()> {
    let (mut from_ws, mut to_ws) = split(ws.into_byte_stream());
    let (mut from_tcp, mut to_tcp) = tcp.split();
    let ended = tokio::select! {
        ended = both(copy(&mut from_tcp, &mut to_ws), copy(&mut from_ws, &mut to_tcp)) => ended,
        () = stopped.cancelled() => {
            let ws = from_ws.unsplit(to_ws).into_inner();
            return close(ws, CloseCode::GOING_AWAY, "the tunnel stops").await;
        }
    };
    match ended {
        Ok(()) => {
            // Dropping a socket with unread data resets it, and the TCP peer may still read what it
            // was sent. What it sends from now on cannot arrive, in time or not.
            let _late = timeout(LINGER, tokio::io::copy(&mut from_tcp, &mut sink())).await;
            Ok(())
        }
        Err(error) => {
            let ws = from_ws.unsplit(to_ws).into_inner();
            if let Some(frame) = ws.close_frame() {
                return Err(io::Error::new(error.kind(), format!("peer closed with {frame}")));
            }
            // With this code, the other end does not take what it has received for everything.
            close(ws, CloseCode::INTERNAL_ERROR, "the other connection failed").await?;
            Err(error)
        }
    }
}

/// Runs both directions until the one from the WebSocket has ended, which ends both, or until one
/// has failed.
async fn both(
    outward: impl Future<Output = io::Result<()>>,
    inward: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let (mut outward, mut inward) = (pin!(outward), pin!(inward));
    tokio::select! {
        ended = &mut inward => return ended,
        ended = &mut outward => match ended {
            // The WebSocket peer has closed.
            Err(error) if matches!(inner(&error), Some(Error::Closed)) => {}
            other => other?,
        },
    }
    inward.await
}

/// Returns the error of the crate that the error contains.
fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Copies everything, and flushes what each read brings.
async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            len => to.write_all(&buffer[..len]).await?,
        }
        to.flush().await?;
    }
}

/// Closes the connection; one that has failed already is no error.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut ws: WebSocket<S>,
    code: CloseCode,
    reason: &'static str,
) -> io::Result<()> {
    match ws.close(code, reason).await {
        Err(error) if !error.is_disconnect() => Err(error.into()),
        _ => Ok(()),
    }
}
