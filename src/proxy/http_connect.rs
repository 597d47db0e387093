//! Tunnels through HTTP proxies: CONNECT (RFC 9110 section 9.3.6).

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Proxy, ProxyError, read_failed};
use crate::{
    Config,
    error::Error,
    handshake::{Target, target::bracketed},
    opening::{Deadline, HeadReader, NoResponse, read_refusal, read_response, write},
};

/// Opens a tunnel. Returns the bytes that were received after the response.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    proxy: &Proxy,
    target: &Target,
    config: &Config,
    deadline: Deadline,
    io: &mut S,
) -> Result<Bytes, Error> {
    let request = request(proxy, target);
    let mut reader = HeadReader::new();
    let exchange = async {
        write(io, &request).await?;
        read_response(io, &mut reader, config).await.map_err(failed)
    };
    let response = deadline.run(exchange).await?;
    // RFC 9110 section 9.3.6: any 2xx opens the tunnel. It begins directly after the head, and
    // Content-Length and Transfer-Encoding are ignored.
    if response.status().is_success() {
        return Ok(reader.into_unread());
    }
    let refused = read_refusal(response, io, reader, deadline).await;
    Err(ProxyError::Refused(Box::new(refused)).into())
}

/// Encodes the request.
fn request(proxy: &Proxy, target: &Target) -> Vec<u8> {
    // RFC 9112 section 3.2.3: the request target is host and port, also if the port is a default.
    // RFC 9110 section 7.2: Host is the same.
    let authority = format!("{}:{}", bracketed(target.host()), target.port());
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(credentials) = proxy.userinfo() {
        // RFC 9110 section 11.7.2. Base64 contains no byte that could end the line.
        request += &format!("Proxy-Authorization: {}\r\n", credentials.basic());
    }
    request += "\r\n";
    request.into_bytes()
}

fn failed(error: NoResponse) -> Error {
    match error {
        NoResponse::Transport(error) => read_failed(error),
        NoResponse::Head(error) => ProxyError::Head(error).into(),
        NoResponse::TooManyInterim => ProxyError::TooManyInterim.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_of(proxy: &str, target: &str) -> String {
        let request = request(&proxy.parse().expect("valid"), &target.parse().expect("valid"));
        String::from_utf8(request).expect("text")
    }

    /// RFC 9112 section 3.2.3, RFC 9110 section 7.2.
    #[test]
    fn a_request_names_host_and_port_alone() {
        for (target, authority) in [
            ("ws://example.com/chat?room=1", "example.com:80"),
            ("wss://user:password@example.com", "example.com:443"),
            ("ws://192.0.2.1:8080", "192.0.2.1:8080"),
            ("ws://[2001:DB8::1]/", "[2001:db8::1]:80"),
        ] {
            assert_eq!(
                request_of("http://proxy", target),
                format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
            );
        }
    }

    /// RFC 7617 section 2: the example of the RFC.
    #[test]
    fn credentials_are_sent_as_basic_proxy_authorization() {
        assert_eq!(
            request_of("http://Aladdin:open%20sesame@proxy", "ws://a"),
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\
             Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
        );
    }
}
