//! Hostile peers, rows 45 to 50 and 53 of `HOSTILE.md`: peers that flood, that do not read, that
//! send a byte at a time, that never end the stream, or that disconnect.

mod support;

use std::{
    collections::HashSet,
    io::ErrorKind,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Duration,
};

use fullduplex::{CloseCode, Config, Error, Message, Role, Timeout, WebSocket, proto::ProtocolError};
use support::{
    Wakes,
    frames::{self, binary, close, close_empty, continuation, ping, pong, text, wire},
    nothing_received,
    offence::wire_to,
    pending,
    script::{self, Script, Scripted},
    without_deadlines,
};
use tokio::time::{Instant, advance};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const BOTH: [Role; 2] = [Role::Server, Role::Client];

/// Returns how often another task of the same thread runs until this many reads have returned data.
async fn runs_until(script: &Script, reads: usize) -> usize {
    let mut runs = 0;
    while script.reads() < reads {
        tokio::task::yield_now().await;
        runs += 1;
    }
    runs
}

// --- row 45: RFC 6455 sections 5.5.2 and 5.5.3, ping floods

#[tokio::test]
async fn row_45_pongs_to_a_peer_that_does_not_read_are_bounded_and_the_newest_replaces_the_last() {
    for role in BOTH {
        let (mut ws, script) = script::open(role, &without_deadlines());
        script.allow_writes(0);
        for burst in 0..200_u32 {
            let pings: Vec<_> = (0..40).map(|i| ping(format!("{:0>60}", burst * 40 + i))).collect();
            script.bring(wire_to(role, &pings));
            nothing_received(&mut ws);
            // Pongs that are being written, and those that are queued after them.
            assert!(ws.queued_bytes() <= 8 << 10, "{} bytes", ws.queued_bytes());
        }
        script.allow_writes(None);
        nothing_received(&mut ws);
        let pongs = frames::parse(&script.written());
        assert!(pongs.iter().all(|(first, payload)| *first == 0x8A && payload.len() == 60));
        let numbers: Vec<u32> = pongs
            .iter()
            .map(|(_, payload)| String::from_utf8_lossy(payload).parse().expect("a number"))
            .collect();
        let (last, first) = numbers.split_last().expect("pongs");
        assert_eq!(*last, 200 * 40 - 1, "the newest ping is answered last");
        assert!(first.iter().copied().eq(0..first.len() as u32), "the first pings are answered in order");
    }
}

#[tokio::test]
async fn row_45_pongs_of_every_size_stay_within_4_kib() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines());
    script.allow_writes(0);
    pending(pin!(ws.send("being written")), "the stream accepts nothing");
    let staged = ws.queued_bytes();
    for (short, long) in [(2047, 1), (10, 1000), (3000, 1), (1, 1)] {
        script.bring(ping("").masked().build().repeat(short));
        script.bring(ping([b'x'; 125]).masked().build().repeat(long));
        nothing_received(&mut ws);
        let pongs = ws.queued_bytes() - staged;
        assert!(pongs <= 4 << 10, "{pongs} bytes of pongs are queued");
    }
}

#[tokio::test]
async fn row_45_every_ping_of_a_peer_that_reads_is_answered() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines());
    let pings: Vec<_> = (0..20).map(|i| ping([i; 100])).collect();
    for _ in 0..10 {
        script.bring(wire_to(Role::Server, &pings));
    }
    nothing_received(&mut ws);
    let pongs: Vec<_> = (0..20).map(|i| pong([i; 100])).collect();
    assert_eq!(script.written(), wire(&pongs).repeat(10));
}

#[tokio::test]
async fn row_45_a_ping_flood_does_not_starve_other_tasks() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines());
    for _ in 0..100 {
        script.bring(ping("").masked().build().repeat(1000));
    }
    let receiving = tokio::spawn(async move { ws.recv().await });
    let runs = runs_until(&script, 100).await;
    assert!(runs >= 10, "{runs} runs during 100,000 pings");
    receiving.abort();
}

#[tokio::test]
async fn row_45_a_frame_in_tiny_reads_does_not_starve_other_tasks() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines());
    script.bring(binary("").masked().declaring(10 << 20).build());
    for _ in 0..20_000 {
        script.bring([0; 4]);
    }
    let receiving = tokio::spawn(async move { ws.recv().await });
    let runs = runs_until(&script, 20_001).await;
    assert!(runs >= 2, "{runs} runs during 20,000 reads");
    receiving.abort();
}

