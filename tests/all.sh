#!/usr/bin/env bash
# Runs checks and tests of the crate, and stops at the first step that fails.
#
#   tests/all.sh              all steps of a plain run, as CI does
#   tests/all.sh quick        what to run before each commit, in under two minutes if all is built
#   tests/all.sh long         the steps that take longer than a plain run
#   tests/all.sh STEP...      only these; their names are in the lists at the bottom
#
# A step is skipped if the machine lacks what it needs. All other steps run. Then the run fails, and
# prints what is missing.
#
# FUZZ_SECONDS is how long each fuzz target runs: 14 by default, 600 in `fuzz_long`. FAULT_SECONDS is
# how long each fault lasts: 2 by default, 60 in `faults_long`. PROGRAM_STEPS and PROGRAM_FROM are for
# `program_long`, NETWORK_PROGRAM_STEPS and NETWORK_PROGRAM_FROM for `network_program_long`. The last
# line of the output counts the tests of all runners.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly wanted=("$@")
export CARGO_TERM_COLOR=never PYTHONDONTWRITEBYTECODE=1 RUST_BACKTRACE=1
locked=()
if [ "${CI:-}" = true ]; then
  locked=(--locked)
  export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only
fi
readonly logs=target/all
# All features but tls-aws-lc, whose C code takes long to build and has the tests of its own step.
readonly features=deflate,tls,tls-webpki-roots,proxy,reconnect,axum,http2,serde,tracing,serve,hub,calls
# What tests/setup.sh could not install, one per line: its name, and why.
readonly missing=target/setup/missing
# Seconds after which a test runner that hangs is killed.
hangs=3000

# --- the steps

# Tools that only a long run needs are installed for that, and for the steps that need them.
setup() { bash tests/setup.sh "${wanted[@]}"; }

fmt() {
  cargo fmt --all --check
  cargo fmt --manifest-path fuzz/Cargo.toml --check
  cargo fmt --manifest-path benches/peers/Cargo.toml --check
  cargo fmt --manifest-path benches/counts/Cargo.toml --check
  cargo fmt --manifest-path benches/socketio/Cargo.toml --check
}

clippy() {
  cargo clippy "${locked[@]}" --all-targets -- -D warnings
  cargo clippy "${locked[@]}" --all-targets --features $features -- -D warnings
  cargo clippy "${locked[@]}" --lib --all-features -- -D warnings
  local feature
  for feature in tls proxy reconnect hyper axum http2 serde tracing serve hub calls; do
    cargo clippy "${locked[@]}" --lib --features $feature -- -D warnings
  done
  cargo clippy "${locked[@]}" --lib --no-default-features -- -D warnings
  cargo clippy "${locked[@]}" --lib --no-default-features --features deflate,serde -- -D warnings
  # The comparisons with the peers are built but not run: they have no result that could fail.
  cargo clippy "${locked[@]}" --manifest-path benches/peers/Cargo.toml --target-dir target --all-targets -- -D warnings
  cargo clippy "${locked[@]}" --manifest-path benches/socketio/Cargo.toml --target-dir target --all-targets -- -D warnings
  cargo clippy "${locked[@]}" --manifest-path benches/counts/Cargo.toml --target-dir target --all-targets -- -D warnings
}

docs() {
  # `tls-aws-lc` adds nothing that is documented.
  RUSTDOCFLAGS=-Dwarnings cargo doc "${locked[@]}" --no-deps
  RUSTDOCFLAGS=-Dwarnings cargo doc "${locked[@]}" --no-deps --features $features
}

