//! The same over HTTP/2, in the clear.

mod support;

use std::net::SocketAddr;

use fullduplex::Client;
use http_body_util::BodyExt;
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use socketio::{Args, Io, Namespace};
use support::{serve, text};
use tokio::net::TcpStream;

async fn start() -> SocketAddr {
    let echo = Namespace::new("/").on("ask", |_socket, arguments: Args<Vec<Value>>| async { arguments });
    serve(Io::builder().namespace(echo).build().routes()).await
}

/// A client of HTTP/2.
struct Requests {
    address: SocketAddr,
    sending: http2::SendRequest<String>,
}

impl Requests {
    async fn open(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("connects");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp));
        let (sending, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        Self { address, sending }
    }

    async fn send(&mut self, method: &str, query: &str, body: &str) -> String {
        let uri = format!("http://{}/socket.io/?{query}", self.address);
        let request = Request::builder().method(method).uri(uri).body(body.to_owned()).expect("valid");
        let response = self.sending.send_request(request).await.expect("a response");
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.expect("complete").to_bytes();
        String::from_utf8(body.into()).expect("text")
    }
}

#[tokio::test]
async fn a_session_polls_and_is_upgraded_over_http2() {
    let address = start().await;
    let mut requests = Requests::open(address).await;
    let open = requests.send("GET", "EIO=4&transport=polling", "").await;
    let open: Value = serde_json::from_str(&open[1..]).expect("JSON");
    let query = format!("EIO=4&transport=polling&sid={}", open["sid"].as_str().expect("an id"));
    assert_eq!(requests.send("POST", &query, "40").await, "ok");
    assert!(requests.send("GET", &query, "").await.starts_with("40{"));

    let streams = Client::default().http2(&*format!("ws://{address}")).await.expect("HTTP/2");
    let url = format!("ws://{address}/socket.io/?{}", query.replace("polling", "websocket"));
    let (mut ws, _response) = streams.connect(&*url).await.expect("opens");
    ws.send("2probe").await.expect("open");
    assert_eq!(text(&mut ws).await, "3probe");
    ws.send("5").await.expect("open");
    ws.send(r#"421["ask",1]"#).await.expect("open");
    assert_eq!(text(&mut ws).await, "431[1]");
}

#[tokio::test]
async fn a_session_begins_with_websocket_over_http2() {
    let address = start().await;
    let streams = Client::default().http2(&*format!("ws://{address}")).await.expect("HTTP/2");
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut ws, _response) = streams.connect(&*url).await.expect("opens");
    assert!(text(&mut ws).await.starts_with("0{"));
    ws.send("40").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40{"));
}
