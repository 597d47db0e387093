//! The queue of a client that connects again: its limits, and the outcome of each message.
#![cfg(feature = "reconnect")]

mod support;

use std::{
    future::{pending, ready},
    io,
    pin::pin,
    time::Duration,
};

use fullduplex::{
    CloseCode, Error, Message, TrySendError,
    reconnect::{Delivery, Handle, QueueLimits, QueuedMessage, Receipt, WhenFull},
};
use support::{
    poll_once,
    reconnect::{Running, Server, Servers, connected, run, scripted},
    script::Script,
    settle,
};
use tokio::time::{Instant, sleep};

fn limits(messages: usize, when_full: WhenFull) -> QueueLimits {
    QueueLimits::new().max_messages(messages).when_full(when_full)
}

/// Queues a message for which there is room.
fn queue(handle: &Handle, message: impl Into<QueuedMessage<'static>>) -> Receipt {
    handle.try_send(message).expect("room")
}

/// Receives messages until the client has sent nothing more.
async fn received(server: &mut Server) -> Vec<String> {
    let mut received = Vec::new();
    settle().await;
    while let std::task::Poll::Ready(message) = poll_once(pin!(server.recv()).as_mut()) {
        received.push(message.expect("open").expect("a message").to_string());
        settle().await;
    }
    received
}

/// Polls a client with a scripted connection that accepts nothing yet.
async fn stuck() -> (Running, Servers<Script>, Script) {
    let (builder, mut scripts) = scripted();
    let running = run(builder);
    let script = scripts.next().await;
    script.allow_writes(0);
    (running, scripts, script)
}

/// Returns the payload data of the short masked frames that were written.
fn payloads(mut written: &[u8]) -> Vec<String> {
    let mut payloads = Vec::new();
    while let [_, len, key @ ..] = written {
        let len = usize::from(len & 0x7F);
        let (key, rest) = key.split_at(4);
        let (payload, rest) = rest.split_at(len);
        let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        payloads.push(String::from_utf8(payload).expect("text"));
        written = rest;
    }
    payloads
}

