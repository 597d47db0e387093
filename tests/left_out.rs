//! Prints which checks `cargo test` alone does not run, and their commands. It contains no tests.

/// The checks that `cargo test` alone does not run, and the command for each.
const LEFT_OUT: &[(&str, &str)] = &[
    ("everything, as CI runs it", "bash tests/all.sh"),
    ("the checks to run before each commit, under two minutes", "bash tests/all.sh quick"),
    ("installation of what the commands below require, once", "bash tests/setup.sh"),
    #[cfg(not(feature = "deflate"))]
    ("compressed messages: the feature `deflate`", "cargo test --all-features"),
    #[cfg(not(feature = "serde"))]
    ("messages as JSON: the feature `serde`", "cargo test --all-features"),
    #[cfg(not(feature = "tracing"))]
    ("spans and events: the feature `tracing`", "cargo test --all-features"),
    #[cfg(not(feature = "tls"))]
    ("wss: the feature `tls`", "cargo test --all-features"),
    #[cfg(not(feature = "reconnect"))]
    ("the client that connects again: the feature `reconnect`", "cargo test --all-features"),
    #[cfg(not(feature = "serve"))]
    ("the accept loop and graceful shutdown: the feature `serve`", "cargo test --all-features"),
    #[cfg(not(feature = "proxy"))]
    ("tunnels through proxies: the feature `proxy`", "cargo test --all-features"),
    #[cfg(not(feature = "axum"))]
    (
        "routes of axum, services of hyper, HTTP/2: the features `axum` and `http2`",
        "cargo test --all-features",
    ),
    ("the Autobahn test suite, both roles", "bash tests/all.sh packages release autobahn"),
    (
        "the examples against Python's websockets and Node's ws, also under valgrind; the chat page in Chromium",
        "bash tests/all.sh packages release peers",
    ),
    ("the examples that are packages of their own", "bash tests/all.sh packages"),
    ("a message of 10 GiB, in a release build; 32 MiB in a debug build", "bash tests/all.sh large"),
    ("the split connection under the model checker loom", "bash tests/all.sh loom"),
    ("the tests under AddressSanitizer", "bash tests/all.sh asan"),
    ("the fuzz targets, 14 seconds each", "bash tests/all.sh fuzz"),
    ("the lines of src that tests run, counted", "bash tests/all.sh setup coverage"),
    ("the unit tests with mutants of the changed lines", "bash tests/all.sh setup mutants"),
    ("longer checks: fuzzing, random programs, mutants, all of Autobahn", "bash tests/all.sh long"),
    ("the benchmarks, once each as a test", "bash tests/all.sh bench"),
    ("instructions per path, compared with the parent commit", "bash tests/all.sh counts"),
    ("the rules for imports between modules", "bash tests/all.sh floors circles"),
    ("`unsafe` outside of src/proto/payload", "bash tests/all.sh unsafe_code"),
    ("formatting, lints, the docs without warnings", "bash tests/all.sh fmt clippy docs"),
];

fn main() {
    // A test runner that requests the list of tests receives an empty one.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("\nnot run by `cargo test`:");
    for (what, command) in LEFT_OUT {
        println!("  {command:<34} {what}");
    }
    println!();
}
