//! Dials a host: name lookup, and TCP connections after RFC 8305 (Happy Eyeballs).

use std::{
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};

use super::settings::Dialing;

/// How long one address is tried before the next one is tried as well: the Connection Attempt Delay
/// of RFC 8305 section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 32;

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Resolves the host name and connects to it, with `TCP_NODELAY` set.
///
/// Nagle's algorithm would only add latency: writes are already coalesced by the caller.
pub(super) async fn dial(host: &str, port: u16, dialing: &Dialing) -> io::Result<TcpStream> {
    let addresses = resolve(host, port, dialing).await?;
    let stream = connect_any(addresses, dialing.local_address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns the addresses of a host. The resolver of the program is not asked for an address.
async fn resolve(host: &str, port: u16, dialing: &Dialing) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let resolved = match &dialing.resolver {
        Some(resolver) => {
            let addresses = resolver.resolve(host.to_owned()).await;
            addresses.map(|addresses| addresses.into_iter().map(|address| (address, port).into()).collect())
        }
        None => lookup_host((host, port)).await.map(Iterator::collect),
    };
    resolved.map_err(|error| io::Error::new(error.kind(), format!("cannot resolve {host}: {error}")))
}

/// Connects to the first address that accepts, of those that the local address can reach.
///
/// RFC 8305: families alternate. An attempt begins as soon as one has failed, and at the latest 250
/// ms after the one before. If all fail, the error of the last failure is returned.
async fn connect_any(addresses: Vec<SocketAddr>, local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let reachable = |address: &SocketAddr| local.is_none_or(|local| local.is_ipv4() == address.is_ipv4());
    let mut waiting = alternate(addresses.into_iter().filter(reachable)).into_iter().take(MAX_ADDRESSES);
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut last = io::Error::new(
        io::ErrorKind::NotFound,
        match local {
            None => "host has no address",
            Some(_) => "host has no address of the address family of the local address",
        },
    );
    loop {
        match waiting.next() {
            Some(address) => attempts.push(Box::pin(attempt(address, local))),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let ended = if waiting.len() > 0 {
            timeout(ATTEMPT_DELAY, first_to_end(&mut attempts)).await.ok()
        } else {
            Some(first_to_end(&mut attempts).await)
        };
        match ended {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => last = error,
            None => {}
        }
    }
}

/// Orders addresses so that their families alternate, beginning with that of the first.
///
/// RFC 8305 section 4. The order within a family is kept.
fn alternate(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.peekable();
    let Some(&first) = addresses.peek() else { return Vec::new() };
    let (ours, others): (Vec<_>, Vec<_>) =
        addresses.partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut ordered = Vec::with_capacity(ours.len() + others.len());
    while ours.len() + others.len() > 0 {
        ordered.extend(ours.next());
        ordered.extend(others.next());
    }
    ordered
}

/// Returns the result of the first attempt that ends, and removes it.
async fn first_to_end(attempts: &mut Vec<Attempt>) -> io::Result<TcpStream> {
    poll_fn(|cx| {
        for at in 0..attempts.len() {
            if let Poll::Ready(result) = attempts[at].as_mut().poll(cx) {
                drop(attempts.swap_remove(at));
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    })
    .await
}

async fn attempt(address: SocketAddr, local: Option<SocketAddr>) -> io::Result<TcpStream> {
    let connected = match local {
        None => TcpStream::connect(address).await,
        Some(local) => connect_from(local, address).await,
    };
    connected.map_err(|error| io::Error::new(error.kind(), format!("cannot connect to {address}: {error}")))
}

async fn connect_from(local: SocketAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(local)?;
    socket.connect(address).await
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpListener;

    use super::*;

    fn v4(last: u8) -> SocketAddr {
        (Ipv4Addr::new(192, 0, 2, last), 80).into()
    }

    fn v6(last: u16) -> SocketAddr {
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), 80).into()
    }

    /// Returns an address at which nothing listens.
    async fn refusing() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        listener.local_addr().expect("bound")
    }

    /// RFC 8305 section 4.
    #[test]
    fn families_alternate_and_each_keeps_its_order() {
        let ordered = alternate([v6(1), v6(2), v6(3), v4(1), v4(2)].into_iter());
        assert_eq!(ordered, [v6(1), v4(1), v6(2), v4(2), v6(3)]);
        let ordered = alternate([v4(1), v6(1), v6(2), v6(3)].into_iter());
        assert_eq!(ordered, [v4(1), v6(1), v6(2), v6(3)]);
        assert_eq!(alternate([].into_iter()), []);
    }

    #[tokio::test]
    async fn the_next_address_is_dialed_after_a_refused_connection() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let dead = refusing().await;
        let alive = listener.local_addr().expect("bound");
        let stream = connect_any(vec![dead, alive], None).await.expect("one address listens");
        assert_eq!(stream.peer_addr().expect("connected"), alive);
        let refused = connect_any(vec![dead], None).await.expect_err("nothing listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(refused.to_string().contains(&dead.to_string()), "{refused}");
    }

    #[tokio::test]
    async fn an_address_is_dialed_while_those_before_it_wait() {
        let ended = |after: u64, kind| -> Attempt {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                Err(io::Error::from(kind))
            })
        };
        let mut attempts =
            vec![ended(20, io::ErrorKind::TimedOut), ended(1, io::ErrorKind::ConnectionRefused)];
        let first = first_to_end(&mut attempts).await.expect_err("it fails");
        assert_eq!((first.kind(), attempts.len()), (io::ErrorKind::ConnectionRefused, 1));
        let second = first_to_end(&mut attempts).await.expect_err("it fails");
        assert_eq!((second.kind(), attempts.len()), (io::ErrorKind::TimedOut, 0));
    }

    #[tokio::test]
    async fn a_local_address_limits_dialing_to_its_address_family() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let alive = listener.local_addr().expect("bound");
        let other = SocketAddr::from((Ipv6Addr::LOCALHOST, alive.port()));
        let local = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
        // Outside Linux, the loopback interface has a single IPv4 address.
        let local = if cfg!(target_os = "linux") { local } else { (Ipv4Addr::LOCALHOST, 0).into() };
        let stream = connect_any(vec![other, alive], Some(local)).await.expect("one address listens");
        assert_eq!(stream.local_addr().expect("connected").ip(), local.ip());
        assert_eq!(listener.accept().await.expect("a client").1, stream.local_addr().expect("connected"));
        let none = connect_any(vec![other], Some(local)).await.map(drop).map_err(|error| error.kind());
        assert_eq!(none, Err(io::ErrorKind::NotFound));
    }
}
