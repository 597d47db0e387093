//! A session as its task sees it.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use fullduplex::{
    CloseCode, CloseFrame, Error, Message, Outgoing, Receiver, Sender, Stats, TrySendError,
    hyper::UpgradedStream,
};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    head::Handshake,
    metrics::Meter,
    packet::Packet,
    polling::SessionStream,
    received::{Received, Text},
    settings::Settings,
    sid::Sid,
    stop::Stop,
};

/// How long a ping waits for room in a write buffer that is full.
const PING_PAUSE: Duration = Duration::from_secs(1);

/// A session of Engine.IO: it receives the messages of the client, and answers for the heartbeat.
///
/// While it is polled, pings are sent, deadlines are checked, and what is queued is written, as a
/// [`Receiver`] does. The session may change its transport meanwhile.
#[derive(Debug)]
pub struct Connection {
    sid: Sid,
    wire: Wire,
    sender: Sender,
    heart: Heart,
    pub(super) handshake: Option<Handshake>,
    pub(super) stop: Option<Stop>,
    meter: Option<Box<Meter>>,
    /// Why the session ends, while the closing handshake is under way.
    ending: Option<Ending>,
}

/// What receives, for each kind of session.
#[derive(Debug)]
pub(super) enum Wire {
    WebSocket(Receiver<UpgradedStream>),
    Session(Receiver<SessionStream>),
}

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ending {
    /// The session was closed, by the client or by [`SessionSender::close`].
    #[error("closed")]
    Closed,
    /// The server stops.
    #[error("closed because the server stops")]
    Stopped,
    /// The layer above has closed the session: its client did nothing in time.
    #[error("closed because nothing was sent in time")]
    ClosedHere,
    /// The client has not answered a ping in time.
    #[error("no pong in time")]
    PingTimeout,
    /// The client has violated the protocol.
    #[error("a packet that is not valid")]
    InvalidPacket,
    /// The connection was lost.
    #[error(transparent)]
    Transport(Error),
}

impl Ending {
    /// Returns a short name, as the label of a metric.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Stopped => "stopped",
            Self::ClosedHere => "closed_here",
            Self::PingTimeout => "ping_timeout",
            Self::InvalidPacket => "invalid_packet",
            Self::Transport(_) => "transport",
        }
    }
}

impl Connection {
    pub(super) fn new(sid: Sid, wire: Wire, sender: Sender, settings: &Settings) -> Self {
        let heart = Heart::new(settings);
        let meter = settings.metrics.clone().map(|metrics| Box::new(Meter::new(metrics)));
        Self { sid, wire, sender, heart, handshake: None, stop: None, meter, ending: None }
    }

    /// Returns the id of the session.
    pub fn sid(&self) -> Sid {
        self.sid
    }

    /// Returns the request that began the session, if
    /// [`Settings::keep_handshake`](super::Settings::keep_handshake) is set.
    pub fn handshake(&self) -> Option<&Handshake> {
        self.handshake.as_ref()
    }

    /// Returns a sender for the session.
    pub fn sender(&self) -> SessionSender {
        SessionSender(self.sender.clone())
    }