#[tokio::test(start_paused = true)]
async fn messages_queued_before_the_first_connection_are_sent_in_order() {
    let (builder, mut servers) = connected();
    let client = builder.build();
    let receipts = ["a", "b", "c"].map(|text| queue(&client.handle(), text));
    assert_eq!(client.handle().queued_messages(), 3);
    let mut client = client;
    let server = tokio::spawn(async move {
        let mut server = servers.next().await;
        let messages = received(&mut server).await;
        server.close(CloseCode::NORMAL, "").await.expect("closed cleanly");
        messages
    });
    assert!(matches!(client.recv().await, Ok(None)));
    assert_eq!(server.await.expect("no panic"), ["a", "b", "c"]);
    for receipt in receipts {
        assert_eq!(receipt.await, Delivery::Sent);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_queued_while_away_are_sent_over_the_next_connection() {
    let (builder, mut servers) = connected();
    let running = run(builder);
    drop(servers.next().await);
    running.settled().await;
    let mut receipt = queue(&running.handle, "a");
    settle().await;
    assert_eq!(receipt.try_get(), None);
    assert_eq!(received(&mut servers.next().await).await, ["a"]);
    assert_eq!(receipt.await, Delivery::Sent);
}

// --- limits

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_senders_wait_in_order() {
    let (builder, mut servers) = connected();
    let client = builder.queue(limits(1, WhenFull::Wait)).build();
    let handle = client.handle();
    let first = queue(&handle, "a");
    let mut second = pin!(handle.send("b"));
    let mut third = pin!(handle.send("c"));
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(poll_once(third.as_mut()).is_pending());
    assert!(matches!(handle.try_send("d"), Err(TrySendError::Full(_))));

    let mut client = client;
    tokio::spawn(async move { client.recv().await });
    let mut server = servers.next().await;
    assert_eq!(first.await, Delivery::Sent);
    // The room of the first goes to the second, although the third asks first.
    assert!(poll_once(third.as_mut()).is_pending());
    let second = second.await.expect("open");
    assert_eq!(second.await, Delivery::Sent);
    assert_eq!(third.await.expect("open").await, Delivery::Sent);
    assert_eq!(received(&mut server).await, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_while_it_waits_queues_nothing() {
    let (builder, _servers) = connected();
    let client = builder.queue(limits(1, WhenFull::Wait)).build();
    let handle = client.handle();
    let _first = queue(&handle, "a");
    {
        let mut dropped = pin!(handle.send("b"));
        assert!(poll_once(dropped.as_mut()).is_pending());
    }
    assert_eq!(handle.queued_messages(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_senders_that_wait() {
    let (builder, _servers) = connected();
    let client = builder.queue(limits(1, WhenFull::Wait)).build();
    let handle = client.handle();
    let _first = queue(&handle, "a");
    let mut waits = pin!(handle.send("b"));
    assert!(poll_once(waits.as_mut()).is_pending());
    handle.close(CloseCode::NORMAL, "").expect("open");
    assert!(matches!(waits.await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_messages() {
    let (builder, mut servers) = connected();
    let client = builder.queue(limits(2, WhenFull::DropOldest)).build();
    let handle = client.handle();
    let mut receipts = Vec::new();
    for text in ["a", "b", "c"] {
        receipts.push(handle.send(text).await.expect("open"));
    }
    let mut client = client;
    tokio::spawn(async move { client.recv().await });
    assert_eq!(received(&mut servers.next().await).await, ["b", "c"]);
    for (receipt, outcome) in receipts.into_iter().zip([Delivery::Dropped, Delivery::Sent, Delivery::Sent]) {
        assert_eq!(receipt.await, outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_new_message() {
    let (builder, mut servers) = connected();
    let client = builder.queue(limits(2, WhenFull::DropNewest).max_bytes(3)).build();
    let handle = client.handle();
    let mut receipts = Vec::new();
    for text in ["a", "bbb", "c", "d"] {
        receipts.push(handle.send(text).await.expect("open"));
    }
    let refused = handle.try_send("e").expect_err("full").into_outgoing();
    assert_eq!(refused, "e".into());
    let mut client = client;
    tokio::spawn(async move { client.recv().await });
    assert_eq!(received(&mut servers.next().await).await, ["a", "c"]);
    let outcomes = [Delivery::Sent, Delivery::Dropped, Delivery::Sent, Delivery::Dropped];
    for (receipt, outcome) in receipts.into_iter().zip(outcomes) {
        assert_eq!(receipt.await, outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_being_written_is_not_dropped_for_a_newer_one() {
    let (builder, mut scripts) = scripted();
    let running = run(builder.queue(limits(1, WhenFull::DropOldest)));
    scripts.next().await.allow_writes(0);
    let mut first = queue(&running.handle, "a");
    settle().await;
    let second = running.handle.send("b").await.expect("open");
    assert_eq!((second.await, first.try_get()), (Delivery::Dropped, None));
}

// --- outcomes

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_once_the_stream_has_flushed_it() {
    let (running, _scripts, script) = stuck().await;
    let mut receipt = queue(&running.handle, "hello");
    settle().await;
    assert_eq!(receipt.try_get(), None);
    script.block_flush(true);
    script.allow_writes(None);
    settle().await;
    assert_eq!((payloads(&script.written()), receipt.try_get()), (vec!["hello".into()], None));
    script.block_flush(false);
    assert_eq!(receipt.await, Delivery::Sent);
}

#[tokio::test(start_paused = true)]
async fn the_outcome_of_a_message_is_unknown_if_the_connection_is_lost_while_it_is_written() {
    let (running, mut scripts, script) = stuck().await;
    let receipts = ["first", "second"].map(|text| queue(&running.handle, text));
    script.allow_writes(7);
    settle().await;
    assert_eq!(script.written().len(), 7, "the header and a byte");
    script.end();
    for receipt in receipts {
        assert_eq!(receipt.await, Delivery::Unknown);
    }
    let next = scripts.next().await;
    assert_eq!(queue(&running.handle, "third").await, Delivery::Sent);
    assert_eq!(payloads(&next.written()), ["third"], "nothing is sent twice");
}

#[tokio::test(start_paused = true)]
async fn the_outcome_is_unknown_after_a_failed_write_and_a_failed_flush() {
    for written in [false, true] {
        let (running, mut scripts, script) = stuck().await;
        let receipt = queue(&running.handle, "hello");
        if written {
            script.block_flush(true);
            script.allow_writes(None);
        }
        settle().await;
        script.fail_writes(io::ErrorKind::BrokenPipe);
        script.fail_reads(io::ErrorKind::ConnectionReset);
        assert_eq!(receipt.await, Delivery::Unknown);
        scripts.next().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_flushed_before_the_loss_stays_sent() {
    let (builder, mut scripts) = scripted();
    let running = run(builder);
    let script = scripts.next().await;
    assert_eq!(queue(&running.handle, "first").await, Delivery::Sent);
    script.allow_writes(0);
    let second = queue(&running.handle, "second");
    settle().await;
    script.end();
    assert_eq!(second.await, Delivery::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_message_for_which_the_connection_has_no_room_waits_for_the_next() {
    let (builder, mut scripts) = scripted();
    let running = run(builder.queue(QueueLimits::new().max_bytes(4 << 20)));
    let script = scripts.next().await;
    script.allow_writes(0);
    // Longer than the write buffer: it takes all of the room.
    let large = queue(&running.handle, vec![7; 2 << 20]);
    let mut small = queue(&running.handle, "small");
    settle().await;
    script.end();
    assert_eq!((large.await, small.try_get()), (Delivery::Unknown, None));
    let next = scripts.next().await;
    assert_eq!(small.await, Delivery::Sent);
    assert_eq!(payloads(&next.written()), ["small"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_for_room_is_sent_once_the_connection_has_written_the_one_before() {
    let (builder, mut scripts) = scripted();
    let running = run(builder.queue(QueueLimits::new().max_bytes(4 << 20)));
    let script = scripts.next().await;
    script.allow_writes(0);
    let receipts = [queue(&running.handle, vec![7; 2 << 20]), queue(&running.handle, "small")];
    settle().await;
    assert_eq!(running.handle.queued_messages(), 1);
    script.allow_writes(None);
    for receipt in receipts {
        assert_eq!(receipt.await, Delivery::Sent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_another_sender_has_flushed_is_sent_although_the_client_is_dropped() {
    let (builder, mut scripts) = scripted();
    let (of_hook, mut senders) = tokio::sync::mpsc::unbounded_channel();
    let mut client = builder
        .on_open(move |opened| ready(of_hook.send(opened.sender().clone()).map_err(|_| Error::Closed)))
        .build();
    let handle = client.handle();
    assert!(support::polled(client.recv(), 1, || {}).is_none());
    let (script, sender) = (scripts.next().await, senders.recv().await.expect("a connection"));
    script.allow_writes(0);
    let receipt = queue(&handle, "a");
    assert!(support::polled(client.recv(), 1, || {}).is_none());
    script.allow_writes(None);
    sender.flush().await.expect("open");
    drop(client);
    assert_eq!(receipt.await, Delivery::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_retry_is_sent_again_before_those_that_wait() {
    let (running, mut scripts, script) = stuck().await;
    let again = ["a", "b"].map(|text| queue(&running.handle, QueuedMessage::new(text).retry(true)));
    let once = queue(&running.handle, "once");
    settle().await;
    script.end();
    assert_eq!(once.await, Delivery::Unknown);
    let last = queue(&running.handle, "last");
    let next = scripts.next().await;
    for receipt in again.into_iter().chain([last]) {
        assert_eq!(receipt.await, Delivery::Sent);
    }
    assert_eq!(payloads(&next.written()), ["a", "b", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_retry_that_was_sent_is_not_sent_again() {
    let (builder, mut scripts) = scripted();
    let running = run(builder);
    let script = scripts.next().await;
    assert_eq!(queue(&running.handle, QueuedMessage::new("a").retry(true)).await, Delivery::Sent);
    script.end();
    let next = scripts.next().await;
    assert_eq!(queue(&running.handle, "b").await, Delivery::Sent);
    assert_eq!(payloads(&next.written()), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_retry_is_unknown_if_the_client_ends_before_the_next_connection() {
    let (running, _scripts, script) = stuck().await;
    let receipt = queue(&running.handle, QueuedMessage::new("a").retry(true));
    settle().await;
    script.end();
    running.settled().await;
    running.handle.close(CloseCode::NORMAL, "").expect("open");
    assert_eq!(receipt.await, Delivery::Unknown);
}

#[tokio::test(start_paused = true)]
async fn messages_are_unknown_or_dropped_if_the_client_is_dropped() {
    let (builder, mut scripts) = scripted();
    let mut client = builder.queue(QueueLimits::new().max_bytes(4 << 20)).build();
    let handle = client.handle();
    assert!(support::polled(client.recv(), 1, || {}).is_none());
    scripts.next().await.allow_writes(0);
    let (large, small) = (queue(&handle, vec![7; 2 << 20]), queue(&handle, "small"));
    assert!(support::polled(client.recv(), 1, || {}).is_none());
    drop(client);
    assert_eq!((large.await, small.await), (Delivery::Unknown, Delivery::Dropped));
}

// --- waiting in the task that polls the client

#[tokio::test(start_paused = true)]
async fn drive_runs_the_client_until_a_receipt_is_ready() {
    let (builder, mut servers) = connected();
    let mut client = builder.queue(limits(1, WhenFull::Wait)).build();
    let handle = client.handle();
    for text in ["a", "b", "c"] {
        let receipt = client.drive(handle.send(text)).await.expect("open");
        assert_eq!(client.drive(receipt).await, Delivery::Sent);
    }
    assert_eq!(received(&mut servers.next().await).await, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn messages_received_while_driving_are_returned_later_in_order() {
    let (builder, mut servers) = connected();
    let mut client = builder.build();
    tokio::spawn(async move {
        let mut server = servers.next().await;
        for index in 0..100 {
            server.send(format!("{index}")).await.expect("open");
        }
        server.close(CloseCode::NORMAL, "").await.expect("closed cleanly");
    });
    client.drive(sleep(Duration::from_secs(1))).await;
    for index in 0..100 {
        assert_eq!(client.recv().await.expect("no error"), Some(Message::from(format!("{index}"))));
    }
    assert!(matches!(client.recv().await, Ok(None)));
}

#[tokio::test(start_paused = true)]
async fn row_82_driving_holds_a_limited_number_of_bytes() {
    let (builder, mut servers) = connected();
    let mut client = builder.queue(QueueLimits::new().max_bytes(1000)).build();
    let server = tokio::spawn(async move {
        let mut server = servers.next().await;
        let mut sent = 0;
        while sent < 1000 && server.send(vec![7; 10_000]).await.is_ok() {
            sent += 1;
        }
        sent
    });
    client.drive(sleep(Duration::from_secs(60))).await;
    drop(client);
    // What the stream and the read buffer hold, in addition to one message.
    assert!(server.await.expect("no panic") < 40);
}

/// Asserts that a message is sent while no more is received, as soon as the stream accepts it.
/// Another sender of the connection sends `other` before.
async fn sent_while_no_more_is_received(other: Vec<u8>) {
    let (builder, mut scripts) = scripted();
    let (of_hook, mut senders) = tokio::sync::mpsc::unbounded_channel();
    let limits = QueueLimits::new().max_bytes(1);
    let mut client = builder
        .queue(limits)
        .on_open(move |opened| ready(of_hook.send(opened.sender().clone()).map_err(|_| Error::Closed)))
        .build();
    let handle = client.handle();
    client.drive(settle()).await;
    let script = scripts.next().await;
    script.bring(*b"\x81\x02hi");
    client.drive(settle()).await;
    script.allow_writes(0);
    senders.recv().await.expect("a connection").feed(other).await.expect("room");
    let receipt = queue(&handle, "a");
    tokio::spawn(async move {
        sleep(Duration::from_secs(1)).await;
        script.allow_writes(None);
        pending::<()>().await;
    });
    let start = Instant::now();
    assert_eq!(client.drive(receipt).await, Delivery::Sent);
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn driving_continues_to_write_while_no_more_is_received() {
    sent_while_no_more_is_received(vec![]).await;
}

#[tokio::test(start_paused = true)]
async fn driving_continues_to_wait_for_room_while_no_more_is_received() {
    // Longer than the write buffer: it takes all of the room.
    sent_while_no_more_is_received(vec![7; 2 << 20]).await;
}

#[tokio::test(start_paused = true)]
async fn driving_resolves_receipts_of_a_lost_connection_while_no_more_is_received() {
    let (builder, mut scripts) = scripted();
    let mut client = builder.queue(QueueLimits::new().max_bytes(1)).build();
    let handle = client.handle();
    client.drive(settle()).await;
    let script = scripts.next().await;
    script.bring(*b"\x81\x02hi");
    client.drive(settle()).await;
    script.allow_writes(0);
    let receipt = queue(&handle, "a");
    client.drive(settle()).await;
    script.fail_writes(io::ErrorKind::BrokenPipe);
    assert_eq!(client.drive(receipt).await, Delivery::Unknown);
    assert_eq!(client.recv().await.expect("no error"), Some("hi".into()));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_is_noticed_while_no_more_is_received() {
    let (builder, mut scripts) = scripted();
    let mut client = builder.queue(QueueLimits::new().max_bytes(1)).build();
    let handle = client.handle();
    client.drive(settle()).await;
    let script = scripts.next().await;
    script.bring(*b"\x81\x02hi");
    client.drive(settle()).await;
    script.allow_writes(0);
    let receipt = queue(&handle, "a");
    assert_eq!(client.drive(receipt).await, Delivery::Unknown, "after write_timeout");
}

#[test]
fn debug_output_contains_no_payload_data() {
    fn shown<T: std::fmt::Debug>(value: &T) -> String {
        format!("{value:?} {value:#?}")
    }
    let (builder, _servers) = connected();
    let mut output = shown(&builder);
    let client = builder.build();
    let receipt = queue(&client.handle(), "hunter2");
    output += &(shown(&client) + &shown(&client.handle()) + &shown(&receipt));
    assert!(!output.contains("hunter2") && !output.contains("104, 117"), "{output}");
}
