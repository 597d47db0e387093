//! The command line.

use std::{str::FromStr, time::Duration};

use clap::Parser;
use classroom::values::{ClientId, Name};
use fullduplex::Config;

/// The client of the classroom for terminals and scripts: posts lines, and prints messages.
///
/// Prints one line of JSON for each event: {"stored": LINE, "offset": .., "duplicate": ..} once a line
/// is stored, {"refused": LINE, "error": ..} if it is not, {"offset": .., "from": .., "text": ..} for a
/// message of the room, and {"lost": OFFSET} if the server no longer has the messages up to one. The end
/// of the input and Ctrl-C close the connection.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The link that the server prints: http://HOST:PORT/#ticket=...
    pub(crate) link: Link,
    /// The name that others see, unless the ticket has one.
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// What the ids of the lines begin with, by which the server knows those that are stored already;
    /// random by default.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) ids: Option<ClientId>,
    /// The number of the first line.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) first: u64,
    /// Seconds of silence before a ping; 0 disables pings.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    ping_interval: u64,
    /// Seconds that the server has to answer a ping.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    pong_timeout: u64,
    /// The longest random delay before an attempt to connect, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 30)]
    max_delay: u64,
    /// Seconds that an attempt to connect may take.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    attempt_timeout: u64,
}

/// The link to a room.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// The host and the port.
    pub(crate) authority: String,
    pub(crate) ticket: String,
}

impl FromStr for Link {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("http://").ok_or("it has to begin with http://")?;
        let (authority, ticket) = rest.split_once("/#ticket=").ok_or("it has no #ticket=")?;
        if ticket.is_empty() {
            return Err("its ticket is empty");
        }
        let authority =
            authority.parse::<hyper::http::uri::Authority>().map_err(|_| "its host is not valid")?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: format!("{}:{port}", authority.host()), ticket: ticket.to_owned() })
    }
}

impl Args {
    /// Returns the limits and deadlines of connections.
    pub(crate) fn connection(&self) -> Config {
        let ping_interval = (self.ping_interval > 0).then(|| Duration::from_secs(self.ping_interval));
        Config::new().ping_interval(ping_interval).pong_timeout(Duration::from_secs(self.pong_timeout))
    }

    pub(crate) fn max_delay(&self) -> Duration {
        Duration::from_secs(self.max_delay)
    }

    pub(crate) fn attempt_timeout(&self) -> Duration {
        Duration::from_secs(self.attempt_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_a_host_a_port_and_a_ticket() {
        for (text, authority) in [
            ("http://127.0.0.1:3000/#ticket=a.b", "127.0.0.1:3000"),
            ("http://[::1]:3000/#ticket=a.b", "[::1]:3000"),
            ("http://school.example/#ticket=a.b", "school.example:80"),
        ] {
            let link: Link = text.parse().expect("valid");
            assert_eq!((&*link.authority, &*link.ticket), (authority, "a.b"));
        }
        for text in ["https://a/#ticket=b", "http://a/", "http://a/#ticket=", "http://a b/#ticket=c"] {
            assert!(text.parse::<Link>().is_err(), "{text}");
        }
    }
}
