//! Proxies: CONNECT over HTTP, also over TLS, SOCKS5 and SOCKS4a, as a client sees them.

use std::{io, time::Duration};

use fullduplex::proxy::ProxyKind;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes},
    time::timeout,
};

use super::{
    World,
    end::End,
    facts::{Fact, Way},
    routes::{PASSWORD, PROXIES, PROXY_HOST, USER, proxy_port},
    tasks::Tasks,
};

/// How long a proxy waits for a server. It is less than what a client waits for the proxy.
const CONNECTS: Duration = Duration::from_secs(5);

/// How long a proxy waits for what the server sends first.
const EARLY: Duration = Duration::from_millis(450);

/// Starts a proxy of each kind.
pub fn start(world: &World, tasks: &Tasks, rng: &mut SmallRng) {
    for kind in PROXIES {
        let mut listener = world.net.listen(PROXY_HOST, proxy_port(kind));
        let (world, of_connections, mut rng) = (world.clone(), tasks.clone(), fork(rng));
        tasks.spawn(async move {
            while let Some(client) = listener.recv().await {
                let (world, rng) = (world.clone(), fork(&mut rng));
                of_connections.spawn(async move {
                    // The client is dropped with it, which is how it learns of an error.
                    let _ = serve(&world, kind, client, rng).await;
                });
            }
        });
    }
}

fn fork(rng: &mut SmallRng) -> SmallRng {
    SmallRng::seed_from_u64(rng.random())
}

async fn serve(world: &World, kind: ProxyKind, client: End, rng: SmallRng) -> io::Result<()> {
    let way = client.way().clone();
    let proxy = Proxy { world, kind, way, rng };
    match kind {
        ProxyKind::Https => {
            let tls = world.tls.acceptor.accept(client).await.map_err(io::Error::other)?;
            proxy.http(tls).await
        }
        ProxyKind::Http => proxy.http(client).await,
        ProxyKind::Socks5 => proxy.socks5(client).await,
        _ => proxy.socks4(client).await,
    }
}

/// What a proxy does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Tunnels,
    /// Refuses for a time.
    Refuses,
    /// Refuses for good.
    Forbids,
    /// Ends the connection within its answer.
    CutsOff,
}

struct Proxy<'a> {
    world: &'a World,
    kind: ProxyKind,
    way: Way,
    rng: SmallRng,
}

