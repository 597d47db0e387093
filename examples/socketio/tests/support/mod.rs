//! A server on a real socket, and clients for it.

#![allow(dead_code, reason = "each test uses a part")]

pub mod socket;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use fullduplex::{Config, Message, WebSocket};
use http_body_util::BodyExt;
use hyper::{HeaderMap, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// The time after which a test that hangs fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub type Client = WebSocket<fullduplex::ClientStream>;

/// Serves routes on a port of its own, until the runtime ends.
pub async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("known");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Serves routes that know the addresses of clients.
pub async fn serve_with_addresses(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("known");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// Notes what happens.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub fn add(&self, note: impl Into<String>) {
        self.0.lock().expect("no panic").push(note.into());
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().expect("no panic").is_empty()
    }

    pub async fn next(&self) -> String {
        eventually(|| self.try_next()).await
    }

    pub fn try_next(&self) -> Option<String> {
        let mut notes = self.0.lock().expect("no panic");
        (!notes.is_empty()).then(|| notes.remove(0))
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}

/// Sends a request over a connection of its own.
pub async fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: impl Into<String>,
) -> Response {
    let mut request = Request::builder().method(method).uri(target).header("Host", address.to_string());
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("valid");
    let exchange = async {
        let tcp = TcpStream::connect(address).await.expect("connects");
        let (mut sending, connection) = http1::handshake(TokioIo::new(tcp)).await.expect("HTTP");
        tokio::spawn(connection);
        let response = sending.send_request(request).await.expect("a response");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("complete").to_bytes();
        let body = String::from_utf8(body.into()).expect("text");
        Response { status: head.status.as_u16(), headers: head.headers, body }
    };
    timeout(DEADLINE, exchange).await.expect("in time")
}

/// A client of Engine.IO that polls.
#[derive(Debug, Clone)]
pub struct Poller {
    pub address: SocketAddr,
    pub path: &'static str,
    pub sid: String,
}

impl Poller {
    pub async fn open(address: SocketAddr, path: &'static str) -> Self {
        let response = request(address, "GET", &format!("{path}?EIO=4&transport=polling"), &[], "").await;
        assert_eq!(response.status, 200, "{response:?}");
        let open = response.body.strip_prefix('0').expect("an open packet");
        let open: Value = serde_json::from_str(open).expect("JSON");
        let sid = open["sid"].as_str().expect("an id").to_owned();
        Self { address, path, sid }
    }

    pub fn target(&self) -> String {
        format!("{}?EIO=4&transport=polling&sid={}", self.path, self.sid)
    }

    pub async fn get(&self) -> Response {
        request(self.address, "GET", &self.target(), &[], "").await
    }

    /// Polls, and returns the payload.
    pub async fn poll(&self) -> String {
        let response = self.get().await;
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    }

    pub async fn post(&self, payload: &str) -> Response {
        request(self.address, "POST", &self.target(), &[], payload).await
    }

    /// Posts a payload that is accepted.
    pub async fn send(&self, payload: &str) {
        let response = self.post(payload).await;
        assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    }

    /// Opens a WebSocket connection for the session, and sends the probe.
    pub async fn probe(&self) -> Client {
        let mut ws = connect_to(self.address, self.path, Some(&self.sid)).await;
        ws.send("2probe").await.expect("open");
        assert_eq!(text(&mut ws).await, "3probe");
        ws
    }
}

/// Opens a WebSocket connection.
pub async fn connect_to(address: SocketAddr, path: &str, sid: Option<&str>) -> Client {
    let sid = sid.map_or(String::new(), |sid| format!("&sid={sid}"));
    let url = format!("ws://{address}{path}?EIO=4&transport=websocket{sid}");
    // Its own pings would make the server write.
    let client = fullduplex::Client::new(Config::new().ping_interval(None));
    let (ws, _response) = client.connect(&*url).await.expect("connects");
    ws
}

/// Opens a session over WebSocket. Returns the parameters of the session too.
pub async fn open_ws(address: SocketAddr, path: &str) -> (Client, Value) {
    let mut ws = connect_to(address, path, None).await;
    let open = text(&mut ws).await;
    let open = serde_json::from_str(open.strip_prefix('0').expect("an open packet")).expect("JSON");
    (ws, open)
}

/// Receives a message, whatever it is.
pub async fn message<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocket<S>) -> Option<Message> {
    timeout(DEADLINE, ws.recv()).await.expect("in time").expect("no error")
}

/// Receives a message of text.
pub async fn text<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocket<S>) -> String {
    let message = message(ws).await.expect("a message");
    message.into_text().expect("text").as_str().to_owned()
}

/// Waits for the end of a connection. Returns the close code, if there was one.
pub async fn closed(ws: &mut Client) -> Option<u16> {
    loop {
        match timeout(DEADLINE, ws.recv()).await.expect("in time") {
            Ok(Some(_)) => {}
            Ok(None) => return ws.close_frame().map(|frame| frame.code().into()),
            Err(_) => return None,
        }
    }
}

/// Waits until a function returns something.
pub async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    eventually_async(async || ask()).await
}

/// Waits until an async function returns something.
pub async fn eventually_async<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, asking).await.expect("in time")
}

/// A request that is sent in part.
#[derive(Debug)]
pub struct Begun(TcpStream);

impl Begun {
    /// Sends more of it.
    pub async fn send(&mut self, part: &[u8]) {
        self.0.write_all(part).await.expect("open");
    }

    /// Returns all that the server sends.
    pub async fn all(mut self) -> Vec<u8> {
        let mut answer = Vec::new();
        timeout(DEADLINE, self.0.read_to_end(&mut answer)).await.expect("in time").expect("open");
        answer
    }

    /// Returns what the server answers, until it ends the connection or waits.
    pub async fn answer(mut self) -> String {
        let mut answer = vec![0; 4096];
        let read = timeout(DEADLINE, self.0.read(&mut answer)).await.expect("in time").expect("open");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }
}

/// Begins a POST of which only a part of the body is sent.
pub async fn begin_post(session: &Poller, len: usize, part: &str) -> Begun {
    let target = session.target();
    begin(session, &format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{part}")).await
}

/// Begins a poll.
pub async fn begin_get(session: &Poller) -> Begun {
    let begun = begin(session, &format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", session.target())).await;
    // It has arrived once another one is refused; that would end the session. So this waits instead
    // until the server has read it: nothing is left in the socket.
    tokio::time::sleep(Duration::from_millis(50)).await;
    begun
}

/// Begins a request with these bytes.
pub async fn begin(session: &Poller, bytes: &str) -> Begun {
    let mut tcp = TcpStream::connect(session.address).await.expect("connects");
    tcp.write_all(bytes.as_bytes()).await.expect("open");
    Begun(tcp)
}
