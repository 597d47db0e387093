//! How this crate is tested: what each kind of test shows, its figures, and its command.
//!
//! The commands are for a clone of the repository. `bash tests/all.sh` installs what they need and
//! runs what fits into 40 minutes on two cores; `bash tests/all.sh long` runs the rest.
//! `cargo test --all-features` needs only Rust, and prints what it leaves out. A test compares these
//! figures with what they count.
//!
//! # What the RFCs require
//!
//! - **Autobahn**, the test suite of RFC 6455 and RFC 7692: 517 of 517 cases pass, for the server and
//!   for the client. The verdict has to be OK, or INFORMATIONAL in the cases that have no other;
//!   NON-STRICT counts as failed. `bash tests/all.sh setup packages release autobahn`
//! - **Requirements**: `COMPLIANCE.md` has each of the 206 sentences of RFC 6455, 7692 and 8441 with a
//!   MUST, a SHOULD or the like, with its code and its tests: 183 done, 19 not for a library, 4 not followed,
//!   each with a reason. Each test was seen to fail without the code. `cargo test --test compliance`
//! - **Other implementations**: Python's `websockets`, Node's `ws` and Chromium are peers of the
//!   examples; nginx, HAProxy, tinyproxy, microsocks and OpenSSH are between them; Redis and NATS
//!   connect several servers. `bash tests/all.sh setup packages release peers`
//!
//! # What a peer can do wrong
//!
//! - **Hostile input**: `tests/HOSTILE.md` has 101 rows, each with the required behaviour and its tests.
//!   `cargo test --all-features row_`
//! - **Defences**: a script takes each of 226 defences out, one at a time, and expects the tests of its row to
//!   fail. `bash tests/all.sh setup defences`
//! - **Abuse beside honest load**: thousands of hostile connections do nine of these rows at once, while
//!   others expect their echoes. `cargo run --release -p abuse`
//!
//! # What the tests would not notice
//!
//! **Mutants** are the source with one small change: another operator, a fixed value in place of a function,
//! a missing arm of a `match`. There are 400 mutants, drawn by a seed from the protocol core, the opening
//! handshake and the split connection: 326 viable, 319 caught, which means that a test fails with them. The
//! other 7 do the same as the source; `tests/mutants.md` lists them, each with the reason.
//! `bash tests/all.sh setup mutants_long`
//!
//! # What nobody has thought of
//!
//! - **Fuzzing**: 14 targets, from committed seeds. Some compare this crate with tungstenite,
//!   tokio-websockets, httparse, hyper, miniz_oxide and zlib-rs; `fuzz/README.md` has every difference, and
//!   the sentence of the RFC that decides it. `bash tests/all.sh setup fuzz`, or `fuzz_long` for ten minutes each
//! - **Random programs** send, receive, split, drop, stall and close on two ends, for a million steps from
//!   numbered seeds. A model knows which messages must arrive. `cargo test --all-features --test program`
//! - **Random programs on a simulated network** run clients, proxies and servers of the whole crate (TLS,
//!   HTTP/2, clients that connect again, rooms with history) for a million steps on a paused clock. The network
//!   delays, divides, resets, cuts off at any byte or falls silent; servers stop, are killed, crash and return. A
//!   ledger knows what must arrive, each end of a connection has to fit what happened to it, and no task, member
//!   or room may remain. A seed determines every byte. `cargo test --all-features --test network_program`
//! - **Property tests** compare the parts with simple models: masking, UTF-8, the codec in all divisions,
//!   the lists of members of a room. `cargo test --all-features`
//! - **Coverage**: the unit tests and the integration tests run at least 97 % of the lines of `src`. Each
//!   function with others is in `tests/uncovered.txt`, with their number and the reason.
//!   `bash tests/all.sh setup coverage`
//!
//! # Tasks, threads and memory
//!
//! - **Cancel safety**: futures are dropped at each await, with a stream that a test controls.
//!   `cargo test --all-features cancel`
//! - **Interleavings of threads**: loom tries those of 16 models of a split connection.
//!   `bash tests/all.sh loom`
//! - **Memory errors**: the tests run under AddressSanitizer, half of the integration tests in each
//!   run and all in a long one; the examples run under valgrind.
//!   `bash tests/all.sh setup asan_long`, `bash tests/all.sh setup packages release peers`
//! - **Memory in use**: a counting allocator bounds the bytes of idle connections, of members of a room,
//!   and of messages in progress. `cargo test --all-features memory`
//!
//! # Several machines
//!
//! 200 clients talk for two minutes through three programs behind HAProxy, over Redis and over NATS, while a
//! program and the engine are killed, and a program is added. Each acknowledged message is there once, in
//! order. `bash tests/all.sh setup packages`
//!
//! # Faults around it
//!
//! In 11 fault runs, clients send numbered messages to real servers between two network namespaces, while the
//! link is narrow, loses, delays, reorders or resets packets, or is down; while a server or clients are killed;
//! while the disk is full, no file descriptor is left, or clocks jump. Each acknowledged message is there
//! once, in order; then the server has as many descriptors as before, and at most 4 MiB more memory. A counter
//! shows that the fault took place. `bash tests/all.sh setup packages release faults`, or `faults_long` for a
//! minute each
//!
//! # Speed
//!
//! - **Instructions** of the hot paths may grow by at most 2 % from one commit to the next, unless its
//!   message says why. `bash tests/all.sh setup counts`
//! - **Other libraries** are measured beside this crate, in one run; the tables in `benches/` have all
//!   cells, also those in which this crate is slower.
//!   `cargo run --release --manifest-path benches/peers/Cargo.toml`
//!
//! # What it depends on
//!
//! `DEPENDENCIES.md` says who keeps each dependency, `PORTABILITY.md` which conversions of numbers depend on
//! the platform, and why they hold. Licences, sources, duplicates, known vulnerabilities, the public API,
//! the sets of features and the lowest versions of dependencies are checked by
//! `bash tests/all.sh setup deny public_api feature_sets minimal_versions`.
