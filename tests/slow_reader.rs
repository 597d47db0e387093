//! Peers that read slowly on purpose, rows 100 and 101 of `HOSTILE.md`: what is queued for them, or a
//! connection that closes, is not kept for ever.

#[cfg(feature = "tls")]
#[path = "support/certificates.rs"]
mod certificates;
mod support;

use std::time::Duration;

use bytes::Bytes;
use fullduplex::{
    CloseCode, Config, Error, Message, MessageKind, Role, Timeout, WebSocket, handshake::Negotiated,
};
use support::{
    frames::{close, ping, text, wire},
    pending,
    script::{self, Script},
    settle, without_deadlines,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Accepts some bytes again and again, until the task is aborted.
fn drip(script: &Script, every: Duration, bytes: usize) -> JoinHandle<()> {
    let script = script.clone();
    tokio::spawn(async move {
        loop {
            sleep(every).await;
            script.allow_writes(bytes);
        }
    })
}

/// How a program waits for a peer that reads slowly.
#[derive(Debug, Clone, Copy)]
enum Way {
    Receive,
    Send,
    SplitReceive,
    SplitSend,
    SplitWriter,
}

const WAYS: [Way; 5] = [Way::Receive, Way::Send, Way::SplitReceive, Way::SplitSend, Way::SplitWriter];

impl Way {
    /// Sends a message of 1000 bytes to a peer, and returns how the connection has ended; `None` if it
    /// is open after an hour.
    async fn send(self, config: Config, peer: impl FnOnce(&Script) -> JoinHandle<()>) -> Option<Error> {
        let (mut ws, script) = script::open(Role::Server, &config);
        script.allow_writes(0);
        let peer = peer(&script);
        let message = vec![7; 1000];
        let result = match self {
            Self::Receive => {
                ws.feed(message).await.expect("room");
                timeout(HOUR, ws.recv()).await.map(|received| received.map(|_| ()))
            }
            Self::Send => timeout(HOUR, ws.send(message)).await,
            Self::SplitReceive => {
                let (mut receiver, sender) = ws.split();
                sender.feed(message).await.expect("room");
                timeout(HOUR, receiver.recv()).await.map(|received| received.map(|_| ()))
            }
            Self::SplitSend => {
                let (_receiver, sender) = ws.split();
                timeout(HOUR, sender.send(message)).await
            }
            Self::SplitWriter => {
                let (_receiver, sender) = ws.split();
                let mut writer = sender.writer(MessageKind::Binary).await.expect("open");
                writer.write_all(&message).await.expect("room");
                timeout(HOUR, writer.finish()).await
            }
        };
        peer.abort();
        result.ok().and_then(Result::err)
    }
}

// --- row 100: a lowest rate of writing

fn rate(bytes_per_second: impl Into<Option<usize>>) -> Config {
    without_deadlines().write_timeout(30 * SECOND).min_write_rate(bytes_per_second)
}

#[tokio::test(start_paused = true)]
async fn row_100_a_peer_that_reads_a_byte_before_each_write_deadline_ends_only_with_a_rate() {
    for way in WAYS {
        let byte = |script: &Script| drip(script, 29 * SECOND, 1);
        let ended = way.send(rate(None), byte).await;
        assert!(ended.is_none(), "{way:?}: {ended:?}");
        let started = Instant::now();
        let ended = way.send(rate(1), byte).await;
        assert!(matches!(ended, Some(Error::Timeout(Timeout::Write))), "{way:?}: {ended:?}");
        assert!((30 * SECOND..=60 * SECOND).contains(&started.elapsed()), "{way:?}: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn row_100_a_peer_that_reads_faster_than_the_rate_is_not_ended() {
    for way in WAYS {
        for (every, bytes) in [(2, 3), (7, 8), (29, 30)] {
            let ended = way.send(rate(1), |script| drip(script, every * SECOND, bytes)).await;
            assert!(ended.is_none(), "{way:?}, {bytes} in {every} s: {ended:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_100_a_rate_ends_no_connection_for_which_nothing_is_queued() {
    for way in [Way::Receive, Way::SplitReceive] {
        // The last bytes are fewer than those of a period, and are taken within it.
        let ended = way.send(rate(usize::MAX), |script| drip(script, 29 * SECOND, usize::MAX)).await;
        assert!(ended.is_none(), "{way:?}: {ended:?}");
    }
    // Between two messages nothing is queued, however long the receiving half is not polled.
    let (ws, script) = script::open(Role::Server, &rate(1000));
    let (mut receiver, sender) = ws.split();
    for _ in 0..10 {
        script.allow_writes(0);
        let sending = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send("short").await }
        });
        settle().await;
        pending(std::pin::pin!(receiver.recv()), "nothing is received");
        sleep(29 * SECOND).await;
        script.allow_writes(None);
        sending.await.expect("no panic").expect("it was taken in time");
        sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn row_100_a_rate_holds_without_a_write_timeout_and_none_of_zero_does() {
    let without_timeout = rate(None).write_timeout(None);
    for (bytes_per_second, ends) in [(0, false), (1, true)] {
        let config = without_timeout.clone().min_write_rate(bytes_per_second);
        let ended = Way::Receive.send(config, |script| drip(script, 29 * SECOND, 1)).await;
        assert_eq!(matches!(ended, Some(Error::Timeout(Timeout::Write))), ends, "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn row_100_a_rate_holds_while_the_connection_closes() {
    // Neither deadline of closing is enabled.
    let (mut ws, script) = script::open(Role::Server, &rate(1));
    script.allow_writes(0);
    let peer = drip(&script, 4 * SECOND, 1);
    ws.feed(vec![7; 1000]).await.expect("room");
    let started = Instant::now();
    let closed = timeout(HOUR, ws.close(CloseCode::NORMAL, "")).await.expect("it ends");
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Write))), "{closed:?}");
    assert!(started.elapsed() <= 60 * SECOND);
    peer.abort();

    let (_receiver, sender, script) = script::split_server(rate(1));
    script.allow_writes(0);
    let peer = drip(&script, 4 * SECOND, 1);
    sender.feed(vec![7; 1000]).await.expect("room");
    let closed = timeout(HOUR, sender.close(CloseCode::NORMAL, "")).await.expect("it ends");
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Write))), "{closed:?}");
    peer.abort();
}

