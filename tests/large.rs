//! A message of 10 GiB in constant memory, over TCP. In a debug build, in which that would take
//! minutes, one of 32 MiB.

use allocation_counter::measure;
use bytes::Bytes;
use fullduplex::{Config, Error, MessageKind, Role, WebSocket, handshake::Negotiated};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

const LEN: u64 = if cfg!(debug_assertions) { 32 << 20 } else { 10 << 30 };

/// The maximum number of bytes that both ends together may hold at once.
const HELD: u64 = 4 << 20;

/// Text that is repeated; parts of other lengths split it at any position.
const PATTERN: &str = "gr\u{fc}ezi \u{20ac} \u{1f600} ";

fn runtime() -> Runtime {
    // On one thread, because allocations are counted per thread.
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("connected"), accepted.expect("connected").0)
}

fn open(tcp: TcpStream, role: Role) -> WebSocket<TcpStream> {
    WebSocket::from_raw(tcp, Bytes::new(), role, &Config::new(), Negotiated::default())
}

/// Compares received data with the repeated pattern.
struct Check {
    /// The pattern, repeated so that any part at any position fits.
    expected: Vec<u8>,
    seen: u64,
}

impl Check {
    fn new(pattern: &[u8]) -> Self {
        Self { expected: pattern.repeat((128 << 10) / pattern.len()), seen: 0 }
    }

    /// Asserts that this part continues the pattern.
    fn part(&mut self, pattern: &[u8], part: &[u8]) {
        let at = (self.seen % pattern.len() as u64) as usize;
        assert!(self.expected[at..at + part.len()] == *part, "the data differs after {} bytes", self.seen);
        self.seen += part.len() as u64;
    }
}

async fn send_text(ws: WebSocket<TcpStream>) -> Result<(), Error> {
    let (mut receiver, sender) = ws.split();
    let sending = async {
        let mut writer = sender.writer(MessageKind::Text).await?;
        let text = PATTERN.repeat(3000);
        let mut left = LEN / text.len() as u64;
        while left > 0 {
            writer.write_all(text.as_bytes()).await?;
            left -= 1;
        }
        writer.finish().await?;
        sender.close(1000.into(), "").await
    };
    let receiving = async { while receiver.recv().await.is_ok_and(|message| message.is_some()) {} };
    tokio::join!(sending, receiving).0
}

async fn receive_text(mut ws: WebSocket<TcpStream>) -> Result<u64, Error> {
    let mut check = Check::new(PATTERN.as_bytes());
    let mut reader = ws.reader(LEN).await?.expect("a message");
    while let Some(part) = reader.recv_part().await? {
        check.part(PATTERN.as_bytes(), &part);
    }
    drop(reader);
    assert_eq!(ws.recv().await?, None);
    Ok(check.seen)
}

#[test]
fn ten_gib_of_text_are_sent_and_received_in_constant_memory() {
    let runtime = runtime();
    let mut seen = 0;
    let allocated = measure(|| {
        seen = runtime.block_on(async {
            let (client, server) = connected().await;
            let sending = tokio::spawn(send_text(open(client, Role::Client)));
            let seen = receive_text(open(server, Role::Server)).await.expect("valid");
            sending.await.expect("no panic").expect("open");
            seen
        });
    });
    assert!(seen > LEN - PATTERN.len() as u64 * 3000, "{seen}");
    assert!(allocated.bytes_max < HELD, "{} bytes were held at once", allocated.bytes_max);
}

#[test]
fn one_frame_of_ten_gib_is_received_in_constant_memory() {
    let runtime = runtime();
    let mut seen = 0;
    let allocated = measure(|| {
        seen = runtime.block_on(async {
            let (client, mut server) = connected().await;
            let sending = tokio::spawn(async move {
                let header = [&[0x82, 127][..], &LEN.to_be_bytes()].concat();
                server.write_all(&header).await.expect("open");
                let zeros = vec![0; 64 << 10];
                for _ in 0..LEN / zeros.len() as u64 {
                    server.write_all(&zeros).await.expect("open");
                }
                server
            });
            let mut ws = open(client, Role::Client);
            let mut reader = ws.reader(LEN).await.expect("valid").expect("a message");
            let (mut seen, mut buffer) = (0, vec![0; 100_000]);
            loop {
                let len = reader.read(&mut buffer).await.expect("valid");
                if len == 0 {
                    drop(sending.await.expect("no panic"));
                    break seen;
                }
                seen += len as u64;
            }
        });
    });
    assert_eq!(seen, LEN);
    assert!(allocated.bytes_max < HELD, "{} bytes were held at once", allocated.bytes_max);
}
