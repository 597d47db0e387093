//! The proxy that the environment selects for a target.

use std::env;

use super::{InvalidProxy, Proxy, ProxyKind, no_proxy};
use crate::handshake::Target;

/// A variable in lower and in upper case.
type Variable = [&'static str; 2];

const WS: Variable = ["ws_proxy", "WS_PROXY"];
const WSS: Variable = ["wss_proxy", "WSS_PROXY"];
const SOCKS: Variable = ["socks_proxy", "SOCKS_PROXY"];
const HTTPS: Variable = ["https_proxy", "HTTPS_PROXY"];
const HTTP: Variable = ["http_proxy", "HTTP_PROXY"];
const ALL: Variable = ["all_proxy", "ALL_PROXY"];
const NO: Variable = ["no_proxy", "NO_PROXY"];

impl Proxy {
    /// Returns the proxy that the environment selects for a target.
    ///
    /// `None` if it selects none, or if `no_proxy` excludes the target.
    ///
    /// The first of these variables that is set applies. Each is read in lower case, then in upper
    /// case; an empty variable counts as one that is not set.
    ///
    /// | target | variables |
    /// |---|---|
    /// | `ws://` | `ws_proxy`, `socks_proxy`, `https_proxy`, `http_proxy`, `all_proxy` |
    /// | `wss://` | `wss_proxy`, `socks_proxy`, `https_proxy`, `all_proxy` |
    ///
    /// A value without a scheme is an HTTP proxy, and in `socks_proxy` a SOCKS5 proxy. `HTTP_PROXY`
    /// in upper case is ignored if `REQUEST_METHOD` is set: in a CGI program, the client chooses its
    /// value with a header field (the attack httpoxy).
    ///
    /// # Exclusions
    /// `no_proxy` lists targets that are dialed directly, separated by commas or spaces:
    ///
    /// - `*`: all targets;
    /// - `example.com`, `.example.com` or `*.example.com`: that name and all names below it;
    /// - `192.0.2.1`, `2001:db8::1` or `[2001:db8::1]`: that address;
    /// - `192.0.2.0/24` or `2001:db8::/32`: all addresses of the block.
    ///
    /// A port can follow, except after a block: `example.com:8080`, `[2001:db8::1]:8080`. Names are
    /// not resolved: an address excludes only targets with an address. Loopback addresses and
    /// `localhost` are not excluded unless they are listed. Entries of another form are ignored.
    ///
    /// # Errors
    /// [`InvalidProxy::Variable`] if the variable that applies is not a valid proxy.
    ///
    /// ```
    /// use fullduplex::{Target, proxy::Proxy};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let target: Target = "wss://example.com/".parse()?;
    /// match Proxy::from_environment(&target)? {
    ///     Some(proxy) => println!("through {proxy}"),
    ///     None => println!("directly"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_environment(target: &Target) -> Result<Option<Self>, InvalidProxy> {
        // Bytes that are not UTF-8 become a character that no valid proxy contains.
        Self::from_variables(target, |name| Some(env::var_os(name)?.to_string_lossy().into_owned()))
    }

    /// Returns the proxy that these variables select for a target.
    ///
    /// The rules are those of [`from_environment`](Self::from_environment). `variable` returns the
    /// value of a variable; it is also called for `no_proxy` and `REQUEST_METHOD`.
    ///
    /// # Errors
    /// [`InvalidProxy::Variable`] if the variable that applies is not a valid proxy.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use fullduplex::proxy::Proxy;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let settings = HashMap::from([("https_proxy", "proxy.example:3128"), ("no_proxy", ".internal")]);
    /// let variable = |name: &str| settings.get(name).map(ToString::to_string);
    ///
    /// let proxy = Proxy::from_variables(&"wss://example.com/".parse()?, variable)?;
    /// assert_eq!(proxy.map(|proxy| proxy.to_string()).as_deref(), Some("http://proxy.example:3128"));
    /// assert_eq!(Proxy::from_variables(&"wss://chat.internal/".parse()?, variable)?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_variables(
        target: &Target,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, InvalidProxy> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let no_proxy = NO.into_iter().find_map(set).unwrap_or_default();
        if no_proxy::excludes(&no_proxy, target.host(), target.port()) {
            return Ok(None);
        }
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let candidates: &[Variable] =
            if target.is_secure() { &[WSS, SOCKS, HTTPS, ALL] } else { &[WS, SOCKS, HTTPS, HTTP, ALL] };
        let mut names = candidates.iter().flatten().filter(|name| !(is_cgi && may_be_from_header(name)));
        let Some((&name, value)) = names.find_map(|name| Some((name, set(name)?))) else { return Ok(None) };
        let default = if SOCKS.contains(&name) { ProxyKind::Socks5 } else { ProxyKind::Http };
        Self::parse(&value, default)
            .map(Some)
            .map_err(|reason| InvalidProxy::Variable { name, reason: Box::new(reason) })
    }
}