#[cfg(feature = "hub")]
#[tokio::test(start_paused = true)]
async fn row_100_a_rate_ends_a_member_of_a_hub_that_reads_slowly() {
    use fullduplex::hub::Hub;

    let hub = Hub::<u32>::new();
    let mut seat = support::hub::seat_with(&hub, rate(1));
    seat.member.join(&1).await.expect("in memory");
    seat.script.allow_writes(0);
    let peer = drip(&seat.script, 29 * SECOND, 1);
    for _ in 0..10 {
        assert_eq!(hub.to(&1).send("x".repeat(1000)).await.sent, 1);
    }
    let received = timeout(HOUR, seat.receiver.recv()).await.expect("it ends");
    assert!(matches!(received, Err(Error::Timeout(Timeout::Write))), "{received:?}");
    peer.abort();
}

/// Copies bytes from one stream to another: slowly, once `is_slow` is set.
#[cfg(feature = "tls")]
async fn relay(
    mut from: tokio::io::ReadHalf<tokio::io::DuplexStream>,
    mut to: tokio::io::WriteHalf<tokio::io::DuplexStream>,
    is_slow: std::sync::Arc<std::sync::atomic::AtomicBool>,
) -> std::io::Result<()> {
    let mut buffer = [0; 500];
    loop {
        if is_slow.load(std::sync::atomic::Ordering::Relaxed) {
            sleep(20 * SECOND).await;
        }
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// TLS accepts a little whenever a little of what it has encrypted is taken.
#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn row_100_a_rate_holds_for_a_stream_in_tls() {
    use fullduplex::{TlsAcceptor, TlsConnector};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use tokio::io::{duplex, split};

    let authority = certificates::Authority::new();
    let issued = authority.issue("server.test");
    let connector = TlsConnector::builder().only_roots(authority.pem()).build().expect("valid");
    let acceptor = TlsAcceptor::from_pem(issued.chain, issued.key).expect("valid");
    for (config, ends) in [(rate(None), false), (rate(1000), true)] {
        let ((client, of_client), (server, of_server)) = (duplex(1000), duplex(1000));
        let ((from_client, to_client), (from_server, to_server)) = (split(of_client), split(of_server));
        let (slow, fast) = (std::sync::Arc::new(AtomicBool::new(false)), Default::default());
        tokio::spawn(relay(from_client, to_server, fast));
        tokio::spawn(relay(from_server, to_client, slow.clone()));
        let (client, server) =
            tokio::join!(connector.connect("server.test", client), acceptor.accept(server));
        let (mut client, server) = (client.expect("valid"), server.expect("valid"));
        let reading = tokio::spawn(async move { tokio::io::copy(&mut client, &mut tokio::io::sink()).await });
        slow.store(true, Relaxed);

        let mut ws = WebSocket::from_raw(server, Bytes::new(), Role::Server, &config, Negotiated::default());
        let sent = timeout(HOUR, ws.send(vec![7; 1 << 20])).await;
        assert_eq!(matches!(sent, Ok(Err(Error::Timeout(Timeout::Write)))), ends, "{sent:?}");
        assert!(ends || sent.is_err(), "it is open after an hour: {sent:?}");
        reading.abort();
    }
}

/// Connects two TCP sockets with small buffers: the server's, and one of a client.
async fn tcp_pair() -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(64 << 10).expect("supported");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener: TcpListener = socket.listen(1).expect("bound");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("supported");
    let (client, server) =
        tokio::join!(socket.connect(listener.local_addr().expect("bound")), listener.accept());
    (server.expect("a connection").0, client.expect("it listens"))
}

