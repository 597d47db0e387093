//! The honest clients: each sends a message per interval, and checks its echo.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use fullduplex::{Client, CloseCode, Config, Message, WebSocket};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{self, MissedTickBehavior, interval_at, timeout},
};

use crate::{histogram::Histogram, limits::Group};

/// The length of a message.
pub const LEN: usize = 64;

/// The opening handshakes that are in progress at a time.
const OPENING: usize = 32;

/// How long an opening handshake, or the end of all connections, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The honest clients, each with a connection that lasts for the whole run.
#[derive(Debug)]
pub struct Honest {
    shared: Rc<Shared>,
    connections: JoinSet<Result<()>>,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Shared {
    latencies: RefCell<Histogram>,
    sent: Cell<u64>,
    received: Cell<u64>,
}

impl Honest {
    /// Opens all connections, and starts them at even distances over an interval.
    pub async fn open(server: SocketAddr, count: usize, every: Duration) -> Result<Self> {
        let mut opening = JoinSet::new();
        let mut opened = Vec::new();
        for number in 0..count {
            if opening.len() == OPENING {
                opened.extend(opening.join_next().await.transpose()?.transpose()?);
            }
            opening.spawn_local(async move {
                timeout(PATIENCE, open(server, number)).await.context("no answer to a handshake")?
            });
        }
        while let Some(connection) = opening.join_next().await {
            opened.push(connection??);
        }
        let (stop, stopping) = watch::channel(false);
        let (shared, mut connections) = (Rc::<Shared>::default(), JoinSet::new());
        let begin = time::Instant::now();
        for (number, ws) in opened.into_iter().enumerate() {
            let (shared, stopping) = (shared.clone(), stopping.clone());
            let first = begin + every.mul_f64(number as f64 / count as f64);
            connections.spawn_local(async move {
                let done = shared.attend(ws, number as u64, first, every, stopping).await;
                done.with_context(|| format!("honest connection {number}"))
            });
        }
        Ok(Self { shared, connections, stop })
    }

    /// Fails if a connection has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.connections.try_join_next() {
            None => Ok(()),
            Some(ended) => {
                ended??;
                bail!("an honest connection has ended")
            }
        }
    }

    /// Returns the latencies since the last call.
    pub fn take_latencies(&self) -> Histogram {
        self.shared.latencies.take()
    }

    /// Returns how many messages were sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.get()
    }

    /// Waits for the echoes that are missing, and closes all connections.
    ///
    /// # Errors
    /// Fails if a message has no echo, or a connection has another end than that of its Close.
    pub async fn close(&mut self) -> Result<()> {
        self.stop.send_replace(true);
        let all = async {
            while let Some(ended) = self.connections.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, all).await.context("honest connections wait for echoes, or for their Close")??;
        let (sent, received) = (self.shared.sent.get(), self.shared.received.get());
        ensure!(sent == received, "{received} of {sent} messages have come back");
        Ok(())
    }
}

async fn open(server: SocketAddr, number: usize) -> Result<WebSocket<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Group::Honest.address(number), 0).into())?;
    let tcp = socket.connect(server).await?;
    tcp.set_nodelay(true)?;
    // Only the server sends keep-alive pings.
    let client = Client::new(Config::new().ping_interval(None));
    let (ws, _response) = client.handshake(format!("ws://{server}/"), tcp).await?;
    Ok(ws)
}

impl Shared {
    async fn attend(
        &self,
        mut ws: WebSocket<TcpStream>,
        number: u64,
        first: time::Instant,
        every: Duration,
        mut stop: watch::Receiver<bool>,
    ) -> Result<()> {
        let mut ticks = interval_at(first, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut waiting, mut message, mut stopping) = (VecDeque::new(), 0, false);
        while !(stopping && waiting.is_empty()) {
            tokio::select! {
                _ = ticks.tick(), if !stopping => {
                    waiting.push_back((message, Instant::now()));
                    ws.send(&payload(number, message)[..]).await?;
                    self.sent.set(self.sent.get() + 1);
                    message += 1;
                }
                received = ws.recv() => {
                    let echo = received?.context("the server has closed it")?;
                    let (message, sent) = waiting.pop_front().context("an echo of nothing")?;
                    self.latencies.borrow_mut().record(sent.elapsed());
                    let is_echo = matches!(&echo, Message::Binary(data) if data[..] == payload(number, message));
                    ensure!(is_echo, "the echo is not what was sent");
                    self.received.set(self.received.get() + 1);
                }
                _ = stop.changed(), if !stopping => stopping = true,
            }
        }
        Ok(ws.close(CloseCode::NORMAL, "").await?)
    }
}

/// Returns the payload data of a message: it differs from those of all others.
fn payload(number: u64, message: u64) -> [u8; LEN] {
    let mut payload = [0x42; LEN];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload[8..16].copy_from_slice(&message.to_be_bytes());
    payload
}
