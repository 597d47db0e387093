//! TLS for both ends: TLS 1.3 by tokio-rustls with ring, the same for every library.

use std::{cell::Cell, env, net::SocketAddr, process::Command, rc::Rc, sync::Arc};

use anyhow::{Context, Result};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector, client,
    rustls::{
        ClientConfig, HandshakeKind, RootCertStore, ServerConfig,
        client::Resumption,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        version::TLS13,
    },
    server,
};

use crate::load::{self, Connection, PATIENCE};

/// The server's end of a connection after the TLS handshake.
pub type ServerStream = server::TlsStream<TcpStream>;

/// The load generator's end.
pub type ClientStream = client::TlsStream<TcpStream>;

/// The environment variable that passes the certificate to the server.
const VARIABLE: &str = "PEERS_TLS_IDENTITY";

const NAME: &str = "localhost";

/// A certificate and its private key, which are created for one run.
#[derive(Debug)]
pub struct Identity {
    pem: String,
}

impl Identity {
    pub fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        Ok(Self { pem: made.cert.pem() + &made.signing_key.serialize_pem() })
    }

    /// Returns what [`pass_to`](Self::pass_to) passed to this process.
    pub fn passed() -> Result<Self> {
        Ok(Self { pem: env::var(VARIABLE).context("no certificate was passed")? })
    }

    pub fn pass_to(&self, command: &mut Command) {
        command.env(VARIABLE, &self.pem);
    }

    fn certificate(&self) -> Result<CertificateDer<'static>> {
        Ok(CertificateDer::from_pem_slice(self.pem.as_bytes())?)
    }

    /// Creates the settings of the server's end. Its tickets contain the session, so that it stores nothing for
    /// connections that have ended.
    pub fn server(&self) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::from_pem_slice(self.pem.as_bytes())?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate()?], key)?;
        config.ticketer = ring::Ticketer::new()?;
        Ok(Arc::new(config))
    }

    /// Creates the load generator's end, which trusts only this certificate.
    pub fn connector(&self, resumption: Resumption) -> Result<Connector> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()?)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = resumption;
        Ok(Connector { tls: Arc::new(config).into(), opened: Rc::default() })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The number of TLS handshakes of each kind.
#[derive(Debug, Default)]
pub struct Opened {
    pub full: Cell<u64>,
    pub resumed: Cell<u64>,
}

/// Opens connections over TLS, and counts them. Clones share their tickets and their counts.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    opened: Rc<Opened>,
}

impl Connector {
    /// Opens a TCP connection, then performs the TLS handshake and the opening handshake. The
    /// tickets are received before the response.
    pub async fn open(self, address: SocketAddr) -> Result<Connection<ClientStream>> {
        timeout(PATIENCE, self.try_open(address)).await.context("no answer to the handshakes")?
    }

    async fn try_open(&self, address: SocketAddr) -> Result<Connection<ClientStream>> {
        let tcp = load::connect(address).await?;
        let io = self.tls.connect(ServerName::try_from(NAME)?, tcp).await.context("no TLS")?;
        let counter = match io.get_ref().1.handshake_kind() {
            Some(HandshakeKind::Resumed) => &self.opened.resumed,
            _ => &self.opened.full,
        };
        counter.set(counter.get() + 1);
        Connection::over(io, address).await
    }

    pub fn opened(&self) -> &Opened {
        &self.opened
    }
}
