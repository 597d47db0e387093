//! The values that a program creates, compares and prints: conversions, names, errors and their causes.

#[cfg(any(feature = "reconnect", feature = "serve"))]
use std::io;
use std::{borrow::Cow, collections::HashMap};

use bytes::{Bytes, BytesMut};
#[cfg(any(feature = "reconnect", feature = "serve"))]
use fullduplex::Error;
use fullduplex::{CloseCode, Message, PreparedMessage, Target, Utf8Bytes};

#[test]
fn a_message_is_created_from_any_string() {
    let text = Message::text("grüezi");
    for message in [
        Message::from("grüezi"),
        Message::from("grüezi".to_owned()),
        Message::from(&"grüezi".to_owned()),
        Message::from(Utf8Bytes::from("grüezi")),
        Message::from(Box::<str>::from("grüezi")),
        Message::from(Cow::Borrowed("grüezi")),
        Message::from(Cow::<str>::Owned("grüezi".to_owned())),
    ] {
        assert_eq!(message, text);
        assert!(message.is_text() && !message.is_binary());
        assert_eq!((message.as_text(), message.as_bytes()), (Some("grüezi"), "grüezi".as_bytes()));
    }
}

#[test]
fn a_message_is_created_from_any_bytes() {
    let data = Message::binary(vec![1, 2, 255]);
    for message in [
        Message::from([1, 2, 255]),
        Message::from(&[1, 2, 255]),
        Message::from(&[1, 2, 255][..]),
        Message::from(vec![1, 2, 255]),
        Message::from(Bytes::from_static(&[1, 2, 255])),
        Message::from(BytesMut::from(&[1, 2, 255][..])),
        Message::from(Box::<[u8]>::from([1, 2, 255])),
        Message::from(Cow::<[u8]>::Borrowed(&[1, 2, 255])),
    ] {
        assert_eq!(message, data);
        assert!(message.is_binary() && !message.is_text());
        assert_eq!((message.as_text(), message.as_bytes()), (None, &[1, 2, 255][..]));
    }
}

/// Its hash is that of a `str`, so that one finds it in a map.
#[test]
fn text_is_compared_and_hashed_like_a_str() {
    let text = Utf8Bytes::from("a room");
    assert!(text == "a room" && text == *"a room" && text != "another");
    let map = HashMap::from([(text.clone(), 1)]);
    assert_eq!((map.get("a room"), map.get("another")), (Some(&1), None));
    assert_eq!(AsRef::<str>::as_ref(&text), "a room");
    assert_eq!(AsRef::<[u8]>::as_ref(&text), b"a room");
    assert_eq!(text.as_inner().as_ptr(), Bytes::from(text.clone()).as_ptr(), "uncopied");
    assert_eq!(String::from(text), "a room");
    assert_eq!(Utf8Bytes::new(), Utf8Bytes::default());
    assert_eq!(Utf8Bytes::new(), "");
}

#[test]
fn a_prepared_message_is_empty_if_its_message_is() {
    assert!(PreparedMessage::new("").is_empty());
    assert!(!PreparedMessage::new("a").is_empty());
}

/// The registry of RFC 6455 section 11.7. Codes of programs have no name.
#[test]
fn close_codes_have_the_names_of_the_registry() {
    for (code, name) in [
        (1000, "normal closure"),
        (1001, "going away"),
        (1002, "protocol error"),
        (1003, "unsupported data"),
        (1005, "no status received"),
        (1006, "abnormal closure"),
        (1007, "invalid frame payload data"),
        (1008, "policy violation"),
        (1009, "message too big"),
        (1010, "mandatory extension"),
        (1011, "internal error"),
        (1012, "service restart"),
        (1013, "try again later"),
        (1014, "bad gateway"),
        (1015, "TLS handshake"),
        (3000, "unauthorized"),
        (3003, "forbidden"),
        (3008, "timeout"),
    ] {
        assert_eq!(CloseCode::from(code).name(), Some(name), "{code}");
    }
    for code in [0, 999, 1004, 1016, 2999, 3001, 4000, 4999, 5000] {
        assert_eq!(CloseCode::from(code).name(), None, "{code}");
    }
}

#[test]
fn a_uri_of_the_http_crate_is_a_target() {
    let uri = http::Uri::from_static("ws://example.com:9001/chat?a");
    let target = Target::try_from(&uri).expect("valid");
    assert_eq!((target.host(), target.port()), ("example.com", 9001));
    assert_eq!(Target::try_from(uri).expect("valid"), target);
    assert!(Target::try_from(&http::Uri::from_static("http://example.com/")).is_err());
}

