//! The load of compressed messages. Messages to send are compressed in advance, each by itself. The
//! first window received is inflated and compared; of all others, the frames are counted.

use std::{future::poll_fn, io, net::SocketAddr, pin::Pin, task::Poll};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

use super::feed::Feed;
use crate::{
    frames::{RSV1, put_compressed},
    load::{OPENING, PATIENCE, open_tcp},
    peers::{LEVEL, Takeover},
};

/// The end of an empty stored block, which is not sent (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// The first byte of each answer: a whole compressed text message.
const ANSWER: u8 = 0x81 | RSV1;

/// The size of a read, in bytes.
const READ: usize = 256 << 10;

const WINDOW_BITS: u8 = 15;

/// The messages that a client sends at once.
#[derive(Debug)]
pub struct Window {
    request: Bytes,
    pub messages: Vec<String>,
}

impl Window {
    /// Creates a window with the next messages of the feed, of this length and number.
    pub fn new(feed: &mut Feed, len: usize, messages: usize) -> Self {
        let messages: Vec<String> = (0..messages).map(|_| feed.message(len)).collect();
        let mut request = Vec::new();
        for message in &messages {
            put_compressed(&mut request, &compressed(message.as_bytes()));
        }
        Self { request: request.into(), messages }
    }
}

/// Returns the payload data of a message that is compressed by itself.
fn compressed(message: &[u8]) -> Vec<u8> {
    let mut deflate = Deflate::new(LEVEL.into(), false, WINDOW_BITS);
    let mut out = vec![0; message.len() + message.len() / 8 + 64];
    deflate.compress(message, &mut out, DeflateFlush::SyncFlush).expect("there is room for all of it");
    out.truncate(deflate.total_out() as usize);
    assert!(out.ends_with(&TAIL), "not flushed");
    out.truncate(out.len() - TAIL.len());
    out
}

/// A connection whose opening handshake is complete and verified.
#[derive(Debug)]
pub struct Client {
    tcp: TcpStream,
    takeover: Takeover,
    room: Vec<u8>,
}

impl Client {
    async fn open(address: SocketAddr, takeover: Takeover) -> Result<Self> {
        let (tcp, head) = open_tcp(address, Some(takeover.extension())).await?;
        let head = head.to_lowercase();
        let answer = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions:"));
        let answer = answer.context("it does not agree to compress")?;
        ensure!(answer.trim().starts_with("permessage-deflate"), "another extension: {answer}");
        let by_itself = answer.contains("server_no_context_takeover");
        ensure!(by_itself == (takeover == Takeover::None), "not what was offered: {answer}");
        Ok(Self { tcp, takeover, room: Vec::new() })
    }

    /// Sends a window and receives as many messages. Returns the number of payload bytes received.
    pub async fn exchange(&mut self, window: &Window) -> Result<u64> {
        Ok(self.exchange_into(window, Answers::default()).await?.bytes)
    }

    /// Does the same, and compares the messages byte for byte. It has to be the first exchange.
    pub async fn check(&mut self, window: &Window) -> Result<()> {
        let answers =
            self.exchange_into(window, Answers { kept: Some(Vec::new()), ..Answers::default() }).await?;
        let kept = answers.kept.context("nothing was kept")?;
        let mut inflate = Inflate::new(false, WINDOW_BITS);
        for (message, payload) in window.messages.iter().zip(kept) {
            let inflated = inflated(&mut inflate, payload, message.len())?;
            ensure!(inflated == message.as_bytes(), "the echo is not what was sent");
            if self.takeover == Takeover::None {
                inflate.reset(false);
            }
        }
        Ok(())
    }

    /// Frees the read buffer.
    pub fn forget_room(&mut self) {
        self.room = Vec::new();
    }

    async fn exchange_into(&mut self, window: &Window, mut answers: Answers) -> Result<Answers> {
        self.room.resize(READ.min(window.request.len().max(4 << 10)), 0);
        let mut sent = 0;
        // Sends and receives concurrently: otherwise, both ends could wait with full buffers.
        let exchanged = poll_fn(|cx| {
            while sent < window.request.len() {
                match Pin::new(&mut self.tcp).poll_write(cx, &window.request[sent..])? {
                    Poll::Ready(len) => sent += len,
                    Poll::Pending => break,
                }
            }
            while answers.messages < window.messages.len() {
                let mut room = ReadBuf::new(&mut self.room);
                if Pin::new(&mut self.tcp).poll_read(cx, &mut room)?.is_pending() {
                    return Poll::Pending;
                }
                if room.filled().is_empty() {
                    return Poll::Ready(Err(io::Error::other("the server hung up")));
                }
                answers.take(room.filled())?;
            }
            Poll::Ready(Ok(()))
        });
        exchanged.await.context("the exchange failed")?;
        Ok(answers)
    }
}

