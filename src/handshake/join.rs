//! Targets relative to others: the `Location` of a redirect.

use super::target::{Target, TargetError};

impl Target {
    /// Resolves a reference relative to this target, as the `Location` of a redirect is.
    ///
    /// RFC 3986 section 5.2. The schemes `http` and `https` mean `ws` and `wss`. A fragment is
    /// ignored (RFC 9110 section 10.2.2 permits one in `Location`). The user and password of this
    /// target are kept if the result has the same [origin](Self::has_same_origin) and none of its
    /// own.
    ///
    /// # Errors
    /// Returns why the result is not a valid target.
    ///
    /// ```
    /// use fullduplex::Target;
    ///
    /// let target: Target = "ws://example.com/rooms/1?all".parse()?;
    /// assert_eq!(target.join("../v2/")?.path_and_query(), "/v2/");
    /// assert!(target.join("https://example.com/rooms")?.is_secure());
    /// # Ok::<(), fullduplex::handshake::TargetError>(())
    /// ```
    pub fn join(&self, reference: &str) -> Result<Self, TargetError> {
        let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
        let scheme = if self.is_secure() { "wss" } else { "ws" };
        let mut joined: Self = if let Some((scheme, rest)) = split_scheme(reference) {
            format!("{}:{rest}", websocket_scheme(scheme)).parse()?
        } else if reference.starts_with("//") {
            format!("{scheme}:{reference}").parse()?
        } else {
            let path = self.join_path(reference);
            format!("{scheme}://{}{path}", self.host_header()).parse()?
        };
        if joined.authorization().is_none() && joined.has_same_origin(self) {
            joined.copy_authorization(self);
        }
        Ok(joined)
    }

    /// Returns whether scheme, host and port are the same.
    pub fn has_same_origin(&self, other: &Self) -> bool {
        (self.is_secure(), self.host(), self.port()) == (other.is_secure(), other.host(), other.port())
    }

    /// Resolves a reference without an authority. RFC 3986 section 5.2.2.
    fn join_path(&self, reference: &str) -> String {
        let (base_path, base_query) = split_query(self.path_and_query());
        let (path, query) = split_query(reference);
        let (path, query) = if path.is_empty() {
            (base_path.to_owned(), query.or(base_query))
        } else if path.starts_with('/') {
            (remove_dot_segments(path), query)
        } else {
            // RFC 3986 section 5.2.3: it replaces what follows the last slash.
            let directory = base_path.rfind('/').map_or("/", |at| &base_path[..=at]);
            (remove_dot_segments(&format!("{directory}{path}")), query)
        };
        match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        }
    }
}

/// Splits off the scheme of a reference that has one. RFC 3986 section 4.2: without one, its first
/// segment contains no colon.
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(allowed);
    valid.then_some((scheme, rest))
}

fn websocket_scheme(scheme: &str) -> &str {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => "ws",
        _ if scheme.eq_ignore_ascii_case("https") => "wss",
        other => other,
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

/// Removes the segments `.` and `..` of an absolute path. RFC 3986 section 5.2.4.
fn remove_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                // The path then ends with a slash.
                if is_last {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, reference: &str) -> String {
        let joined = base.parse::<Target>().expect("valid").join(reference).expect("valid");
        let scheme = if joined.is_secure() { "wss" } else { "ws" };
        format!("{scheme}://{}{}", joined.host_header(), joined.path_and_query())
    }

    /// RFC 3986 sections 5.4.1 and 5.4.2, as far as WebSocket URIs have the parts.
    #[test]
    fn references_resolve_as_in_the_examples_of_rfc_3986() {
        for (reference, path) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            (";x", "/b/c/;x"),
            ("g;x?y#s", "/b/c/g;x?y"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./g/.", "/b/c/g/"),
            ("g/../h", "/b/c/h"),
            ("g?y/../x", "/b/c/g?y/../x"),
        ] {
            assert_eq!(joined("ws://a/b/c/d;p?q", reference), format!("ws://a{path}"), "{reference}");
        }
        assert_eq!(joined("wss://a/b", "//g"), "wss://g/");
    }

    #[test]
    fn the_schemes_of_http_mean_those_of_websocket() {
        assert_eq!(joined("ws://a/b", "HTTPS://b/c?d"), "wss://b/c?d");
        assert_eq!(joined("ws://a/b", "http://b:8080"), "ws://b:8080/");
        assert_eq!(joined("ws://[::1]:9001/b", "c"), "ws://[::1]:9001/c");
        let base: Target = "ws://a/".parse().expect("valid");
        for invalid in ["ftp://b/", "https:/c", "https:", "http://", "//", "/a b", "x:y", "\\\\b", "//b:0/"] {
            assert!(base.join(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn credentials_are_kept_for_the_same_origin_alone() {
        let base: Target = "ws://user:secret@a/b".parse().expect("valid");
        let kept = |reference: &str| base.join(reference).expect("valid").authorization().is_some();
        assert!(kept("/c") && kept("http://a:80/c") && kept("//a/c"));
        assert!(!kept("https://a/c") && !kept("//a:81/c") && !kept("//b/c"));
        assert!(kept("//other:user@b/c"), "its own");
        assert_ne!(base.join("//other:user@a/").expect("valid").authorization(), base.authorization());
    }
}
