//! The limits of the accept loop, and the PROXY protocol on its port.
#![cfg(feature = "serve")]

#[path = "support/serve.rs"]
mod serve;

use std::time::Duration;

use fullduplex::{
    CloseCode, Config, Error, Server,
    serve::{Failure, Incoming, InvalidProxyHeader, Refusal},
};
use http::{Response, StatusCode};
use serve::{REQUEST, assert_echoes, rest, start, start_with, within};
use tokio::io::AsyncWriteExt;

#[track_caller]
fn assert_unavailable(response: &str) {
    assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{response}");
    assert!(
        response.contains("\r\nretry-after: 10\r\n") || response.contains("\r\nRetry-After: 10\r\n"),
        "{response}"
    );
    assert!(response.ends_with("\r\n\r\ntoo many connections\n"), "{response}");
}

#[tokio::test]
async fn a_connection_over_the_limit_is_refused_with_503_until_another_one_ends() {
    let mut running = start(|serve| serve.max_connections(2)).await;
    let (mut first, mut second) = (running.connect().await, running.connect().await);
    assert_unavailable(&running.exchange(REQUEST).await);
    assert_unavailable(&running.exchange("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await);
    let error = running.try_connect("/").await.expect_err("two are open");
    let response = error.response().expect("status 503");
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"10".parse().expect("valid"))
    );
    for _ in 0..3 {
        let failure = running.failure().await;
        assert!(matches!(failure, Failure::Refused { refusal: Refusal::Connections, .. }), "{failure}");
    }
    assert_eq!(running.metrics.snapshot().refused[&Refusal::Connections], 3);

    first.close(CloseCode::NORMAL, "").await.expect("a clean end");
    let mut third = within(async {
        loop {
            // The place is free once the task has ended.
            if let Ok(ws) = running.try_connect("/").await {
                return ws;
            }
        }
    })
    .await;
    assert_echoes(&mut second, "second").await;
    assert_echoes(&mut third, "third").await;
}

#[tokio::test]
async fn silent_connections_delay_no_other_and_end_at_the_deadline() {
    let server = Server::default().handshake_timeout(Duration::from_secs(2));
    let mut running = start(|serve| serve.server(server)).await;
    let mut silent = Vec::new();
    for len in 0..40 {
        silent.push(running.write(&REQUEST[..len]).await);
    }
    let mut open = running.connect().await;
    assert_echoes(&mut open, "not delayed").await;
    for tcp in &mut silent {
        assert_eq!(rest(tcp).await, "");
        let failure = running.failure().await;
        assert!(matches!(failure, Failure::Opening { error: Error::Timeout(_), .. }), "{failure}");
    }
    assert_eq!(running.metrics.snapshot().refused[&Refusal::HandshakeTimeout], 40);
}

#[tokio::test]
async fn a_handshake_over_the_limit_is_refused_until_another_one_ends() {
    let server = Server::default().handshake_timeout(None);
    let mut running = start(|serve| serve.server(server).max_handshakes(3)).await;
    let mut open = running.connect().await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(running.write(&REQUEST[..20]).await);
    }
    assert_unavailable(&running.exchange(REQUEST).await);
    assert!(matches!(running.failure().await, Failure::Refused { refusal: Refusal::Handshakes, .. }));
    assert_echoes(&mut open, "not affected").await;

    // A slow one that completes is served, and its place is free then.
    let mut last = slow.pop().expect("three");
    last.write_all(&REQUEST.as_bytes()[20..]).await.expect("open");
    running.counted(|snapshot| snapshot.opened == 2).await;
    let mut another = within(async {
        loop {
            if let Ok(ws) = running.try_connect("/").await {
                return ws;
            }
        }
    })
    .await;
    assert_echoes(&mut another, "accepted").await;
}

#[tokio::test]
async fn each_key_of_a_request_has_its_own_limit() {
    let mut running = start(|serve| {
        serve
            .max_connections_per(2, |request| request.path().to_owned())
            .on_http(|_| async { Response::new("a page") })
    })
    .await;
    let mut ann = [
        running.try_connect("/ann").await.expect("accepted"),
        running.try_connect("/ann").await.expect("accepted"),
    ];
    let mut bob = running.try_connect("/bob").await.expect("accepted");
    assert_unavailable(&running.exchange(REQUEST.replace("/room", "/ann")).await);
    assert!(matches!(running.failure().await, Failure::Refused { refusal: Refusal::ConnectionsPerKey, .. }));
    assert!(running.exchange("GET /ann HTTP/1.1\r\nHost: a\r\n\r\n").await.ends_with("a page"));
    assert_echoes(&mut bob, "bob").await;
    assert_echoes(&mut ann[0], "ann").await;
    ann[1].close(CloseCode::NORMAL, "").await.expect("a clean end");
    within(async { while running.try_connect("/ann").await.is_err() {} }).await;
}

