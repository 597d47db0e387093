//! Calls over a client that connects again.
#![cfg(all(feature = "calls", feature = "reconnect"))]

mod support;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use fullduplex::{
    Client, CloseCode, Config, Error,
    calls::{self, CallError, Context, Limits, Router},
    reconnect::{Backoff, Builder, QueueLimits, QueuedMessage, Reason, Reconnecting, State, WhenFull},
};
use support::{
    calls::{Running, attached, exchange, next},
    reconnect::{Servers, connected, connected_with, scripted},
    settle,
};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpSocket},
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

fn run(builder: Builder<DuplexStream>, router: &Router) -> Running<Reason> {
    attached(router, builder.build(), ())
}

/// Waits until the client is open, or is not.
async fn open(running: &Running<Reason>, open: bool) {
    let mut state = running.peer.handle().expect("a client").state();
    state.wait_for(|state| state.is_open() == open).await.expect("the client exists");
}

/// Returns a client that has lost its connection and waits for the next attempt.
async fn offline(builder: Builder<DuplexStream>, servers: &mut Servers) -> Running<Reason> {
    let running = run(builder, &Router::new());
    drop(servers.next().await);
    open(&running, false).await;
    running
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_connection_and_is_answered() {
    let (builder, mut servers) = connected();
    let running = offline(builder, &mut servers).await;
    let call = tokio::spawn(running.peer.call::<u32, _>("a", &1));
    settle().await;
    running.peer.emit("b", &2).await.expect("room");
    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, r#"{"event":"a","id":1,"data":1}"#);
    assert_eq!(next(&mut server).await, r#"{"event":"b","data":2}"#);
    server.send(r#"{"ack":1,"ok":true,"data":7}"#).await.expect("open");
    assert_eq!(call.await.expect("no panic").expect("an answer"), 7);
    assert!(running.peer.sender().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_call_runs_while_it_waits_for_a_connection() {
    let (builder, mut servers) = connected();
    let slow = builder.backoff(Backoff::new().min_delay(60 * SECOND));
    let running = offline(slow, &mut servers).await;
    let start = Instant::now();
    assert!(matches!(running.peer.call::<(), _>("a", &()).await, Err(CallError::Timeout)));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_sent_fails_at_once_when_its_connection_is_lost() {
    let (builder, mut servers) = connected();
    let running = run(builder, &Router::new());
    let mut server = servers.next().await;
    let call = tokio::spawn(running.peer.call::<(), _>("a", &()));
    next(&mut server).await;
    let start = Instant::now();
    drop(server);
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Lost)));
    assert_eq!(start.elapsed(), Duration::ZERO);
    // The next connection is not affected, and neither is a late answer.
    let mut server = servers.next().await;
    server.send(r#"{"ack":1,"ok":true}"#).await.expect("open");
    let call = tokio::spawn(running.peer.call::<u32, _>("b", &()));
    assert_eq!(next(&mut server).await, r#"{"event":"b","id":2,"data":null}"#);
    server.send(r#"{"ack":2,"ok":true,"data":1}"#).await.expect("open");
    assert_eq!(call.await.expect("no panic").expect("an answer"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_is_not_affected_by_the_loss_of_a_connection() {
    let (builder, mut servers) = connected();
    // Nothing of the queue is sent while the hook runs.
    let builder = builder.on_open(|opened| async move {
        if opened.earlier_connections() == 0 { std::future::pending().await } else { Ok(()) }
    });
    let running = run(builder, &Router::new());
    let server = servers.next().await;
    open(&running, true).await;
    let call = tokio::spawn(running.peer.call::<(), _>("a", &()));
    settle().await;
    drop(server);
    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, r#"{"event":"a","id":1,"data":null}"#);
    server.send(r#"{"ack":1,"ok":true}"#).await.expect("open");
    call.await.expect("no panic").expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_sent_again_with_the_same_id_if_the_program_asks_for_it() {
    let (builder, mut servers) = connected();
    let running = run(builder, &Router::new());
    let start = Instant::now();
    let patient = running.peer.with_resend(true).with_timeout(60 * SECOND);
    let call = tokio::spawn(patient.call::<u32, _>("a", &1));
    for _ in 0..3 {
        let mut server = servers.next().await;
        assert_eq!(next(&mut server).await, r#"{"event":"a","id":1,"data":1}"#);
    }
    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, r#"{"event":"a","id":1,"data":1}"#);
    server.send(r#"{"ack":1,"ok":true,"data":7}"#).await.expect("open");
    assert_eq!(call.await.expect("no panic").expect("an answer"), 7);
    // The deadline includes all attempts.
    let call = tokio::spawn(patient.call::<u32, _>("b", &1));
    next(&mut server).await;
    let asked = Instant::now();
    sleep(30 * SECOND).await;
    drop(server);
    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, r#"{"event":"b","id":2,"data":1}"#);
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Timeout)));
    assert_eq!(asked.elapsed().as_secs(), 60);
    assert!(start.elapsed() > asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_written_in_part_is_lost_or_sent_again() {
    for resend in [false, true] {
        let (builder, mut scripts) = scripted();
        let running = attached(&Router::new(), builder.build(), ());
        let script = scripts.next().await;
        script.allow_writes(10);
        let call = tokio::spawn(running.peer.with_resend(resend).call::<u32, _>("a", &1));
        settle().await;
        assert!(!call.is_finished());
        script.end();
        if resend {
            let script = scripts.next().await;
            settle().await;
            assert!(!script.written().is_empty());
            script.bring(support::frames::text(r#"{"ack":1,"ok":true,"data":7}"#).build());
            assert_eq!(call.await.expect("no panic").expect("an answer"), 7);
        } else {
            assert!(matches!(call.await.expect("no panic"), Err(CallError::Lost)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_fail_when_the_client_ends() {
    let (builder, mut servers) = connected();
    let running = run(builder, &Router::new());
    let mut server = servers.next().await;
    let sent = tokio::spawn(running.peer.with_resend(true).call::<(), _>("a", &()));
    next(&mut server).await;
    // The server closes with a code that is final.
    let start = Instant::now();
    server.close(CloseCode::NORMAL, "").await.expect("answered");
    assert!(matches!(sent.await.expect("no panic"), Err(CallError::Lost)));
    running.task.await.expect("no panic").expect("a clean close");
    assert!(matches!(running.peer.call::<(), _>("a", &()).await, Err(CallError::Closed)));
    assert!(matches!(running.peer.emit("a", &()).await, Err(CallError::Closed)));
    assert_eq!(start.elapsed(), Duration::ZERO);

    let (builder, mut servers) = connected();
    let running = offline(builder, &mut servers).await;
    let waiting = tokio::spawn(running.peer.call::<(), _>("a", &()));
    settle().await;
    running.peer.close(CloseCode::NORMAL, "").expect("open");
    assert!(matches!(waiting.await.expect("no panic"), Err(CallError::Closed)));
    running.task.await.expect("no panic").expect("closed by the program");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_an_error_if_it_drops_messages_and_a_wait_otherwise() {
    for (when_full, error) in [(WhenFull::DropNewest, true), (WhenFull::Wait, false)] {
        let (builder, mut servers) = connected();
        let limits = QueueLimits::new().max_messages(1).when_full(when_full);
        let running = offline(builder.queue(limits), &mut servers).await;
        running.peer.emit("first", &()).await.expect("room");
        if error {
            assert!(matches!(running.peer.emit("a", &()).await, Err(CallError::Full)));
            assert!(matches!(running.peer.call::<(), _>("a", &()).await, Err(CallError::Full)));
            continue;
        }
        let call = tokio::spawn(running.peer.call::<(), _>("a", &()));
        let mut server = servers.next().await;
        assert_eq!(next(&mut server).await, r#"{"event":"first","data":null}"#);
        assert_eq!(next(&mut server).await, r#"{"event":"a","id":1,"data":null}"#);
        server.send(r#"{"ack":1,"ok":true}"#).await.expect("open");
        call.await.expect("no panic").expect("an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_from_the_queue_fails_at_once() {
    let (builder, mut servers) = connected();
    let limits = QueueLimits::new().max_messages(1).when_full(WhenFull::DropOldest);
    let running = offline(builder.queue(limits), &mut servers).await;
    let call = tokio::spawn(running.peer.call::<(), _>("old", &()));
    settle().await;
    running.peer.emit("new", &()).await.expect("room");
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Full)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_the_queue_full_when_it_is_sent_again_is_lost() {
    let (builder, mut servers) = connected();
    let limits = QueueLimits::new().max_messages(1).when_full(WhenFull::DropNewest);
    let running = run(builder.queue(limits), &Router::new());
    let mut server = servers.next().await;
    let call = tokio::spawn(running.peer.with_resend(true).call::<(), _>("a", &()));
    next(&mut server).await;
    // Longer than what the server reads, and sent again as well: it keeps its place in the queue.
    let long = QueuedMessage::new("x".repeat(1 << 20)).retry(true);
    let _receipt = running.peer.handle().expect("a client").try_send(long).expect("room");
    settle().await;
    let start = Instant::now();
    drop(server);
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Lost)));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_hook_of_a_new_connection_emits_before_calls_that_wait() {
    let (builder, mut servers) = connected();
    let builder = builder.on_open(|opened| async move {
        let subscribe = calls::event("subscribe", &opened.earlier_connections())?;
        opened.sender().send(subscribe).await
    });
    let running = run(builder, &Router::new());
    let call = tokio::spawn(running.peer.with_resend(true).call::<(), _>("a", &()));
    for earlier in 0..3 {
        let mut server = servers.next().await;
        assert_eq!(next(&mut server).await, format!(r#"{{"event":"subscribe","data":{earlier}}}"#));
        assert_eq!(next(&mut server).await, r#"{"event":"a","id":1,"data":null}"#);
    }
    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, r#"{"event":"subscribe","data":3}"#);
    server.send(r#"{"ack":1,"ok":true}"#).await.expect("open");
    call.await.expect("no panic").expect("an answer");
}

// --- calls of the server

fn answering() -> Router {
    Router::new()
        .on("version", |_context, (): ()| async { Ok(1) })
        .on("slow", |_context, seconds: u32| async move {
            sleep(SECOND * seconds).await;
            Ok(seconds)
        })
        .on("ask", |context, (): ()| async move { context.peer().call::<u32, _>("question", &()).await })
}

#[tokio::test(start_paused = true)]
async fn the_server_calls_the_client_over_each_connection() {
    let (builder, mut servers) = connected();
    let _running = run(builder, &answering());
    for _ in 0..3 {
        let mut server = servers.next().await;
        assert_eq!(
            exchange(&mut server, r#"{"event":"version","id":1}"#).await,
            r#"{"ack":1,"ok":true,"data":1}"#
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_sent_over_another_connection_than_that_of_its_call() {
    let (builder, mut servers) = connected();
    let running = run(builder, &answering());
    let mut server = servers.next().await;
    server.send(r#"{"event":"slow","id":1,"data":20}"#).await.expect("open");
    settle().await;
    drop(server);
    // The handler of the first connection runs until after the second one is open.
    let mut server = servers.next().await;
    open(&running, true).await;
    server.send(r#"{"event":"version","id":1}"#).await.expect("open");
    assert_eq!(next(&mut server).await, r#"{"ack":1,"ok":true,"data":1}"#);
}

#[tokio::test(start_paused = true)]
async fn a_handler_calls_the_server_though_many_events_wait() {
    let (builder, mut servers) = connected_with(&Config::new().ping_interval(None));
    let _running = run(builder, &answering().limits(Limits::new().max_waiting(1)));
    let mut server = servers.next().await;
    server.feed(r#"{"event":"ask","id":1}"#).await.expect("open");
    for id in 2..100 {
        server.feed(format!(r#"{{"event":"version","id":{id}}}"#)).await.expect("open");
    }
    server.flush().await.expect("open");
    assert_eq!(next(&mut server).await, r#"{"event":"question","id":1,"data":null}"#);
    server.send(r#"{"ack":1,"ok":true,"data":7}"#).await.expect("open");
    assert_eq!(next(&mut server).await, r#"{"ack":1,"ok":true,"data":7}"#);
    for id in 2..100 {
        assert_eq!(next(&mut server).await, format!(r#"{{"ack":{id},"ok":true,"data":1}}"#));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_written_while_nothing_is_received() {
    let (builder, mut servers) = connected();
    let limits = QueueLimits::new().max_messages(1);
    let router = answering().limits(Limits::new().max_waiting(1)).on(
        "tell",
        |context: Context<()>, (): ()| async move {
            // More than the queue holds: the client has to write meanwhile.
            for number in 0..10 {
                context.peer().emit("told", &number).await?;
            }
            Ok(())
        },
    );
    let running = run(builder.queue(limits), &router);
    let mut server = servers.next().await;
    // The first answer is queued, and nothing is received after it.
    server.feed(r#"{"event":"version","id":1}"#).await.expect("open");
    server.feed(r#"{"event":"slow","id":2,"data":100}"#).await.expect("open");
    server.feed(r#"{"event":"tell","id":3}"#).await.expect("open");
    server.feed(r#"{"event":"version","id":4}"#).await.expect("open");
    server.flush().await.expect("open");
    let start = Instant::now();
    assert_eq!(next(&mut server).await, r#"{"ack":1,"ok":true,"data":1}"#);
    settle().await;
    running.peer.emit("news", &1).await.expect("room");
    assert_eq!(next(&mut server).await, r#"{"event":"news","data":1}"#);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(next(&mut server).await, r#"{"ack":2,"ok":true,"data":100}"#);
    for number in 0..10 {
        assert_eq!(next(&mut server).await, format!(r#"{{"event":"told","data":{number}}}"#));
    }
    assert_eq!(next(&mut server).await, r#"{"ack":3,"ok":true,"data":null}"#);
    assert_eq!(next(&mut server).await, r#"{"ack":4,"ok":true,"data":1}"#);
}

// --- over TCP

type Log = Arc<Mutex<HashMap<u32, u32>>>;

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a free port");
    socket.listen(64).expect("listening")
}

/// Accepts connections until it is dropped. Each call is logged, then answered.
async fn accept(listener: TcpListener, log: Log) {
    let router = Router::<Log>::new().on("add", |context: Context<Log>, number: u32| async move {
        *context.state().lock().expect("no panic").entry(number).or_default() += 1;
        Ok(number)
    });
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        let (router, log) = (router.clone(), log.clone());
        connections.spawn(async move { router.serve(fullduplex::accept(tcp).await?, log).await });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_sent_again_survive_a_server_that_is_killed_again_and_again() {
    let log = Log::default();
    let listener = listen(([127, 0, 0, 1], 0).into());
    let address = listener.local_addr().expect("bound");
    let backoff = Backoff::new().min_delay(Duration::from_millis(5)).max_spread(Duration::from_millis(20));
    let client = Reconnecting::client(Client::default(), format!("ws://{address}").as_str())
        .expect("a valid target")
        .backoff(backoff)
        .build();
    let running = attached(&Router::new(), client, ());
    let mut state = running.peer.handle().expect("a client").state();

    let mut tasks = Vec::new();
    for task in 0..4_u32 {
        let again = running.peer.with_resend(true).with_timeout(120 * SECOND);
        let once = running.peer.with_timeout(120 * SECOND);
        tasks.push(tokio::spawn(async move {
            let mut lost = 0;
            for number in 0..400 {
                let number = task * 1000 + number;
                if task % 2 == 0 {
                    assert_eq!(again.call::<u32, _>("add", &number).await.expect("an answer"), number);
                } else {
                    match once.call::<u32, _>("add", &number).await {
                        Ok(answer) => assert_eq!(answer, number),
                        Err(CallError::Lost) => lost += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                sleep(Duration::from_micros(200)).await;
            }
            lost
        }));
    }
    let mut listener = Some(listener);
    for _ in 0..10 {
        let server = tokio::spawn(accept(listener.take().unwrap_or_else(|| listen(address)), log.clone()));
        state.wait_for(State::is_open).await.expect("the client runs");
        sleep(Duration::from_millis(30)).await;
        server.abort();
        let _ = server.await;
        state.wait_for(|state| !state.is_open()).await.expect("the client runs");
    }
    let server = tokio::spawn(accept(listen(address), log.clone()));
    let mut lost = 0;
    for task in tasks {
        lost += timeout(120 * SECOND, task).await.expect("in time").expect("no panic");
    }
    server.abort();
    let log = log.lock().expect("no panic");
    for number in 0..400 {
        for task in 0..4 {
            let times = log.get(&(task * 1000 + number)).copied().unwrap_or(0);
            let expected = if task % 2 == 0 { 1..=u32::MAX } else { 0..=1 };
            assert!(expected.contains(&times), "{task} {number} {times}");
        }
    }
    let missing = (0..400)
        .flat_map(|number| [1000 + number, 3000 + number])
        .filter(|key| !log.contains_key(key))
        .count();
    assert!(missing <= lost, "{missing} missing, {lost} lost");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_router_is_the_reason_of_the_client() {
    let builder = support::reconnect::failing(|| Error::Timeout(fullduplex::Timeout::Connect));
    let client = builder.classify(|_why, _attempt| fullduplex::reconnect::Verdict::Stop).build();
    let why: Reason = Router::new().serve(client, ()).await.expect_err("no connection");
    assert!(matches!(why, Reason::Failed(_)), "{why:?}");
}
