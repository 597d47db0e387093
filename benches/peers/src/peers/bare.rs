//! No library: the cost of copying, unmasking and system calls. Nothing is validated.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use anyhow::{Result, bail};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use super::{Io, Manner, Peer, ROOMS, ServeTls, Standing, Tally, Work, each, opening, spawn, spawn_opened};
use crate::{
    arrivals::Arrivals,
    frames::{Kind, put_unmasked},
    memory_stream::Memory,
    tls::ServerStream,
};

const READ: usize = 256 << 10;

#[derive(Debug)]
pub struct Bare;

impl Peer for Bare {
    fn name(&self) -> &'static str {
        "bare loop"
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn standing(&self) -> Standing {
        Standing::Baseline
    }

    fn notes(&self) -> &'static str {
        "no library: frames are copied into one large buffer, unmasked there, and written back; nothing is checked or \
         handed out"
    }

    fn receive(&self, io: Memory, tally: Tally) -> Option<Work<Tally>> {
        Some(Box::pin(async move { receive(io, tally) }))
    }

    fn serve(&self, tcp: TcpStream, _manner: Manner) -> Option<()> {
        spawn_opened(opening::answered(tcp), echo);
        Some(())
    }

    fn serve_tls(&self) -> Option<ServeTls> {
        Some(ServeTls::Rustls(Arc::new(|io, _| spawn_opened(opening::answered(io), echo))))
    }

    fn open(&self, _tcp: TcpStream) -> Option<()> {
        None
    }

    fn broadcast(&self, arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(Box::pin(broadcast(arrivals, message, 1)))
    }
}

/// The same, one room after the other.
#[derive(Debug)]
pub struct ByRooms;

impl Peer for ByRooms {
    fn name(&self) -> &'static str {
        "bare loop, by rooms"
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn standing(&self) -> Standing {
        Standing::Baseline
    }

    fn notes(&self) -> &'static str {
        "the bare loop in the order of 1,000 rooms, over which the connections are spread as they come: what follows each \
         other is not side by side in memory, in user space and in the kernel"
    }

    fn broadcast(&self, arrivals: Arrivals, message: Bytes) -> Option<Work<()>> {
        Some(Box::pin(broadcast(arrivals, message, ROOMS)))
    }
}

/// Sends to one room after the other, over which the connections are spread.
async fn broadcast(mut arrivals: Arrivals, message: Bytes, rooms: usize) -> Result<()> {
    let mut frame = Vec::new();
    put_unmasked(&mut frame, Kind::Binary, &message);
    let mut senders = Vec::new();
    while let Some(tcp) = arrivals.next().await? {
        let (mut reader, writer) = opening::answered(tcp).await?.into_split();
        spawn(async move {
            while reader.read(&mut [0; 64]).await? > 0 {}
            Ok(())
        });
        senders.push((senders.len() % rooms, writer));
    }
    senders.sort_by_key(|(room, _)| *room);
    each(senders, arrivals, async |(_, writer)| Ok(writer.write_all(&frame).await?)).await
}

/// A frame, with the position of its payload data.
struct Frame {
    opcode: u8,
    key: [u8; 4],
    start: usize,
    end: usize,
}

/// Parses the header of a masked frame at the start of these bytes, if it is complete.
#[inline]
fn parse(bytes: &[u8]) -> Option<Frame> {
    let (&[first, second], _) = bytes.split_first_chunk::<2>()?;
    let (len, at) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        len => (usize::from(len), 2),
    };
    let key = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(Frame { opcode: first & 0x0F, key, start: at + 4, end: at + 4 + len })
}

#[inline]
fn unmask(data: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key, key].concat().try_into().unwrap_or_default());
    let mut words = data.chunks_exact_mut(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Copies frames into one large buffer and unmasks them there.
fn receive(mut io: Memory, mut tally: Tally) -> Result<Tally> {
    let mut buffer = vec![0; 512 << 10];
    let (mut start, mut end) = (0, 0);
    while tally.wants() {
        match parse(&buffer[start..end]).filter(|frame| start + frame.end <= end) {
            Some(frame) => {
                let payload = &mut buffer[start + frame.start..start + frame.end];
                unmask(payload, frame.key);
                tally.note(payload, frame.opcode == 1)?;
                start += frame.end;
            }
            None => {
                buffer.copy_within(start..end, 0);
                (start, end) = (0, end - start);
                match io.fill(&mut buffer[end..]) {
                    0 => bail!("no room"),
                    len => end += len,
                }
            }
        }
    }
    Ok(tally)
}

thread_local! {
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((vec![0; READ], Vec::new()));
}

/// A stream to which as much as possible can be written without waiting.
trait WriteNow: Io {
    /// Returns how many bytes were taken.
    fn write_now(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<usize>;
}

impl WriteNow for TcpStream {
    fn write_now(&mut self, bytes: &[u8], _cx: &mut Context<'_>) -> io::Result<usize> {
        self.try_write(bytes).or_else(would_block)
    }
}

impl WriteNow for ServerStream {
    fn write_now(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<usize> {
        match Pin::new(self).poll_write(cx, bytes)? {
            Poll::Ready(len) => Ok(len),
            Poll::Pending => Ok(0),
        }
    }
}

/// Answers each read with one write. The buffers belong to the thread, so that an idle connection
/// holds none.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the connection twice")]
fn echo<S: WriteNow>(mut io: S) -> impl Future<Output = Result<()>> {
    async move {
        let mut carried = Vec::new();
        loop {
            let unsent = poll_fn(|cx| poll_answer(&mut io, &mut carried, cx)).await?;
            io.write_all(&unsent).await?;
            io.flush().await?;
        }
    }
}

/// Reads once and answers the whole frames. Returns what could not be written at once.
fn poll_answer<S: WriteNow>(
    io: &mut S,
    carried: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Vec<u8>>> {
    SCRATCH.with_borrow_mut(|(input, output)| {
        let mut room = ReadBuf::new(input);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut room))?;
        if room.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        output.clear();
        if carried.is_empty() {
            let done = answer(room.filled_mut(), output);
            carried.extend_from_slice(&room.filled()[done..]);
        } else {
            carried.extend_from_slice(room.filled());
            let done = answer(carried, output);
            carried.drain(..done);
            if carried.is_empty() {
                *carried = Vec::new();
            }
        }
        let sent = if output.is_empty() { 0 } else { io.write_now(output, cx)? };
        Poll::Ready(Ok(output[sent..].to_vec()))
    })
}

fn would_block(error: io::Error) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) }
}

/// Unmasks whole frames and appends their answers. Returns the length of the frames.
fn answer(input: &mut [u8], output: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(frame) = parse(&input[at..]).filter(|frame| at + frame.end <= input.len()) {
        let payload = &mut input[at + frame.start..at + frame.end];
        unmask(payload, frame.key);
        let kind = if frame.opcode == 1 { Kind::Ascii } else { Kind::Binary };
        put_unmasked(output, kind, payload);
        at += frame.end;
    }
    at
}
