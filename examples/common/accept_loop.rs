//! An accept loop for TCP, with graceful shutdown, for the examples whose connections do not begin
//! with an opening handshake that the library accepts by itself.

#[path = "signals.rs"]
mod signals;

use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long peers have to complete the closing handshake once the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// Signals that the server stops: [`cancelled`](CancellationToken::cancelled) becomes ready.
pub(crate) type Stopped = CancellationToken;

/// Accepts connections until Ctrl-C, each in a task of its own, at most `max` at a time. Then it
/// calls `stopping`, signals the connections, and waits for them briefly. `scheme` is the scheme of
/// the printed URL.
pub(crate) async fn serve<F>(
    listen: SocketAddr,
    scheme: &str,
    max: usize,
    connection: impl Fn(TcpStream, SocketAddr, Stopped) -> F,
    stopping: impl FnOnce(),
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{listen}: {error}")))?;
    let mut asked_to_stop = std::pin::pin!(signals::asked_to_stop()?);
    println!("listening on {scheme}://{}", listener.local_addr()?);

    let stopped = Stopped::new();
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((_, peer)) if connections.len() >= max => {
                    eprintln!("{peer}: refused, {max} connections are open");
                }
                Ok((tcp, peer)) => {
                    connections.spawn(connection(tcp, peer, stopped.clone()));
                }
                // Too many open files, for example, until some connections end.
                Err(error) => {
                    eprintln!("accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = &mut asked_to_stop => break,
        }
    }
    stopping();
    stopped.cancel();
    connections.close();
    if timeout(GRACE, connections.wait()).await.is_err() {
        eprintln!("{} connections cut off", connections.len());
    }
    Ok(())
}
