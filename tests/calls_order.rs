//! Events and calls: the order of handlers, back-pressure, the end of a connection.
#![cfg(feature = "calls")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use fullduplex::{
    Client, CloseCode, Config, Error, Event, TrySendError,
    calls::{CallError, Context, Limits, Router},
    testing,
};
use support::{
    calls::{Raw, Running, attached, exchange, next, serve},
    settle,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{Instant, sleep},
};

const SECOND: Duration = Duration::from_secs(1);

/// The state of a connection whose handlers wait for permits.
#[derive(Debug)]
struct Gate {
    permits: Semaphore,
    handled: AtomicUsize,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { permits: Semaphore::new(0), handled: AtomicUsize::new(0) })
    }

    fn handled(&self) -> usize {
        self.handled.load(SeqCst)
    }
}

/// A router with a handler that waits for a permit, and others that call or emit first.
fn gated() -> Router<Arc<Gate>> {
    async fn wait(context: &Context<Arc<Gate>>) {
        context.state().permits.acquire().await.expect("open").forget();
        context.state().handled.fetch_add(1, SeqCst);
    }
    Router::new()
        .on("wait", |context, number: Option<u32>| async move {
            wait(&context).await;
            Ok(number)
        })
        .on("ask", |context: Context<Arc<Gate>>, (): ()| async move {
            context.peer().call::<u32, _>("question", &()).await
        })
        .on("tell", |context: Context<Arc<Gate>>, (): ()| async move {
            context.peer().emit("told", &()).await?;
            wait(&context).await;
            Ok(())
        })
}

/// Runs a router on a server whose client is raw, with little room in between.
fn gated_pair(limits: Limits, capacity: usize) -> (Raw, Running<Error>, Arc<Gate>) {
    let gate = Gate::new();
    let config = Config::new().ping_interval(None).max_write_buffer_size(1 << 12);
    let (client, server) = testing::pair_with_capacity(&config, capacity);
    let running = attached(&gated().limits(limits), server, gate.clone());
    (client, running, gate)
}

// --- order