#[tokio::test]
async fn row_45_data_after_a_close_does_not_starve_other_tasks() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines());
    script.bring(close(1000, "").masked().build());
    for _ in 0..20_000 {
        script.bring([0; 100]);
    }
    let receiving = tokio::spawn(async move { ws.recv().await });
    let runs = runs_until(&script, 20_001).await;
    assert!(runs >= 2, "{runs} runs during 20,000 reads");
    receiving.abort();
}

// --- row 46: RFC 6455 section 5.5.3, unsolicited pongs

#[tokio::test(start_paused = true)]
async fn row_46_unsolicited_pongs_postpone_the_pong_timeout_but_do_not_answer_a_keep_alive_ping() {
    let (mut ws, script) =
        script::open(Role::Server, &without_deadlines().ping_interval(20 * SECOND).pong_timeout(20 * SECOND));
    script.bring(pong([0; 4]).masked().build().repeat(10_000));
    nothing_received(&mut ws);
    assert_eq!((script.writes(), ws.queued_bytes()), (0, 0));
    advance(20 * SECOND).await;
    nothing_received(&mut ws);
    let sent = frames::parse(&script.take_written()).remove(0).1;
    for _ in 0..19 {
        let guesses: Vec<_> = (0..=255).map(|last| [sent[0], sent[1], !sent[2], last]).map(pong).collect();
        script.bring(wire_to(Role::Server, &guesses));
        script.bring(wire_to(Role::Server, &[pong(""), pong(&sent[..3]), pong([&sent[..], &[0]].concat())]));
        nothing_received(&mut ws);
        advance(SECOND).await;
    }
    let started = Instant::now();
    assert!(matches!(ws.recv().await, Err(Error::Timeout(Timeout::Pong))));
    assert_eq!(started.elapsed(), 19 * SECOND, "20 s after the last frame");
}

#[tokio::test(start_paused = true)]
async fn row_46_unsolicited_pongs_do_not_postpone_the_idle_timeout() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().idle_timeout(20 * SECOND));
    nothing_received(&mut ws);
    for _ in 0..19 {
        advance(SECOND).await;
        script.bring(pong("").masked().build().repeat(100));
        nothing_received(&mut ws);
    }
    let started = Instant::now();
    assert!(matches!(ws.recv().await, Err(Error::Timeout(Timeout::Idle))));
    assert_eq!(started.elapsed(), SECOND);
}

// --- row 47: a peer that never reads

#[tokio::test]
async fn row_47_feed_fills_the_write_buffer_exactly_and_then_waits() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().max_write_buffer_size(100));
    script.allow_writes(0);
    let half = "x".repeat(48);
    ws.feed(&half[..]).await.expect("50 bytes");
    ws.feed(&half[..]).await.expect("100 bytes");
    assert_eq!(ws.queued_bytes(), 100);
    pending(pin!(ws.feed("")), "the buffer is full");
    pending(pin!(ws.reserve(0)), "the buffer is full");
    pending(pin!(ws.send("")), "the buffer is full");
    assert_eq!(ws.queued_bytes(), 100);
    script.allow_writes(1);
    pending(pin!(ws.feed("")), "one byte is free, and the frame has two");
    script.allow_writes(1);
    ws.feed("").await.expect("two bytes are free");
    assert_eq!(ws.queued_bytes(), 100);
    script.allow_writes(None);
    ws.flush().await.expect("the stream accepts everything");
    assert_eq!(script.written(), wire(&[text(&half), text(&half), text("")]));
}

#[tokio::test]
async fn row_47_pings_do_not_count_towards_max_write_buffer_and_have_their_own_limit() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().max_write_buffer_size(10));
    script.allow_writes(0);
    ws.feed("01234567").await.expect("the queue is empty");
    for _ in 0..200 {
        pending(pin!(ws.ping([7; 100])), "the stream accepts nothing");
    }
    assert!((8 << 10..9 << 10).contains(&ws.queued_bytes()), "{}", ws.queued_bytes());

    let (_receiver, sender) = ws.split();
    let before = sender.queued_bytes();
    let mut waiting = pin!(sender.ping("it waits"));
    assert!(support::poll_once(waiting.as_mut()).is_pending());
    assert_eq!(sender.queued_bytes(), before);
    script.allow_writes(None);
    sender.flush().await.expect("the stream accepts everything");
    waiting.await.expect("room");
    assert!(script.written().ends_with(&frames::ping("it waits").build()));
}

