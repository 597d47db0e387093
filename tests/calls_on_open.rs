//! Calls of the hook for a new connection, over a client that connects again.
#![cfg(all(feature = "calls", feature = "reconnect"))]

mod support;

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use fullduplex::{
    Client, CloseCode, Config, Error, Timeout,
    calls::{self, Attached, CallError, Context, Limits, Peer, Router},
    reconnect::{Backoff, Builder, Reason, Reconnecting, State, Verdict},
};
use support::{
    calls::{Running, next},
    reconnect::{connected, connected_with},
    settle,
};
use tokio::{
    io::DuplexStream,
    net::TcpListener,
    time::{Instant, sleep},
};

const SECOND: Duration = Duration::from_secs(1);
const JOIN: &str = r#"{"event":"join","id":1,"data":7}"#;

type Hooked = Attached<(), Reconnecting<DuplexStream>>;

fn spawn(attached: Hooked) -> Running<Reason> {
    Running { peer: attached.peer().clone(), task: tokio::spawn(attached.run()) }
}

fn attach(builder: Builder<DuplexStream>, router: &Router) -> Hooked {
    router.attach(builder.build(), ())
}

/// Runs a client that joins on each connection.
fn joining(builder: Builder<DuplexStream>, router: &Router) -> Running<Reason> {
    spawn(attach(builder, router).on_open(|peer, _opened| peer.call::<(), _>("join", &7)))
}

/// Waits until the client waits for the next attempt. Returns its number, and why.
async fn waiting(running: &Running<Reason>) -> (u32, Reason) {
    let mut state = running.peer.handle().expect("a client").state();
    let state = state.wait_for(|state| matches!(state, State::Waiting { .. })).await.expect("it runs");
    let State::Waiting { attempt, why, .. } = &*state else { unreachable!("it was waited for") };
    (*attempt, why.clone())
}

