//! A classroom chat on Socket.IO, with its page.
//!
//! ```text
//! cargo run --release -p classroom-socketio
//! ```

#[path = "../../common/signals.rs"]
mod signals;

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use classroom_socketio::{app::App, args::Args, links::links, listener::Listener};
use fullduplex::serve::Shutdown;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("classroom-socketio: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    // To the standard error: what is printed is for people.
    let output = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(args.log.clone()).with(output).try_init()?;
    let shutdown = Shutdown::new();
    let (app, io, routes) = App::serve(&args.settings(&shutdown));
    let listener = Listener::bind(args.listen, None, args.max_connections).await?;
    let url = args.url(listener.local_addr()?);
    let asked_to_stop = signals::asked_to_stop()?;
    println!("listening on {url}");
    print_links(args, &app, &url)?;
    let drain = Duration::from_secs(args.drain);
    let serving = listener.run(routes, &shutdown, drain);
    let stopping = async {
        asked_to_stop.await;
        io.close(drain).await
    };
    let (drained, ()) = tokio::join!(stopping, serving);
    println!("stopped: {} closed, {} lost, {} cut off", drained.closed, drained.lost, drained.cut_off);
    Ok(())
}

fn print_links(args: &Args, app: &App, url: &str) -> Result<(), Box<dyn Error>> {
    if args.jwt_secret.is_none() {
        println!("no --jwt-secret: a random one is used, and the links end with the program");
    }
    println!("links, valid for 12 hours:");
    for (what, link) in links(app.auth(), url, &args.class)? {
        println!("  {what}: {link}");
    }
    Ok(())
}
