//! Certificates for tests: an authority, and what it issues.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate and its private key, in PEM.
#[derive(Clone)]
pub struct Identity {
    pub chain: String,
    pub key: String,
}

/// An authority that issues certificates.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Returns the certificate of the authority, in PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Issues a certificate for this name.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_with(params(name))
    }

    pub fn issue_with(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

pub fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a valid name")
}

/// Creates a certificate that is signed by itself; as an authority, as many tools do by default, or
/// not.
pub fn self_signed(name: &str, is_authority: bool) -> Identity {
    let mut params = params(name);
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Identity { chain: certificate.pem(), key: key.serialize_pem() }
}
