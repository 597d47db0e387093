//! What the command line sets.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use fullduplex::Config;
use tracing_subscriber::filter::Targets;

use crate::{admission::is_origin, auth::Secret, live::LEAST_KEPT, store, values::RoomName};

/// The largest message that is received, in bytes: a text of 1,000 characters, each escaped as a
/// surrogate pair, and what is around it.
const MAX_MESSAGE_SIZE: usize = 16 << 10;

/// The messages that each room keeps, unless in memory.
const KEEP: u32 = 100_000;

/// A classroom chat: rooms, roles, history, and a page that reconnects.
///
/// Without a secret, it creates one, keeps it in the database, and prints links for a teacher, for
/// students and for the administration.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// URL of the page in links, if it is not the address: behind a proxy, or with a name.
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub public_url: Option<String>,
    /// Room for which links are printed; can be repeated.
    #[arg(long, value_name = "NAME", default_value = "class")]
    pub room: Vec<RoomName>,

    /// SQLite file for messages, restrictions and the secret. With Redis or NATS, there is none.
    #[arg(long, value_name = "FILE", default_value = "classroom.sqlite")]
    pub database: PathBuf,
    /// Where the history is kept; in memory, it ends with the process, and no file is written.
    #[arg(long, value_enum, default_value_t = History::Sqlite)]
    pub history: History,
    /// Messages that each room keeps: 100,000 in the file, 1,000 in memory. Redis and NATS keep 100,000,
    /// and 1,000 at least.
    #[arg(long, value_name = "COUNT")]
    pub keep_messages: Option<NonZeroU32>,

    /// Secret that signs tickets and tokens, at least 32 bytes. The list of processes shows it:
    /// prefer the environment.
    #[arg(long, value_name = "SECRET", env = "CLASSROOM_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,
    /// Print links although there is a secret.
    #[arg(long)]
    pub links: bool,
    /// Accept the token in the query, ?token=. Servers and proxies write queries to their logs.
    #[arg(long)]
    pub token_in_query: bool,
    /// Origin of pages that may connect, besides that of this server; can be repeated.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub allow_origin: Vec<String>,

    /// Maximum number of connections.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub max_connections: usize,
    /// Maximum number of connections of one address: a school may have only one.
    #[arg(long, value_name = "COUNT", default_value_t = 500)]
    pub max_connections_per_address: usize,
    /// Take addresses from X-Forwarded-For. Only behind a proxy that sets it.
    #[arg(long)]
    pub trust_forwarded_for: bool,
    /// Events that a connection may send per second.
    #[arg(long, value_name = "COUNT", default_value = "10")]
    pub rate: NonZeroU32,
    /// Events that a connection may send at once.
    #[arg(long, value_name = "COUNT", default_value = "30")]
    pub burst: NonZeroU32,

    /// Seconds of silence before a ping is sent.
    #[arg(long, value_name = "SECS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    pub ping_interval: u64,
    /// Seconds that a client has to answer a ping before its connection is taken for dead.
    #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub pong_timeout: u64,

    /// Certificate chain in PEM; enables TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Redis server that several nodes share, which then keeps the history: redis://... All of them
    /// need the same secret.
    #[arg(long, value_name = "URL", conflicts_with = "nats", requires = "jwt_secret")]
    pub redis: Option<String>,
    /// Servers of a Redis Cluster instead, separated by commas. They know the others.
    #[arg(
        long,
        value_name = "URLS",
        value_delimiter = ',',
        conflicts_with_all = ["redis", "nats"],
        requires = "jwt_secret"
    )]
    pub redis_cluster: Vec<String>,
    /// NATS server with JetStream that several nodes share, which then keeps the history: nats://...
    #[arg(long, value_name = "URL", requires = "jwt_secret")]
    pub nats: Option<String>,

    /// Seconds that connections have to close when the server stops.
    #[arg(long, value_name = "SECS", default_value_t = 10)]
    pub drain: u64,
    /// What is logged: a level, or levels of targets, such as info,classroom=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: Targets,
}

/// Where the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum History {
    /// In a file.
    Sqlite,
    /// In memory.
    Memory,
}

impl Args {
    /// Returns the settings of the store.
    pub fn store(&self) -> store::Settings {
        let keep = self.keep_messages.map(NonZeroU32::get);
        let is_in_engine = self.redis.is_some() || !self.redis_cluster.is_empty() || self.nats.is_some();
        match self.history {
            // Nothing is in it.
            _ if is_in_engine => store::Settings::memory(1),
            History::Sqlite => store::Settings::file(&self.database, keep.unwrap_or(KEEP)),
            History::Memory => store::Settings::memory(keep.unwrap_or(1000)),
        }
    }

