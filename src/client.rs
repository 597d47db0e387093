//! The client side of the opening handshake, over a transport.

use bytes::Bytes;
use http::{Response, StatusCode};
use rand::Rng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::{
    Role, WebSocket,
    error::Error,
    handshake::{
        BodyReader, Client, HeadError, HeadScanner, InvalidHandshake, Negotiated, ResponseError, Target,
        TargetError, response,
    },
    opening::{Deadline, HeadReader, write},
};

/// The largest number of interim responses (1xx) before the final one.
const MAX_INTERIM: usize = 8;

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
        Box::pin(async move { perform_handshake(self, &target, io).await }).await
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
        read_response(client, &mut io, &mut reader).await
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

/// Reads the final response.
///
/// RFC 9110 section 15.2: interim responses (1xx) may precede it. A 101 is final: it switches the
/// protocol.
async fn read_response<S: AsyncRead + Unpin>(
    client: &Client,
    io: &mut S,
    reader: &mut HeadReader,
) -> Result<Response<()>, Error> {
    for _ in 0..=MAX_INTERIM {
        let head = reader.read(io, HeadScanner::response(client.config())).await?;
        let response = head.and_then(|(head, end)| response::parse_scanned(&head, end));
        let response = response.map_err(|error: HeadError| ResponseError::from(error))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS || !response.status().is_informational() {
            return Ok(response);
        }
    }
    Err(ResponseError::TooManyInterim.into())
}

/// Reads the body of a refusal until the deadline.
///
/// Errors are ignored: the response is reported with the part of the body that was read.
async fn read_refusal<S: AsyncRead + Unpin>(
    response: Response<()>,
    io: &mut S,
    reader: HeadReader,
    deadline: Deadline,
) -> Response<Bytes> {
    let (parts, ()) = response.into_parts();
    let mut body = BodyReader::new(&parts);
    body.receive(&reader.into_unread());
    let rest = async {
        let mut scratch = [0; 1024];
        while !body.is_done() {
            match io.read(&mut scratch).await? {
                0 => break,
                read => body.receive(&scratch[..read]),
            }
        }
        Ok(())
    };
    let _ = deadline.run(rest).await;
    Response::from_parts(parts, body.into_body())
}
