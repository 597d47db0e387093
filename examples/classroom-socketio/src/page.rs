//! The pages and their files, which are in the program.

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    routing::get,
};
use tower_http::set_header::SetResponseHeaderLayer;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// What a page may load and connect to: only files of this server, and no script or style in HTML.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file: its path, its type and its content.
type File = (&'static str, &'static str, &'static str);

macro_rules! file {
    ($name:literal, $kind:expr) => {
        (concat!("/", $name), $kind, include_str!(concat!("../web/", $name)))
    };
}

/// The content of a file that the example `classroom` has too.
macro_rules! shared {
    ($name:literal) => {
        include_str!(concat!("../../classroom/web/", $name))
    };
}

const FILES: &[File] = &[
    ("/", HTML, include_str!("../web/index.html")),
    ("/admin", HTML, include_str!("../web/admin.html")),
    ("/style.css", CSS, concat!(shared!("style.css"), include_str!("../web/notice.css"))),
    ("/icon.svg", SVG, shared!("icon.svg")),
    ("/dom.js", SCRIPT, shared!("dom.js")),
    file!("admin.js", SCRIPT),
    file!("app.js", SCRIPT),
    file!("chat.js", SCRIPT),
    file!("composer.js", SCRIPT),
    file!("connection.js", SCRIPT),
    file!("messages.js", SCRIPT),
    file!("outbox.js", SCRIPT),
    file!("participants.js", SCRIPT),
    file!("timeline.js", SCRIPT),
    file!("token.js", SCRIPT),
    // The published client, unmodified.
    file!("vendor/socket.io.min.js", SCRIPT),
    file!("vendor/socket.io.LICENSE", TEXT),
];

/// Returns a route for each file, and one for load balancers.
pub fn routes() -> Router {
    let health = Router::new().route("/healthz", get(|| async { "ok\n" }));
    let routes = FILES.iter().fold(health, |router, &(path, kind, content)| {
        // Browsers ask each time, so that a page never has the files of two versions.
        let fields = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
        router.route(path, get(move || std::future::ready((fields, content))))
    });
    routes
        .layer(fixed(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
}

fn fixed(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the files that were written for this page.
    fn own() -> impl Iterator<Item = &'static File> {
        FILES.iter().filter(|(path, ..)| !path.starts_with("/vendor/"))
    }

    /// All imports and links of the files are in the table, so that no page misses a file.
    #[test]
    fn each_file_that_a_page_names_is_served() {
        let served: Vec<_> = FILES.iter().map(|(path, ..)| *path).collect();
        for (path, _, content) in own() {
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
    fn no_page_has_what_the_policy_forbids_and_none_builds_html() {
        let in_html = ["<style", "<script>", " style=", " onclick=", " onload=", "http://", "https://"];
        let in_scripts = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("];
        for (path, kind, content) in own() {
            let forbidden = match *kind {
                HTML => &in_html[..],
                SCRIPT => &in_scripts[..],
                _ => &[],
            };
            for text in forbidden {
                assert!(!content.contains(text), "{path}: {text}");
            }
        }
    }
}