#[tokio::test]
async fn the_addresses_of_a_network_share_a_limit_and_a_handler_that_panics_leaves_its_place() {
    let running = start_with(
        |serve| serve.proxy_protocol(true).max_connections_per(1, Incoming::network),
        |mut ws, _request| async move {
            ws.recv().await?;
            panic!("a fault of the program");
        },
    )
    .await;
    let from = |ip: &str| format!("PROXY TCP6 {ip} 2001:db8::9 51234 443\r\n{REQUEST}");
    let first = running.write(from("2001:db8:1:2::1")).await;
    running.counted(|snapshot| snapshot.opened == 1).await;
    assert_unavailable(&running.exchange(from("2001:db8:1:2:ffff::1")).await);
    assert_unavailable(&running.exchange(from("2001:db8:1:2::1")).await);
    let _other = running.write(from("2001:db8:1:3::1")).await;
    running.counted(|snapshot| snapshot.opened == 2).await;

    drop(first);
    within(async {
        loop {
            let _next = running.write(from("2001:db8:1:2::2")).await;
            let refused = running.metrics.snapshot().refused.get(&Refusal::ConnectionsPerKey).copied();
            running
                .counted(|snapshot| {
                    snapshot.opened == 3
                        || snapshot.refused.get(&Refusal::ConnectionsPerKey).copied() > refused
                })
                .await;
            if running.metrics.snapshot().opened == 3 {
                return;
            }
        }
    })
    .await;
}

/// A header of version 2 for 192.0.2.1:51234.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02\x01\xC0\0\x02\x09\xC8\x22\x01\xBB";

#[tokio::test]
async fn the_peer_is_the_one_that_the_proxy_passes_on() {
    // The raw client does not answer the Close.
    let brief = Server::new(Config::new().close_timeout(Duration::from_millis(50)));
    let running = start_with(
        |serve| serve.proxy_protocol(true).server(brief),
        |mut ws, request| async move {
            ws.send(request.peer().to_string()).await?;
            ws.close(CloseCode::NORMAL, "").await
        },
    )
    .await;
    for (header, peer) in [
        (&b"PROXY TCP4 192.0.2.1 192.0.2.9 51234 443\r\n"[..], Some("192.0.2.1:51234")),
        (b"PROXY TCP6 2001:db8::1 2001:db8::9 51234 443\r\n", Some("[2001:db8::1]:51234")),
        (V2, Some("192.0.2.1:51234")),
        (b"PROXY UNKNOWN\r\n", None),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", None),
    ] {
        let mut tcp = running.write([header, REQUEST.as_bytes()].concat()).await;
        let own = tcp.local_addr().expect("open").to_string();
        let response = rest(&mut tcp).await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        assert!(response.contains(peer.unwrap_or(&own)), "{response}");
    }
}

#[tokio::test]
async fn a_connection_without_a_valid_proxy_header_is_dropped() {
    let server = Server::new(Config::new()).handshake_timeout(Duration::from_secs(2));
    let mut running = start(|serve| serve.server(server).proxy_protocol(true)).await;
    for (input, expected) in [
        (REQUEST.as_bytes(), InvalidProxyHeader::Missing),
        (b"PROXY TCP4 192.0.2.1 192.0.2.9 51234 65536\r\n", InvalidProxyHeader::Port),
        (b"\x16\x03\x01\x02\0\x01", InvalidProxyHeader::Missing),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\0", InvalidProxyHeader::Family(0x31)),
    ] {
        assert_eq!(running.exchange(input).await, "", "no answer");
        let failure = running.failure().await;
        assert!(matches!(failure, Failure::ProxyHeader { error, .. } if error == expected), "{failure}");
    }
    assert_eq!(running.metrics.snapshot().refused[&Refusal::ProxyHeader], 4);
    // One that is incomplete ends at the deadline.
    assert_eq!(running.exchange(&V2[..20]).await, "");
    assert!(matches!(running.failure().await, Failure::Opening { error: Error::Timeout(_), .. }));
}

#[tokio::test]
async fn a_connection_over_the_limit_is_refused_after_its_proxy_header() {
    let running = start(|serve| serve.proxy_protocol(true).max_connections(0)).await;
    assert_unavailable(&running.exchange([V2, REQUEST.as_bytes()].concat()).await);
    assert_eq!(running.exchange(REQUEST).await, "");
}
