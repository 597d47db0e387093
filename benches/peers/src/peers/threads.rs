//! This crate's echo server on one thread, and in two ways on all cores.

use std::{io, net, thread};

use anyhow::{Context, Result, anyhow};
use fullduplex::{
    Error,
    serve::{Serve, ServerStream, Session},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
};

use super::{Peer, Standing};
use crate::machine;

/// The connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

#[derive(Debug, Clone, Copy)]
pub enum Threads {
    One,
    /// A runtime with a thread for each core.
    Shared,
    /// A runtime for each core.
    Apart,
}

impl Peer for Threads {
    fn name(&self) -> &'static str {
        match self {
            Self::One => "one thread",
            Self::Shared => "a runtime for all cores",
            Self::Apart => "a runtime for each core",
        }
    }

    fn package(&self) -> Option<&'static str> {
        None
    }

    fn standing(&self) -> Standing {
        Standing::Ours
    }

    fn notes(&self) -> &'static str {
        match self {
            Self::One => "`fullduplex::serve` on a current-thread runtime, as the example `echo`",
            Self::Shared => {
                "the same on a multi-threaded runtime with a thread for each core: `echo --threads`"
            }
            Self::Apart => {
                "the same with a thread, a current-thread runtime and a listener (`SO_REUSEPORT`) for each core, as the \
                 example `per_core`"
            }
        }
    }

    fn serve_on_cores(&self) -> Option<Result<()>> {
        Some(match self {
            Self::One => run(&mut runtime::Builder::new_current_thread(), 1),
            Self::Shared => run(runtime::Builder::new_multi_thread().worker_threads(machine::cores()), 1),
            Self::Apart => run(&mut runtime::Builder::new_current_thread(), machine::cores()),
        })
    }
}

/// Serves with this many runtimes, each in a thread of its own, until one of them fails.
fn run(builder: &mut runtime::Builder, runtimes: usize) -> Result<()> {
    let mut listeners = vec![listen(0)?];
    let port = listeners[0].local_addr()?.port();
    for _ in 1..runtimes {
        listeners.push(listen(port)?);
    }
    let mut threads = Vec::new();
    for listener in listeners {
        let runtime = builder.enable_all().build()?;
        threads.push(thread::spawn(move || {
            runtime.block_on(async {
                let serve = Serve::new(TcpListener::from_std(listener)?);
                // The load generator detects that a connection has failed.
                serve.run(|session, _request| echo(session)).await
            })
        }));
    }
    println!("{port}");
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a thread panicked"))?.context("a runtime failed")?;
    }
    Ok(())
}

/// Listens on a port that others listen on too.
fn listen(port: u16) -> io::Result<net::TcpListener> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(BACKLOG)?.into_std()
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold the session twice")]
fn echo(mut session: Session<ServerStream>) -> impl Future<Output = Result<(), Error>> {
    async move {
        while let Some(message) = session.recv().await? {
            session.feed(message).await?;
        }
        Ok(())
    }
}
