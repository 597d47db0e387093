//! A connection over a scripted stream: what is received, and when bytes leave.

mod support;

use fullduplex::{Config, Event, Message, Role};
use support::{
    frames::{self, binary, close, continuation, ping, pong, text, wire},
    pair::pair,
    script,
};

#[tokio::test]
async fn a_burst_of_32_small_frames_is_answered_with_one_read_and_one_write() {
    let (mut ws, script) = script::server();
    let messages: Vec<String> = (0..32).map(|i| format!("message {i}")).collect();
    script.bring(wire(&messages.iter().map(|m| text(m).masked()).collect::<Vec<_>>()));
    let echo = tokio::spawn(async move {
        while let Some(message) = ws.recv().await? {
            ws.feed(message).await?;
        }
        Ok::<_, fullduplex::Error>(())
    });
    while script.written().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!((script.reads(), script.writes()), (1, 1));
    assert_eq!(script.written(), wire(&messages.iter().map(text).collect::<Vec<_>>()));
    script.bring(close(1000, "").masked().build());
    script.end();
    echo.await.expect("no panic").expect("closed cleanly");
}

#[tokio::test]
async fn fragments_with_a_ping_between_them_are_one_message_and_the_ping_is_answered() {
    let (mut ws, script) = script::server();
    script.bring(wire(&[
        text("Hel").more().masked(),
        ping("now").masked(),
        continuation("lo").masked(),
        binary([1, 2, 3]).masked(),
    ]));
    assert_eq!(ws.recv_event().await.expect("a ping"), Some(Event::Ping("now".into())));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("Hello")));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::binary(vec![1, 2, 3])));
    ws.flush().await.expect("the stream takes all");
    assert_eq!(script.written(), pong("now").build());
}

#[tokio::test]
async fn a_large_message_goes_out_uncopied_in_one_vectored_write() {
    let (mut ws, script) = script::server();
    let payload = vec![7; 100_000];
    ws.send(payload.clone()).await.expect("the stream takes all");
    assert_eq!(script.writes(), 1);
    assert_eq!(script.written(), binary(&payload).build());
}

#[tokio::test]
async fn a_ping_overtakes_what_is_queued_at_a_frame_boundary() {
    let (mut ws, script) = script::server();
    script.allow_writes(1);
    ws.feed("first").await.expect("room");
    let flush = tokio::time::timeout(std::time::Duration::from_millis(10), ws.flush()).await;
    assert!(flush.is_err(), "the stream takes one byte");
    ws.feed("second").await.expect("room");
    script.bring(ping("!").masked().build());
    let recv = tokio::time::timeout(std::time::Duration::from_millis(10), ws.recv()).await;
    assert!(recv.is_err(), "nothing but a ping came");
    script.allow_writes(None);
    ws.flush().await.expect("the stream takes all");
    assert_eq!(script.written(), wire(&[text("first"), pong("!"), text("second")]));
}

#[tokio::test]
async fn both_ends_talk_in_messages_of_every_size() {
    let (mut client, mut server) = pair(&Config::new(), 3000);
    let echo = tokio::spawn(async move {
        while let Some(message) = server.recv().await? {
            server.feed(message).await?;
        }
        Ok::<_, fullduplex::Error>(())
    });
    for len in [0, 1, 125, 126, 4096, 4097, 65_535, 65_536, 70_000, 1 << 20] {
        let message = Message::binary((0..len).map(|i: usize| i as u8).collect::<Vec<_>>());
        client.send(message.clone()).await.expect("sent");
        assert_eq!(client.recv().await.expect("echoed"), Some(message));
    }
    client.close(fullduplex::CloseCode::NORMAL, "done").await.expect("closed cleanly");
    echo.await.expect("no panic").expect("closed cleanly");
}

#[tokio::test]
async fn a_client_masks_what_it_sends() {
    let (mut ws, script) = script::client();
    ws.send("masked").await.expect("the stream takes all");
    let written = script.written();
    assert_eq!(written[1], 0x80 | 6);
    assert_eq!(frames::parse(&written), [(0x81, b"masked".to_vec())]);
    assert_eq!(ws.role(), Role::Client);
}
