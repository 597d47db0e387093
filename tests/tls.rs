//! `wss://`: both ends over TLS, and what must fail.
#![cfg(feature = "tls")]

#[path = "support/certificates.rs"]
mod certificates;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use certificates::{Authority, Identity, params, self_signed};
use fullduplex::{
    Client, ClientStream, CloseCode, Config, Error, ProtocolError, RedirectFault, ResponseError, Role,
    Timeout, TlsAcceptor, TlsConnector, TlsError, TlsStream, WebSocket,
    handshake::Negotiated,
    tls::rustls::{self, pki_types::pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
};

const NAME: &str = "server.test";

fn acceptor(identity: &Identity) -> TlsAcceptor {
    TlsAcceptor::from_pem(&identity.chain, &identity.key).expect("valid")
}

/// Returns a connector that trusts this authority alone.
fn trusting(authority: &Authority) -> TlsConnector {
    TlsConnector::builder().only_roots(authority.pem()).build().expect("valid")
}

/// Performs the TLS handshake of both ends in memory.
async fn handshakes(
    connector: &TlsConnector,
    acceptor: &TlsAcceptor,
    name: &str,
) -> (Result<TlsStream<DuplexStream>, Error>, Result<TlsStream<DuplexStream>, Error>) {
    let (client, server) = duplex(16 << 10);
    tokio::join!(connector.connect(name, client), acceptor.accept(server))
}

/// Returns the error of the client.
async fn client_error(connector: &TlsConnector, identity: &Identity, name: &str) -> TlsError {
    let (client, server) = handshakes(connector, &acceptor(identity), name).await;
    assert!(matches!(server.map(drop), Err(Error::Tls(error)) if matches!(*error, TlsError::Alert(_))));
    match client.map(drop) {
        Err(Error::Tls(error)) => *error,
        other => panic!("{other:?}"),
    }
}

/// Echoes on each connection to a new listener, over TLS.
async fn echo_server(acceptor: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut ws = fullduplex::accept(acceptor.accept(tcp).await?).await?;
                while let Some(message) = ws.recv().await? {
                    ws.feed(message).await?;
                }
                Ok::<(), Error>(())
            });
        }
    });
    address
}

/// Returns a client that resolves every name to the loopback address.
fn local(tls: TlsConnector) -> Client {
    Client::default().tls(tls).resolver(|_| async { Ok(vec![[127, 0, 0, 1].into()]) })
}

async fn echo(ws: &mut WebSocket<ClientStream>, text: &str) {
    ws.send(text).await.expect("open");
    assert_eq!(ws.recv().await.expect("valid").expect("a message").as_text(), Some(text));
}

#[tokio::test]
async fn a_client_connects_to_a_wss_target() {
    let authority = Authority::new();
    let address = echo_server(acceptor(&authority.issue(NAME))).await;
    let client = local(trusting(&authority));
    let target = format!("wss://{NAME}:{}/", address.port());
    let (mut ws, _) = client.connect(&target).await.expect("connected");
    echo(&mut ws, &"over TLS ".repeat(20_000)).await;
    let tls = ws.get_ref().tls().expect("TLS");
    assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(tls.peer_certificates().expect("a certificate").len(), 1);
    assert!(!tls.is_resumed());
    assert_eq!(ws.get_ref().tcp().expect("TCP").peer_addr().expect("connected"), address);
    ws.close(CloseCode::NORMAL, "").await.expect("closed cleanly");
}

