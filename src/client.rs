//! The client side of the opening handshake, over a transport.

use http::{Response, StatusCode};
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Role, WebSocket,
    error::Error,
    handshake::{Client, InvalidHandshake, Negotiated, ResponseError, Target, TargetError},
    opening::{Deadline, HeadReader, read_refusal, read_response, write},
    trace::HandshakeTrace,
};

impl Client {
    /// Opens a WebSocket connection over an existing transport.
    ///
    /// The transport is any byte stream, such as a Unix socket, a TLS stream or a tunnel.
    ///
    /// The target supplies the request target and `Host`; nothing is dialed. With `wss://`, the
    /// caller must ensure that the transport is encrypted.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect), except those of dialing and TLS.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// # async fn run(unix: tokio::io::DuplexStream) -> Result<(), fullduplex::Error> {
    /// let (ws, response) = fullduplex::Client::default().handshake("ws://localhost/events", unix).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn handshake<T, S>(&self, target: T, io: S) -> Result<(WebSocket<S>, Response<()>), Error>
    where
        T: TryInto<Target>,
        T::Error: Into<TargetError>,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let target = target_of(target)?;
        Box::pin(async move {
            let trace = HandshakeTrace::client(&target);
            let opened =
                perform_handshake(self, &target, io).await.inspect_err(|error| trace.failed(error))?;
            trace.opened();
            opened.0.events().server(&target, || None);
            Ok(opened)
        })
        .await
    }
}

/// Parses the target of a call.
pub(crate) fn target_of<T>(target: T) -> Result<Target, InvalidHandshake>
where
    T: TryInto<Target>,
    T::Error: Into<TargetError>,
{
    target.try_into().map_err(|error| InvalidHandshake::Target(error.into()))
}

/// Performs the opening handshake over a transport.
pub(crate) async fn perform_handshake<S: AsyncRead + AsyncWrite + Unpin>(
    client: &Client,
    target: &Target,
    mut io: S,
) -> Result<(WebSocket<S>, Response<()>), Error> {
    // RFC 6455 section 4.1, 7: a nonce of 16 bytes, chosen at random for each connection.
    let mut nonce = [0; 16];
    rand::rng().fill_bytes(&mut nonce);
    let request = client.request(target, nonce)?;
    let deadline = Deadline::handshake(client.config());
    let mut reader = HeadReader::new();
    let exchange = async {
        write(&mut io, &request).await?;
        Ok(read_response(&mut io, &mut reader, client.config()).await?)
    };
    let response = deadline.run(exchange).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let refused = read_refusal(response, &mut io, reader, deadline).await;
        return Err(ResponseError::Status(Box::new(refused)).into());
    }
    let negotiated: Negotiated = client.verify(&response, nonce)?;
    let ws = WebSocket::from_raw(io, reader.into_unread(), Role::Client, client.config(), negotiated);
    Ok((ws, response))
}
