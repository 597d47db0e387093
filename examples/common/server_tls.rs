//! The TLS options of the example servers. Without the feature `tls` there are none.

use clap::Args;

#[cfg(feature = "tls")]
#[derive(Debug, Args)]
pub(crate) struct Tls {
    /// Serve wss:// with this certificate: a chain in PEM. SIGHUP reads it again.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<std::path::PathBuf>,
    /// Private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<std::path::PathBuf>,
    /// Serve wss:// with a new certificate for localhost, which is written to this file so that
    /// clients can trust it.
    #[arg(long, value_name = "FILE", conflicts_with = "tls_cert")]
    self_signed: Option<std::path::PathBuf>,
}

#[cfg(feature = "tls")]
mod tls {
    use std::{
        fs, io,
        path::{Path, PathBuf},
    };

    use fullduplex::TlsAcceptor;

    use super::Tls;

    impl Tls {
        /// Returns the acceptor, if TLS is requested.
        pub(crate) fn acceptor(&self) -> io::Result<Option<TlsAcceptor>> {
            if let Some(file) = &self.self_signed {
                return self_signed(file).map(Some);
            }
            let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
            let acceptor = TlsAcceptor::from_pem(read(certificate)?, read(key)?).map_err(invalid)?;
            reload_on_hangup(&acceptor, certificate, key)?;
            Ok(Some(acceptor))
        }
    }

    fn read(file: &Path) -> io::Result<Vec<u8>> {
        fs::read(file).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
    }

    fn invalid(error: fullduplex::TlsError) -> io::Error {
        io::Error::from(fullduplex::Error::from(error))
    }

    /// Creates a certificate for localhost, and writes it to a file.
    fn self_signed(file: &Path) -> io::Result<TlsAcceptor> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let certificate = made.cert.pem();
        fs::write(file, &certificate)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
        TlsAcceptor::from_pem(certificate, made.signing_key.serialize_pem()).map_err(invalid)
    }

    /// Reads the certificate again at each SIGHUP. If that fails, the previous one stays in use.
    #[cfg(unix)]
    fn reload_on_hangup(acceptor: &TlsAcceptor, certificate: &Path, key: &Path) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};

        let mut hangups = signal(SignalKind::hangup())?;
        let (acceptor, files): (_, [PathBuf; 2]) = (acceptor.clone(), [certificate.into(), key.into()]);
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                let read = read(&files[0]).and_then(|certificate| Ok((certificate, read(&files[1])?)));
                match read.and_then(|(certificate, key)| acceptor.reload(certificate, key).map_err(invalid)) {
                    Ok(()) => eprintln!("certificate read again"),
                    Err(error) => eprintln!("certificate not changed: {error}"),
                }
            }
        });
        Ok(())
    }

    #[cfg(not(unix))]
    fn reload_on_hangup(_: &TlsAcceptor, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(feature = "tls"))]
#[derive(Debug, Args)]
pub(crate) struct Tls {}