# The protocol core and the opening handshake build without the floors above them and without tokio.
floors() {
  cargo check "${locked[@]}" --no-default-features --features deflate
  local tree
  tree=$(cargo tree "${locked[@]}" --no-default-features --features deflate -e normal --prefix none)
  echo "$tree"
  none "a dependency of the core that does I/O" grep -E '^(tokio|futures|mio|async|rand)[-_a-z]* ' <<<"$tree"
  none "an upper floor, tokio, async, a clock or a source of randomness, named in the core" \
    code '\btokio\b|\basync\b|\.await\b|\brand::|\b(Instant|SystemTime)\b|std::(net::(Tcp|Udp|ToSocket)|io::(Read|Write)\b)' \
    src/proto src/handshake
  none "tracing named in the core" code '\btracing\b|crate::trace\b' src/proto src/handshake
  none "an upper floor named in the core" \
    code 'crate::(error|stream|server|client|connect|tls|proxy|reconnect|serve|http2|axum|hyper|hub|calls)\b' src/proto src/handshake
  none "the opening handshake named in the protocol" code 'crate::handshake\b' src/proto
  none "the highest floor named below it" \
    code 'crate::(connect|tls|proxy|reconnect|serve|http2|axum|hyper|hub|calls)\b' \
    src/stream src/error src/{client,server,opening,incoming_request,any_request,request_parts,replay,trace}.rs
  none "a feature's room that names another" code 'crate::(connect|proxy|reconnect|serve)\b' src/tls
  none "a feature's room that names another" code 'crate::(connect|tls|reconnect|serve)\b' src/proxy
  none "a feature's room that names another" code 'crate::((tls|proxy)::|serve\b)' src/reconnect
  none "a feature's room that names another" code 'crate::serve\b' src/{connect,hyper,axum,http2}
  none "a feature's room that names another" code 'crate::(connect|proxy|reconnect|hyper|axum|http2)\b' src/serve
  none "a feature's room that names another" code 'crate::(connect|proxy|reconnect|axum|http2)\b' src/hyper
  none "a feature's room that names another" code 'crate::(connect|tls|proxy|reconnect|http2)\b' src/axum
  none "a feature's room that names another" code 'crate::(proxy|reconnect|axum|hyper)\b' src/http2
  none "a feature's room that names another" code 'crate::(connect|tls|proxy|reconnect|serve|hyper|axum|http2)\b' src/hub
  none "a feature's room that names another" code 'crate::(connect|tls|proxy|hyper|axum|http2|hub)\b' src/calls
  none "a feature's room that names another" code 'crate::(hub|calls)\b' src/{connect,tls,proxy,reconnect,serve,hyper,axum,http2,hub}
  none "rustls named outside of src/tls" code '\b(tokio_)?rustls\b' src/{connect,proxy,reconnect,serve,stream,error,handshake,proto,hyper,axum,http2}
}

unsafe_code() {
  none "\`unsafe\` outside of src/proto/payload" \
    grep -v '^src/proto/payload' < <(code '\bunsafe\b' src)
}

# No modules of the protocol core import each other, except those listed in tests/circles.txt.
circles() { python3 tests/circles.py; }

# The documentation of public functions begins with a verb, with this many exceptions. The number
# may only fall.
first_lines() { python3 tests/first_lines.py --at-most 0; }

# Each test of tests/HOSTILE.md has a defence, and each defence is in the code.
defence_list() { python3 tests/defences.py --check; }

# Each test of tests/HOSTILE.md fails without its defence: takes them out one at a time, in a copy.
defences() { python3 tests/defences.py --keep-going; }

# The scripts of mutants, and the unit tests with each mutant of the lines that the last commit changed, as far
# as two minutes suffice.
mutants() {
  pytest tests/mutants
  PYTHONPATH=tests target/test-venv/bin/python -m mutants --changed
}

# 400 mutants with all tests. It writes tests/mutants.md.
mutants_long() { PYTHONPATH=tests target/test-venv/bin/python -m mutants; }

lines() {
  # shellcheck disable=SC2016 # awk's own
  none "a file over 800 lines" awk '$2 != "total" && $1 > 800' \
    < <(find src examples benches tests fuzz -name '*.rs' -not -path '*/target/*' -print0 | xargs -0 wc -l)
}

# The tables of DEPENDENCIES.md are those of the dependency trees of the features.
dependencies() { python3 tests/dependencies.py; }

# Licences, sources, crates in several versions; and known vulnerabilities, where their database can be
# reached.
deny() {
  none "a crate in two versions in the default tree" \
    cargo tree "${locked[@]}" --duplicates --edges normal,build --target all --prefix none
  cargo deny --locked check bans licenses sources
  if timeout 120 cargo deny fetch db; then
    cargo deny --locked check advisories
  else
    echo "advisories: NOT CHECKED, because their database on GitHub cannot be reached from here"
  fi
}

