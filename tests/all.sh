#!/usr/bin/env bash
# Runs every check and every test of the crate, and stops at the first step that fails.
#
#   tests/all.sh              all steps
#   tests/all.sh STEP...      only these; their names are in the list at the bottom
#
# FUZZ_SECONDS (20) is how long each fuzz target runs. The last line counts the tests of all runners.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR=never PYTHONDONTWRITEBYTECODE=1 RUST_BACKTRACE=1
locked=()
if [ "${CI:-}" = true ]; then
  locked=(--locked)
  export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only
fi
readonly fuzz_seconds=${FUZZ_SECONDS:-20}
readonly logs=target/all
# Seconds until a runner of tests that hangs is ended.
readonly hangs=3000
readonly only=("$@")

# --- the steps

setup() { bash tests/setup.sh; }

fmt() {
  cargo fmt --all --check
  cargo fmt --manifest-path fuzz/Cargo.toml --check
  cargo fmt --manifest-path benches/peers/Cargo.toml --check
  cargo fmt --manifest-path benches/counts/Cargo.toml --check
}

clippy() {
  cargo clippy "${locked[@]}" --all-targets -- -D warnings
  cargo clippy "${locked[@]}" --all-targets --all-features -- -D warnings
  cargo clippy "${locked[@]}" --lib --no-default-features -- -D warnings
  cargo clippy "${locked[@]}" --lib --no-default-features --features deflate -- -D warnings
  # The comparison with the peers is built, and not run: what it measures is not a matter of right and wrong.
  cargo clippy "${locked[@]}" --manifest-path benches/peers/Cargo.toml --target-dir target/peers --all-targets -- -D warnings
  cargo clippy "${locked[@]}" --manifest-path benches/counts/Cargo.toml --target-dir target/counts/here --all-targets -- -D warnings
}

docs() { RUSTDOCFLAGS=-Dwarnings cargo doc "${locked[@]}" --no-deps --all-features; }

# The protocol core and the opening handshake build without what is above them, and without tokio.
floors() {
  cargo check "${locked[@]}" --no-default-features --features deflate
  local tree
  tree=$(cargo tree "${locked[@]}" --no-default-features --features deflate -e normal --prefix none)
  echo "$tree"
  none "a dependency of the core that does I/O" grep -E '^(tokio|futures|mio|async|rand)[-_a-z]* ' <<<"$tree"
  none "an upper floor, tokio, async, a clock or a source of randomness, named in the core" \
    code '\btokio\b|\basync\b|\.await\b|\brand::|\b(Instant|SystemTime)\b|std::(net::(Tcp|Udp|ToSocket)|io::(Read|Write)\b)' \
    src/proto src/handshake
  none "an upper floor named in the core" \
    code 'crate::(error|stream|server|client|tls|proxy|reconnect|http2|axum|hyper|hub)\b' src/proto src/handshake
  none "the opening handshake named in the protocol" code 'crate::handshake\b' src/proto
  none "a feature's floor named below it" \
    code 'crate::(tls|proxy|reconnect|http2|axum|hyper|hub)\b' src/stream
}

unsafe_code() {
  none "\`unsafe\` outside of src/proto/mask" \
    grep -v '^src/proto/mask' < <(code '\bunsafe\b' src)
}

lines() {
  none "a file over 800 lines" awk '$2 != "total" && $1 > 800' \
    < <(find src examples benches tests fuzz -name '*.rs' -not -path '*/target/*' -print0 | xargs -0 wc -l)
}

unit() {
  timeout -k 10 $hangs cargo test "${locked[@]}" --all-features --no-fail-fast
  timeout -k 10 $hangs cargo test "${locked[@]}" --no-default-features --lib --no-fail-fast
}

# A message of 10 GiB, which takes minutes without optimisation.
large() { timeout -k 10 $hangs cargo test "${locked[@]}" --all-features --release --test large; }

# The core's own tests, then the integration tests, under AddressSanitizer.
asan() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  export RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan
  local test=(timeout -k 10 $hangs cargo +nightly test "${locked[@]}" --target "$host" --no-fail-fast)
  "${test[@]}" --lib --no-default-features --features deflate
  "${test[@]}" --test '*' --all-features
}