    /// Receives the next message.
    ///
    /// # Errors
    /// Returns why the session has ended.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, or if its timers are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the session.
    pub async fn recv(&mut self) -> Result<Received, Ending> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next message, as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// Returns why the session has ended.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Ending>> {
        if self.is_stopping() {
            self.end(Ending::Stopped);
        }
        self.poll_receive(cx)
    }

    /// Polls for the next message, and leaves it to the caller to end the session if the server stops.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Ending>> {
        let received = ready!(self.poll_packets(cx));
        // A session ends once, however often it is polled after that.
        if let Err(ending) = &received
            && let Some(mut meter) = self.meter.take()
        {
            meter.metrics().ended(ending);
            add_stats(&mut meter, &self.wire);
        }
        Poll::Ready(received)
    }

    fn poll_packets(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Ending>> {
        loop {
            let Poll::Ready(received) = self.wire.poll_recv(self.stop.as_mut(), cx) else { break };
            let message = match received {
                Ok(Some(message)) => message,
                Ok(None) => return Poll::Ready(Err(self.take_ending(|| Ending::Closed))),
                Err(error) => return Poll::Ready(Err(self.take_ending(|| Ending::Transport(error)))),
            };
            if self.ending.is_some() {
                continue;
            }
            match self.received(message) {
                Ok(Some(received)) => return Poll::Ready(Ok(received)),
                Ok(None) => {}
                Err(ending) => self.end(ending),
            }
        }
        if self.ending.is_none() && self.heart.poll(cx, &self.sender).is_ready() {
            // There is nobody to wait for.
            self.sender.abort();
            return Poll::Ready(Err(Ending::PingTimeout));
        }
        Poll::Pending
    }

    /// Returns why the session ends, which the connection may not know.
    fn take_ending(&mut self, of_connection: impl FnOnce() -> Ending) -> Ending {
        match self.ending.take() {
            Some(ending) => ending,
            // The shutdown may have begun since it was asked for.
            None if self.is_stopping() => Ending::Stopped,
            None => of_connection(),
        }
    }

    /// Returns whether the server stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.as_ref().is_some_and(Stop::has_begun)
    }

    /// Polls whether the time in which sessions may end by themselves has passed.
    pub(crate) fn poll_cut_off(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stop.as_mut().map_or(Poll::Pending, |stop| stop.poll_cut_off(cx))
    }

    /// Returns what keeps a shutdown waiting, for as long as it exists.
    pub(crate) fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    fn received(&mut self, message: Message) -> Result<Option<Received>, Ending> {
        let text = match message {
            Message::Binary(data) => return Ok(Some(Received::Binary(data))),
            Message::Text(text) => text,
        };
        match Packet::parse(&text) {
            Ok(Packet::Message(_)) => Ok(Some(Received::Text(Text::of_packet(text)))),
            Ok(Packet::Pong("")) => {
                self.heart.beat();
                if let Some(meter) = &mut self.meter {
                    add_stats(meter, &self.wire);
                }
                Ok(None)
            }
            // It ends a request, and has no other meaning.
            Ok(Packet::Noop) => Ok(None),
            Ok(Packet::Close) => Err(Ending::Closed),
            // Pings are sent by the server; the probe of an upgrade has its own connection.
            Ok(Packet::Open(_) | Packet::Ping(_) | Packet::Pong(_) | Packet::Upgrade) | Err(_) => {
                Err(Ending::InvalidPacket)
            }
        }
    }

    /// Ends the session because of the client, or because the server stops. What it sends later is
    /// discarded.
    ///
    /// The connection is closed, so that the client learns why. `poll_recv` returns the reason once
    /// that is done.
    pub(crate) fn end(&mut self, ending: Ending) {
        match (&ending, &mut self.stop) {
            // With the code of the shutdown.
            (Ending::Stopped, Some(stop)) => stop.close(),
            (Ending::InvalidPacket, _) => {
                start_close(&self.sender, CloseCode::PROTOCOL_ERROR, "invalid packet");
            }
            _ => start_close(&self.sender, CloseCode::NORMAL, ""),
        }
        self.ending.get_or_insert(ending);
    }
}

fn start_close(sender: &Sender, code: CloseCode, reason: &'static str) {
    // It fails only if the connection has ended already.
    let _ = sender.start_close(CloseFrame::new(code, reason).ok());
}

/// Adds what a session has received and sent to the counters.
fn add_stats(meter: &mut Meter, wire: &Wire) {
    if let Some(stats) = wire.stats() {
        meter.add(stats);
    }
}

impl Wire {
    fn poll_recv(
        &mut self,
        stop: Option<&mut Stop>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>> {
        match (self, stop) {
            (Self::WebSocket(receiver), Some(stop)) => stop.poll_recv(receiver, cx),
            (Self::Session(receiver), Some(stop)) => stop.poll_recv(receiver, cx),
            (Self::WebSocket(receiver), None) => receiver.poll_recv(cx),
            (Self::Session(receiver), None) => receiver.poll_recv(cx),
        }
    }

    fn stats(&self) -> Option<Stats> {
        match self {
            Self::WebSocket(receiver) => receiver.stats(),
            Self::Session(receiver) => receiver.stats(),
        }
    }
}

/// The heartbeat of a session.
///
/// ```text
///            interval passed: ping                timeout passed
///   Rests ──────────────────────────▶ Waits ──────────────────────▶ the session ends
///     ▲                                 │
///     └───────────── pong ──────────────┘
/// ```
#[derive(Debug)]
struct Heart {
    timer: Pin<Box<Sleep>>,
    waits: bool,
    interval: Duration,
    timeout: Duration,
}

impl Heart {
    fn new(settings: &Settings) -> Self {
        let Settings { ping_interval: interval, ping_timeout: timeout, .. } = *settings;
        Self { timer: Box::pin(sleep(interval)), waits: false, interval, timeout }
    }

    /// Sends a ping when it is time. Returns ready if the pong is missing.
    fn poll(&mut self, cx: &mut Context<'_>, sender: &Sender) -> Poll<()> {
        loop {
            let Poll::Ready(()) = self.timer.as_mut().poll(cx) else { return Poll::Pending };
            if self.waits {
                return Poll::Ready(());
            }
            match sender.try_send("2") {
                Err(TrySendError::Full(_)) => self.rest_for(PING_PAUSE),
                // If the connection has ended, that is returned by the next call that receives.
                Ok(()) | Err(TrySendError::Closed(_)) => {
                    self.rest_for(self.timeout);
                    self.waits = true;
                }
            }
        }
    }

    /// Records a pong. One that nothing asked for changes nothing.
    fn beat(&mut self) {
        if self.waits {
            self.rest_for(self.interval);
            self.waits = false;
        }
    }

    fn rest_for(&mut self, time: Duration) {
        self.timer.as_mut().reset(Instant::now() + time);
    }
}

/// Sends messages to the client of a session, from any task.
#[derive(Debug, Clone)]
pub struct SessionSender(Sender);

impl SessionSender {
    /// Waits for room, and queues a message with this text.
    ///
    /// # Errors
    /// Fails if the session has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the message is not queued.
    pub async fn send_text(&self, text: &str) -> Result<(), Error> {
        self.0.feed(format!("4{text}")).await
    }

