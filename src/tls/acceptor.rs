//! TLS for servers.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::ServerConfig;

use super::{
    HTTP_1_1, failure::handshake_error, pem, provider, read_ahead::ReadAhead, stream::TlsStream, verify,
};
use crate::{
    error::{Error, Timeout, TlsError},
    opening::Deadline,
};

/// The TLS settings of a server: its certificate.
///
/// Clones share the certificate, which can be [replaced](Self::reload) while the server runs.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<RwLock<Arc<ServerConfig>>>,
    handshake_timeout: Option<Duration>,
    #[cfg(feature = "http2")]
    http2: bool,
}

impl TlsAcceptor {
    /// Creates an acceptor with a certificate: a chain in PEM, the certificate itself first, and
    /// its private key in PEM.
    ///
    /// # Errors
    /// [`TlsError::Pem`] if one of the texts is not that, and [`TlsError::Settings`] if the private
    /// key does not belong to the certificate.
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Ok(Self::from_config(Arc::new(server_config(chain.as_ref(), key.as_ref())?)))
    }

    /// Creates an acceptor from a configuration of rustls, which is used as it is.
    ///
    /// It may ask clients for certificates, for example. Its ALPN protocols must be empty or
    /// `http/1.1`, unless the connections are passed to a library that speaks HTTP/2.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self {
            config: Arc::new(RwLock::new(config)),
            handshake_timeout: Some(Duration::from_secs(10)),
            #[cfg(feature = "http2")]
            http2: false,
        }
    }

    /// Offers HTTP/2 beside HTTP/1.1 (ALPN), for connections that are passed to hyper or axum.
    ///
    /// A client that selects it does not open WebSocket connections as
    /// [`accept`](crate::accept) expects.
    #[cfg(feature = "http2")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http2")))]
    #[must_use]
    pub fn http2(self) -> Self {
        let mut config = (**self.config.read().unwrap_or_else(PoisonError::into_inner)).clone();
        config.alpn_protocols = vec![super::HTTP_2.to_vec(), HTTP_1_1.to_vec()];
        Self { config: Arc::new(RwLock::new(Arc::new(config))), http2: true, ..self }
    }

    /// Sets the deadline of the TLS handshake; `None` disables it. The default is 10 seconds.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake_timeout = timeout.into();
        self
    }

    /// Replaces the certificate for connections that are accepted from now on, also by clones.
    ///
    /// Open connections continue. If this fails, the previous certificate stays in use.
    ///
    /// # Errors
    /// Those of [`from_pem`](Self::from_pem).
    pub fn reload(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<(), TlsError> {
        #[cfg_attr(not(feature = "http2"), expect(unused_mut, reason = "for HTTP/2"))]
        let mut config = server_config(chain.as_ref(), key.as_ref())?;
        #[cfg(feature = "http2")]
        if self.http2 {
            config.alpn_protocols.insert(0, super::HTTP_2.to_vec());
        }
        let config = Arc::new(config);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Performs the TLS handshake over a transport.
    ///
    /// # Errors
    /// [`Error::Tls`] if the handshake failed: [`TlsError::NotTls`] if the client does not speak
    /// TLS, for example. [`Error::Transport`] if the transport failed, and
    /// [`Timeout::Handshake`] if the deadline passed.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    pub async fn accept<S>(&self, io: S) -> Result<TlsStream<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let deadline = Deadline::after(self.handshake_timeout, Timeout::Handshake);
        // Boxed: the state of the handshake would otherwise enlarge the task for the whole life of
        // the connection.
        Box::pin(async move {
            let accepting = tokio_rustls::TlsAcceptor::from(config).accept(ReadAhead::new(io));
            let stream = deadline.run(async { accepting.await.map_err(handshake_error) }).await?;
            Ok(TlsStream::new(stream.into()))
        })
        .await
    }
}

/// Redacted: the private key is not printed.
impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor")
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}

fn server_config(chain: &[u8], key: &[u8]) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(verify::settings)?
        .with_no_client_auth()
        .with_single_cert(pem::certificates(chain)?, pem::private_key(key)?)
        .map_err(verify::settings)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}