#[tokio::test]
async fn row_47_only_one_large_message_fits_an_empty_queue() {
    for role in BOTH {
        let (mut ws, script) = script::open(role, &without_deadlines().max_write_buffer_size(100));
        script.allow_writes(0);
        ws.feed(vec![7; 100_000]).await.expect("the queue is empty");
        pending(pin!(ws.feed("")), "the buffer is full");
        script.allow_writes(None);
        ws.feed(vec![8; 100_000]).await.expect("the queue is empty again");
        ws.flush().await.expect("the stream accepts everything");
        let frames = [(0x82, vec![7; 100_000]), (0x82, vec![8; 100_000])];
        assert_eq!(frames::parse(&script.written()), frames);
    }
}

#[tokio::test]
async fn row_47_feed_is_woken_when_the_peer_reads() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().max_write_buffer_size(10));
    script.allow_writes(0);
    ws.feed("12345678").await.expect("the queue is empty");
    let feeding = tokio::spawn(async move { ws.feed("12345678").await.map(|()| ws) });
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(!feeding.is_finished());
        script.allow_writes(1);
    }
    let ws = feeding.await.expect("no panic").expect("room");
    assert_eq!((ws.queued_bytes(), script.written().len()), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn row_47_the_write_timeout_ends_the_connection_to_a_peer_that_never_reads() {
    let config = without_deadlines().write_timeout(30 * SECOND).max_write_buffer_size(100);
    let (mut ws, script) = script::open(Role::Server, &config);
    script.allow_writes(0);
    ws.feed(vec![7; 1000]).await.expect("the queue is empty");
    let started = Instant::now();
    let error = ws.feed("no room").await.expect_err("the stream accepts nothing");
    assert_eq!(started.elapsed(), 30 * SECOND);
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
    assert_eq!(ws.queued_bytes(), 0, "the queue is released");
    assert!(matches!(ws.feed("late").await, Err(Error::Closed)));
}

/// Advances the clock by seconds until the task has ended, at most 100. Returns how many seconds that
/// took, and the result of the task.
async fn seconds_until_ended<T>(task: tokio::task::JoinHandle<T>) -> (u32, T) {
    for second in 0..100 {
        tokio::task::yield_now().await;
        if task.is_finished() {
            return (second, task.await.expect("no panic"));
        }
        advance(SECOND).await;
    }
    panic!("the task has not ended after 100 s");
}

#[tokio::test(start_paused = true)]
async fn row_47_an_endless_flood_does_not_postpone_the_write_timeout() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().write_timeout(30 * SECOND));
    script.allow_writes(0);
    script.bring_endlessly(ping("no pause").masked().build());
    let receiving = tokio::spawn(async move { ws.recv().await });
    let (seconds, result) = seconds_until_ended(receiving).await;
    assert!(matches!(result, Err(Error::Timeout(Timeout::Write))), "{result:?}");
    // Input that arrived before is received first: a bounded number of reads, a few of them each
    // time the test yields.
    assert!((30..=31 + 16).contains(&seconds), "{seconds} s");
}

// --- row 48: one byte at a time

#[tokio::test(start_paused = true)]
async fn row_48_one_byte_before_the_idle_deadline_does_not_postpone_it() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().idle_timeout(30 * SECOND));
    nothing_received(&mut ws);
    advance(30 * SECOND - MILLISECOND).await;
    script.bring(&text("slow").masked().build()[..1]);
    nothing_received(&mut ws);
    let started = Instant::now();
    assert!(matches!(ws.recv().await, Err(Error::Timeout(Timeout::Idle))));
    assert_eq!(started.elapsed(), MILLISECOND);
}

