//! How a client reaches a server: by which port, over TLS or not, through which proxy.

use std::sync::LazyLock;

use fullduplex::{
    Client, Config, TlsAcceptor, TlsConnector,
    proxy::{Proxy, ProxyKind},
};
use rand::{RngExt, rngs::SmallRng, seq::IndexedRandom};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519, SerialNumber};

use super::{facts::Way, net::Net};

pub const PROXY_HOST: &str = "proxy.test";
pub const USER: &str = "ann";
pub const PASSWORD: &str = "secret";

/// The ports of a server.
pub const PORTS: [Port; 4] = [
    Port { number: 80, secure: false, http2: false },
    Port { number: 443, secure: true, http2: false },
    Port { number: 8080, secure: false, http2: true },
    Port { number: 8443, secure: true, http2: true },
];

/// A port, and what is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    pub secure: bool,
    pub http2: bool,
}

/// The port of a proxy of this kind.
pub fn proxy_port(kind: ProxyKind) -> u16 {
    match kind {
        ProxyKind::Http => 3128,
        ProxyKind::Https => 3129,
        ProxyKind::Socks5 => 1080,
        _ => 1081,
    }
}

/// The kinds of proxies.
pub const PROXIES: [ProxyKind; 4] = [ProxyKind::Http, ProxyKind::Https, ProxyKind::Socks5, ProxyKind::Socks4];

/// A certificate for all hosts, with its authority, in PEM. All fields, keys and signatures have
/// the same length in each run, so that a seed determines where a connection is cut.
static IDENTITY: LazyLock<(String, String, String)> = LazyLock::new(|| {
    let key = || KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let params = |names: &[&str], serial: u64| {
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.serial_number = Some(SerialNumber::from(serial));
        params
    };
    let mut authority = params(&[], 1);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = key();
    let certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);
    let key = key();
    let issued =
        params(&["a.test", "b.test", PROXY_HOST], 2).signed_by(&key, &issuer).expect("a certificate");
    (certificate.pem(), issued.pem(), key.serialize_pem())
});

/// The TLS settings of a program.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    pub acceptor: TlsAcceptor,
}

impl Tls {
    pub fn new() -> Self {
        let (authority, chain, key) = &*IDENTITY;
        Self {
            connector: TlsConnector::builder().only_roots(authority).build().expect("valid"),
            acceptor: TlsAcceptor::from_pem(chain, key).expect("valid"),
        }
    }
}

/// A way to a server.
#[derive(Debug, Clone)]
pub struct Route {
    pub host: String,
    pub port: Port,
    pub proxy: Option<ProxyKind>,
    /// Whether the password for the proxy is wrong.
    wrong_password: bool,
}

impl Route {
    /// Returns a random route over HTTP/1.1, or over HTTP/2.
    pub fn random(rng: &mut SmallRng, hosts: &[String], http2: bool) -> Self {
        let ports = PORTS.into_iter().filter(|port| port.http2 == http2).collect::<Vec<_>>();
        // TLS takes more time than all else.
        let port = ports[usize::from(rng.random_ratio(1, 4))];
        let proxy = rng.random_ratio(1, 3).then(|| {
            let last = if rng.random_ratio(1, 3) { PROXIES.len() } else { 1 };
            PROXIES[rng.random_range(0..last)]
        });
        Self {
            host: hosts.choose(rng).expect("a host").clone(),
            port,
            proxy,
            wrong_password: rng.random_ratio(1, 40),
        }
    }

    /// Corrects what ends each attempt.
    pub fn correct(&mut self) {
        self.wrong_password = false;
    }

    pub fn target(&self, path: &str) -> String {
        let scheme = if self.port.secure { "wss" } else { "ws" };
        format!("{scheme}://{}:{}{path}", self.host, self.port.number)
    }

    /// Configures a client that takes this route.
    pub fn client(&self, net: &Net, tls: &Tls, way: &Way, config: Config) -> Client {
        let (net, way) = (net.clone(), way.clone());
        let client = Client::new(config).tls(tls.connector.clone()).connector(move |host, port| {
            let (net, way) = (net.clone(), way.clone());
            async move { net.connect(&way, &host, port).await }
        });
        let Some(kind) = self.proxy else { return client };
        let password = if self.wrong_password { "wrong" } else { PASSWORD };
        // SOCKS4 has no password.
        let user = if kind == ProxyKind::Socks4 { String::new() } else { format!("{USER}:{password}@") };
        let uri = format!("{}://{user}{PROXY_HOST}:{}", kind.scheme(), proxy_port(kind));
        client.proxy(uri.parse::<Proxy>().expect("valid"))
    }

    /// Returns the name of the transport, for the coverage.
    pub fn name(&self) -> &'static str {
        match (self.port.http2, self.port.secure) {
            (false, false) => "open: plain",
            (false, true) => "open: TLS",
            (true, false) => "open: http2",
            (true, true) => "open: http2 over TLS",
        }
    }
}
