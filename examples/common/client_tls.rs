//! The TLS options of the example clients. Without the feature `tls` there are none.

use clap::Args;
use fullduplex::{Client, Error};

#[cfg(feature = "tls")]
#[derive(Debug, Args)]
#[group(id = "client_tls")]
pub(crate) struct Tls {
    /// Trust the authorities in this file (PEM) as well as those of the system.
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    /// Accept any certificate of the server: the connection is not secure.
    #[arg(long)]
    insecure: bool,
    /// Certificate to present to the server: a chain in PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<std::path::PathBuf>,
    /// Private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<std::path::PathBuf>,
    /// Name that the certificate of the server has to be valid for, instead of the host of the URL.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

#[cfg(feature = "tls")]
impl Tls {
    /// Returns the client with these settings.
    pub(crate) fn apply(&self, client: Client) -> Result<Client, Error> {
        let Self { ca, insecure, cert, key, server_name } = self;
        if ca.is_none() && !insecure && cert.is_none() && server_name.is_none() {
            return Ok(client);
        }
        let mut builder = fullduplex::TlsConnector::builder();
        if let Some(ca) = ca {
            builder = builder.roots(read(ca)?);
        }
        if let (Some(cert), Some(key)) = (cert, key) {
            builder = builder.client_certificate(read(cert)?, read(key)?);
        }
        if let Some(name) = server_name {
            builder = builder.server_name(name);
        }
        if *insecure {
            builder = builder.danger_accept_any_certificate();
        }
        Ok(client.tls(builder.build()?))
    }
}

#[cfg(feature = "tls")]
fn read(file: &std::path::Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(file)
        .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

#[cfg(not(feature = "tls"))]
#[derive(Debug, Args)]
#[group(id = "client_tls")]
pub(crate) struct Tls {}

#[cfg(not(feature = "tls"))]
impl Tls {
    pub(crate) fn apply(&self, client: Client) -> Result<Client, Error> {
        Ok(client)
    }
}