/// Returns whether a CGI server may have set this variable, from a field `Proxy` of a request.
fn may_be_from_header(name: &str) -> bool {
    // The names of variables are case-insensitive on Windows: there, both read the same variable.
    HTTP[1] == name || (cfg!(windows) && HTTP[0] == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the proxy for a target, or the error, as text.
    fn selected(target: &str, variables: &[(&str, &str)]) -> String {
        let target = target.parse().expect("valid");
        let variable = |name: &str| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match Proxy::from_variables(&target, variable) {
            Ok(proxy) => proxy.map_or("none".to_owned(), |proxy| proxy.to_string()),
            Err(InvalidProxy::Variable { name, reason }) => format!("{name}: {reason}"),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_variable_that_is_set_applies() {
        let variables = [
            ("WSS_PROXY", "wss-upper"),
            ("ALL_PROXY", "all-upper"),
            ("all_proxy", "all"),
            ("HTTP_PROXY", "http-upper"),
            ("http_proxy", "http"),
            ("HTTPS_PROXY", "https-upper"),
            ("https_proxy", "https"),
            ("SOCKS_PROXY", "socks-upper"),
            ("socks_proxy", "socks"),
            ("WS_PROXY", "ws-upper"),
            ("ws_proxy", "ws"),
            ("wss_proxy", "wss"),
        ];
        for (target, order) in [
            (
                "ws://a",
                &[
                    "ws",
                    "ws-upper",
                    "socks",
                    "socks-upper",
                    "https",
                    "https-upper",
                    "http",
                    "http-upper",
                    "all",
                    "all-upper",
                ][..],
            ),
            (
                "wss://a",
                &["wss", "wss-upper", "socks", "socks-upper", "https", "https-upper", "all", "all-upper"],
            ),
        ] {
            let mut left = variables.to_vec();
            for expected in order {
                let found = selected(target, &left);
                assert!(found.contains(&format!("//{expected}:")), "{target}: {found}, not {expected}");
                left.retain(|(_, value)| value != expected);
            }
            assert_eq!(selected(target, &left), "none", "{left:?}");
        }
    }

    #[test]
    fn an_empty_variable_counts_as_one_that_is_not_set() {
        let variables = [("ws_proxy", ""), ("WS_PROXY", "upper"), ("no_proxy", ""), ("NO_PROXY", "b")];
        assert_eq!(selected("ws://a", &variables), "http://upper:80");
        assert_eq!(selected("ws://b", &variables), "none");
    }

    #[test]
    fn a_value_without_a_scheme_is_socks5_in_socks_proxy_alone() {
        assert_eq!(selected("ws://a", &[("socks_proxy", "p")]), "socks5h://p:1080");
        assert_eq!(selected("ws://a", &[("SOCKS_PROXY", "p:1")]), "socks5h://p:1");
        assert_eq!(selected("ws://a", &[("socks_proxy", "http://p")]), "http://p:80");
        assert_eq!(selected("ws://a", &[("all_proxy", "p")]), "http://p:80");
        assert_eq!(selected("ws://a", &[("all_proxy", "socks4://p")]), "socks4a://p:1080");
    }

    #[test]
    fn row_19_a_header_field_of_a_cgi_request_does_not_select_the_proxy() {
        let attack = [("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET")];
        assert_eq!(selected("ws://a", &attack), "none");
        assert_eq!(selected("ws://a", &[attack[0], ("REQUEST_METHOD", "")]), "none");
        assert_eq!(selected("ws://a", &[attack[0]]), "http://evil:80");
        let all = [attack[0], attack[1], ("all_proxy", "good")];
        assert_eq!(selected("ws://a", &all), "http://good:80");
        // HTTPS_PROXY cannot be the copy of a field: those begin with HTTP_.
        assert_eq!(selected("ws://a", &[attack[1], ("HTTPS_PROXY", "good")]), "http://good:80");
    }

    #[cfg(not(windows))]
    #[test]
    fn row_19_the_lower_case_variable_applies_in_a_cgi_program() {
        let variables = [("HTTP_PROXY", "evil"), ("http_proxy", "good"), ("REQUEST_METHOD", "GET")];
        assert_eq!(selected("ws://a", &variables), "http://good:80");
    }

    #[test]
    fn an_invalid_value_is_an_error_that_names_the_variable() {
        let shown = selected("ws://a", &[("HTTPS_PROXY", "ftp://p"), ("all_proxy", "good")]);
        assert_eq!(shown, "HTTPS_PROXY: proxy scheme is not http, https, socks5h or socks4a");
        assert_eq!(selected("ws://a", &[("NO_PROXY", "a"), ("https_proxy", "ftp://p")]), "none");
    }

    #[test]
    fn loopback_targets_have_a_proxy() {
        for target in ["ws://localhost", "ws://127.0.0.1", "ws://[::1]"] {
            assert_eq!(selected(target, &[("ws_proxy", "p")]), "http://p:80");
        }
    }

    #[test]
    fn the_process_environment_is_read() {
        // Not set by the test: other tests of the process would see it.
        let target = "ws://a".parse().expect("valid");
        let read = |name: &str| env::var(name).ok();
        assert_eq!(Proxy::from_environment(&target), Proxy::from_variables(&target, read));
    }
}
