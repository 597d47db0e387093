//! Which web pages may connect, and the header fields that tell browsers so.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, Uri, header};

/// The origins of web pages that may connect. Programs that are no browsers send none, and may.
#[derive(Debug, Clone)]
pub struct Origins(Rule);

#[derive(Debug, Clone)]
enum Rule {
    Same,
    List(Arc<[Box<str>]>),
    Any,
}

impl Origins {
    /// Allows pages of the same origin alone, by host and port.
    pub fn same() -> Self {
        Self(Rule::Same)
    }

    /// Allows pages of the same origin, and of these, such as `https://school.example`.
    pub fn list<I>(origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let origins = origins.into_iter();
        Self(Rule::List(origins.map(|origin| origin.as_ref().to_ascii_lowercase().into()).collect()))
    }

    /// Allows all pages.
    ///
    /// **This is not safe if access depends on something that a browser sends by itself**, such as
    /// cookies, or on the address of the client.
    pub fn any() -> Self {
        Self(Rule::Any)
    }

    /// Returns how a request relates to the rule.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Origin {
        let mut fields = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = fields.next() else { return Origin::None };
        if fields.next().is_some() {
            return Origin::Refused;
        }
        let Ok(text) = origin.to_str() else { return Origin::Refused };
        let text = text.to_ascii_lowercase();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
        if host.is_some_and(|host| is_of_host(&text, host)) {
            return Origin::Same;
        }
        match &self.0 {
            Rule::Same => Origin::Refused,
            Rule::List(list) if list.iter().any(|allowed| **allowed == *text) => {
                Origin::Listed(origin.clone())
            }
            Rule::List(_) => Origin::Refused,
            Rule::Any => Origin::Any,
        }
    }
}

/// How the page that sent a request relates to the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// No page.
    None,
    Same,
    Listed(HeaderValue),
    Any,
    Refused,
}

impl Origin {
    /// Adds the fields by which a browser lets the page read the response.
    pub(super) fn add_fields(&self, credentials: bool, fields: &mut HeaderMap) {
        match self {
            Self::None | Self::Same | Self::Refused => {}
            Self::Any => {
                fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::Listed(origin) => {
                fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                fields.append(header::VARY, HeaderValue::from_static("Origin"));
                if credentials {
                    fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                }
            }
        }
    }
}

/// Returns whether an origin, in lower case, names this host and port. The scheme of the server may be
/// unknown, behind a proxy.
fn is_of_host(origin: &str, host: &str) -> bool {
    let (authority, default) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, ":80"),
        Some(("https", authority)) => (authority, ":443"),
        _ => return false,
    };
    let without_default = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
    without_default(authority) == without_default(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &Origins, origin: Option<&str>) -> Origin {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("school.example:8080"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("valid"));
        }
        origins.check(&Uri::from_static("/"), &headers)
    }

    #[test]
    fn by_default_only_pages_of_the_same_origin_may_connect() {
        let same = Origins::same();
        assert_eq!(check(&same, None), Origin::None);
        assert_eq!(check(&same, Some("http://School.example:8080")), Origin::Same);
        for other in ["http://school.example", "http://evil.example:8080", "null", "school.example:8080", ""]
        {
            assert_eq!(check(&same, Some(other)), Origin::Refused, "{other}");
        }
    }

    #[test]
    fn listed_pages_may_connect_and_others_may_not() {
        let list = Origins::list(["https://App.example"]);
        let expected = Origin::Listed(HeaderValue::from_static("https://app.example"));
        assert_eq!(check(&list, Some("https://app.example")), expected);
        assert_eq!(check(&list, Some("http://school.example:8080")), Origin::Same);
        assert_eq!(check(&list, Some("https://app.example.evil")), Origin::Refused);
        assert_eq!(check(&Origins::any(), Some("https://evil.example")), Origin::Any);
    }

    #[test]
    fn a_default_port_is_that_of_the_scheme() {
        for (origin, host, same) in [
            ("https://a.example", "a.example:443", true),
            ("https://a.example", "A.example", true),
            ("http://a.example:80", "a.example", true),
            ("http://a.example", "a.example:443", false),
            ("ftp://a.example", "a.example", false),
        ] {
            assert_eq!(is_of_host(origin, host), same, "{origin} {host}");
        }
    }

    #[test]
    fn only_listed_pages_may_send_credentials() {
        let fields = |origin: Origin| {
            let mut fields = HeaderMap::new();
            origin.add_fields(true, &mut fields);
            fields.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
        };
        assert!(fields(Origin::Listed(HeaderValue::from_static("https://a.example"))));
        assert!(!fields(Origin::Any) && !fields(Origin::Same) && !fields(Origin::Refused));
    }
}
