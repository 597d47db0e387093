//! A server's opening handshake that ends early, because the transport ends or the future is
//! dropped: nothing is leaked.

#[path = "support/handshake.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::{io, time::Duration};

use fullduplex::{Error, Server};
use http::Response;
use support::{
    REQUEST, SERVER_ERROR, SWITCHING, Script, Step, cut, released_at_every_poll, request, undated,
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn row_51_the_transport_is_dropped_if_it_ends_inside_the_request() {
    for end in 0..REQUEST.len() {
        let (io, written) = Script::new(cut(&REQUEST.as_bytes()[..end], &[]));
        let result = Server::default().read_request(io).await;
        assert!(
            matches!(&result, Err(Error::Transport(error)) if error.kind() == io::ErrorKind::UnexpectedEof),
            "{end}: {result:?}"
        );
        assert_eq!((written.text(), written.is_dropped()), (String::new(), true));

        let steps = cut(&REQUEST.as_bytes()[..end], &[]).into_iter();
        let (io, written) = Script::new(steps.chain([Step::Fails(io::ErrorKind::ConnectionReset)]));
        let result = Server::default().read_request(io).await;
        assert!(
            matches!(&result, Err(Error::Transport(error)) if error.kind() == io::ErrorKind::ConnectionReset),
            "{end}: {result:?}"
        );
        assert!(written.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn row_51_the_transport_is_dropped_if_writing_the_101_fails() {
    for end in 0..SWITCHING.len() {
        let (io, written) = Script::new([Step::Bytes(REQUEST.into()), Step::Hangs]);
        let result = fullduplex::accept(io.writes_fail_behind(end, io::ErrorKind::BrokenPipe)).await;
        assert!(
            matches!(&result, Err(Error::Transport(error)) if error.kind() == io::ErrorKind::BrokenPipe),
            "{end}: {result:?}"
        );
        assert_eq!((&*written.text(), written.is_dropped()), (&SWITCHING[..end], true));
    }
}

#[tokio::test(start_paused = true)]
async fn row_51_a_rejection_is_returned_and_the_transport_dropped_if_its_write_fails() {
    for end in [0, 1, 50, 100] {
        let over = |input: Vec<u8>| {
            let (io, written) = Script::new([Step::Bytes(input), Step::Hangs]);
            (io.writes_fail_behind(end, io::ErrorKind::BrokenPipe), written)
        };
        let (io, written) = over(request("GET", "POST"));
        let result = Server::default().read_request(io).await;
        assert!(matches!(&result, Err(Error::Rejected(error)) if error.status() == 405), "{result:?}");
        assert_eq!((written.bytes().len(), written.is_dropped()), (end, true));

        let (io, written) = over(REQUEST.into());
        let pending = Server::default().read_request(io).await.expect("a valid request");
        let own = Response::builder().status(404).body("x".repeat(100)).expect("valid");
        let result = pending.reject(own).await;
        assert!(
            matches!(&result, Err(Error::Transport(error)) if error.kind() == io::ErrorKind::BrokenPipe),
            "{result:?}"
        );
        assert_eq!((written.bytes().len(), written.is_dropped()), (end, true));

        let (io, written) = over(REQUEST.into());
        let pending = Server::default().read_request(io).await.expect("a valid request");
        let own = Response::builder().header("upgrade", "h2c").body(()).expect("valid");
        let result = pending.accept_with(own).await;
        assert!(matches!(result, Err(Error::InvalidHandshake(_))), "{result:?}");
        assert_eq!((written.bytes().len(), written.is_dropped()), (end, true));
    }
}

#[tokio::test(start_paused = true)]
async fn row_51_draining_after_a_rejection_stops_when_the_transport_ends() {
    for end in [None, Some(Step::Fails(io::ErrorKind::ConnectionReset))] {
        let start = Instant::now();
        let behind = Step::Bytes(b"in vain".to_vec());
        let steps = [Some(Step::Bytes(request("GET", "POST"))), Some(behind), end];
        let (io, written) = Script::new(steps.into_iter().flatten());
        let result = Server::default().read_request(io).await;
        assert!(matches!(&result, Err(Error::Rejected(error)) if error.status() == 405), "{result:?}");
        assert_eq!((start.elapsed(), written.is_dropped()), (Duration::ZERO, true));
        assert!(written.text().ends_with("requires GET\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn row_52_dropping_the_future_at_any_poll_drops_the_transport() {
    let (result, written) = released_at_every_poll(REQUEST.as_bytes(), fullduplex::accept);
    assert_eq!((result.is_ok(), &*written), (true, SWITCHING));

    let server = Server::default();
    let (result, written) = released_at_every_poll(REQUEST.as_bytes(), |io| server.read_request(io));
    assert_eq!((result.is_ok(), &*written), (true, ""));

    let refused = [&request("GET", "POST")[..], b"in vain"].concat();
    let (result, written) = released_at_every_poll(&refused, |io| server.read_request(io));
    assert!(matches!(result, Err(Error::Rejected(_))), "{result:?}");
    assert!(written.ends_with("requires GET\n"), "{written}");

    let (result, written) = released_at_every_poll(REQUEST.as_bytes(), async |io| {
        let own = Response::builder().status(404).body("no such room").expect("valid");
        server.read_request(io).await?.reject(own).await
    });
    assert!(result.is_ok() && written.ends_with("no such room"), "{result:?} {written}");

    let (result, written) = released_at_every_poll(REQUEST.as_bytes(), async |io| {
        let own = Response::builder().header("upgrade", "h2c").body(()).expect("valid");
        server.read_request(io).await?.accept_with(own).await
    });
    assert!(matches!(result, Err(Error::InvalidHandshake(_))), "{result:?}");
    assert_eq!(undated(&written), SERVER_ERROR);
}

#[tokio::test(start_paused = true)]
async fn row_52_dropping_the_future_drops_the_transport() {
    let (io, written) = Script::new([Step::Bytes(REQUEST[..100].into()), Step::Hangs]);
    let limit = Duration::from_secs(1);
    assert!(tokio::time::timeout(limit, fullduplex::accept(io)).await.is_err());
    assert!(written.is_dropped());
}
