//! Connections in a thread of their own, so that other work of the load generator delays them less.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use tokio::{task::LocalSet, time::sleep};

use super::paced::{Latencies, Paced};
use crate::load;

/// How often the thread sees whether it should stop.
const CHECK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Probe {
    thread: JoinHandle<Result<Latencies>>,
    stop: Arc<AtomicBool>,
}

impl Probe {
    /// Returns once the connections are open and each has sent.
    pub fn start(address: SocketAddr, count: usize, every: Duration) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let (ready, is_ready) = mpsc::channel();
        let stopping = stop.clone();
        let thread = thread::spawn(move || {
            LocalSet::new().block_on(&load::runtime()?, async {
                let paced = Paced::new(every);
                paced.start(address, count).await?;
                sleep(every * 2).await;
                ready.send(Instant::now())?;
                while !stopping.load(Relaxed) {
                    sleep(CHECK).await;
                    paced.check()?;
                }
                Ok(paced.latencies())
            })
        });
        let probe = Self { thread, stop };
        match is_ready.recv() {
            Ok(_) => Ok(probe),
            // The thread has ended.
            Err(_) => Err(probe.stop().err().unwrap_or_else(|| anyhow!("the probe ended"))),
        }
    }

    /// Ends the connections. Returns their latencies.
    pub fn stop(self) -> Result<Latencies> {
        self.stop.store(true, Relaxed);
        self.thread.join().ok().context("the thread of the probe panicked")?
    }
}