    /// Waits for room, and queues binary data.
    ///
    /// # Errors
    /// Fails if the session has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the message is not queued.
    pub async fn send_binary(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.0.feed(Outgoing::from(data.into())).await
    }

    /// Closes the session, behind what is queued.
    pub fn close(&self) {
        start_close(&self.0, CloseCode::NORMAL, "");
    }

    /// Returns the sender of the connection, for complete packets.
    pub(crate) fn get_ref(&self) -> &Sender {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinHandle;

    use super::*;
    use crate::engine::{http::polling_session, polling::Polling};

    /// A session that polls, and its task, which sends everything back.
    fn start(settings: &Settings) -> (Arc<Polling>, SessionSender, JoinHandle<Ending>) {
        let (polling, wire, sender) = polling_session(settings);
        let mut session = Connection::new(Sid::random(), wire, sender, settings);
        let sender = session.sender();
        let echo = sender.clone();
        let task = tokio::spawn(async move {
            loop {
                match session.recv().await {
                    Ok(Received::Text(text)) => echo.send_text(&text).await.expect("open"),
                    Ok(Received::Binary(data)) => echo.send_binary(data).await.expect("open"),
                    Err(ending) => return ending,
                }
            }
        });
        (polling, sender, task)
    }

    async fn poll(polling: &Arc<Polling>) -> String {
        polling.begin_poll().expect("polls").fetch().await
    }

    async fn post(polling: &Arc<Polling>, payload: &str) {
        let mut turn = polling.begin_post().expect("polls");
        turn.ready().await.expect("open");
        turn.post(payload).expect("valid");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_ping_follows_the_interval_and_each_pong_restarts_it() {
        let (polling, _sender, _task) = start(&Settings::new());
        let begun = Instant::now();
        for seconds in [25, 60, 95] {
            assert_eq!(poll(&polling).await, "2");
            assert_eq!(begun.elapsed().as_secs(), seconds);
            // A pong may take long, and what is sent meanwhile is no pong.
            sleep(Duration::from_secs(10)).await;
            post(&polling, "3").await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn other_messages_are_no_pong() {
        let (polling, _sender, task) = start(&Settings::new());
        let begun = Instant::now();
        assert_eq!(poll(&polling).await, "2");
        for _ in 0..4 {
            sleep(Duration::from_secs(4)).await;
            post(&polling, "4still here").await;
            assert_eq!(poll(&polling).await, "4still here");
        }
        // The poll that waits learns it.
        assert_eq!(poll(&polling).await, "1");
        assert_eq!(begun.elapsed().as_secs(), 45);
        assert!(matches!(task.await, Ok(Ending::PingTimeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn pongs_that_nothing_asked_for_do_not_delay_the_ping() {
        let (polling, _sender, _task) = start(&Settings::new());
        let begun = Instant::now();
        for _ in 0..6 {
            post(&polling, "3\u{1e}3").await;
            sleep(Duration::from_secs(4)).await;
        }
        assert_eq!(poll(&polling).await, "2");
        assert_eq!(begun.elapsed().as_secs(), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_only_posts_is_disconnected_when_its_buffers_are_full() {
        let settings = Settings::new().max_write_buffer_size(10_000);
        let (polling, sender, task) = start(&settings);
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while sender.send_text(&"x".repeat(1000)).await.is_ok() {
                sent += 1;
            }
            sent
        });
        let posting = polling.clone();
        tokio::spawn(async move {
            // Its pongs alone would keep the session.
            while let Ok(mut turn) = posting.begin_post() {
                if turn.ready().await.is_err() || turn.post("3").is_err() {
                    break;
                }
                drop(turn);
                sleep(Duration::from_secs(1)).await;
            }
        });
        let sent: usize = sending.await.expect("no panic");
        assert!((18..=22).contains(&sent), "{sent}");
        assert!(matches!(task.await, Ok(Ending::Transport(Error::Timeout(_)))));
        assert!(polling.begin_poll().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_larger_than_the_buffers_is_sent() {
        let settings = Settings::new().max_write_buffer_size(1000);
        let (polling, sender, _task) = start(&settings);
        let large = "x".repeat(100_000);
        sender.send_text(&large).await.expect("open");
        assert_eq!(poll(&polling).await, format!("4{large}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_waits_until_the_one_before_was_received() {
        let (polling, wire, sender) = polling_session(&Settings::new());
        let settings = Settings::new();
        post(&polling, "4first").await;
        let waiting = polling.clone();
        let second = tokio::spawn(async move { post(&waiting, "4second").await });
        sleep(Duration::from_secs(1)).await;
        assert!(!second.is_finished());
        let mut session = Connection::new(Sid::random(), wire, sender, &settings);
        for expected in ["4first", "4second"] {
            assert_eq!(session.recv().await.expect("open"), Received::Text(Text::new(expected)));
        }
        second.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_closed_and_not_polled_ends_in_time() {
        let (_polling, sender, task) = start(&Settings::new());
        let begun = Instant::now();
        sender.close();
        assert!(task.await.is_ok());
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
