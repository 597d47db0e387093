//! What the command line sets.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use clap::Parser;
use fullduplex::serve::Shutdown;
use tracing_subscriber::filter::Targets;

use crate::{app::Settings, auth::Secret, values::RoomName};

/// A classroom chat on Socket.IO, with its page.
///
/// It prints links for a teacher, for students and for the administration. All is kept in memory.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// URL of the page in links, if it is not the address: behind a proxy, or with a name.
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub public_url: Option<String>,
    /// Class for which links are printed; can be repeated.
    #[arg(long, value_name = "NAME", default_value = "class")]
    pub class: Vec<RoomName>,
    /// Secret that signs tokens, at least 32 bytes, so that links are valid after a restart. The list of
    /// processes shows it: prefer the environment.
    #[arg(long, value_name = "SECRET", env = "CLASSROOM_SOCKETIO_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,
    /// Origin of pages that may connect, besides that of this server; can be repeated.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub allow_origin: Vec<String>,
    /// Maximum number of clients.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub max_connections: usize,
    /// Events that a socket may send per second.
    #[arg(long, value_name = "COUNT", default_value = "10")]
    pub rate: NonZeroU32,
    /// Events that a socket may send at once.
    #[arg(long, value_name = "COUNT", default_value = "30")]
    pub burst: NonZeroU32,
    /// Seconds between a pong and the next ping.
    #[arg(long, value_name = "SECS", default_value_t = 15, value_parser = seconds())]
    pub ping_interval: u64,
    /// Seconds that a client has to answer a ping before it is taken for lost.
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = seconds())]
    pub ping_timeout: u64,
    /// Seconds for which a client that was lost can be recovered, without joining again.
    #[arg(long, value_name = "SECS", default_value_t = 120, value_parser = seconds())]
    pub recovery: u64,
    /// Seconds that connections have to close when the server stops.
    #[arg(long, value_name = "SECS", default_value_t = 10)]
    pub drain: u64,
    /// What is logged: a level, or levels of targets, such as info,classroom_socketio=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: Targets,
}

impl Args {
    /// Returns the settings of the server, which takes part in a shutdown.
    pub fn settings(&self, shutdown: &Shutdown) -> Settings {
        Settings {
            secret: self.jwt_secret.clone().unwrap_or_else(Secret::random),
            allow_origins: self.allow_origin.clone(),
            max_connections: self.max_connections,
            rate: self.rate,
            burst: self.burst,
            ping_interval: Duration::from_secs(self.ping_interval),
            ping_timeout: Duration::from_secs(self.ping_timeout),
            recovery: Duration::from_secs(self.recovery),
            shutdown: shutdown.clone(),
        }
    }

    /// Returns the URL of the page, for a server that listens on this address.
    pub fn url(&self, address: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{address}/"))
    }
}

fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

fn public_url(text: &str) -> Result<String, &'static str> {
    match without_scheme(text) {
        Some(rest) if !rest.is_empty() && !rest.contains(['#', '?', ' ']) => Ok(text.to_owned()),
        _ => Err("it has to begin with http:// or https://, without a query or a fragment"),
    }
}

fn origin(text: &str) -> Result<String, &'static str> {
    match without_scheme(text) {
        Some(rest) if !rest.is_empty() && !rest.contains(['/', '#', '?', ' ', '*']) => Ok(text.to_owned()),
        _ => Err("no origin, such as https://school.example"),
    }
}

fn without_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, String> {
        let args = ["classroom-socketio"].iter().chain(args);
        Args::try_parse_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_all_has_a_default() {
        let args = parse(&[]).expect("valid");
        assert_eq!(args.listen, ([127, 0, 0, 1], 3000).into());
        assert_eq!(args.url(args.listen), "http://127.0.0.1:3000/");
        assert_eq!(args.class[0].as_str(), "class");
        assert!(args.ping_interval + args.ping_timeout < 30, "seconds until a dead connection is noticed");
    }

    #[test]
    fn what_is_not_valid_is_named() {
        for (args, named) in [
            (&["--jwt-secret", "short"][..], "shorter than 32 bytes"),
            (&["--allow-origin", "*"], "--allow-origin"),
            (&["--allow-origin", "https://a/"], "--allow-origin"),
            (&["--public-url", "https://a/#b"], "--public-url"),
            (&["--class", ""], "--class"),
            (&["--rate", "0"], "--rate"),
            (&["--ping-interval", "0"], "--ping-interval"),
            (&["--recovery", "0"], "--recovery"),
        ] {
            let error = parse(args).expect_err("refused");
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let args = parse(&["--jwt-secret", "0123456789abcdef0123456789abcdef"]).expect("valid");
        assert!(!format!("{args:?}").contains("0123456789"));
    }
}
