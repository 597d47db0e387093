//! An accept loop for TCP, with graceful shutdown, for the examples whose connections do not begin
//! with an opening handshake that the library accepts by itself.

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
    let mut asked_to_stop = std::pin::pin!(asked_to_stop()?);
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

/// Returns a future that is ready after Ctrl-C or SIGTERM, which service managers send.
#[cfg(unix)]
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Returns a future that is ready after Ctrl-C.
#[cfg(windows)]
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
