//! Connecting: name lookup, addresses in turn, connectors, redirects.

mod support;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use fullduplex::{Client, Error, RedirectFault, ResponseError, Server, Target, Timeout};
use http::{HeaderMap, Response};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

// --- over TCP

#[tokio::test]
async fn a_client_connects_to_a_server_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let target = format!("ws://{}/room", listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a client");
        Server::default().subprotocols(["chat"]).read_request(tcp).await?.accept().await
    });
    let target = Target::try_from(target).expect("valid");
    let (ws, response) = Client::default().subprotocol("chat").connect(&target).await.expect("connected");
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    assert!(ws.get_ref().tcp().expect("TCP").nodelay().expect("open"));
    server.await.expect("no panic").expect("accepted");
}

#[tokio::test]
async fn user_and_password_of_the_uri_are_sent_unless_the_program_sets_authorization() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let target = format!("ws://ann:p%40ss@{}/room", listener.local_addr().expect("bound"));
    for (client, sent) in [
        (Client::default(), "Basic YW5uOnBAc3M="),
        (Client::default().header("Authorization", "Bearer x"), "Bearer x"),
    ] {
        let (opened, pending) = tokio::join!(client.connect(&target), async {
            let (tcp, _) = listener.accept().await.expect("a client");
            let pending = Server::default().read_request(tcp).await.expect("a request");
            let headers = pending.request().headers().clone();
            let path = pending.request().uri().to_string();
            pending.accept().await.map(|_| (headers, path))
        });
        opened.expect("connected");
        let (headers, path) = pending.expect("accepted");
        let values = headers.get_all("authorization").iter().collect::<Vec<_>>();
        assert_eq!(values, [sent]);
        assert_eq!(path, "/room");
        assert!(!headers["host"].to_str().expect("text").contains("ann"));
    }
}

#[tokio::test]
async fn a_client_dials_from_the_address_that_is_set() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    // On other systems than Linux, the loopback interface has a single address.
    let own = Ipv4Addr::new(127, 0, 0, if cfg!(target_os = "linux") { 2 } else { 1 });
    assert_eq!(Client::default().get_local_address(), None);
    let client = Client::default().local_address((own, 0));
    assert_eq!(client.get_local_address(), Some((own, 0).into()));
    // The name resolves to addresses of both families, or of the dialed one.
    let target = format!("ws://localhost:{port}/");
    let (opened, peer) = tokio::join!(client.connect(&target), async {
        let (tcp, peer) = listener.accept().await.expect("a client");
        fullduplex::accept(tcp).await.map(|_| peer)
    });
    let (ws, _) = opened.expect("connected");
    assert_eq!(peer.expect("accepted").ip(), own);
    assert_eq!(ws.get_ref().tcp().expect("TCP").local_addr().expect("connected").ip(), own);

    let other = Client::default().local_address((Ipv6Addr::LOCALHOST, 0));
    let result = other.connect(format!("ws://127.0.0.1:{port}/")).await.map(drop);
    assert!(
        matches!(&result, Err(Error::Transport(error)) if error.kind() == io::ErrorKind::NotFound),
        "{result:?}"
    );
}

// Linux does not answer a connection attempt while the listener's backlog is full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn dialing_has_its_own_deadline() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("valid")).expect("bound");
    let listener = socket.listen(1).expect("listens");
    let address = listener.local_addr().expect("bound");
    let fill = (0..8).map(|_| tokio::spawn(TcpStream::connect(address))).collect::<Vec<_>>();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(Client::default().get_connect_timeout(), Some(Duration::from_secs(10)));
    let client = Client::default().connect_timeout(Duration::from_millis(50));
    assert_eq!(client.get_connect_timeout(), Some(Duration::from_millis(50)));
    let result = client.connect(format!("ws://{address}/")).await;
    assert!(matches!(result, Err(Error::Timeout(Timeout::Connect))), "{result:?}");
    fill.iter().for_each(tokio::task::JoinHandle::abort);
}

// --- addresses in turn (RFC 8305)

/// A listener that accepts nothing, and whose backlog is full: Linux drops further attempts.
#[cfg(target_os = "linux")]
struct Blackhole {
    address: SocketAddr,
    _listener: TcpListener,
    fill: Vec<tokio::task::JoinHandle<io::Result<TcpStream>>>,
}