# The public API is that of tests/public-api.txt. `PUBLIC_API=write` renews the file.
public_api() {
  local api=$logs/public-api.txt
  # Of the traits that a compiler implements by itself, only these are part of the API: Send, Sync, Unpin.
  CARGO_TARGET_DIR=target/public-api cargo +nightly public-api --simplified --features $features |
    grep -vE '^impl.* !?core::(marker::(Freeze|UnsafeUnpin|StructuralPartialEq)|panic::unwind_safe::(Ref)?UnwindSafe) for ' >"$api"
  [ -s "$api" ] || fail "no public API"
  if [ "${PUBLIC_API:-}" = write ]; then
    cp "$api" tests/public-api.txt
  fi
  diff -u tests/public-api.txt "$api" ||
    fail "the public API has changed: PUBLIC_API=write bash tests/all.sh public_api, and read what has"
}

# Each feature, each pair of features, and all, compile without a warning.
feature_sets() {
  local sets count=0 set
  sets=$(python3 tests/feature_sets.py)
  while IFS= read -r set; do
    echo "--- ${set:-no features}"
    CARGO_INCREMENTAL=0 cargo clippy "${locked[@]}" --quiet --lib --no-default-features --features "$set" -- -D warnings
    count=$((count + 1))
  done <<<"$sets"
  echo "$count sets of features"
}

# The library compiles with the lowest versions that Cargo.toml allows, in a manifest of its own that has
# nothing but the library.
minimal_versions() {
  local copy=target/minimal-versions set
  rm -rf $copy/Cargo.* $copy/src
  mkdir -p $copy
  ln -s ../../src $copy/src
  awk '/^\[/ { keep = !/^\[(dev-dependencies|workspace)\]|^\[\[(bench|example|test)\]\]/ } keep' Cargo.toml >$copy/Cargo.toml
  echo '[workspace]' >>$copy/Cargo.toml
  cargo +nightly -Z direct-minimal-versions generate-lockfile --manifest-path $copy/Cargo.toml
  for set in "" default $features; do
    cargo check --locked --lib --manifest-path $copy/Cargo.toml --no-default-features --features "$set"
  done
  cargo tree --locked --manifest-path $copy/Cargo.toml --depth 1 --all-features
}

# One set of features, for `quick`.
lint() { cargo clippy "${locked[@]}" --all-targets --features $features -- -D warnings; }

# The integration tests that find most faults in the least time.
readonly core_tests=(
  axum bearer byte_stream calls calls_on_open closing compliance connect handshake_client handshake_server
  hostile_frames hostile_peer hostile_table http2 hub hub_contract hub_history hub_races hub_selections hyper json parts proto proxy
  reconnect room sequences serve shutdown sink split stream tasks timers tls tracing
)

# For `quick`: the unit tests, and those.
core() {
  timeout -k 10 "$hangs" cargo test "${locked[@]}" --features $features --lib "${core_tests[@]/#/--test=}" --no-fail-fast
}

unit() {
  timeout -k 10 "$hangs" cargo test "${locked[@]}" --features $features --no-fail-fast
  timeout -k 10 "$hangs" cargo test "${locked[@]}" --all-features --test tls --no-fail-fast
  timeout -k 10 "$hangs" cargo test "${locked[@]}" --no-default-features --lib --no-fail-fast
}

# The examples that are packages of their own.
packages() {
  cargo clippy "${locked[@]}" --workspace --exclude fullduplex --all-targets -- -D warnings
  timeout -k 10 "$hangs" cargo test "${locked[@]}" --workspace --exclude fullduplex --no-fail-fast
  # For `peers`, `faults` and `autobahn`. Not optimized, because linking them would take longer than the tests.
  cargo build "${locked[@]}" --workspace --exclude fullduplex
}

# A message of 10 GiB, which takes minutes without optimization.
large() {
  quick_release
  timeout -k 10 "$hangs" cargo test "${locked[@]}" --features $features --release --test large
}