# The split connection under a model checker.
loom() {
  RUSTFLAGS="--cfg fullduplex_loom" CARGO_TARGET_DIR=target/loom CARGO_PROFILE_RELEASE_LTO=off \
    timeout -k 10 $hangs cargo test "${locked[@]}" --release --lib model
}

# Each fuzz target, from the committed seeds. What it finds is kept in fuzz/artifacts.
fuzz() {
  local build=(--fuzz-dir fuzz --target-dir target/fuzz) target corpus runs
  cargo fetch "${locked[@]}" --manifest-path fuzz/Cargo.toml
  cargo +nightly fuzz build "${build[@]}"
  for target in $(cargo +nightly fuzz list --fuzz-dir fuzz); do
    corpus=$logs/corpus/$target
    rm -rf "$corpus"
    mkdir -p "$corpus"
    [ -n "$(ls "fuzz/seeds/$target")" ] || fail "no seeds in fuzz/seeds/$target"
    cp "fuzz/seeds/$target"/* "$corpus"
    echo "--- fuzz target $target, $fuzz_seconds s"
    cargo +nightly fuzz run "${build[@]}" "$target" "$corpus" -- \
      -max_total_time="$fuzz_seconds" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 >"$logs/fuzz-$target.log" 2>&1 ||
      { tail -n 100 "$logs/fuzz-$target.log" && fail "fuzz target $target"; }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/fuzz-$target.log")
    [ "${runs:-0}" -gt 0 ] || fail "fuzz target $target ran nothing"
    echo "$runs runs"
  done
}

# Each benchmark once, as a test: built without optimisation, for nothing is measured.
bench() {
  timeout -k 10 $hangs cargo bench "${locked[@]}" --profile dev --benches --all-features -- --test 2>&1 | tee $logs/benches.log
  grep -q '^Success' $logs/benches.log || fail "no benchmark ran"
}

# Instructions per path, counted by callgrind: at most 2 % more than in the parent commit, unless the commit message accepts it.
counts() { python3 benches/counts/compare.py; }

# The package is complete: the library, and the examples, tests and benchmarks in it, build from the package alone.
package() {
  rm -rf target/package
  cargo package "${locked[@]}" --allow-dirty --all-features
  cargo check "${locked[@]}" --manifest-path target/package/fullduplex-*/Cargo.toml --target-dir target --all-targets --all-features
}

release() {
  cargo build "${locked[@]}" --examples --all-features
  cargo build "${locked[@]}" --examples --all-features --release
}

# Where nothing works, each test would wait for its deadline: it ends early.
peers() { pytest --maxfail=25 tests/peers; }

autobahn() { pytest tests/autobahn; }

# --- what they are made of

pytest() { timeout -k 10 $hangs target/test-venv/bin/python -m pytest -c tests/pytest.ini -q "$@"; }

fail() {
  echo "tests/all.sh: $*" >&2
  exit 1
}

# Fails if a command prints anything.
none() {
  local what=$1 found
  shift
  # 1: grep found nothing; more is an error of its own.
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

# Adds up what the runners counted in a log; tells how many tests that were.
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

selected() {
  local name
  [ ${#only[@]} -gt 0 ] || return 0
  for name in "${only[@]}"; do
    [ "$name" != "$1" ] || return 0
  done
  return 1
}

# Runs a step; `tests` says that it runs tests, of which there must be some.
step() {
  local kind=$1 name=$2 status counted
  selected "$name" || return 0
  printf '\n=== %s (%ss)\n' "$name" $SECONDS
  # Not in a condition, where bash would ignore `set -e` in the step.
  set +e
  (set -e && "$name") </dev/null 2>&1 | tee "$logs/$name.log"
  status=${PIPESTATUS[0]}
  set -e
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

readonly steps=(
  "check setup"
  "check fmt"
  "check unsafe_code"
  "check lines"
  "check floors"
  "check clippy"
  "check docs"
  "tests unit"
  "check release"
  "tests large"
  "tests peers"
  "tests autobahn"
  "tests loom"
  "tests asan"
  "check fuzz"
  "check bench"
  "check counts"
  "check package"
)

for name in "${only[@]}"; do
  [[ " ${steps[*]} " == *" $name "* ]] || fail "no step $name; steps: ${steps[*]#* }"
done
mkdir -p $logs
for entry in "${steps[@]}"; do
  # shellcheck disable=SC2086 # two words
  step $entry
done
total
