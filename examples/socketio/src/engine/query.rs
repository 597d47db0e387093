//! The parameters of a request.

use super::{refusal::Refusal, sid::Sid};

/// What a request asks for, by the parameters in its URI. Others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) transport: Transport,
    /// The session; `None` for a new one.
    pub(crate) sid: Option<Sid>,
}

/// How packets are transmitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP long polling.
    Polling,
    /// A WebSocket connection.
    WebSocket,
}

impl Query {
    /// Parses the query of a URI.
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        let (mut version, mut transport, mut sid) = (None, None, None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let place = match name {
                "EIO" => &mut version,
                "transport" => &mut transport,
                "sid" => &mut sid,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(Refusal::BadRequest);
            }
        }
        let transport = match transport {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::WebSocket,
            _ => return Err(Refusal::UnknownTransport),
        };
        if version != Some("4") {
            return Err(Refusal::UnsupportedVersion);
        }
        let sid = match sid {
            None => None,
            // What has not the form of an id is none that was ever issued.
            Some(sid) => Some(Sid::parse(sid).ok_or(Refusal::UnknownSession)?),
        };
        Ok(Self { transport, sid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_parameters_are_found_among_others() {
        let sid = "A1-_A1-_A1-_A1-_A1-_";
        let parsed = Query::parse(&format!("t=x&EIO=4&b64=1&transport=polling&sid={sid}"));
        assert_eq!(parsed, Ok(Query { transport: Transport::Polling, sid: Sid::parse(sid) }));
        let parsed = Query::parse("transport=websocket&EIO=4");
        assert_eq!(parsed, Ok(Query { transport: Transport::WebSocket, sid: None }));
    }

    #[test]
    fn requests_that_the_protocol_does_not_know_are_refused() {
        for (query, refusal) in [
            ("", Refusal::UnknownTransport),
            ("EIO=4", Refusal::UnknownTransport),
            ("EIO=4&transport=", Refusal::UnknownTransport),
            ("EIO=4&transport=abc", Refusal::UnknownTransport),
            ("EIO=4&transport=Polling", Refusal::UnknownTransport),
            ("transport=polling", Refusal::UnsupportedVersion),
            ("EIO=3&transport=polling", Refusal::UnsupportedVersion),
            ("EIO=abc&transport=websocket", Refusal::UnsupportedVersion),
            ("EIO=04&transport=polling", Refusal::UnsupportedVersion),
            ("EIO=4&transport=polling&sid=", Refusal::UnknownSession),
            ("EIO=4&transport=polling&sid=abc", Refusal::UnknownSession),
            ("EIO=4&transport=polling&sid=A1-_A1-_A1-_A1-_A1-%5F", Refusal::UnknownSession),
            ("EIO=4&EIO=4&transport=polling", Refusal::BadRequest),
            ("EIO=4&transport=polling&transport=websocket", Refusal::BadRequest),
        ] {
            assert_eq!(Query::parse(query), Err(refusal), "{query}");
        }
    }
}
