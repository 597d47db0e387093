//! One end of a simulated connection, as the crate uses it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    facts::Way,
    link::{Effects, Link},
    net::{Call, Net},
};

/// One end. Dropping it ends both directions, as closing a socket does.
#[derive(Debug)]
pub struct End {
    link: Arc<Mutex<Link>>,
    number: u64,
    end: usize,
    net: Net,
    way: Way,
    /// The timers of reading and of writing.
    timers: [Option<Pin<Box<Sleep>>>; 2],
    vectored: bool,
}

pub fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().expect("no panic while it is held")
}

impl End {
    pub fn new(link: Arc<Mutex<Link>>, number: u64, end: usize, net: Net, vectored: bool) -> Self {
        let way = lock(&link).way.clone();
        net.opened(1);
        Self { link, number, end, net, way, timers: [None, None], vectored }
    }

    /// Returns the way that the connection is part of.
    pub fn way(&self) -> &Way {
        &self.way
    }

    fn step(&self, call: Call, result: usize) {
        self.net.step(call, self.number * 2 + self.end as u64, result as u64);
    }

    /// Waits until an instant. Returns whether it has passed.
    fn wait(&mut self, timer: usize, until: Instant, cx: &mut Context<'_>) -> bool {
        let timer = self.timers[timer].get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut effects = Effects::default();
            let read = lock(&self.link).read(self.end, buffer, cx, &mut effects);
            self.net.affect(effects);
            match read.map_ready(|read| read) {
                Ok(poll) => {
                    self.step(Call::Read, len_of(&poll));
                    return poll.map_ok(drop);
                }
                Err(until) if self.wait(0, until, cx) => {}
                Err(_) => {
                    self.step(Call::Read, usize::MAX);
                    return Poll::Pending;
                }
            }
        }
    }
}

fn len_of(poll: &Poll<io::Result<usize>>) -> usize {
    match poll {
        Poll::Ready(Ok(len)) => *len,
        Poll::Ready(Err(_)) => usize::MAX - 1,
        Poll::Pending => usize::MAX,
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let mut effects = Effects::default();
            let written = lock(&self.link).write(self.end, slices, cx, &mut effects);
            self.net.affect(effects);
            match written.map_ready(|written| written) {
                Ok(poll) => {
                    self.step(Call::Write, len_of(&poll));
                    return poll;
                }
                Err(until) if self.wait(1, until, cx) => {}
                Err(_) => {
                    self.step(Call::Write, usize::MAX);
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.step(Call::ShutDown, 0);
        let mut effects = Effects::default();
        lock(&self.link).shut_down(self.end, &mut effects);
        self.net.affect(effects);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.step(Call::Drop, 0);
        self.net.opened(-1);
        let mut effects = Effects::default();
        lock(&self.link).drop_end(self.end, &mut effects);
        self.net.affect(effects);
    }
}
