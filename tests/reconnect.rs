//! A client that connects again: attempts, delays, what is final, states, the hook, closing.
#![cfg(feature = "reconnect")]

mod support;

use std::{
    future::{pending, ready},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use fullduplex::{
    CloseCode, Config, Error, InvalidHandshake, Message, Timeout, WebSocket,
    reconnect::{Attempt, Backoff, Delivery, Reason, Reconnecting, State, Verdict},
    testing,
};
use futures_util::StreamExt;
use support::{
    polled,
    reconnect::{Server, answered, connected, connected_with, failing, run, scripted},
    settle,
};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, sleep},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn refused() -> Error {
    Error::Transport(io::ErrorKind::ConnectionRefused.into())
}

/// Returns the delay until the next attempt, and its number.
fn waiting(state: &State) -> (Duration, u32) {
    match state {
        State::Waiting { until, attempt, .. } => (*until - Instant::now(), *attempt),
        other => panic!("not waiting, but {other:?}"),
    }
}

fn why(state: State) -> Reason {
    match state {
        State::Waiting { why, .. } | State::Closed { why, .. } => why,
        other => panic!("neither waiting nor closed, but {other:?}"),
    }
}

// --- attempts and delays

/// Configures a client that fails until this attempt. Each attempt is recorded with its time.
fn fails_until(
    success: u32,
) -> (fullduplex::reconnect::Builder<DuplexStream>, mpsc::UnboundedReceiver<(Attempt, Instant)>) {
    let (sender, attempts) = mpsc::unbounded_channel();
    let mut servers = Vec::new();
    let builder = Reconnecting::builder(move |attempt: Attempt| {
        let number = attempt.number();
        let _ = sender.send((attempt, Instant::now()));
        ready(if number < success {
            Err(refused())
        } else {
            let (client, server) = testing::pair(&Config::new());
            servers.push(server);
            Ok(client)
        })
    });
    (builder, attempts)
}

