//! The errors of TLS.

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a TLS handshake failed, or why TLS settings are invalid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate of the peer is not valid for the name of the host.
    #[error("certificate is not valid for the host name")]
    WrongName,
    /// The certificate of the peer, or one that it depends on, has expired.
    #[error("certificate has expired")]
    Expired,
    /// The certificate of the peer, or one that it depends on, is not valid yet.
    #[error("certificate is not valid yet")]
    NotYetValid,
    /// The certificate of the peer is signed by itself, and not trusted.
    #[error("certificate is self-signed and not trusted")]
    SelfSigned,
    /// The certificate of the peer was issued by an authority that is not trusted.
    #[error("certificate was issued by an unknown authority")]
    UnknownAuthority,
    /// The certificate of the peer was revoked.
    #[error("certificate was revoked")]
    Revoked,
    /// The certificate of the peer is invalid for another reason, which is the source.
    #[error("certificate is invalid")]
    Certificate(#[source] BoxError),
    /// The peer does not speak TLS: it may expect or send plain HTTP on this port.
    #[error("peer does not speak TLS, possibly plain HTTP")]
    NotTls,
    /// The peer ended the TLS connection with this alert.
    ///
    /// A server that requires a certificate of the client sends `CertificateRequired`, for example.
    #[error("peer ended the TLS connection with the alert {0}")]
    Alert(Box<str>),
    /// The TLS handshake failed for another reason, which is the source.
    #[error("TLS handshake failed")]
    Handshake(#[source] BoxError),
    /// The machine has no CA certificates, or they cannot be read.
    ///
    /// This is common in containers. Install them (Debian: `ca-certificates`), or enable the Cargo
    /// feature `tls-webpki-roots`.
    #[error("no CA certificates found on this machine: install them, or enable the feature tls-webpki-roots")]
    NoRoots,
    /// A name is neither a host name nor an address.
    #[error("invalid server name {0:?}")]
    ServerName(Box<str>),
    /// A text does not contain the certificates or the private key in PEM that it should.
    #[error("invalid PEM: {0}")]
    Pem(Box<str>),
    /// The settings are invalid for another reason, which is the source. A private key that does
    /// not belong to its certificate is an example.
    #[error("invalid TLS settings")]
    Settings(#[source] BoxError),
}

impl TlsError {
    /// Returns whether the settings of the caller, or of the machine, are the reason.
    #[cfg(feature = "reconnect")]
    pub(crate) fn is_settings(&self) -> bool {
        matches!(self, Self::NoRoots | Self::ServerName(_) | Self::Pem(_) | Self::Settings(_))
    }

    /// Returns whether the certificate of the peer is the reason.
    ///
    /// Another attempt to connect then fails as well, unless the peer changes its certificate.
    pub fn is_certificate(&self) -> bool {
        matches!(
            self,
            Self::WrongName
                | Self::Expired
                | Self::NotYetValid
                | Self::SelfSigned
                | Self::UnknownAuthority
                | Self::Revoked
                | Self::Certificate(_)
        )
    }
}
