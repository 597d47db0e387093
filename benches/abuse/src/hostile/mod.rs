//! The hostile peers, in a process of their own that yields its core to the honest clients.

mod acts;
mod peer;

use std::{cell::RefCell, collections::BTreeMap, fmt, net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use self::acts::Acts;
use crate::{
    child::{self, Counts, STAT},
    machine,
    rows::{Row, Rows},
    settings::Settings,
};

/// The order to drop all connections.
pub const STOP: &str = "stop";

/// The part of a name before how a connection has ended unexpectedly.
pub const UNEXPECTED: &str = "unexpected: ";

/// The arguments of the hostile peers.
#[derive(Debug, Args)]
pub struct HostileArgs {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    count: usize,
    /// The least time from the beginning of a connection to that of the next, in milliseconds.
    #[arg(long)]
    pace: u64,
    /// How long a peer stays that the server has no reason to drop, in milliseconds.
    #[arg(long)]
    stay: u64,
    /// The numbers of the rows.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<u8>,
}

impl HostileArgs {
    /// Returns the arguments that start hostile peers.
    pub fn of(address: SocketAddr, settings: &Settings) -> Vec<String> {
        let rows: Vec<String> = settings.rows.all().map(|row| row.number().to_string()).collect();
        let millis = |time: Duration| time.as_millis().to_string();
        let (pace, stay) = (millis(settings.pace), millis(settings.deadline));
        let (address, count) = (address.to_string(), settings.hostile.to_string());
        let mut arguments = vec!["hostile".to_owned()];
        for (name, value) in [
            ("--address", address),
            ("--count", count),
            ("--pace", pace),
            ("--stay", stay),
            ("--rows", rows.join(",")),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        arguments
    }
}

/// How a connection has ended, as the peer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server has sent a Close with this code.
    Closed(u16),
    /// The server has ended the stream without a Close.
    Dropped,
    /// The peer has ended it.
    Left,
    /// The request was refused with this status.
    Refused(u16),
    /// The server has dropped the connection before it was open: a machine that is busy with something
    /// else may take longer than the deadline.
    Late,
    /// Something that the row does not provide for.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(code) => write!(f, "Close {code}"),
            Self::Dropped => f.write_str("dropped"),
            Self::Left => f.write_str("left"),
            Self::Refused(status) => write!(f, "refused with {status}"),
            Self::Late => f.write_str("not open in time"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Returns the name of the count of connections of a row that have ended so.
pub fn end_name(row: Row, end: &End) -> String {
    let expected = match end {
        // Limits of the server, which peers may reach.
        End::Refused(503) | End::Late => true,
        End::Left => row.ends_with().is_none(),
        end => row.ends_with() == Some(&end.to_string()),
    };
    let prefix = if expected { "" } else { UNEXPECTED };
    format!("{prefix}row {}: {end}", row.number())
}

/// Runs the peers until standard input ends.
pub async fn run(args: &HostileArgs) -> Result<()> {
    machine::pin_to(machine::cores() - 1);
    machine::yield_to_others()?;
    machine::raise_file_limit()?;
    let counts = Rc::new(RefCell::new(Counts::new()));
    let (pace, stay) = (Duration::from_millis(args.pace), Duration::from_millis(args.stay));
    let rows = Rows::of(&args.rows)?;
    let acts = Rc::new(Acts::new(args.address, pace, stay));
    let mut peers = JoinSet::new();
    for number in 0..args.count {
        // At even distances, each row over the whole pace.
        let first = pace.mul_f64(number as f64 / args.count as f64);
        peers.spawn_local(repeat(acts.clone(), rows.of_peer(number), number, first, counts.clone()));
    }
    child::answer(&BTreeMap::new())?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await.context("cannot read the standard input")? {
        match order.as_str() {
            STAT => {}
            STOP => peers.shutdown().await,
            other => bail!("no such order: {other}"),
        }
        child::answer(&counts.borrow())?;
    }
    Ok(())
}

/// Connects again and again: at once if the last connection began longer ago than the pace.
async fn repeat(acts: Rc<Acts>, row: Row, number: usize, first: Duration, counts: Rc<RefCell<Counts>>) {
    sleep(first).await;
    loop {
        let begun = Instant::now();
        let end = acts.act(row, number).await;
        *counts.borrow_mut().entry(end_name(row, &end)).or_default() += 1;
        sleep_until(begun + acts.pace()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_expected_if_the_row_requires_it() {
        let name = |row, end| end_name(row, &end);
        assert_eq!(name(Row::Bomb, End::Closed(1009)), "row 42: Close 1009");
        assert_eq!(name(Row::Bomb, End::Closed(1002)), "unexpected: row 42: Close 1002");
        assert_eq!(name(Row::Bomb, End::Left), "unexpected: row 42: left");
        assert_eq!(name(Row::ByteBeyond, End::Left), "row 63: left");
        assert_eq!(name(Row::ByteBeyond, End::Dropped), "unexpected: row 63: dropped");
        assert_eq!(name(Row::PingFlood, End::Refused(503)), "row 45: refused with 503");
        assert_eq!(name(Row::PingFlood, End::Late), "row 45: not open in time");
        assert_eq!(name(Row::PingFlood, End::Failed("x".to_owned())), "unexpected: row 45: x");
    }
}
