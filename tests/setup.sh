#!/usr/bin/env bash
# Lays out what the tests need beside a Rust toolchain. Run by tests/all.sh; does nothing where all is there already.
#
#   target/test-venv      pytest, `websockets` as a peer, and Selenium, which drives Chromium (CPython 3)
#   target/autobahn-venv  the Autobahn test suite (CPython 2.7)
#   tests/peers/node_modules  `ws` as a peer (Node)
#   target/gungraun-VERSION   the runner of benches/counts
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "tests/setup.sh: $*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Debian's package for a command that is not there.
install_with_apt() {
  have apt-get || fail "install these by hand, this machine has no apt-get: $*"
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    have sudo || fail "not root and no sudo; install: $*"
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@"
}

packages=()
have cc || packages+=(gcc libc6-dev)
have make || packages+=(make)
# libc6-dbg: valgrind needs the symbols of the dynamic loader, which Debian keeps apart.
have valgrind || packages+=(valgrind libc6-dbg)
have node || packages+=(nodejs)
have npm || packages+=(npm)
# The font has the emoji that are in the pictures of the browser's windows.
have chromium || packages+=(chromium fonts-noto-color-emoji)
have chromedriver || packages+=(chromium-driver)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
[ ${#packages[@]} = 0 ] || install_with_apt "${packages[@]}"

have cargo || fail "no cargo: install Rust with rustup"
cargo clippy --version >/dev/null 2>&1 || fail "no clippy: rustup component add clippy"
cargo fmt --version >/dev/null 2>&1 || fail "no rustfmt: rustup component add rustfmt"
cargo +nightly --version >/dev/null 2>&1 ||
  fail "no nightly toolchain, which AddressSanitizer and cargo-fuzz need: rustup toolchain install nightly"
have cargo-fuzz || cargo install cargo-fuzz --locked

# The runner has to be of the same version as the library that benches/counts is built with.
gungraun=$(sed -n '/^name = "gungraun-runner"$/{n;s/^version = "\(.*\)"$/\1/p;}' benches/counts/Cargo.lock)
[ -x "target/gungraun-$gungraun/bin/gungraun-runner" ] ||
  cargo install gungraun-runner --version "$gungraun" --locked --root "target/gungraun-$gungraun"

# A virtual environment is laid out anew when what it is made of has changed.
stamp_of() { cat "$@" | sha256sum | cut -d' ' -f1; }

stamp=$(stamp_of tests/requirements.txt <(python3 --version))
if [ "$(cat target/test-venv/stamp 2>/dev/null)" != "$stamp" ]; then
  rm -rf target/test-venv
  mkdir -p target
  python3 -m venv target/test-venv
  target/test-venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
  echo "$stamp" >target/test-venv/stamp
fi

# CPython 2.7: on the path, or among pyenv's versions. A shim of pyenv for a version that is not active does not run.
find_python27() {
  local candidate candidates=(python2.7 python2)
  if have pyenv; then
    candidates+=("$(pyenv root)"/versions/2.7*/bin/python2.7)
  fi
  candidates+=("$HOME"/.pyenv/versions/2.7*/bin/python2.7)
  for candidate in "${candidates[@]}"; do
    if "$candidate" -c 'import sys, ssl, zlib; sys.exit(sys.version_info[:2] != (2, 7))' >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  fail "no CPython 2.7 (with ssl and zlib), which the Autobahn test suite needs: 'pyenv install 2.7.18', or a" \
    "python2.7 of your system with its headers"
}

python27=$(find_python27)
stamp=$(stamp_of tests/autobahn/requirements.txt <(echo "$python27"))
if [ "$(cat target/autobahn-venv/stamp 2>/dev/null)" != "$stamp" ]; then
  rm -rf target/autobahn-venv
  target/test-venv/bin/virtualenv --quiet --no-download --python "$python27" target/autobahn-venv
  PYTHONWARNINGS=ignore target/autobahn-venv/bin/pip install --quiet --disable-pip-version-check -r tests/autobahn/requirements.txt
  echo "$stamp" >target/autobahn-venv/stamp
fi
target/autobahn-venv/bin/wstest --autobahnversion >/dev/null 2>&1 ||
  fail "wstest does not start; remove target/autobahn-venv and try again"

stamp=$(stamp_of tests/peers/package.json tests/peers/package-lock.json <(node --version))
if [ "$(cat tests/peers/node_modules/stamp 2>/dev/null)" != "$stamp" ]; then
  npm --prefix tests/peers ci --silent --no-audit --no-fund
  echo "$stamp" >tests/peers/node_modules/stamp
fi
