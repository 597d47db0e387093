//! The rows of `tests/HOSTILE.md` that hostile peers do, what the server may hold for each, and how
//! each ends.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::limits::{HEADER, MESSAGE, OPEN, PONGS, READ_AHEAD, RETAINED_REST, WRITE_BUFFER};

/// A row of `tests/HOSTILE.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    SlowHandshake,
    EndlessFragments,
    EmptyFragments,
    Bomb,
    PingFlood,
    NeverReads,
    BurstToBusy,
    HalfMessage,
    ByteBeyond,
}

/// All rows, in the order of their numbers.
pub const ROWS: [Row; 9] = [
    Row::SlowHandshake,
    Row::EndlessFragments,
    Row::EmptyFragments,
    Row::Bomb,
    Row::PingFlood,
    Row::NeverReads,
    Row::BurstToBusy,
    Row::HalfMessage,
    Row::ByteBeyond,
];

/// The length of the fragments of row 33, and of the messages of row 47.
pub const FRAGMENT: usize = 1 << 10;
pub const UNREAD_MESSAGE: usize = 4 << 10;

/// The part of the message of row 58 that cannot be compressed. The server inflates what it has of a
/// message once that is a 16th of the largest one, so this is the least that makes it hold most.
pub const NOISE: usize = MESSAGE / 16;

/// At most as many bytes of that message are sent.
pub const HALF: usize = NOISE + 512;

/// The number of one-byte messages of row 57.
pub const BURST: usize = 5_000;

impl Row {
    pub fn number(self) -> u8 {
        match self {
            Self::SlowHandshake => 1,
            Self::EndlessFragments => 33,
            Self::EmptyFragments => 34,
            Self::Bomb => 42,
            Self::PingFlood => 45,
            Self::NeverReads => 47,
            Self::BurstToBusy => 57,
            Self::HalfMessage => 58,
            Self::ByteBeyond => 63,
        }
    }

    /// Returns the path that a peer requests, by which the server counts the ends of its connections.
    pub fn path(self) -> String {
        format!("/row/{}", self.number())
    }

    /// Returns the row of a path; `None` if it is that of an honest client.
    pub fn of_path(path: &str) -> Option<Self> {
        let number: u8 = path.strip_prefix("/row/")?.parse().ok()?;
        ROWS.into_iter().find(|row| row.number() == number)
    }

