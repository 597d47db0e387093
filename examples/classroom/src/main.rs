//! A classroom chat: rooms, roles, history, and a page that reconnects.
//!
//! ```text
//! cargo run --release -p classroom
//! ```

#[path = "../../common/signals.rs"]
mod signals;

use std::{error::Error, path::Path, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use classroom::{
    address::TrustForwardedFor,
    admission::Admission,
    auth::Auth,
    config::Args,
    http::{App, Listener, router},
    limits::Places,
    links::Links,
    live::{Live, RouteApp, Settings, routes},
    metrics::Metrics,
    store::Store,
};
use fullduplex::{CloseCode, TlsAcceptor, serve::Shutdown};
use fullduplex_backplane_nats::Nats;
use fullduplex_backplane_redis::Redis;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

/// What the names of keys and streams begin with that the nodes share.
const PREFIX: &str = "classroom";

/// How long a client has for its first call.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason of the Close when the server stops.
const STOPS: &str = "the server stops";

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("classroom: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    // To the standard error: what is printed is for people.
    let output = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(args.log.clone()).with(output).try_init()?;
    let store =
        Store::open(&args.store()).map_err(|error| format!("{}: {error}", args.database.display()))?;
    let secret = match &args.jwt_secret {
        Some(secret) => secret.clone(),
        None => store.secret().await?,
    };
    let auth = Arc::new(Auth::new(&secret));
    let metrics = Metrics::new();
    let shutdown = Shutdown::new().with_metrics(metrics.connections());
    let listener = Listener::bind(args.listen, acceptor(args)?, args.max_connections).await?;
    let address = listener.local_addr()?;
    let asked_to_stop = signals::asked_to_stop()?;
    println!("listening on {}", args.url(address));
    print_links(args, &auth, &args.url(address))?;
    let trust_forwarded_for = TrustForwardedFor(args.trust_forwarded_for);
    let live = live(args, &store, &shutdown, &metrics)?;
    let decisions = live.decisions();
    let admission = admission(args, &auth, &metrics);
    let live = routes(RouteApp { live, admission, trust_forwarded_for });
    let app = App { auth, store, decisions, metrics, shutdown: shutdown.clone(), trust_forwarded_for };
    let drain = Duration::from_secs(args.drain);
    let serving = listener.run(router(app, &args.allow_origin).merge(live), &shutdown, drain);
    let stopping = async {
        asked_to_stop.await;
        shutdown.begin(CloseCode::SERVICE_RESTART, STOPS)
    };
    let (stopped, ()) = tokio::join!(stopping, serving);
    stopped?;
    let drained = shutdown.wait(drain).await;
    println!("stopped: {} connections closed, {} cut off", drained.closed, drained.cut_off);
    Ok(())
}

fn live(args: &Args, store: &Store, shutdown: &Shutdown, metrics: &Metrics) -> Result<Live, Box<dyn Error>> {
    let settings = Settings {
        rate: args.rate,
        burst: args.burst,
        join_timeout: JOIN_TIMEOUT,
        shutdown: shutdown.clone(),
        metrics: metrics.clone(),
    };
    let keep = args.keep_in_engine();
    let redis = match &args.redis {
        Some(url) => Some(Redis::builder(url)),
        None if args.redis_cluster.is_empty() => None,
        None => Some(Redis::cluster(&args.redis_cluster)),
    };
    if let Some(redis) = redis {
        let redis = redis.prefix(PREFIX).max_messages(keep.into()).build()?;
        return Ok(Live::with_backplane(redis, settings));
    }
    if let Some(url) = &args.nats {
        let nats = Nats::builder(url).name(PREFIX).max_messages(keep).build()?;
        return Ok(Live::with_backplane(nats, settings));
    }
    Ok(Live::new(store.clone(), settings))
}

fn admission(args: &Args, auth: &Arc<Auth>, metrics: &Metrics) -> Admission {
    Admission {
        auth: auth.clone(),
        places: Places::new(args.max_connections, args.max_connections_per_address),
        token_in_query: args.token_in_query,
        allow_origins: args.allow_origin.clone().into(),
        config: args.connections(),
        metrics: metrics.clone(),
    }
}

fn print_links(args: &Args, auth: &Auth, url: &str) -> Result<(), Box<dyn Error>> {
    if args.jwt_secret.is_some() && !args.links {
        return Ok(());
    }
    if args.jwt_secret.is_none() {
        println!("no --jwt-secret: a random one is used, which is kept with the messages");
    }
    println!("links, valid for 12 hours:");
    for (what, link) in Links::new(auth, url, &args.room)?.iter() {
        println!("  {what}: {link}");
    }
    Ok(())
}

fn acceptor(args: &Args) -> Result<Option<TlsAcceptor>, Box<dyn Error>> {
    let (Some(chain), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    Ok(Some(TlsAcceptor::from_pem(read(chain)?, read(key)?)?.http2()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
