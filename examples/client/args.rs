//! The options of the client, and the connection that they describe.

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use fullduplex::{Client, Config, Error};

use crate::{client_proxy::Proxy, client_tls::Tls, compression::Compression};

/// A WebSocket client for the terminal: sends lines from standard input and prints messages.
///
/// The end of input and Ctrl-C close the connection cleanly; a second Ctrl-C exits immediately with
/// status 130.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 closed cleanly; 1 the connection was lost, or another error; 2 invalid \
                  arguments; 3 the server was not reached; 4 refused with an HTTP status, or by a proxy; \
                  5 the TLS handshake failed; 6 the server closed with the code of an error."
)]
pub(crate) struct Args {
    /// URL to connect to: ws://HOST[:PORT][/PATH], or wss:// with the feature `tls`.
    pub(crate) url: String,
    /// Header field for the opening handshake, as "Name: value"; may be repeated.
    #[arg(long, value_name = "FIELD", value_parser = parse_header)]
    header: Vec<(String, String)>,
    /// Subprotocol to offer; may be repeated, in order of preference.
    #[arg(long)]
    subprotocol: Vec<String>,
    /// Seconds of silence before a keep-alive ping; 0 disables pings.
    #[arg(long, value_name = "SECS", default_value_t = 20)]
    ping_interval: u64,
    /// Print the round trip of each keep-alive ping.
    #[arg(long)]
    pub(crate) latency: bool,
    /// Send each line as a binary message.
    #[arg(long)]
    pub(crate) binary: bool,
    /// Send the content of this file as a binary message first; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary_file: Vec<PathBuf>,
    /// Print each event as a line of JSON, binary data in base64.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the time of each event: hours, minutes and seconds in UTC.
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Connect again after the connection is lost; lines wait meanwhile.
    #[cfg(feature = "reconnect")]
    #[arg(long, conflicts_with = "latency")]
    pub(crate) reconnect: bool,
    /// Follow this many redirects.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    follow: u8,
    #[command(flatten)]
    compression: Compression,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    proxy: Proxy,
}

fn parse_header(field: &str) -> Result<(String, String), String> {
    let (name, value) = field.split_once(':').ok_or("expected \"Name: value\"")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Args {
    /// Returns the client that these options describe.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        let ping_interval = (self.ping_interval > 0).then(|| Duration::from_secs(self.ping_interval));
        let config = Config::new().ping_interval(ping_interval).stats(self.latency);
        let mut client = Client::new(self.compression.apply(config)).max_redirects(self.follow);
        for (name, value) in &self.header {
            client = client.header(name.as_str(), value.as_str());
        }
        for subprotocol in &self.subprotocol {
            client = client.subprotocol(subprotocol);
        }
        Ok(self.proxy.apply(self.tls.apply(client)?))
    }
}
