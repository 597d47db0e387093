//! A server on hyper: a page, and an echo over WebSocket, on one port.
//!
//! ```text
//! cargo run --release -p fullduplex-example-hyper -- --listen 127.0.0.1:9001
//! ```

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use fullduplex::{
    CloseCode, Config, Deflate, Error, Server,
    bytes::Bytes,
    hyper::{Upgrade, is_upgrade_request, upgrade},
    serve::Shutdown,
};
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};

/// The reason of the Close when the server stops.
const STOPS: &str = "the server stops";

/// A server on hyper: a page at /, WebSocket at /echo.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Seconds that connections have to close when the server stops.
    #[arg(long, value_name = "SECS", default_value_t = 10)]
    drain: u64,
    /// Seconds that a client has for its first request, and for the head of each.
    #[arg(long, value_name = "SECS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    head_timeout: u64,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the requests share.
#[derive(Debug, Clone)]
struct App {
    server: Server,
    shutdown: Shutdown,
    head_timeout: Duration,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fullduplex-example-hyper: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> io::Result<()> {
    let shutdown = Shutdown::new();
    let config = Config::new().deflate(Deflate::new());
    let head_timeout = Duration::from_secs(args.head_timeout);
    let app = App { server: Server::new(config).same_origin(), shutdown: shutdown.clone(), head_timeout };
    let stopping = shutdown.clone();
    ctrlc::set_handler(move || {
        if let Err(error) = stopping.begin(CloseCode::GOING_AWAY, STOPS) {
            eprintln!("fullduplex-example-hyper: {error}");
        }
    })
    .map_err(io::Error::other)?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let http = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.begun() => break,
        };
        match accepted {
            Ok((tcp, peer)) => serve(tcp, peer, &app, &http),
            // The process may have no file descriptors left, until connections end.
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // hyper waits for requests under way, and not for connections that were upgraded.
    let limit = Duration::from_secs(args.drain);
    let (drained, _) = tokio::join!(shutdown.wait(limit), timeout(limit, http.shutdown()));
    println!("stopped: {} connections closed, {} cut off", drained.closed, drained.cut_off);
    Ok(())
}

/// Serves the requests of one connection, in a task of its own.
fn serve(tcp: TcpStream, peer: SocketAddr, app: &App, http: &GracefulShutdown) {
    let (app, watcher) = (app.clone(), http.watcher());
    tokio::spawn(async move {
        if let Err(error) = serve_requests(tcp, app, watcher).await {
            eprintln!("{peer}: {error}");
        }
    });
}

async fn serve_requests(tcp: TcpStream, app: App, watcher: Watcher) -> Result<(), BoxError> {
    tcp.set_nodelay(true)?;
    let head_timeout = app.head_timeout;
    let asked = Arc::new(Notify::new());
    let first = asked.clone();
    let service = service_fn(move |request| {
        asked.notify_one();
        let response = route(request, &app);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout);
    // Allows WebSocket over HTTP/2 (RFC 8441).
    builder.http2().enable_connect_protocol();
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(head_timeout);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(tcp), service);
    let mut serving = pin!(watcher.watch(connection.into_owned()));
    // Before it knows which version of HTTP a client speaks, hyper has no deadline.
    tokio::select! {
        served = &mut serving => return served,
        asked = timeout(head_timeout, first.notified()) => asked?,
    }
    serving.await
}

fn route(mut request: Request<Incoming>, app: &App) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/echo" => match upgrade(&mut request, &app.server) {
            Ok((response, upgrade)) => {
                tokio::spawn(report(upgrade, app.shutdown.clone()));
                response.map(|()| Full::default())
            }
            Err(rejection) => rejection.into_response().map(Full::new),
        },
        "/" if !is_upgrade_request(&request) => Response::new("WebSocket at /echo\n".into()),
        _ => {
            let mut response = Response::new(Full::from("not found\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// Runs a connection, and prints the error that has ended it, unless the peer only vanished.
async fn report(upgrade: Upgrade, shutdown: Shutdown) {
    if let Err(error) = echo(upgrade, &shutdown).await
        && !error.is_disconnect()
    {
        eprintln!("{error:#}");
    }
}

async fn echo(upgrade: Upgrade, shutdown: &Shutdown) -> Result<(), Error> {
    let mut ws = shutdown.guard().attach(upgrade.await?);
    while let Some(message) = ws.recv().await? {
        match ws.feed(message).await {
            // After a Close, the peer no longer wants the reply.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
