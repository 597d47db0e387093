//! The stream of a split connection, independent of its type.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    proto::Batch,
    stream::transport::{Moves, Source, Transport, TransportStatus},
};

/// A stream of any type, with what is staged for it.
pub(super) trait Transmit: Send {
    fn poll_transmit(&mut self, source: &mut dyn Source, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Writes a frame; see [`Transport::poll_write_frame`]. Does nothing if the stream has been
    /// dropped, which the ledger knows.
    fn poll_write_frame(
        &mut self,
        parts: [&[u8]; 2],
        source: &mut dyn Source,
        cx: &mut Context<'_>,
    ) -> (usize, Poll<io::Result<()>>);
    fn end_write(&mut self, source: &mut dyn Source);
    fn status(&self) -> TransportStatus;

    /// Returns the batch, to stage frames in it; `None` if the stream has been dropped.
    fn batch(&mut self) -> Option<&mut Batch>;

    /// Takes the stream, to drop it.
    fn abort(&mut self) -> Option<Box<dyn Send>>;
}

/// The transport, until the receiver is dropped or the connection is aborted.
pub(super) struct Slot<S>(pub(super) Option<Transport<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transmit for Slot<S> {
    fn poll_transmit(&mut self, source: &mut dyn Source, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |transport| transport.poll_transmit(source, cx))
    }

    fn poll_write_frame(
        &mut self,
        parts: [&[u8]; 2],
        source: &mut dyn Source,
        cx: &mut Context<'_>,
    ) -> (usize, Poll<io::Result<()>>) {
        match &mut self.0 {
            Some(transport) => transport.poll_write_frame(parts, source, cx),
            None => (0, Poll::Ready(Ok(()))),
        }
    }

    fn end_write(&mut self, source: &mut dyn Source) {
        if let Some(transport) = &mut self.0 {
            transport.end_write(source);
        }
    }

    fn status(&self) -> TransportStatus {
        const GONE: TransportStatus = TransportStatus {
            staged: 0,
            stuck: false,
            compressing: false,
            moves: Moves::NONE,
            written: 0,
            ended: true,
        };
        self.0.as_ref().map_or(GONE, Transport::status)
    }

    fn batch(&mut self) -> Option<&mut Batch> {
        self.0.as_mut().map(Transport::batch)
    }

    fn abort(&mut self) -> Option<Box<dyn Send>> {
        self.0.take().map(|transport| Box::new(transport) as Box<dyn Send>)
    }
}
