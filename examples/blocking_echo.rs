//! An echo server without tokio: the protocol core and the opening handshake over blocking sockets,
//! with a thread for each connection.
//!
//! ```text
//! cargo run --release --example blocking_echo -- --listen 127.0.0.1:9001
//! ```

#[path = "common/compression.rs"]
mod compression;

use std::{
    collections::HashMap,
    error::Error,
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{self, ExitCode},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut};
use clap::Parser;
use compression::Compression;
use fullduplex::{
    CloseCode, CloseFrame, Config, Message, Role, Server,
    handshake::{HeadScanner, Negotiated, Rejection, encode_response, parse_request, respond},
    proto::{Batch, Buffers, Closing, MaskKey, ProtocolError, ReceivePath, Received, SendPath, Want},
};

/// The maximum number of bytes that one read returns.
const READ: usize = 64 << 10;

/// How long peers have to complete the closing handshake once the server stops.
const GRACE: Duration = Duration::from_secs(3);

/// How long a peer has to receive our Close.
const MOMENT: Duration = Duration::from_millis(500);

/// An echo server for WebSocket over blocking sockets.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Maximum number of open connections; each has a thread, and further ones are refused.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_connections: usize,
    /// Seconds of silence before a connection is closed; 0 disables this.
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    idle_timeout: u64,
    #[command(flatten)]
    compression: Compression,
}

fn main() -> ExitCode {
    match serve(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blocking_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> io::Result<()> {
    let listener = TcpListener::bind(args.listen)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", args.listen)))?;
    let idle_timeout = (args.idle_timeout > 0).then(|| Duration::from_secs(args.idle_timeout));
    // The Autobahn test suite sends 4 MiB in fragments of 64 bytes, plus an empty one.
    let config = Config::new().max_fragments(1 << 17).idle_timeout(idle_timeout);
    let server = Server::new(args.compression.apply(config));
    let open = Arc::new(Connections::default());
    let stopping = open.clone();
    ctrlc::set_handler(move || stopping.stop()).map_err(io::Error::other)?;
    println!("listening on ws://{}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((_, peer)) if open.streams().len() >= args.max_connections => {
                eprintln!("{peer}: refused, {} connections are open", args.max_connections);
            }
            Ok((tcp, peer)) => serve_one(Arc::new(tcp), peer, server.clone(), open.clone()),
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// The open connections, to notify them when the server stops.
#[derive(Debug, Default)]
struct Connections {
    streams: Mutex<HashMap<SocketAddr, Weak<TcpStream>>>,
    stopping: AtomicBool,
}

impl Connections {
    fn streams(&self) -> MutexGuard<'_, HashMap<SocketAddr, Weak<TcpStream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Ends all reads, so that each thread notices and sends a Close; then ends the program.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        for stream in self.streams().values().filter_map(Weak::upgrade) {
            // Fails if the stream has ended already.
            let _ended = stream.shutdown(Shutdown::Read);
        }
        let deadline = Instant::now() + GRACE;
        while !self.streams().is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        process::exit(0);
    }
}

/// Spawns the thread of a connection.
fn serve_one(tcp: Arc<TcpStream>, peer: SocketAddr, server: Server, open: Arc<Connections>) {
    open.streams().insert(peer, Arc::downgrade(&tcp));
    let known = open.clone();
    let spawned = thread::Builder::new().spawn(move || {
        if let Err(error) = connection(&tcp, &server, &open) {
            eprintln!("{peer}: {error}");
        }
        open.streams().remove(&peer);
    });
    // The closure owned the connection, so it is closed now. Other connections continue.
    if let Err(error) = spawned {
        known.streams().remove(&peer);
        eprintln!("{peer}: refused, no thread for it: {error}");
    }
}

fn connection(tcp: &TcpStream, server: &Server, open: &Connections) -> Result<(), Box<dyn Error>> {
    let config = server.config();
    tcp.set_nodelay(true)?;
    tcp.set_write_timeout(config.write_timeout)?;
    let (negotiated, unread) = handshake(tcp, server)?;
    tcp.set_read_timeout(config.idle_timeout)?;
    let (receive, send) = paths(config, &negotiated);
    let mut echo = Echo { receive, send, buffers: Buffers::new(), batch: Batch::new(), failed: None, open };
    echo.run(tcp, unread)?;
    end(tcp, config.close_timeout)?;
    if open.is_stopping() {
        // The read side is shut down, so the peer's end of the stream cannot be awaited.
        thread::sleep(MOMENT);
    }
    echo.failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Returns the receive path and the send path for the negotiated extensions.
#[cfg_attr(not(feature = "deflate"), allow(unused_variables, reason = "there is nothing to agree on"))]
fn paths(config: &Config, negotiated: &Negotiated) -> (ReceivePath, SendPath) {
    let receive = ReceivePath::new(Role::Server, config);
    let send = SendPath::new(Role::Server, config);
    #[cfg(feature = "deflate")]
    if let (Some(params), Some(settings)) = (negotiated.deflate(), config.deflate) {
        return (receive.with_deflate(params), send.with_deflate(settings, params));
    }
    (receive, send)
}

/// Performs the opening handshake; returns its result and the bytes read after it.
fn handshake(mut tcp: &TcpStream, server: &Server) -> Result<(Negotiated, Vec<u8>), Box<dyn Error>> {
    let deadline = server.config().handshake_timeout.map(|timeout| Instant::now() + timeout);
    let mut read = Vec::new();
    let mut scanner = HeadScanner::request(server.config());
    let answer = loop {
        match scanner.scan(&read) {
            Ok(None) => receive_more(tcp, &mut read, deadline)?,
            Ok(Some(end)) => {
                let unread = read.split_off(end.len);
                break parse_request(&read, server.config())
                    .and_then(|request| respond(&request.into_parts().0, server))
                    .map(|(response, negotiated)| (response, negotiated, unread));
            }
            Err(error) => break Err(Rejection::from(error)),
        }
    };
    match answer {
        Ok((response, negotiated, unread)) => {
            tcp.write_all(&encode_response(&response))?;
            Ok((negotiated, unread))
        }
        Err(rejection) => {
            tcp.write_all(&rejection.clone().encode())?;
            end(tcp, Some(Duration::from_secs(1)))?;
            Err(rejection.into())
        }
    }
}

/// Reads once, within the rest of the time for the whole handshake.
fn receive_more(tcp: &TcpStream, read: &mut Vec<u8>, deadline: Option<Instant>) -> io::Result<()> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    tcp.set_read_timeout(left)?;
    let mut buffer = [0; 2048];
    match receive(tcp, &mut buffer)? {
        None => Err(io::ErrorKind::TimedOut.into()),
        Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(len) => {
            read.extend_from_slice(&buffer[..len]);
            Ok(())
        }
    }
}

/// Reads once; returns `None` after a timeout.
fn receive(mut tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match tcp.read(buffer) {
            // A socket with a timeout is also interrupted if the process is stopped and continued.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The kind depends on the operating system.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(None);
            }
            other => return other.map(Some),
        }
    }
}

