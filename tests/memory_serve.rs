//! The memory that graceful shutdown takes for each connection, counted by the allocator.
#![cfg(feature = "serve")]
#![expect(clippy::manual_async_fn, reason = "an `async fn` would hold the connection twice")]

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
};

use allocation_counter::measure;
use fullduplex::{
    Config, Error, WebSocket,
    serve::{Guard, Session, Shutdown},
    testing,
};
use tokio::{io::DuplexStream, net::TcpStream};

fn size_of_future<F: Future>(_: &F) -> usize {
    size_of::<F>()
}

/// The loop of an echo server, without and with a part in a shutdown.
fn echo(mut ws: WebSocket<DuplexStream>) -> impl Future<Output = Result<(), Error>> {
    async move {
        loop {
            let Some(message) = ws.recv().await? else { return Ok(()) };
            ws.feed(message).await?;
        }
    }
}

fn guarded_echo(mut ws: Session<DuplexStream>) -> impl Future<Output = Result<(), Error>> {
    async move {
        loop {
            let Some(message) = ws.recv().await? else { return Ok(()) };
            ws.feed(message).await?;
        }
    }
}

/// The loop of a server that only receives.
fn receive(mut ws: WebSocket<DuplexStream>) -> impl Future<Output = Result<(), Error>> {
    async move {
        while ws.recv().await?.is_some() {}
        Ok(())
    }
}

fn guarded_receive(mut ws: Session<DuplexStream>) -> impl Future<Output = Result<(), Error>> {
    async move {
        while ws.recv().await?.is_some() {}
        Ok(())
    }
}

#[test]
fn a_guard_takes_16_bytes_in_its_task() {
    assert_eq!(size_of::<Guard>(), 16);
    assert_eq!(size_of::<Session<TcpStream>>(), size_of::<WebSocket<TcpStream>>() + 16);
    let shutdown = Shutdown::new();
    let open = || testing::pair(&Config::new()).1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let guarded = || shutdown.guard().attach(open());
    assert!(size_of_future(&guarded_echo(guarded())) <= size_of_future(&echo(open())) + 16);
    assert!(size_of_future(&guarded_receive(guarded())) <= size_of_future(&receive(open())) + 16);
}

#[test]
fn a_guard_that_waits_takes_16_bytes_of_the_heap() {
    const GUARDS: usize = 1 << 16;
    let shutdown = Shutdown::new();
    let mut guards: Vec<Guard> = Vec::with_capacity(GUARDS);
    let mut cx = Context::from_waker(Waker::noop());
    let held = measure(|| {
        for _ in 0..GUARDS {
            let mut guard = shutdown.guard();
            let mut begun = Box::pin(guard.begun());
            assert!(Pin::as_mut(&mut begun).poll(&mut cx).is_pending());
            drop(begun);
            guards.push(guard);
        }
    });
    // 16 bytes of each waker; the blocks of 256 wakers and their list take the rest.
    let each = held.bytes_current as f64 / GUARDS as f64;
    assert!(each <= 16.5, "{each}");

    // Slots that are freed are used again.
    guards.clear();
    let held = measure(|| guards.extend((0..GUARDS).map(|_| shutdown.guard())));
    assert_eq!(held.bytes_current, 0);
}