#[cfg(feature = "proxy")]
#[test]
fn a_proxy_is_created_from_any_string() {
    use fullduplex::proxy::{InvalidProxy, Proxy};

    let (text, proxy) = ("socks5://proxy.test:1081".to_owned(), "socks5://proxy.test:1081".parse::<Proxy>());
    let proxy = proxy.expect("valid");
    assert_eq!(Proxy::try_from(text.as_str()), Ok(proxy.clone()));
    assert_eq!(Proxy::try_from(&text), Ok(proxy.clone()));
    assert_eq!(Proxy::try_from(text), Ok(proxy.clone()));
    assert_eq!(Proxy::from(&proxy), proxy);
    assert_eq!(Proxy::try_from("ftp://proxy.test"), Err(InvalidProxy::Scheme));
}

#[cfg(any(feature = "reconnect", feature = "serve"))]
fn broken() -> Error {
    Error::Transport(io::ErrorKind::BrokenPipe.into())
}

#[cfg(feature = "reconnect")]
#[test]
fn the_reason_of_an_end_has_the_error_as_its_source() {
    use std::{error::Error as _, sync::Arc};

    use fullduplex::reconnect::Reason;

    let hook: Arc<dyn std::error::Error + Send + Sync> = Arc::new(io::Error::other("no token"));
    for (reason, short, long, has_source) in [
        (Reason::Failed(Arc::new(broken())), "cannot connect", "transport failed: broken pipe", true),
        (Reason::Lost(Arc::new(broken())), "connection lost", "transport failed: broken pipe", true),
        (Reason::Hook(hook), "hook for the connection failed", "no token", true),
        (Reason::Closed(None), "server closed the connection", "", false),
        (Reason::Requested, "closed by this program", "", false),
    ] {
        assert_eq!(reason.to_string(), short);
        let long = if has_source { format!("{short}: {long}") } else { short.to_owned() };
        assert_eq!(format!("{reason:#}"), long);
        assert_eq!(reason.source().is_some(), has_source, "{short}");
        assert_eq!(reason.is_final(), matches!(reason, Reason::Requested), "{short}");
    }
}

#[cfg(feature = "serve")]
#[test]
fn a_failure_of_a_server_has_the_source_of_its_error() {
    use std::error::Error as _;

    use fullduplex::serve::{Failure, Refusal};

    let peer = "192.0.2.1:7".parse().expect("an address");
    let inner = io::Error::other(broken());
    for (failure, shown, has_source) in [
        (Failure::Accept(inner), "accept: ", true),
        (Failure::Opening { peer, error: broken() }, "192.0.2.1:7: transport failed", true),
        (Failure::Connection { peer, error: broken() }, "192.0.2.1:7: transport failed", true),
        (
            Failure::Refused { peer, refusal: Refusal::Handshakes },
            "192.0.2.1:7: refused, too many opening handshakes",
            false,
        ),
        (
            Failure::Refused { peer, refusal: Refusal::ConnectionsPerKey },
            "192.0.2.1:7: refused, too many connections of its kind",
            false,
        ),
    ] {
        assert!(failure.to_string().starts_with(shown), "{failure}");
        assert_eq!(failure.source().is_some(), has_source, "{failure}");
    }
}

/// Labels of metrics: a change of one breaks the dashboards of programs.
#[cfg(feature = "serve")]
#[test]
fn each_refusal_has_its_label_and_a_program_counts_what_it_sees() {
    use fullduplex::serve::{Metrics, Refusal};

    for (refusal, label) in [
        (Refusal::Connections, "connections"),
        (Refusal::ConnectionsPerKey, "connections_per_key"),
        (Refusal::Handshakes, "handshakes"),
        (Refusal::Shutdown, "shutdown"),
        (Refusal::Status(http::StatusCode::FORBIDDEN), "status"),
        (Refusal::ProxyHeader, "proxy_header"),
        (Refusal::Tls, "tls"),
        (Refusal::HandshakeTimeout, "handshake_timeout"),
        (Refusal::Transport, "transport"),
    ] {
        assert_eq!(refusal.as_str(), label);
    }
    let metrics = Metrics::new();
    metrics.queue_full();
    metrics.queue_full();
    metrics.accept_error();
    let counted = metrics.snapshot();
    assert_eq!((counted.queue_full, counted.accept_errors), (2, 1));
}

#[cfg(feature = "hub")]
#[test]
fn a_publication_is_for_the_users_that_it_names() {
    use fullduplex::hub::Publication;

    for (publication, ann, bob) in [
        (Publication::new("a"), true, true),
        (Publication::new("a").users(["ann"]), true, false),
        (Publication::new("a").except_user("ann"), false, true),
    ] {
        assert_eq!((publication.is_for_user("ann"), publication.is_for_user("bob")), (ann, bob));
    }
}
