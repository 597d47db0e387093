//! An echo server that exports its metrics for Prometheus, on the same port.
//!
//! ```text
//! cargo run --release -p fullduplex-example-metrics -- --listen 127.0.0.1:9004
//! curl http://127.0.0.1:9004/metrics
//! ```

mod export;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use export::Exporter;
use fullduplex::{
    CloseCode, Config, Error, Server,
    serve::{Incoming, Metrics, Serve, Shutdown},
};
use http::{HeaderValue, Response, StatusCode, header};

/// How long peers have to complete the closing handshake once the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// An echo server for WebSocket, which exports its metrics for Prometheus at /metrics.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on, for WebSocket and for Prometheus; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9004")]
    listen: SocketAddr,
    /// Maximum number of connections of one address.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_connections_per_address: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metrics: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &Args) -> Result<(), Error> {
    let (shutdown, metrics) = (Shutdown::new(), Metrics::new());
    let exporter = Arc::new(Exporter::new(metrics.clone()));
    // Messages and bytes are counted only if each connection counts them.
    let server = Server::new(Config::new().stats(true));
    let serve = Serve::bind(args.listen)
        .await?
        .server(server)
        .shutdown(&shutdown)
        .metrics(&metrics)
        .max_connections_per(args.max_connections_per_address, Incoming::network)
        .on_http(move |request| {
            let response = answer(&request, &exporter);
            async move { response }
        });
    println!("listening on ws://{}", serve.local_addr()?);
    let stop = async {
        tokio::signal::ctrl_c().await?;
        Ok::<_, Error>(shutdown.begin(CloseCode::GOING_AWAY, "the server stops")?)
    };
    let run = serve.run(|mut ws, _request| async move {
        while let Some(message) = ws.recv().await? {
            ws.feed(message).await?;
        }
        Ok(())
    });
    tokio::try_join!(stop, run)?;
    shutdown.wait(GRACE).await;
    Ok(())
}

/// Returns the response to a request that opens no WebSocket connection.
fn answer(request: &Incoming, exporter: &Exporter) -> Response<String> {
    let (status, kind, body) = match (request.request().method().as_str(), request.path()) {
        ("GET" | "HEAD", "/metrics") => match exporter.export() {
            Ok(text) => (StatusCode::OK, Exporter::CONTENT_TYPE, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        },
        _ => (StatusCode::NOT_FOUND, "text/plain", "only /metrics\n".to_owned()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