#[cfg(target_os = "linux")]
impl Blackhole {
    async fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(address).expect("bound");
        let listener = socket.listen(1).expect("listens");
        let address = listener.local_addr().expect("bound");
        let fill = (0..8).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        Self { address, _listener: listener, fill }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Blackhole {
    fn drop(&mut self) {
        self.fill.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Resolves every name to these addresses.
fn resolving(addresses: &[[u8; 4]]) -> Client {
    let addresses: Vec<_> = addresses.iter().map(|octets| IpAddr::from(*octets)).collect();
    Client::default().resolver(move |_host| {
        let addresses = addresses.clone();
        async move { Ok(addresses) }
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn row_74_the_next_address_is_tried_after_250_ms_if_the_first_drops_every_packet() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let hole = Blackhole::at(SocketAddr::from(([127, 0, 0, 2], port))).await;
    assert_eq!(hole.address.port(), port);
    let client = resolving(&[[127, 0, 0, 2], [127, 0, 0, 1]]);
    let started = std::time::Instant::now();
    let (opened, accepted) = tokio::join!(client.connect(format!("ws://server.test:{port}/")), async {
        let (tcp, _) = listener.accept().await.expect("a client");
        fullduplex::accept(tcp).await
    });
    let elapsed = started.elapsed();
    let (ws, _) = opened.expect("the second address accepts");
    accepted.expect("a request");
    assert_eq!(ws.get_ref().tcp().expect("TCP").peer_addr().expect("connected").ip(), Ipv4Addr::LOCALHOST);
    // The first address has had its time, and not the whole of `connect_timeout`.
    assert!(elapsed >= Duration::from_millis(250), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?}");
}

#[tokio::test]
async fn a_refused_address_does_not_delay_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let dead = [[127, 0, 0, 1], [127, 0, 0, 1]];
    let refused = TcpListener::bind("127.0.0.1:0").await.expect("bound").local_addr().expect("bound").port();
    let error = resolving(&dead).connect(format!("ws://server.test:{refused}/")).await.expect_err("refused");
    let Error::Transport(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains(&format!("127.0.0.1:{refused}")), "{error}");
    let client = resolving(&[[127, 0, 0, 1]]);
    let (opened, _) = tokio::join!(client.connect(format!("ws://server.test:{port}/")), async {
        fullduplex::accept(listener.accept().await.expect("a client").0).await
    });
    opened.expect("connected");
}

#[tokio::test]
async fn an_error_of_the_resolver_names_the_host() {
    let failing = Client::default().resolver(|_| async { Err(io::Error::other("no such name")) });
    let error = failing.connect("ws://server.test/").await.map(drop).expect_err("it does not resolve");
    assert!(matches!(error, Error::Transport(_)));
    assert_eq!(format!("{error:#}"), "transport failed: cannot resolve server.test: no such name");
    let error = resolving(&[]).connect("ws://server.test/").await.map(drop).expect_err("no address");
    assert_eq!(format!("{error:#}"), "transport failed: host has no address");
}

#[tokio::test]
async fn a_host_that_is_an_address_is_not_resolved() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let client = Client::default().resolver(|host| async move { panic!("{host} is resolved") });
    let target = format!("ws://{}/", listener.local_addr().expect("bound"));
    let (opened, _) = tokio::join!(client.connect(target), async {
        fullduplex::accept(listener.accept().await.expect("a client").0).await
    });
    opened.expect("connected");
}

// --- connectors

#[tokio::test]
async fn a_connector_returns_any_stream_and_is_called_with_host_and_port() {
    let called = Arc::new(Mutex::new(Vec::new()));
    let seen = called.clone();
    let (server, mut servers) = tokio::sync::mpsc::unbounded_channel();
    let client = Client::default().connector(move |host, port| {
        seen.lock().expect("no panic").push((host, port));
        let (ours, theirs) = tokio::io::duplex(1000);
        server.send(theirs).expect("the test receives");
        async move { Ok(ours) }
    });
    let (opened, accepted) = tokio::join!(client.connect("ws://Server.test/a"), async {
        fullduplex::accept(servers.recv().await.expect("connected")).await
    });
    let (ws, _) = opened.expect("connected");
    accepted.expect("a request");
    assert!(ws.get_ref().tcp().is_none());
    assert_eq!(*called.lock().expect("no panic"), [("server.test".to_owned(), 80)]);
    assert_eq!(format!("{:?}", ws.get_ref()), "ClientStream { .. }");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_can_be_connected_to() {
    let directory = std::env::temp_dir().join(format!("fullduplex-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("socket");
    let listener = tokio::net::UnixListener::bind(&path).expect("bound");
    let client = Client::default().connector({
        let path = path.clone();
        move |_, _| tokio::net::UnixStream::connect(path.clone())
    });
    let (opened, accepted) = tokio::join!(client.connect("ws://localhost/"), async {
        fullduplex::accept(listener.accept().await.expect("a client").0).await
    });
    let ((mut ws, _), mut server) = (opened.expect("connected"), accepted.expect("a request"));
    ws.send("over a Unix socket").await.expect("open");
    assert_eq!(server.recv().await.expect("valid").expect("a message").as_text(), Some("over a Unix socket"));
    std::fs::remove_dir_all(directory).expect("removed");
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_hangs_ends_at_the_connect_timeout() {
    let client = Client::default().connector(|_, _| std::future::pending::<io::Result<TcpStream>>());
    let started = tokio::time::Instant::now();
    let result = client.connect("ws://server.test/").await;
    assert!(matches!(result, Err(Error::Timeout(Timeout::Connect))), "{result:?}");
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn without_tls_a_wss_target_is_refused_before_anything_is_dialed() {
    let client = Client::default().connector(|_, _| async { panic!("dialed") as io::Result<TcpStream> });
    let error = client.connect("wss://server.test/").await.map(drop).expect_err("no TLS");
    assert!(matches!(error, Error::InvalidHandshake(_)), "{error:?}");
}

// --- redirects

/// A server that redirects, on each connection to the next location, and then accepts. Returns its
/// address, and the requests that it receives.
async fn redirecting(
    status: u16,
    locations: Vec<String>,
) -> (SocketAddr, Arc<Mutex<Vec<(String, HeaderMap)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let received = requests.clone();
    tokio::spawn(async move {
        let mut locations = locations.into_iter();
        while let Ok((tcp, _)) = listener.accept().await {
            let pending = Server::default().read_request(tcp).await.expect("a request");
            let request = pending.request();
            received.lock().expect("no panic").push((request.uri().to_string(), request.headers().clone()));
            match locations.next() {
                Some(location) => {
                    let response =
                        Response::builder().status(status).header("Location", location).body("moved");
                    pending.reject(response.expect("valid")).await.expect("written");
                }
                None => drop(pending.accept().await.expect("accepted")),
            }
        }
    });
    (address, requests)
}

fn paths(requests: &Mutex<Vec<(String, HeaderMap)>>) -> Vec<String> {
    requests.lock().expect("no panic").iter().map(|(path, _)| path.clone()).collect()
}

fn with_credentials() -> Client {
    let mut token = http::HeaderValue::from_static("secret");
    token.set_sensitive(true);
    Client::default()
        .header("Authorization", "Bearer secret")
        .header("Cookie", "id=secret")
        .header("X-Token", token)
        .header("X-Public", "shown")
}

#[tokio::test]
async fn row_18_redirects_are_not_followed_by_default() {
    let (address, requests) = redirecting(302, vec!["/b".into()]).await;
    let error =
        Client::default().connect(format!("ws://{address}/a")).await.map(drop).expect_err("redirected");
    assert!(matches!(&error, Error::Response(error) if matches!(**error, ResponseError::Status(_))));
    assert_eq!(error.response().expect("it has answered").headers()["location"], "/b");
    assert_eq!(paths(&requests), ["/a"]);
}

#[tokio::test]
async fn row_18_a_redirect_to_the_same_origin_keeps_credentials() {
    for status in [301, 302, 303, 307, 308] {
        let (address, requests) = redirecting(status, vec!["b?c".into()]).await;
        let target = format!("ws://ann:pw@{address}/a");
        Client::default().header("Cookie", "id=1").max_redirects(1).connect(target).await.expect("followed");
        assert_eq!(paths(&requests), ["/a", "/b?c"]);
        for (_, headers) in &*requests.lock().expect("no panic") {
            assert_eq!(
                (&headers["authorization"], &headers["cookie"]),
                (&"Basic YW5uOnB3".parse().expect("valid"), &"id=1".parse().expect("valid"))
            );
        }
    }
}

#[tokio::test]
async fn row_18_a_redirect_to_another_origin_drops_credentials() {
    let (other, requests) = redirecting(302, vec![]).await;
    let (first, _) = redirecting(302, vec![format!("http://{other}/b")]).await;
    with_credentials().max_redirects(3).connect(format!("ws://ann:pw@{first}/a")).await.expect("followed");
    let requests = requests.lock().expect("no panic");
    let (path, headers) = &requests[0];
    assert_eq!((requests.len(), path.as_str()), (1, "/b"));
    assert_eq!(headers["host"], other.to_string());
    assert_eq!(headers["x-public"], "shown");
    for name in ["authorization", "cookie", "x-token"] {
        assert!(!headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn row_18_the_number_of_redirects_is_limited() {
    let (address, requests) = redirecting(302, vec!["/b".into(), "/c".into(), "/d".into()]).await;
    let client = Client::default().max_redirects(2);
    let error = client.connect(format!("ws://{address}/a")).await.map(drop).expect_err("too many");
    let Error::Response(fault) = &error else { panic!("{error:?}") };
    assert!(matches!(**fault, ResponseError::Redirect(_, RedirectFault::TooMany)), "{error:?}");
    assert_eq!(error.response().expect("it has answered").headers()["location"], "/d");
    assert_eq!(error.to_string(), "redirect not followed: too many redirects");
    assert_eq!(paths(&requests), ["/a", "/b", "/c"]);
}

#[tokio::test]
async fn row_18_a_redirect_without_a_valid_location_is_not_followed() {
    for location in ["ftp://a/", "http://", "/a b", "\\\\a"] {
        let (address, _) = redirecting(307, vec![location.into()]).await;
        let client = Client::default().max_redirects(2);
        let error = client.connect(format!("ws://{address}/a")).await.map(drop).expect_err("invalid");
        let Error::Response(fault) = &error else { panic!("{error:?}") };
        assert!(matches!(**fault, ResponseError::Redirect(_, RedirectFault::Location)), "{error:?}");
    }
}

#[tokio::test]
async fn another_status_than_a_redirect_is_returned_as_it_is() {
    for status in [300, 304, 305, 404, 503] {
        let (address, requests) = redirecting(status, vec!["/b".into()]).await;
        let client = Client::default().max_redirects(2);
        let error = client.connect(format!("ws://{address}/a")).await.map(drop).expect_err("refused");
        assert_eq!(error.response().expect("it has answered").status(), status);
        assert!(matches!(&error, Error::Response(error) if matches!(**error, ResponseError::Status(_))));
        assert_eq!(paths(&requests), ["/a"]);
    }
}

// --- proxies

#[cfg(feature = "proxy")]
mod proxied {
    use fullduplex::{Message, proxy::Proxy};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        sync::mpsc,
    };

    use super::*;

    /// Returns a client whose transports go to the receiver, with the host and port it asked for.
    fn connecting(proxy: &str) -> (Client, mpsc::UnboundedReceiver<(String, u16, DuplexStream)>) {
        let (dialed, dialings) = mpsc::unbounded_channel();
        let client = Client::default().connector(move |host, port| {
            let (ours, theirs) = duplex(10_000);
            dialed.send((host, port, theirs)).expect("the test receives");
            async { Ok(ours) }
        });
        (client.proxy(proxy.parse::<Proxy>().expect("valid")), dialings)
    }

    async fn read_head(io: &mut DuplexStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.expect("a head"));
        }
        String::from_utf8(head).expect("text")
    }

    #[tokio::test]
    async fn row_19_credentials_reach_only_the_end_that_they_are_for() {
        let (client, mut dialings) = connecting("http://ann:secret@proxy.test:3128");
        let client = client.header("Cookie", "id=1");
        let (opened, ()) = tokio::join!(client.connect("ws://bob:password@server.test:9001/a"), async {
            let (host, port, mut io) = dialings.recv().await.expect("dialed");
            assert_eq!((host.as_str(), port), ("proxy.test", 3128));
            assert_eq!(
                read_head(&mut io).await,
                "CONNECT server.test:9001 HTTP/1.1\r\nHost: server.test:9001\r\n\
                 Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"
            );
            io.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.expect("written");
            let pending = Server::default().read_request(io).await.expect("a request");
            let headers = pending.request().headers();
            assert!(!headers.contains_key("proxy-authorization"));
            assert_eq!(headers["authorization"], "Basic Ym9iOnBhc3N3b3Jk");
            assert_eq!(headers["host"], "server.test:9001");
            assert_eq!(headers["cookie"], "id=1");
            pending.accept().await.expect("accepted");
        });
        opened.expect("connected");
    }

    #[tokio::test]
    async fn row_75_bytes_of_the_target_behind_the_answer_of_the_proxy_are_received() {
        let (client, mut dialings) = connecting("http://proxy.test");
        let (opened, _io) = tokio::join!(client.connect("ws://server.test/"), async {
            let (_, _, mut io) = dialings.recv().await.expect("dialed");
            read_head(&mut io).await;
            // A part of an interim response of the target, behind the answer of the proxy in one write.
            io.write_all(b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 103 Ea").await.expect("written");
            let request = read_head(&mut io).await;
            let key =
                request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            let accept = fullduplex::handshake::accept_key(key.as_bytes());
            io.write_all(
                format!(
                    "rly\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                )
                .as_bytes(),
            )
            .await
            .expect("written");
            io.write_all(b"\x81\x05hello").await.expect("written");
            io
        });
        let (mut ws, _) = opened.expect("connected");
        assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("hello")));
    }

    #[tokio::test]
    async fn row_19_a_refusal_is_an_error_with_the_response_of_the_proxy() {
        let (client, mut dialings) = connecting("http://proxy.test");
        let (opened, ()) = tokio::join!(client.connect("wss://server.test/"), async {
            let (_, port, mut io) = dialings.recv().await.expect("dialed");
            assert_eq!(port, 80);
            read_head(&mut io).await;
            io.write_all(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nno!")
                .await
                .expect("written");
        });
        let error = opened.map(drop).expect_err("refused");
        if cfg!(not(feature = "tls")) {
            assert!(matches!(error, Error::InvalidHandshake(_)), "{error:?}");
            return;
        }
        let response = error.proxy_response().expect("it has answered");
        assert_eq!((response.status().as_u16(), &response.body()[..]), (407, &b"no!"[..]));
        assert!(error.response().is_none(), "the server was not reached");
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_does_not_answer_ends_at_the_connect_timeout() {
        for proxy in ["http://proxy.test", "socks5://proxy.test", "socks4a://proxy.test"] {
            let (client, mut dialings) = connecting(proxy);
            let started = tokio::time::Instant::now();
            let result = client.connect("ws://server.test/").await.map(drop);
            assert!(matches!(result, Err(Error::Timeout(Timeout::Connect))), "{proxy}: {result:?}");
            assert_eq!(started.elapsed(), Duration::from_secs(10));
            assert!(dialings.try_recv().is_ok());
        }
    }

    /// Prints what a client dials, and its error. The next test runs it with other variables.
    #[tokio::test]
    async fn the_proxy_of_the_environment() {
        let client = Client::default().proxy_from_environment().connector(|host, port| async move {
            println!("dialed: {host} {port}");
            Err::<DuplexStream, _>(io::ErrorKind::ConnectionRefused.into())
        });
        let error = client.connect("ws://server.test/").await.map(drop).expect_err("refused");
        println!("error: {error:#}");
    }

    #[test]
    fn a_client_reads_the_environment_if_it_is_to() {
        for (variables, printed) in [
            (&[][..], "dialed: server.test 80\nerror: transport failed: connection refused"),
            (
                &[("http_proxy", "http://ann:secret@proxy.test:3128")],
                "dialed: proxy.test 3128\nerror: transport failed: proxy http://proxy.test:3128: connection refused",
            ),
            (&[("http_proxy", "proxy.test"), ("no_proxy", ".test")], "dialed: server.test 80"),
            (
                &[("all_proxy", "ftp://ann:secret@proxy.test")],
                "error: invalid proxy: environment variable all_proxy: proxy scheme is not http, https, socks5h or \
                 socks4a",
            ),
        ] {
            let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
            for name in ["ws", "socks", "https", "http", "all", "no"] {
                let name = format!("{name}_proxy");
                command.env_remove(name.to_uppercase()).env_remove(name);
            }
            let output = command
                .args(["--exact", "proxied::the_proxy_of_the_environment", "--nocapture"])
                .envs(variables.iter().copied())
                .output()
                .expect("it runs");
            let shown = String::from_utf8_lossy(&output.stdout);
            assert!(shown.contains(printed), "{variables:?}: {shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
