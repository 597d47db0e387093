//! The routes on hyper alone, without `axum::serve`, beside an answer of the program itself.

mod support;

use std::net::SocketAddr;

use hyper::{Request, Response, body::Incoming, service::Service, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::Value;
use socketio::{Args, Io, Namespace};
use support::{Poller, request, socket::connect, text};
use tokio::net::TcpListener;

const PATH: &str = "/socket.io/";

/// Serves Socket.IO below its path, and answers all other requests itself.
async fn start() -> SocketAddr {
    let namespace = Namespace::new("/").on("ask", |_socket, arguments: Args<Vec<Value>>| async { arguments });
    let routes = TowerToHyperService::new(Io::builder().namespace(namespace).build().routes());
    let service = service_fn(move |request: Request<Incoming>| {
        let is_own = !request.uri().path().starts_with(PATH);
        let routes = routes.clone();
        async move { if is_own { Ok(Response::new("the program".into())) } else { routes.call(request).await } }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("known");
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.expect("accepts");
            let service = service.clone();
            tokio::spawn(async move {
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().enable_connect_protocol();
                // A client may go at any time.
                let _ended = builder.serve_connection_with_upgrades(TokioIo::new(tcp), service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_session_polls_and_is_upgraded_on_hyper_beside_other_answers() {
    let address = start().await;
    let other = request(address, "GET", "/other", &[], "").await;
    assert_eq!((other.status, &*other.body), (200, "the program"));
    let session = Poller::open(address, PATH).await;
    session.send("40").await;
    assert!(session.poll().await.starts_with("40{"));
    session.send(r#"421["ask",1]"#).await;
    assert_eq!(session.poll().await, "431[1]");
    let mut ws = session.probe().await;
    ws.send("5").await.expect("open");
    ws.send(r#"422["ask",2]"#).await.expect("open");
    assert_eq!(text(&mut ws).await, "432[2]");
}

#[tokio::test]
async fn a_session_begins_with_websocket_on_hyper() {
    let (mut ws, _sid) = connect(start().await, "40").await;
    ws.send(r#"421["ask",1]"#).await.expect("open");
    assert_eq!(text(&mut ws).await, "431[1]");
}

#[tokio::test]
async fn a_session_begins_with_websocket_over_http2_on_hyper() {
    let address = start().await;
    let streams = fullduplex::Client::default().http2(&*format!("ws://{address}")).await.expect("HTTP/2");
    let url = format!("ws://{address}{PATH}?EIO=4&transport=websocket");
    let (mut ws, _response) = streams.connect(&*url).await.expect("opens");
    assert!(text(&mut ws).await.starts_with("0{"));
    ws.send("40").await.expect("open");
    assert!(text(&mut ws).await.starts_with("40{"));
    ws.send(r#"421["ask",1]"#).await.expect("open");
    assert_eq!(text(&mut ws).await, "431[1]");
}
