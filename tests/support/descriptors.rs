//! A server without file descriptors, in a process of its own.
#![allow(unreachable_pub, reason = "shared by test programs")]

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// The environment variable that makes this program the server.
const SERVER: &str = "FULLDUPLEX_TEST_SERVER";

/// The limit on the server's file descriptors, and the number of connections that are opened.
const DESCRIPTORS: usize = 24;
const CONNECTIONS: usize = 40;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Checks that a server, which runs out of descriptors, pauses and then accepts again.
///
/// `test` is the name of the test that calls this, and runs again as the process of the server.
pub fn check(test: &str, serve: impl Future<Output = ()>) {
    if env::var_os(SERVER).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(serve);
    }
    let mut server = Server::start(test);
    let connect = || TcpStream::connect(&server.address).expect("the backlog has room");
    let connections = (0..CONNECTIONS).map(|_| connect()).collect::<Vec<_>>();
    let mut lines = BufReader::new(server.child.stderr.take().expect("piped")).lines();
    let mut errors = 0;
    while errors < 3 {
        let line = lines.next().expect("a line").expect("text");
        errors += usize::from(line.starts_with("accept: "));
    }
    let rest = thread::spawn(move || {
        lines.map_while(Result::ok).filter(|line| line.starts_with("accept: ")).count()
    });
    // With a pause there are a few errors meanwhile, without one there are thousands.
    thread::sleep(Duration::from_millis(500));
    drop(connections);

    let mut connection = connect();
    connection.set_read_timeout(Some(Duration::from_secs(60))).expect("open");
    connection.write_all(REQUEST).expect("open");
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).expect("a response");
    assert_eq!(&answer, b"HTTP/1.1 101");

    drop(server);
    let errors = errors + rest.join().expect("no panic");
    assert!(errors < 1000, "no pause between attempts: {errors}");
}

/// The server in a process of its own, which is killed when this is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(test: &str) -> Self {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -n {DESCRIPTORS} && exec \"$0\" --exact --nocapture \"$1\""))
            .arg(env::current_exe().expect("this program"))
            .arg(test)
            .env(SERVER, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening on ")?.1.to_owned()))
            .expect("a line with the address");
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