# The core's own tests, then most integration tests, under AddressSanitizer.
asan() { asan_for "${core_tests[@]/#/--test=}" --test=program; }

asan_long() { asan_for --test='*'; }

asan_for() {
  asan_test --lib --no-default-features --features deflate
  asan_test "$@" --features $features
}

asan_test() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan \
    timeout -k 10 "$hangs" cargo +nightly test "${locked[@]}" --target "$host" --no-fail-fast "$@"
}

# At least 97 % of the lines of src are run by the tests of the crate, and the others are listed.
coverage() { timeout -k 10 "$hangs" python3 tests/coverage.py; }

# The split connection under a model checker.
loom() { loom_test model; }

loom_test() {
  RUSTFLAGS="--cfg fullduplex_loom" CARGO_TARGET_DIR=target/loom CARGO_PROFILE_RELEASE_LTO=off \
    timeout -k 10 "$hangs" cargo test "${locked[@]}" --features hub --release --lib "$@"
}

# Each fuzz target, from the committed seeds. Failing inputs are kept in fuzz/artifacts.
fuzz() { fuzz_for "${FUZZ_SECONDS:-14}"; }

fuzz_long() { fuzz_for "${FUZZ_SECONDS:-600}"; }

readonly fuzz_build=(--fuzz-dir fuzz --target-dir target/fuzz)

build_fuzz_targets() {
  cargo fetch "${locked[@]}" --manifest-path fuzz/Cargo.toml
  cargo +nightly fuzz build "${fuzz_build[@]}"
}

# Runs all targets, two at a time.
fuzz_for() {
  build_fuzz_targets
  cargo +nightly fuzz list --fuzz-dir fuzz >$logs/fuzz-targets
  [ -s $logs/fuzz-targets ] || fail "no fuzz target"
  export -f fuzz_target fail
  # xargs fails if one fails.
  xargs -P 2 -I{} bash -euo pipefail -c 'fuzz_target "$@"' _ {} "$1" $logs "${fuzz_build[@]}" <$logs/fuzz-targets
}

# Runs a fuzz target for some seconds: its name, the seconds, the directory for logs, and where it was built.
fuzz_target() {
  local target=$1 seconds=$2 logs=$3 corpus=$3/corpus/$1 runs
  shift 3
  rm -rf "$corpus"
  mkdir -p "$corpus"
  [ -n "$(ls "fuzz/seeds/$target")" ] || fail "no seeds in fuzz/seeds/$target"
  cp "fuzz/seeds/$target"/* "$corpus"
  cargo +nightly fuzz run "$@" "$target" "$corpus" -- \
    -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 >"$logs/fuzz-$target.log" 2>&1 ||
    { tail -n 100 "$logs/fuzz-$target.log" && fail "fuzz target $target"; }
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/fuzz-$target.log")
  [ "${runs:-0}" -gt 0 ] || fail "fuzz target $target ran nothing"
  echo "fuzz target $target, $seconds s: $runs runs"
}

# Each benchmark once, as a test, built without optimization: nothing is measured.
bench() {
  timeout -k 10 "$hangs" cargo bench "${locked[@]}" --profile dev --benches --features $features -- --test 2>&1 | tee $logs/benches.log
  grep -q '^Success' $logs/benches.log || fail "no benchmark ran"
}

# Instructions per path, counted by callgrind: at most 2 % more than in the parent commit, unless the
# commit message accepts it.
counts() { python3 benches/counts/compare.py; }

# The package is complete: the library, and the examples, tests and benchmarks in it, build from the
# package alone.
package() {
  rm -rf target/package
  cargo package "${locked[@]}" --allow-dirty --all-features
  cargo check "${locked[@]}" --manifest-path target/package/fullduplex-*/Cargo.toml --target-dir target --all-targets --all-features
}

release() {
  quick_release
  cargo build "${locked[@]}" --examples --features $features
  cargo build "${locked[@]}" --examples --features $features --release
}

# Stops early: if nothing works, each test would wait for its deadline.
peers() { pytest --maxfail=25 tests/peers; }

