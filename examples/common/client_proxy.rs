//! The proxy options of the example clients. Without the feature `proxy` there are none.

use clap::Args;
use fullduplex::Client;

#[cfg(feature = "proxy")]
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// Proxy to connect through: http://, https://, socks5:// or socks4://[USER:PASSWORD@]HOST[:PORT],
    /// or `env` for the one that the environment selects.
    #[arg(long, value_name = "URL", value_parser = parse)]
    proxy: Option<Choice>,
}

#[cfg(feature = "proxy")]
#[derive(Debug, Clone)]
enum Choice {
    Environment,
    One(fullduplex::proxy::Proxy),
}

#[cfg(feature = "proxy")]
fn parse(text: &str) -> Result<Choice, fullduplex::proxy::InvalidProxy> {
    if text == "env" { Ok(Choice::Environment) } else { text.parse().map(Choice::One) }
}

#[cfg(feature = "proxy")]
impl Proxy {
    /// Returns the client with the selected proxy.
    pub(crate) fn apply(&self, client: Client) -> Client {
        match &self.proxy {
            None => client,
            Some(Choice::Environment) => client.proxy_from_environment(),
            Some(Choice::One(proxy)) => client.proxy(proxy.clone()),
        }
    }
}

#[cfg(not(feature = "proxy"))]
#[derive(Debug, Args)]
pub(crate) struct Proxy {}

#[cfg(not(feature = "proxy"))]
impl Proxy {
    pub(crate) fn apply(&self, client: Client) -> Client {
        client
    }
}