#[tokio::test]
async fn sessions_are_resumed() {
    let authority = Authority::new();
    let address = echo_server(acceptor(&authority.issue(NAME))).await;
    let client = local(trusting(&authority));
    let target = format!("wss://{NAME}:{}/", address.port());
    let mut resumed = Vec::new();
    for _ in 0..2 {
        let (mut ws, _) = client.connect(&target).await.expect("connected");
        // The tickets of TLS 1.3 arrive after the handshake.
        echo(&mut ws, "hello").await;
        resumed.push(ws.get_ref().tls().expect("TLS").is_resumed());
        ws.close(CloseCode::NORMAL, "").await.expect("closed cleanly");
    }
    assert_eq!(resumed, [false, true]);
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_server_runs() {
    let (first, second) = (Authority::new(), Authority::new());
    let acceptor = acceptor(&first.issue(NAME));
    let address = echo_server(acceptor.clone()).await;
    let target = format!("wss://{NAME}:{}/", address.port());
    let (mut before, _) = local(trusting(&first)).connect(&target).await.expect("connected");
    let issued = second.issue(NAME);
    let mixed = acceptor.reload(&issued.chain, first.issue(NAME).key).expect_err("the key of another");
    assert!(matches!(mixed, TlsError::Settings(_)), "{mixed:?}");
    local(trusting(&first)).connect(&target).await.expect("the first certificate is still in use");
    acceptor.reload(&issued.chain, &issued.key).expect("valid");
    local(trusting(&second)).connect(&target).await.expect("connected");
    let error = local(trusting(&first)).connect(&target).await.map(drop).expect_err("another authority");
    assert!(
        matches!(&error, Error::Tls(error) if matches!(**error, TlsError::UnknownAuthority)),
        "{error:?}"
    );
    echo(&mut before, "open connections continue").await;
}

#[tokio::test]
async fn row_20_a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let error = client_error(&trusting(&authority), &authority.issue("other.test"), NAME).await;
    assert!(matches!(error, TlsError::WrongName), "{error:?}");
    assert!(error.is_certificate());
}

#[tokio::test]
async fn row_20_a_certificate_that_is_expired_or_not_valid_yet_is_refused() {
    let authority = Authority::new();
    let mut expired = params(NAME);
    (expired.not_before, expired.not_after) =
        (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    let error = client_error(&trusting(&authority), &authority.issue_with(expired), NAME).await;
    assert!(matches!(error, TlsError::Expired), "{error:?}");
    let mut future = params(NAME);
    (future.not_before, future.not_after) =
        (rcgen::date_time_ymd(2998, 1, 1), rcgen::date_time_ymd(2999, 1, 1));
    let error = client_error(&trusting(&authority), &authority.issue_with(future), NAME).await;
    assert!(matches!(error, TlsError::NotYetValid), "{error:?}");
}

#[tokio::test]
async fn row_20_a_self_signed_certificate_is_told_from_one_of_an_unknown_authority() {
    let tls = trusting(&Authority::new());
    let error = client_error(&tls, &Authority::new().issue(NAME), NAME).await;
    assert!(matches!(error, TlsError::UnknownAuthority), "{error:?}");
    for is_authority in [false, true] {
        let error = client_error(&tls, &self_signed(NAME, is_authority), NAME).await;
        assert!(matches!(error, TlsError::SelfSigned), "{error:?}");
        assert_eq!(error.to_string(), "certificate is self-signed and not trusted");
    }
}

#[tokio::test]
async fn row_20_verification_ends_only_by_the_dangerous_setting() {
    let identity = self_signed("other.test", true);
    let any = TlsConnector::builder().danger_accept_any_certificate().build().expect("valid");
    let (client, server) = handshakes(&any, &acceptor(&identity), NAME).await;
    let (client, server) = (client.expect("accepted"), server.expect("accepted"));
    assert_eq!(server.server_name(), Some(NAME));
    assert_eq!((client.server_name(), client.peer_certificates().expect("a certificate").len()), (None, 1));
    assert!(server.peer_certificates().is_none());

    // The system's authorities do not include the test's.
    match TlsConnector::new() {
        Ok(system) => {
            let error = client_error(&system, &Authority::new().issue(NAME), NAME).await;
            assert!(matches!(error, TlsError::UnknownAuthority), "{error:?}");
        }
        Err(error) => assert!(matches!(error, TlsError::NoRoots), "{error:?}"),
    }
}

#[tokio::test]
async fn authorities_can_be_added_to_those_of_the_system() {
    let authority = Authority::new();
    let tls = TlsConnector::builder().roots(authority.pem()).build().expect("valid");
    let (client, server) = handshakes(&tls, &acceptor(&authority.issue(NAME)), NAME).await;
    client.expect("trusted");
    server.expect("trusted");
}

#[tokio::test]
async fn a_pinned_name_is_verified_in_place_of_the_host() {
    let authority = Authority::new();
    let pinned =
        TlsConnector::builder().only_roots(authority.pem()).server_name(NAME).build().expect("valid");
    let address = echo_server(acceptor(&authority.issue(NAME))).await;
    let client = Client::default().tls(pinned);
    let (mut ws, _) = client.connect(format!("wss://{address}/")).await.expect("connected");
    echo(&mut ws, "hello").await;
    let error = Client::default().tls(trusting(&authority)).connect(format!("wss://{address}/")).await;
    assert!(matches!(error.map(drop), Err(Error::Tls(error)) if matches!(*error, TlsError::WrongName)));
}

#[tokio::test]
async fn an_address_in_a_certificate_is_verified() {
    let authority = Authority::new();
    let address = echo_server(acceptor(&authority.issue("127.0.0.1"))).await;
    let client = Client::default().tls(trusting(&authority));
    client.connect(format!("wss://{address}/")).await.expect("connected");
}

/// Requires clients to present a certificate of this authority.
fn requiring(authority: &Authority, identity: &Identity) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM"))
        .expect("valid");
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("supported")
        .with_client_cert_verifier(verifier.build().expect("valid"))
        .with_single_cert(
            vec![rustls::pki_types::CertificateDer::from_pem_slice(identity.chain.as_bytes()).expect("PEM")],
            rustls::pki_types::PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM"),
        )
        .expect("valid");
    TlsAcceptor::from_config(Arc::new(config))
}

