//! What hostile peers do, by the rows of `tests/HOSTILE.md`.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout_at},
};
use zlib_rs::{DeflateConfig, DeflateFlush};

use super::{
    End,
    peer::{Peer, connect, request},
};
use crate::{
    frames::{BINARY, CONTINUATION, FIN, PING, PONG, RSV1, frame, put},
    limits::{FRAGMENTS, MESSAGE},
    rows::{BURST, FRAGMENT, NOISE, Row, UNREAD_MESSAGE},
};

/// The pause of a peer that sends without end, after each part that alone exceeds a limit.
const PAUSE: Duration = Duration::from_millis(10);

/// What the bomb inflates to.
const INFLATED: usize = 1 << 20;

/// The time between two bytes of an opening handshake.
const PER_BYTE: Duration = Duration::from_secs(1);

/// The time between two bursts of pings, and the pings of each.
const PER_BURST: Duration = Duration::from_millis(100);
const PINGS: usize = 100;

/// The payload data of a ping: the pongs of two bursts exceed what the server queues of them.
const PING_PAYLOAD: [u8; 20] = [7; 20];

/// The bytes at the end of a compressed message that row 58 does not send.
const WITHHELD: usize = 8;

/// What all peers share: the bytes that they send.
#[derive(Debug)]
pub struct Acts {
    server: SocketAddr,
    pace: Duration,
    stay: Duration,
    fragments: Vec<u8>,
    empty_fragments: Vec<u8>,
    bomb: Vec<u8>,
    pings: Vec<u8>,
    message: Vec<u8>,
    burst: Vec<u8>,
    half: Vec<u8>,
}

impl Acts {
    pub fn new(server: SocketAddr, pace: Duration, stay: Duration) -> Self {
        let bomb = compressed(&vec![0; INFLATED]);
        let mut half = noise(NOISE);
        half.resize(MESSAGE, 0);
        let mut half = compressed(&half);
        half.truncate(half.len() - WITHHELD);
        let burst = [frame(FIN | PING, b"row 57"), repeated(&frame(FIN | BINARY, b"x"), BURST)].concat();
        Self {
            server,
            pace,
            stay,
            fragments: repeated(&frame(CONTINUATION, &[7; FRAGMENT]), MESSAGE / FRAGMENT + 1),
            empty_fragments: repeated(&frame(CONTINUATION, b""), FRAGMENTS as usize + 1),
            bomb,
            pings: repeated(&frame(FIN | PING, &PING_PAYLOAD), PINGS),
            message: frame(FIN | BINARY, &noise(UNREAD_MESSAGE)),
            burst,
            half,
        }
    }

    /// Returns the least time from the beginning of a connection to that of the next.
    pub fn pace(&self) -> Duration {
        self.pace
    }

    /// Does a row on a connection of its own. Returns how it has ended.
    pub async fn act(&self, row: Row, number: usize) -> End {
        let done = match row {
            Row::SlowHandshake => self.slow_handshake(number).await,
            Row::EndlessFragments => self.endless(row, &self.fragments, number).await,
            Row::EmptyFragments => self.endless(row, &self.empty_fragments, number).await,
            Row::Bomb => self.send_and_wait(row, &self.bomb, number).await,
            Row::HalfMessage => self.send_and_wait(row, &self.half, number).await,
            Row::PingFlood => self.ping_flood(number).await,
            Row::NeverReads => self.never_read(number).await,
            Row::BurstToBusy => self.burst_to_busy(number).await,
            Row::ByteBeyond => self.byte_beyond(number).await,
        };
        done.unwrap_or_else(|end| end)
    }

    async fn open(&self, row: Row, number: usize, read: bool) -> Result<Peer, End> {
        Peer::open(self.server, row, number, read).await
    }

    async fn slow_handshake(&self, number: usize) -> Result<End, End> {
        let failed = |error: std::io::Error| End::Failed(error.to_string());
        let mut tcp = connect(self.server, number, true).await.map_err(failed)?;
        let mut byte = [0];
        for next in request(self.server, Row::SlowHandshake).as_bytes() {
            // The end of the stream is read.
            let _written = tcp.write_all(&[*next]).await;
            tokio::select! {
                read = tcp.read(&mut byte) => return match read {
                    Ok(0) | Err(_) => Ok(End::Dropped),
                    // The beginning of a response with status 503.
                    Ok(_) => Err(refused(&mut tcp).await),
                },
                () = sleep(PER_BYTE) => {}
            }
        }
        Err(End::Failed("the server has waited for the whole request".to_owned()))
    }

    async fn endless(&self, row: Row, part: &[u8], number: usize) -> Result<End, End> {
        let mut peer = self.open(row, number, true).await?;
        peer.send(&frame(BINARY, b"")).await.map_err(|error| End::Failed(error.to_string()))?;
        Ok(peer.flood(part, PAUSE).await)
    }

