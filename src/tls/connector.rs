//! TLS for clients.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::{
    ClientConfig,
    client::danger::ServerCertVerifier,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

use super::{
    HTTP_1_1,
    failure::handshake_error,
    pem, provider,
    read_ahead::ReadAhead,
    stream::TlsStream,
    verify::{self, AcceptAny},
};
use crate::error::{Error, TlsError};

/// The TLS settings of a client: what it trusts, and what it presents.
///
/// Connections that share a connector, or clones of it, resume each other's sessions.
///
/// ```
/// use fullduplex::{Client, TlsConnector};
///
/// # fn run(authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<(), fullduplex::TlsError> {
/// let tls = TlsConnector::builder()
///     .roots(authority)
///     .client_certificate(certificate, key)
///     .build()?;
/// let client = Client::default().tls(tls);
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    /// The name to verify, in place of the host of the target.
    server_name: Option<ServerName<'static>>,
}

impl TlsConnector {
    /// Creates a connector that trusts the authorities that the operating system trusts.
    ///
    /// With the feature `tls-webpki-roots`, it trusts those of Mozilla if the machine has none.
    ///
    /// # Errors
    /// [`TlsError::NoRoots`] if there are none.
    pub fn new() -> Result<Self, TlsError> {
        Self::builder().build()
    }

    /// Creates a builder, for other settings than those of [`new`](Self::new).
    pub fn builder() -> TlsConnectorBuilder {
        TlsConnectorBuilder::default()
    }

    /// Creates a connector from a configuration of rustls, which is used as it is.
    ///
    /// Its ALPN protocols must be empty or `http/1.1`: a server that selects `h2` does not open a
    /// WebSocket connection of HTTP/1.1.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { config, server_name: None }
    }

    /// Returns the connector of clients that have no other. Its sessions are shared.
    pub(crate) fn shared() -> Result<Self, TlsError> {
        static SHARED: OnceLock<TlsConnector> = OnceLock::new();
        if let Some(shared) = SHARED.get() {
            return Ok(shared.clone());
        }
        // Not stored if it fails: the certificates may be installed later.
        let new = Self::new()?;
        Ok(SHARED.get_or_init(|| new).clone())
    }

    /// Returns the connector without the name to verify, which is that of the target: for a proxy.
    #[cfg(feature = "proxy")]
    pub(crate) fn without_server_name(mut self) -> Self {
        self.server_name = None;
        self
    }

    /// Returns the connector for HTTP/2, which offers the ALPN protocol `h2` alone.
    #[cfg(feature = "http2")]
    pub(crate) fn for_http2(mut self) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = vec![super::HTTP_2.to_vec()];
        self
    }

    /// Performs the TLS handshake over a transport.
    ///
    /// `host` is the name that the certificate has to be valid for, unless
    /// [`server_name`](TlsConnectorBuilder::server_name) is set. [`Client`](crate::Client) calls
    /// this for `wss://` targets; call it for a transport of your own, before
    /// [`Client::handshake`](crate::Client::handshake). There is no deadline.
    ///
    /// # Errors
    /// [`Error::Tls`] if the handshake failed, and [`Error::Transport`] if the transport did.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    pub async fn connect<S>(&self, host: &str, io: S) -> Result<TlsStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        let connector = tokio_rustls::TlsConnector::from(self.config.clone());
        let stream = connector.connect(name, ReadAhead::new(io)).await.map_err(handshake_error)?;
        Ok(TlsStream::new(stream.into()))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::ServerName(host.into()))
}

/// Builds a [`TlsConnector`].
///
/// The first invalid setting is stored, and returned by [`build`](Self::build).
#[derive(Default)]
pub struct TlsConnectorBuilder {
    trust: Trust,
    extra: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    server_name: Option<ServerName<'static>>,
    invalid: Option<TlsError>,
}

/// Which certificates of servers are accepted.
#[derive(Debug, Default)]
enum Trust {
    #[default]
    Platform,
    Only,
    Any,
}

impl TlsConnectorBuilder {
    /// Trusts these authorities as well: one or more certificates in PEM.
    pub fn roots(mut self, authorities: impl AsRef<[u8]>) -> Self {
        match pem::certificates(authorities.as_ref()) {
            Ok(authorities) => self.extra.extend(authorities),
            Err(error) => return self.fail(error),
        }
        self
    }

    /// Trusts these authorities, and not those of the operating system.
    ///
    /// Like [`roots`](Self::roots). Several calls add up.
    pub fn only_roots(mut self, authorities: impl AsRef<[u8]>) -> Self {
        self.trust = Trust::Only;
        self.roots(authorities)
    }

    /// Presents a certificate to servers that ask for one: a chain in PEM, the certificate itself
    /// first, and its private key in PEM.
    pub fn client_certificate(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        match pem::certificates(chain.as_ref()).and_then(|chain| Ok((chain, pem::private_key(key.as_ref())?)))
        {
            Ok(identity) => self.identity = Some(identity),
            Err(error) => return self.fail(error),
        }
        self
    }

    /// Sets the name that certificates have to be valid for, in place of the host of the target.
    ///
    /// It is also the name that is requested of the server (SNI, RFC 6066 section 3).
    pub fn server_name(mut self, name: &str) -> Self {
        match server_name(name) {
            Ok(name) => self.server_name = Some(name),
            Err(error) => return self.fail(error),
        }
        self
    }

    /// Accepts any certificate of a server.
    ///
    /// **The connection is then not secure**: anyone between client and server can read and change
    /// everything. It is meant for tests; to connect to a server with a certificate of your own,
    /// use [`only_roots`](Self::only_roots).
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.trust = Trust::Any;
        self
    }

    /// Stores the first error.
    fn fail(mut self, error: TlsError) -> Self {
        self.invalid.get_or_insert(error);
        self
    }

    /// Creates the connector.
    ///
    /// # Errors
    /// Returns the first invalid setting, [`TlsError::NoRoots`] if the machine has no authorities,
    /// and [`TlsError::Settings`] if a private key does not belong to its certificate.
    pub fn build(self) -> Result<TlsConnector, TlsError> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = match self.trust {
            Trust::Platform => verify::platform(self.extra, &provider)?,
            Trust::Only => verify::only(self.extra, &provider)?,
            Trust::Any => Arc::new(AcceptAny(provider.clone())),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(verify::settings)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match self.identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(verify::settings)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(TlsConnector { config: Arc::new(config), server_name: self.server_name })
    }
}

/// Redacted: the private key is not printed.
impl fmt::Debug for TlsConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnectorBuilder").field("trust", &self.trust).finish_non_exhaustive()
    }
}