fn inflated(inflate: &mut Inflate, mut payload: Vec<u8>, len: usize) -> Result<Vec<u8>> {
    payload.extend_from_slice(&TAIL);
    // One byte more than expected, to detect excess data.
    let mut message = vec![0; len + 1];
    let before = inflate.total_out();
    let inflating = inflate.decompress(&payload, &mut message, InflateFlush::SyncFlush);
    inflating.map_err(|error| anyhow::anyhow!("the echo is not DEFLATE data: {error:?}"))?;
    message.truncate((inflate.total_out() - before) as usize);
    Ok(message)
}

/// The answers to a window that have been received.
#[derive(Debug, Default)]
struct Answers {
    messages: usize,
    /// The number of payload bytes.
    bytes: u64,
    /// An incomplete header.
    header: Vec<u8>,
    /// The number of payload bytes that are missing from a frame.
    missing: usize,
    /// The payload data of each answer, if it is to be compared.
    kept: Option<Vec<Vec<u8>>>,
}

impl Answers {
    fn take(&mut self, mut part: &[u8]) -> io::Result<()> {
        while let Some((&byte, rest)) = part.split_first() {
            if self.missing == 0 {
                part = rest;
                self.header.push(byte);
                if let Some(len) = payload_len(&self.header)? {
                    (self.missing, self.bytes) = (len, self.bytes + len as u64);
                    self.header.clear();
                    if let Some(kept) = &mut self.kept {
                        kept.push(Vec::with_capacity(len));
                    }
                }
                continue;
            }
            let (payload, rest) = part.split_at(self.missing.min(part.len()));
            if let Some(last) = self.kept.as_mut().and_then(|kept| kept.last_mut()) {
                last.extend_from_slice(payload);
            }
            part = rest;
            self.missing -= payload.len();
            self.messages += usize::from(self.missing == 0);
        }
        Ok(())
    }
}

/// Returns the length of a compressed message, or `None` if its header is incomplete.
fn payload_len(header: &[u8]) -> io::Result<Option<usize>> {
    let len = match *header {
        [first, ..] if first != ANSWER => {
            return Err(io::Error::other("not a whole compressed message of text"));
        }
        [_, len @ 0..126] => u64::from(len),
        [_, 126, a, b] => u16::from_be_bytes([a, b]).into(),
        [_, 127, a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        [_, 128..=255, ..] => return Err(io::Error::other("a masked frame from the server")),
        _ => return Ok(None),
    };
    match usize::try_from(len) {
        Ok(0) => Err(io::Error::other("an empty compressed message")),
        Ok(len) => Ok(Some(len)),
        Err(_) => Err(io::Error::other("a frame that is too large")),
    }
}

/// Opens this many connections, and verifies the first window of each.
pub async fn open_many(
    address: SocketAddr,
    takeover: Takeover,
    count: usize,
    window: impl Fn(usize) -> &'static Window,
) -> Result<Vec<Client>> {
    let open = |index| {
        let window = window(index);
        async move {
            let mut client = Client::open(address, takeover).await?;
            client.check(window).await?;
            anyhow::Ok(client)
        }
    };
    let all = stream::iter(0..count).map(open).buffered(OPENING).try_collect();
    timeout(PATIENCE, all).await.context("the first echo did not come")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_inflates() -> Result<()> {
        let mut feed = Feed::new();
        for len in [100, 1 << 10, 64 << 10] {
            let message = feed.message(len);
            let payload = compressed(message.as_bytes());
            assert!(payload.len() < len);
            assert_eq!(inflated(&mut Inflate::new(false, WINDOW_BITS), payload, len)?, message.as_bytes());
        }
        Ok(())
    }

    #[test]
    fn answers_are_counted_however_they_come() -> Result<()> {
        let mut wire = Vec::new();
        for len in [5_u8, 125] {
            wire.extend_from_slice(&[ANSWER, len]);
            wire.resize(wire.len() + usize::from(len), 7);
        }
        wire.extend_from_slice(&[ANSWER, 126, 1, 0]);
        wire.resize(wire.len() + 256, 7);
        for cut in 1..wire.len() {
            let mut answers = Answers { kept: Some(Vec::new()), ..Answers::default() };
            for part in wire.chunks(cut) {
                answers.take(part)?;
            }
            let lens: Vec<usize> = answers.kept.unwrap_or_default().iter().map(Vec::len).collect();
            assert_eq!((answers.messages, answers.bytes, lens), (3, 386, vec![5, 125, 256]));
        }
        Ok(())
    }

    #[test]
    fn what_is_not_compressed_is_refused() {
        for header in [[0x81, 5], [0xC2, 5], [0x41, 5], [ANSWER, 0x85], [ANSWER, 0]] {
            assert!(Answers::default().take(&header).is_err(), "{header:02X?}");
        }
    }
}
