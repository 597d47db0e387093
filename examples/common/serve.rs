//! How the example servers on tokio start and stop.

#[path = "signals.rs"]
mod signals;

use std::{future::Future, io, net::SocketAddr, time::Duration};

use fullduplex::{
    CloseCode, Error,
    serve::{Failure, Incoming, Serve, ServerStream, Session, Shutdown},
};

/// The reason of the Close when the server stops.
const STOPS: &str = "the server stops";

/// How long peers have to complete the closing handshake once the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// Accepts connections until Ctrl-C, at most `max` at a time. Then it calls `stopping`, closes the
/// connections, and waits for them briefly. `scheme` is the scheme of the printed URL.
pub(crate) async fn serve<F, Fut>(
    listen: SocketAddr,
    scheme: &str,
    max: usize,
    configure: impl FnOnce(Serve) -> Serve,
    handler: F,
    stopping: impl FnOnce(),
) -> io::Result<()>
where
    F: Fn(Session<ServerStream>, Incoming) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + Send + 'static,
{
    let serve = Serve::bind(listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{listen}: {error}")))?;
    let asked_to_stop = signals::asked_to_stop()?;
    println!("listening on {scheme}://{}", serve.local_addr()?);

    let shutdown = Shutdown::new();
    let serve = serve.max_connections(max).shutdown(&shutdown).on_failure(move |failure| match failure {
        Failure::Refused { peer, .. } => eprintln!("{peer}: refused, {max} connections are open"),
        failure => eprintln!("{failure:#}"),
    });
    let stop = async {
        asked_to_stop.await;
        stopping();
        Ok::<_, Error>(shutdown.begin(CloseCode::GOING_AWAY, STOPS)?)
    };
    tokio::try_join!(stop, configure(serve).run(handler))?;
    let drained = shutdown.wait(GRACE).await;
    if drained.cut_off > 0 {
        eprintln!("{} connections cut off", drained.cut_off);
    }
    Ok(())
}