#[tokio::test(start_paused = true)]
async fn row_48_pings_and_fragments_do_not_postpone_the_idle_deadline() {
    for frame in [ping("").masked(), text("Hel").more().masked()] {
        let (mut ws, script) = script::open(Role::Server, &without_deadlines().idle_timeout(30 * SECOND));
        nothing_received(&mut ws);
        advance(30 * SECOND - MILLISECOND).await;
        script.bring(frame.build());
        nothing_received(&mut ws);
        let started = Instant::now();
        assert!(matches!(ws.recv().await, Err(Error::Timeout(Timeout::Idle))));
        assert_eq!(started.elapsed(), MILLISECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn row_48_messages_and_pongs_postpone_the_idle_deadline() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines().idle_timeout(30 * SECOND));
    nothing_received(&mut ws);
    let large = binary(vec![7; 100_000]).masked().build();
    let (start, rest) = large.split_at(70_000);
    for round in 0..12 {
        advance(30 * SECOND - MILLISECOND).await;
        match round % 4 {
            0 => script.bring(text("message").masked().build()),
            1 => script.bring(pong("").masked().build()),
            2 => script.bring(wire(&[text("in").more().masked(), continuation(" two").masked()])),
            _ => {
                script.bring(start);
                script.bring(rest);
            }
        }
        assert!(ws.recv_event().await.expect("no timeout").is_some());
        nothing_received(&mut ws);
    }
    let started = Instant::now();
    assert!(matches!(ws.recv().await, Err(Error::Timeout(Timeout::Idle))));
    assert_eq!(started.elapsed(), 30 * SECOND);
}

// --- row 49: peers that never end the stream

// RFC 6455 section 7.1.1.
#[tokio::test(start_paused = true)]
async fn row_49_a_peer_that_never_ends_the_stream_is_dropped_at_the_close_timeout() {
    for role in BOTH {
        for ours_first in [true, false] {
            let (mut ws, script) = script::open(role, &Config::new());
            if ours_first {
                ws.start_close(None).expect("open");
            }
            script.bring(wire_to(role, &[close_empty()]));
            let started = Instant::now();
            assert_eq!(ws.recv().await.expect("both Closes were exchanged"), None);
            assert_eq!(started.elapsed(), 5 * SECOND);
            drop(ws);
            assert!(script.is_dropped());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_49_a_peer_that_never_answers_and_never_pauses_is_dropped_at_the_close_timeout() {
    let (mut ws, script) = script::open(Role::Server, &Config::new());
    script.bring_endlessly(text("not done yet").masked().build());
    let closing = tokio::spawn(async move { ws.close(CloseCode::NORMAL, "bye").await });
    let (seconds, result) = seconds_until_ended(closing).await;
    result.expect("our Close was written");
    assert!((5..=6 + 16).contains(&seconds), "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn row_49_endless_data_after_a_close_does_not_postpone_the_close_timeout() {
    for role in BOTH {
        let (mut ws, script) = script::open(role, &Config::new());
        script.bring(wire_to(role, &[close(1000, "bye")]));
        script.bring_endlessly([0; 1000]);
        let receiving = tokio::spawn(async move { ws.recv().await });
        let (seconds, result) = seconds_until_ended(receiving).await;
        assert!(matches!(result, Ok(None)), "{result:?}");
        assert!((5..=6).contains(&seconds), "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_budget_that_is_exhausted_before_the_pong_is_read_causes_no_timeout() {
    let (mut ws, script) =
        script::open(Role::Server, &without_deadlines().ping_interval(SECOND).pong_timeout(SECOND));
    nothing_received(&mut ws);
    advance(SECOND).await;
    nothing_received(&mut ws);
    let payload = frames::parse(&script.take_written()).remove(0).1;
    script.cooperate();
    script.read_at_most(1);
    script.bring(wire_to(Role::Server, &[text("x".repeat(500)).more(), pong(payload), continuation("")]));
    advance(3600 * SECOND).await;
    let (message, _ws) = tokio::spawn(async move { (ws.recv().await, ws) }).await.expect("no panic");
    assert_eq!(message.expect("the pong had arrived"), Some(Message::from("x".repeat(500))));
}

// --- row 50: RFC 6455 section 7.1.5, end of stream inside a frame

#[tokio::test]
async fn row_50_a_reset_or_end_of_stream_at_any_position_of_a_frame_is_returned_once() {
    let frames =
        wire_to(Role::Server, &[text("Hel").more(), ping("!"), continuation("lo, world"), close(1000, "")]);
    for cut in 1..frames.len() {
        for reset in [false, true] {
            let (mut ws, script) = script::open(Role::Server, &Config::new());
            script.bring(text("before").masked().build());
            script.bring(&frames[..cut]);
            if reset {
                script.fail_reads(ErrorKind::ConnectionReset)
            } else {
                script.end()
            }
            assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("before")));
            let mut result = ws.recv().await;
            if matches!(&result, Ok(Some(message)) if *message == Message::from("Hello, world")) {
                result = ws.recv().await;
            }
            match result {
                Err(Error::Transport(error)) if reset => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                Err(Error::Protocol(ProtocolError::EofWithoutClose)) if !reset => {}
                other => panic!("cut at {cut}: {other:?}"),
            }
            let polls = script.read_polls();
            for _ in 0..10 {
                assert_eq!(ws.recv().await.expect("the error was returned before"), None);
                assert_eq!(ws.recv_event().await.expect("the error was returned before"), None);
            }
            assert_eq!(script.read_polls(), polls, "the stream is not read again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_50_a_waiting_connection_causes_no_wake_ups_and_is_woken_by_input() {
    let (mut ws, script) = script::open(Role::Server, &Config::new());
    script.allow_writes(3);
    ws.feed("stuck").await.expect("room");
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let poll = |ws: &mut WebSocket<Scripted>| -> Poll<_> {
        pin!(ws.recv_event()).poll(&mut Context::from_waker(&waker))
    };
    assert!(poll(&mut ws).is_pending());
    assert_eq!(wakes.0.load(Relaxed), 0, "a busy loop");
    let woken_by = [
        ("bytes", Box::new(|| script.bring(&b"\x89"[..])) as Box<dyn Fn()>),
        ("room to write", Box::new(|| script.allow_writes(1))),
        ("a frame", Box::new(|| script.bring([0x80, 0, 0, 0, 0]))),
        ("the end", Box::new(|| script.end())),
    ];
    for (nth, (what, happens)) in woken_by.iter().enumerate() {
        happens();
        assert!(wakes.0.swap(0, Relaxed) > 0, "{what} wakes the task");
        let polled = poll(&mut ws);
        assert_eq!(polled.is_ready(), nth >= 2, "{what}: {polled:?}");
        if nth == 2 {
            assert!(poll(&mut ws).is_pending());
        }
        assert_eq!(wakes.0.load(Relaxed), 0, "{what}: a busy loop");
    }
}

#[tokio::test(start_paused = true)]
async fn row_50_a_silent_connection_is_polled_only_for_its_deadlines() {
    let (mut ws, script) =
        script::open(Role::Server, &without_deadlines().ping_interval(20 * SECOND).pong_timeout(None));
    let receiving = tokio::spawn(async move { ws.recv().await });
    tokio::time::sleep(3600 * SECOND).await;
    receiving.abort();
    // A ping every 20 seconds: one poll for the timer, and one after the ping was written.
    assert!(script.read_polls() <= 2 * 180 + 4, "{} polls in an hour", script.read_polls());
}

// --- row 53: RFC 6455 section 5.3, masking keys

/// Returns the masking keys of frames with at most 125 bytes of payload data.
fn keys(mut wire: &[u8]) -> Vec<[u8; 4]> {
    let mut keys = Vec::new();
    while let [_, second, key @ ..] = wire {
        assert!(*second >= 0x80, "a client masks");
        keys.push(*key.first_chunk().expect("a key"));
        wire = &wire[6 + usize::from(second & 0x7F)..];
    }
    keys
}

#[tokio::test]
async fn row_53_masking_keys_differ_in_all_bytes_between_frames_and_connections() {
    let mut all = Vec::new();
    for _ in 0..20 {
        let (mut ws, script) = script::client();
        for _ in 0..20 {
            ws.send("the same").await.expect("the stream accepts everything");
            ws.ping("the same").await.expect("the stream accepts everything");
            script.bring(ping("the same").build());
            nothing_received(&mut ws);
        }
        ws.start_close(None).expect("open");
        ws.flush().await.expect("the stream accepts everything");
        all.extend(keys(&script.written()));
    }
    assert_eq!(all.len(), 20 * 61);
    let distinct: HashSet<_> = all.iter().collect();
    // Two of 1,220 random keys are equal once in about 6,000 runs, three pairs practically never.
    assert!(distinct.len() >= all.len() - 2, "{} of {}", distinct.len(), all.len());
    for byte in 0..4 {
        let values: HashSet<u8> = all.iter().map(|key| key[byte]).collect();
        assert!(values.len() > 200, "byte {byte} has {} values", values.len());
    }
    let steps: HashSet<u32> = all
        .windows(2)
        .map(|pair| u32::from_be_bytes(pair[1]).wrapping_sub(u32::from_be_bytes(pair[0])))
        .collect();
    assert!(steps.len() >= all.len() - 4, "a key does not depend on the one before");
}

#[tokio::test]
async fn row_53_the_same_large_message_is_masked_with_another_key_each_time() {
    let (mut ws, script) = script::client();
    let message = Message::binary(vec![0; 10_000]);
    for _ in 0..3 {
        ws.send(message.clone()).await.expect("the stream accepts everything");
    }
    assert_eq!(message, Message::binary(vec![0; 10_000]), "the caller's data is not masked");
    let written = script.written();
    assert_eq!(frames::parse(&written), vec![(0x82, vec![0; 10_000]); 3]);
    let keys: HashSet<_> = written.chunks(10_008).map(|frame| &frame[4..8]).collect();
    assert_eq!(keys.len(), 3);
}
