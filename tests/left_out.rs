//! Prints what `cargo test` alone leaves out, and the command for it. It tests nothing itself.

/// What is left out, and the command that runs it.
const LEFT_OUT: &[(&str, &str)] = &[
    ("everything, as CI runs it", "bash tests/all.sh"),
    ("what to run before each commit, under two minutes", "bash tests/all.sh quick"),
    ("what the lines below need, once", "bash tests/setup.sh"),
    #[cfg(not(feature = "deflate"))]
    ("compressed messages: the feature `deflate`", "cargo test --all-features"),
    ("the Autobahn test suite, both roles", "bash tests/all.sh release autobahn"),
    (
        "the examples against Python's websockets and Node's ws, under valgrind too; the chat's page in Chromium",
        "bash tests/all.sh release peers",
    ),
    ("a message of 10 GiB, in a release build; here it has 32 MiB", "bash tests/all.sh large"),
    ("the split connection under the model checker loom", "bash tests/all.sh loom"),
    ("the tests under AddressSanitizer", "bash tests/all.sh asan"),
    ("the fuzz targets, 20 seconds each", "bash tests/all.sh fuzz"),
    ("what takes longer: fuzzing, random programs, all of Autobahn", "bash tests/all.sh long"),
    ("the benchmarks, once each as a test", "bash tests/all.sh bench"),
    ("instructions per path, compared with the parent commit", "bash tests/all.sh counts"),
    ("what may import what", "bash tests/all.sh floors circles"),
    ("`unsafe` outside of src/proto/mask", "bash tests/all.sh unsafe_code"),
    ("formatting, lints, the docs without warnings", "bash tests/all.sh fmt clippy docs"),
];

fn main() {
    // A test runner that asks for a list gets no test.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("\nleft out by `cargo test`:");
    for (what, command) in LEFT_OUT {
        println!("  {command:<34} {what}");
    }
    println!();
}