/// Reads at most 16 KiB each time, with a pause after it, and sends `input` each time, until the
/// stream ends.
async fn read_slowly(mut tcp: TcpStream, input: Vec<u8>) -> usize {
    let (mut buffer, mut total) = (vec![0; 16 << 10], 0);
    loop {
        match tcp.read(&mut buffer).await {
            Ok(0) | Err(_) => return total,
            Ok(read) => total += read,
        }
        // The server reads, or has ended the connection.
        if tcp.write_all(&input).await.is_err() {
            return total;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn server(tcp: TcpStream, config: &Config) -> WebSocket<TcpStream> {
    WebSocket::from_raw(tcp, Bytes::new(), Role::Server, config, Negotiated::default())
}

#[tokio::test]
async fn row_100_over_tcp_a_slow_reader_ends_only_with_a_rate() {
    let slow = without_deadlines().write_timeout(2 * SECOND);
    // At least a second passes between two steps of the reader only if the machine stands still.
    let ((io, client), (io_with_rate, client_with_rate)) = (tcp_pair().await, tcp_pair().await);
    let reading = [client, client_with_rate].map(|tcp| tokio::spawn(read_slowly(tcp, Vec::new())));
    let mut ws = server(io, &slow);
    let mut ws_with_rate = server(io_with_rate, &slow.min_write_rate(1 << 30));
    let message = Bytes::from(vec![7; 64 << 20]);
    let result = tokio::select! {
        result = ws.send(message.clone()) => panic!("64 MiB in steps of 16 KiB: {result:?}"),
        result = timeout(60 * SECOND, ws_with_rate.send(message.clone())) => result.expect("it ends"),
    };
    assert!(matches!(result, Err(Error::Timeout(Timeout::Write))), "{result:?}");
    drop((ws, ws_with_rate));
    for reading in reading {
        assert!(reading.await.expect("no panic") > 0, "both peers have read");
    }
}

#[tokio::test]
async fn row_100_over_tcp_a_reader_that_is_fast_enough_receives_everything() {
    let (io, client) = tcp_pair().await;
    let config = without_deadlines().write_timeout(10 * SECOND).min_write_rate(1000);
    let mut ws = server(io, &config);
    let reading = tokio::spawn(async move {
        let mut client =
            WebSocket::from_raw(client, Bytes::new(), Role::Client, &Config::new(), Negotiated::default());
        client.recv().await
    });
    ws.send(vec![7; 8 << 20]).await.expect("fast enough");
    let received = timeout(60 * SECOND, reading).await.expect("it was sent").expect("no panic");
    assert_eq!(received.expect("valid").map(|message| message.len()), Some(8 << 20));
}

// --- row 101: a bound on closing in all

/// RFC 6455 section 7.1.1.
#[tokio::test(start_paused = true)]
async fn row_101_a_peer_that_reads_a_byte_before_each_close_deadline_is_dropped_after_the_total_one() {
    for split in [false, true] {
        for receives in [false, true] {
            let (ws, script) = script::open(Role::Server, &Config::new());
            script.allow_writes(0);
            let peer = drip(&script, 4 * SECOND, 1);
            let started = Instant::now();
            let result = timeout(HOUR, closed(ws, split, receives)).await.expect("it ends");
            assert!(matches!(result, Err(Error::Timeout(Timeout::Close))), "{split} {receives}: {result:?}");
            assert_eq!(started.elapsed(), 60 * SECOND, "{split} {receives}");
            peer.abort();
        }
    }
}

/// Queues a message and closes: in a receiving call, or else in a sending one.
async fn closed(mut ws: WebSocket<script::Scripted>, split: bool, receives: bool) -> Result<(), Error> {
    let message = vec![7; 1000];
    if !split {
        ws.feed(message).await.expect("room");
        ws.start_close(None).expect("open");
        return if receives { ws.recv().await.map(|_| ()) } else { ws.flush().await };
    }
    let (mut receiver, sender) = ws.split();
    sender.feed(message).await.expect("room");
    if receives {
        sender.start_close(None).expect("open");
        receiver.recv().await.map(|_| ())
    } else {
        sender.close_with(None).await
    }
}

#[tokio::test(start_paused = true)]
async fn row_101_the_total_deadline_counts_from_the_close_that_is_answered_and_whatever_is_received() {
    let endless = wire(&[text("not done yet").masked(), ping("wait").masked()]);
    for (closes_first, input) in [(true, endless), (false, close(1000, "").masked().build())] {
        let config = Config::new().ping_interval(None).total_close_timeout(20 * SECOND);
        let (mut ws, script) = script::open(Role::Server, &config);
        script.allow_writes(0);
        ws.feed(vec![7; 1000]).await.expect("room");
        if closes_first {
            ws.start_close(None).expect("open");
        }
        let peer = tokio::spawn({
            let script = script.clone();
            async move {
                loop {
                    script.bring(input.clone());
                    sleep(SECOND).await;
                    script.allow_writes(1);
                }
            }
        });
        let started = Instant::now();
        let receiving = async {
            while ws.recv().await?.is_some() {}
            Ok::<_, Error>(())
        };
        let ended = timeout(HOUR, receiving).await.expect("it ends");
        assert!(matches!(ended, Err(Error::Timeout(Timeout::Close))), "{ended:?}");
        assert_eq!(started.elapsed(), 20 * SECOND);
        assert_eq!(ws.queued_bytes(), 0, "the queue is released");
        peer.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn row_101_without_a_total_deadline_a_peer_may_read_slowly_and_with_one_it_may_take_almost_as_long() {
    for (total, every) in [(None, 4), (Some(60 * SECOND), 1)] {
        let (mut ws, script) = script::open(Role::Server, &Config::new().total_close_timeout(total));
        ws.feed("x".repeat(27)).await.expect("room");
        script.allow_writes(0);
        let peer = drip(&script, every * SECOND, 1);
        ws.start_close(None).expect("open");
        let closing = tokio::spawn(async move { ws.recv().await });
        sleep(every * 31 * SECOND).await;
        settle().await;
        peer.abort();
        assert_eq!(script.written().len(), 2 + 27 + 2, "all is written");
        script.bring(close(1000, "").masked().build());
        script.end();
        assert_eq!(closing.await.expect("no panic").expect("closed cleanly"), None::<Message>);
    }
}

#[tokio::test(start_paused = true)]
async fn row_101_after_the_close_is_written_neither_pings_nor_reading_extends_its_deadline() {
    let (mut ws, script) = script::open(Role::Server, &Config::new().ping_interval(None));
    ws.start_close(None).expect("open");
    pending(std::pin::pin!(ws.recv()), "the peer has not answered");
    // The pongs are taken a byte at a time.
    script.allow_writes(0);
    let peer = tokio::spawn(async move {
        loop {
            script.bring(wire(&vec![ping("wait").masked(); 10]));
            sleep(SECOND).await;
            script.allow_writes(1);
        }
    });
    let started = Instant::now();
    assert_eq!(ws.recv().await.expect("our Close is written"), None);
    assert_eq!(started.elapsed(), 5 * SECOND);
    peer.abort();
}

#[tokio::test]
async fn row_101_over_tcp_a_peer_that_reads_slowly_and_sends_pings_does_not_keep_a_closing_connection() {
    let (io, client) = tcp_pair().await;
    let reading = tokio::spawn(read_slowly(client, ping("wait").masked().build()));
    let mut ws = server(io, &Config::new().total_close_timeout(SECOND));
    ws.feed(vec![7; 64 << 20]).await.expect("room");
    let closed = timeout(60 * SECOND, ws.close(CloseCode::NORMAL, "")).await.expect("it ends");
    assert!(matches!(closed, Err(Error::Timeout(Timeout::Close))), "{closed:?}");
    drop(ws);
    assert!(reading.await.expect("no panic") > 0, "the peer has read");
}
