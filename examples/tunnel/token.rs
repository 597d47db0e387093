//! The secret that both ends share.

use std::{fs, io, path::PathBuf};

use clap::Args;
use fullduplex::{Client, IncomingRequest, Server};
use subtle::ConstantTimeEq;

/// The subprotocol of the tunnel. Both ends require it, so that neither talks to a server or a
/// client of another kind.
pub(crate) const SUBPROTOCOL: &str = "tcp-tunnel.v1";

/// What precedes the token in the list of subprotocols.
const PREFIX: &str = "bearer.";

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// File with the token that both ends share: letters, digits and "-._~". Options can be seen by
    /// other users of the machine, a file need not.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The token; without one, a server accepts every client.
pub(crate) struct Token(Option<String>);

impl TokenArgs {
    /// Reads the token, without the space around it.
    pub(crate) fn read(&self) -> io::Result<Token> {
        let Some(file) = &self.token_file else { return Ok(Token(None)) };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        let token = fs::read_to_string(file).map_err(named)?.trim().to_owned();
        if token.is_empty() {
            return Err(named(io::Error::new(io::ErrorKind::InvalidData, "contains no token")));
        }
        Ok(Token(Some(token)))
    }
}

impl Token {
    /// Makes the client offer the token.
    pub(crate) fn offer(&self, client: Client) -> Client {
        let client = client.subprotocol(SUBPROTOCOL);
        match &self.0 {
            Some(token) => client.bearer_token(PREFIX, token),
            None => client,
        }
    }

    /// Makes the server take the token out of the offer.
    pub(crate) fn expect(server: Server) -> Server {
        server.subprotocols([SUBPROTOCOL]).bearer_prefix(PREFIX)
    }

    /// Returns whether the request may be accepted. Tokens are compared in constant time.
    pub(crate) fn permits<S>(&self, request: &IncomingRequest<S>) -> bool {
        let Some(expected) = &self.0 else { return true };
        let sent = request.bearer_token().unwrap_or_default();
        bool::from(sent.as_bytes().ct_eq(expected.as_bytes()))
    }
}