#[tokio::test]
async fn a_client_presents_its_certificate() {
    let authority = Authority::new();
    let address = echo_server(requiring(&authority, &authority.issue(NAME))).await;
    let target = format!("wss://{NAME}:{}/", address.port());
    let own = authority.issue("client.test");
    let tls = TlsConnector::builder().only_roots(authority.pem()).client_certificate(&own.chain, &own.key);
    let (mut ws, _) = local(tls.build().expect("valid")).connect(&target).await.expect("connected");
    echo(&mut ws, "hello").await;

    let error = local(trusting(&authority)).connect(&target).await.map(drop).expect_err("no certificate");
    let Error::Tls(error) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), "peer ended the TLS connection with the alert CertificateRequired");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_an_error_that_says_so() {
    let authority = Authority::new();
    let (mut client, server) = duplex(1000);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("written");
    let error = acceptor(&authority.issue(NAME)).accept(server).await.map(drop).expect_err("not TLS");
    assert!(matches!(&error, Error::Tls(error) if matches!(**error, TlsError::NotTls)), "{error:?}");
    assert_eq!(error.to_string(), "peer does not speak TLS, possibly plain HTTP");
}

#[tokio::test]
async fn tls_on_the_plain_port_is_an_error_that_says_so_at_both_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let client = local(trusting(&Authority::new()));
    let (connected, accepted) = tokio::join!(client.connect(format!("wss://{NAME}:{port}/")), async {
        fullduplex::accept(listener.accept().await.expect("a client").0).await
    });
    assert!(matches!(connected.map(drop), Err(Error::Tls(error)) if matches!(*error, TlsError::NotTls)));
    let error = accepted.map(drop).expect_err("not HTTP");
    assert!(format!("{error:#}").contains("TLS"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_dropped_at_the_deadline_of_the_handshake() {
    let authority = Authority::new();
    let (_client, server) = duplex(1000);
    let started = tokio::time::Instant::now();
    let result = acceptor(&authority.issue(NAME)).accept(server).await;
    assert!(matches!(result.map(drop), Err(Error::Timeout(Timeout::Handshake))));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_the_hello_ends_at_the_connect_timeout() {
    let (keep, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let client = Client::default().tls(trusting(&Authority::new())).connector(move |_, _| {
        let (ours, theirs) = duplex(10_000);
        keep.send(theirs).expect("the test keeps it");
        async { Ok(ours) }
    });
    let started = tokio::time::Instant::now();
    let result = client.connect(format!("wss://{NAME}/")).await;
    assert!(matches!(result.map(drop), Err(Error::Timeout(Timeout::Connect))));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    assert!(kept.try_recv().is_ok());
}

/// Opens a connection over TLS in memory; the second transport is that of the server.
async fn opened(config: &Config) -> (WebSocket<TlsStream<DuplexStream>>, TlsStream<DuplexStream>) {
    let authority = Authority::new();
    let (client, server) = handshakes(&trusting(&authority), &acceptor(&authority.issue(NAME)), NAME).await;
    let (client, mut server) = (client.expect("valid"), server.expect("valid"));
    let opening = Client::new(config.clone());
    let (client, _) = tokio::join!(opening.handshake("wss://server.test/", client), async {
        let mut request = vec![0; 2000];
        let len = server.read(&mut request).await.expect("a request");
        let request = String::from_utf8_lossy(&request[..len]).into_owned();
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            fullduplex::handshake::accept_key(key.as_bytes())
        );
        server.write_all(response.as_bytes()).await.expect("written");
    });
    (client.expect("opened").0, server)
}

#[tokio::test]
async fn row_50_an_end_without_close_notify_is_an_ordinary_end() {
    // Before a Close: the peer is gone.
    let (mut ws, server) = opened(&Config::new()).await;
    drop(server);
    let error = ws.recv().await.expect_err("no Close was received");
    assert!(matches!(error, Error::Protocol(ProtocolError::EofWithoutClose)), "{error:?}");
    assert!(matches!(ws.recv().await, Ok(None)), "the error is returned once");

    // After the closing handshake: it was clean.
    let (mut ws, mut server) = opened(&Config::new()).await;
    server.write_all(b"\x88\x02\x03\xE8").await.expect("written");
    let (closed, _) = tokio::join!(ws.recv(), async {
        let mut answer = [0; 8];
        server.read_exact(&mut answer).await.expect("a Close");
        drop(server);
    });
    assert!(matches!(closed, Ok(None)));
}

/// RFC 6455 section 7.1.1.
#[tokio::test]
async fn the_closing_handshake_ends_the_tls_session_of_both_ends() {
    // Without `close_notify`, reading to the end would fail.
    let (mut ws, mut server) = opened(&Config::new()).await;
    let (closed, read) = tokio::join!(ws.close(CloseCode::NORMAL, ""), async {
        server.read_exact(&mut [0; 8]).await.expect("a Close");
        server.write_all(b"\x88\x02\x03\xE8").await.expect("written");
        server.shutdown().await.expect("written");
        server.read_to_end(&mut Vec::new()).await
    });
    closed.expect("closed cleanly");
    assert_eq!(read.expect("close_notify"), 0);

    let authority = Authority::new();
    let (client, server) = handshakes(&trusting(&authority), &acceptor(&authority.issue(NAME)), NAME).await;
    let (mut client, server) = (client.expect("valid"), server.expect("valid"));
    let mut ws =
        WebSocket::from_raw(server, Bytes::new(), Role::Server, &Config::new(), Negotiated::default());
    let (closed, read) = tokio::join!(ws.close(CloseCode::NORMAL, ""), async {
        client.read_exact(&mut [0; 4]).await.expect("a Close");
        client.write_all(b"\x88\x82\0\0\0\0\x03\xE8").await.expect("written");
        let read = client.read_to_end(&mut Vec::new()).await;
        client.shutdown().await.expect("written");
        read
    });
    closed.expect("closed cleanly");
    assert_eq!(read.expect("close_notify"), 0);
}

#[tokio::test]
async fn row_18_a_redirect_from_wss_to_ws_is_not_followed() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.issue(NAME));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let server = tokio::spawn(async move {
        let tls = acceptor.accept(listener.accept().await.expect("a client").0).await.expect("TLS");
        let pending = fullduplex::Server::default().read_request(tls).await.expect("a request");
        let response =
            http::Response::builder().status(302).header("Location", "http://server.test/").body("");
        pending.reject(response.expect("valid")).await
    });
    let client = local(trusting(&authority)).max_redirects(5);
    let error = client.connect(format!("wss://{NAME}:{port}/")).await.map(drop).expect_err("not followed");
    let Error::Response(fault) = &error else { panic!("{error:?}") };
    assert!(matches!(**fault, ResponseError::Redirect(_, RedirectFault::Downgrade)), "{error:?}");
    server.await.expect("no panic").expect("written");
}

#[tokio::test]
async fn a_record_that_is_not_tls_fails_an_open_connection_with_a_tls_error() {
    let authority = Authority::new();
    let (client, mut near) = duplex(16 << 10);
    let (mut far, server) = duplex(16 << 10);
    let (inject, injected) = tokio::sync::oneshot::channel();
    let line = tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => panic!("an end has closed"),
            _ = injected => near.write_all(&[0xFF; 64]).await.expect("written"),
        }
        (near, far)
    });
    let (trusting, acceptor) = (trusting(&authority), acceptor(&authority.issue(NAME)));
    let (client, server) = tokio::join!(trusting.connect(NAME, client), acceptor.accept(server));
    let (client, server) = (client.expect("valid"), server.expect("valid"));
    let opening = Client::default();
    let (opened, accepted) =
        tokio::join!(opening.handshake("wss://server.test/", client), fullduplex::accept(server));
    let (mut ws, _server) = (opened.expect("opened").0, accepted.expect("accepted"));
    inject.send(()).expect("the line is open");
    let error = ws.recv().await.expect_err("not TLS");
    assert!(matches!(&error, Error::Tls(_)), "{error:?}");
    drop(line);
}