# Faults of the network, of processes, of the disk and of the clock, under the servers and their clients.
faults() { pytest tests/faults; }

faults_long() { FAULT_SECONDS=${FAULT_SECONDS:-60} pytest tests/faults; }

autobahn() { pytest tests/autobahn; }

# All cases for all servers. A plain run leaves out cases on compression for three of them.
autobahn_long() {
  hangs=9000
  AUTOBAHN=all pytest tests/autobahn
}

# Random programs beyond those of a plain run, for about ten minutes in a release build.
program_long() {
  PROGRAM_STEPS=${PROGRAM_STEPS:-300000000} PROGRAM_FROM=${PROGRAM_FROM:-1000000} \
    timeout -k 10 "$hangs" cargo test "${locked[@]}" --features $features --release --test program -- --nocapture
}

# Random programs on a simulated network beyond those of a plain run, for about an hour in a release
# build.
network_program_long() {
  hangs=9000
  NETWORK_PROGRAM_STEPS=${NETWORK_PROGRAM_STEPS:-3000000000} NETWORK_PROGRAM_FROM=${NETWORK_PROGRAM_FROM:-1000000} \
    timeout -k 10 "$hangs" cargo test "${locked[@]}" --features $features --release --test network_program -- --nocapture
}

# --- functions of the steps

# Builds what later steps need in target directories of their own, at the lowest priority, while the steps
# before them wait for peers and deadlines. If a build fails, its step builds again, and fails.
build_ahead() {
  (
    renice -n 19 "$BASHPID" >/dev/null
    loom_test --no-run || true
    build_fuzz_targets || true
    asan_test --lib --no-run --no-default-features --features deflate || true
    asan_test "${core_tests[@]/#/--test=}" --test=program --no-run --features $features || true
  ) </dev/null >$logs/ahead.log 2>&1 &
  ahead=$!
  # It may have ended.
  trap 'kill $ahead $(pgrep -P $ahead) 2>/dev/null || true' EXIT
}

# Makes release builds without optimization across crates, which takes minutes and which no test needs.
quick_release() { export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16; }

pytest() { timeout -k 10 "$hangs" target/test-venv/bin/python -m pytest -c tests/pytest.ini -q "$@"; }

fail() {
  echo "tests/all.sh: $*" >&2
  exit 1
}

# Fails if a command prints anything.
none() {
  local what=$1 found
  shift
  # grep returns 1 if it finds nothing, and more on an error.
  found=$("$@") || [ $? = 1 ] || fail "could not look for: $what"
  [ -z "$found" ] || fail "$what:"$'\n'"$found"
}

# Lines of Rust files under directories that match a pattern, comments left out.
code() {
  local pattern=$1
  shift
  grep -rnP --include='*.rs' "^(?!\s*//).*?(?:$pattern)" "$@"
}

passed=0
failed=0

# Adds the tests counted by the runners in a log to the totals, and sets `counted` to their number.
count() {
  local p f
  read -r p f < <(
    sed -nE \
      -e 's/^test result: [^.]*\. ([0-9]+) passed; ([0-9]+) failed;.*/\1 passed \2 failed/p' \
      -e '/ in [0-9.]+s( \(.*\))?( =+)?$/p' "$1" |
      grep -oE '[0-9]+ (passed|failed|errors?)' |
      awk '$2 == "passed" { p += $1; next } { f += $1 } END { print p + 0, f + 0 }'
  ) || true
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-0}))
  counted=$((${p:-0} + ${f:-0}))
}

total() { printf '\ntotal: %s passed, %s failed\n' $passed $failed; }

# Prints which of these the machine lacks, if tests/setup.sh was run.
lacking() {
  local need
  [ -n "${set_up:-}" ] && [ -s $missing ] || return 0
  for need in "$@"; do
    sed -n "/^$need: /p" $missing
  done
}

skipped=()

