//! Certificates and keys in PEM (RFC 7468).

use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::error::TlsError;

/// Reads one or more certificates.
pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| invalid("certificate", &error))?;
    if certificates.is_empty() {
        return Err(TlsError::Pem("no certificate found".into()));
    }
    Ok(certificates)
}

/// Reads a private key: PKCS #8, PKCS #1 or SEC 1.
pub(super) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| invalid("private key", &error))
}

/// Describes an error without the text, which may be a private key.
fn invalid(what: &str, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => format!("no {what} found"),
        pem::Error::MissingSectionEnd { .. } => format!("a {what} has no end"),
        _ => format!("invalid {what}"),
    };
    TlsError::Pem(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_the_item_is_an_error_that_does_not_show_it() {
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        let half = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n";
        let broken = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        for (error, text) in [
            (certificates(b"").map(drop), "invalid PEM: no certificate found"),
            (certificates(key.as_bytes()).map(drop), "invalid PEM: no certificate found"),
            (certificates(broken.as_bytes()).map(drop), "invalid PEM: invalid certificate"),
            (private_key(b"secret").map(drop), "invalid PEM: no private key found"),
            (private_key(half.as_bytes()).map(drop), "invalid PEM: a private key has no end"),
        ] {
            assert_eq!(error.expect_err("invalid").to_string(), text);
        }
        assert!(private_key(key.as_bytes()).is_ok(), "what is in it is checked with the certificate");
    }
}