    /// Returns what a peer does.
    pub fn what(self) -> &'static str {
        match self {
            Self::SlowHandshake => "sends one byte of its opening handshake per second",
            Self::EndlessFragments => "sends fragments of 1 KiB without end",
            Self::EmptyFragments => "sends empty fragments without end",
            Self::Bomb => "sends 1 KiB that inflates to 1 MiB",
            Self::PingFlood => "sends 1,000 pings per second and reads nothing",
            Self::NeverReads => "sends messages of 4 KiB and reads nothing",
            Self::BurstToBusy => "sends a ping and 5,000 messages of one byte at once, of 20 ms work each",
            Self::HalfMessage => "sends all but the end of a compressed message of 64 KiB, then nothing",
            Self::ByteBeyond => "sends a message of 1 s work, and one byte of the next with it",
        }
    }

    /// Returns how a connection ends, in the words of [`End`](crate::hostile::End).
    ///
    /// `None` if the peer itself leaves, and the server has no reason to end it.
    pub fn ends_with(self) -> Option<&'static str> {
        match self {
            Self::EndlessFragments | Self::Bomb => Some("Close 1009"),
            Self::EmptyFragments | Self::HalfMessage => Some("Close 1008"),
            Self::SlowHandshake | Self::PingFlood | Self::NeverReads => Some("dropped"),
            Self::BurstToBusy | Self::ByteBeyond => None,
        }
    }

    /// Returns whether the peer sends compressed messages.
    pub fn is_compressed(self) -> bool {
        matches!(self, Self::Bomb | Self::HalfMessage)
    }

    /// Returns how long the server works on each message of such a peer, without blocking.
    pub fn work(self) -> Option<Duration> {
        match self {
            Self::BurstToBusy => Some(Duration::from_millis(20)),
            Self::ByteBeyond => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Returns what the server may hold for a connection, in bytes.
    pub fn bytes(self) -> usize {
        OPEN + match self {
            Self::SlowHandshake => 2 * HEADER,
            // A message in progress takes at most twice its limit.
            Self::EndlessFragments | Self::Bomb => 2 * MESSAGE,
            Self::EmptyFragments => 0,
            // Those that are being written, and those that are queued after them.
            Self::PingFlood => 2 * PONGS,
            // Row 64: what is queued occupies at most four times its limit. Then the message that waits
            // for room, and what was read after it.
            Self::NeverReads => 4 * WRITE_BUFFER + UNREAD_MESSAGE + READ_AHEAD,
            Self::BurstToBusy => READ_AHEAD + 2 * PONGS,
            // An incomplete compressed message takes at most 16 times what was received of it.
            Self::HalfMessage => 16 * HALF,
            Self::ByteBeyond => RETAINED_REST,
        }
    }

    /// Returns which limits these are.
    pub fn limits(self) -> &'static str {
        match self {
            Self::SlowHandshake => "2 × `max_header_size`",
            Self::EndlessFragments | Self::Bomb => "2 × `max_message_size`",
            Self::EmptyFragments => "",
            Self::PingFlood => "2 × 4 KiB of pongs",
            Self::NeverReads => "4 × `max_write_buffer_size`, a message, 76 KiB read ahead",
            Self::BurstToBusy => "76 KiB read ahead, 2 × 4 KiB of answers",
            Self::HalfMessage => "16 × what was received",
            Self::ByteBeyond => "4 KiB read ahead",
        }
    }
}

/// The rows that are done, at least one. Hostile peers are shared equally among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows([bool; ROWS.len()]);

impl Rows {
    /// Returns the rows with these numbers; all of them if there are none.
    ///
    /// # Errors
    /// Fails if no such row is done by hostile peers.
    pub fn of(numbers: &[u8]) -> Result<Self> {
        let mut done = [numbers.is_empty(); ROWS.len()];
        for number in numbers {
            let at = ROWS.iter().position(|row| row.number() == *number);
            done[at.with_context(|| format!("row {number} is not done here"))?] = true;
        }
        Ok(Self(done))
    }

    /// Returns the rows, in the order of their numbers.
    pub fn all(self) -> impl Iterator<Item = Row> {
        ROWS.into_iter().zip(self.0).filter_map(|(row, done)| done.then_some(row))
    }

    /// Returns the row of a peer.
    pub fn of_peer(self, number: usize) -> Row {
        let all: Vec<Row> = self.all().collect();
        all[number % all.len()]
    }

    /// Returns the number of peers of each row.
    pub fn shares(self, peers: usize) -> impl Iterator<Item = (Row, usize)> {
        let count = self.all().count();
        self.all().enumerate().map(move |(at, row)| (row, (peers + count - 1 - at) / count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_shared_equally_by_the_rows_that_are_done() -> Result<()> {
        for numbers in [&[][..], &[33], &[1, 63, 58]] {
            let rows = Rows::of(numbers)?;
            for peers in [9, 10, 17, 200, 5_000] {
                for (row, share) in rows.shares(peers) {
                    assert_eq!(share, (0..peers).filter(|peer| rows.of_peer(*peer) == row).count());
                }
            }
        }
        assert_eq!(Rows::of(&[])?.all().count(), ROWS.len());
        assert!(Rows::of(&[2]).is_err());
        Ok(())
    }

    #[test]
    fn each_row_has_a_path_of_its_own() {
        for row in ROWS {
            assert_eq!(Row::of_path(&row.path()), Some(row));
        }
        assert_eq!([Row::of_path("/"), Row::of_path("/row/2"), Row::of_path("/row/x")], [None; 3]);
    }
}