# Runs a step: its name, its kind, and the parts of tests/setup.sh that it needs. A step of the kind
# `tests` fails if no test was run.
step() {
  local name=$1 kind=$2 status counted lacks
  shift 2
  lacks=$(lacking "$@")
  if [ -n "$lacks" ]; then
    printf '\n=== SKIPPED: %s\n%s\n' "$name" "$lacks"
    skipped+=("$name")
    return
  fi
  printf '\n=== %s (%ss)\n' "$name" $SECONDS
  # Not in a condition, where bash would ignore `set -e` in the step.
  set +e
  (set -e && "$name") </dev/null 2>&1 | tee "$logs/$name.log"
  status=${PIPESTATUS[0]}
  set -e
  if [ "$name" = setup ]; then
    set_up=yes
    # The run fails at its end if something is missing.
    [ ! -s $missing ] || status=0
  fi
  if [ "$kind" = tests ]; then
    count "$logs/$name.log"
    if [ "$status" = 0 ] && [ "$counted" = 0 ]; then
      echo "no test ran"
      status=1
    fi
  fi
  if [ "$status" != 0 ]; then
    printf '\nFAILED: %s\n' "$name"
    total
    exit 1
  fi
}

# The steps with their kinds and the parts of tests/setup.sh that they need, in the order in which
# they find faults fastest: first those that take seconds, last those that take long and rarely fail.
readonly steps=(
  "setup check"
  "fmt check"
  "lines check"
  "unsafe_code check"
  "circles check"
  "first_lines check"
  "defence_list check"
  "floors check"
  "dependencies check"
  "clippy check"
  "lint check"
  "core tests"
  "docs check"
  "unit tests"
  "packages tests servers"
  "release check"
  "mutants tests python cargo_mutants"
  "peers tests python node browser valgrind servers"
  "faults tests python faults"
  "large tests"
  "loom tests"
  "counts check valgrind gungraun"
  "fuzz check nightly cargo_fuzz"
  "autobahn tests python autobahn servers"
  "asan tests nightly"
  "bench check"
  "package check"
  "feature_sets check"
  "minimal_versions check nightly"
  "public_api check nightly cargo_public_api"
  "deny check cargo_deny"
  "coverage tests llvm"
  "asan_long tests nightly"
  "program_long tests"
  "network_program_long tests"
  "faults_long tests python faults"
  "defences check python servers"
  "mutants_long check python cargo_mutants"
  "autobahn_long tests python autobahn servers"
  "fuzz_long check nightly cargo_fuzz"
)
readonly quick=(fmt lines unsafe_code circles first_lines defence_list floors lint core)
# Steps that are not part of a plain run. `mutants` is not, because its tools and its builds take longer
# than the two minutes for which it tests.
readonly only_long=(
  feature_sets minimal_versions public_api deny coverage asan_long program_long network_program_long faults_long
  defences mutants mutants_long autobahn_long fuzz_long
)
readonly long=(setup packages release "${only_long[@]}")
readonly not_plain=(lint core "${only_long[@]}")

among() {
  local name=$1 other
  shift
  for other in "$@"; do
    [ "$name" != "$other" ] || return 0
  done
  return 1
}

names=("${steps[@]%% *}")
case "$*" in
  "") selected() { ! among "$1" "${not_plain[@]}"; } ;;
  quick) selected() { among "$1" "${quick[@]}"; } ;;
  long) selected() { among "$1" "${long[@]}"; } ;;
  *)
    for name in "$@"; do
      among "$name" "${names[@]}" || fail "no step $name; steps: quick, long, or any of ${names[*]}"
    done
    only=("$@")
    selected() { among "$1" "${only[@]}"; }
    ;;
esac

mkdir -p $logs
for entry in "${steps[@]}"; do
  # shellcheck disable=SC2086 # words
  if selected ${entry%% *}; then step $entry; fi
  # After the last step that has both cores busy.
  if [ ${#wanted[@]} = 0 ] && [ "${entry%% *}" = release ]; then build_ahead; fi
done
if [ -n "${set_up:-}" ] && [ -s $missing ]; then
  printf '\nFAILED: everything else passed, but this machine lacks what some steps need.\n'
  sed 's/^/  missing: /' $missing
  [ ${#skipped[@]} = 0 ] || printf '  skipped: %s\n' "${skipped[@]}"
  total
  exit 1
fi
total