    /// Returns how many messages of each room an engine keeps that several nodes share.
    pub fn keep_in_engine(&self) -> u32 {
        self.keep_messages.map_or(KEEP, NonZeroU32::get).max(LEAST_KEPT)
    }

    /// Returns the limits and deadlines of connections.
    pub fn connections(&self) -> Config {
        Config::new()
            .max_message_size(MAX_MESSAGE_SIZE)
            .ping_interval(Duration::from_secs(self.ping_interval))
            .pong_timeout(Duration::from_secs(self.pong_timeout))
            .stats(true)
    }

    /// Returns the URL of the page, for a server that listens on this address.
    pub fn url(&self, address: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.clone(),
            None if self.tls_cert.is_some() => format!("https://{address}/"),
            None => format!("http://{address}/"),
        }
    }
}

fn origin(text: &str) -> Result<String, &'static str> {
    if is_origin(text) { Ok(text.to_owned()) } else { Err("no origin, such as https://school.example") }
}

fn public_url(text: &str) -> Result<String, &'static str> {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match authority {
        Some(rest) if !rest.is_empty() && !rest.contains(['#', '?', ' ']) => Ok(text.to_owned()),
        _ => Err("it has to begin with http:// or https://, without a query or a fragment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, String> {
        let args = ["classroom"].iter().chain(args);
        Args::try_parse_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_all_has_a_default() {
        let args = parse(&[]).expect("valid");
        assert_eq!(args.listen, ([127, 0, 0, 1], 3000).into());
        assert_eq!((args.max_connections_per_address, args.history), (500, History::Sqlite));
        assert_eq!(args.store().path, Some("classroom.sqlite".into()));
        assert_eq!(args.url(args.listen), "http://127.0.0.1:3000/");
        let config = args.connections();
        let dead_after = config.ping_interval.zip(config.pong_timeout).map(|(ping, pong)| ping + pong);
        assert!(dead_after.is_some_and(|after| after < Duration::from_secs(30)));
    }

    #[test]
    fn the_deadlines_of_pings_can_be_set() {
        let config = parse(&["--ping-interval", "5", "--pong-timeout", "3"]).expect("valid").connections();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!((config.ping_interval, config.pong_timeout), (seconds(5), seconds(3)));
    }

    #[test]
    fn a_history_in_memory_writes_no_file() {
        let settings = parse(&["--history", "memory"]).expect("valid").store();
        assert_eq!((settings.path, settings.keep), (None, 1000));
    }

    #[test]
    fn what_several_nodes_share_is_in_no_file_and_is_kept_long_enough() {
        let secret = "0123456789abcdef0123456789abcdef";
        let engines =
            [("--redis", "redis://a"), ("--redis-cluster", "redis://a,redis://b"), ("--nats", "nats://a")];
        for (option, url) in engines {
            for (keep, kept) in [("1", 1000), ("1000", 1000), ("5000", 5000)] {
                let args = [option, url, "--jwt-secret", secret, "--keep-messages", keep];
                let args = parse(&args).expect("valid");
                assert_eq!((args.store().path, args.keep_in_engine()), (None, kept));
            }
        }
    }

    #[test]
    fn links_have_the_public_url() {
        let args = parse(&["--public-url", "https://chat.example/class"]).expect("valid");
        assert_eq!(args.url(args.listen), "https://chat.example/class");
        for url in ["chat.example", "https://", "https://a/#b", "ftp://a"] {
            assert!(parse(&["--public-url", url]).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_not_valid_is_named() {
        for (args, named) in [
            (&["--jwt-secret", "short"][..], "shorter than 32 bytes"),
            (&["--allow-origin", "*"], "--allow-origin"),
            (&["--allow-origin", "example.com"], "--allow-origin"),
            (&["--tls-cert", "a.pem"], "--tls-key"),
            (&["--redis", "redis://a", "--nats", "nats://a"], "--nats"),
            (&["--redis", "redis://a"], "--jwt-secret"),
            (&["--redis-cluster", "redis://a,redis://b"], "--jwt-secret"),
            (&["--redis-cluster", "redis://a", "--redis", "redis://a"], "--redis"),
            (&["--keep-messages", "0"], "--keep-messages"),
            (&["--rate", "0"], "--rate"),
            (&["--ping-interval", "0"], "--ping-interval"),
            (&["--room", ""], "--room"),
            (&["--history", "paper"], "--history"),
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