#[test]
fn invalid_settings_are_returned_by_build() {
    let pem = self_signed(NAME, false);
    let builder = TlsConnector::builder;
    assert!(matches!(builder().roots("no PEM").build(), Err(TlsError::Pem(_))));
    assert!(matches!(builder().client_certificate(&pem.chain, "no key").build(), Err(TlsError::Pem(_))));
    assert!(matches!(builder().server_name("not a name").build(), Err(TlsError::ServerName(_))));
    let other = self_signed(NAME, false);
    let mixed = builder().only_roots(&pem.chain).client_certificate(&pem.chain, &other.key).build();
    assert!(matches!(mixed, Err(TlsError::Settings(_))), "{mixed:?}");
    assert!(matches!(TlsAcceptor::from_pem("", &pem.key), Err(TlsError::Pem(_))));
    assert!(matches!(TlsAcceptor::from_pem(&pem.chain, &other.key), Err(TlsError::Settings(_))));
}

#[test]
fn debug_output_contains_no_private_key() {
    let pem = self_signed(NAME, false);
    let secret = pem.key.lines().nth(1).expect("base64");
    let builder = TlsConnector::builder().only_roots(&pem.chain).client_certificate(&pem.chain, &pem.key);
    let mut shown = format!("{builder:?}");
    shown += &format!("{:?} {:?}", builder.build().expect("valid"), acceptor(&pem));
    assert!(!shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
}

#[tokio::test]
async fn a_reset_during_the_handshake_is_an_error_of_the_transport() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move { drop(listener.accept().await.expect("a client")) });
    let tcp = TcpStream::connect(address).await.expect("connected");
    let error = trusting(&Authority::new()).connect(NAME, tcp).await.map(drop).expect_err("it ended");
    let Error::Transport(error) = error else { panic!("{error:?}") };
    assert!(
        matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset),
        "{error:?}"
    );
    server.await.expect("no panic");
}

/// Prints whether the default connector can be created. The next test runs it in another process.
#[test]
fn the_default_connector() {
    let created = TlsConnector::new();
    println!("default connector: {}", created.map_or_else(|error| error.to_string(), |_| "created".into()));
}

// On other systems, the variables have no effect.
#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_authorities_uses_those_of_mozilla_or_names_the_feature() {
    let empty = std::env::temp_dir().join(format!("fullduplex-roots-{}", std::process::id()));
    std::fs::create_dir_all(&empty).expect("a directory");
    let output = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "the_default_connector", "--nocapture"])
        .env("SSL_CERT_DIR", &empty)
        .env("SSL_CERT_FILE", empty.join("absent"))
        .output()
        .expect("it runs");
    std::fs::remove_dir_all(&empty).expect("removed");
    let printed = String::from_utf8_lossy(&output.stdout);
    let expected = if cfg!(feature = "tls-webpki-roots") {
        "default connector: created"
    } else {
        "default connector: no CA certificates found on this machine: install them, or enable the feature \
         tls-webpki-roots"
    };
    assert!(printed.contains(expected), "{printed}");
}
