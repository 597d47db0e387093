//! Row 56 of `HOSTILE.md`: what the application must not send is rejected, and nothing is sent.

mod support;

use fullduplex::{
    CloseCode, Error, Event, Message, Role, WebSocket,
    proto::{InvalidClose, SendError},
};
use support::{
    frames::{ping, pong, text},
    nothing_received,
    script::{self, Script, Scripted},
    without_deadlines,
};

/// Asserts that nothing was sent, and that the connection still works.
async fn assert_usable(mut ws: WebSocket<Scripted>, script: &Script) {
    assert_eq!((script.writes(), ws.queued_bytes()), (0, 0));
    ws.send("still here").await.expect("open");
    assert_eq!(script.take_written(), text("still here").build());
    script.bring(text("me too").masked().build());
    assert_eq!(ws.recv().await.expect("open"), Some(Message::from("me too")));
}

#[tokio::test]
async fn row_56_a_ping_of_more_than_125_bytes_is_rejected_and_nothing_is_sent() {
    for len in [126, 127, 0x1_0000] {
        let (mut ws, script) = script::server();
        match ws.ping(vec![b'x'; len]).await {
            Err(Error::Send(error)) => assert_eq!(error, SendError::PingTooLong(len)),
            other => panic!("{len}: {other:?}"),
        }
        assert_usable(ws, &script).await;
    }
    let (mut ws, script) = script::server();
    ws.ping([b'x'; 125]).await.expect("125 bytes fit");
    assert_eq!(script.written(), ping([b'x'; 125]).build());
}

#[tokio::test]
async fn row_56_a_close_code_that_must_not_be_sent_is_rejected_and_nothing_is_sent() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 0xFFFF].map(CloseCode::from) {
        let (mut ws, script) = script::server();
        match ws.close(code, "why").await {
            Err(Error::InvalidClose(error)) => assert_eq!(error, InvalidClose::Code(code)),
            other => panic!("{code}: {other:?}"),
        }
        assert_usable(ws, &script).await;
    }
}

#[tokio::test]
async fn row_56_a_reason_of_more_than_123_bytes_is_rejected_and_nothing_is_sent() {
    // 62 characters in 124 bytes: the limit counts bytes.
    for reason in ["x".repeat(124), "\u{FC}".repeat(62), "x".repeat(100_000)] {
        let (mut ws, script) = script::server();
        match ws.close(CloseCode::NORMAL, reason.clone()).await {
            Err(Error::InvalidClose(error)) => assert_eq!(error, InvalidClose::ReasonTooLong(reason.len())),
            other => panic!("{other:?}"),
        }
        assert_usable(ws, &script).await;
    }
}

#[tokio::test]
async fn row_56_a_message_longer_than_its_permit_is_rejected_and_nothing_is_sent() {
    let (mut ws, script) = script::server();
    let permit = ws.reserve(3).await.expect("room");
    match permit.feed("four") {
        Err(Error::Send(error)) => assert_eq!(error, SendError::BeyondPermit { len: 4, reserved: 3 }),
        other => panic!("{other:?}"),
    }
    assert_usable(ws, &script).await;
}

#[tokio::test]
async fn row_46_unsolicited_pongs_are_returned_by_recv_event() {
    let (mut ws, script) = script::open(Role::Server, &without_deadlines());
    script.bring(pong("unasked").masked().build().repeat(3));
    for _ in 0..3 {
        assert_eq!(ws.recv_event().await.expect("a pong"), Some(Event::Pong("unasked".into())));
    }
    nothing_received(&mut ws);
    assert_eq!(script.writes(), 0);
}