/// The state of one connection.
struct Echo<'a> {
    receive: ReceivePath,
    send: SendPath,
    buffers: Buffers,
    batch: Batch,
    failed: Option<ProtocolError>,
    open: &'a Connections,
}

impl Echo<'_> {
    /// Receives and replies until the connection closes or fails.
    fn run(&mut self, tcp: &TcpStream, mut unread: Vec<u8>) -> io::Result<()> {
        let mut scratch = vec![0; READ];
        self.handle(&mut unread);
        while matches!(Closing::of(&self.send, &self.receive), Closing::Open) {
            self.transmit(tcp)?;
            if let Want::Payload(mut room) = self.receive.want() {
                let len = room.remaining_mut().min(READ);
                let read = receive(tcp, &mut scratch[..len])?;
                room.put_slice(&scratch[..read.unwrap_or(0)]);
                match (read, self.receive.payload_received()) {
                    (None, _) => self.leave("idle"),
                    (Some(0), _) => self.end_of_input(),
                    (_, Ok(message)) => message.into_iter().for_each(|message| self.echo(message)),
                    (_, Err(error)) => self.fail(error),
                }
                continue;
            }
            match receive(tcp, &mut scratch)? {
                None => self.leave("idle"),
                Some(0) => self.end_of_input(),
                Some(len) => self.handle(&mut scratch[..len]),
            }
        }
        self.transmit(tcp)
    }

    /// Handles all bytes of one read.
    fn handle(&mut self, mut unread: &mut [u8]) {
        while !unread.is_empty() {
            let step = match self.receive.receive(unread) {
                Ok(step) => step,
                Err(error) => return self.fail(error),
            };
            let consumed = step.consumed;
            match step.received {
                Some(Received::Message(message)) => self.echo(message),
                Some(received) => self.send.answer(&received, MaskKey::default(), &mut self.buffers),
                None => {}
            }
            unread = &mut unread[consumed..];
            self.inflate();
        }
    }

    /// Inflates a compressed message, which has to happen before more input is handled.
    fn inflate(&mut self) {
        while self.receive.has_compressed() {
            match self.receive.inflate(&mut self.buffers) {
                Ok(Some(Received::Message(message))) => self.echo(message),
                // `receive_parts` is not called, so no part of a message is returned.
                Ok(_) => {}
                Err(error) => return self.fail(error),
            }
        }
    }

    fn echo(&mut self, message: Message) {
        // Fails only after a Close, when the peer no longer wants the reply.
        let _closing = self.send.send(message.into(), MaskKey::default(), &mut self.buffers);
    }

    /// Sends a Close.
    fn leave(&mut self, reason: &str) {
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, reason).ok();
        // Fails only after a Close.
        let _closing = self.send.close(frame.as_ref(), MaskKey::default(), &mut self.buffers);
    }

    fn end_of_input(&mut self) {
        if self.open.is_stopping() {
            return self.leave("the server stops");
        }
        if let Err(error) = self.receive.receive_eof() {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: ProtocolError) {
        self.send.fail(error, MaskKey::default(), &mut self.buffers);
        self.failed = Some(error);
    }

    /// Writes all queued frames.
    fn transmit(&mut self, mut tcp: &TcpStream) -> io::Result<()> {
        loop {
            self.send.stage(&mut self.batch, &mut self.buffers);
            if !self.batch.has_remaining() {
                if self.send.has_uncompressed() {
                    continue;
                }
                return Ok(());
            }
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.batch.chunks_vectored(&mut slices);
            match tcp.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.batch.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "write timeout"));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Shuts down the write side, then reads to the end of the stream: dropping a socket with unread
/// data resets it, which can destroy what was written last.
fn end(tcp: &TcpStream, timeout: Option<Duration>) -> io::Result<()> {
    if tcp.shutdown(Shutdown::Write).is_err() {
        return Ok(());
    }
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut scratch = Vec::new();
    // An error ends the stream as well.
    while receive_more(tcp, &mut scratch, deadline).is_ok() {
        scratch.clear();
    }
    Ok(())
}
