//! The negotiation of permessage-deflate (RFC 7692 section 7.1): the offer of a client, the answer
//! of a server, and its validation.
//!
//! Names are compared case-insensitively, as parameter names are in HTTP (RFC 9110 section 5.6.6);
//! neither RFC 6455 nor RFC 7692 says otherwise. Quoted values are compared without their quotes
//! (RFC 6455 section 9.1).

use super::{headers::Extension, negotiate::Negotiated, response::Fault};
use crate::proto::{
    CLIENT_MAX_WINDOW_BITS, CLIENT_NO_CONTEXT_TAKEOVER, Config, DEFLATE, Deflate, DeflateParams,
    MAX_WINDOW_BITS, SERVER_MAX_WINDOW_BITS, SERVER_NO_CONTEXT_TAKEOVER,
};

/// Returns the offer of a client, as the value of `Sec-WebSocket-Extensions`.
pub(super) fn offer(config: &Config) -> Option<String> {
    config.deflate.map(write_offer)
}

/// Adds permessage-deflate if the server accepts one of the offers.
pub(super) fn accept(negotiated: Negotiated, offers: &[Extension<'_>], config: &Config) -> Negotiated {
    match config.deflate.and_then(|settings| choose(offers, settings)) {
        Some(AcceptedOffer { params, text }) => negotiated.with_deflate_as(params, text),
        None => negotiated,
    }
}

/// Validates the answer of a server, and returns the negotiated extensions.
pub(super) fn verify_answer(answer: &[Extension<'_>], config: &Config) -> Result<Negotiated, Fault> {
    match (answer, config.deflate) {
        ([], _) => Ok(Negotiated::default()),
        ([element], Some(settings)) if is_deflate(element) => agree(&ParsedParams::read(element)?, settings)
            .map(|params| Negotiated::default().with_deflate(params)),
        // RFC 7692 section 5: a server accepts at most one offer.
        (all, Some(_)) if all.iter().all(is_deflate) => Err(Fault::Duplicate),
        // RFC 6455 section 4.1, response, 5: an extension that was not offered.
        _ => Err(Fault::Wrong),
    }
}

/// Writes the offer of a client.
///
/// RFC 7692 section 7.1.2.2: a server may limit the window of the client only if the offer contains
/// `client_max_window_bits`.
fn write_offer(settings: Deflate) -> String {
    let own = DeflateParams::from(settings);
    let mut offer = own.to_string();
    if own.client_max_window_bits == MAX_WINDOW_BITS {
        offer += "; ";
        offer += CLIENT_MAX_WINDOW_BITS;
    }
    offer
}

/// An accepted offer, and the text of the response.
#[derive(Debug, PartialEq, Eq)]
struct AcceptedOffer {
    params: DeflateParams,
    text: String,
}

/// Accepts the first acceptable offer.
fn choose(offers: &[Extension<'_>], settings: Deflate) -> Option<AcceptedOffer> {
    // RFC 7692 section 5: offers are in order of preference. Section 7.1: an offer with an unknown
    // or duplicate parameter, or an invalid value, is declined. That is not an error.
    offers
        .iter()
        .filter(|offer| is_deflate(offer))
        .find_map(|offer| Some(answer(&ParsedParams::read(offer).ok()?, settings)))
}

fn answer(offer: &ParsedParams, settings: Deflate) -> AcceptedOffer {
    let own = DeflateParams::from(settings);
    let params = DeflateParams {
        // RFC 7692 sections 7.1.1.1 and 7.1.1.2: a server repeats an offered parameter, and may add
        // one that was not offered.
        server_no_context_takeover: own.server_no_context_takeover || offer.server_no_context_takeover,
        client_no_context_takeover: own.client_no_context_takeover || offer.client_no_context_takeover,
        // RFC 7692 section 7.1.2.1: at most the value of the offer.
        server_max_window_bits: offer
            .server_max_window_bits
            .unwrap_or(MAX_WINDOW_BITS)
            .min(own.server_max_window_bits),
        // RFC 7692 section 7.1.2.2: only an offer with this parameter allows it in the answer.
        client_max_window_bits: match offer.client_max_window_bits {
            Some(bits) => bits.unwrap_or(MAX_WINDOW_BITS).min(own.client_max_window_bits),
            None => MAX_WINDOW_BITS,
        },
    };
    let mut text = params.to_string();
    // RFC 7692 section 7.1.2.1: a server accepts this parameter by repeating it, even with the
    // largest value.
    if offer.server_max_window_bits.is_some() && params.server_max_window_bits == MAX_WINDOW_BITS {
        text += &format!("; {SERVER_MAX_WINDOW_BITS}={MAX_WINDOW_BITS}");
    }
    AcceptedOffer { params, text }
}

fn agree(answer: &ParsedParams, settings: Deflate) -> Result<DeflateParams, Fault> {
    let own = DeflateParams::from(settings);
    // RFC 7692 section 7.1.1.1: a server accepts this parameter by repeating it.
    if own.server_no_context_takeover && !answer.server_no_context_takeover {
        return Err(Fault::Wrong);
    }
    // RFC 7692 section 7.1.2.1: likewise, with at most the offered value.
    let server_max_window_bits = answer.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
    if server_max_window_bits > own.server_max_window_bits {
        return Err(Fault::Wrong);
    }
    let client_max_window_bits = match answer.client_max_window_bits {
        // RFC 7692 section 7.1.2.2: only an offer may have this parameter without a value.
        Some(None) => return Err(Fault::Malformed),
        Some(Some(bits)) if bits > own.client_max_window_bits => return Err(Fault::Wrong),
        Some(Some(bits)) => bits,
        // The client applies its own limit even if the answer does not contain it.
        None => own.client_max_window_bits,
    };
    Ok(DeflateParams {
        server_no_context_takeover: answer.server_no_context_takeover,
        // RFC 7692 section 7.1.1.2: required by the server, or offered by the client itself.
        client_no_context_takeover: answer.client_no_context_takeover || own.client_no_context_takeover,
        server_max_window_bits,
        client_max_window_bits,
    })
}

fn is_deflate(element: &Extension<'_>) -> bool {
    element.name().eq_ignore_ascii_case(DEFLATE)
}

/// The parameters of an offer or answer: each is known, occurs at most once, and has a valid value.
#[derive(Debug, Default, PartialEq, Eq)]
struct ParsedParams {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// `Some(None)` if the parameter has no value.
    client_max_window_bits: Option<Option<u8>>,
}

impl ParsedParams {
    /// Parses and validates the parameters.
    ///
    /// RFC 7692 section 7.1: on an error, a server declines the offer, and a client fails the
    /// connection.
    fn read(element: &Extension<'_>) -> Result<Self, Fault> {
        let mut params = Self::default();
        for &(name, value) in element.params() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let is_duplicate = if is(SERVER_NO_CONTEXT_TAKEOVER) {
                without_value(value)?;
                std::mem::replace(&mut params.server_no_context_takeover, true)
            } else if is(CLIENT_NO_CONTEXT_TAKEOVER) {
                without_value(value)?;
                std::mem::replace(&mut params.client_no_context_takeover, true)
            } else if is(SERVER_MAX_WINDOW_BITS) {
                let bits = window_bits(value.ok_or(Fault::Malformed)?)?;
                params.server_max_window_bits.replace(bits).is_some()
            } else if is(CLIENT_MAX_WINDOW_BITS) {
                let bits = value.map(window_bits).transpose()?;
                params.client_max_window_bits.replace(bits).is_some()
            } else {
                return Err(Fault::Wrong);
            };
            if is_duplicate {
                return Err(Fault::Duplicate);
            }
        }
        Ok(params)
    }
}

fn without_value(value: Option<&str>) -> Result<(), Fault> {
    if value.is_none() { Ok(()) } else { Err(Fault::Malformed) }
}

/// Parses a window size (RFC 7692 section 7.1.2): a decimal number from 8 to 15, without leading
/// zeros.
fn window_bits(value: &str) -> Result<u8, Fault> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Ok(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Ok(10 + digit - b'0'),
        _ => Err(Fault::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Request, Response, header};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Client, Server,
        handshake::{ResponseError, encode_response, extend_response, parse_extensions, respond},
    };

    /// Returns settings without any parameter.
    fn plain() -> Deflate {
        Deflate::new().context_takeover(true)
    }

    /// Returns the answer of a server to a list of offers; `None` if it declines all of them.
    fn answered(offers: &str, settings: Deflate) -> Option<String> {
        choose(&parse_extensions(offers).expect("well-formed"), settings).map(|answer| answer.text)
    }

    /// Returns the result of a client with these settings for an answer.
    fn verified(answer: &str, settings: Deflate) -> Result<DeflateParams, Fault> {
        let answer = parse_extensions(answer).expect("well-formed");
        verify_answer(&answer, &Config::new().deflate(settings))
            .map(|negotiated| negotiated.deflate().expect("a valid answer agrees to compression"))
    }

    /// RFC 7692 section 7.1.
    #[test]
    fn an_offer_is_accepted_with_its_parameters() {
        for (offer, answer) in [
            ("permessage-deflate", "permessage-deflate"),
            ("Permessage-Deflate; Client_Max_Window_Bits", "permessage-deflate"),
            (
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            ),
            ("permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8"),
            (
                r#"permessage-deflate; server_max_window_bits="8""#,
                "permessage-deflate; server_max_window_bits=8",
            ),
            (
                "permessage-deflate; server_max_window_bits=15",
                "permessage-deflate; server_max_window_bits=15",
            ),
            ("permessage-deflate; client_max_window_bits=15", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9"),
        ] {
            assert_eq!(answered(offer, plain()).as_deref(), Some(answer), "{offer}");
        }
    }

    /// RFC 7692 section 7.1.
    #[test]
    fn a_server_adds_the_parameters_of_its_settings() {
        let wishes = Deflate::new().server_max_window_bits(11).client_max_window_bits(12);
        let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for (offer, rest) in [
            ("", "; server_max_window_bits=11"),
            ("; client_max_window_bits", "; server_max_window_bits=11; client_max_window_bits=12"),
            ("; server_max_window_bits=15", "; server_max_window_bits=11"),
            (
                "; server_max_window_bits=10; client_max_window_bits=10",
                "; server_max_window_bits=10; client_max_window_bits=10",
            ),
        ] {
            let answer = answered(&format!("permessage-deflate{offer}"), wishes);
            assert_eq!(answer, Some(format!("{both}{rest}")), "{offer}");
        }
    }

    /// Parameters that are invalid in offers and answers, and their faults.
    const INVALID: [(&str, Fault); 30] = [
        ("x", Fault::Wrong),
        ("server_max_window_bit", Fault::Wrong),
        ("server_max_window_bits_=8", Fault::Wrong),
        ("permessage-deflate", Fault::Wrong),
        ("server_no_context_takeover=1", Fault::Malformed),
        ("server_no_context_takeover=true", Fault::Malformed),
        (r#"client_no_context_takeover="x""#, Fault::Malformed),
        ("server_max_window_bits", Fault::Malformed),
        ("server_max_window_bits=0", Fault::Malformed),
        ("server_max_window_bits=7", Fault::Malformed),
        (r#"server_max_window_bits="7""#, Fault::Malformed),
        ("server_max_window_bits=16", Fault::Malformed),
        ("server_max_window_bits=08", Fault::Malformed),
        (r#"server_max_window_bits="08""#, Fault::Malformed),
        ("server_max_window_bits=015", Fault::Malformed),
        ("server_max_window_bits=+9", Fault::Malformed),
        ("server_max_window_bits=-9", Fault::Malformed),
        ("server_max_window_bits=9.0", Fault::Malformed),
        ("server_max_window_bits=0x9", Fault::Malformed),
        ("server_max_window_bits=18", Fault::Malformed),
        ("server_max_window_bits=99999999999999999999", Fault::Malformed),
        ("client_max_window_bits=0", Fault::Malformed),
        ("client_max_window_bits=7", Fault::Malformed),
        ("client_max_window_bits=16", Fault::Malformed),
        ("client_max_window_bits=08", Fault::Malformed),
        ("client_max_window_bits=x", Fault::Malformed),
        ("server_no_context_takeover; server_no_context_takeover", Fault::Duplicate),
        ("client_no_context_takeover; CLIENT_no_context_takeover", Fault::Duplicate),
        ("server_max_window_bits=9; server_max_window_bits=9", Fault::Duplicate),
        ("client_max_window_bits=9; server_max_window_bits=9; client_max_window_bits=8", Fault::Duplicate),
    ];

    /// RFC 7692 section 7.1.
    #[test]
    fn a_server_declines_an_offer_with_an_invalid_parameter() {
        for (params, _) in INVALID {
            for offer in [
                format!("permessage-deflate; {params}"),
                format!("permessage-deflate; {params}; client_max_window_bits"),
                format!("permessage-deflate; {params}; x"),
            ] {
                assert_eq!(answered(&offer, plain()), None, "{offer}");
            }
        }
        assert_eq!(
            answered("permessage-deflate; client_max_window_bits; client_max_window_bits", plain()),
            None
        );
    }

    /// RFC 7692 section 7.1.
    #[test]
    fn a_client_fails_an_answer_with_an_invalid_parameter() {
        for (params, fault) in INVALID {
            assert_eq!(verified(&format!("permessage-deflate; {params}"), plain()), Err(fault), "{params}");
        }
    }

    /// RFC 7692 section 5.
    #[test]
    fn the_first_acceptable_offer_is_accepted() {
        let nine = Some("permessage-deflate; server_max_window_bits=9".to_owned());
        for offers in [
            "x-frob, permessage-deflate; server_max_window_bits=9, permessage-deflate",
            "permessage-deflate; x, permessage-deflate; server_max_window_bits=9, permessage-deflate",
            "permessage-bzip2; x=9, permessage-deflate; a=b, y, permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=9",
        ] {
            assert_eq!(answered(offers, plain()), nine, "{offers}");
        }
        for offers in
            ["x-webkit-deflate-frame", "permessage-deflate2", "permessage-bzip2, x; permessage-deflate"]
        {
            assert_eq!(answered(offers, plain()), None, "{offers}");
        }
    }

    /// RFC 7692 section 7.1.
    #[test]
    fn a_client_offers_the_parameters_of_its_settings() {
        for (settings, offer) in [
            (plain(), "permessage-deflate; client_max_window_bits"),
            (
                Deflate::new(),
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
            ),
            (plain().client_max_window_bits(9), "permessage-deflate; client_max_window_bits=9"),
            (
                plain().server_max_window_bits(8),
                "permessage-deflate; server_max_window_bits=8; client_max_window_bits",
            ),
        ] {
            let client = Client::new(Config::new().deflate(settings));
            let request = client.request(&"ws://a".parse().expect("valid"), [0; 16]).expect("valid");
            let request = String::from_utf8(request).expect("text");
            assert!(request.contains(&format!("\r\nSec-WebSocket-Extensions: {offer}\r\n")), "{request}");
        }
    }

    /// RFC 7692 section 7.1.
    #[test]
    fn a_client_fails_an_answer_that_does_not_match_its_offer() {
        let ten = plain().server_max_window_bits(10).client_max_window_bits(10);
        for (answer, settings, fault) in [
            ("permessage-deflate", plain().server_no_context_takeover(true), Fault::Wrong),
            ("permessage-deflate", ten, Fault::Wrong),
            ("permessage-deflate; server_max_window_bits=11", ten, Fault::Wrong),
            ("permessage-deflate; server_max_window_bits=10; client_max_window_bits=11", ten, Fault::Wrong),
            ("permessage-deflate; client_max_window_bits", plain(), Fault::Malformed),
            ("permessage-deflate, permessage-deflate", plain(), Fault::Duplicate),
            ("permessage-deflate, x", plain(), Fault::Wrong),
            ("x, permessage-deflate", plain(), Fault::Wrong),
            ("x", plain(), Fault::Wrong),
        ] {
            assert_eq!(verified(answer, settings), Err(fault), "{answer}");
        }
    }

    /// RFC 7692 section 7.1.
    #[test]
    fn a_client_applies_the_answer_and_its_own_offer() {
        let limited = plain().client_no_context_takeover(true).client_max_window_bits(10);
        for (answer, settings, agreed) in [
            ("permessage-deflate", plain(), plain()),
            ("permessage-deflate", limited, limited),
            ("PERMESSAGE-DEFLATE; SERVER_MAX_WINDOW_BITS=15", plain(), plain()),
            ("permessage-deflate; client_max_window_bits=9", limited, limited.client_max_window_bits(9)),
            (r#"permessage-deflate; client_max_window_bits="9""#, plain(), plain().client_max_window_bits(9)),
            ("permessage-deflate; server_max_window_bits=9", plain(), plain().server_max_window_bits(9)),
            (
                "permessage-deflate; server_no_context_takeover",
                plain(),
                plain().server_no_context_takeover(true),
            ),
            (
                "permessage-deflate; client_no_context_takeover",
                plain(),
                plain().client_no_context_takeover(true),
            ),
        ] {
            assert_eq!(verified(answer, settings), Ok(agreed.into()), "{answer}");
        }
    }

    /// Returns the answer of a server with these settings to a request with these lines of
    /// `Sec-WebSocket-Extensions`.
    fn exchange(lines: &[&[u8]], settings: Option<Deflate>) -> Result<(Response<()>, Negotiated), u16> {
        let (mut request, ()) = Request::get("/")
            .header("Host", "a")
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Protocol", "a, b")
            .body(())
            .expect("valid")
            .into_parts();
        for line in lines {
            let line = HeaderValue::from_bytes(line).expect("valid");
            request.headers.append(header::SEC_WEBSOCKET_EXTENSIONS, line);
        }
        respond(&request, &Server::new(Config::new().deflate(settings)).subprotocols(["a"]))
            .map_err(|rejection| rejection.status().as_u16())
    }

    #[test]
    fn offers_on_several_lines_are_one_list() {
        let lines: [&[u8]; 3] =
            [b"x", b"permessage-deflate; x", b"y, permessage-deflate, permessage-deflate; z"];
        let (response, negotiated) = exchange(&lines, Some(plain())).expect("accepted");
        assert_eq!(response.headers()["sec-websocket-extensions"], "permessage-deflate");
        assert_eq!(negotiated.deflate(), Some(plain().into()));
        assert_eq!((negotiated.extensions(), negotiated.subprotocol()), ("permessage-deflate", Some("a")));
        let bytes = String::from_utf8(encode_response(&response)).expect("text");
        assert!(bytes.contains("\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"), "{bytes}");
    }

    #[test]
    fn a_declined_offer_opens_a_connection_without_the_extension() {
        for (line, settings) in
            [(&b"permessage-deflate"[..], None), (b"permessage-deflate; x", Some(Deflate::new()))]
        {
            let (response, negotiated) = exchange(&[line], settings).expect("accepted");
            assert!(!response.headers().contains_key("sec-websocket-extensions"));
            assert_eq!((negotiated.deflate(), negotiated.extensions()), (None, ""));
        }
    }

    /// RFC 6455 section 9.
    #[test]
    fn a_server_answers_no_extension_that_was_not_offered() {
        for lines in [&[][..], &[&b"x"[..]], &[b"x-webkit-deflate-frame", b"permessage-bzip2; x=9"]] {
            let (response, negotiated) = exchange(lines, Some(Deflate::new())).expect("accepted");
            assert!(!response.headers().contains_key("sec-websocket-extensions"), "{lines:?}");
            assert_eq!((negotiated.deflate(), negotiated.extensions()), (None, ""));
        }
    }

    #[test]
    fn a_subprotocol_of_the_application_does_not_change_the_extension() {
        let (mut response, mut negotiated) =
            exchange(&[b"permessage-deflate"], Some(plain())).expect("accepted");
        let offered = [(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("a, b"))];
        let own = Response::builder().header("sec-websocket-protocol", "b").body(()).expect("valid");
        extend_response(&mut response, &mut negotiated, &HeaderMap::from_iter(offered), own)
            .expect("offered");
        assert_eq!((negotiated.subprotocol(), negotiated.deflate()), (Some("b"), Some(plain().into())));
    }

    #[test]
    fn a_client_without_an_offer_fails_any_answer() {
        for (answer, fault) in [
            ("permessage-deflate", Fault::Wrong),
            ("permessage-deflate, permessage-deflate", Fault::Wrong),
            ("permessage-deflate; server_max_window_bits=7", Fault::Wrong),
        ] {
            let answer = parse_extensions(answer).expect("well-formed");
            assert_eq!(verify_answer(&answer, &Config::new()), Err(fault));
        }
        let target = "ws://a".parse().expect("valid");
        let request = Client::default().request(&target, [0; 16]).expect("valid");
        assert!(!String::from_utf8(request).expect("text").contains("Extensions"));
    }

    /// Returns the result of a client for these lines of `Sec-WebSocket-Extensions` in a response.
    fn verify(lines: &[&[u8]], settings: Deflate) -> Result<Negotiated, ResponseError> {
        let mut response = Response::builder()
            .status(101)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .header("Sec-WebSocket-Protocol", "b")
            .body(())
            .expect("valid");
        for line in lines {
            let line = HeaderValue::from_bytes(line).expect("valid");
            response.headers_mut().append(header::SEC_WEBSOCKET_EXTENSIONS, line);
        }
        let client = Client::new(Config::new().deflate(settings)).subprotocol("b");
        client.verify(&response, *b"the sample nonce")
    }

    #[test]
    fn a_client_validates_all_lines_of_the_answer() {
        let negotiated = verify(&[b"permessage-deflate"], plain()).expect("offered");
        assert_eq!((negotiated.subprotocol(), negotiated.deflate()), (Some("b"), Some(plain().into())));
        assert_eq!(verify(&[], Deflate::new()).expect("an offer may be declined").deflate(), None);
        for (lines, fault) in [
            (&[&b"permessage-deflate"[..], b"permessage-deflate"][..], Fault::Duplicate),
            (&[b"permessage-deflate", b""], Fault::Malformed),
            (&[b"permessage-deflate;"], Fault::Malformed),
            (&[b"permessage-deflate; client_max_window_bits=7"], Fault::Malformed),
        ] {
            let result = verify(lines, plain());
            assert!(matches!(&result, Err(ResponseError::Extension(found)) if *found == fault), "{result:?}");
        }
    }

    #[test]
    fn long_lists_are_parsed_in_linear_time() {
        for piece in [";a", ";server_no_context_takeover", ",permessage-deflate;x", ",x", ",", " "] {
            let declined = format!("permessage-deflate;x{}", piece.repeat((1 << 20) / piece.len()));
            assert_eq!(answered(&declined, plain()), None, "{piece}");
            let accepted = answered(&(declined + ",permessage-deflate"), plain());
            assert_eq!(accepted.as_deref(), Some("permessage-deflate"), "{piece}");
        }
    }

    fn any_settings() -> impl Strategy<Value = Deflate> {
        (any::<[bool; 2]>(), any::<[u8; 2]>()).prop_map(|(takeover, bits)| {
            Deflate::new()
                .server_no_context_takeover(takeover[0])
                .client_no_context_takeover(takeover[1])
                .server_max_window_bits(bits[0] % 18)
                .client_max_window_bits(bits[1] % 18)
        })
    }

    proptest! {
        #[test]
        fn both_ends_negotiate_the_same_parameters(client in any_settings(), server in any_settings()) {
            let offer = write_offer(client);
            let (response, accepted) = exchange(&[offer.as_bytes()], Some(server)).expect("accepted");
            let answer = response.headers()["sec-websocket-extensions"].as_bytes();
            let agreed = verify(&[answer], client).expect("a valid answer").deflate();
            prop_assert!(agreed.is_some());
            prop_assert_eq!(agreed, accepted.deflate());
        }

        #[test]
        fn no_lines_cause_a_panic(
            lines in prop::collection::vec("(permessage-deflate|(server|client)_(max_window_bits|no_context_takeover)|\
                [0-9]{1,2}|[ \t;=,\"x\u{e9}]){0,12}", 0..3),
            settings in any_settings(),
        ) {
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            match exchange(&lines, Some(settings)) {
                Ok((_, negotiated)) => prop_assert_eq!(negotiated.deflate().is_some(), negotiated.extensions() != ""),
                Err(status) => prop_assert_eq!(status, 400),
            }
            let _ = verify(&lines, settings);
        }
    }
}