fn call_error(why: &Reason) -> Option<&CallError> {
    match why {
        Reason::Hook(error) => error.downcast_ref(),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_after_the_answer_to_the_hook_on_each_connection() {
    let (builder, mut servers) = connected();
    let running = spawn(attach(builder, &Router::new()).on_open(|peer, opened| async move {
        let granted: String = peer.call("join", &opened.earlier_connections()).await?;
        peer.emit("joined", &granted).await
    }));
    let patient = running.peer.with_resend(true).with_timeout(None);
    let call = tokio::spawn(patient.call::<u32, _>("post", "hello"));
    settle().await;
    for earlier in 0..4 {
        let mut server = servers.next().await;
        let id = earlier + 2;
        assert_eq!(next(&mut server).await, format!(r#"{{"event":"join","id":{id},"data":{earlier}}}"#));
        // Nothing else is sent until it is answered.
        let start = Instant::now();
        running.peer.emit("news", &earlier).await.expect("room");
        let quiet = tokio::time::timeout(SECOND, server.recv()).await;
        assert!(quiet.is_err() && start.elapsed() >= SECOND, "{quiet:?}");
        server.send(format!(r#"{{"ack":{id},"ok":true,"data":"member"}}"#)).await.expect("open");
        assert_eq!(next(&mut server).await, r#"{"event":"joined","data":"member"}"#);
        let mut waited = [next(&mut server).await, next(&mut server).await];
        waited.sort();
        let news = format!(r#"{{"event":"news","data":{earlier}}}"#);
        assert_eq!(waited, [news, r#"{"event":"post","id":1,"data":"hello"}"#.to_owned()]);
        if earlier == 3 {
            server.send(r#"{"ack":1,"ok":true,"data":9}"#).await.expect("open");
            break;
        }
    }
    assert_eq!(call.await.expect("no panic").expect("an answer"), 9);
}

#[tokio::test(start_paused = true)]
async fn the_hook_of_the_builder_and_several_others_run_in_their_order() {
    let (builder, mut servers) = connected();
    let builder = builder.on_open(|opened| async move {
        sleep(SECOND).await;
        opened.sender().send(calls::event("first", &())?).await
    });
    let attached = attach(builder, &Router::new())
        .on_open(|peer, _opened| peer.call::<(), _>("second", &()))
        .on_open(|peer, _opened| async move { peer.emit("third", &()).await });
    let _running = spawn(attached);
    for id in [1, 2] {
        let mut server = servers.next().await;
        assert_eq!(next(&mut server).await, r#"{"event":"first","data":null}"#);
        assert_eq!(next(&mut server).await, format!(r#"{{"event":"second","id":{id},"data":null}}"#));
        server.send(format!(r#"{{"ack":{id},"ok":true}}"#)).await.expect("open");
        assert_eq!(next(&mut server).await, r#"{"event":"third","data":null}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn row_93_a_refusal_counts_as_an_attempt_that_failed() {
    let (builder, mut servers) = connected();
    let delay = Duration::from_secs(100);
    let backoff = Backoff::new().min_delay(delay).max_spread(Duration::ZERO).reset_after(SECOND);
    let running = joining(builder.backoff(backoff), &Router::new());
    for attempt in 1..4 {
        let mut server = servers.next().await;
        next(&mut server).await;
        // Longer than what resets the number of the attempts.
        sleep(5 * SECOND).await;
        server.send(format!(r#"{{"ack":{attempt},"ok":false,"error":"no"}}"#)).await.expect("open");
        let start = Instant::now();
        let (number, why) = waiting(&running).await;
        assert_eq!(number, attempt);
        assert!(matches!(call_error(&why), Some(CallError::Refused(text)) if text == "no"), "{why:?}");
        assert_eq!(format!("{why:#}"), "hook for the connection failed: refused: no");
        assert!(why.error().is_none() && !why.is_final());
        // The connection was dropped.
        assert!(server.recv().await.is_err());
        assert_eq!(start.elapsed(), Duration::ZERO);
        sleep(delay - SECOND).await;
        assert!(!servers.is_connected());
    }
}

#[tokio::test(start_paused = true)]
async fn a_classifier_stops_after_a_refusal_that_is_final() {
    let (builder, mut servers) = connected();
    let builder = builder.classify(|why, _attempt| match call_error(why) {
        Some(CallError::Refused(_)) => Verdict::Stop,
        _ => Verdict::Default,
    });
    let running = joining(builder, &Router::new());
    let waiting = tokio::spawn(running.peer.call::<(), _>("post", &()));
    let mut server = servers.next().await;
    next(&mut server).await;
    server.send(r#"{"ack":2,"ok":false,"error":"no"}"#).await.expect("open");
    let why = running.task.await.expect("no panic").expect_err("refused");
    assert!(matches!(call_error(&why), Some(CallError::Refused(_))), "{why:?}");
    assert!(matches!(waiting.await.expect("no panic"), Err(CallError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn row_93_a_hook_that_is_not_answered_ends_at_the_first_of_its_deadlines() {
    for (calls, attempts, seconds) in [(10, 60, 10), (60, 20, 20)] {
        let (builder, mut servers) = connected();
        let limits = Limits::new().call_timeout(SECOND * calls);
        let running = joining(builder.attempt_timeout(SECOND * attempts), &Router::new().limits(limits));
        for attempt in 1..3 {
            let mut server = servers.next().await;
            next(&mut server).await;
            let opened = Instant::now();
            let (number, why) = waiting(&running).await;
            // Though each connection was open for longer than `Backoff::reset_after`.
            assert_eq!((number, opened.elapsed().as_secs()), (attempt, seconds));
            match calls < attempts {
                true => assert!(matches!(call_error(&why), Some(CallError::Timeout)), "{why:?}"),
                false => assert!(matches!(why.error(), Some(Error::Timeout(Timeout::Connect))), "{why:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_93_a_connection_that_is_lost_during_the_hook_is_replaced_and_what_waits_is_kept() {
    let (builder, mut servers) = connected();
    let running = joining(builder, &Router::new());
    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, JOIN);
    let call = tokio::spawn(running.peer.call::<u32, _>("post", &()));
    settle().await;
    let start = Instant::now();
    drop(server);
    let (attempt, why) = waiting(&running).await;
    assert!(why.error().is_some_and(Error::is_disconnect), "{why:?}");
    assert_eq!((attempt, start.elapsed()), (1, Duration::ZERO));

    // Closed by the server: its code is the reason.
    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, r#"{"event":"join","id":3,"data":7}"#);
    server.close(CloseCode::from(4000), "").await.expect("answered");
    let (attempt, why) = waiting(&running).await;
    assert_eq!((attempt, why.close_code()), (2, Some(CloseCode::from(4000))));

    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, r#"{"event":"join","id":4,"data":7}"#);
    // The answer of a hook that has ended is ignored.
    server.send(r#"{"ack":3,"ok":true}"#).await.expect("open");
    settle().await;
    assert!(!call.is_finished());
    server.send(r#"{"ack":4,"ok":true}"#).await.expect("open");
    assert_eq!(next(&mut server).await, r#"{"event":"post","id":2,"data":null}"#);
    server.send(r#"{"ack":2,"ok":true,"data":9}"#).await.expect("open");
    assert_eq!(call.await.expect("no panic").expect("an answer"), 9);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_outlives_its_hook_is_bound_to_its_connection() {
    let kept = Arc::new(Mutex::new(Vec::<Peer>::new()));
    let (builder, mut servers) = connected();
    let keep = kept.clone();
    let running = spawn(attach(builder, &Router::new()).on_open(move |peer, _opened| {
        keep.lock().expect("no panic").push(peer);
        async { Ok(()) }
    }));
    let mut server = servers.next().await;
    settle().await;
    let first = kept.lock().expect("no panic")[0].clone();
    assert!(first.handle().is_none() && first.sender().is_some());
    let call = tokio::spawn(first.with_timeout(None).with_resend(true).call::<(), _>("a", &()));
    assert_eq!(next(&mut server).await, r#"{"event":"a","id":1,"data":null}"#);
    drop(server);
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Lost)));
    assert!(matches!(first.call::<(), _>("b", &()).await, Err(CallError::Closed)));
    assert!(matches!(first.emit("c", &()).await, Err(CallError::Closed)));
    let mut server = servers.next().await;
    running.peer.emit("d", &()).await.expect("room");
    assert_eq!(next(&mut server).await, r#"{"event":"d","data":null}"#);
    // It closes its own connection alone.
    let second = kept.lock().expect("no panic")[1].clone();
    second.close(CloseCode::from(4000), "").expect("open");
    assert!(matches!(server.recv().await, Ok(None)));
    let mut server = servers.next().await;
    // What the first peer encountered is not the end of the client.
    server.close(CloseCode::NORMAL, "").await.expect("answered");
    running.task.await.expect("no panic").expect("a clean close");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_do_not_keep_the_hook_from_calling() {
    let (builder, mut servers) = connected();
    let router = Router::new().limits(Limits::new().max_calls(2));
    let running = joining(builder, &router);
    let calls = [1, 2].map(|number| tokio::spawn(running.peer.call::<u32, _>("add", &number)));
    settle().await;
    assert!(matches!(running.peer.call::<u32, _>("add", &3).await, Err(CallError::Full)));
    let mut server = servers.next().await;
    assert_eq!(next(&mut server).await, r#"{"event":"join","id":3,"data":7}"#);
    server.send(r#"{"ack":3,"ok":true}"#).await.expect("open");
    for (number, call) in [1, 2].into_iter().zip(calls) {
        assert_eq!(next(&mut server).await, format!(r#"{{"event":"add","id":{number},"data":{number}}}"#));
        server.send(format!(r#"{{"ack":{number},"ok":true,"data":{number}}}"#)).await.expect("open");
        assert_eq!(call.await.expect("no panic").expect("an answer"), number);
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_is_answered_while_the_hook_waits_for_it() {
    let (builder, mut servers) = connected();
    let router = Router::new().on("challenge", |context: Context<()>, number: u32| async move {
        // An event waits for the hook, and an answer does not.
        context.peer().emit("challenged", &number).await?;
        Ok(number + 1)
    });
    let _running = joining(builder, &router);
    for id in 1..4 {
        let mut server = servers.next().await;
        assert_eq!(next(&mut server).await, format!(r#"{{"event":"join","id":{id},"data":7}}"#));
        server.send(r#"{"event":"challenge","id":1,"data":4}"#).await.expect("open");
        assert_eq!(next(&mut server).await, r#"{"ack":1,"ok":true,"data":5}"#);
        server.send(format!(r#"{{"ack":{id},"ok":true}}"#)).await.expect("open");
        assert_eq!(next(&mut server).await, r#"{"event":"challenged","data":4}"#);
        // From then on, an answer is sent behind what is queued.
        server.send(r#"{"event":"challenge","id":2,"data":5}"#).await.expect("open");
        assert_eq!(next(&mut server).await, r#"{"event":"challenged","data":5}"#);
        assert_eq!(next(&mut server).await, r#"{"ack":2,"ok":true,"data":6}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn row_93_an_answer_behind_many_events_reaches_the_hook() {
    let (builder, mut servers) = connected_with(&Config::new().ping_interval(None));
    let router =
        Router::new().limits(Limits::new().max_waiting(1)).on("told", |_context, seconds: u64| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok(())
        });
    let running = joining(builder, &router);
    let start = Instant::now();
    let mut server = servers.next().await;
    next(&mut server).await;
    for _ in 0..100 {
        server.feed(r#"{"event":"told","data":1}"#).await.expect("open");
    }
    server.send(r#"{"ack":1,"ok":true}"#).await.expect("open");
    running.peer.emit("news", &1).await.expect("room");
    assert_eq!(next(&mut server).await, r#"{"event":"news","data":1}"#);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_closed_or_dropped_ends_its_hook() {
    let (builder, mut servers) = connected();
    let running = spawn(attach(builder, &Router::new()).on_open(|_peer, _opened| pending()));
    let mut server = servers.next().await;
    let call = tokio::spawn(running.peer.call::<(), _>("a", &()));
    settle().await;
    running.peer.close(CloseCode::NORMAL, "").expect("open");
    assert!(matches!(server.recv().await, Ok(None)));
    running.task.await.expect("no panic").expect("closed by the program");
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Closed)));

    let (builder, mut servers) = connected();
    let (sender, dropped) = tokio::sync::oneshot::channel::<()>();
    let mut sender = Some(sender);
    let running = spawn(attach(builder, &Router::new()).on_open(move |_peer, _opened| {
        let sender = sender.take();
        async move {
            let _sender = sender;
            pending().await
        }
    }));
    let _server = servers.next().await;
    settle().await;
    running.task.abort();
    assert!(dropped.await.is_err());
}

// --- over TCP

/// The state of a connection of the server: whether it has joined.
#[derive(Default)]
struct Member {
    joined: AtomicU32,
}

/// A server that closes each connection after so many posts, and answers only who has joined.
async fn accept(listener: TcpListener, posts: Arc<Mutex<Vec<u32>>>, each: u32) {
    let router = Router::<(Member, AtomicU32, Arc<Mutex<Vec<u32>>>)>::new()
        .on("join", |context: Context<_>, (): ()| async move {
            let (member, ..): &(Member, AtomicU32, Arc<_>) = context.state();
            // Time in which a call that did not wait would arrive.
            sleep(Duration::from_millis(20)).await;
            Ok(member.joined.fetch_add(1, Relaxed))
        })
        .on("post", move |context: Context<_>, number: u32| async move {
            let (member, left, posts): &(Member, AtomicU32, Arc<Mutex<Vec<u32>>>) = context.state();
            if member.joined.load(Relaxed) == 0 {
                return Err(CallError::refused("join first"));
            }
            if left.fetch_sub(1, Relaxed) == 1 {
                context.peer().sender().expect("a connection").abort();
            }
            posts.lock().expect("no panic").push(number);
            Ok(number)
        });
    while let Ok((tcp, _)) = listener.accept().await {
        let (router, posts) = (router.clone(), posts.clone());
        tokio::spawn(async move {
            let state = (Member::default(), AtomicU32::new(each), posts);
            router.serve(fullduplex::accept(tcp).await?, state).await
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_joins_again_before_its_calls_after_each_loss_of_a_tcp_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = format!("ws://{}", listener.local_addr().expect("bound"));
    let posts = Arc::default();
    let server = tokio::spawn(accept(listener, Arc::clone(&posts), 10));
    let backoff = Backoff::new().min_delay(Duration::from_millis(5)).max_spread(Duration::from_millis(20));
    let client = Reconnecting::client(Client::default(), target.as_str()).expect("a valid target");
    let joins = Arc::new(AtomicU32::new(0));
    let joined = joins.clone();
    let attached = Router::new().attach(client.backoff(backoff).build(), ()).on_open(move |peer, _opened| {
        let joined = joined.clone();
        async move {
            assert_eq!(peer.call::<u32, _>("join", &()).await?, 0, "once for each connection");
            joined.fetch_add(1, Relaxed);
            Ok(())
        }
    });
    let peer = attached.peer().with_resend(true).with_timeout(60 * SECOND);
    let running = tokio::spawn(attached.run());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let peer = peer.clone();
        tasks.spawn(async move {
            for number in 0..20 {
                let number = task * 100 + number;
                assert_eq!(peer.call::<u32, _>("post", &number).await.expect("an answer"), number);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    assert!(joins.load(Relaxed) > 3, "80 posts, and at most 10 on each connection");
    let mut posts: Vec<u32> = std::mem::take(&mut *posts.lock().expect("no panic"));
    posts.sort_unstable();
    posts.dedup();
    assert_eq!(posts.len(), 80);
    server.abort();
    running.abort();
}
