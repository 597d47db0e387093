//! The memory of a socket that waits, counted by the allocator.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use allocation_counter::measure;
use socketio::{Io, Namespace};
use tokio::{net::TcpListener, runtime, task::spawn_blocking, time::timeout};

/// Opens a session over WebSocket, and connects to the main namespace.
fn connect(address: SocketAddr) -> TcpStream {
    let mut tcp = TcpStream::connect(address).expect("connects");
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n\
        Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    tcp.write_all(request.as_bytes()).expect("open");
    read_until(&mut tcp, b"\"maxPayload\"");
    // "40", masked with zeros.
    tcp.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'4', b'0']).expect("open");
    read_until(&mut tcp, b"40{\"sid\"");
    tcp
}

fn read_until(tcp: &mut TcpStream, wanted: &[u8]) {
    let (mut buffer, mut filled) = ([0; 4096], 0);
    while !buffer[..filled].windows(wanted.len()).any(|bytes| bytes == wanted) {
        let read = tcp.read(&mut buffer[filled..]).expect("open");
        assert!(read > 0, "the server has closed the connection");
        filled += read;
    }
}

/// Connects so many clients in another thread, whose memory is not counted, and waits until their
/// sockets have joined the namespace.
async fn connect_all(io: &Io, address: SocketAddr, clients: &mut Vec<TcpStream>, count: usize) {
    let more = spawn_blocking(move || (0..count).map(|_| connect(address)).collect::<Vec<_>>());
    clients.extend(more.await.expect("no panic"));
    let joined = async {
        while io.of("/").fetch_sockets().await.expect("one node").len() < clients.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), joined).await.expect("in time");
}

/// Everything runs in this thread, but the clients.
#[test]
fn a_socket_over_websocket_takes_at_most_4000_bytes() {
    const SOCKETS: usize = 256;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    let io = Io::builder().namespace(Namespace::new("/")).build();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("listens");
    let address = listener.local_addr().expect("known");
    let routes = io.routes();
    runtime.spawn(async move { axum::serve(listener, routes).await });
    let mut clients = Vec::with_capacity(2 * SOCKETS);
    // What the first ones need is kept for all.
    runtime.block_on(connect_all(&io, address, &mut clients, SOCKETS));
    let taken = measure(|| runtime.block_on(connect_all(&io, address, &mut clients, SOCKETS)));
    let each = taken.bytes_current / SOCKETS as i64;
    println!("{each} bytes for each socket");
    assert!((1000..=4000).contains(&each), "{each}");
}