#[tokio::test(start_paused = true)]
async fn the_closure_is_called_for_each_attempt_with_its_number_and_the_last_error() {
    let (builder, mut attempts) = fails_until(3);
    let running = run(builder);
    running.state(State::is_open).await;
    for number in 0..=3 {
        let (attempt, _) = attempts.recv().await.expect("an attempt");
        assert_eq!(attempt.number(), number);
        assert_eq!(attempt.why().map(ToString::to_string), (number > 0).then(|| "cannot connect".to_owned()));
    }
    assert!(attempts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_is_made_at_once_and_the_others_after_a_growing_random_delay() {
    let start = Instant::now();
    let (builder, mut attempts) = fails_until(12);
    let running = run(builder);
    running.state(State::is_open).await;
    let mut last = attempts.recv().await.expect("an attempt").1;
    assert_eq!(last, start);
    for number in 1..=12_u32 {
        let at = attempts.recv().await.expect("an attempt").1;
        let spread = (500 * MS * (1 << number)).min(30 * SECOND);
        // Timers have a resolution of one millisecond.
        assert!((100 * MS..=102 * MS + spread).contains(&(at - last)), "{number}: {:?}", at - last);
        last = at;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_that_lose_their_connections_at_once_return_spread_over_a_second() {
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..1000 {
        let (builder, mut of_client) = connected();
        clients.push(run(builder));
        servers.push(of_client.next().await);
    }
    sleep(20 * SECOND).await;
    drop(servers);
    let mut bins = [0; 12];
    for client in &clients {
        let (delay, number) = waiting(&client.settled().await);
        assert_eq!(number, 1);
        bins[delay.as_millis() as usize / 100] += 1;
    }
    assert!(bins.iter().all(|&bin| bin <= 150), "{bins:?}");
    assert_eq!(bins.iter().sum::<i32>(), 1000);
}

#[tokio::test(start_paused = true)]
async fn row_81_attempts_are_counted_again_after_a_connection_that_was_open_for_ten_seconds() {
    for (open, number) in [(10 * SECOND, 1), (10 * SECOND - MS, 3)] {
        let (builder, mut servers) = connected();
        let running = run(builder);
        drop(servers.next().await);
        assert_eq!(waiting(&running.settled().await).1, 1);
        drop(servers.next().await);
        assert_eq!(waiting(&running.settled().await).1, 2);
        let server = servers.next().await;
        running.state(State::is_open).await;
        sleep(open).await;
        drop(server);
        assert_eq!(waiting(&running.settled().await).1, number, "{open:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn row_81_the_time_of_the_hook_is_not_counted() {
    let (builder, mut servers) = connected();
    let running = run(builder.on_open(|opened| async move {
        sleep(20 * SECOND).await;
        if opened.earlier_connections() < 2 { Err(refused()) } else { Ok(()) }
    }));
    for number in 1..3 {
        let _server = servers.next().await;
        assert_eq!(waiting(&running.settled().await).1, number);
    }
    let server = servers.next().await;
    sleep(30 * SECOND - MS).await;
    drop(server);
    assert_eq!(waiting(&running.settled().await).1, 3);
}

#[tokio::test(start_paused = true)]
async fn row_80_retry_after_of_a_refusal_is_a_lower_bound() {
    for (response, least) in [
        ("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 7),
        ("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", 120),
        (
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n",
            3600,
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
            3600,
        ),
    ] {
        let (delay, _) = waiting(&run(answered(response)).settled().await);
        assert!((least * SECOND..=(least + 1) * SECOND).contains(&delay), "{response}: {delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_returns_five_to_thirty_seconds_after_close_code_1012() {
    for _ in 0..20 {
        let state = state_after_close(Some(1012)).await;
        assert!((5 * SECOND..=30 * SECOND).contains(&waiting(&state).0), "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_backoff_can_be_configured() {
    let backoff = Backoff::new().min_delay(3 * SECOND).max_spread(Duration::ZERO);
    let running = run(failing(refused).backoff(backoff));
    assert_eq!(waiting(&running.settled().await), (3 * SECOND, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_fails_after_its_deadline() {
    let builder = Reconnecting::builder(|_attempt| pending::<Result<Server, Error>>());
    let running = run(builder.attempt_timeout(7 * SECOND));
    let start = Instant::now();
    let why = why(running.settled().await);
    assert!(matches!(why.error(), Some(Error::Timeout(Timeout::Connect))), "{why:?}");
    assert_eq!(start.elapsed().as_secs(), 7);
}

// --- what is final

/// Returns the state of a client after the server closes with a code, or without one.
async fn state_after_close(code: Option<u16>) -> State {
    let (builder, mut servers) = connected();
    let running = run(builder);
    let mut server = servers.next().await;
    match code {
        Some(code) => server.close(CloseCode::from(code), "").await,
        None => server.close_with(None).await,
    }
    .expect("closed cleanly");
    running.settled().await
}

#[tokio::test(start_paused = true)]
async fn the_client_ends_after_close_codes_1000_1002_1003_and_1007_to_1010() {
    for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010] {
        let state = state_after_close(Some(code)).await;
        assert!(state.is_closed(), "{code}: {state:?}");
        assert_eq!(why(state).close_code(), Some(code.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_connects_again_after_other_close_codes() {
    for code in [1001, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        let state = state_after_close(Some(code)).await;
        waiting(&state);
        assert_eq!(why(state).close_code(), Some(code.into()));
    }
    let state = state_after_close(None).await;
    waiting(&state);
    assert!(matches!(why(state), Reason::Closed(None)));
}

#[tokio::test(start_paused = true)]
async fn the_client_connects_again_after_a_disconnect() {
    let (builder, mut servers) = connected();
    let running = run(builder);
    drop(servers.next().await);
    let why = why(running.settled().await);
    assert!(matches!(&why, Reason::Lost(error) if error.is_disconnect()), "{why:?}");
    servers.next().await;
}

#[tokio::test(start_paused = true)]
async fn the_client_connects_again_after_a_timeout() {
    let (builder, mut servers) = connected_with(&Config::new());
    let running = run(builder);
    let _silent = servers.next().await;
    let why = why(running.settled().await);
    assert!(matches!(why.error(), Some(Error::Timeout(Timeout::Pong))), "{why:?}");
    servers.next().await;
}

#[tokio::test(start_paused = true)]
async fn only_some_statuses_are_final() {
    for (response, is_final) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
        ("SSH-2.0-OpenSSH\r\n", false),
    ] {
        let state = run(answered(response)).settled().await;
        assert_eq!(state.is_closed(), is_final, "{response}: {state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_error_is_returned_once() {
    let mut client = failing(|| InvalidHandshake::TlsUnavailable.into()).build();
    let error = client.recv().await.expect_err("final");
    assert!(matches!(error.error(), Some(Error::InvalidHandshake(_))), "{error:?}");
    assert!(matches!(client.recv().await, Ok(None)));
    assert!(client.handle().state().borrow().is_closed());
    assert!(matches!(client.handle().send("late").await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn close_code_1000_is_a_clean_end_and_1008_is_an_error() {
    for (code, is_clean) in [(CloseCode::NORMAL, true), (CloseCode::POLICY_VIOLATION, false)] {
        let (builder, mut servers) = connected();
        let mut running = run(builder);
        servers.next().await.close(code, "").await.expect("closed cleanly");
        let ended = (&mut running.task).await.expect("no panic");
        assert_eq!(ended.is_ok(), is_clean, "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_violation_of_the_server_is_final() {
    let (mut client, script) = {
        let (builder, mut scripts) = scripted();
        let running = run(builder);
        (running, scripts.next().await)
    };
    script.bring(*b"\x83\x00");
    script.end();
    let error = (&mut client.task).await.expect("no panic").expect_err("a reserved opcode");
    assert_eq!(error.error().and_then(Error::close_code), Some(CloseCode::PROTOCOL_ERROR));
}

#[tokio::test(start_paused = true)]
async fn a_classifier_can_retry_what_is_final() {
    let (builder, mut servers) = connected();
    let running = run(builder.classify(|why, _| match why.close_code() {
        Some(CloseCode::POLICY_VIOLATION) => Verdict::Retry,
        _ => Verdict::Default,
    }));
    servers.next().await.close(CloseCode::POLICY_VIOLATION, "").await.expect("closed cleanly");
    waiting(&running.settled().await);
    servers.next().await.close(CloseCode::MESSAGE_TOO_BIG, "").await.expect("closed cleanly");
    assert!(running.settled().await.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_classifier_can_stop_at_an_attempt() {
    let builder =
        failing(refused).classify(|_, attempt| if attempt == 4 { Verdict::Stop } else { Verdict::Default });
    let mut running = run(builder);
    let error = (&mut running.task).await.expect("no panic").expect_err("stopped");
    assert!(matches!(error, Reason::Failed(_)), "{error:?}");
}

// --- states and messages

#[tokio::test(start_paused = true)]
async fn the_state_follows_the_connection() {
    let (builder, mut servers) = connected();
    let mut client = builder.build();
    let mut state = client.handle().state();
    assert!(matches!(&*state.borrow_and_update(), State::Connecting { attempt: 0, .. }));
    assert!(polled(client.recv(), 1, || {}).is_none());
    assert!(matches!(&*state.borrow_and_update(), State::Open));
    drop(servers.next().await);
    assert!(polled(client.recv(), 1, || {}).is_none());
    let until = match &*state.borrow_and_update() {
        State::Waiting { until, attempt: 1, why: Reason::Lost(_), .. } => *until,
        other => panic!("{other:?}"),
    };
    assert!(!servers.is_connected());
    tokio::time::sleep_until(until).await;
    assert!(polled(client.recv(), 1, || {}).is_none());
    assert!(matches!(&*state.borrow_and_update(), State::Open));
    client.handle().close(CloseCode::NORMAL, "").expect("open");
    let mut server = servers.next().await;
    tokio::spawn(async move { server.recv().await });
    assert!(matches!(client.recv().await, Ok(None)));
    assert!(matches!(&*state.borrow_and_update(), State::Closed { why: Reason::Closed(Some(_)), .. }));
}

#[tokio::test(start_paused = true)]
async fn one_stream_yields_the_messages_of_all_connections() {
    let (builder, mut servers) = connected();
    tokio::spawn(async move {
        for number in 0..5 {
            let mut server = servers.next().await;
            for index in 0..3 {
                server.send(format!("{number}.{index}")).await.expect("open");
            }
            let code = if number == 4 { CloseCode::NORMAL } else { CloseCode::GOING_AWAY };
            server.close(code, "").await.expect("closed cleanly");
        }
    });
    let messages = builder.build().map(|message| message.expect("no final error").to_string());
    let expected = (0..15).map(|index| format!("{}.{}", index / 3, index % 3)).collect::<Vec<_>>();
    assert_eq!(messages.collect::<Vec<_>>().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_recv_that_is_dropped_after_each_poll_loses_nothing() {
    let (builder, mut servers) = connected();
    let slow = Arc::new(Mutex::new(Vec::new()));
    let hooks = slow.clone();
    let mut client = builder
        .on_open(move |opened| {
            let hooks = hooks.clone();
            async move {
                sleep(10 * MS).await;
                hooks.lock().expect("no panic").push(opened.earlier_connections());
                opened.sender().send("hello").await
            }
        })
        .build();
    let handle = client.handle();
    let server = tokio::spawn(async move {
        let mut received = Vec::new();
        for number in 0..4 {
            let mut server = servers.next().await;
            server.send(format!("{number}")).await.expect("open");
            assert_eq!(server.recv().await.expect("open"), Some("hello".into()));
            received.push(server.recv().await.expect("open").expect("a message").to_string());
            drop(server);
        }
        received
    });
    let mut received = Vec::new();
    while !server.is_finished() {
        if let Some(message) = polled(client.recv(), 1, || {}) {
            let message = message.expect("no final error").expect("a message").to_string();
            // For the connection that the message arrived on.
            let _receipt = handle.try_send(format!("to {message}")).expect("room");
            received.push(message);
        }
        sleep(7 * MS).await;
    }
    assert_eq!(received, ["0", "1", "2", "3"]);
    assert_eq!(server.await.expect("no panic"), ["to 0", "to 1", "to 2", "to 3"]);
    assert_eq!(*slow.lock().expect("no panic"), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_large_message_that_is_being_written_does_not_block_receiving() {
    let (builder, mut servers) = connected();
    let mut running = run(builder);
    let mut receipt = running.handle.send(vec![7; 8 << 20]).await.expect("open");
    let mut server = servers.next().await;
    for index in 0..100 {
        server.send(format!("{index}")).await.expect("open");
        assert_eq!(running.messages.recv().await, Some(format!("{index}").into()));
    }
    assert_eq!(receipt.try_get(), None);
    assert_eq!(server.recv().await.expect("open").map(|message| message.len()), Some(8 << 20));
    assert_eq!(receipt.await, Delivery::Sent);
}

// --- the hook

#[tokio::test(start_paused = true)]
async fn the_hook_runs_on_each_connection_before_queued_messages_are_sent() {
    let (builder, mut servers) = connected();
    let running = run(builder.on_open(|opened| async move {
        sleep(SECOND).await;
        opened.sender().send(format!("subscribe {}", opened.earlier_connections())).await?;
        sleep(SECOND).await;
        opened.sender().send("since 7").await
    }));
    for number in 0..3 {
        running.handle.send(format!("queued {number}")).await.expect("open");
        let mut server = servers.next().await;
        for expected in [format!("subscribe {number}"), "since 7".into(), format!("queued {number}")] {
            assert_eq!(server.recv().await.expect("open"), Some(Message::from(expected)));
        }
        drop(server);
        running.settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_are_received_while_the_hook_runs() {
    let (builder, mut servers) = connected();
    let mut running = run(builder.on_open(|_| pending()));
    servers.next().await.send("early").await.expect("open");
    assert_eq!(running.messages.recv().await, Some("early".into()));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_hook_ends_the_connection() {
    let (builder, mut servers) = connected();
    let running = run(builder.on_open(|_| ready(Err(refused()))));
    let _server = servers.next().await;
    let why = why(running.settled().await);
    assert!(matches!(&why, Reason::Lost(error) if matches!(**error, Error::Transport(_))), "{why:?}");
    servers.next().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_ends_the_connection_after_the_deadline() {
    let (builder, mut servers) = connected();
    let running = run(builder.on_open(|_| pending()).attempt_timeout(9 * SECOND));
    let _server = servers.next().await;
    let start = Instant::now();
    let why = why(running.settled().await);
    assert!(matches!(why.error(), Some(Error::Timeout(Timeout::Connect))), "{why:?}");
    assert_eq!(start.elapsed().as_secs(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_close_code_is_not_hidden_by_the_hook_that_it_interrupts() {
    let (builder, mut scripts) = scripted();
    let running = run(builder.on_open(|opened| async move {
        sleep(SECOND).await;
        opened.sender().send("late").await
    }));
    let script = scripts.next().await;
    script.bring(*b"\x88\x02\x03\xE9");
    // The server ends the stream only after the hook has failed.
    sleep(2 * SECOND).await;
    script.end();
    assert_eq!(why(running.settled().await).close_code(), Some(CloseCode::GOING_AWAY));
}

// --- closing

#[tokio::test(start_paused = true)]
async fn close_sends_what_is_queued_and_then_the_close() {
    let (builder, mut servers) = connected();
    let mut running = run(builder);
    let mut server = servers.next().await;
    let receipts = [running.handle.send("a").await, running.handle.send("b").await].map(Result::unwrap);
    running.handle.close(4000.into(), "bye").expect("open");
    assert!(matches!(running.handle.send("c").await, Err(Error::Closed)));
    assert_eq!(server.recv().await.expect("open"), Some("a".into()));
    assert_eq!(server.recv().await.expect("open"), Some("b".into()));
    assert_eq!(server.recv().await.expect("closed cleanly"), None);
    let frame = server.close_frame().expect("a code");
    assert_eq!((frame.code().get(), frame.reason()), (4000, "bye"));
    for receipt in receipts {
        assert_eq!(receipt.await, Delivery::Sent);
    }
    assert!((&mut running.task).await.expect("no panic").is_ok());
    assert!(matches!(running.handle.closed().await, Reason::Closed(Some(_))));
}

#[tokio::test(start_paused = true)]
async fn messages_that_the_server_sends_before_its_close_are_received() {
    let (builder, mut servers) = connected();
    let mut running = run(builder);
    let mut server = servers.next().await;
    running.handle.close(CloseCode::NORMAL, "").expect("open");
    settle().await;
    server.send("a last message").await.expect("the Close was not read yet");
    assert_eq!(server.recv().await.expect("closed cleanly"), None);
    assert_eq!(running.messages.recv().await, Some("a last message".into()));
    assert!((&mut running.task).await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn close_while_waiting_ends_at_once_and_drops_what_is_queued() {
    let mut running = run(failing(refused));
    running.settled().await;
    let receipt = running.handle.send("a").await.expect("open");
    let start = Instant::now();
    running.handle.close(CloseCode::NORMAL, "").expect("open");
    assert!((&mut running.task).await.expect("no panic").is_ok());
    assert!(matches!(running.handle.closed().await, Reason::Requested));
    assert_eq!((receipt.await, start.elapsed()), (Delivery::Dropped, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn close_while_connecting_drops_the_attempt() {
    let (sender, mut dropped) = mpsc::unbounded_channel::<()>();
    let builder = Reconnecting::builder(move |_| {
        let sender = sender.clone();
        async move {
            let _held = sender;
            pending::<Result<WebSocket<DuplexStream>, Error>>().await
        }
    });
    let mut client = builder.build();
    assert!(polled(client.recv(), 2, || {}).is_none());
    client.close(CloseCode::NORMAL, "").await.expect("open");
    assert!(client.handle().state().borrow().is_closed());
    drop(client);
    assert_eq!(dropped.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn close_during_the_hook_drops_what_is_queued() {
    let (builder, mut servers) = connected();
    let running = run(builder.on_open(|_| pending()));
    let mut server = servers.next().await;
    let receipt = running.handle.send("a").await.expect("open");
    settle().await;
    running.handle.close(CloseCode::NORMAL, "").expect("open");
    assert_eq!(server.recv().await.expect("closed cleanly"), None);
    assert_eq!(receipt.await, Delivery::Dropped);
    assert!(matches!(running.handle.closed().await, Reason::Closed(Some(_))));
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_while_closing_is_not_replaced() {
    let (builder, mut servers) = connected();
    let mut running = run(builder);
    let server = servers.next().await;
    running.handle.close(CloseCode::NORMAL, "").expect("open");
    settle().await;
    drop(server);
    let ended = (&mut running.task).await.expect("no panic");
    assert!(matches!(ended, Err(Reason::Lost(_))), "{ended:?}");
    assert!(!servers.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_the_close_is_dropped_after_close_timeout() {
    let (builder, mut servers) = connected_with(&Config::new().close_timeout(5 * SECOND));
    let mut running = run(builder);
    let _silent = servers.next().await;
    let start = Instant::now();
    running.handle.close(CloseCode::NORMAL, "").expect("open");
    let _ = (&mut running.task).await.expect("no panic");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn only_a_valid_close_is_accepted_and_only_once() {
    let (builder, _servers) = connected();
    let client = builder.build();
    let handle = client.handle();
    assert!(matches!(handle.close(CloseCode::ABNORMAL, ""), Err(Error::InvalidClose(_))));
    assert!(handle.close(CloseCode::NORMAL, "").is_ok());
    assert!(matches!(handle.close(CloseCode::NORMAL, ""), Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_client_ends_its_handles() {
    let (builder, _servers) = connected();
    let client = builder.build();
    let handle = client.handle();
    let waits = handle.try_send("a").expect("room");
    drop(client);
    assert_eq!(waits.await, Delivery::Dropped);
    assert!(matches!(handle.closed().await, Reason::Requested));
    assert!(matches!(handle.send("b").await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_client_and_its_futures_can_be_sent_to_other_threads() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let (builder, _servers) = connected();
    let mut client = sendable(builder.build());
    let handle = sendable(client.handle());
    drop(sendable(handle.send("a")));
    drop(sendable(client.recv()));
    drop(sendable(client.close(CloseCode::NORMAL, "")));
}
