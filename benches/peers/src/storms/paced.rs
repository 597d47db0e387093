//! Connections that send a message in regular intervals, and receive its echo among broadcasts.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    net::SocketAddr,
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::spawn_local,
    time::{self, MissedTickBehavior, interval_at},
};

use super::connections::open_many;
use crate::{
    frames::{Kind, Window, put_unmasked},
    latency::percentiles,
    load::OPENING,
    server::STORM,
};

/// The length of an echoed message.
const ECHO: usize = 64;

/// The size of the buffer for reads.
const READ: usize = 64 << 10;

/// The minimum number of answers: a quick run has few.
const FEWEST: usize = 100;

/// What all connections of a thread have in common.
#[derive(Debug)]
pub struct Paced {
    every: Duration,
    request: Bytes,
    /// The lengths of the frames that may come: of the echo and of a broadcast.
    echo: usize,
    broadcast: usize,
    scratch: RefCell<Vec<u8>>,
    latencies: RefCell<Latencies>,
    /// How many messages of broadcasts have come to connections that read.
    received: Cell<usize>,
    /// Why a connection has ended, which none should.
    failure: RefCell<Option<anyhow::Error>>,
}

impl Paced {
    pub fn new(every: Duration) -> Rc<Self> {
        let window = Window::new(Kind::Binary, ECHO, 1);
        let mut broadcast = Vec::new();
        put_unmasked(&mut broadcast, Kind::Binary, STORM);
        Rc::new(Self {
            every,
            echo: window.answer.len(),
            request: window.request,
            broadcast: broadcast.len(),
            scratch: RefCell::new(vec![0; READ]),
            latencies: RefCell::default(),
            received: Cell::new(0),
            failure: RefCell::default(),
        })
    }

    /// Opens connections, and starts them at even distances over an interval.
    pub async fn start(self: &Rc<Self>, address: SocketAddr, count: usize) -> Result<()> {
        let connections = open_many(address, count, OPENING, None).await?;
        let begin = time::Instant::now();
        for (number, connection) in connections.into_iter().enumerate() {
            let (paced, first) = (self.clone(), self.every.mul_f64(number as f64 / count as f64));
            spawn_local(async move {
                if let Err(error) = paced.run(connection.into_inner(), begin + first).await {
                    paced.failure.replace(Some(error));
                }
            });
        }
        Ok(())
    }

    /// Returns how many messages of broadcasts have come.
    pub fn received(&self) -> usize {
        self.received.get()
    }

    /// Returns the latencies so far, and forgets them.
    pub fn latencies(&self) -> Latencies {
        self.latencies.take()
    }

    /// Fails if a connection has ended.
    pub fn check(&self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    async fn run(&self, mut tcp: TcpStream, first: time::Instant) -> Result<()> {
        let mut ticks = interval_at(first, self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut frames, mut sent) = (Frames::default(), VecDeque::new());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    sent.push_back(Instant::now());
                    tcp.write_all(&self.request).await?;
                }
                ready = tcp.readable() => {
                    ready?;
                    self.read(&tcp, &mut frames, &mut sent)?;
                }
            }
        }
    }

    /// Sends one message, and receives all that comes before its echo.
    pub async fn catch_up(&self, mut tcp: TcpStream) -> Result<()> {
        let mut frames = Frames::default();
        let mut sent = VecDeque::from([Instant::now()]);
        tcp.write_all(&self.request).await?;
        while !sent.is_empty() {
            tcp.readable().await?;
            self.read(&tcp, &mut frames, &mut sent)?;
        }
        Ok(())
    }

    fn read(&self, tcp: &TcpStream, frames: &mut Frames, sent: &mut VecDeque<Instant>) -> Result<()> {
        let mut scratch = self.scratch.borrow_mut();
        let len = match tcp.try_read(&mut scratch) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        ensure!(len > 0, "the server hung up");
        frames.take(&scratch[..len], |frame| {
            if frame == self.broadcast {
                self.received.set(self.received.get() + 1);
            } else if frame == self.echo
                && let Some(sent) = sent.pop_front()
            {
                self.latencies.borrow_mut().0.push((sent, sent.elapsed()));
            } else {
                bail!("a frame of {frame} bytes was not expected");
            }
            Ok(())
        })
    }
}

/// When messages were sent, and the latencies of their echoes.
#[derive(Debug, Default)]
pub struct Latencies(Vec<(Instant, Duration)>);

impl Latencies {
    /// Returns the median and the tail, in microseconds, of what was sent in this time.
    pub fn percentiles(&self, time: Range<Instant>) -> Result<[f64; 3]> {
        let sent = self.0.iter().filter(|(sent, _)| time.contains(sent));
        percentiles(sent.map(|(_, latency)| *latency).collect(), FEWEST)
    }
}

/// Divides what the server sends into frames, by their length.
#[derive(Debug, Default)]
struct Frames {
    /// The incomplete header of the next frame, at most three bytes.
    header: Vec<u8>,
    /// The length of the frame whose payload data is being received, and what is missing of it.
    frame: usize,
    missing: usize,
}

impl Frames {
    /// Calls a function with the length of each frame that is complete.
    fn take(&mut self, mut bytes: &[u8], mut complete: impl FnMut(usize) -> Result<()>) -> Result<()> {
        loop {
            let part = self.missing.min(bytes.len());
            bytes = &bytes[part..];
            self.missing -= part;
            if self.frame > 0 && self.missing == 0 {
                complete(self.frame)?;
                self.frame = 0;
            }
            // If anything is missing, no byte is left.
            let Some((&first, rest)) = bytes.split_first() else { return Ok(()) };
            self.header.push(first);
            bytes = rest;
            self.parse()?;
        }
    }

    /// Begins a frame once its header is complete.
    fn parse(&mut self) -> Result<()> {
        let len = match self.header[..] {
            [_] | [_, 126] | [_, 126, _] => return Ok(()),
            [0x82, len @ 0..126] => usize::from(len),
            [0x82, 126, high, low] => usize::from(u16::from_be_bytes([high, low])),
            _ => bail!("a frame was not expected: {:02x?}", self.header),
        };
        self.frame = self.header.len() + len;
        self.missing = len;
        self.header.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_divided() -> Result<()> {
        let mut wire = Vec::new();
        for len in [64, 0, 1024, 125, 126] {
            put_unmasked(&mut wire, Kind::Binary, &vec![0x82; len]);
        }
        for at in 1..wire.len() {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for part in [&wire[..at], &wire[at..]] {
                frames.take(part, |frame| {
                    found.push(frame);
                    Ok(())
                })?;
            }
            assert_eq!(found, [66, 2, 1028, 127, 130], "divided at {at}");
        }
        Ok(())
    }

    #[test]
    fn other_frames_are_an_error() {
        for wire in [[0x88, 0], [0x02, 1], [0x82, 127]] {
            assert!(Frames::default().take(&wire, |_| Ok(())).is_err());
        }
    }
}