    async fn send_and_wait(&self, row: Row, message: &[u8], number: usize) -> Result<End, End> {
        let mut peer = self.open(row, number, true).await?;
        peer.send(message).await.map_err(|error| End::Failed(error.to_string()))?;
        Ok(peer.closed().await)
    }

    async fn ping_flood(&self, number: usize) -> Result<End, End> {
        let mut peer = self.open(Row::PingFlood, number, false).await?;
        loop {
            // What the stream does not take now is sent first the next time: frames stay whole.
            let mut rest = &self.pings[..];
            while !rest.is_empty() {
                let Some(written) = peer.push(rest).await else { return Ok(End::Dropped) };
                rest = &rest[written..];
            }
            sleep(PER_BURST).await;
        }
    }

    async fn never_read(&self, number: usize) -> Result<End, End> {
        let mut peer = self.open(Row::NeverReads, number, false).await?;
        loop {
            let mut rest = &self.message[..];
            while !rest.is_empty() {
                // Waits if the server no longer reads, until it drops the connection.
                let Some(written) = peer.push(rest).await else { return Ok(End::Dropped) };
                rest = &rest[written..];
            }
        }
    }

    async fn burst_to_busy(&self, number: usize) -> Result<End, End> {
        let mut peer = self.open(Row::BurstToBusy, number, true).await?;
        let until = Instant::now() + self.stay;
        peer.send(&self.burst).await.map_err(|error| End::Failed(error.to_string()))?;
        let pong_within = async {
            for before in 0.. {
                match peer.next().await {
                    None => return Err(End::Dropped),
                    Some(frame) if frame.opcode == PONG => return Ok(before),
                    Some(_) => {}
                }
            }
            unreachable!("the loop has no end")
        };
        match pong_within.await? {
            // It is written by the first `recv` after a millisecond.
            0..=2 => {}
            before => return Err(End::Failed(format!("{before} answers before the pong"))),
        }
        match timeout_at(until, peer.closed()).await {
            Ok(end) => Err(end),
            Err(_elapsed) => Ok(End::Left),
        }
    }

    async fn byte_beyond(&self, number: usize) -> Result<End, End> {
        let mut peer = self.open(Row::ByteBeyond, number, true).await?;
        let message = frame(FIN | BINARY, b"a message");
        let mut part = [&message[..], &message[..1]].concat();
        let until = Instant::now() + self.stay;
        while Instant::now() < until {
            peer.send(&part).await.map_err(|error| End::Failed(error.to_string()))?;
            match peer.next().await {
                Some(frame) if frame.opcode == BINARY && frame.payload == b"a message" => {}
                Some(frame) => return Err(End::Failed(format!("{frame:?} is not the echo"))),
                None => return Err(End::Dropped),
            }
            // The rest of the next message, and the first byte of the one after it.
            part = [&message[1..], &message[..1]].concat();
        }
        Ok(End::Left)
    }
}

/// Reads the status of a response whose first byte was read.
async fn refused(tcp: &mut tokio::net::TcpStream) -> End {
    let mut line = [0; 11];
    match tcp.read_exact(&mut line).await {
        Ok(_) if line.starts_with(b"TTP/1.1 ") => {
            let status = String::from_utf8_lossy(&line[8..]).parse();
            status.map_or_else(|_| End::Failed("no status".to_owned()), End::Refused)
        }
        _ => End::Failed("no response".to_owned()),
    }
}

fn repeated(frame: &[u8], times: usize) -> Vec<u8> {
    frame.repeat(times)
}

/// Returns a compressed message in one frame.
fn compressed(data: &[u8]) -> Vec<u8> {
    let config = DeflateConfig { window_bits: -15, ..DeflateConfig::default() };
    let mut zlib = zlib_rs::Deflate::new_with_config(config);
    let mut payload = vec![0; data.len() + 1024];
    let done = zlib.compress(data, &mut payload, DeflateFlush::SyncFlush);
    done.expect("there is room for all of it");
    payload.truncate(zlib.total_out() as usize);
    // RFC 7692 section 7.2.1: the last four bytes are removed.
    payload.truncate(payload.len() - 4);
    let mut wire = Vec::new();
    put(&mut wire, FIN | RSV1 | BINARY, &payload);
    wire
}

/// Returns bytes that cannot be compressed.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::HALF;

    fn acts() -> Acts {
        Acts::new(([127, 0, 0, 1], 1).into(), Duration::from_secs(1), Duration::from_secs(1))
    }

    #[test]
    fn the_bomb_takes_1_kib_and_the_rest_of_row_58_what_the_server_holds_most_for() {
        let Acts { bomb, half, .. } = acts();
        assert!((1_000..1_200).contains(&bomb.len()), "{}", bomb.len());
        assert!((NOISE..=HALF).contains(&half.len()), "{}", half.len());
    }

    #[test]
    fn one_part_of_what_is_sent_without_end_exceeds_the_limit() {
        let Acts { fragments, empty_fragments, .. } = acts();
        assert!(fragments.len() > MESSAGE);
        assert!(empty_fragments.len() / 6 > FRAGMENTS as usize);
    }
}
