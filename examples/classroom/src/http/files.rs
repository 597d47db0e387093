//! The pages and their files, which are in the program.

use std::hash::{DefaultHasher, Hasher};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file: its path, its type and its content.
type File = (&'static str, &'static str, &'static str);

macro_rules! script {
    ($name:literal) => {
        (concat!("/", $name), SCRIPT, include_str!(concat!("../../web/", $name)))
    };
}

const FILES: &[File] = &[
    ("/", HTML, include_str!("../../web/index.html")),
    ("/admin", HTML, include_str!("../../web/admin.html")),
    ("/style.css", CSS, include_str!("../../web/style.css")),
    ("/icon.svg", SVG, include_str!("../../web/icon.svg")),
    script!("app.js"),
    script!("admin.js"),
    script!("backoff.js"),
    script!("chat.js"),
    script!("composer.js"),
    script!("door.js"),
    script!("dom.js"),
    script!("link.js"),
    script!("messages.js"),
    script!("outbox.js"),
    script!("participants.js"),
    script!("sending.js"),
    script!("session.js"),
    script!("timeline.js"),
    script!("typing.js"),
    script!("wire.js"),
];

/// Returns a route for each file.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &(path, kind, content)| {
        let tag = tag(content);
        router.route(
            path,
            get(move |headers: HeaderMap| std::future::ready(answer(&headers, &tag, kind, content))),
        )
    })
}

/// Returns the content, unless the client has it.
fn answer(headers: &HeaderMap, tag: &HeaderValue, kind: &'static str, content: &'static str) -> Response {
    // Browsers ask each time, so that a page never has the files of two versions.
    let fixed = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if has_current(headers, tag) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, [(header::CONTENT_TYPE, kind)], content).into_response()
}

/// Returns whether `If-None-Match` has the tag, by the weak comparison of RFC 9110 section 13.1.2.
fn has_current(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag.as_bytes())
}

fn tag(content: &str) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    hasher.write(content.as_bytes());
    let tag = format!("\"{:016x}\"", hasher.finish());
    HeaderValue::try_from(tag).expect("hexadecimal digits in quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All imports and links of the files are in the table, so that no page misses a file.
    #[test]
    fn each_file_that_a_page_names_is_served() {
        let served: Vec<_> = FILES.iter().map(|(path, ..)| *path).collect();
        for (path, _, content) in FILES {
            let named = ["from \"./", "src=\"/", "href=\"/"].iter().flat_map(|before| {
                content.match_indices(before).map(|(at, before)| &content[at + before.len()..])
            });
            for name in named {
                let name = format!("/{}", name.split('"').next().unwrap_or_default());
                assert!(served.contains(&name.as_str()), "{path} names {name}");
            }
        }
    }

    #[test]
    fn no_page_has_what_the_policy_forbids() {
        for (path, kind, content) in FILES {
            if *kind == HTML {
                for forbidden in
                    ["<style", "<script>", " style=", " onclick=", " onload=", "http://", "https://"]
                {
                    assert!(!content.contains(forbidden), "{path}: {forbidden}");
                }
            }
            if *kind == SCRIPT {
                for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                    assert!(!content.contains(forbidden), "{path}: {forbidden}");
                }
            }
        }
    }

    #[test]
    fn a_client_that_has_the_file_gets_no_content() {
        let tag = tag("a");
        for (value, current) in [
            (tag.to_str().expect("text").to_owned(), true),
            (format!("\"b\", W/{}", tag.to_str().expect("text")), true),
            ("*".to_owned(), true),
            ("\"b\"".to_owned(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::try_from(value.clone()).expect("text"));
            assert_eq!(has_current(&headers, &tag), current, "{value}");
        }
        assert_ne!(tag, super::tag("b"));
    }
}