impl Proxy<'_> {
    fn verdict(&mut self) -> Verdict {
        let verdict = match self.rng.random_range(0..60) {
            _ if self.world.net.is_healed() => Verdict::Tunnels,
            0..4 => Verdict::Refuses,
            4..6 => Verdict::Forbids,
            6..9 => Verdict::CutsOff,
            _ => Verdict::Tunnels,
        };
        let (fact, note) = match verdict {
            Verdict::Tunnels => return verdict,
            Verdict::Refuses => (Fact::Refused, "proxy: unavailable"),
            Verdict::Forbids => (Fact::Forbidden, "proxy: forbidden"),
            Verdict::CutsOff => (Fact::Ended, "proxy: cut off"),
        };
        self.way.add(fact);
        self.world.net.note(note);
        verdict
    }

    fn reject_credentials(&self) {
        self.way.add(Fact::Forbidden);
        self.world.net.note("proxy: credentials rejected");
    }

    /// Connects to the server. `None`: it does not answer.
    async fn reach(&self, host: &str, port: u16) -> Option<io::Result<End>> {
        timeout(CONNECTS, self.world.net.connect(&self.way, host, port)).await.ok()
    }

    async fn http<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut client: S) -> io::Result<()> {
        let head = read_head(&mut client).await?;
        let answer = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        // base64 of the user and the password.
        if !head.contains("Basic YW5uOnNlY3JldA==") {
            self.reject_credentials();
            return end(client, answer("407 Proxy Authentication Required").as_bytes()).await;
        }
        match self.verdict() {
            Verdict::Tunnels => {}
            Verdict::Refuses => return end(client, answer("503 Service Unavailable").as_bytes()).await,
            Verdict::Forbids => return end(client, answer("403 Forbidden").as_bytes()).await,
            Verdict::CutsOff => return end(client, b"HTTP/1.1 200 Connection").await,
        }
        let authority = head.split(' ').nth(1).expect("a request line");
        let (host, port) = authority.rsplit_once(':').expect("a host and a port");
        let mut server = match self.reach(host, port.parse().expect("a port")).await {
            Some(Ok(server)) => server,
            Some(Err(_)) => return end(client, answer("502 Bad Gateway").as_bytes()).await,
            None => return end(client, answer("504 Gateway Timeout").as_bytes()).await,
        };
        let mut opening = b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
        if self.rng.random() {
            let before = opening.len();
            // Nothing is read yet if the time has passed.
            let _ = timeout(EARLY, server.read_buf(&mut opening)).await;
            if opening.len() > before {
                self.world.net.note("proxy: early bytes");
            }
        }
        self.note_tunnel();
        client.write_all(&opening).await?;
        // TLS may hold it back.
        client.flush().await?;
        pump(client, server).await
    }

    async fn socks5<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut client: S) -> io::Result<()> {
        let [_, methods] = read::<2, _>(&mut client).await?;
        let methods = read_some(&mut client, methods).await?;
        if methods.contains(&2) {
            client.write_all(&[5, 2]).await?;
            let [_, len] = read::<2, _>(&mut client).await?;
            let user = read_some(&mut client, len).await?;
            let [len] = read::<1, _>(&mut client).await?;
            let password = read_some(&mut client, len).await?;
            if (&*user, &*password) != (USER.as_bytes(), PASSWORD.as_bytes()) {
                self.reject_credentials();
                return end(client, &[1, 1]).await;
            }
            client.write_all(&[1, 0]).await?;
        } else {
            client.write_all(&[5, 0]).await?;
        }
        let [_, _, _, kind, len] = read::<5, _>(&mut client).await?;
        assert_eq!(kind, 3, "the client sends the name of the host");
        let host = read_some(&mut client, len).await?;
        let port = u16::from_be_bytes(read(&mut client).await?);
        let reply = |code| [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        match self.verdict() {
            Verdict::Tunnels => {}
            Verdict::Refuses => return end(client, &reply(1)).await,
            Verdict::Forbids => return end(client, &reply(2)).await,
            Verdict::CutsOff => return end(client, &reply(0)[..4]).await,
        }
        let server = match self.reach(&String::from_utf8_lossy(&host), port).await {
            Some(Ok(server)) => server,
            Some(Err(_)) => return end(client, &reply(5)).await,
            None => return end(client, &reply(4)).await,
        };
        self.note_tunnel();
        client.write_all(&reply(0)).await?;
        pump(client, server).await
    }

    async fn socks4<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut client: S) -> io::Result<()> {
        let [_, _, high, low, ..] = read::<8, _>(&mut client).await?;
        let _user = read_until_zero(&mut client).await?;
        let host = read_until_zero(&mut client).await?;
        let reply = |code| [0, code, 0, 0, 0, 0, 0, 0];
        match self.verdict() {
            Verdict::Tunnels => {}
            Verdict::Refuses | Verdict::Forbids => return end(client, &reply(91)).await,
            Verdict::CutsOff => return end(client, &reply(90)[..1]).await,
        }
        let port = u16::from_be_bytes([high, low]);
        let Some(Ok(server)) = self.reach(&String::from_utf8_lossy(&host), port).await else {
            return end(client, &reply(91)).await;
        };
        self.note_tunnel();
        client.write_all(&reply(90)).await?;
        pump(client, server).await
    }

    fn note_tunnel(&self) {
        self.world.net.act(match self.kind {
            ProxyKind::Http => "proxy: HTTP tunnel",
            ProxyKind::Https => "proxy: HTTPS tunnel",
            ProxyKind::Socks5 => "proxy: SOCKS5 tunnel",
            _ => "proxy: SOCKS4 tunnel",
        });
    }
}

/// Passes bytes in both directions until both have ended, or one has failed.
async fn pump(mut client: impl AsyncRead + AsyncWrite + Unpin, mut server: End) -> io::Result<()> {
    copy_bidirectional_with_sizes(&mut client, &mut server, 8192, 8192).await.map(drop)
}

/// Writes the last bytes.
async fn end(mut client: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<()> {
    client.write_all(bytes).await?;
    client.shutdown().await
}

async fn read<const N: usize, S: AsyncRead + Unpin>(client: &mut S) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn read_some(client: &mut (impl AsyncRead + Unpin), len: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len.into()];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn read_until_zero(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        match client.read_u8().await? {
            0 => return Ok(bytes),
            byte => bytes.push(byte),
        }
    }
}

/// Reads the head of a request, behind which a client sends nothing before the answer.
async fn read_head(client: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8(head).expect("ASCII"))
}
