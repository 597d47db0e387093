//! Bearer tokens among the offered subprotocols, of both ends.

#[path = "support/handshake.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use fullduplex::{
    AnyRequest, Client, Config, Error, Fault, IncomingRequest, InvalidHandshake, ResponseError, Server,
    handshake::{parse_request, respond, take_bearer_token},
};
use http::Response;
use support::{REQUEST, SWITCHING};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo";

fn server() -> Server {
    Server::new(Config::new()).subprotocols(["chat.v2", "chat.v1"]).bearer_prefix("bearer.")
}

/// Returns a request that offers these subprotocols, one field for each.
fn offering(values: &[&str]) -> String {
    let fields: String = values.iter().map(|value| format!("Sec-WebSocket-Protocol: {value}\r\n")).collect();
    REQUEST.replacen("\r\n\r\n", &format!("\r\n{fields}\r\n"), 1)
}

/// Lets a server read a request, and returns it with the peer's end.
async fn read(values: &[&str]) -> (Result<IncomingRequest<DuplexStream>, Error>, DuplexStream) {
    let (mut near, io) = duplex(1 << 16);
    near.write_all(offering(values).as_bytes()).await.expect("fits");
    near.shutdown().await.expect("open");
    (server().read_request(io).await, near)
}

async fn response(mut near: DuplexStream) -> String {
    let mut response = String::new();
    near.read_to_string(&mut response).await.expect("text");
    response
}

#[tokio::test]
async fn the_token_is_returned_and_another_subprotocol_is_selected_in_its_place() {
    let token = format!("bearer.{TOKEN}");
    let both = format!("{token}, chat.v1");
    for (values, selected) in [
        (&["chat.v1", &token][..], "chat.v1"),
        (&[&both], "chat.v1"),
        (&["chat.v1", &token, "chat.v2"], "chat.v2"),
    ] {
        let (request, near) = read(values).await;
        let request = request.expect("valid");
        assert_eq!(request.bearer_token(), Some(TOKEN));
        let shown = format!("{request:?} {:?}", request.request());
        assert!(!shown.contains(TOKEN) && shown.contains("chat.v1"), "{shown}");
        let ws = request.accept().await.expect("written");
        assert_eq!(ws.subprotocol(), Some(selected));
        drop(ws);
        let expected =
            SWITCHING.replacen("\r\n\r\n", &format!("\r\nSec-WebSocket-Protocol: {selected}\r\n\r\n"), 1);
        assert_eq!(response(near).await, expected);
    }
}

#[tokio::test]
async fn a_request_with_the_token_alone_or_without_one_has_no_subprotocol() {
    let token = format!("bearer.{TOKEN}");
    for (values, expected) in [(&[&*token][..], Some(TOKEN)), (&["other"], None), (&[], None)] {
        let (request, near) = read(values).await;
        let request = request.expect("valid");
        assert_eq!(request.bearer_token(), expected);
        assert_eq!(request.request().headers().contains_key("sec-websocket-protocol"), values == ["other"]);
        drop(request.accept().await.expect("written"));
        assert_eq!(response(near).await, SWITCHING);
    }
}

#[tokio::test]
async fn invalid_tokens_are_rejected_with_400_and_shown_nowhere() {
    for values in [
        &["chat.v1, bearer.hunter2, bearer.hunter2"][..],
        &["bearer.hunter2", "bearer.hunter3"],
        &["chat.v1, bearer."],
        &["bearer.hunter2/=="],
    ] {
        let (request, near) = read(values).await;
        let error = request.expect_err("invalid");
        assert!(matches!(&error, Error::Rejected(rejection) if rejection.status() == 400), "{error}");
        let answered = response(near).await;
        assert!(answered.starts_with("HTTP/1.1 400 "), "{answered}");

        let (mut near, io) = duplex(1 << 16);
        near.write_all(offering(values).as_bytes()).await.expect("fits");
        let rejected = server().read_any_request(io).await.expect("a request");
        let request = match &rejected {
            AnyRequest::Rejected(rejected) => rejected.request().expect("a complete head"),
            other => panic!("{other:?}"),
        };
        let shown = format!("{error:?} {error:#} {answered} {rejected:?} {request:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

#[tokio::test]
async fn an_application_cannot_select_the_token() {
    let (request, near) = read(&["bearer.hunter2", "chat.v1"]).await;
    let own = Response::builder().header("sec-websocket-protocol", "bearer.hunter2").body(()).expect("valid");
    let error = request.expect("valid").accept_with(own).await.expect_err("not a subprotocol");
    assert!(
        matches!(&error, Error::InvalidHandshake(error) if **error == InvalidHandshake::SubprotocolNotOffered)
    );
    let answered = response(near).await;
    assert!(answered.starts_with("HTTP/1.1 500 ") && !answered.contains("hunter2"), "{answered}");
}

#[test]
fn behind_another_http_library_the_token_is_taken_first_and_ignored_otherwise() {
    let request = parse_request(offering(&["bearer.hunter2, chat.v1"]).as_bytes(), &Config::new());
    let (mut parts, ()) = request.expect("valid").into_parts();
    let (first, _) = respond(&parts, &server()).expect("valid");
    assert_eq!(first.headers()["sec-websocket-protocol"], "chat.v1");
    // A server without the setting that supports any of the names.
    let careless = Server::default().subprotocols(["bearer.hunter2"]);
    let token = take_bearer_token(&mut parts.headers, "bearer.").expect("valid").expect("a token");
    assert_eq!(token.as_str(), "hunter2");
    let (second, negotiated) = respond(&parts, &careless).expect("valid");
    assert!(negotiated.is_empty() && !second.headers().contains_key("sec-websocket-protocol"));
}

#[tokio::test]
async fn a_client_offers_a_token_that_a_server_reads() {
    let (near, far) = duplex(1 << 16);
    let client = Client::default().subprotocol("chat.v1").bearer_token("bearer.", TOKEN);
    let serve = async {
        let request = server().read_request(far).await?;
        assert_eq!(request.bearer_token(), Some(TOKEN));
        request.accept().await
    };
    let (opened, accepted) = tokio::join!(client.handshake("ws://localhost/", near), serve);
    assert_eq!(opened.expect("accepted").0.subprotocol(), Some("chat.v1"));
    assert_eq!(accepted.expect("valid").subprotocol(), Some("chat.v1"));
}

#[tokio::test]
async fn a_client_refuses_a_server_that_selects_the_token() {
    let (near, far) = duplex(1 << 16);
    let client = Client::default().bearer_token("bearer.", "hunter2");
    let careless = Server::default().subprotocols(["bearer.hunter2"]);
    let serve = async { careless.read_request(far).await?.accept().await };
    let (opened, _accepted) = tokio::join!(client.handshake("ws://localhost/", near), serve);
    let error = opened.expect_err("a token is not a subprotocol");
    assert!(
        matches!(&error, Error::Response(error) if matches!(**error, ResponseError::Subprotocol(Fault::Wrong))),
        "{error}"
    );
    assert!(!format!("{error:?} {error:#}").contains("hunter2"));
}