#[tokio::test(start_paused = true)]
async fn handlers_run_one_after_the_other_in_the_order_of_arrival() {
    let router = Router::<()>::new().on("sleep", |_context, seconds: u64| async move {
        sleep(SECOND * seconds as u32).await;
        Ok(seconds)
    });
    let mut ws = serve(&router, ());
    let start = Instant::now();
    for (id, seconds) in [(1, 3), (2, 1), (3, 2)] {
        ws.send(format!(r#"{{"event":"sleep","id":{id},"data":{seconds}}}"#)).await.expect("open");
    }
    for (id, seconds, at) in [(1, 3, 3), (2, 1, 4), (3, 2, 6)] {
        assert_eq!(next(&mut ws).await, format!(r#"{{"ack":{id},"ok":true,"data":{seconds}}}"#));
        assert_eq!(start.elapsed().as_secs(), at);
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_handlers_run_at_once_as_the_limits_permit() {
    let router = Router::<()>::new().limits(Limits::new().concurrency(2)).on(
        "sleep",
        |_context, seconds: u64| async move {
            sleep(SECOND * seconds as u32).await;
            Ok(())
        },
    );
    let mut ws = serve(&router, ());
    let start = Instant::now();
    for (id, seconds) in [(1, 3), (2, 1), (3, 1), (4, 2)] {
        ws.send(format!(r#"{{"event":"sleep","id":{id},"data":{seconds}}}"#)).await.expect("open");
    }
    for (id, at) in [(2, 1), (3, 2), (1, 3), (4, 4)] {
        assert_eq!(next(&mut ws).await, format!(r#"{{"ack":{id},"ok":true,"data":null}}"#));
        assert_eq!(start.elapsed().as_secs(), at);
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_answered_while_a_handler_runs() {
    let gate = Gate::new();
    let config = Config::new().ping_interval(SECOND).pong_timeout(SECOND);
    let (mut client, server) = testing::pair(&config);
    let _running = attached(&gated(), server, gate.clone());
    client.send(r#"{"event":"wait","id":1,"data":1}"#).await.expect("open");
    // Its own keep-alive pings would end the connection, if nothing answered.
    let nothing = tokio::time::timeout(3600 * SECOND, client.recv()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    client.ping("x").await.expect("open");
    loop {
        match client.recv_event().await.expect("open") {
            Some(Event::Pong(data)) if data == "x" => break,
            Some(Event::Ping(_) | Event::Pong(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    gate.permits.add_permits(1);
    assert_eq!(next(&mut client).await, r#"{"ack":1,"ok":true,"data":1}"#);
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_call_its_own_peer() {
    let mut ws = serve(&gated(), Gate::new());
    let start = Instant::now();
    for id in 1..=100 {
        let call = format!(r#"{{"event":"ask","id":{id}}}"#);
        assert_eq!(exchange(&mut ws, call).await, format!(r#"{{"event":"question","id":{id},"data":null}}"#));
        let answer = format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#);
        assert_eq!(exchange(&mut ws, answer).await, format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn row_91_two_ends_whose_handlers_call_each_other_in_a_circle_end_at_the_deadline() {
    let router = |concurrency| {
        Router::<()>::new().limits(Limits::new().concurrency(concurrency)).on(
            "count",
            |context, left: u32| async move {
                match left {
                    0 => Ok(0),
                    _ => Ok(1 + context.peer().call::<u32, _>("count", &(left - 1)).await?),
                }
            },
        )
    };
    for (concurrency, expected) in [(2, Some(3)), (1, None)] {
        let (client, server) = testing::pair(&Config::new());
        let client = attached(&router(concurrency), client, ());
        let _server = attached(&router(concurrency), server, ());
        let start = Instant::now();
        let count = client.peer.with_timeout(20 * SECOND).call::<u32, _>("count", &3).await;
        match expected {
            Some(expected) => {
                assert_eq!((count.expect("an answer"), start.elapsed().as_secs()), (expected, 0))
            }
            None => assert!(
                matches!(&count, Err(CallError::Refused(why)) if why.contains("no answer in time")),
                "{count:?}"
            ),
        }
        assert!(client.peer.call::<u32, _>("count", &0).await.is_ok(), "the connection continues");
    }
}

// --- back-pressure

/// Sends numbered events until there is no room any more. Returns how many there were.
async fn fill(ws: &mut fullduplex::Sender) -> usize {
    for number in 0.. {
        let event = format!(r#"{{"event":"wait","id":{number},"data":{number}}}"#);
        match ws.try_send(event) {
            Ok(()) => settle().await,
            Err(TrySendError::Full(_)) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the buffers are bounded")
}

#[tokio::test(start_paused = true)]
async fn row_86_nothing_more_is_received_while_too_many_events_wait() {
    for (limits, most) in [
        (Limits::new().max_waiting(5), 5 + 1),
        (Limits::new().max_waiting(1000).max_waiting_bytes(1000), 1000 / 128 + 1),
    ] {
        let (client, running, gate) = gated_pair(limits, 64);
        let (mut receiver, mut sender) = client.split();
        let receiving = tokio::spawn(async move {
            let mut answers = Vec::new();
            while let Some(message) = receiver.recv().await? {
                answers.push(message.as_text().expect("text").to_owned());
            }
            Ok::<_, Error>(answers)
        });
        let sent = fill(&mut sender).await;
        // Buffers hold some as well: that of the sender 4 KiB, the pipe 64 bytes.
        assert!((most + 50..most + 150).contains(&sent), "{sent}");
        assert_eq!(gate.handled(), 0);
        gate.permits.add_permits(sent);
        sender.flush().await.expect("open");
        sender.close(CloseCode::NORMAL, "").await.expect("open");
        running.task.await.expect("no panic").expect("a clean close");
        assert_eq!(gate.handled(), sent, "all are handled, though the connection has ended");
        let answers = receiving.await.expect("no panic").expect("a clean close");
        let expected: Vec<_> =
            (0..sent).map(|id| format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#)).collect();
        assert_eq!(answers, expected[..answers.len()], "in order; the last ones may follow the Close");
    }
}

#[tokio::test(start_paused = true)]
async fn row_86_an_answer_behind_more_events_than_may_wait_reaches_its_call() {
    let (mut client, _running, gate) = gated_pair(Limits::new().max_waiting(2), 1 << 16);
    let start = Instant::now();
    assert_eq!(
        exchange(&mut client, r#"{"event":"ask","id":1}"#).await,
        r#"{"event":"question","id":1,"data":null}"#
    );
    for id in 0..1000 {
        client.feed(format!(r#"{{"event":"wait","id":{id},"data":{id}}}"#)).await.expect("open");
    }
    client.send(r#"{"ack":1,"ok":true,"data":42}"#).await.expect("open");
    assert_eq!(next(&mut client).await, r#"{"ack":1,"ok":true,"data":42}"#);
    assert_eq!(start.elapsed(), Duration::ZERO);
    gate.permits.add_permits(1000);
    for id in 0..1000 {
        assert_eq!(next(&mut client).await, format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#));
    }
}

#[tokio::test(start_paused = true)]
async fn row_86_an_answer_behind_too_many_bytes_of_events_ends_at_the_deadline_and_the_connection_continues()
{
    let limits = Limits::new().max_waiting(2).max_waiting_bytes(10_000);
    let (mut client, _running, gate) = gated_pair(limits, 1 << 20);
    assert_eq!(
        exchange(&mut client, r#"{"event":"ask","id":1}"#).await,
        r#"{"event":"question","id":1,"data":null}"#
    );
    let start = Instant::now();
    for id in 0..1000 {
        client.feed(format!(r#"{{"event":"wait","id":{id},"data":{id}}}"#)).await.expect("open");
    }
    client.send(r#"{"ack":1,"ok":true,"data":42}"#).await.expect("open");
    assert_eq!(next(&mut client).await, r#"{"ack":1,"ok":false,"error":"no answer in time"}"#);
    assert_eq!(start.elapsed().as_secs(), 10);
    gate.permits.add_permits(1000);
    for id in 0..1000 {
        assert_eq!(next(&mut client).await, format!(r#"{{"ack":{id},"ok":true,"data":{id}}}"#));
    }
    assert_eq!(
        exchange(&mut client, r#"{"event":"ask","id":2}"#).await,
        r#"{"event":"question","id":2,"data":null}"#
    );
    assert_eq!(
        exchange(&mut client, r#"{"ack":2,"ok":true,"data":1}"#).await,
        r#"{"ack":2,"ok":true,"data":1}"#
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_emitted_and_called_is_written_while_nothing_is_received() {
    let (mut client, running, gate) = gated_pair(Limits::new().max_waiting(1), 1 << 16);
    let start = Instant::now();
    // One runs, one waits, and one is not received. The handler that runs has emitted first.
    client.feed(r#"{"event":"tell","id":1}"#).await.expect("open");
    for id in [2, 3] {
        client.feed(format!(r#"{{"event":"wait","id":{id}}}"#)).await.expect("open");
    }
    client.flush().await.expect("open");
    assert_eq!(next(&mut client).await, r#"{"event":"told","data":null}"#);
    settle().await;
    // Other tasks emit and call.
    running.peer.emit("news", &1).await.expect("open");
    assert_eq!(next(&mut client).await, r#"{"event":"news","data":1}"#);
    let call = tokio::spawn(running.peer.call::<u32, _>("question", &()));
    assert_eq!(next(&mut client).await, r#"{"event":"question","id":1,"data":null}"#);
    client.send(r#"{"ack":1,"ok":true,"data":7}"#).await.expect("open");
    assert_eq!(call.await.expect("no panic").expect("an answer"), 7);
    // More than the pipe takes at once.
    let long = "x".repeat(1 << 20);
    let peer = running.peer.clone();
    let emitting = tokio::spawn(async move { peer.emit("long", &long).await });
    assert_eq!(next(&mut client).await.len(), (1 << 20) + 26);
    assert_eq!(start.elapsed(), Duration::ZERO, "no deadline was needed to wake the router");
    emitting.await.expect("no panic").expect("open");
    gate.permits.add_permits(3);
    for id in 1..=3 {
        assert_eq!(next(&mut client).await, format!(r#"{{"ack":{id},"ok":true,"data":null}}"#));
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_is_written_while_nothing_is_received() {
    let (mut client, running, _gate) = gated_pair(Limits::new().max_waiting(1), 1 << 16);
    let start = Instant::now();
    for id in 1..=3 {
        client.feed(format!(r#"{{"event":"wait","id":{id}}}"#)).await.expect("open");
    }
    client.flush().await.expect("open");
    settle().await;
    running.peer.close(CloseCode::from(4002), "").expect("open");
    assert!(matches!(client.recv_event().await, Ok(Some(Event::Close(Some(_))))));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn row_92_a_peer_that_does_not_read_its_answers_is_not_read_from_and_ends_at_the_write_timeout() {
    let config = Config::new().ping_interval(None).max_write_buffer_size(1 << 12).write_timeout(30 * SECOND);
    let (client, server) = testing::pair_with_capacity(&config, 256);
    let handled = Arc::new(AtomicUsize::new(0));
    let router = Router::<Arc<AtomicUsize>>::new().on(
        "long",
        |context: Context<Arc<AtomicUsize>>, (): ()| async move {
            context.state().fetch_add(1, SeqCst);
            Ok("x".repeat(1000))
        },
    );
    let running = attached(&router, server, handled.clone());
    let (_receiver, sender) = client.split();
    let start = Instant::now();
    // The client never receives.
    let sending = tokio::spawn(async move {
        for id in 0..10_000 {
            sender.send(format!(r#"{{"event":"long","id":{id}}}"#)).await?;
        }
        Ok::<_, Error>(())
    });
    let error = running.task.await.expect("no panic").expect_err("the client does not read");
    assert!(error.is_disconnect(), "{error}");
    assert!(start.elapsed() >= 30 * SECOND && start.elapsed() < 120 * SECOND, "{:?}", start.elapsed());
    // Four answers fill the buffer. The others are those of events that had arrived before the end.
    assert!(handled.load(SeqCst) <= 64 + 20, "{handled:?}");
    sending.abort();
}

// --- the end

#[tokio::test(start_paused = true)]
async fn events_that_have_arrived_are_handled_though_the_connection_has_ended() {
    let (client, running, gate) = gated_pair(Limits::new(), 1 << 16);
    let (_receiver, sender) = client.split();
    for id in 0..10 {
        sender.feed(format!(r#"{{"event":"wait","id":{id}}}"#)).await.expect("open");
    }
    sender.flush().await.expect("open");
    settle().await;
    drop((sender, _receiver));
    settle().await;
    assert!(!running.task.is_finished());
    gate.permits.add_permits(10);
    let error = running.task.await.expect("no panic").expect_err("no Close");
    assert!(error.is_disconnect());
    assert_eq!(gate.handled(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_an_answer_is_released_by_the_end() {
    let (mut client, running, _gate) = gated_pair(Limits::new(), 1 << 16);
    assert_eq!(
        exchange(&mut client, r#"{"event":"ask"}"#).await,
        r#"{"event":"question","id":1,"data":null}"#
    );
    let start = Instant::now();
    client.close(CloseCode::NORMAL, "").await.expect("answered");
    running.task.await.expect("no panic").expect("a clean close");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_panic_of_a_handler_reaches_the_task_and_ends_the_connection() {
    let router = Router::<()>::new().on("panic", |_context, (): ()| async {
        if true {
            panic!("a bug of the program");
        }
        Ok(())
    });
    let (client, server) = testing::pair(&Config::new());
    let client = attached(&Router::new(), client, ());
    let server = attached(&router, server, ());
    let waiting = tokio::spawn(server.peer.call::<(), _>("nothing answers", &()));
    settle().await;
    assert!(matches!(client.peer.call::<(), _>("panic", &()).await, Err(CallError::Lost)));
    let panic = server.task.await.expect_err("a panic").into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"a bug of the program"));
    let _ = waiting.await.expect("no panic");
    assert!(matches!(server.peer.emit("x", &()).await, Err(CallError::Closed)));
    assert!(matches!(server.peer.call::<(), _>("x", &()).await, Err(CallError::Closed)));
}

#[tokio::test]
async fn dropping_a_router_that_runs_drops_its_handlers_and_fails_its_calls() {
    let (mut client, running, gate) = gated_pair(Limits::new(), 1 << 16);
    client.send(r#"{"event":"wait","id":1}"#).await.expect("open");
    let call = tokio::spawn(running.peer.call::<(), _>("x", &()));
    assert_eq!(next(&mut client).await, r#"{"event":"x","id":1,"data":null}"#);
    running.task.abort();
    assert!(matches!(call.await.expect("no panic"), Err(CallError::Lost)));
    assert!(client.recv().await.expect_err("no Close").is_disconnect());
    settle().await;
    assert_eq!(Arc::strong_count(&gate), 1, "the state and the handler are dropped");
}

#[tokio::test]
async fn a_router_that_never_ran_fails_the_calls_of_its_peer() {
    let (client, _server) = testing::pair(&Config::new());
    let attached = Router::new().attach(client, ());
    let peer = attached.peer().clone();
    let call = peer.call::<(), _>("x", &());
    drop(attached);
    assert!(matches!(call.await, Err(CallError::Closed | CallError::Lost)));
}

#[tokio::test]
async fn an_error_that_a_peer_has_encountered_is_returned_by_the_router() {
    // Too small to write at once, and closed by the other end before anything is read.
    let (client, server) = testing::pair_with_capacity(&Config::new(), 16);
    let attached = Router::new().attach(server, ());
    let peer = attached.peer().clone();
    drop(client);
    let mut closed = false;
    for _ in 0..100 {
        closed |= peer.emit("long", &"x".repeat(100_000)).await.is_err();
    }
    assert!(closed);
    let error = attached.run().await.expect_err("the peer is gone");
    assert!(error.is_disconnect(), "{error}");
}

// --- over TCP

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("connected"), server.expect("accepted").0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_call_both_ways_over_one_connection() {
    let router =
        Router::<()>::new()
            .on("double", |_context, number: u64| async move { Ok(2 * number) })
            .on("back", |context, number: u64| async move {
                context.peer().call::<u64, _>("double", &number).await
            });
    let (client, server) = tcp_pair().await;
    let settings = Client::default();
    let (client, server) =
        tokio::join!(settings.handshake("ws://localhost/", client), fullduplex::accept(server));
    let client = attached(&router, client.expect("open").0, ());
    let server = attached(&router, server.expect("open"), ());
    let mut tasks = Vec::new();
    for (task, peer) in [&client.peer, &server.peer, &client.peer, &server.peer].into_iter().enumerate() {
        let peer = peer.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..500 {
                let number = number * 10 + task as u64;
                // Handlers that call back in both directions at once would wait for each other.
                let event = if task == 0 && number.is_multiple_of(3) { "back" } else { "double" };
                let answer: u64 = peer.call(event, &number).await.expect("an answer");
                assert_eq!(answer, 2 * number);
            }
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    client.peer.close(CloseCode::NORMAL, "").expect("open");
    client.task.await.expect("no panic").expect("a clean close");
    server.task.await.expect("no panic").expect("a clean close");
}

#[cfg(feature = "serve")]
#[tokio::test]
async fn a_graceful_shutdown_closes_the_connections_of_a_router() {
    use fullduplex::serve::{Serve, Shutdown};

    let shutdown = Shutdown::new();
    let serve = Serve::bind("127.0.0.1:0").await.expect("a port").shutdown(&shutdown);
    let address = serve.local_addr().expect("bound");
    let (seen, mut handled) = mpsc::unbounded_channel();
    let router = Router::<()>::new().on("echo", move |_context, number: u32| {
        let _ = seen.send(number);
        async move { Ok(number) }
    });
    let serving = tokio::spawn(serve.run(move |session, request| {
        drop(request);
        router.serve(session, ())
    }));
    let (ws, _) = Client::default().connect(format!("ws://{address}/").as_str()).await.expect("open");
    let client = attached(&Router::new(), ws, ());
    assert_eq!(client.peer.call::<u32, _>("echo", &7).await.expect("an answer"), 7);
    shutdown.begin(CloseCode::GOING_AWAY, "the server stops").expect("a valid code");
    client.task.await.expect("no panic").expect("a clean close");
    let drained = shutdown.wait(10 * SECOND).await;
    assert_eq!((drained.closed, drained.cut_off), (1, 0));
    serving.await.expect("no panic").expect("the shutdown has begun");
    assert_eq!(handled.recv().await, Some(7));
}

#[cfg(feature = "serve")]
#[tokio::test]
async fn what_a_guard_receives_first_is_not_for_the_router_and_a_shutdown_closes_both() {
    use fullduplex::{calls::Call, serve::Shutdown};

    let (mut client, server) = testing::pair(&Config::new());
    let shutdown = Shutdown::new();
    let (ws, mut guard) = shutdown.guard().attach(server).into_parts();
    let (mut receiver, sender) = ws.split();
    client.send(r#"{"event":"join","id":1}"#).await.expect("open");
    let first = guard.recv(&mut receiver).await.expect("open").expect("a message");
    let call = Call::parse(first).expect("valid");
    sender.send(call.answer("first").expect("text").expect("a call")).await.expect("open");
    let router = Router::new().on("join", |_context, (): ()| async { Ok("second") });
    let serving = tokio::spawn(router.serve((receiver, sender, guard), ()));
    assert_eq!(next(&mut client).await, r#"{"ack":1,"ok":true,"data":"first"}"#);
    client.send(r#"{"event":"join","id":2}"#).await.expect("open");
    assert_eq!(next(&mut client).await, r#"{"ack":2,"ok":true,"data":"second"}"#);
    shutdown.begin(CloseCode::SERVICE_RESTART, "").expect("a valid code");
    assert_eq!(client.recv().await.expect("closed"), None);
    assert_eq!(client.close_frame().expect("a Close").code(), CloseCode::SERVICE_RESTART);
    serving.await.expect("no panic").expect("closed");
}
