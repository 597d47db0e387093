//! Loops over a `Stream` and `Sink`: the plain one, and the best one, which depends on whether a
//! read flushes what was fed.

use anyhow::Result;
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};

use super::{Manner, Sending};

/// The size of the queue in the best loop, for libraries where it can be set and the default is
/// smaller. Those of the others are at least as large.
pub const QUEUE: usize = 256 << 10;

/// Echoes the replies to items. The best loop feeds while input is ready, then flushes.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the connection twice")]
pub fn echo<W, I, M>(
    mut ws: W,
    manner: Manner,
    reply: fn(I) -> Result<Option<M>>,
) -> impl Future<Output = Result<()>>
where
    W: Stream<Item = I> + Sink<M> + Unpin,
    anyhow::Error: From<W::Error>,
{
    async move {
        while let Some(item) = ws.next().await {
            let Some(message) = reply(item)? else { continue };
            if manner == Manner::Plain {
                ws.send(message).await?;
                continue;
            }
            ws.feed(message).await?;
            while let Some(next) = ws.next().now_or_never() {
                let Some(item) = next else { return Ok(()) };
                if let Some(message) = reply(item)? {
                    ws.feed(message).await?;
                }
            }
            ws.flush().await?;
        }
        Ok(())
    }
}

/// Does the same as [`echo`] for libraries where a read flushes what was fed: the best loop feeds
/// only when no more input is ready.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the connection twice")]
pub fn echo_gathered<W, I, M>(
    mut ws: W,
    manner: Manner,
    reply: fn(I) -> Result<Option<M>>,
) -> impl Future<Output = Result<()>>
where
    W: Stream<Item = I> + Sink<M> + Unpin,
    anyhow::Error: From<W::Error>,
{
    async move {
        let mut replies = Vec::new();
        while let Some(item) = ws.next().await {
            let first = reply(item)?;
            if manner == Manner::Plain {
                if let Some(message) = first {
                    ws.send(message).await?;
                }
                continue;
            }
            replies.extend(first);
            while let Some(next) = ws.next().now_or_never() {
                let Some(item) = next else { return Ok(()) };
                replies.extend(reply(item)?);
            }
            for message in replies.drain(..) {
                ws.feed(message).await?;
            }
            ws.flush().await?;
        }
        Ok(())
    }
}

/// Does the same as [`echo`] for libraries where a read flushes what was fed before it waits: the
/// best loop never flushes.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the connection twice")]
pub fn echo_fed<W, I, M>(
    mut ws: W,
    manner: Manner,
    reply: fn(I) -> Result<Option<M>>,
) -> impl Future<Output = Result<()>>
where
    W: Stream<Item = I> + Sink<M> + Unpin,
    anyhow::Error: From<W::Error>,
{
    async move {
        while let Some(item) = ws.next().await {
            let Some(message) = reply(item)? else { continue };
            match manner {
                Manner::Best => ws.feed(message).await?,
                Manner::Plain => ws.send(message).await?,
            }
        }
        Ok(())
    }
}

/// Sends by `feed` and `flush`, or by `send`.
pub async fn send<W, M>(mut ws: W, sending: Sending, message: impl Fn() -> M) -> Result<()>
where
    W: Sink<M> + Unpin,
    anyhow::Error: From<W::Error>,
{
    for _ in 0..sending.batches() {
        if sending.manner == Manner::Plain {
            ws.send(message()).await?;
            continue;
        }
        for _ in 0..sending.batch() {
            ws.feed(message()).await?;
        }
        ws.flush().await?;
    }
    Ok(())
}
