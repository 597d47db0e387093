//! Graceful shutdown of connections, with the guards of programs that accept them themselves.
#![cfg(feature = "serve")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fullduplex::{
    CloseCode, Config, Error, Message, Timeout, WebSocket,
    serve::{Drained, Metrics, Shutdown},
    testing,
};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{JoinSet, yield_now},
    time::{Instant, timeout},
};

const STOPS: &str = "the server stops";

/// After which a test that waits for something fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns connected ends without any deadline.
fn pair() -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    testing::pair(&Config::new().ping_interval(None).close_timeout(None).write_timeout(None))
}

fn begin(shutdown: &Shutdown) {
    shutdown.begin(CloseCode::SERVICE_RESTART, STOPS).expect("valid");
}

fn drained(closed: usize, lost: usize, cut_off: usize) -> Drained {
    let mut drained = Drained::default();
    (drained.closed, drained.lost, drained.cut_off) = (closed, lost, cut_off);
    drained
}

/// Receives the Close of the server.
async fn closed(client: &mut WebSocket<DuplexStream>) {
    assert_eq!(client.recv().await.expect("a clean end"), None);
    let frame = client.close_frame().expect("it has a code");
    assert_eq!((frame.code(), frame.reason()), (CloseCode::SERVICE_RESTART, STOPS));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_is_closed_with_the_code_of_the_shutdown() {
    let (mut client, ws) = pair();
    let shutdown = Shutdown::new();
    let mut ws = shutdown.guard().attach(ws);
    let server = tokio::spawn(async move { ws.recv().await });
    yield_now().await;
    begin(&shutdown);
    closed(&mut client).await;
    assert_eq!(server.await.expect("no panic").expect("a clean end"), None);
    assert_eq!(shutdown.wait(Duration::ZERO).await, drained(1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_created_later_closes_its_connection_at_once() {
    let (mut client, ws) = pair();
    let shutdown = Shutdown::new();
    begin(&shutdown);
    assert!(shutdown.has_begun());
    let mut ws = shutdown.guard().attach(ws);
    let (received, ()) = tokio::join!(ws.recv(), closed(&mut client));
    assert_eq!(received.expect("a clean end"), None);
}

#[tokio::test(start_paused = true)]
async fn messages_that_precede_the_close_of_the_peer_are_returned() {
    let (mut client, ws) = pair();
    let shutdown = Shutdown::new();
    let mut ws = shutdown.guard().attach(ws);
    ws.feed("queued before").await.expect("room");
    client.send("sent before").await.expect("open");
    begin(&shutdown);
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("sent before")));
    assert!(matches!(ws.feed("too late").await, Err(Error::Closed)));
    client.send("sent after our Close").await.expect("open");
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("sent after our Close")));
    assert_eq!(client.recv().await.expect("valid"), Some(Message::from("queued before")));
    let (received, ()) = tokio::join!(ws.recv(), closed(&mut client));
    assert_eq!(received.expect("a clean end"), None);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_after_our_close_completes_the_closing_handshake() {
    let (mut client, ws) = pair();
    let shutdown = Shutdown::new();
    let mut ws = shutdown.guard().attach(ws);
    ws.feed("an answer").await.expect("room");
    client.send("a question").await.expect("open");
    begin(&shutdown);
    ws.recv().await.expect("valid").expect("the question");
    drop(ws);
    assert_eq!(client.recv().await.expect("valid"), Some(Message::from("an answer")));
    closed(&mut client).await;
    assert_eq!(shutdown.wait(DEADLINE).await, drained(1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_is_cut_off_at_the_deadline() {
    let (_client, ws) = pair();
    let shutdown = Shutdown::new();
    let mut ws = shutdown.guard().attach(ws);
    let server = tokio::spawn(async move {
        let first = ws.recv().await;
        (first, ws.recv().await)
    });
    yield_now().await;
    let start = Instant::now();
    begin(&shutdown);
    assert_eq!(shutdown.wait(Duration::from_secs(7)).await, drained(0, 0, 1));
    assert_eq!(start.elapsed().as_secs(), 7);
    let (first, second) = server.await.expect("no panic");
    let error = first.expect_err("cut off");
    assert!(matches!(error, Error::Timeout(Timeout::Shutdown)) && error.is_disconnect(), "{error}");
    assert!(second.is_ok_and(|message| message.is_none()), "an error is returned once");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_within_close_timeout_is_lost() {
    let (_client, ws) = testing::pair(&Config::new().close_timeout(Duration::from_secs(5)));
    let shutdown = Shutdown::new();
    let mut ws = shutdown.guard().attach(ws);
    begin(&shutdown);
    let server = tokio::spawn(async move { ws.recv().await });
    assert_eq!(shutdown.wait(Duration::from_secs(7)).await, drained(0, 1, 0));
    assert_eq!(server.await.expect("no panic").expect("our Close was written"), None);
}

#[tokio::test(start_paused = true)]
async fn the_halves_of_a_connection_are_closed_and_cut_off() {
    let shutdown = Shutdown::new();
    let start = |ws: WebSocket<DuplexStream>| {
        let (mut receiver, sender) = ws.split();
        let mut guard = shutdown.guard();
        let receiving = tokio::spawn(async move { guard.recv(&mut receiver).await });
        (receiving, sender)
    };
    let ((mut client, answers), (_client, mute)) = (pair(), pair());
    let ((answers, _sender), (mute, sender)) = (start(answers), start(mute));
    yield_now().await;
    begin(&shutdown);
    closed(&mut client).await;
    assert_eq!(shutdown.wait(Duration::from_secs(7)).await, drained(1, 0, 1));
    assert_eq!(answers.await.expect("no panic").expect("a clean end"), None);
    sender.closed().await;
    let error = mute.await.expect("no panic").expect_err("cut off");
    assert!(matches!(error, Error::Timeout(Timeout::Shutdown)));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_loses_no_message_and_no_shutdown() {
    let (mut client, ws) = pair();
    let shutdown = Shutdown::new();
    let mut guard = shutdown.guard();
    let (mut receiver, sender) = ws.split();
    for number in 0..10 {
        tokio::select! {
            biased;
            received = guard.recv(&mut receiver) => panic!("{received:?}"),
            // Wakes the receiver, which writes as its future is dropped.
            fed = sender.feed(number.to_string()) => fed.expect("room"),
        }
        let received = client.recv().await.expect("valid").expect("a message");
        assert_eq!(received, Message::from(number.to_string()));
    }
    begin(&shutdown);
    let (received, ()) = tokio::join!(guard.recv(&mut receiver), closed(&mut client));
    assert_eq!(received.expect("a clean end"), None);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_code_or_reason_begins_nothing() {
    let shutdown = Shutdown::new();
    shutdown.begin(CloseCode::NO_STATUS, "").expect_err("1005 is never sent");
    shutdown.begin(CloseCode::NORMAL, "x".repeat(124)).expect_err("too long");
    assert!(!shutdown.has_begun());
    begin(&shutdown);
    shutdown.begun().await;
}

#[tokio::test(start_paused = true)]
async fn wait_waits_for_the_beginning_and_for_each_guard() {
    let shutdown = Shutdown::new();
    let guard = shutdown.with_metrics(&Metrics::new()).guard();
    let waiting = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.wait(DEADLINE).await }
    });
    drop(shutdown.guard());
    yield_now().await;
    begin(&shutdown);
    yield_now().await;
    assert!(!waiting.is_finished());
    drop(guard);
    assert_eq!(waiting.await.expect("no panic"), drained(1, 0, 0), "the other one ended before");
}

#[tokio::test(start_paused = true)]
async fn metrics_count_connections_by_the_code_of_their_end() {
    let (shutdown, metrics) = (Shutdown::new(), Metrics::new());
    let counted = shutdown.with_metrics(&metrics);
    let config = Config::new().stats(true);
    let (mut client, ws) = testing::pair(&config);
    let mut ws = counted.guard().attach(ws);
    assert_eq!((metrics.snapshot().opened, metrics.snapshot().open), (1, 1));
    client.send("hello").await.expect("open");
    ws.recv().await.expect("valid").expect("a message");
    let (end, _) = tokio::join!(client.close(CloseCode::from(4321), ""), ws.recv());
    end.expect("a clean end");
    // One that is dropped, and one that times out.
    let (_client, dropped) = testing::pair(&config);
    drop(counted.guard().attach(dropped));
    let (_client, silent) = testing::pair(&config);
    counted.guard().attach(silent).recv().await.expect_err("pong timeout");
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.opened, snapshot.open), (3, 0));
    let closed = snapshot.closed.iter().map(|(code, count)| (code.get(), *count)).collect::<Vec<_>>();
    assert_eq!(closed, [(1006, 1), (1011, 1), (4321, 1)]);
    assert_eq!(snapshot.timeouts.into_iter().collect::<Vec<_>>(), [(Timeout::Pong, 1)]);
    assert_eq!(snapshot.messages_received, 1);
    assert!(snapshot.bytes_received > 11 && snapshot.bytes_sent > 0);
}

#[tokio::test]
async fn all_of_100_000_guards_are_woken_and_other_tasks_have_their_turns() {
    const GUARDS: usize = 100_000;
    let shutdown = Shutdown::new();
    let (waiting, woken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..GUARDS {
        let (mut guard, waiting, woken) = (shutdown.guard(), waiting.clone(), woken.clone());
        tasks.spawn(async move {
            waiting.fetch_add(1, Relaxed);
            guard.begun().await;
            woken.fetch_add(1, Relaxed);
        });
    }
    // Returns how many others had a turn between two of its own, at most.
    let other = tokio::spawn({
        let woken = woken.clone();
        async move {
            let (mut last, mut most) = (0, 0);
            while last < GUARDS {
                yield_now().await;
                let now = woken.load(Relaxed);
                (last, most) = (now, most.max(now - last));
            }
            most
        }
    });
    while waiting.load(Relaxed) < GUARDS {
        yield_now().await;
    }
    begin(&shutdown);
    assert_eq!(shutdown.wait(DEADLINE).await, drained(GUARDS, 0, 0));
    let most = other.await.expect("no panic");
    assert!(most <= 3000, "{most} tasks between two turns of another one");
}

#[test]
fn begin_works_outside_of_a_runtime() {
    let shutdown = Shutdown::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks: Vec<_> = (0..5000)
        .map(|_| {
            let mut guard = shutdown.guard();
            runtime.spawn(async move { guard.begun().await })
        })
        .collect();
    runtime.block_on(yield_now());
    begin(&shutdown);
    runtime.block_on(async {
        for task in tasks {
            timeout(DEADLINE, task).await.expect("it is woken").expect("no panic");
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_when_the_shutdown_begins_meanwhile() {
    for _ in 0..200 {
        let shutdown = Shutdown::new();
        let mut tasks = JoinSet::new();
        for number in 0..64 {
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                // Slots that are freed and taken again meanwhile.
                drop(shutdown.guard());
                let mut guard = shutdown.guard();
                if number % 2 == 0 {
                    yield_now().await;
                }
                guard.begun().await;
                guard.cut_off().await;
            });
        }
        let beginning = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                begin(&shutdown);
                shutdown.wait(Duration::ZERO).await
            }
        });
        timeout(DEADLINE, tasks.join_all()).await.expect("all are woken");
        let drained = beginning.await.expect("no panic");
        assert!(drained.cut_off <= 64 && drained.lost == 0);
    }
}

/// A client that sends numbers until it receives the Close, and counts the answers.
async fn busy(address: std::net::SocketAddr) -> usize {
    let (mut ws, _) = fullduplex::connect(&format!("ws://{address}/")).await.expect("accepted");
    let mut answers = 0;
    for number in 0.. {
        // After the Close of the server, `recv` completes the closing handshake.
        let _ = ws.feed(format!("{number}")).await;
        match ws.recv().await.expect("a clean end") {
            Some(message) => assert_eq!(message, Message::from(answers.to_string())),
            None => break,
        }
        answers += 1;
    }
    assert_eq!(ws.close_frame().expect("a code").code(), CloseCode::SERVICE_RESTART);
    answers
}

/// Opens a connection that is not polled afterwards.
async fn mute(address: std::net::SocketAddr) -> WebSocket<fullduplex::ClientStream> {
    fullduplex::connect(&format!("ws://{address}/")).await.expect("accepted").0
}

/// Echoes until the end, and returns how many answers it has queued.
async fn count_echoes(tcp: TcpStream, shutdown: Shutdown) -> (usize, Result<(), Error>) {
    let server = fullduplex::Server::new(Config::new().close_timeout(None));
    let ws = server.read_request(tcp).await.expect("valid").accept().await.expect("open");
    let mut ws = shutdown.guard().attach(ws);
    let mut answers = 0;
    loop {
        let message = match ws.recv().await {
            Ok(Some(message)) => message,
            Ok(None) => return (answers, Ok(())),
            Err(error) => return (answers, Err(error)),
        };
        match ws.feed(message).await {
            Ok(()) => answers += 1,
            Err(error) => return (answers, Err(error)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_loses_no_answer_and_cuts_off_who_does_not_respond() {
    const BUSY: usize = 180;
    const MUTE: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let shutdown = Shutdown::new();
    let (opened, all_open) = oneshot::channel();
    let server = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let mut connections = JoinSet::new();
            for _ in 0..BUSY + MUTE {
                let (tcp, _) = listener.accept().await.expect("a connection");
                connections.spawn(count_echoes(tcp, shutdown.clone()));
            }
            opened.send(()).expect("the test waits");
            let (mut answers, mut cut_off) = (0, 0);
            while let Some(ended) = connections.join_next().await {
                let (count, end) = ended.expect("no panic");
                answers += count;
                cut_off += usize::from(matches!(end, Err(Error::Timeout(Timeout::Shutdown))));
            }
            (answers, cut_off)
        }
    });
    let mut clients = JoinSet::new();
    (0..BUSY).for_each(|_| drop(clients.spawn(busy(address))));
    let mut mutes = Vec::new();
    for _ in 0..MUTE {
        mutes.push(mute(address).await);
    }
    all_open.await.expect("the server runs");
    begin(&shutdown);
    let received = timeout(DEADLINE, clients.join_all()).await.expect("all are closed");
    // The tasks of the clients that have answered may not have ended.
    let waiting = shutdown.wait(Duration::from_secs(5));
    assert_eq!(waiting.await, drained(BUSY, 0, MUTE));
    let (answers, cut_off) = timeout(DEADLINE, server).await.expect("all end").expect("no panic");
    assert_eq!(received.into_iter().sum::<usize>(), answers, "no answer is lost");
    assert_eq!(cut_off, MUTE);
    drop(mutes);
}
