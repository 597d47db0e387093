//! Starts the server, opens connections, and reads the metrics as Prometheus does.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fullduplex::{CloseCode, WebSocket};

const DEADLINE: Duration = Duration::from_secs(60);

/// The server, which is killed when this is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_metrics"))
            .args(["--listen", "127.0.0.1:0", "--max-connections-per-address", "2"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("built");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ws://").expect("the address").to_owned();
        Self { child, address }
    }

    /// Returns the response to a request.
    fn get(&self, path: &str) -> String {
        let mut tcp = TcpStream::connect(&self.address).expect("it listens");
        tcp.set_read_timeout(Some(DEADLINE)).expect("open");
        write!(tcp, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("open");
        let mut response = String::new();
        tcp.read_to_string(&mut response).expect("text");
        response
    }

    async fn connect(&self) -> Result<WebSocket<fullduplex::ClientStream>, fullduplex::Error> {
        fullduplex::connect(&format!("ws://{}/", self.address)).await.map(|(ws, _)| ws)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn assert_has(response: &str, lines: &[&str]) {
    for line in lines {
        assert!(response.lines().any(|found| found == *line), "no {line:?} in:\n{response}");
    }
}

#[tokio::test]
async fn the_metrics_are_scraped_from_the_port_of_the_server() {
    let server = Server::start();
    let (mut first, mut second) =
        (server.connect().await.expect("accepted"), server.connect().await.expect("accepted"));
    let refused = server.connect().await.expect_err("two are open");
    assert_eq!(refused.response().expect("an answer").status(), 503);
    first.send("hello").await.expect("open");
    first.recv().await.expect("valid").expect("the echo");
    let response = server.get("/metrics");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert_has(
        &response,
        &[
            "# TYPE websocket_open gauge",
            "websocket_open 2",
            "websocket_opened_total 2",
            "websocket_refused_total{reason=\"connections_per_key\"} 1",
            "websocket_messages_received_total 0",
            "# EOF",
        ],
    );

    first.close(CloseCode::NORMAL, "").await.expect("a clean end");
    second.close(CloseCode::from(4321), "").await.expect("a clean end");
    let response = loop {
        // The tasks of the server end after the connections.
        let response = server.get("/metrics");
        if response.contains("\nwebsocket_open 0\n") {
            break response;
        }
    };
    assert_has(
        &response,
        &[
            "websocket_closed_total{code=\"1000\"} 1",
            "websocket_closed_total{code=\"4xxx\"} 1",
            "websocket_messages_received_total 1",
            "websocket_messages_sent_total 1",
            "websocket_bytes_sent_total 15",
        ],
    );
    assert!(server.get("/other").starts_with("HTTP/1.1 404 "));
}
