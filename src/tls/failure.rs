//! Converts the errors of rustls.

use std::io;

use tokio_rustls::rustls::{self, CertificateError, InvalidMessage};

use super::verify::SelfSigned;
use crate::error::{Error, TlsError};

/// Converts the error of a handshake. An error of the transport, such as a reset, is returned as
/// such.
pub(super) fn handshake_error(error: io::Error) -> Error {
    match error.downcast::<rustls::Error>() {
        Ok(error) => Error::Tls(Box::new(tls_error(error))),
        Err(error) => Error::Transport(error),
    }
}

/// Converts the error of an open connection, so that [`Error::from`] returns [`Error::Tls`] for it.
///
/// With TLS 1.3, a client learns only after its handshake that the server rejects its certificate.
pub(super) fn stream_error(error: io::Error) -> io::Error {
    match error.downcast::<rustls::Error>() {
        Ok(error) => Error::Tls(Box::new(tls_error(error))).into(),
        Err(error) => error,
    }
}

fn tls_error(error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate_error(error),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsError::NotTls,
        rustls::Error::AlertReceived(alert) => TlsError::Alert(format!("{alert:?}").into()),
        other => TlsError::Handshake(Box::new(other)),
    }
}

fn certificate_error(error: CertificateError) -> TlsError {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        Other, Revoked, UnknownIssuer,
    };
    match error {
        Expired | ExpiredContext { .. } => TlsError::Expired,
        NotValidYet | NotValidYetContext { .. } => TlsError::NotYetValid,
        NotValidForName | NotValidForNameContext { .. } => TlsError::WrongName,
        UnknownIssuer => TlsError::UnknownAuthority,
        Revoked => TlsError::Revoked,
        Other(error) if error.0.is::<SelfSigned>() => TlsError::SelfSigned,
        other => TlsError::Certificate(Box::new(rustls::Error::InvalidCertificate(other))),
    }
}
